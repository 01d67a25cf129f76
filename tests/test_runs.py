import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import synthetic
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import round_trips, whole_tasks
from submasking.experiments import grid, runs
from submasking.experiments.run import Run
from submasking.records import predictions, profiles, results
from submasking.report import frames
from submasking.tasks import maskfile
from submasking.worlds import backbones, datasets


def test_what_only_some_runs_need_is_not_imported_by_all():
    """A grid has a process for each job, and each import of these takes seconds."""
    code = "import sys; from submasking.experiments import runs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"open_clip", "sklearn", "pandas"} & set(done.stdout.split()) == set()


def smoke(method, labels=100.0, seed=0, model="rn18-timm"):
    return Run("smoke", model, "cifar10", method, labels, seed)


@pytest.mark.parametrize(
    ("method", "labels", "metrics"),
    [
        ("ZS", 100.0, {"knn"}),
        ("LP", 100.0, {"top1", "converged"}),
        ("LP", 10.0, {"top1", "converged"}),
        ("FS", 100.0, {"top1", "knn", "sparsity"}),
        ("FFT", 100.0, {"top1", "knn"}),
        ("SSM", 0.0, {"knn", "lp@10", "lp@100", "converged@10", "converged@100", "sparsity"}),
        ("SSFT", 0.0, {"knn", "lp@10", "lp@100", "converged@10", "converged@100"}),
    ],
)
def test_a_method_leaves_a_record_with_its_metrics(smoke_results, method, labels, metrics):
    task = smoke(method, labels)
    record = runs.run(task, progress=False)
    assert set(record.metrics) == metrics
    assert all(0 <= value <= 1 for value in record.metrics.values())
    assert results.read_one(task.record_file) == record
    assert set(record.predictions) == {name for name in metrics if name.startswith(("top1", "knn", "lp"))}
    assert record.backbone["fingerprint"]
    assert record.stand_in["model"]
    assert record.stand_in["dataset"]
    assert task.mask_file.exists() == (method in ("FS", "SSM"))


def test_runs_on_one_test_set_can_be_paired_and_others_cannot(smoke_results):
    one, two = (runs.run(smoke(method), progress=False) for method in ("LP", "FS"))
    other = runs.run(replace(smoke("LP"), dataset="dtd"), progress=False)
    assert one.test == two.test != other.test
    labels = torch.tensor(predictions.unpack(one.test["labels"]))
    assert torch.equal(labels, datasets.load("smoke", "cifar10", "test").labels)


def test_the_mask_file_of_a_run_gives_its_masks_back(smoke_results):
    task = smoke("FS", seed=5)
    record = runs.run(task, progress=False)
    kept = maskfile.load(task.mask_file)
    weights = backbones.load("rn18-timm", "smoke", seed=5).trunk.state_dict()
    layers = {name: 1 - mask.float().mean().item() for name, mask in kept.masks(weights).items()}
    assert layers == pytest.approx(record.layers, abs=1e-6)
    assert kept.score == record.metrics
    assert record.sizes["file_bytes"] == task.mask_file.stat().st_size
    assert {name: record.sizes[name] for name in ("buffers_bytes", "head_bytes")}.items() <= kept.sizes().items()
    assert 0 < record.sizes["coded_bytes"] < record.sizes["raw_bits"] / 8


def test_whole_tasks_are_saved_anew_smaller_and_the_same(smoke_results):
    runs.run(smoke("FS"), progress=False)
    every = whole_tasks.read("smoke", "rn18-timm")  # those of other tests, too
    assert every
    for found in every:
        assert found["rounded"] < found["exact"] < found["plain"]
        assert found["bits"] >= 10
        assert (found["bits"] > 10) == (found["changed"] > 0) == found["more"]
        assert 0 < found["moved"] < 0.1


def test_a_mask_file_gives_the_accuracy_that_its_run_recorded(smoke_results):
    task = smoke("FS", seed=5)
    runs.run(task, progress=False)
    found = round_trips.read("smoke", "rn18-timm")[task.mask_file.relative_to(round_trips.folder("smoke")).as_posix()]
    assert found["same_bits"]
    assert found["top1"] == found["recorded"]


@pytest.mark.parametrize(("method", "labels"), [("FFT", 100.0), ("SSFT", 0.0)])
def test_a_run_that_trains_weights_records_what_they_cost(smoke_results, method, labels):
    found, masked = runs.run(smoke(method, labels), progress=False), runs.run(smoke("FS"), progress=False)
    assert found.sizes["weights_raw_bytes"] == 4 * masked.backbone["masked"]
    assert 0 < found.sizes["weights_delta_bytes"] < found.sizes["weights_raw_bytes"]
    assert {"weights_gzip_bytes", "weights_bz2_bytes", "weights_lzma_bytes", "buffers_bytes"} <= found.sizes.keys()
    assert masked.sizes["zstd_bytes"] > 0


