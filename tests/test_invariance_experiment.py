import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from bookext import invariance as page
from bookext.shelf import Shelf
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from submasking.experiments.invariance import SGD, Setup, equivalent, experiment, report
from submasking.learning.images import ImageSet
from submasking.records import places, profiles, results


@pytest.fixture(scope="module")
def record(smoke_results):
    return experiment.run("smoke", "rn18-timm", "dtd", epochs=2, images=32)


@pytest.mark.parametrize("variant", experiment.variants(), ids=lambda variant: variant.key)
def test_a_variant_is_called_equivalent_where_the_theorems_say_so(variant):
    base = Setup(SGD(50.0), 1.0, 0.0)
    found = equivalent(base, Setup(SGD(variant.lr), variant.start, variant.mu)) and variant.seed_shift == 0
    assert found == variant.equivalent


def test_the_published_pair_is_among_the_runs():
    (both,) = (v for v in experiment.variants() if v.key == "float32 both")
    assert (both.lr, both.start, both.mu) == (100.0, 2.5, 0.5)


def test_every_run_is_measured_at_every_step(record):
    steps = 2 * 2  # epochs times batches
    assert report.ordered(record) == [variant.key for variant in experiment.variants()]
    assert set(record.series) == set(report.ordered(record))
    for key, series in record.series.items():
        assert len(series["loss"]) == steps
        assert len(series["differing"]) == steps + 1
        assert series["differing"][-1] == record.metrics[f"{key}/differing"]


def test_what_is_exact_in_theory_is_exact_in_the_record(record):
    for key in ("float32 reference", "float32 repeated", "float32 scaled by 2", "bfloat16 scaled by 2"):
        assert record.metrics[f"{key}/differing"] == 0
        assert record.metrics[f"{key}/identical_steps"] == 5


def test_a_record_of_the_same_recipe_is_not_computed_again(record, monkeypatch):
    monkeypatch.setattr(experiment, "observe", None)
    again = experiment.run("smoke", "rn18-timm", "dtd", epochs=2, images=32)
    assert again == record
    assert list(again.series) == list(record.series)
    assert set(report.ordered(record)) == set(record.series)
    assert report.ordered(record)[:2] == ["float32 reference", "float32 repeated"]
    with pytest.raises(TypeError):
        experiment.run("smoke", "rn18-timm", "dtd", epochs=1, images=32)


def test_the_record_is_where_the_book_looks(record):
    assert results.read_one(places.results_folder("smoke") / "records" / record.path) == record
    usual = experiment.recipe("smoke", "rn18-timm", *experiment.USUAL)
    assert experiment.variant_of("smoke", usual) == ""
    assert record.variant == experiment.variant_of("smoke", record.recipe) != ""  # a try beside the grid's record


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_scores_and_velocity_are_in_the_number_format_of_the_run(dtype):
    """Each operation of a step is rounded to it: the scores are those of torch's own operations in that format."""
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    backbone = SimpleNamespace(trunk=trunk, preset="weights")
    masked, masking, optimizer = experiment.masked_trunk(backbone, experiment.Variant("run", 0.75, 1.0, 0.5, dtype))
    scores = {name: tensor.to(getattr(torch, dtype)) for name, tensor in masking.scores().items()}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in scores.items()}
    for _ in range(3):
        masked(torch.randn(2, 3, 5, 5)).square().sum().backward()
        for name, tensor in scores.items():
            gradient = masked.get_parameter(name).grad
            velocity[name].mul_(0.9).addcmul_(gradient, masking.frozen()[name])
            tensor.add_(velocity[name], alpha=-0.75)
        optimizer.step()
        optimizer.zero_grad()
        for name, tensor in masking.scores().items():
            assert torch.equal(tensor, scores[name].to(tensor.dtype))
            on = (scores[name] > 0.5).to(torch.float32)
            assert torch.equal(masked.get_parameter(name), masking.frozen()[name] * on)
    exact = [torch.equal(tensor, tensor.bfloat16().to(tensor.dtype)) for tensor in masking.scores().values()]
    assert all(exact) if dtype == "bfloat16" else not any(exact)


