"""What a masked model was before: kept on the model itself, so that it follows moves, casts, copies and loads."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

BEFORE = "_before"
_NARROW = (torch.float32, torch.bfloat16, torch.float16)


def place(name: str) -> str:
    """Return the name, on the model, of the buffer that holds what a buffer or trained parameter was before."""
    return name.replace(".", "/") + BEFORE  # torch takes no dots in the name of a buffer


def remember(model: nn.Module, names: Iterable[str]) -> None:
    """Keep copies of buffers and trained parameters on the model, saved and loaded with it if they are themselves."""
    temporary = {f"{path}.{name}".lstrip(".") for path, module in model.named_modules()
                 for name in module._non_persistent_buffers_set}  # fmt: skip
    tensors = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    for name in list(names):
        model.register_buffer(place(name), tensors[name].detach().clone(), persistent=name not in temporary)


def recalled(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return what `remember` has kept, not copied."""
    return {name: model._buffers[place(name)] for name in names}  # type: ignore[misc]


def forget(model: nn.Module, names: Iterable[str]) -> None:
    """Take what `remember` has kept off the model."""
    for name in names:
        delattr(model, place(name))


def digests(model: nn.Module, names: Iterable[str]) -> dict[str, dict[torch.dtype, str]]:
    """Return, of frozen parameters, a hash of the numbers, to notice that somebody has changed them.

    Their own type comes first; floats have one for each type that rounds them, too, so that they may be cast.
    """
    parameters = dict(model.named_parameters())
    return {name: _digests(parameters[name].detach()) for name in names if name in parameters}


def changed(model: nn.Module, known: Mapping[str, Mapping[torch.dtype, str]]) -> list[str]:
    """Return the names of frozen parameters that are gone, or hold other numbers than when `digests` was asked.

    What was cast to a type that rounds is compared rounded, what was cast to a wider one as it was.
    """
    parameters = dict(model.named_parameters())
    return [name for name, theirs in known.items() if name not in parameters or not _same(parameters[name], theirs)]


def _digests(parameter: Tensor) -> dict[torch.dtype, str]:
    own = parameter.dtype
    narrow = [kind for kind in _NARROW if own.is_floating_point and own.itemsize > kind.itemsize]
    return {kind: _hash(parameter.to(kind)) for kind in (own, *narrow)}


def _same(parameter: Tensor, known: Mapping[torch.dtype, str]) -> bool:
    kind = parameter.dtype if parameter.dtype in known else next(iter(known))
    return _hash(parameter.detach().to(kind)) == known[kind]


def _hash(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().flatten()
    return hashlib.blake2b(flat.view(torch.uint8).numpy().data if flat.numel() else b"", digest_size=16).hexdigest()
