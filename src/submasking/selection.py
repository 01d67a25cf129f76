"""Which parameters are masked, trained or frozen, and how they are grouped in reports (protocol, "The method")."""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

ACTIONS = ("mask", "train", "freeze")


class Decision(NamedTuple):
    """What happens to one parameter.

    Args:
        action: "mask", "train" or "freeze".
        group: the heading under which the parameter is reported, such as "layer1".
        part: for a partial mask, which weights of the tensor may be switched off; see `submasking.parts`.
    """

    action: str
    group: str = ""
    part: Callable[[str, Tensor], Tensor] | None = None


Select: TypeAlias = Callable[[str, nn.Parameter], Decision | str]


def group_of(name: str) -> str:
    """Return the block a parameter name belongs to: its first part, or up to the first number.

    ``layer1.0.conv1.weight`` gives ``layer1``, ``blocks.3.attn.qkv.weight`` gives ``blocks.3``.
    """
    found = re.match(r"((?:[a-zA-Z_]+\.)*?(?:blocks|resblocks|layers|stages|features)\.\d+)(?:\.|$)", name)
    return found.group(1) if found else name.split(".")[0]


def weights(name: str, parameter: nn.Parameter) -> Decision:
    """Mask every weight of two or more dimensions, freeze vectors and scalars: fits any architecture."""
    return Decision("mask" if parameter.dim() >= 2 else "freeze", group_of(name))


def resnet(name: str, parameter: nn.Parameter) -> Decision:
    """Mask the convolutions, those on the downsampling path included; freeze the norms; train the classifier."""
    if re.search(r"(^|\.)(fc|head|classifier)\.", name):
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
    if re.search(r"(^|\.)(head|heads|classifier)\.", name):
        return Decision("train", group_of(name))
    inside = re.search(r"(^|\.)(blocks|resblocks|layers|encoder_layer_\d+)\.", name)
    return Decision("mask" if inside and _VIT.search(name) else "freeze", group_of(name))


PRESETS: dict[str, Select] = {"resnet": resnet, "vit": vit, "faithful": faithful, "weights": weights}


def decide(select: str | Select, name: str, parameter: nn.Parameter) -> Decision:
    """Return what a preset's name or a callable says about one parameter.

    Raises:
        ValueError: for an unknown preset, an unknown action, or a parameter that is not real floating point.
    """
    if isinstance(select, str) and select not in PRESETS:
        raise ValueError(f"select must be one of {', '.join(PRESETS)} or a callable; got {select!r}")
    said = (PRESETS[select] if isinstance(select, str) else select)(name, parameter)
    decision = Decision(said, group_of(name)) if isinstance(said, str) else Decision(*said)
    if decision.action not in ACTIONS:
        raise ValueError(f"a selection answers mask, train or freeze; got {decision.action!r} for {name!r}")
    if decision.action != "freeze" and not parameter.is_floating_point():
        raise ValueError(
            f"only floating-point parameters can be masked or trained; {name!r} is {parameter.dtype}; freeze it"
        )
    return decision
