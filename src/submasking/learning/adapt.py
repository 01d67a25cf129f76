"""Adapt anybody's backbone to images: by masks or by its weights, with labels (FS, FFT) or without (SSM, SSFT).

The notebooks and the command line both come here; protocol, "Training".
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.learning import augment
from submasking.learning.backbone import Backbone
from submasking.learning.batches import Batches
from submasking.learning.device import computed
from submasking.learning.images import ImageSet
from submasking.learning.stages import Split
from submasking.learning.swav import SwavHead, SwavLoss, forward_crops
from submasking.learning.train import History, by_epoch, cosine, fit
from submasking.learning.versions import seen
from submasking.masking.criteria import Criterion
from submasking.masking.decision import Decision
from submasking.masking.handle import Masking
from submasking.masking.masks import mask
from submasking.masking.norms import keep_in_eval
from submasking.masking.scores import Init, described
from submasking.masking.selection import Select, called, resolve
from submasking.records.names import SELF_SUPERVISED
from submasking.records.profiles import Optimisation, Swav
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, linear_head

MOMENTUM = 0.9
CACHE_BYTES = 2**31
RATES = ("step", "epoch")
# what each learns in the trunk; without a mask ("none") its norm statistics still follow the images
METHODS = {
    "FS": "masks", "FFT": "weights", "FS-none": "nothing",
    "SSM": "masks", "SSFT": "weights", "SSM-none": "nothing",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Adapted:
    """What adapting made.

    Attributes:
        trunk: a changed copy of the backbone's, in train mode.
        head: classifier on its features; None for a method without labels.
        masking: handle of the masked trunk; None where weights were learned.
        history: loss of each epoch, seconds.
    """

    trunk: nn.Module
    head: nn.Module | None
    masking: Masking | None
    history: History


class _Plan(NamedTuple):
    """Loss of a batch, batches, and what is trained on the features."""

    step_loss: Callable[[Any], Tensor]
    loader: Batches
    on_top: nn.Module


def adapt(
    backbone: Backbone,
    images: ImageSet,
    method: str,
    plan: Optimisation,
    *,
    style: augment.Style = augment.PHOTOS,
    swav: Swav | None = None,
    batch_size: int = 64,
    select: str | Select = "",
    from_stage: str = "",
    versions: int = 0,
    cache_bytes: int = CACHE_BYTES,
    memory: dict[str, Tensor] | None = None,
    rescale: str = "none",
    init: str | float | Init = "",
    criterion: Criterion | None = None,
    masks: Mapping[str, Bool[Tensor, "*shape"]] | None = None,
    head: nn.Linear | None = None,
    rates: str = "step",
    precision: str = "float32",
    seed: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
    restart: bool = False,
    on_epoch: Callable[[int, Masking | None], None] | None = None,
    label: str = "",
    progress: bool = True,
) -> Adapted:
    """Adapt a copy of a backbone to images; the backbone itself stays as it is.

    Args:
        backbone: the pretrained network.
        images: labelled images; methods without labels do not look at the labels.
        method: "FS" or "SSM" learn masks, "FFT" or "SSFT" the very weights that would be masked, "FS-none" or
            "SSM-none" neither, as a control; the first of each pair with labels, the second by SwAV.
        plan: learning rates, epochs, warm-up.
        style: augmentation of the images, or of SwAV's views.
        swav: the self-supervised loss; needed without labels.
        batch_size: images per step, at least 1.
        select: which parameters; "" takes the backbone's preset.
        from_stage: name of the module that is the first to learn, such as "layer3"; those that run before it stay as
            they are, norm statistics included (see `submasking.learning.stages`). "" lets all learn.
        versions: 0 augments images anew in each epoch; else each has that many augmented versions, rounded to bytes,
            of which an epoch sees one. For methods with labels.
        cache_bytes: with `from_stage` and `versions`, what the frozen stages make of every version is computed once
            and kept in memory, if it takes no more bytes than this; 0 computes it in each epoch, to the same bits.
        memory: where that is kept beyond this call, for others of the same backbone: it is looked for here first, under
            a name that tells images, versions and stages apart. None forgets it.
        rescale: "none" or "variance", of masks.
        init: start of the scores of masks, see `submasking.masking.masks.mask`; "" takes the plan's.
        criterion: which scores switch a weight off, such as `submasking.TopK(0.5)`; None is the threshold 0.
        masks: where masks start instead, those of another task: scores of 1 above the threshold where a weight is on, 1
            below where it is off, as `Masking.load_masks` sets them.
        head: with labels, where the head starts, such as a probe of the untouched network; it stays as it is. None
            takes a new one, or CLIP's text head.
        rates: whether learning rates change with every "step" or every "epoch"; the first epoch of a warm-up has a rate
            of 0 then, so that it moves the norm statistics only, as in the paper's code.
        precision: "float32" or "bfloat16", see `submasking.learning.device.computed`.
        seed: decides order, augmentation, head and random scores.
        device: where to train; trunk and head stay there.
        checkpoint: where it goes on from; see `submasking.learning.train.fit`, also for the next two and the last two.
        checkpoint_seconds: see there.
        restart: see there.
        on_epoch: called after each epoch with its index and the handle of the masks.
        label: see there.
        progress: see there.

    Raises:
        ValueError: for an unknown method, a missing `swav`, an argument out of range, labels of a single class, a
            network that cannot be split at `from_stage`, activations that do not fit, or a checkpoint that is damaged
            or of another training.
        FloatingPointError: the loss is not finite.
    """
    _require(method, images, swav, versions, cache_bytes, rates)
    wanted = (len(images.classes), backbone.width)
    if head is not None and (method in SELF_SUPERVISED or tuple(head.weight.shape) != wanted):
        raise ValueError(
            f"head must be for a method with labels, {wanted} here; got {tuple(head.weight.shape)} for {method}"
        )
    trunk = copy.deepcopy(backbone.trunk).to(device)
    follow = plan.norms == "adapt" and any(
        isinstance(each, nn.modules.batchnorm._BatchNorm) for each in trunk.modules()
    )
    if batch_size == 1 and follow:
        raise ValueError(
            "batch_size must be at least 2 where statistics of batch norms follow the images, got 1; take more images a"
            " step, or hold the statistics with norms='freeze' (--norms freeze)"
        )
    # a preset that comes with its backbone is meant, whatever share it masks; one that is asked for by name may not be
    chosen = select or called(backbone.preset)
    split = Split(trunk, from_stage, images.images.shape[-1]) if from_stage else None
    if split is not None:
        chosen = _later(chosen, trunk, split.frozen, from_stage)
    init = plan.init if init == "" else init
    masking, optimizers = learnable(
        trunk, METHODS[method], plan, select=chosen, criterion=criterion, rescale=rescale, init=init, seed=seed
    )
    if masks is not None:
        if masking is None:
            raise ValueError(f"masks must be None for {method}, which learns none; leave them out")
        masking.load_masks(masks)
    if swav is not None and method in SELF_SUPERVISED:
        network = computed(trunk, precision, device)
        made = _unlabelled(network, backbone, images, swav, plan, style, batch_size, seed, device)
    else:
        network, loader = seen(
            split or trunk, backbone, images, versions=versions, cache_bytes=cache_bytes, memory=memory,
            name="" if memory is None else " ".join(
                map(str, (backbone.fingerprint, from_stage, _checksum(images), versions, style, seed))
            ), style=style,
            batch_size=batch_size, seed=seed, device=device, label=label, progress=progress,
        )  # fmt: skip
        start = head_for(backbone, images.classes, seed) if head is None else copy.deepcopy(head)
        made = _labelled(computed(network, precision, device), start.to(device), loader)
    if any(parameter.requires_grad for parameter in made.on_top.parameters()):
        late = method in SELF_SUPERVISED and swav is not None and swav.freeze_prototypes > 0
        optimizers.append(sgd(made.on_top, plan.head_lr, plan.head_weight_decay, late=late))
    trunk.train()
    if split is not None:
        split.hold()
    begun = "" if masking is None else masking.init  # which a checkpoint does not say
    history = fit(
        made.step_loss,
        made.loader,
        optimizers,
        epochs=plan.epochs,
        schedule=cosine(plan.warmup) if rates == "step" else by_epoch(cosine(plan.warmup), plan.epochs),
        state={"trunk": trunk, "head": made.on_top, "loader": made.loader},
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        restart=restart,
        identity={}
        if checkpoint is None
        else _of_backbone(backbone)
        | _of_images(images)
        | {
            "method": method,
            "plan": asdict(plan),
            "style": repr(style),
            "swav": repr(swav),
            "batch size": batch_size,
            "selection": select if isinstance(select, str) else "",
            "first stage": from_stage,
            "number of versions": versions,
            "rescale": rescale,
            "init": described(init),
            "criterion": repr(criterion),
            "first masks": fingerprint(masks or {}),
            "first head": fingerprint({} if head is None else head.state_dict()),
            "rates": rates,
            "precision": precision,
            "seed": seed,
        },
        on_epoch=None if on_epoch is None else lambda epoch: on_epoch(epoch, masking),
        label=label,
        progress=progress,
    )
    if masking is not None:
        masking.init = begun
    return Adapted(trunk, None if method in SELF_SUPERVISED else made.on_top, masking, history)


def _require(method: str, images: ImageSet, swav: Swav | None, versions: int, cache_bytes: int, rates: str) -> None:
    """Refuse arguments that are out of range, or that no method of this kind can use."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method in SELF_SUPERVISED and swav is None:
        raise ValueError(f"{method} needs the settings of its loss; got swav=None; pass Swav(crops=(2,), sizes=(224,))")
    if method not in SELF_SUPERVISED and len(images.classes) < 2:
        raise ValueError(
            f"{method} must have at least two classes to tell apart, {images.name!r} has {', '.join(images.classes)};"
            " add a folder of what it is not"
        )
    if versions < 0 or cache_bytes < 0:
        raise ValueError(
            f"versions and cache_bytes must be at least 0, got {versions} and {cache_bytes}; 0 does without"
        )
    if versions and method in SELF_SUPERVISED:
        raise ValueError(f"versions must be 0 for {method}, whose views are drawn anew in each epoch; got {versions}")
    if rates not in RATES:
        raise ValueError(f"rates must be one of {', '.join(RATES)}; got {rates!r}")


