"""Heads: features -> class logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence, Set
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from submasking.masking.classifier import last_layers
from submasking.masking.modes import evaluated
from submasking.masking.past import BEFORE
from submasking.masking.state import FROZEN, SCORES
from submasking.masking.structure import aliases

ASSUMED = (64, 96)  # sides in pixels of images, to a network of which nobody says what it takes


class CosineHead(nn.Module):
    """CLIP's classifier: exp(logit_scale) * cosine of image features and fixed text embeddings of the classes.

    It has nothing to train and nothing to store: the class names give the embeddings back.

    Args:
        embeddings: one text embedding per class, of any length.
        logit_scale: the exponent's argument as CLIP learnt it.
    """

    def __init__(self, embeddings: Float[Tensor, "classes d"], logit_scale: float) -> None:
        super().__init__()
        self.embeddings: Tensor
        self.register_buffer("embeddings", nn.functional.normalize(embeddings, dim=1))
        self.scale = float(torch.tensor(logit_scale).exp())

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        return self.scale * nn.functional.normalize(features, dim=1) @ self.embeddings.T


def linear_head(width: int, classes: int, *, seed: int) -> nn.Linear:
    """A new linear head, initialised from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, classes)


def check_classes(classes: Sequence[str]) -> None:
    """Raise `ValueError` unless the names of classes are texts, each another."""
    if isinstance(classes, Mapping):
        raise ValueError(
            "classes must be a list of names in the order of the outputs; got a dict; pass such as"
            " sorted(class_to_idx, key=class_to_idx.get)"
        )
    if isinstance(classes, str | Set) or not isinstance(classes, Collection):
        what = f"the text {classes!r}" if isinstance(classes, str) else repr(classes)
        raise ValueError(f"classes must be a list of names; got {what}; put them into a list, () for none")
    odd = [name for name in classes if not isinstance(name, str)]
    if odd:
        raise ValueError(
            f"a class must have a text as its name; got {odd[0]!r}; write it as one, such as {str(odd[0])!r}"
        )
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise ValueError(f"each class must have a name of its own; {twice[0]!r} is there twice; tell them apart")


def check_outputs(
    model: nn.Module, trained: Container[str], classes: Sequence[str], state: Mapping[str, Tensor] | None = None
) -> None:
    """Raise `ValueError` unless a classifier that is part of the model, and trained, has an output for each class.

    Args:
        model: the network.
        trained: names of what a task trains of it.
        classes: names.
        state: what the task will set in it, perhaps to another number of outputs; none: it is set already.
    """
    for path, module in _trained_classifiers(model, trained):
        if not isinstance(module, nn.Linear):
            continue
        outputs = len((state or {}).get(f"{path}.weight", module.weight))
        if outputs != len(classes):
            raise ValueError(
                f"a classifier must have one output for each class; {path!r} has {outputs}, there are"
                f" {len(classes)} names; name every class"
            )


def trains_classifier(model: nn.Module, trained: Container[str]) -> bool:
    """Return whether a classifier that is part of a model is among the tensors that a task trains, by their names."""
    return any(True for _ in _trained_classifiers(model, trained))


def _trained_classifiers(model: nn.Module, trained: Container[str]) -> Iterator[tuple[str, nn.Module]]:
    layers = {id(layer) for layer in last_layers(model)}
    for path, module in model.named_modules():
        if id(module) in layers and f"{path}.weight" in trained:
            yield path, module


