"""Entropy coding of masks given the frozen weights, which the decoder holds anyway (draft, section 1).

Every bit is coded with a probability from the weight's magnitude and sign, its tensor, its filter, its input channel,
its kernel position and the bits coded before, also by way of filters and channels that behaved alike; all in numbers
that are exact or rounded alike everywhere, so bytes and masks are the same on every machine.
The book's page on the mask file describes it byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import stream

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

__all__ = ["decode", "decoded", "encode"]


def encode(
    masks: Mapping[str, Bool[Tensor, "*shape"]],
    weights: Mapping[str, Float[Tensor, "*shape"]],
    *,
    sibling: Mapping[str, Bool[Tensor, "*shape"]] | None = None,
) -> bytes:
    """Code masks in well below one bit per weight.

    Args:
        masks: by parameter name, true where the weight is on.
        weights: the frozen weights of the same names and shapes.
        sibling: masks of another task on the same weights, which the decoder will have too.

    Returns:
        The bytes; `decode` needs them, the same weights, and the same sibling.

    Raises:
        ValueError: names or shapes differ.
    """
    _require_alike("weights", masks, weights)
    if sibling is not None:
        _require_alike("sibling", masks, sibling)
    return stream.encode(_off(masks), _values(weights, masks), None if sibling is None else _off(sibling))


def decode(
    data: bytes,
    weights: Mapping[str, Float[Tensor, "*shape"]],
    *,
    sibling: Mapping[str, Bool[Tensor, "*shape"]] | None = None,
) -> dict[str, Bool[Tensor, "*shape"]]:
    """Undo `encode`.

    Args:
        data: what `encode` returned.
        weights: the frozen weights of exactly the coded tensors.
        sibling: the masks that `encode` was given.

    Raises:
        ValueError: the bytes are not a coded mask of tensors like these. Damage that leaves them decodable is not seen
            here: a mask file has a checksum for it.
    """
    import torch

    off = decoded(data, _values(weights, weights), None if sibling is None else _off(sibling))
    return {name: torch.from_numpy(off[name]).logical_not() for name in weights}


def decoded(
    data: bytes, weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, NDArray[np.bool_]] | None
) -> dict[str, NDArray[np.bool_]]:
    """`decode` for arrays, without torch; of `sibling` and of what is returned, true is where a weight is off."""
    if sibling is not None:
        _require_alike("sibling", weights, sibling)
    off = stream.decode(data, weights, sibling)
    return {name: off[name] for name in weights}


def _off(masks: Mapping[str, Tensor]) -> dict[str, NDArray[np.bool_]]:
    return {name: mask.detach().cpu().bool().logical_not().contiguous().numpy() for name, mask in masks.items()}


def _values(weights: Mapping[str, Tensor], names: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    return {name: weights[name].detach().cpu().float().contiguous().numpy() for name in names}


def _require_alike(what: str, masks: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    odd = sorted(masks.keys() ^ other.keys())
    if odd:
        raise ValueError(
            f"{what} must name the tensors of the masks and no others; {odd[0]!r} is in one only; pass"
            " those of one backbone"
        )
    for name, mask in masks.items():
        if mask.shape != other[name].shape:
            raise ValueError(
                f"{what} must have the shapes of the masks; {name!r} is {tuple(other[name].shape)}, its mask"
                f" {tuple(mask.shape)}; was it made for another architecture?"
            )