def _of_backbone(backbone: Backbone) -> dict[str, Any]:
    """What tells a training on one backbone from that on another."""
    return {
        "backbone": backbone.fingerprint,
        "architecture": f"{backbone.architecture} {dict(backbone.options)}",
        "preprocessing": repr(backbone.preprocessing),
    }


def _of_images(images: ImageSet) -> dict[str, Any]:
    """What tells a training on some images from that on others."""
    return {"classes": list(images.classes), "set of images": _checksum(images)}


def _checksum(images: ImageSet) -> int | str:
    """The same for the same images with the same labels in the same order."""
    if images.content:  # known already, and the images may be many gigabytes
        return images.content
    return zlib.crc32(images.labels.numpy().data, zlib.crc32(images.images.contiguous().numpy().data))


def _later(select: str | Select, trunk: nn.Module, frozen: frozenset[str], start: str) -> Select:
    """A selection that freezes the first stages as well."""
    decisions = resolve(select, trunk)
    if all(decision.action != "mask" for name, decision in decisions.items() if name not in frozen):
        raise ValueError(
            f"from_stage must leave something to learn, nothing is selected from {start!r} on; choose an earlier one"
        )

    def later(name: str, parameter: nn.Parameter) -> Decision:
        return decisions[name]._replace(action="freeze") if name in frozen else decisions[name]

    return later


