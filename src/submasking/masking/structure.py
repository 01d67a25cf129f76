"""What a network is built of: to notice modules that took the place of others after masking."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

# what passes everything on once training is over, in torch and in other libraries
_NOTHING = (nn.Identity, _DropoutNd)
_DROPPED = re.compile("drop", re.IGNORECASE)
_HOOKS, _OWN = ("_forward_pre_hooks", "_forward_hooks"), "forward"
_AROUND = "_original_forward"  # what accelerate calls the one that it wraps


class Hook(NamedTuple):
    """Name of a module, the attribute that holds the hook, what torch knows it by."""

    module: str
    kind: str
    key: int


_INSIDE = ("_checkpoint_wrapped_module", "_orig_mod")  # what torch's wrappers call the module that they hold


def structure(model: nn.Module) -> dict[str, str]:
    """Return what each module is, by name: its class, and the settings that torch shows of its own classes.

    A norm over batches is the same in every form, as SyncBatchNorm; what does nothing in eval mode is left out.
    """
    described = {name: _described(module) for name, module in model.named_modules() if name}
    return {name: what for name, what in described.items() if what}


def rebuilt(model: nn.Module, known: dict[str, str], besides: set[str]) -> list[str]:
    """Return the names of modules that are others than when `structure` was asked, were put in, or are gone.

    Args:
        model: the network.
        known: what `structure` has said of it.
        besides: modules that may be taken off or have another size, such as a new classifier.
    """
    now = structure(model)
    odd = [name for name in {**known, **now} if known.get(name) != now.get(name)]
    return [name for name in odd if name not in besides or _class(now.get(name, "")) not in ("", _class(known[name]))]


def hooked(model: nn.Module, *, all_own: bool = False) -> frozenset[Hook]:
    """Return what is called beside the methods of a network's classes: its forward hooks, and each ``forward`` that
    somebody has put in the place of a class's, in terms that are a copy's, too.

    Args:
        model: the network.
        all_own: also a ``forward`` around the module's own that computes in another type, as `accelerate` puts there.
    """
    found = {
        Hook(name, kind, key)
        for name, module in model.named_modules()
        for kind in _HOOKS
        for key in getattr(module, kind)
    }
    own = [
        Hook(name, _OWN, 0)
        for name, module in model.named_modules()
        if _OWN in vars(module) and (all_own or not hasattr(module, _AROUND))
    ]
    return frozenset(found | set(own))


@contextmanager
def unhooked(model: nn.Module, hooks: Iterable[Hook]) -> Iterator[None]:
    """Have a network without these hooks for the length of a `with` block."""
    before: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
    owns: list[tuple[nn.Module, Any]] = []
    for name, kind, key in hooks:
        module = model.get_submodule(name)
        if kind == _OWN:
            owns.append((module, vars(module).pop(_OWN)))
        else:
            held = getattr(module, kind)
            before.append((held, dict(held)))
            del held[key]
    try:
        yield
    finally:
        for module, own in owns:
            vars(module)[_OWN] = own
        for held, items in reversed(before):  # in their order, which is that of the calls
            held.clear()
            held.update(items)


def aliases(model: nn.Module) -> dict[str, str]:
    """Return the first name of each tensor that has several, as of a module in two places, by each of the others."""
    first: dict[int, str] = {}
    found = {}
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, tensor in named:
            if (known := first.setdefault(id(tensor), name)) != name:
                found[name] = known
    return found


def wrapped_part(model: nn.Module) -> str:
    """Return the name of the module in the first wrapper around a part of a network, "" where there is none.

    Parameters below a wrapper for checkpointing or compilation have other names than those of the plain network.
    """
    inside = (name for name, _ in model.named_modules() if name.rpartition(".")[2] in _INSIDE)
    return next(inside, "")


def _described(module: nn.Module) -> str:
    kind = type(module)
    if isinstance(module, _NOTHING) or _DROPPED.search(kind.__name__):
        return ""
    if isinstance(module, _NormBase):
        return f"{'Instance' if isinstance(module, _InstanceNorm) else 'Batch'}Norm(eps={module.eps})"
    settings = module.extra_repr() if kind.__module__.startswith("torch.nn.modules.") else ""
    return f"{kind.__qualname__}({re.sub('(, )?inplace=True', '', settings)})"


def _class(described: str) -> str:
    return described.partition("(")[0]
