"""The default selection: whatever the network is, its layers are masked and a new classifier is trained."""

import open_clip
import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from submasking import mask
from submasking.masking.selection import PRESETS, decide, first_layers, largest_part, random_part, resolve

SWIN = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 3, 6)}
# every way a network is built, and what it calls the last layer of its classifier
TIMM = {
    "resnet10t": ({}, ["fc"]),
    "vit_tiny_patch16_224": ({}, ["head"]),
    "swin_tiny_patch4_window7_224": (SWIN, ["head.fc"]),
    "convnext_atto": ({}, ["head.fc"]),
    "mobilenetv3_small_050": ({}, ["classifier"]),
    "beit_base_patch16_224": ({"depth": 2}, ["head"]),
    "eva02_tiny_patch14_224": ({}, ["head"]),
    "deit_tiny_distilled_patch16_224": ({"depth": 3}, ["head", "head_dist"]),
    "levit_128s": ({}, ["head.linear", "head_dist.linear"]),
    "inception_resnet_v2": ({}, ["classif"]),
    "legacy_seresnet18": ({}, ["last_linear"]),
    "densenet121": ({}, ["classifier"]),
    "vgg11": ({}, ["head.fc"]),
    "mixer_s32_224": ({}, ["head"]),
    "nfnet_f0": ({}, ["head.fc"]),
    "coat_lite_tiny": ({}, ["head"]),
}
TORCHVISION = {
    "resnet18": ["fc"],
    "vgg11": ["classifier.6"],
    "vit_b_16": ["heads.head"],
    "swin_t": ["head"],
    "swin_v2_t": ["head"],
    "convnext_tiny": ["classifier.2"],
    "squeezenet1_1": ["classifier.1"],
    "mobilenet_v3_small": ["classifier.3"],
    "maxvit_t": ["classifier.5"],
}
NETWORKS = [("timm", name) for name in TIMM] + [("torchvision", name) for name in TORCHVISION]


def build(library: str, name: str, classes: int = 10) -> nn.Module:
    """A network without numbers: what is decided depends on none of them."""
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(name, num_classes=classes, **TIMM[name][0])
        return torchvision.models.get_model(name, num_classes=classes)


def chosen(model: nn.Module, select="auto") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"mask": set(), "train": set(), "freeze": set()}
    for name, decision in resolve(select, model).items():
        found[decision.action].add(name)
    return found


def share(model: nn.Module, select="auto") -> float:
    """Share of the parameters that are masked, of those that are not trained."""
    sizes = {a: sum(model.get_parameter(n).numel() for n in names) for a, names in chosen(model, select).items()}
    return sizes["mask"] / (sizes["mask"] + sizes["freeze"])


@pytest.mark.parametrize(("library", "name"), NETWORKS)
def test_of_any_network_most_is_masked_and_the_last_layer_of_the_classifier_trained(library, name):
    model = build(library, name)
    last = TIMM[name][1] if library == "timm" else TORCHVISION[name]
    found = chosen(model)
    assert found["train"] == {
        f"{layer}.{kind}" for layer in last for kind, _ in model.get_submodule(layer).named_parameters()
    }
    assert {name.rpartition(".")[0] for name in found["train"]} == set(last)
    assert share(model) >= 0.8
    for name in found["mask"]:
        assert model.get_parameter(name).dim() >= 2


@pytest.mark.parametrize("name", TIMM)
def test_a_trunk_trains_nothing(name):
    assert not chosen(build("timm", name, 0))["train"]


@pytest.mark.parametrize(
    ("name", "layers"),
    [("inception_resnet_v2", "resnet"), ("legacy_seresnet18", "resnet"), ("levit_128s", "resnet"),
     ("deit_tiny_distilled_patch16_224", "vit"), ("levit_128s", "vit")],
)  # fmt: skip
def test_presets_by_name_train_every_classifier(name, layers):
    model = build("timm", name)
    assert chosen(model)["train"] <= chosen(model, layers)["train"]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_of_a_resnet_auto_masks_what_the_paper_masks(name):
    with torch.device("meta"):
        for classes in (0, 10):
            model = timm.create_model(name, num_classes=classes)
            assert resolve("auto", model) == resolve("resnet", model)


CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 2},
}
CLIP_RESNET = {**CLIP, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}
CLIP_TIMM = {
    **CLIP,
    "vision_cfg": {"image_size": 32, "timm_model_name": "test_convnext", "timm_proj": "mlp", "timm_pool": ""},
}


@pytest.mark.parametrize("config", [CLIP, CLIP_RESNET, CLIP_TIMM], ids=["vit", "resnet", "timm"])
def test_a_tower_of_clip_has_no_classifier_its_projection_included(config):
    visual = open_clip.CLIP(**config).visual
    assert not chosen(visual)["train"]
    assert share(visual) >= 0.8


