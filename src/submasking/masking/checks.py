"""What a model must be like before it is masked."""

from itertools import pairwise

import torch
from torch import Tensor, is_inference_mode_enabled, nn
from torch.nn.parameter import is_lazy

_COMPUTED = ("_orig", "_g", "_v")  # what prune, spectral_norm and weight_norm call the parameters they keep


# classes that wrap a model for speed or for several processes, by name: most need not be imported to be met
_WRAPPERS = {
    "DistributedDataParallel": "DistributedDataParallel(model)",
    "DataParallel": "DataParallel(model)",
    "OptimizedModule": "torch.compile(model)",
    "CheckpointWrapper": "apply_activation_checkpointing(model)",
    "FullyShardedDataParallel": "train without sharding: masks are not sharded",
}
IN_USE = "_submasking_in_use"  # what a bank notes on its model: the task whose weights are in it
SHARDED = "DTensor"  # what fully_shard makes of a parameter


def require_module(model: object) -> None:
    """Raise ``ValueError`` unless this is a module of torch."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module; got {type(model).__name__}; try timm.create_model(...)")


def check_model(model: nn.Module) -> None:
    """Raise ``ValueError`` unless this is a module, not wrapped for several processes, outside inference mode."""
    require_module(model)
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"a model must be masked before it is scripted or traced; {name or 'it'!r} is a TorchScript program;"
                " mask the module that it was made of, and script that after bake"
            )
        if kind in _WRAPPERS:
            raise ValueError(
                f"a model must be masked before it is wrapped; got {kind}, under which parameters have other names, or"
                f" are gathered already; call submasking.mask(model), then {_WRAPPERS[kind]}"
            )
        if IN_USE in module.__dict__:
            raise ValueError(
                f"a model must hold its own weights before masking; those of the task {module.__dict__[IN_USE]!r} of a"
                " bank are in it; call bank.release() first, and of a copy make a new one after that"
            )
    if torch.get_default_device().type == "meta":
        raise ValueError("a model must be masked outside torch.device('meta'); got one inside; leave the block first")
    if is_inference_mode_enabled():
        raise ValueError("a model must be masked outside torch.inference_mode; got one inside; leave the block first")
    odd = strangers(model)
    if odd:
        raise ValueError(
            f"all that a model holds must be tensors; {odd[0]!r} of its state_dict is none, as of quantised layers or a"
            " get_extra_state; mask the model before it is quantised, or without such layers"
        )


def strangers(model: nn.Module) -> list[str]:
    """Return the names in a model's state that are no tensors: packed weights, extra state."""
    return [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]


def check_filled(name: str, parameter: nn.Parameter) -> None:
    """Raise ``ValueError`` unless a parameter holds numbers of its own that can be changed."""
    wrong = (
        "is sharded; masks are not: use DistributedDataParallel after masking"
        if type(parameter).__name__ == SHARDED or type(parameter.data).__name__ == SHARDED
        else "is lazy, without a shape; call the model on a batch first"
        if is_lazy(parameter)
        else "is on the meta device; load its weights first"
        if parameter.is_meta
        else "was made in inference mode; make or clone the model outside of it"
        if parameter.is_inference()
        else "shows one number several times; replace it by its clone()"
        if any(stride == 0 and size > 1 for stride, size in zip(parameter.stride(), parameter.shape, strict=True))
        else ""
    )
    if wrong:
        raise ValueError(f"parameters must hold numbers of their own before they are masked; {name!r} {wrong}")


def check_apart(model: nn.Module) -> None:
    """Raise ``ValueError`` where two parameters lie over one memory: what is written into one is written into both."""
    unique = dict(model.named_parameters())
    spans = sorted(
        (str(parameter.device), parameter.data_ptr(), parameter.data_ptr() + parameter.nbytes, name)
        for name, parameter in unique.items()
        if type(parameter).__name__ != SHARDED and parameter.numel() and parameter.is_contiguous()
    )
    for (device, start, end, name), (device_after, start_after, _, after) in pairwise(spans):
        if device == device_after and start <= start_after < end:
            raise ValueError(
                f"parameters must have memory of their own, or be one; {name!r} and {after!r} are two over the same;"
                " set one to the other (such as decoder.weight = encoder.weight), or to its clone()"
            )


def check_plain(model: nn.Module, name: str) -> None:
    """Raise ``ValueError`` for a parameter that another weight is computed from: zeros in it are none in the weight."""
    path, _, attribute = name.rpartition(".")
    owner = model.get_submodule(path)
    bases = [attribute.removesuffix(ending) for ending in _COMPUTED if attribute.endswith(ending)]
    if ".parametrizations." in f".{name}" or any(isinstance(owner.__dict__.get(base), Tensor) for base in bases):
        raise ValueError(
            f"a masked parameter must be the weight itself; {name!r} is what a parametrization, a weight norm or a"
            " pruning computes a weight from; remove that first (remove_parametrizations, remove_weight_norm,"
            " prune.remove) or freeze the parameter"
        )


def check_numbers(name: str, parameter: nn.Parameter) -> None:
    """Raise ``ValueError`` for a parameter with NaN or infinity, of which a mask of 0 makes no 0."""
    if not bool(parameter.detach().isfinite().all()):
        raise ValueError(
            f"a masked parameter must hold finite numbers; {name!r} holds NaN or infinity; load its weights anew, or"
            " freeze it"
        )


def check_free(model: nn.Module, name: str, suffixes: tuple[str, ...]) -> None:
    """Raise ``ValueError`` where the model has something of its own under a name that masking a parameter takes."""
    path, _, attribute = name.rpartition(".")
    taken = [attribute + suffix for suffix in suffixes if hasattr(model.get_submodule(path), attribute + suffix)]
    if taken:
        raise ValueError(
            f"the names beside a masked parameter must be free; {name!r} is kept with {attribute}{suffixes[0]} and"
            f" {attribute}{suffixes[1]}, and its module has {taken[0]!r} of its own; rename that, or freeze the"
            " parameter"
        )
