"""The paper's six networks: what they are, which file their weights come from, and how many of them are masked.

Nothing here needs torch. The paper's code asked timm for `resnet18` and `resnet50` when its newest release was 0.6,
which gave torchvision's weights for the first and those of "ResNet strikes back" (A1) for the second; releases from
0.9 on give other weights for `resnet18`. So both are named by their files, not by what a library gives today.
"""

from __future__ import annotations

from dataclasses import dataclass

from submasking.worlds.paper.remote import Remote

Values = tuple[float, float, float]
IMAGENET: tuple[Values, Values] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI: tuple[Values, Values] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SIZE = 224  # side of the images in pixels
PROMPT = "This is a photo of a {}"


@dataclass(frozen=True)
class Published:
    """One of the paper's networks.

    Attributes:
        architecture: as `submasking.worlds.libraries.build` knows it.
        file: its published weights.
        width: length of its features.
        parameters: of the image network without a classifier.
        masked: of these, how many the paper's selection masks.
        faithful: how many the selection by name of the authors' code masks.
        preset: the selection of `submasking.masking.selection`.
        statistics: mean and std, per RGB channel, of the images that it was trained on.
        interpolation, crop: of its own evaluation on ImageNet: the share of the short side that the crop takes. The
            paper's experiments resize all images alike (`submasking.worlds.paper.rendering`).
        signature: tensors that tell its file from others' where no hash was published, with their shapes.
    """

    architecture: str
    file: Remote
    width: int
    parameters: int
    masked: int
    faithful: int
    preset: str = "resnet"
    statistics: tuple[Values, Values] = IMAGENET
    interpolation: str = "bilinear"
    crop: float = 0.875
    signature: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def clip(self) -> bool:
        """Whether it has a text tower, which classifies by the names of the classes."""
        return self.architecture.startswith("open_clip:")


_PYTORCH = "https://download.pytorch.org/models"
_TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
_RN50_CLIP = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
_VITB32_CLIP = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"

NETWORKS: dict[str, Published] = {
    "rn18-timm": Published(
        "timm:resnet18",
        Remote(
            "resnet18-f37072fd.pth", f"{_PYTORCH}/resnet18-f37072fd.pth", size=46_830_571, digest="sha256:f37072fd"
        ),
        width=512, parameters=11_176_512, masked=11_166_912, faithful=11_168_704,
    ),
    "rn50-timm": Published(
        "timm:resnet50",
        Remote(
            "resnet50_a1_0-14fe96d1.pth", f"{_TIMM}/v0.1-rsb-weights/resnet50_a1_0-14fe96d1.pth",
            size=102_500_000, digest="sha256:14fe96d1",
        ),
        width=2048, parameters=23_508_032, masked=23_454_912, faithful=23_462_592,
        interpolation="bicubic", crop=0.95,
    ),
    "rn50-torch": Published(
        "timm:resnet50",  # the same network as torchvision's, under the same names
        Remote(
            "resnet50-0676ba61.pth", f"{_PYTORCH}/resnet50-0676ba61.pth", size=102_530_333, digest="sha256:0676ba61"
        ),
        width=2048, parameters=23_508_032, masked=23_454_912, faithful=23_462_592,
    ),
    "rn50-swav": Published(
        "timm:resnet50",
        Remote(
            "swav_800ep_pretrain.pth.tar", "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
            size=113_000_000,
        ),
        width=2048, parameters=23_508_032, masked=23_454_912, faithful=23_462_592,
        signature=(("projection_head.0.weight", (2048, 2048)), ("prototypes.weight", (3000, 128))),
    ),
    "rn50-clip": Published(
        "open_clip:RN50-quickgelu",
        Remote("RN50.pt", f"{_CLIP}/{_RN50_CLIP}/RN50.pt", size=256_000_000, digest=f"sha256:{_RN50_CLIP}"),
        width=1024, parameters=38_316_896, masked=23_474_016, faithful=23_481_696,
        statistics=OPENAI, interpolation="bicubic", crop=1.0,
    ),
    "vitb32-clip": Published(
        "open_clip:ViT-B-32-quickgelu",
        Remote("ViT-B-32.pt", f"{_CLIP}/{_VITB32_CLIP}/ViT-B-32.pt", size=354_000_000, digest=f"sha256:{_VITB32_CLIP}"),
        width=512, parameters=87_849_216, masked=85_017_600, faithful=85_017_600,
        preset="vit", statistics=OPENAI, interpolation="bicubic", crop=1.0,
    ),
}  # fmt: skip


def published(model: str) -> Published:
    """The network of this name; ValueError lists those there are."""
    if model not in NETWORKS:
        raise ValueError(f"model must be one of {', '.join(NETWORKS)}; got {model!r}")
    return NETWORKS[model]