# the attention pooling of the small CLIP ResNet is most of it, and the paper masks its convolutions
@pytest.mark.filterwarnings("ignore:a preset should mask most of a model")
@pytest.mark.parametrize("model", ["rn50-clip", "vitb32-clip"])
def test_a_clip_tower_learns_masks(smoke_results, model):
    record = runs.run(smoke("FS", model=model), progress=False)
    assert 0 < record.backbone["masked"] < record.backbone["parameters"]


def test_a_run_with_a_record_is_not_run_again(smoke_results, monkeypatch):
    task = smoke("LP")
    first = runs.run(task, progress=False)
    monkeypatch.setitem(runs.METHODS, "LP", None)
    again = runs.run(task, progress=False)
    assert again == first
    # a notebook prints the same whether its runs were made or read
    assert [list(told) for told in (again.metrics, again.timings)] == [
        list(told) for told in (first.metrics, first.timings)
    ]


def test_a_record_of_another_recipe_is_run_again(smoke_results):
    task = smoke("LP", seed=7)
    first = runs.run(task, progress=False)
    content = json.loads(task.record_file.read_text())
    content["recipe"]["neighbours"] = 1
    task.record_file.write_text(json.dumps(content))
    assert runs.run(task, progress=False).recipe == first.recipe


def test_one_seed_gives_one_result(smoke_results):
    task = smoke("FS", seed=3)
    first = runs.run(task, progress=False)
    task.record_file.unlink()
    second = runs.run(task, progress=False)
    assert first.metrics == second.metrics
    assert first.layers == second.layers
    assert runs.run(smoke("FS", seed=4), progress=False).series != first.series


def test_read_only_never_trains(smoke_results, monkeypatch):
    monkeypatch.setenv(results.READ_ONLY, "1")
    with pytest.raises(FileNotFoundError, match="no record of this recipe"):
        runs.run(smoke("FFT", seed=99), progress=False)


def test_what_is_wrong_with_all_runs_is_said_once(smoke_results, monkeypatch):
    def broken(task, progress):
        raise ValueError(f"no {'weights' if task.seed < 53 else 'data'}")

    monkeypatch.setitem(runs.METHODS, "FFT", broken)
    with pytest.raises(RuntimeError) as told:
        runs.run_all([smoke("FFT", seed=seed) for seed in (50, 51, 52, 53)])
    said = str(told.value)
    assert said.startswith("4 of 4 runs failed:\n")
    assert said.count("no weights") == said.count("no data") == 1
    assert "seed 50 and 2 more: ValueError: no weights" in said
    assert "seed 53: ValueError: no data" in said


def test_a_failing_run_does_not_cost_the_others(smoke_results, monkeypatch, capsys):
    def broken(task, progress):
        raise ArithmeticError("loss is nan")

    monkeypatch.setitem(runs.METHODS, "FFT", broken)
    tasks = [smoke("FFT", seed=50), smoke("LP", seed=51)]
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed:\n.*FFT.*seed 50: ArithmeticError: loss is nan"):
        runs.run_all(tasks)
    assert tasks[1].record_file.exists()
    assert not tasks[0].record_file.exists()
    assert "[2/2" in capsys.readouterr().out


@pytest.mark.parametrize(("fault", "begun"), [(errno.ENOSPC, 1), (errno.EROFS, 1), (errno.EACCES, 3)])
def test_a_disk_that_takes_no_files_costs_no_further_training(tmp_path, monkeypatch, fault, begun):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    tried = []

    def full(task, progress):
        tried.append(task)
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setitem(runs.METHODS, "LP", full)
    tasks = [Run("smoke", "rn18-timm", "cifar10", "LP", seed=seed) for seed in range(3)]
    with pytest.raises(RuntimeError, match="2 runs were not begun; make room" if begun == 1 else "3 of 3 runs failed"):
        runs.run_all(tasks)
    assert len(tried) == begun


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"profile": "huge"},
            "profile must be one of smoke, tiny, images, paper, paper-faithful, paper-bfloat16; got 'huge'",
        ),
        ({"model": "nonsense"}, "model must be one of rn18-timm, .*; got 'nonsense'"),
        ({"method": "SFT"}, "method must be one of ZS, LP, FS, .*SSFT; got 'SFT'"),
        ({"labels": 0.0}, "labels must be 0 for SSM, .*SSFT"),
    ],
)
def test_a_bad_name_lists_the_good_ones(change, message):
    with pytest.raises(ValueError, match=message):
        Run(**{"profile": "smoke", "model": "rn18-timm", "dataset": "cifar10", "method": "FS"} | change)


