"""The paper's eight data sets: archives, splits and counts as they were published; nothing here needs torch.

CIFAR has its own split. The others have the split files of CoOp (Zhou et al. 2022), whose layout of folders is kept:
`<folder of data>/dtd/images/...` beside `dtd/split_zhou_DescribableTextures.json`. The paper trains on train and val.
"""

from __future__ import annotations

from dataclasses import dataclass

from submasking.worlds.paper.remote import Remote


@dataclass(frozen=True)
class Published:
    """One of the paper's data sets.

    Attributes:
        folder: its folder below the folder of data, which holds archive and split file, or what was unpacked.
        archive: the pictures.
        inside: the archive's folder of pictures.
        classes: number of classes.
        train, val, test: number of pictures in each part of its split.
        split: the split file; None where the archive itself is split.
    """

    folder: str
    archive: Remote
    inside: str
    classes: int
    train: int
    val: int
    test: int
    split: Remote | None = None

    @property
    def unpacked(self) -> str:
        """Folder of the pictures where somebody has unpacked the archive as CoOp asks for."""
        return self.inside.rpartition("/")[2]

    def images(self, split: str) -> int:
        """Pictures that the paper trains on ("train") or tests on ("test").

        Raises:
            ValueError: for another split.
        """
        if split not in ("train", "test"):
            raise ValueError(f"split must be train (with val, as in the paper) or test; got {split!r}")
        return self.train + self.val if split == "train" else self.test


def _drive(name: str, file: str, size: int = 0, digest: str = "") -> Remote:
    return Remote(
        name, f"https://drive.usercontent.google.com/download?id={file}&export=download&confirm=t", size, digest
    )


_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_CIFAR = "https://www.cs.toronto.edu/~kriz"
_EUROSAT = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd"

# hashes of archives as torchvision has them; of the split files only DTD's was found in public
SETS: dict[str, Published] = {
    "cifar10": Published(
        "cifar10",
        Remote(
            "cifar-10-python.tar.gz", f"{_CIFAR}/cifar-10-python.tar.gz", 170_498_071,
            "md5:c58f30108f718f92721af3b95e74349a",
        ),
        "cifar-10-batches-py", classes=10, train=50_000, val=0, test=10_000,
    ),
    "cifar100": Published(
        "cifar100",
        Remote(
            "cifar-100-python.tar.gz", f"{_CIFAR}/cifar-100-python.tar.gz", 169_001_437,
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
        ),
        "cifar-100-python", classes=100, train=50_000, val=0, test=10_000,
    ),
    "dtd": Published(
        "dtd",
        Remote(
            "dtd-r1.0.1.tar.gz", f"{_VGG}/dtd/download/dtd-r1.0.1.tar.gz", 625_239_812,
            "md5:fff73e5086ae6bdbea199a49dfb8a4c1",
        ),
        "dtd/images", classes=47, train=2_820, val=1_128, test=1_692,
        split=_drive(
            "split_zhou_DescribableTextures.json", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x", 563_702,
            "sha256:f26ebeccd2b58e68d70f07a0dc39fe49bf7b69024bac34396b954dfd87969c38",
        ),
    ),
    "eurosat": Published(
        "eurosat",
        Remote("EuroSAT.zip", f"{_EUROSAT}/EuroSAT.zip", 94_280_567, "md5:c8fa014336c82ac7804f0398fcb19387"),
        "2750", classes=10, train=13_500, val=5_400, test=8_100,
        split=_drive("split_zhou_EuroSAT.json", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"),
    ),
    "flowers": Published(
        "oxford_flowers",
        Remote(
            "102flowers.tgz", f"{_VGG}/flowers/102/102flowers.tgz", 344_862_509, "md5:52808999861908f626f3c1f4e79d11fa"
        ),
        "jpg", classes=102, train=4_093, val=1_633, test=2_463,
        split=_drive("split_zhou_OxfordFlowers.json", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"),
    ),
    "oxfordpets": Published(
        "oxford_pets",
        Remote("images.tar.gz", f"{_VGG}/pets/data/images.tar.gz", 791_918_971, "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        "images", classes=37, train=2_944, val=736, test=3_669,
        split=_drive("split_zhou_OxfordPets.json", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"),
    ),
    "sun397": Published(
        "sun397",
        Remote(
            "SUN397.tar.gz", "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz", 39_100_000_000,
            "md5:8ca2778205c41d23104230ba66911c7a",
        ),
        "SUN397", classes=397, train=15_880, val=3_970, test=19_850,
        split=_drive("split_zhou_SUN397.json", "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq"),
    ),
    "ucf101": Published(
        "ucf101",
        _drive("UCF-101-midframes.zip", "10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"),
        "UCF-101-midframes", classes=101, train=7_639, val=1_898, test=3_783,
        split=_drive("split_zhou_UCF101.json", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y"),
    ),
}  # fmt: skip


def published(dataset: str) -> Published:
    """The data set of this name; ValueError lists those there are."""
    if dataset not in SETS:
        raise ValueError(f"dataset must be one of {', '.join(SETS)}; got {dataset!r}")
    return SETS[dataset]
