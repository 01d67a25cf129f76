"""Sparsity by layer: what a tensor is called, shares of groups, what goes along with them, and the figures."""

from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments import grid
from submasking.experiments.analyses import layer_sparsity
from submasking.experiments.analyses.layer_sparsity import Layer
from submasking.records import analyses
from submasking.records.names import DATASETS
from submasking.report import layer_sparsity as report

RESNET = {"conv1.0.weight": (4, 3, 3, 3), "layer1.0.conv1.weight": (4, 4, 1, 1), "layer1.0.conv2.weight": (8, 4, 3, 3),
          "layer2.0.downsample.0.weight": (16, 8, 1, 1)}  # fmt: skip
BLOCK = "transformer.resblocks.1."
VIT = {BLOCK + "attn.in_proj_weight": (12, 4), BLOCK + "attn.in_proj_bias": (12,), BLOCK + "mlp.c_proj.weight": (4, 8),
       BLOCK + "mlp.c_proj.bias": (4,)}  # fmt: skip


class Trunk(torch.nn.Module):
    """Parameters with the given names and shapes."""

    def __init__(self, shapes, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.made = {
            name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()
        }

    def named_parameters(self, *given, **more):
        return iter(self.made.items())

    def state_dict(self, *given, **more):
        return {name: weights.detach() for name, weights in self.made.items()}


@pytest.fixture
def small(monkeypatch):
    """A grid's runs of two made-up networks: layers of few weights lose more, key biases stay."""
    shapes = {"rn18-timm": RESNET, "vitb32-clip": VIT}

    def load(model, profile, seed):
        return SimpleNamespace(trunk=Trunk(shapes[model], seed % 2))

    def masks(weights):
        drawn = torch.Generator().manual_seed(0)
        found = {name: torch.rand(value.shape, generator=drawn) > 0.3 for name, value in weights.items()}
        found[BLOCK + "attn.in_proj_bias"][4:8] = True
        return found

    monkeypatch.setattr(layer_sparsity.backbones, "load", load)
    monkeypatch.setattr(layer_sparsity.maskfile, "load", lambda path: SimpleNamespace(masks=masks))
    tasks = [task for model in shapes for task in grid.analysed("layer_sparsity", "tiny", model, "0,1,2")]
    records = []
    for task in tasks:
        record = synthetic.record(task)
        layers = {name: 1 / (1 + np.prod(shape)) for name, shape in shapes[task.model].items()}
        record.layers.clear()
        record.layers.update(dict(sorted(layers.items(), reverse=True)))  # of no use as the order of the network
        record.backbone["weights"] = f"pretrained {task.seed % 2}"
        records.append(record)
    return tasks, records


@pytest.mark.parametrize(
    ("name", "shape", "where"),
    [
        ("conv1.0.weight", (8, 3, 3, 3), ("stem", "stem", False)),
        ("network.conv2.weight", (8, 8, 3, 3), ("stem", "stem", False)),
        ("layer3.10.conv2.weight", (8, 8, 3, 3), ("stage 3", "3 × 3", False)),
        ("network.layer4.0.conv1.weight", (8, 8, 1, 1), ("stage 4", "1 × 1", False)),
        ("layer2.0.downsample.0.weight", (8, 8, 1, 1), ("stage 2", "shortcut", False)),
        ("transformer.resblocks.11.attn.in_proj_bias", (24,), ("block 12", "attention input", True)),
        ("transformer.resblocks.0.attn.out_proj.weight", (8, 8), ("block 1", "attention output", False)),
        ("transformer.resblocks.0.mlp.c_fc.bias", (8,), ("block 1", "MLP, first", True)),
        ("transformer.resblocks.2.mlp.c_proj.weight", (8, 8), ("block 3", "MLP, second", False)),
    ],
)
def test_a_tensor_s_name_and_shape_say_what_it_is(name, shape, where):
    (layer,) = layer_sparsity.layers_of([{name: torch.full(shape, 2.0)}], [name])
    assert (layer.stage, layer.kind, layer.bias) == where
    assert layer.weights == np.prod(shape)
    assert layer.size == 2.0


LAYERS = st.tuples(st.integers(1, 50), st.floats(0, 1), st.booleans(), st.sampled_from("abc"))


@given(st.lists(LAYERS, min_size=1, max_size=9))
def test_the_groups_together_lose_what_the_network_loses(drawn):
    known = [Layer("", 0.0, "stem", kind, bias, count, 1.0) for count, _, bias, kind in drawn]
    shares = {"cifar10": np.array([share for _, share, _, _ in drawn])}
    off = sum(count * share for count, share, _, _ in drawn)
    for of in ("kind", "stage", ""):
        rows = list(layer_sparsity.grouped(known, shares, of))
        assert sum(row["weights"] * row["value"] for row in rows) == pytest.approx(off)
        assert len({(row.get(of), row["sort"]) for row in rows}) == len(rows)


def test_what_the_tables_say(small, tmp_path):
    tables = layer_sparsity.tables(*small)
    shown = {
        name: [row for row in tables[name] if (row["model"], row["method"]) == ("rn18-timm", "FS")]
        for name in ("orders", "tensors")
    }
    assert [row["weights"] for row in shown["orders"]] == pytest.approx([-1])
    tensors = [row["tensor"] for row in shown["tensors"]]
    assert tensors == list(RESNET)  # the network's order, not the record's
    keys = [row for row in tables["attention"] if row["part"] == "key"]
    assert {row["value"] == 0 for row in keys if row["sort"] == "biases"} == {True}
    assert {row["value"] > 0 for row in keys if row["sort"] == "weights"} == {True}
    assert {row["sets"] for row in tables["stages"]} == {len(DATASETS)}
    between = {row["between"] for row in tables["alike"]}
    assert between == {"data sets", "seeds", "backbones", "FS-squared"}
    analyses.write(analyses.Analysis("layer_sparsity", "tiny", "all", {}, {}, tables), tmp_path)


def test_sizes_are_means_over_the_backbones_that_the_runs_met(small):
    part = [record for record in small[1] if record.model == "rn18-timm"]
    (first, *_), (other, *_) = (
        layer_sparsity.layers("rn18-timm", [one for one in part if one.seed in seeds]) for seeds in ((0,), (1,))
    )
    (both, *_) = layer_sparsity.layers("rn18-timm", part)
    assert both.size == pytest.approx((first.size + other.size) / 2)
    assert first.size != other.size


@pytest.mark.parametrize("name", report.FIGURES)
def test_every_figure_can_be_drawn(small, name):
    tables = layer_sparsity.tables(*small)
    for dark in (False, True):
        figure = report.FIGURES[name](tables, dark=dark)
        figure.canvas.draw()
        assert all(axes.lines or axes.containers for axes in figure.axes if axes.get_visible())


def test_the_answer_names_every_network_and_method(small):
    tables = layer_sparsity.tables(*small)
    said = report.sentence(tables)
    assert said.count("- **") == 4
    assert "with the number of weights −1.00" in said


def test_without_a_transformer_there_is_no_attention_to_draw(small):
    tasks, records = ([one for one in part if one.model == "rn18-timm"] for part in small)
    tables = layer_sparsity.tables(tasks, records)
    assert "attention" not in tables
    with pytest.raises(ValueError, match="pass model vitb32-clip"):
        report.FIGURES["attention"](tables)


def test_a_model_that_the_grid_does_not_adapt_is_refused():
    with pytest.raises(ValueError, match="must be one that the grid of profile smoke adapts; got 'rn50-timm'"):
        layer_sparsity.analyse("smoke", "rn50-timm")
