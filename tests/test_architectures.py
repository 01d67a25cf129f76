"""Any architecture: mask, learn, bake and unbake are exact on the smallest member of many families."""

import copy

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn

from submasking import mask

TIMM = {
    "test_resnet": 32,
    "test_vit": 160,
    "test_convnext": 32,
    "test_efficientnet": 32,
    "test_mambaout": 64,
    "test_nfnet": 32,
    "test_byobnet": 32,
    "regnetx_002": 32,
    "mobilenetv3_small_050": 32,
    "mobilenetv4_conv_small_035": 32,
    "lcnet_035": 32,
    "ghostnet_050": 32,
    "tinynet_e": 32,
    "repvgg_a0": 32,
    "resnext26ts": 32,
    "dla46_c": 32,
    "levit_128s": 224,
    "deit_tiny_patch16_224": 224,
    "mixer_s32_224": 224,
    "pit_ti_224": 224,
    "edgenext_xx_small": 64,
    "mobilevit_xxs": 64,
    "poolformer_s12": 64,
    "coat_lite_tiny": 224,
    "xcit_nano_12_p16_224": 224,
    "convmixer_768_32": 32,
}
TORCHVISION = {"squeezenet1_1": 64, "shufflenet_v2_x0_5": 32, "mnasnet0_5": 32, "densenet121": 32, "mobilenet_v2": 32}
SLOW = {"swin_t": 64, "vgg11": 32, "swin_v2_t": 64, "googlenet": 64}
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 2},
}
CLIP_RESNET = {**CLIP, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}


class Pair(nn.Module):
    """Both towers of a CLIP, called with images."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, words, scale = self.clip(images, torch.arange(16).view(2, 8))[:3]
        return scale * features @ words.mT


def check(model: nn.Module, pixels: int) -> None:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():  # a head that starts from zero passes no gradient on
            nn.init.normal_(parameter, std=0.02)
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 3, pixels, pixels)
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        output = model.train()(images)
        output = output if isinstance(output, torch.Tensor) else output[0]
        output.float().square().mean().backward()
        if not masking.sparsity():  # the most harmful weight is switched off at once
            gradients = {name: model.get_parameter(name).grad for name in masking.masks()}
            harm = max(float((g * before[name]).max()) for name, g in gradients.items() if g is not None)
            optimizer.param_groups[0]["lr"] = 2.0 / harm
        optimizer.step()
    assert 0.0 < masking.sparsity() < 1.0
    for name, on in masking.masks().items():
        assert torch.equal(model.get_parameter(name), before[name] * on)
    with torch.no_grad():
        expected = model.eval()(images)
        masking.bake()
        baked = model(images)
        torch.testing.assert_close(baked, expected, rtol=0, atol=0)
    assert model.state_dict().keys() == before.keys()
    masking.unbake()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", TIMM)
def test_timm(name):
    check(timm.create_model(name, num_classes=5), TIMM[name])


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    check(torchvision.models.get_model(name, num_classes=5), TORCHVISION[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
def test_larger_torchvision(name):
    check(torchvision.models.get_model(name, num_classes=5), SLOW[name])


@pytest.mark.parametrize("config", [CLIP, CLIP_RESNET], ids=["vit", "resnet"])
def test_clip_towers(config):
    check(Pair(open_clip.CLIP(**config)), 32)
