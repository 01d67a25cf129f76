"""Backbones by name from where they are had: timm, torchvision, open_clip, a package, and our small networks."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from submasking.files import weights as files
from submasking.learning.backbone import Backbone, Values
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds import efficientnet_lite, folder, networks, packaged, pretrain, recipes
from submasking.worlds.paper.weights import PROMPT

DEFAULT_SIZE = 224
LARGEST_SIZE = 4096  # a network tries itself on one image of the size; a mask file may name any
HEADS = ("auto", "linear", "text")
_VISUAL = "visual."  # before the names of a CLIP's image network
# of timm and torchvision: they lead to other files and addresses, and options may come with a stranger's mask file
ELSEWHERE = (
    "cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args",
    "weights", "weights_backbone",
)  # fmt: skip
INSTEAD = f"pass a file of weights, or take {packaged.NAME}, which brings its own"
OUTPUTS = "num_classes"  # the option of a classifier
LIBRARIES = ("timm", "torchvision", "open_clip")


def build(
    architecture: str,
    weights: Path | None,
    *,
    options: Mapping[str, Any] | None = None,
    size: int | None = None,
    mean: Values | None = None,
    std: Values | None = None,
    head: str = "auto",
    instead: str = INSTEAD,
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        architecture: "timm:NAME" or just NAME, "torchvision:NAME", "open_clip:NAME", "efficientnet-lite0", or one of
            `submasking.worlds.recipes.ARCHITECTURES`.
        weights: weights file; None asks the library for the pretrained ones, which may download them, or takes those
            of the package that brings EfficientNet-Lite0.
        options: passed to the constructor of timm or torchvision; none that says where weights come from.
        size: side of the images in pixels; None takes the architecture's.
        mean: per channel, of images in [0, 1]; None takes the architecture's.
        std: likewise.
        head: what it will be trained with: "linear", "text" for CLIP's embeddings of the class names, or "auto", which
            is text where the weights hold a text tower, as in the paper, and linear where they hold nothing of one.
        instead: what an error advises where the library's weights cannot be had.

    Raises:
        ValueError: an unknown name (close ones are named), weights that do not fit or cannot be had, a size that the
            network cannot take, a text head without a text tower, a damaged one for another than a linear head.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}; got {head!r}")
    library, _, name = architecture.rpartition(":")
    _require_known(library, name)
    if size is not None and (type(size) is not int or not 0 < size <= LARGEST_SIZE):
        raise ValueError(
            f"the size of images must be a whole number of pixels from 1 to {LARGEST_SIZE:,}, got {size!r}; take the"
            " architecture's"
        )
    if leading := [option for option in options or {} if option in ELSEWHERE]:
        raise ValueError(
            f"options must be of the network, {leading[0]!r} says where weights come from; name a file of weights"
        )
    if OUTPUTS in (options or {}):
        raise ValueError(
            f"options must be of the network without its classifier, got {OUTPUTS}; leave it out, a head is made for as"
            " many classes as there are"
        )
    given, refused = dict(options or {}), None
    for attempt in (given, *(given | more for more in _sizes(library, name, size))):
        try:
            backbone = _bare(library, name, weights, attempt, size, instead)
            if head == "linear":
                backbone = replace(backbone, text=None)
            if weights is not None:
                backbone = _filled(backbone, weights, say=head == "auto")
            if head == "text" and backbone.text is None:
                raise ValueError(
                    f"head text needs a CLIP of open_clip with its text tower, {architecture} has none; take linear"
                )
            backbone = replace(backbone, head="linear" if backbone.text is None else "text")
            return _whole(backbone, architecture, weights, attempt, size, mean, std)
        except ValueError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _require_known(library: str, name: str) -> None:
    if library not in ("", *LIBRARIES):
        raise ValueError(
            f"model must be NAME or {', '.join(f'{each}:NAME' for each in LIBRARIES)}; got {library}:{name};"
            " write such as timm:resnet50"
        )
    if library == "torchvision":
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise ValueError(f"model must be one of torchvision's, got {name!r}{_close(name, known)}")
        return
    if library == "open_clip":
        import open_clip

        if name not in (known := open_clip.list_models()):
            raise ValueError(f"open_clip has no model {name!r}{_close(name, known)}")
        return
    ours = (*recipes.ARCHITECTURES, *([] if library else [packaged.NAME]))
    if name not in ours and not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}{_close(name, [packaged.NAME, *timm.list_models()])}")


def _sizes(library: str, name: str, size: int | None) -> tuple[dict[str, Any], ...]:
    """What else timm may be told of a network that was made for images of another size than is asked for.

    First that it fits its position embedding to each image, for its weights then stay the published ones.
    """
    if size is None or library in ("open_clip", "torchvision") or name in (*recipes.ARCHITECTURES, packaged.NAME):
        return ()
    return {"dynamic_img_size": True}, {"img_size": size}


def _bare(
    library: str, name: str, weights: Path | None, options: dict[str, Any], size: int | None, instead: str
) -> Backbone:
    if library == "open_clip":
        return _open_clip(name, weights, instead)
    if library == "torchvision":
        return _torchvision(name, weights, options, instead)
    if name in recipes.ARCHITECTURES:
        return _small(name, weights, size or DEFAULT_SIZE)
    if name == packaged.NAME:
        return _packaged(weights, options)
    return _timm(name, weights, options, instead)


def _whole(
    backbone: Backbone,
    architecture: str,
    weights: Path | None,
    options: dict[str, Any],
    size: int | None,
    mean: Values | None,
    std: Values | None,
) -> Backbone:
    """All that is known of a network with its weights."""
    trunk, size = backbone.trunk.eval().to(memory_format=torch.channels_last), size or backbone.size
    if options:
        _require_trainable(trunk, size, options)
    return replace(
        backbone,
        width=_width(trunk, size, architecture),
        preset="auto",
        mean=mean or backbone.mean,
        std=std or backbone.std,
        size=size,
        name=architecture.rpartition(":")[2],
        architecture=architecture,
        options=options,
        logit_scale=backbone.text.logit_scale if isinstance(backbone.text, _Text) else 0.0,
        weights=weights.name if weights is not None else backbone.weights or "pretrained",
        fingerprint=fingerprint(trunk.state_dict()),
    )


def _timm(name: str, weights: Path | None, options: dict[str, Any], instead: str) -> Backbone:
    try:
        trunk = timm.create_model(name, pretrained=weights is None, num_classes=0, **options)
    except Exception as error:  # whatever a download or a constructor raises
        own = options if _refused(partial(timm.create_model, name, num_classes=0), options) else {}
        raise ValueError(_unavailable(name, error, weights, instead, own)) from error
    config = timm.data.resolve_model_data_config(trunk)
    return Backbone(trunk, 0, "", config["mean"], config["std"], int(config["input_size"][-1]))


def _torchvision(name: str, weights: Path | None, options: dict[str, Any], instead: str) -> Backbone:
    try:
        trunk = torchvision.models.get_model(name, weights="DEFAULT" if weights is None else None, **options)
    except Exception as error:  # whatever a download or a constructor raises
        own = options if _refused(partial(torchvision.models.get_model, name), options) else {}
        raise ValueError(_unavailable(name, error, weights, instead, own)) from error
    if hasattr(trunk, "aux_logits"):
        trunk.aux_logits = False  # a second classifier, for training from nothing
    classifier = [each for each, module in trunk.named_modules() if isinstance(module, nn.Linear)]
    if not classifier:
        raise ValueError(f"torchvision:{name} must end in a linear classifier, it does not; take another network")
    trunk.set_submodule(classifier[-1], nn.Identity())
    shown = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return Backbone(trunk, 0, "", tuple(shown.mean), tuple(shown.std), int(shown.crop_size[0]))


def _open_clip(name: str, weights: Path | None, instead: str) -> Backbone:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    try:
        clip = open_clip.create_model(name, pretrained=tags[0] if weights is None and tags else None)
    except Exception as error:  # whatever a download raises
        raise ValueError(_unavailable(name, error, weights, instead)) from error
    clip.eval().requires_grad_(False)
    visual = clip.visual.requires_grad_(True)
    mean, std = (tuple(getattr(visual, f"image_{kind}")) for kind in ("mean", "std"))
    side = visual.image_size  # a number for its ResNets, a pair for its transformers
    size = int(side if isinstance(side, int) else side[0])
    return Backbone(visual, 0, "", mean, std, size, text=_Text(name, clip))


class _Text:
    """Embeddings of class names by a CLIP of open_clip."""

    def __init__(self, name: str, clip: nn.Module) -> None:
        self.name, self.clip = name, clip

    def __call__(self, classes: Sequence[str]) -> Tensor:
        import open_clip

        try:
            tokens = open_clip.get_tokenizer(self.name)([PROMPT.format(each) for each in classes])
        except Exception as error:  # whatever a download raises
            raise ValueError(
                f"the tokenizer of {self.name} cannot be had ({error}); fetch it once where there is network, or train"
                " with --head linear"
            ) from error
        return self.clip.encode_text(tokens)  # type: ignore[operator]

    @property
    def logit_scale(self) -> float:
        return float(self.clip.logit_scale)  # type: ignore[arg-type]


def _filled(backbone: Backbone, weights: Path, say: bool) -> Backbone:
    """The same with the weights of a file; without a text tower where the file holds nothing of one, which is said.

    Raises:
        ValueError: the weights do not fit; or those of the image network do, and the text tower is damaged.
    """
    if not isinstance(backbone.text, _Text):
        files.load(backbone.trunk, weights)
        return backbone
    try:
        files.load(backbone.text.clip, weights)
        return backbone
    except ValueError as error:
        files.load(backbone.trunk, weights)  # what is wrong with the image network is said first
        if _has_text(backbone.text.clip, files.read(weights)):
            raise ValueError(
                f"a text tower must be whole or absent, but {weights} has a damaged one: {error}"
                "; take the whole file, or a linear head (--head linear)"
            ) from error
    if say:
        folder.on_stderr(f"{weights} has no text tower: the head is linear, not text")
    return replace(backbone, text=None)


def _has_text(clip: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds a part of the text tower, told from the names of the image network by their ends."""
    names = clip.state_dict()
    images = {name.removeprefix(_VISUAL) for name in names if name.startswith(_VISUAL)}
    text = [name for name in names if not name.startswith(_VISUAL) and not name.startswith("logit_")]
    before = {name.partition(_VISUAL)[0] for name in tensors if _VISUAL in name}
    if any(prefix + name in tensors for prefix in before for name in text):
        return True
    own = [name for name in text if name not in images]
    return any(each == name or each.endswith(f".{name}") for name in own for each in tensors)