def reshaped(model: nn.Module, state: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> list[str]:
    """Names of parameters that have another shape than before and may not.

    A classifier of the model has a row for each class, so their number may change, of weight and bias alike: a bias of
    one number would be spread over all classes without a word.

    Args:
        model: the network.
        state: new values of parameters by name.
        before: their values in the network.
    """
    layers = {id(layer) for layer in last_layers(model)}
    free: set[str] = set()  # to have another number of rows
    for path, module in model.named_modules():
        if id(module) in layers:
            own = [name for kind in ("weight", "bias") if (name := f"{path}.{kind}".lstrip(".")) in before]
            if len({state.get(name, before[name]).shape[:1] for name in own}) == 1:
                free.update(own)
    return [name for name, value in state.items() if value.shape[name in free :] != before[name].shape[name in free :]]


def check_head(head: nn.Module | None, classes: Sequence[str]) -> None:
    """Raise `ValueError` unless a head is a module with finite numbers, and an output for each class that has a name.

    The outputs of a head of several layers are counted by trying it on features of nothing but zeros.
    """
    if head is None:
        return
    if not isinstance(head, nn.Module):
        raise ValueError(f"a head must be a module, features -> logits; got {head!r}; pass such as nn.Linear(512, 10)")
    held = [*head.parameters(), *head.buffers()]
    if any(is_lazy(tensor) for tensor in held):
        raise ValueError("a head must have a shape; got a lazy one; call it on features first")
    if not all(bool(tensor.isfinite().all()) for tensor in held):
        raise ValueError("a head must hold finite numbers; got nan or inf; lower its learning rate and train it again")
    outputs = _outputs(head)
    if len(classes) and outputs not in (None, len(classes)):
        raise ValueError(
            f"a head must have one output for each class; got {outputs} and {len(classes)} names; name every class"
        )


def logits_of(head: nn.Module, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
    """What a head says of features of any type, wherever they are; the head stays of its own, which a cast would round.

    Args:
        head: features -> logits.
        features: of the length that it takes.
    """
    held = {**dict(head.named_parameters()), **dict(head.named_buffers())}
    fitted = {
        name: value.to(features if value.is_floating_point() else features.device) for name, value in held.items()
    }
    logits: Tensor = called(head, fitted, features)
    return logits


def called(module: nn.Module, tensors: Mapping[str, Tensor], given: Tensor) -> Any:
    """What a module gives with other tensors, which are put into each place once, and taken out again.

    `torch.func.functional_call` puts them into a module that is registered under two names twice, and leaves the second
    there afterwards.

    Args:
        module: it.
        tensors: parameters and buffers by their first names.
        given: what it is called with.
    """
    first = aliases(module)
    places = {
        name: tensors[known]
        for path, part in module.named_modules()  # each once
        for own in (*part._parameters, *part._buffers)
        if (known := first.get(name := f"{path}.{own}".lstrip("."), name)) in tensors
    }
    return functional_call(module, places, (given,), tie_weights=False)


@torch.no_grad()
def _outputs(head: nn.Module) -> int | None:
    """How many logits a head gives; None where it cannot be told."""
    if isinstance(head, nn.Linear):
        return head.out_features
    if isinstance(head, CosineHead):
        return len(head.embeddings)
    first = next((module for module in head.modules() if isinstance(module, nn.Linear)), None)
    logits = None if first is None else tried(head, first.weight.new_zeros(1, first.in_features))
    return None if logits is None else logits.shape[-1]


def tried(
    module: nn.Module, given: Tensor, tensors: Mapping[str, Tensor] | None = None, *, seed: int = 0
) -> Tensor | None:
    """What a module gives in eval mode, of which nothing is changed; None where it takes no such thing.

    Nor is the random state of torch, where a network draws in eval mode, too.

    Args:
        module: it, which is called as it is but for its hooks' own doings.
        given: what it is called with.
        tensors: parameters and buffers by name that it has meanwhile.
        seed: of what it draws.
    """
    second = aliases(module)  # which follow the first
    used = {name: value for name, value in (tensors or {}).items() if name not in second}
    # some networks move their statistics in eval mode, too: these are copies that do
    masked = {name + suffix for name, _ in module.named_parameters() for suffix in (FROZEN, SCORES)}
    moved = {
        name: used.get(name, buffer).clone()
        for name, buffer in module.named_buffers()
        if name not in masked and not name.endswith(BEFORE)
    }
    devices = [given.device.index] if given.device.type == "cuda" else []
    try:
        with evaluated(module), torch.random.fork_rng(devices):
            for generator in (torch.default_generator, *(torch.cuda.default_generators[index] for index in devices)):
                generator.manual_seed(seed)
            found = called(module, used | moved, given)
    except Exception:  # whatever a network says of what it was not made for
        return None
    return found if isinstance(found, Tensor) and found.dim() == 2 else None


def image_size(model: nn.Module, preprocessing: Mapping[str, Any]) -> int | None:
    """Side in pixels of the square pictures that a network takes; None: not known.

    Args:
        model: a network of timm says it itself.
        preprocessing: as "size" or "input_size": a number, or the last two of a list.
    """
    config = getattr(model, "pretrained_cfg", None)
    config = config if isinstance(config, Mapping) else {"input_size": getattr(config, "input_size", None)}
    told = preprocessing.get("size") or preprocessing.get("input_size") or config.get("input_size")
    size = told if isinstance(told, list | tuple) and told else [told]
    return size[-1] if type(size[-1]) is int and size[-1] > 0 and size[-1] == size[-2:][0] else None


@torch.no_grad()
def measured_width(model: nn.Module, preprocessing: Mapping[str, Any]) -> int | None:
    """Length of the features of one blank image, measured in eval mode; None where it cannot be told.

    Args:
        model: the network, on which nothing is changed.
        preprocessing: says the "size" of an image; a network of timm knows its own. Where nobody says it, images of two
            sizes must have features of the same length.
    """
    size, like = image_size(model, preprocessing), next(model.parameters(), None)
    if like is None:
        return None
    found = [tried(model, like.new_zeros(1, 3, side, side)) for side in (ASSUMED if size is None else (size,))]
    widths = {None if features is None else int(features.shape[-1]) for features in found}
    return widths.pop() if len(widths) == 1 else None


def require_width(head: nn.Module | None, model: nn.Module, preprocessing: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a head stands on a network, not in it, and takes its features.

    These are measured, as far as they can be.
    """
    if head is None:
        return
    held = {id(parameter) for parameter in head.parameters()}
    own = next((name for name, parameter in model.named_parameters() if id(parameter) in held), "")
    if own:
        raise ValueError(
            f"a head must stand on its backbone, not in it; this has the model's own {own!r}; leave head= out: it is"
            " stored with the model; or pass a copy (copy.deepcopy) where the model's forward passes it by"
        )
    width = measured_width(model, preprocessing)
    if width is not None:
        check_width(head, width)


def check_width(head: nn.Module | None, width: int) -> None:
    """Raise `ValueError` unless a head takes features of this length."""
    taken = head.in_features if isinstance(head, nn.Linear) else width
    taken = head.embeddings.shape[1] if isinstance(head, CosineHead) else taken
    if taken != width:
        raise ValueError(
            f"a head must take the features of its backbone; it takes {taken}, there are {width}; the task needs the"
            " head that was trained on them, or none where they are logits already"
        )
