"""Profile paper: the paper's networks, sets and settings go through the same runs and notebooks as the others."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import paper_archives
import paper_miniature
import pytest
import torch

from submasking.experiments import grid, methods, runs
from submasking.experiments.run import Run
from submasking.learning import augment
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import label_subset
from submasking.learning.images import ImageSet
from submasking.records import profiles
from submasking.records.names import DATASETS, MODELS
from submasking.records.profiles import FAITHFUL, PAPER, PUBLISHED, Optimisation, Protocol, Swav, settings
from submasking.tasks import maskfile
from submasking.worlds import backbones, datasets, origin
from submasking.worlds.paper.data import rendering
from submasking.worlds.paper.weights import NETWORKS

PAPERS = ("paper", "paper-faithful", "paper-bfloat16")


def image_set(count, classes, side):
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % classes, tuple("abcdef"[:classes]), "drawn")


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """Folders for weights and data in which nothing lies, and no way to fetch anything."""
    for name in ("weights", "data"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"SUBMASKING_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    for name, network in NETWORKS.items():
        elsewhere = replace(network.file, address=paper_archives.NOWHERE)
        monkeypatch.setitem(NETWORKS, name, replace(network, file=elsewhere))
    return tmp_path


@pytest.mark.parametrize("name", PAPERS)
def test_its_grid_is_that_of_the_papers_tables_and_figures(name):
    planned = grid.runs(name)
    trained = {(run.model, run.method) for run in planned if run.labels == 100 and run.method in ("FS", "FFT")}
    assert trained == {(model, method) for model in PAPER.full_models for method in ("FS", "FFT")}
    assert {run.method for run in planned} == {"ZS", "LP", "FS", "FFT", "SSM", "SSFT"}
    assert {(run.model, run.dataset) for run in planned if run.method == "ZS"} == {
        (model, dataset) for model in MODELS for dataset in DATASETS
    }
    assert {run.dataset for run in planned if run.method == "SSM"} == {"cifar10", "cifar100", "sun397"}
    assert {run.labels for run in planned if run.dataset == "sun397"} == {0.0, 10.0, 100.0}


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("method", ["ZS", "LP", "FS", "FFT", "SSM", "SSFT"])
def test_each_switch_stands_in_the_record(name, method):
    recipe = Run(name, "rn50-swav", "sun397", method, 0.0 if method.startswith("SS") else 100.0).recipe()
    assert recipe["protocol"] == asdict(profiles.profile(name).protocol)
    assert recipe["pretraining"]["weights"] == "swav_800ep_pretrain.pth.tar"
    assert recipe["image_size"] == 224
    if method.startswith("SS"):
        assert recipe["swav"]["scales"] == [[0.14, 1.0], [0.05, 0.14]]
    if method in PUBLISHED:
        wanted = asdict(PUBLISHED.get(f"{method} rn50-swav", PUBLISHED[method]))
        assert {key: recipe[key] for key in wanted} == wanted


def test_the_recipes_differ_in_their_switches_only():
    shown = [settings(name, "FS", "rn18-timm") for name in PAPERS]
    for one, other in pairwise(shown):
        assert one["protocol"] != other["protocol"]
        assert one | {"protocol": 0} == other | {"protocol": 0}
    assert all(
        getattr(FAITHFUL.protocol, name) != value for name, value in asdict(Protocol()).items() if name != "precision"
    )


def test_no_other_profile_has_a_protocol():
    assert all("protocol" not in settings(name, "FS", "rn18-timm") for name in ("smoke", "tiny", "images"))
    assert "scales" not in settings("tiny", "SSM", "rn50-swav")["swav"]


def test_where_its_weights_come_from_is_the_published_file_and_no_grid_makes_it():
    for model, network in NETWORKS.items():
        assert origin.of(model, "paper")["digest"] == network.file.digest
        assert origin.pretrained(model, "paper") == []
    assert len(origin.pretrained("rn18-timm", "tiny", 3)) == 1


@pytest.mark.parametrize(
    ("run", "name", "place"),
    [
        (Run("paper", "rn18-timm", "dtd", "FS"), "resnet18-f37072fd.pth", "weights"),
        (Run("paper", "vitb32-clip", "sun397", "ZS"), "ViT-B-32.pt", "weights"),
        (Run("paper-faithful", "rn50-swav", "cifar10", "SSM", 0.0), "swav_800ep_pretrain.pth.tar", "weights"),
    ],
)
def test_without_files_and_network_a_run_is_one_line(nothing_here, run, name, place):
    with pytest.raises(ValueError, match=name) as error:
        runs.run(run, progress=False)
    said = str(error.value)
    assert "\n" not in said
    assert "MB" in said
    assert str(nothing_here / place) in said


def test_few_labels_as_the_code_draws_them():
    labels = torch.arange(40) % 4
    for percent in (10, 25, 50):
        wanted = torch.randperm(40, generator=torch.Generator().manual_seed(42))[: int(40 * percent / 100)]
        assert torch.equal(label_subset(labels, percent, by_class=False), wanted)
    assert len(label_subset(labels, 10, by_class=False)) == len(label_subset(labels, 10))


def test_the_views_of_swav_have_the_scales_of_their_sizes(monkeypatch):
    seen = []

    def views(images, generator, sizes, scales, style):
        seen.append((sizes, scales))
        return augment.views(images, generator, sizes, scales, style)

    from submasking.learning import adapt as module

    monkeypatch.setattr(module, "augment", type("", (), {"views": staticmethod(views), "Style": augment.Style}))
    backbone = Backbone(torch.nn.Flatten(), 12, "", (0.5,) * 3, (0.5,) * 3, 2)
    swav = replace(PAPER.swav, sizes=(4, 2))
    made = module._views(backbone, swav, augment.PHOTO_VIEWS)(torch.rand(2, 3, 8, 8), torch.Generator())
    assert [view.shape[-1] for view in made] == [4] * 2 + [2] * 6
    assert seen == [([4] * 2 + [2] * 6, [(0.14, 1.0)] * 2 + [(0.05, 0.14)] * 6)]


@pytest.mark.parametrize("method", ["SSM", "SSFT", "SSM-none"])
@pytest.mark.parametrize("frozen", [1, 4, 100])
def test_prototypes_may_be_frozen_for_the_first_steps(method, frozen):
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    backbone = Backbone(trunk, 8, "resnet", (0.5,) * 3, (0.5,) * 3, 8)
    swav = Swav(crops=(2,), sizes=(8,), dimensions=4, prototypes=3, queue=8, freeze_prototypes=frozen)
    plan = Optimisation(lr=1.0, epochs=3)
    found = adapt(backbone, image_set(12, 3, 8), method, plan, swav=swav, batch_size=4, progress=False)
    assert len(found.history.loss) == 3


def test_a_hash_that_is_known_stands_for_the_images():
    images = replace(image_set(6, 2, 8), content="0123456789abcdef" * 4)
    assert images.fingerprint() == "0123456789abcdef"
    half, other = images.subset([0, 2]), images.subset([2, 0])
    assert len({each.content for each in (images, half, other)}) == 3
    assert half.content == images.subset(torch.tensor([0, 2])).content
    assert image_set(6, 2, 8).subset([0]).content == ""


def test_a_whole_set_in_its_order_is_not_copied():
    images = image_set(6, 2, 8)
    assert images.subset(range(6)) is images
    assert images.subset(torch.arange(6)) is images
    for other in (range(5), [1, 0, 2, 3, 4, 5], torch.ones(6, dtype=torch.bool)):
        assert images.subset(other) is not images
    labelled = methods.with_labels(Run("paper", "rn18-timm", "dtd", "FS"), images, 100.0)
    assert images.subset(labelled) is images


@pytest.mark.parametrize("name", ["paper", "smoke", "tiny"])
@pytest.mark.parametrize("model", MODELS)
def test_sizes_of_a_model_that_is_named_are_weighed_with_every_seed(name, model):
    asked = grid.storage_runs(name, model, seed="0,1")
    assert {(run.model, run.method, run.seed) for run in asked} == {
        (model, method, seed) for method in ("FS", "FFT") for seed in (0, 1)
    }


@pytest.mark.parametrize(
    ("method", "labels", "wanted"),
    [
        ("ZS", 100.0, {"centre": paper_archives.TRAIN + paper_archives.VAL + paper_archives.TEST}),
        ("LP", 50.0, {"centre": paper_archives.TRAIN + paper_archives.VAL + paper_archives.TEST}),
        ("FFT", 50.0, {"whole": 6, "centre": 10}),
        ("SSFT", 0.0, {"whole": 6, "centre": 10}),
    ],
)
@pytest.mark.parametrize("dataset", ["dtd", "cifar10"])
def test_only_the_pictures_that_a_method_looks_at_are_decoded(
    nothing_here, monkeypatch, dataset, method, labels, wanted
):
    paper_archives.write(monkeypatch, nothing_here / "data", dataset)
    monkeypatch.setitem(profiles.PROFILES, "paper", paper_miniature.small(PAPER))
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 9, stride=8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    monkeypatch.setattr(methods, "backbone_of", lambda task: Backbone(trunk, 4, "resnet", (0.5,) * 3, (0.5,) * 3, 224))
    methods._read.cache_clear()
    methods._features.cache_clear()
    decoded, render = Counter(), rendering.rendered

    def counted(picture, how, size):
        decoded[how] += 1
        return render(picture, how, size)

    monkeypatch.setattr(rendering, "rendered", counted)
    found = methods.METHODS[method](Run("paper", "rn18-timm", dataset, method, labels), False)
    assert dict(decoded) == wanted
    assert found["data"] | {"labelled": 0} == {"classes": 2, "train": 6, "labelled": 0, "test": 4}
    methods._read.cache_clear()
    methods._features.cache_clear()


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """The paper's files in miniature."""
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        paper_miniature.write(folder, patch)
    return folder