def _small(name: str, weights: Path | None, size: int) -> Backbone:
    if weights is None:
        raise ValueError(f"{name} has no published weights; pass a weights file")
    return Backbone(networks.trunk(name, size), 0, "", (pretrain.MEAN,) * 3, (pretrain.STD,) * 3, size)


def _packaged(weights: Path | None, options: dict[str, Any]) -> Backbone:
    path = packaged.file() if weights is None else None
    try:
        trunk = efficientnet_lite.build(options, path)
    except TypeError as error:  # what timm says of an option
        raise ValueError(
            f"{packaged.NAME} cannot be built with {_said(options)} ({error}); leave it out, or give another value"
        ) from error
    trunk.reset_classifier(0)  # type: ignore[operator]
    return Backbone(trunk, 0, "", packaged.MEAN, packaged.STD, DEFAULT_SIZE, weights=path.name if path else "")


@torch.no_grad()
def _require_trainable(trunk: nn.Module, size: int, options: dict[str, Any]) -> None:
    """Try what options have made of a network: a constructor takes many that no training can use."""
    said = _said(options)
    try:
        with torch.random.fork_rng(devices=[]):  # dropout draws
            made = copy.deepcopy(trunk).train()(torch.zeros(2, 3, size, size))
        why = "" if made.dim() == 2 else f"an image becomes a tensor of {tuple(made.shape[1:])}, not a vector"
    except Exception as error:  # whatever a network raises
        why = str(error).partition("\n")[0]
    if why:
        raise ValueError(
            f"options must leave a network that turns images into vectors and trains; {said} does not ({why}); leave it"
            " out, or give another value"
        )


@torch.no_grad()
def _width(trunk: nn.Module, size: int, architecture: str) -> int:
    """Length of the features, by trying: what libraries say of a network is not always what comes out of it."""
    try:
        return int(trunk(torch.zeros(1, 3, size, size)).shape[-1])
    except Exception as error:  # whatever a network says of a size that it was not made for
        raise ValueError(
            f"{architecture} cannot take images of {size} x {size} ({error}); choose another size, or other options"
        ) from error


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {', '.join(close)}?" if close else f"; it has {len(known)} others, check the name"


def _refused(constructor: Callable[..., Any], options: Mapping[str, Any]) -> bool:
    """Whether it is the options that a constructor does not take, without weights: it takes none of them, but these."""
    try:
        constructor(**options)
    except Exception:  # whatever a constructor raises
        return bool(options)
    return False


def _unavailable(
    name: str, error: Exception, weights: Path | None, instead: str, options: Mapping[str, Any] | None = None
) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if options:
        return f"{name} cannot be built with {_said(options)} ({said}); leave it out, or give another value"
    if weights is None:
        return f"the pretrained weights of {name} cannot be had ({said}); {instead}"
    return f"{name} cannot be built ({said}); check its name"


def _said(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