def test_the_grid_holds_every_cell_of_the_tables():
    tasks = grid.runs("tiny")
    assert len(tasks) == len(set(tasks))
    cells = {(task.model, task.dataset, task.method) for task in tasks if task.labels == 100}
    reported = frames.reported()
    wanted = reported[(reported.source == "draft") & (reported.metric == "top1")]
    assert {(row.model, row.dataset, row.method) for row in wanted.itertuples()} <= cells
    trained = [task for task in tasks if task.method in ("FS", "FFT") and task.labels == 100]
    assert {task.seed for task in trained} == set(profiles.TINY.seeds)


@pytest.mark.parametrize(("profile", "seeds"), [("tiny", "all"), ("smoke", "1,2"), ("paper", "all")])
def test_every_run_has_one_maker_which_the_notebooks_that_share_it_wait_for(profile, seeds):
    makers = grid.makers(profile, seeds)
    assert set(makers) == set(grid.runs(profile, seeds))
    for stem in grid.notebooks(profile):
        for run in grid.notebook_runs(stem, profile, seeds):
            assert makers[run] in (stem, *grid.before(stem, profile))


def test_names_are_chosen_from_a_list():
    assert grid.chosen("all", ("a", "b"), "dataset") == ("a", "b")
    assert grid.chosen("b, a", ("a", "b"), "dataset") == ("b", "a")
    with pytest.raises(ValueError, match=r"dataset must be among a, b \(or all\); got 'c'"):
        grid.chosen("c", ("a", "b"), "dataset")
    with pytest.raises(ValueError, match="seeds must be whole numbers"):
        grid.seeds("one", "tiny")


def pictures(folder, colours):
    """A folder of pictures, one class for each colour."""
    for split, count in (("train", 6), ("test", 3)):
        for name, colour in colours.items():
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.new("RGB", (8, 8), colour).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Two folders of pictures called alike, and weights of a small network."""
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / "weights.safetensors")
    monkeypatch.setitem(profiles.PROFILES, "images", replace(profiles.IMAGES, image_size=32))
    two = {"red": (200, 0, 0), "green": (0, 200, 0)}
    pictures(tmp_path / "one" / "images", two)
    pictures(tmp_path / "two" / "images", two | {"blue": (0, 0, 200)})
    return tmp_path


def on(images, folder, method="LP"):
    return Run(
        "images", "resnet10t", str(images / folder / "images"), method, weights=str(images / "weights.safetensors")
    )


def test_two_folders_called_alike_are_two_runs(images):
    first, second = (runs.run(on(images, folder), progress=False) for folder in ("one", "two"))
    assert (first.data["classes"], second.data["classes"]) == (2, 3)
    assert first.dataset == second.dataset == "images"
    assert first.path != second.path
    assert runs.run(on(images, "one"), progress=False) == first


def test_a_folder_that_changed_is_another_run_and_its_record_keeps_the_old_one(images):
    first = runs.run(on(images, "one"), progress=False)
    Image.new("RGB", (8, 8), (0, 0, 0)).save(images / "one" / "images" / "train" / "red" / "0.png")
    second = runs.run(on(images, "one"), progress=False)
    assert first.recipe["identity"]["data"] != second.recipe["identity"]["data"]
    assert len(results.read(images / "results" / "images" / "records")) == 2


def test_weights_replaced_under_the_same_name_are_another_run(images):
    first = runs.run(on(images, "one"), progress=False)
    torch.manual_seed(1)
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), images / "weights.safetensors")
    second = runs.run(on(images, "one"), progress=False)
    assert first.backbone["fingerprint"] != second.backbone["fingerprint"]
    assert first.path != second.path


def test_a_checkpoint_of_another_recipe_is_not_found(images, monkeypatch):
    before = on(images, "one", "FS").checkpoint_file
    other = profiles.PROFILES["images"]
    monkeypatch.setitem(profiles.PROFILES, "images", replace(other, batch_size=other.batch_size + 1))
    assert on(images, "one", "FS").checkpoint_file != before
    assert smoke("FS").checkpoint_file != smoke("FS", seed=1).checkpoint_file


@pytest.mark.parametrize("spelling", [".", "../images", "../images/"])
def test_a_folder_has_its_own_name_however_it_is_written(images, monkeypatch, spelling):
    monkeypatch.chdir(images / "one" / "images")
    task = Run("images", "resnet10t", spelling, "LP", weights=str(images / "weights.safetensors"))
    assert task.dataset_name == "images"
    assert task.record_file == on(images, "one").record_file


def test_a_grid_owns_its_records_and_no_others():
    tasks = grid.runs("smoke")
    records = [synthetic.record(task) for task in tasks]
    foreign = [
        synthetic.record(replace(tasks[-1], seed=99)),
        replace(records[0], variant="0123abcd"),
        replace(records[0], method="invariance", variant="0123abcd"),
    ]
    invariance, stale = replace(records[0], method="invariance"), replace(records[1], recipe={"lr": 3})
    own, old = grid.own("smoke", [*records[2:], *foreign, invariance, stale])
    assert own == [*records[2:], invariance]
    assert old == [stale]
