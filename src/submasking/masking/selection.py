"""Which parameters are masked, trained or frozen: presets, patterns, and parts of them (protocol, "The method")."""

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from submasking.masking.auto import auto
from submasking.masking.criteria import Threshold, TopK
from submasking.masking.decision import ACTIONS, Decision, OfModel, Select, group_of
from submasking.masking.scores import generator


def weights(name: str, parameter: nn.Parameter) -> Decision:
    """Mask every weight of two or more dimensions, freeze vectors and scalars: fits any architecture."""
    return Decision("mask" if parameter.dim() >= 2 else "freeze", group_of(name))


def resnet(name: str, parameter: nn.Parameter) -> Decision:
    """Mask the convolutions, those on the downsampling path included; freeze the norms; train the classifier."""
    if re.search(r"(^|\.)(fc|head|head_dist|classifier|classif|last_linear)\.", name):
        return Decision("train", group_of(name))
    return Decision("mask" if parameter.dim() == 4 else "freeze", group_of(name))


def faithful(name: str, parameter: nn.Parameter) -> Decision:
    """As `resnet`, and the norms on the downsampling path too, as the authors' filter by name has it."""
    if ".downsample." in name:
        return Decision("mask", group_of(name))
    return resnet(name, parameter)


_VIT = re.compile(
    r"(^|\.)(qkv|q_proj|k_proj|v_proj|in_proj|in_proj_weight|in_proj_bias|out_proj|proj|fc1|fc2|c_fc|c_proj"
    r"|linear_1|linear_2|mlp\.0|mlp\.3)(\.weight|\.bias|$)"
)


def vit(name: str, parameter: nn.Parameter) -> Decision:
    """Mask weights and biases of the attention projections and of both layers of each MLP; freeze the rest.

    The patch embedding, positions, class token and LayerNorms are frozen, a classifier is trained. The names of
    timm, torchvision and open_clip are known.
    """
    if re.search(r"(^|\.)(head|heads|head_dist|classifier)\.", name):
        return Decision("train", group_of(name))
    inside = re.search(r"(^|\.)(blocks|resblocks|layers|encoder_layer_\d+)\.", name)
    return Decision("mask" if inside and _VIT.search(name) else "freeze", group_of(name))


PRESETS: dict[str, Select] = {
    "auto": OfModel(auto),
    "resnet": resnet,
    "vit": vit,
    "faithful": faithful,
    "weights": weights,
}