def outcome(bits, losses=(2.0, 1.0)):
    masks = [np.packbits(np.array(row)) for row in bits]
    return experiment.Outcome(masks, list(losses), top1=0.5, sparsity=0.25, weights=len(bits[0]))


def test_differing_counts_bits_and_finds_the_first():
    one = outcome([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 1, 0]])
    two = outcome([[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0]], losses=(2.0, 1.5))
    metrics, series = experiment.compare(two, one, window=1)
    assert series["differing"] == [0, 0, 0.5]
    assert (metrics["identical_steps"], metrics["first_bits"], metrics["loss_gap"]) == (2, 2, 0.5)
    assert experiment.compare(one, one, window=1)[0]["identical_steps"] == 3


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_draws_with_and_without_differences(record, dark):
    series = {
        key: value | {"differing": [0.0, *value["differing"][1:-1], 0.01]} for key, value in record.series.items()
    }
    for each in (record, replace(record, series=series)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = report.curves(each, dark=dark)
            figure.draw_without_rendering()
        assert isinstance(figure, Figure)
        assert len(figure.axes) == 2


def test_the_answer_tells_which_runs_parted_and_when(record):
    changed = {"float32 scaled by 3/identical_steps": 3.0, "float32 scaled by 3/first_bits": 1.0,
               "float32 scaled by 3/differing": 0.02}  # fmt: skip
    text = report.answer(replace(record, metrics=record.metrics | changed))
    assert "scaled by 3: first different at step 3, in 1 bit, 2 % at the end" in text
    assert "In bfloat16, scaled by 2: every mask of all 5 equal" in text
    assert "24 test images" in text


# ---- photographs -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of noise, six training and two test pictures each, and weights for timm's smallest ResNet."""
    place, random = tmp_path_factory.mktemp("pictures") / "noise", np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "test/a", "test/b", "test/c"):
        (place / name).mkdir(parents=True)
        for number in range(6 if name.startswith("train") else 2):
            pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / name / f"{number}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), place.parent / "small.safetensors")
    return place


@pytest.fixture
def photographs(monkeypatch, tmp_path):
    """Profile images for a network of a few weights; results in a folder of their own."""
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    chosen = replace(profiles.IMAGES, image_size=16, batch_size=5)
    monkeypatch.setitem(profiles.PROFILES, "images", chosen)
    return tmp_path / "images" / "records"


def on_photographs(folder, **changed):
    given = {"weights": str(folder.parent / "small.safetensors"), "epochs": 1, "images": 9} | changed
    notebook = {"name": "invariance", "parameters": {"dataset": str(folder), "weights": given["weights"], "epochs": 1}}
    return experiment.run("images", "test_resnet", str(folder), notebook=notebook, **given)


def test_a_folder_of_pictures_gives_a_record_that_names_no_folder(folder, photographs):
    record = on_photographs(folder)
    assert results.read_one(photographs / record.path) == record
    assert str(folder.parent) not in (photographs / record.path).read_text()
    assert record.notebook["parameters"] == {"dataset": "noise", "weights": "small.safetensors", "epochs": 1}
    assert (record.dataset, record.model, record.backbone["weights"]) == ("noise", "test_resnet", "small.safetensors")
    assert (record.data["classes"], record.data["train"], record.data["test"]) == (3, 9, 6)
    for key in ("float32 repeated", "float32 scaled by 2", "bfloat16 scaled by 2"):
        assert record.metrics[f"{key}/identical_steps"] == 3
    assert record.metrics["float32 learning rate only/differing"] > 0
    report.curves(record).draw_without_rendering()
    assert "profile images" in report.answer(record)


def test_few_images_of_a_folder_are_of_all_classes(folder, photographs):
    assert experiment.training_images("images", str(folder), 6).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(experiment.training_images("images", str(folder), 100)) == 18