@pytest.fixture
def installed(miniature, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(miniature / "results"))
    paper_miniature.install(miniature, monkeypatch)
    methods._loaded.cache_clear()
    methods._read.cache_clear()
    methods._features.cache_clear()
    return miniature


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_network_runs_on_every_set(installed, model):
    planned = grid.accuracy_runs("paper", model, methods="ZS,LP")
    found = runs.run_all(planned)
    assert {record.dataset for record in found} == set(DATASETS)
    assert all(record.stand_in == {"model": "", "dataset": ""} for record in found)
    assert {record.backbone["weights"] for record in found} == {NETWORKS[model].file.name}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "model", "dataset", "method", "labels"),
    [
        *(("paper", "rn18-timm", dataset, "FS", 100.0) for dataset in DATASETS),
        ("paper", "rn18-timm", "dtd", "FFT", 100.0),
        ("paper", "rn50-swav", "cifar10", "FS", 50.0),
        ("paper", "rn18-timm", "dtd", "FS-squared", 100.0),
        ("paper-faithful", "rn18-timm", "dtd", "FS", 50.0),
        ("paper-bfloat16", "rn18-timm", "dtd", "FS", 100.0),
        ("paper", "rn50-swav", "sun397", "SSM", 0.0),
        ("paper", "vitb32-clip", "ucf101", "FS", 100.0),
    ],
)
def test_every_method_trains_for_an_epoch_and_leaves_its_record_and_mask(
    installed, profile, model, dataset, method, labels
):
    run = Run(profile, model, dataset, method, labels)
    record = runs.run(run, progress=False)
    assert json.loads(run.record_file.read_text())["recipe"]["protocol"] == asdict(profiles.profile(profile).protocol)
    assert record.recipe == run.recipe()
    assert record.device == "cpu"
    if method == "FFT":
        return
    network = NETWORKS[model]
    faithful = profiles.profile(profile).protocol.selection == "name"
    assert record.backbone["masked"] == (network.faithful if faithful else network.masked)
    task = maskfile.load(run.mask_file)
    backbone = backbones.load(model, profile)
    task.apply(backbone.trunk)
    shown = datasets.load(profile, dataset, "test")
    assert len(shown) == paper_archives.TEST


@pytest.mark.slow
def test_the_notebook_takes_the_profile(installed, tmp_path):
    environment = os.environ | paper_miniature.startup(installed) | {"SUBMASKING_RESULTS": str(installed / "results")}
    out = tmp_path / "out.ipynb"
    command = ["papermill", "notebooks/label_sparsity.ipynb", str(out), "-p", "model", "rn18-timm", "-p", "profile"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "paper", "-p", "dataset", "cifar10", "--no-progress-bar"],
        cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "SSM + LP" in out.read_text()
    kept = sorted(
        path.name for path in (installed / "results" / "paper" / "records" / "rn18-timm" / "cifar10").iterdir()
    )
    assert {name.partition("-labels")[0] for name in kept} >= {"FS", "FFT", "LP", "SSM", "SSFT"}