def learnable(
    trunk: nn.Module,
    what: str,
    plan: Optimisation,
    *,
    select: str | Select,
    criterion: Criterion | None = None,
    rescale: str = "none",
    init: str | float | Init,
    seed: int = 0,
) -> tuple[Masking | None, list[torch.optim.Optimizer]]:
    """Make a trunk trainable by "masks", or by the very "weights" that would be masked, and give its optimizer.

    "nothing" freezes every parameter: there is no optimizer.
    """
    if what == "masks":
        masking = mask(trunk, select, criterion, rescale=rescale, init=init, norms=plan.norms, seed=seed)
        return masking, [masking.optimizer(lr=plan.lr, momentum=MOMENTUM)]
    keep_in_eval(trunk, plan.norms)
    decisions = resolve(select, trunk)
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(what == "weights" and decisions[name].action == "mask")
    if what == "nothing":
        return None, []
    return None, [sgd(trunk, plan.lr, plan.weight_decay)]


def head_for(backbone: Backbone, classes: tuple[str, ...], seed: int) -> nn.Module:
    """CLIP's text head where the backbone asks for it, else a new linear head."""
    embeddings = backbone.text_head(classes) if backbone.head == "text" else None
    if embeddings is not None:
        return CosineHead(embeddings, backbone.logit_scale)
    return linear_head(backbone.width, len(classes), seed=seed)


