"""A fixed number of augmented versions of every image, so that what frozen stages make of them can be kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from tqdm import tqdm

from submasking.learning import augment
from submasking.learning.backbone import Backbone
from submasking.learning.batches import Batches, as_float
from submasking.learning.images import ImageSet
from submasking.learning.stages import Split

AT_ONCE = 256  # images that are augmented together


def pixels(images: ImageSet, count: int, style: augment.Style, *, seed: int = 0) -> Iterator[UInt8[Tensor, "k 3 h w"]]:
    """Augmented versions of a set, in order: the first version of all images, the second, ...; in batches.

    Args:
        images: the set.
        count: versions of each image, at least 1.
        style: how they are changed.
        seed: decides all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for part in images.images.split(AT_ONCE):
            changed = augment.supervised(as_float(part), generator, style)
            yield changed.mul(255).round_().to(torch.uint8)


def joined(images: ImageSet, count: int, style: augment.Style, *, seed: int = 0) -> ImageSet:
    """All versions of a set as one larger set."""
    found = torch.cat(list(pixels(images, count, style, seed=seed)))
    return ImageSet(found, images.labels.repeat(count), images.classes, images.name)


def kept(
    images: ImageSet,
    count: int,
    style: augment.Style,
    shape: tuple[int, ...],
    activations: Callable[[UInt8[Tensor, "k 3 h w"]], Float[Tensor, "k ..."]],
    *,
    most: int,
    seed: int = 0,
    label: str = "",
    progress: bool = True,
) -> Float[Tensor, "all ..."]:
    """What frozen stages make of each version of each image, in the order of `pixels`.

    Args:
        images: see `pixels`.
        count: see there.
        style: see there.
        shape: of the activations of one image.
        activations: pixels -> activations.
        most: bytes that may be kept in memory.
        seed: see `pixels`.
        label: what the progress bar says.
        progress: show it in a terminal.

    Raises:
        ValueError: more bytes would be needed; nothing is computed then.
    """
    total = count * len(images)
    needed = total * torch.Size(shape).numel() * torch.float32.itemsize
    if needed > most:
        raise ValueError(
            f"the activations of {count} versions of {len(images):,} images must fit into {most:,} bytes"
            f" ({most / 2**30:.3g} GiB), they need {needed:,}; allow more, or take fewer versions,"
            " smaller images or a later stage"
        )
    result, done = torch.empty(total, *shape), 0
    bar = tqdm(total=total, desc=f"{label}: frozen stages", disable=not (progress and sys.stderr.isatty()))
    for part in pixels(images, count, style, seed=seed):
        result[done : done + len(part)] = activations(part).cpu()
        done += len(part)
        bar.update(len(part))
    bar.close()
    return result


def augmented(backbone: Backbone, style: augment.Style) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Transform of a supervised batch: augmentation, then the backbone's normalisation."""
    return lambda images, generator: backbone.normalise(augment.supervised(images, generator, style))


def seen(
    network: nn.Module | Split,
    backbone: Backbone,
    images: ImageSet,
    *,
    versions: int,
    cache_bytes: int,
    memory: dict[str, Tensor] | None,
    name: str,
    style: augment.Style,
    batch_size: int,
    seed: int,
    device: str,
    label: str,
    progress: bool,
) -> tuple[Callable[[Tensor], Tensor], Batches]:
    """Batches of a training with labels, and what makes features of them: a network, or the part of it that learns.

    For the arguments see `submasking.learning.adapt.adapt`; `name` is that of the activations in `memory`.
    """
    if not versions:
        return network, Batches(images, batch_size, augmented(backbone, style), seed=seed, device=device)

    def normalised(stored: Tensor) -> Tensor:
        return backbone.normalise(as_float(stored))

    if not isinstance(network, Split) or not cache_bytes:
        stored = joined(images, versions, style, seed=seed).images
        return network, Versions(images, stored, normalised, batch_size, seed=seed, device=device)
    split, memory = network, {} if memory is None else memory
    if name not in memory:
        memory[name] = kept(
            images, versions, style, split.shape, lambda part: split.early(normalised(part.to(device))),
            most=cache_bytes, seed=seed, label=label, progress=progress,
        )  # fmt: skip
    stored = memory[name]
    return split.late, Versions(images, stored, lambda batch: batch, batch_size, seed=seed, device=device)


class Versions(Batches):
    """Shuffled batches with one of the versions of each image, drawn anew in each epoch.

    Args:
        images: the set; its labels are taken.
        stored: all versions in the order of `pixels`, as pixels or what frozen stages made of them.
        prepare: what is stored -> what the step sees.
        batch_size, seed, device: see `Batches`.
    """

    def __init__(
        self,
        images: ImageSet,
        stored: Tensor,
        prepare: Callable[[Tensor], Tensor],
        batch_size: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(images, batch_size, lambda batch, _: prepare(batch), seed=seed, device=device)
        self.stored = stored

    def __iter__(self) -> Iterator[tuple[Tensor, Int[Tensor, " n"]]]:
        count = len(self.images)
        order = torch.randperm(count, generator=self.generator)
        version = torch.randint(len(self.stored) // count, (count,), generator=self.generator)
        for chosen in order.split(self._lengths()):
            batch = self.stored[version[chosen] * count + chosen].to(self.device)
            yield self.transform(batch, self.generator), self.images.labels[chosen].to(self.device)
