"""Learn which weights of a frozen network to switch off (draft, section 3.1).

The network is not wrapped. Each masked parameter keeps its name and holds the effective weight theta * M; backward
leaves dL/d(effective weight) in its ``.grad``, and after backward the optimizer turns that into new scores and a new
effective weight. Whatever happens between (several forwards, accumulation, checkpointing, autocast, compilation,
data parallelism) needs no knowledge of masks.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from submasking.masking import past, strays
from submasking.masking.checks import (
    check_apart,
    check_filled,
    check_free,
    check_model,
    check_numbers,
    check_plain,
    require_module,
)
from submasking.masking.criteria import Criterion, Threshold, check_rescale
from submasking.masking.handle import HANDLE, Masking
from submasking.masking.norms import keep_in_eval
from submasking.masking.scores import Init, described, initial, require_above
from submasking.masking.selection import Select, resolve
from submasking.masking.shares import shares, warn_of_shares
from submasking.masking.state import FROZEN, SCORES, Target, owner_of


def mask(
    model: nn.Module,
    select: str | Select = "auto",
    criterion: Criterion | None = None,
    *,
    init: str | float | Init = "constant",
    rescale: str = "none",
    norms: str = "adapt",
    seed: int = 0,
) -> Masking:
    """Mask a model in place: from here on its scores are what is learned.

    Args:
        model: any module; its parameters keep their names.
        select: "auto" masks the weights of every layer of any network and trains its classifier (see
            `submasking.masking.auto`); "resnet", "vit" and "faithful" are the paper's, "weights" masks the classifier
            too; or a callable (name, parameter) -> "mask", "train", "freeze" or a `Decision`. Tied parameters are
            asked about once, under their first name.
        criterion: `Threshold` (the default, with mu = 0), `TopK`, or a callable: the scores of one tensor -> a bool
            mask of their shape.
        init: first scores: "constant" (1), "squared" (of the frozen weight: masks then follow fine-tuning, with its
            learning rates), "normal", "kaiming", "magnitude", a finite number S0, or a callable (frozen weights,
            generator) -> scores of their shape; see `submasking.masking.scores`.
        rescale: "none" (draft) or "variance" (arXiv 2409.07577): divide by alpha,
            see `submasking.masking.criteria.alpha`.
        norms: "adapt" lets the running statistics of norms follow the task, "freeze" keeps these layers in eval mode;
            `submasking.recalibrate` is the third policy.
        seed: any integer; seed of random scores.

    Returns:
        The handle.

    Raises:
        ValueError: if nothing is selected, the model is masked already, an argument is out of range, or the model
            cannot be masked as it is: parameters without data, a parametrization, a wrapper such as
            `DistributedDataParallel`.

    Warns:
        UserWarning: if a preset masks less than half of what is not trained, or more than a quarter of all parameters
            is trained; later, if a trained parameter has gradients for some steps and nothing moves it.
    """
    criterion = Threshold() if criterion is None else criterion
    check_rescale(rescale)
    check_model(model)
    if not callable(criterion) or isinstance(criterion, type):
        raise ValueError(f"a criterion must be a callable scores -> mask; got {criterion!r}; try TopK(0.5)")
    if any(is_masked(module) for module in model.modules()):
        raise ValueError("a model can be masked once; this one, or a part of it, already is; bake or unbake it first")
    if _orphaned(model):
        raise ValueError(
            f"a model can be masked once; this {type(model).__name__} holds parts of a masked one without its handle;"
            " bake or unbake the whole model before parts of it are taken or copied"
        )
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    unique = dict(model.named_parameters())
    for name, parameter in unique.items():
        check_filled(name, parameter)
    check_apart(model)
    decisions = resolve(select, model)
    targets = tuple(
        Target(name, tuple(names[id(unique[name])]), decision.group)
        for name, decision in decisions.items()
        if decision.action == "mask"
    )
    if not targets:
        raise ValueError(
            f"a selection must mask at least one parameter; {select!r} masks none of {len(unique)}; "
            + ("pass a callable that does" if select == "weights" else "'weights' fits any network with such layers")
        )
    for target in targets:
        check_plain(model, target.name)
        check_numbers(target.name, unique[target.name])
        check_free(model, target.name, (FROZEN, SCORES))
    if isinstance(criterion, Threshold):
        require_above(criterion.mu, init)
    starts = {
        target.name: _start(unique[target.name].detach(), target.name, init, seed, decisions[target.name].part)
        for target in targets
    }
    for name, (_, scores) in starts.items():
        _require_mask(criterion, name, scores)
    keep_in_eval(model, norms)
    found = shares(decisions, model)
    warn_of_shares(select, found, stacklevel=2)
    trained = tuple(name for name, decision in decisions.items() if decision.action == "train")
    masking = Masking(model, targets, criterion, rescale, trained, found)
    masking.init = described(init)
    masking._flags = {name: parameter.requires_grad for name, parameter in unique.items()}
    masking._remembered = (*dict(model.named_buffers()), *trained)
    past.remember(model, masking._remembered)
    masking.kept_as_they_are = past.digests(
        model, [n for n, decision in decisions.items() if decision.action == "freeze"]
    )
    for name, decision in decisions.items():
        unique[name].requires_grad_(decision.action != "freeze")
    for name, (frozen, scores) in starts.items():
        owner, attribute = owner_of(model, name)
        owner.register_buffer(attribute + FROZEN, frozen)
        owner.register_buffer(attribute + SCORES, scores)
    masking._hooks = (
        model.register_load_state_dict_pre_hook(masking._on_load),
        model.register_load_state_dict_post_hook(masking._on_loaded),
    )
    setattr(model, HANDLE, masking)
    strays.expect(masking)
    _ignore_in_ddp(model, masking.own_buffers())
    masking.apply()
    return masking


def of(model: nn.Module | Masking) -> Masking:
    """Return the handle of a masked model, of a copy of one, or of a module that contains one.

    Args:
        model: a module; the first masked one found in it counts. A handle is its own.

    Raises:
        ValueError: if it holds no masked model.
    """
    if isinstance(model, Masking):
        return model
    require_module(model)
    for module in model.modules():
        if HANDLE in module.__dict__:
            return module.__dict__[HANDLE]
    if _orphaned(model):
        raise ValueError(
            f"the model must be masked as a whole; this {type(model).__name__} holds parts of a masked one without its"
            " handle; pass the whole model"
        )
    raise ValueError(f"the model must be masked; this {type(model).__name__} is not; call submasking.mask first")


def is_masked(module: nn.Module) -> bool:
    """Return whether this module itself, not a part of it, is a masked model."""
    return HANDLE in module.__dict__


def _orphaned(model: nn.Module) -> bool:
    """Whether there are scores and frozen weights, as in a part of a masked model or in a copy of one."""
    return any(
        {name + SCORES, name + FROZEN} <= module._buffers.keys()
        for module in model.modules()
        for name in module._parameters
    )


def _start(weight: Tensor, name: str, init: str | float | Init, seed: int, part: Any) -> tuple[Tensor, Tensor]:
    """Return the frozen copy and the first scores of one parameter."""
    frozen = weight.clone(memory_format=torch.preserve_format)
    scores = initial(init, frozen, seed, name)
    if part is not None:
        maskable = part(name, frozen)
        kind, shape = getattr(maskable, "dtype", type(maskable).__name__), tuple(getattr(maskable, "shape", ()))
        if kind != torch.bool or shape != frozen.shape:
            raise ValueError(
                f"a part must be a bool tensor of the parameter's shape; for {name!r}, {tuple(frozen.shape)}, got"
                f" {kind} of shape {shape}; return such as weights.abs() > 0.1"
            )
        scores.masked_fill_(~maskable, float("inf"))
    return frozen, scores


def _require_mask(criterion: Criterion, name: str, scores: Tensor) -> None:
    mask = criterion(scores)
    kind, shape = getattr(mask, "dtype", type(mask).__name__), tuple(getattr(mask, "shape", ()))
    if kind != torch.bool or shape != scores.shape:
        raise ValueError(
            f"a criterion must make a bool mask of the scores' shape; for {name!r}, {tuple(scores.shape)}, it gave"
            f" {kind} of shape {shape}; return such as scores > 0"
        )


def _ignore_in_ddp(model: nn.Module, added: Iterable[str]) -> None:
    """Keep what masking has added out of what DistributedDataParallel broadcasts before every forward."""
    theirs = getattr(model, "_ddp_params_and_buffers_to_ignore", [])
    ignored = [*theirs, *sorted(set(added) - set(theirs))]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ignored)