def swav_loss(width: int, swav: Swav, *, seed: int, steps: int) -> SwavLoss:
    """The self-supervised loss with a new head, initialised from `seed` alone, for a run of `steps` steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = SwavHead(width, swav.dimensions, swav.prototypes)
    return SwavLoss(
        head,
        temperature=swav.temperature,
        epsilon=swav.epsilon,
        iterations=swav.iterations,
        large=swav.crops[0],
        queue=swav.queue,
        queue_from=int(swav.queue_from * steps),
        freeze_prototypes=swav.freeze_prototypes,
    )


def sgd(module: nn.Module, lr: float, weight_decay: float, *, late: bool = False) -> torch.optim.Optimizer:
    """SGD with momentum over what `module` lets train; `late` where some of it has no gradient in the first steps.

    torch's fused SGD breaks where a parameter gets its first gradient after others, as frozen prototypes do.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=lr, momentum=MOMENTUM, weight_decay=weight_decay, fused=not late)


def _views(backbone: Backbone, swav: Swav, style: augment.Style) -> Callable[[Tensor, torch.Generator], list[Tensor]]:
    """Transform of a self-supervised batch: crops of each image, large ones first, normalised."""
    kinds = [kind for kind, count in enumerate(swav.crops) for _ in range(count)]
    sizes = [swav.sizes[kind] for kind in kinds]
    scales = [swav.scales[kind] for kind in kinds] if swav.scales else None
    return lambda images, generator: [
        backbone.normalise(view) for view in augment.views(images, generator, sizes, scales, style=style)
    ]


def _labelled(network: Callable[[Tensor], Tensor], head: nn.Module, loader: Batches) -> _Plan:
    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        pictures, labels = batch
        return nn.functional.cross_entropy(head(network(pictures)), labels)

    return _Plan(step_loss, loader, head)


def _unlabelled(
    network: Callable[[Tensor], Tensor], backbone: Backbone, images: ImageSet, swav: Swav, plan: Optimisation,
    style: augment.Style, batch_size: int, seed: int, device: str,
) -> _Plan:  # fmt: skip
    loader = Batches(images, batch_size, _views(backbone, swav, style), seed=seed, device=device)
    loss = swav_loss(backbone.width, swav, seed=seed, steps=plan.epochs * len(loader)).to(device)

    def step_loss(batch: tuple[list[Tensor], Tensor]) -> Tensor:
        crops, _ = batch
        return loss(forward_crops(network, crops))

    return _Plan(step_loss, loader, loss)