@pytest.mark.parametrize("name", ["paper", "paper-faithful", "images"])
@pytest.mark.parametrize("images", [3, 5, 12])
def test_few_photographs_of_a_set_in_order_of_its_classes_are_of_all_of_them(monkeypatch, name, images):
    labels = torch.arange(3).repeat_interleave(10)
    ordered = ImageSet(torch.zeros(30, 3, 2, 2, dtype=torch.uint8), labels, ("a", "b", "c"), "ordered")
    monkeypatch.setattr(experiment.datasets, "load", lambda *given: ordered)
    few = experiment.training_images(name, "dtd", images)
    assert len(few) == images
    assert set(few.labels.tolist()) == {0, 1, 2}


def test_few_rendered_images_are_the_first(smoke_results):
    few = experiment.training_images("smoke", "dtd", 7)
    assert torch.equal(few.images, experiment.training_images("smoke", "dtd", 32).images[:7])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": "nowhere"}, "weights must be a file, there is none at 'nowhere'"),
        ({"images": 0}, "images must be positive; got 0"),
        ({"epochs": 0}, "epochs must be positive; got 0"),
        ({"lr": -1.0}, r"lr must be positive; got -1\.0"),
    ],
)
def test_a_bad_parameter_is_refused_before_anything_is_trained(folder, photographs, monkeypatch, changed, message):
    monkeypatch.setattr(experiment, "observe", None)
    with pytest.raises(ValueError, match=message):
        on_photographs(folder, **changed)
    assert not photographs.exists()


# ---- the book's role -------------------------------------------------------------------------------------------------
@pytest.fixture
def shipped():
    return Shelf.load("tiny")


@pytest.mark.parametrize("profile", ["tiny", "images"])
def test_a_number_of_the_page_is_that_of_the_record(shipped, profile):
    record, file = page.find(shipped, profile)
    share = record.metrics["float32 shifted by 1000/differing"]
    number = page.evaluate(f"{profile} float32 shifted by 1000/differing", shipped)
    assert number.text == f"{100 * share:.2g} %"
    assert f"{record.model} on {record.dataset}, seed 0, n = 1; profile {profile}" in number.hover
    assert file in number.files
    assert page.evaluate(f"{profile} data test", shipped).text == f"{record.data['test']:g}"
    gap = report.accuracy_gaps(record)["equivalent"]
    assert page.evaluate(f"{profile} gap equivalent", shipped).text == f"{100 * gap:.1f} points"
    assert page.evaluate(f"{profile} float32 both/top1", shipped).text == f"{record.metrics['float32 both/top1']:.3f}"


def test_steps_are_told_with_their_number(shipped):
    record, _ = page.find(shipped, "tiny")
    steps = len(record.series["float32 repeated"]["differing"])
    assert page.evaluate("float32 repeated/identical_steps", shipped).text == f"all {steps}"
    first = record.metrics["float32 another seed/identical_steps"]
    assert page.evaluate("float32 another seed/identical_steps", shipped).text == f"the first {first:.0f} of {steps}"


@pytest.mark.parametrize("text", ["", "float32 bosh/top1", "gap bosh", "data bosh", "recipe variants"])
def test_an_unknown_number_is_an_error(shipped, text):
    with pytest.raises(ValueError, match="must be a metric of a run, such as float32 both/differing"):
        page.evaluate(text, shipped)


def test_a_profile_without_the_record_is_an_error_but_a_book_without_records_is_none(shipped):
    with pytest.raises(ValueError, match="profile smoke has no record of the invariance experiment"):
        page.evaluate("smoke data test", shipped)
    assert page.evaluate("data test", replace(shipped, records=[])).text == page.MISSING


def test_the_gap_is_that_of_equivalent_runs_and_the_seeds_its_own(record):
    metrics = {key: 0.5 if key.endswith("top1") else value for key, value in record.metrics.items()}
    changed = {"bfloat16 both/top1": 0.47, "float32 another seed/top1": 0.6, "float32 threshold only/top1": 0.9}
    gaps = report.accuracy_gaps(replace(record, metrics=metrics | changed))
    assert gaps["equivalent"] == pytest.approx(0.03)
    assert gaps["seed"] == pytest.approx(0.1)
    assert gaps["error"] == pytest.approx((2 * 0.25 / record.data["test"]) ** 0.5)