class Conv1D(nn.Module):
    """As in transformers: a linear layer that keeps its matrix the other way round, and is no `nn.Linear`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.zeros(5))


class ChannelNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 5))


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 4, 1))


LAYERS = {  # what is masked of each kind of layer
    "convolution": (lambda: nn.Conv2d(3, 4, 3), {"weight"}),
    "line": (lambda: nn.Conv1d(3, 4, 3), {"weight"}),
    "transposed": (lambda: nn.ConvTranspose3d(3, 4, 3), {"weight"}),
    "depthwise": (lambda: nn.Conv2d(4, 4, 1, groups=4), {"weight"}),
    "linear": (lambda: nn.Linear(4, 1), {"weight"}),
    "bilinear": (lambda: nn.Bilinear(2, 3, 4), {"weight"}),
    "attention": (lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True), {"in_proj_weight", "out_proj.weight"}),
    "cross attention": (
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        {"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"},
    ),
    "recurrent": (lambda: nn.LSTM(3, 4), {"weight_ih_l0", "weight_hh_l0"}),
    "conv1d of transformers": (Conv1D, {"weight"}),
    "embedding": (lambda: nn.Embedding(5, 4), set()),
    "bag": (lambda: nn.EmbeddingBag(5, 4), set()),
    "batch norm": (lambda: nn.BatchNorm2d(3), set()),
    "layer norm": (lambda: nn.LayerNorm((3, 4, 4)), set()),
    "norm of another library": (ChannelNorm, set()),
    "scale": (Gain, set()),
    "slope": (lambda: nn.PReLU(4), set()),
    "positions": (lambda: nn.ParameterList([torch.ones(3, 4)]), set()),
}


@given(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1), st.booleans())
def test_of_any_layers_in_any_order_each_is_decided_by_what_it_is(kinds, classifier):
    model = nn.Sequential(*(LAYERS[kind][0]() for kind in kinds), nn.ReLU())
    masked = {f"{number}.{name}" for number, kind in enumerate(kinds) for name in LAYERS[kind][1]}
    trained = set()
    if classifier:
        model.append(nn.Linear(4, 2))
        trained = {f"{len(kinds) + 1}.weight", f"{len(kinds) + 1}.bias"}
    found = chosen(model)
    assert (found["mask"], found["train"]) == (masked, trained)


def named(name: str, *layers: nn.Module) -> nn.Module:
    model = nn.Module()
    model.body = nn.Conv2d(3, 4, 3)
    model.add_module(name, nn.Sequential(*layers))
    model.norm = nn.LayerNorm(4)
    return model


@given(st.sampled_from(["fc", "head", "heads", "classifier", "last_linear", "logits"]), st.integers(0, 3))
def test_of_a_classifier_with_a_usual_name_the_last_layer_is_trained(name, hidden):
    layers = [layer for _ in range(hidden) for layer in (nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU())]
    found = chosen(named(name, *layers, nn.Linear(4, 2), nn.Dropout(0.1)))
    assert found["train"] == {f"{name}.{3 * hidden}.weight", f"{name}.{3 * hidden}.bias"}
    assert {f"{name}.{3 * number}.weight" for number in range(hidden)} <= found["mask"]


def test_timms_configuration_is_read_where_it_cannot_be_asked():
    model = nn.Module()
    model.answer, model.body = nn.Linear(4, 2), nn.Conv2d(3, 4, 3)
    model.default_cfg = {"classifier": ("answer", "nowhere")}
    assert chosen(model)["train"] == {"answer.weight", "answer.bias"}


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, nn.Sequential, lambda m: nn.Sequential(nn.Identity(), nn.Sequential(m))]
)
def test_a_module_around_a_network_is_looked_through(wrap):
    model = wrap(timm.create_model("test_resnet", num_classes=3))
    assert {name.split("fc.")[-1] for name in chosen(model)["train"]} == {"weight", "bias"}


def test_a_head_of_ones_own_on_a_trunk_is_trained():
    model = nn.Module()
    model.backbone, model.head = timm.create_model("test_resnet", num_classes=0), nn.Linear(4, 2)
    assert chosen(model)["train"] == {"head.weight", "head.bias"}


def tied(kind: str) -> nn.Module:
    first = nn.Embedding(4, 4) if kind == "table" else nn.Linear(4, 4)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = first.weight
    return model


@pytest.mark.parametrize(("kind", "action"), [("table", "freeze"), ("layer", "train")])
def test_a_tied_weight_is_decided_once(kind, action):
    assert "0.weight" in chosen(tied(kind))[action]
    assert "2.weight" not in {name for names in chosen(tied(kind)).values() for name in names}


def test_it_is_the_default_and_learns():
    model = timm.create_model("test_vit", num_classes=3)
    masking = mask(model)
    assert set(masking.masks()) == chosen(model)["mask"]
    assert {n for n, p in model.named_parameters() if p.requires_grad} - set(masking.masks()) == chosen(model)["train"]


def test_a_parametrization_is_told_to_go_first():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU())
    with pytest.raises(ValueError, match=r"must be the weight itself; .* remove that first"):
        mask(model)


def test_without_a_network_it_cannot_decide():
    model = nn.Linear(2, 2)
    for select in ("auto", random_part("auto", 0.5)):
        with pytest.raises(ValueError, match=r"'auto' must see the whole network; it was asked about 'weight' alone"):
            decide(select, "weight", model.weight)


@pytest.mark.parametrize("part", [random_part, largest_part])
@pytest.mark.parametrize("select", sorted(PRESETS))
def test_parts_of_any_preset_are_parts_of_what_it_masks(part, select):
    model = timm.create_model("test_vit" if select == "vit" else "test_resnet", num_classes=3)
    whole = chosen(model, select)
    assert chosen(model, part(select, 0.5)) == whole
    scores = mask(model, part(part(select, 1.0), 0.5)).scores()
    assert {name: int(s.isfinite().sum()) for name, s in scores.items()} == {
        name: round(0.5 * model.get_parameter(name).numel()) for name in scores
    }


@pytest.mark.parametrize("select", sorted(PRESETS))
def test_first_layers_of_any_preset_are_the_first_that_it_masks(select):
    model = timm.create_model("test_vit" if select == "vit" else "test_resnet", num_classes=3)
    masked = [name for name, decision in resolve(select, model).items() if decision.action == "mask"]
    found = [name for name, d in resolve(first_layers(model, select, 0.3), model).items() if d.action == "mask"]
    assert 0 < len(found) < len(masked)
    assert found == masked[: len(found)]
    assert chosen(model, first_layers(model, select, 0.3))["train"] == chosen(model, select)["train"]