def called(select: str | Select) -> Select:
    """Return the selection of this name; a callable is one already.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(select, (Threshold, TopK)) or (isinstance(select, type) and not issubclass(select, OfModel)):
        raise ValueError(f"select must say which parameters are masked; got {select!r}; pass it as criterion=")
    if callable(select):
        return select
    if select not in tuple(PRESETS):
        raise ValueError(f"select must be one of {', '.join(PRESETS)} or a callable; got {select!r}")
    return PRESETS[select]


def decide(select: str | Select, name: str, parameter: nn.Parameter) -> Decision:
    """Return what a preset's name or a callable says about one parameter.

    Raises:
        ValueError: for an unknown preset, one that must see the whole network ("auto"), an unknown action, or a
            parameter that is not real floating point of at least 16 bits.
    """
    said = called(select)(name, parameter)
    decision = Decision(*said) if isinstance(said, tuple) else Decision(said, group_of(name))
    if decision.action not in ACTIONS:
        raise ValueError(f"a selection answers mask, train or freeze; got {decision.action!r} for {name!r}")
    if decision.action != "freeze" and not (parameter.is_floating_point() and parameter.itemsize > 1):
        raise ValueError(
            "only floating-point parameters of 16 bits or more can be masked or trained;"
            f" {name!r} is {parameter.dtype}; freeze it"
        )
    return decision


def resolve(select: str | Select, model: nn.Module) -> dict[str, Decision]:
    """Return what a selection says about every parameter of a model; tied ones are asked about once.

    Raises:
        ValueError: see `decide`.
    """
    select = _shown(select, model)
    return {name: decide(select, name, parameter) for name, parameter in model.named_parameters()}


def _shown(select: str | Select, model: nn.Module) -> Select:
    select = called(select)
    return select.make(model) if isinstance(select, OfModel) else select


def by_name(model: nn.Module, mask: Iterable[str], train: Iterable[str] = ()) -> Select:
    """Select by patterns over parameter names, such as ``layer?.*.conv?.weight``; what matches none is frozen.

    Args:
        model: the model the patterns are checked against.
        mask: shell-style patterns of the parameters to mask.
        train: patterns of those to train; a name that matches both is masked.

    Raises:
        ValueError: for a pattern that matches no parameter, or a string in place of a list.
    """
    if isinstance(mask, str) or isinstance(train, str):
        raise ValueError(f"patterns come in a list; got {mask!r} and {train!r}; write ['conv*.weight']")
    mask, train = tuple(mask), tuple(train)
    names = [name for name, _ in model.named_parameters()]
    for pattern in mask + train:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"a pattern must match a parameter name; {pattern!r} matches none of {len(names)};"
                f" names look like {names[0]!r}"
            )

    def select(name: str, parameter: nn.Parameter) -> Decision:
        action = next((a for a, ps in (("mask", mask), ("train", train)) if any(fnmatchcase(name, p) for p in ps)), "")
        return Decision(action or "freeze", group_of(name))

    return select


def first_layers(model: nn.Module, select: str | Select, share: float) -> Select:
    """Mask only the first tensors, in the order of the model, until they hold this share of what could be masked.

    Args:
        model: the model the tensors are counted in.
        select: the selection that is narrowed; what it would mask further on is frozen.
        share: in (0, 1]; the tensor that reaches the share is the last one masked.

    Raises:
        ValueError: if the share is out of range.
    """
    _check_share(share)
    shown = _shown(select, model)
    masked = {n: p.numel() for n, p in model.named_parameters() if decide(shown, n, p).action == "mask"}
    wanted, early = share * sum(masked.values()), set()
    for name, size in masked.items():
        if wanted <= 0:
            break
        early.add(name)
        wanted -= size

    def narrowed(name: str, parameter: nn.Parameter) -> Decision:
        decision = decide(shown, name, parameter)
        return decision._replace(action="freeze") if decision.action == "mask" and name not in early else decision

    return narrowed


def random_part(select: str | Select, share: float, seed: int = 0) -> Select:
    """Mask a random share of each selected tensor; the other weights stay on.

    Args:
        select: the selection that is narrowed.
        share: in (0, 1]; of n weights ``round(share * n)`` can be switched off.
        seed: decides which; with the parameter's name it is all that is needed to find them again.

    Raises:
        ValueError: if the share is out of range.
    """
    _check_share(share)
    return _with_part(select, lambda name, frozen: _random_share(name, frozen, share, seed))


def largest_part(select: str | Select, share: float) -> Select:
    """Mask the largest weights of each selected tensor, by magnitude; the other weights stay on.

    Args:
        select: the selection that is narrowed.
        share: in (0, 1]; of n weights ``round(share * n)`` can be switched off, at least one.

    Raises:
        ValueError: if the share is out of range.
    """
    _check_share(share)
    return _with_part(select, lambda name, frozen: TopK(share)(frozen.abs()))


def _with_part(select: str | Select, part: Callable[[str, Tensor], Tensor]) -> Select:
    chosen = called(select)
    if isinstance(chosen, OfModel):
        return OfModel(lambda model: _with_part(chosen.make(model), part))
    return lambda name, parameter: decide(chosen, name, parameter)._replace(part=part)


def _random_share(name: str, frozen: Tensor, share: float, seed: int) -> Tensor:
    count = frozen.numel()
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=generator(seed, name))[: round(share * count)]] = True
    return chosen.view(frozen.shape).to(frozen.device)


def _check_share(share: float) -> None:
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1]; got {share}; 0.5 takes half")
