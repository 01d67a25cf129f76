"""The one reader of a network's weights: from a file into a module, whatever comes before the names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from submasking.files import contents, naming, pickles, store


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file by name; its content says what it is, not its own name.

    Raises:
        ValueError: there is no such file, or it cannot be read; the message says what it is and what helps.
    """
    kind = contents.kind(path)
    if kind is contents.Kind.SAFETENSORS:
        tensors, metadata = store.read(path)
        if contents.MASK_FILE in metadata:
            raise ValueError(
                f"weights must be a backbone's own, but {path} is a mask file: it says which of them are off; pass the"
                " file of the weights themselves"
            )
    else:
        tensors = pickles.read(path, mapped=kind is contents.Kind.ZIP)
    return naming.unwrapped(tensors)


def load(module: nn.Module, path: Path) -> None:
    """Load a weights file into a module.

    The network's names may have anything before them, as long as it is the same for all: what wrapped the network when
    it was saved (`module.`, `_orig_mod.`, `backbone.`, ...), or the key of a dictionary (`state_dict`). Tensors that
    the module does not have, such as a classifier's, are left out. Numbers of other precision are converted.

    Raises:
        ValueError: the file cannot be read; a tensor is missing, of another shape, quantised, or not finite; there are
            several networks that would do; or the network in it is masked.
    """
    expected, tensors = module.state_dict(), read(path)
    prefix = _prefix(tensors, expected, path)
    if masked := [name for name in expected if f"{prefix}{name}_scores" in tensors]:
        raise ValueError(
            f"weights must be a backbone's own, but {path} is a checkpoint of a masked model: {masked[0]!r} has scores"
            " and zeros in it; pass the file that the model was masked from, or bake the model and save that"
        )
    found = {name: tensors[prefix + name] for name in expected if prefix + name in tensors}
    _require_numbers(found, expected, path)
    module.load_state_dict({name: value for name, value in found.items() if _fits(value, expected[name])}, strict=False)


def _prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> str:
    """What stands before the network's names; refused where nothing fits, or too much."""
    prefixes = naming.prefixes(tensors, expected)
    needed = [name for name in expected if not name.endswith(naming.COUNTER)]

    def faults(prefix: str) -> list[str]:
        return [fault for name in needed if (fault := _misfit(name, tensors.get(prefix + name), expected[name]))]

    whole = [prefix for prefix in prefixes if prefixes[prefix] >= len(needed) and not faults(prefix)]
    if not whole:
        closest = max(prefixes, key=lambda prefix: prefixes[prefix], default="")
        raise _unfitting(faults(closest), closest, tensors, needed, path)
    if "" in whole:  # the names as they are
        return ""
    copies = [all(torch.equal(tensors[one + name], tensors[whole[0] + name]) for name in needed) for one in whole[1:]]
    if not all(copies):
        raise ValueError(
            f"weights must be of one network, but {path} holds several that fit: {', '.join(whole)}; save the one you"
            " mean in a file of its own"
        )
    return whole[0]


def _fits(value: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor is for this place; false only for a counter that was kept in a way of its own."""
    return value.shape == wanted.shape and value.is_floating_point() == wanted.is_floating_point()


def _misfit(name: str, value: Tensor | None, wanted: Tensor) -> str:
    if value is None:
        return f"{name} is missing"
    packed = f"{value.dtype} " if value.is_floating_point() != wanted.is_floating_point() else ""
    return "" if value.shape == wanted.shape else f"{name} is {packed}{tuple(value.shape)}, not {tuple(wanted.shape)}"


def _unfitting(
    faults: list[str], prefix: str, tensors: Mapping[str, Tensor], needed: list[str], path: Path
) -> ValueError:
    shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    after = f", looked for after {prefix!r}" if prefix else ""
    names = f"the file's names are such as {', '.join(list(tensors)[:3])}" if tensors else "it holds no tensors"
    return ValueError(
        f"weights must fit the architecture, but in {path}: {shown}{after} ({names}; expected are {len(needed)} such as"
        f" {', '.join(needed[:3])}); pass weights of this architecture, or check the model's name"
    )


def _require_numbers(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Refuse what would be loaded as if it were numbers of the network, and is not."""
    for name, value in found.items():
        wanted = expected[name]
        if name.endswith(naming.COUNTER):
            continue
        narrow = value.is_complex() or value.itemsize < 2 <= wanted.itemsize
        if narrow or value.is_floating_point() != wanted.is_floating_point():
            raise ValueError(
                f"weights must be of the network's kind, floats of 16 bits or more for {wanted.dtype}, but {name} in"
                f" {path} is {value.dtype}; take the weights from before they were quantised or converted"
            )
        if value.layout != torch.strided or value.is_meta:
            raise ValueError(f"weights must be dense numbers, but {name} in {path} is not; save it with its values")
        bad = ~value.to(wanted.dtype).isfinite() & wanted.isfinite()
        if bad.any():
            raise ValueError(
                f"weights must be finite numbers, but {name} in {path} has {int(bad.sum())} that are not (NaN or"
                " infinity); take weights from before the training failed"
            )
