"""Does the packaged EfficientNet-Lite0 know what it should? Its ImageNet classes, grouped into those of CIFAR-10.

    python -m benchmarks.zero_shot FOLDER        about a minute on one core

FOLDER holds test/<class>/* with the pictures of CIFAR-10. No training: the probabilities of the ImageNet classes of a
group are added. Beside the network as it was published stand settings that a careless loader would take, which must do
worse. The table is kept as book/records/benchmarks/zero_shot.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.__main__ import store
from submasking.learning.evaluate import accuracy
from submasking.learning.images import ImageSet
from submasking.worlds import efficientnet_lite, folder, packaged

SIZE = 224
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# numbers of ImageNet's classes; there is no deer, so its relatives stand for it
GROUPS = {
    "airplane": [404, 895],
    "automobile": [436, 468, 511, 609, 627, 656, 661, 751, 817],
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "cat": [*range(281, 286)],
    "deer": [351, 352, 353],
    "dog": [*range(151, 269)],
    "frog": [30, 31, 32],
    "horse": [339],
    "ship": [403, 484, 510, 554, 625, 628, 724, 780, 814, 833, 871, 914],
    "truck": [555, 569, 675, 717, 864, 867],
}
WAYS: dict[str, tuple[dict[str, Any], tuple[Any, Any]]] = {
    "as published": ({}, (packaged.MEAN, packaged.STD)),
    "usual mean and deviation": ({}, IMAGENET),
    "usual padding and eps": ({"pad_type": "", "bn_eps": 1e-5}, (packaged.MEAN, packaged.STD)),
}


def measure(pictures: ImageSet) -> list[dict[str, Any]]:
    """Return one row per way: the share of pictures whose group got the highest probability."""
    if set(pictures.classes) != set(GROUPS):
        raise ValueError(
            f"the folder must have the classes of CIFAR-10, {', '.join(GROUPS)}; it has {pictures.classes}"
        )
    rows = []
    for way, (options, (mean, std)) in WAYS.items():
        network = efficientnet_lite.build(options, packaged.file()).eval()
        given = torch.cat([_classes(network, part, mean, std, pictures.classes) for part in pictures.images.split(50)])
        share = accuracy(given, pictures.labels)
        rows.append({"way": way, "images": len(pictures), "size": SIZE, "accuracy": float(f"{share:.4f}")})
    return rows


@torch.inference_mode()
def _classes(network: torch.nn.Module, pixels: Tensor, mean: Any, std: Any, classes: tuple[str, ...]) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    shares = network((pixels.float() / 255 - mean) / std).softmax(1)
    return torch.stack([shares[:, GROUPS[name]].sum(1) for name in classes], dim=1).argmax(1)


def main() -> None:
    """Measure and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=400, metavar="N", help="at most (%(default)s)")
    given = parser.parse_args()
    store("zero_shot", measure(folder.load(given.folder, "test", SIZE, given.images)))


if __name__ == "__main__":
    main()
