"""No training is lost and no prediction held up by what is wrong with a folder, a file or a terminal."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import __main__ as benchmarks
from benchmarks import whole_tasks
from submasking.commands import mask
from submasking.commands.cli import main
from submasking.learning import train
from submasking.tasks import maskfile


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Pictures of two classes, and weights of a small network."""
    folder, random = tmp_path_factory.mktemp("origin"), np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for name in ("red", "blå"):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{number}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "weights.safetensors")
    return folder


@pytest.fixture
def place(origin, tmp_path):
    shutil.copytree(origin, tmp_path / "place")
    return tmp_path / "place"


def training(place, *more, out="task.safetensors"):
    return [
        "mask", str(place / "photos"), "--model", "timm:test_resnet", "--weights", str(place / "weights.safetensors"),
        "--size", "32", "--epochs", "2", "--batch-size", "4", "--out", str(place / out), "--quiet", *more,
    ]  # fmt: skip


@pytest.fixture
def untrained(monkeypatch):
    """Fails a test that comes to training."""

    def never(*unused, **named):
        pytest.fail("trained")

    monkeypatch.setattr(mask, "adapt", never)


def broken(place):
    (place / "photos" / "test" / "red" / "bad.png").write_bytes(b"no picture")


def another_class(place):
    (place / "photos" / "test" / "red").rename(place / "photos" / "test" / "pink")


def empty_class(place):
    shutil.rmtree(place / "photos" / "test" / "red")
    (place / "photos" / "test" / "red").mkdir()


def out_is_a_folder(place):
    (place / "task.safetensors").mkdir()


def out_below_a_file(place):
    (place / "there").write_bytes(b"")


FAULTS = {
    "bad.png must be a readable picture": (broken, "task.safetensors"),
    "only one of them has pink, red": (another_class, "task.safetensors"),
    "at least one picture in each": (empty_class, "task.safetensors"),
    "is a folder; name a file in it": (out_is_a_folder, "task.safetensors"),
    "must be a file that can be written": (out_below_a_file, "there/task.safetensors"),
    "must be another file than --weights": (lambda place: None, "weights.safetensors"),
}


@pytest.mark.parametrize("said", FAULTS)
@pytest.mark.usefixtures("untrained")
def test_what_would_fail_after_training_fails_before_it(place, said, capsys):
    spoil, out = FAULTS[said]
    before = (place / "weights.safetensors").read_bytes()
    spoil(place)
    assert main(training(place, out=out)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert (place / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cache", "inf"], "--cache must be a finite number of GiB, at least 0, got inf"),
        (["--cache", "nan"], "--cache must be a finite number of GiB, at least 0, got nan"),
        (["--head-lr=-1"], "--head-lr must be a finite number, at least 0, got -1.0"),
        (["--head-lr", "nan"], "--head-lr must be a finite number, at least 0, got nan"),
        (["--seed", "9" * 23], "--seed must be a whole number of at most 64 bits"),
        (["--std", "0", ".5", ".5"], "--std must be three finite numbers above 0"),
        (["--std", "-1", "1", "1"], "--std must be three finite numbers above 0"),
        (["--mean", "nan", "0", "0"], "--mean must be three finite numbers"),
        (["--option", "global_pool="], "global_pool= does not"),
        (["--option", "drop_path_rate=5"], "drop_path_rate=5 does not"),
    ],
)
@pytest.mark.usefixtures("untrained")
def test_a_number_that_no_training_can_use_is_refused_with_the_remedy(place, words, said, capsys):
    assert main(training(place, *words)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "leave it out" in line


def test_batches_of_one_are_refused_where_statistics_follow(place, capsys):
    assert main(training(place, "--batch-size", "1")) == 1
    assert "batch_size must be at least 2 where statistics of batch norms follow" in capsys.readouterr().err


def test_pictures_of_the_test_that_were_trained_on_are_said(place, capsys):
    shutil.rmtree(place / "photos" / "test" / "red")
    (place / "photos" / "test" / "red").symlink_to(place / "photos" / "train" / "red")
    shutil.copy(place / "photos" / "train" / "red" / "0.png", place / "photos" / "train" / "blå" / "same.png")
    assert main(training(place)) == 0
    said = capsys.readouterr().err
    assert "1 pictures to train on are in more than one class" in said
    assert "5 of 7 pictures of test are among those to train on: what they score says nothing of new ones" in said


def test_a_single_class_is_refused(place, capsys):
    for split in ("train", "test"):
        shutil.rmtree(place / "photos" / split / "red")
    assert main(training(place)) == 1
    assert "at least two classes" in capsys.readouterr().err


def test_a_mask_is_kept_when_it_cannot_be_scored(place, monkeypatch, capsys):
    def full(*unused, **named):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(mask, "features", full)
    assert main(training(place)) == 1
    error = capsys.readouterr().err
    assert "task.safetensors is written, but without a score: it could not be had (out of memory)" in error
    assert maskfile.load(place / "task.safetensors").score == {}
    monkeypatch.undo()
    assert main(training(place)) == 0
    assert set(maskfile.load(place / "task.safetensors").score) == {"top1"}
    assert not list(place.glob("*.checkpoint*"))
    assert "task.safetensors is there already; it will be replaced" in capsys.readouterr().err


def test_a_checkpoint_outlives_a_mask_that_could_not_be_written(place, monkeypatch):
    def full(*unused, **named):
        raise OSError("no space left")

    monkeypatch.setattr(maskfile, "save", full)
    assert main(training(place)) == 1
    assert (place / "task.safetensors.checkpoint").exists()


@pytest.mark.parametrize("change", ["a class more", "another class of the same number", "another picture", "damage"])
def test_a_checkpoint_that_does_not_belong_is_named_with_what_to_do(place, monkeypatch, change, capsys):
    monkeypatch.setattr(maskfile, "save", lambda *unused, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(training(place))
    monkeypatch.undo()
    checkpoint = place / "task.safetensors.checkpoint"
    for split in ("train", "test"):
        folder = place / "photos" / split
        if change == "a class more":
            shutil.copytree(folder / "red", folder / "rosy")
        elif change == "another class of the same number":
            (folder / "red").rename(folder / "aoi")
        elif change == "another picture":
            Image.new("RGB", (9, 9)).save(folder / "red" / "0.png")
    if change == "damage":
        checkpoint.write_bytes(checkpoint.read_bytes()[:999])
    assert main(training(place)) == 1
    *_, line = capsys.readouterr().err.splitlines()  # after what is odd about the pictures
    assert str(checkpoint) in line
    assert "--restart" in line
    assert main(training(place, "--restart")) == 0


def stopped_in(monkeypatch, epoch):
    """Ctrl-C after that many whole epochs; with 0 before the training."""
    if epoch == 0:
        monkeypatch.setattr(mask.folder, "load_all", stop)
        return
    save, saved = train._save, []

    def counted(*given):
        save(*given)
        saved.append(given)
        if len(saved) == epoch:
            stop()

    monkeypatch.setattr(train, "_save", counted)


def stop(*unused, **named):
    raise KeyboardInterrupt


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("more", [(), ("--restart",)])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_what_an_interruption_advises_goes_on_with_all_that_was_trained(
    place, monkeypatch, capsys, epoch, more, earlier
):
    words = ("--epochs", "4", *more)
    if earlier and more:
        (place / "task.safetensors.checkpoint").write_bytes(b"of an earlier run")
    stopped_in(monkeypatch, epoch)
    assert main(training(place, *words)) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    monkeypatch.undo()
    advice = f"; the same command{' without --restart' if more else ''} goes on after the last whole epoch"
    assert said == f"submasking mask: interrupted{advice if epoch else ''}"
    first = []
    monkeypatch.setattr(train, "_save", lambda path, state, history, epoch, identity: first.append(epoch))
    assert main(training(place, *(words[:2] if epoch else words))) == 0
    assert first == list(range(epoch + 1, 4))


@pytest.mark.parametrize(
    "words", [("--from-stage", "layer3", "--versions", "2", "--cache", "0.000001"), ("--from-stage", "layer5")]
)
def test_a_restart_that_is_refused_leaves_the_checkpoint(place, words):
    checkpoint = place / "task.safetensors.checkpoint"
    checkpoint.write_bytes(b"of an earlier run")
    assert main(training(place, "--restart", *words)) == 1
    assert checkpoint.read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("images", [9, 5])
def test_a_last_batch_of_one_picture_does_not_end_training(place, images):
    """Batches of four leave one picture over, and its features are of one place: batch norm refuses it."""
    for extra in sorted((place / "photos" / "train").glob("*/*.png"))[::2][: 10 - images]:
        extra.unlink()
    assert main(training(place)) == 0


def test_frozen_first_stages_are_in_no_mask(place, capsys):
    words = ("--from-stage", "layer3", "--versions", "2")
    assert main(training(place, *words)) == 0
    kept = maskfile.load(place / "task.safetensors")
    assert {name.split(".")[0] for name in kept.shapes} == {"layer3", "layer4"}
    assert (kept.provenance["recipe"]["from_stage"], kept.provenance["recipe"]["versions"]) == ("layer3", 2)
    assert main(predicting(place, place / "task.safetensors", place / "photos" / "test")) == 0
    capsys.readouterr()
    assert main(training(place, "--from-stage", "layer5")) == 1
    assert "may be split at bn1, layer1, layer2, layer3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cache", "shown"), [("1e-9", "1 bytes (9.31e-10 GiB)"), ("0.00001", "10,737 bytes (1e-05 GiB)"),
                         ("0.0000572", "61,418 bytes (5.72e-05 GiB)")]
)  # fmt: skip
def test_memory_that_does_not_do_is_said_with_all_digits(place, cache, shown, capsys):
    words = ("--from-stage", "layer3", "--versions", "2")
    assert main(training(place, *words, "--cache", cache)) == 1
    assert f"must fit into {shown}, they need 61,440; allow more" in capsys.readouterr().err


@pytest.fixture(scope="module")
def task(origin):
    assert main(training(origin, out="made.safetensors")) == 0
    return origin / "made.safetensors"


def predicting(origin, task, *images):
    return ["predict", str(task), *map(str, images), "--weights", str(origin / "weights.safetensors")]


def test_a_bad_picture_does_not_hold_up_the_others(place, task, capsys):
    folder = place / "photos" / "test"
    (folder / "red" / "1a.png").write_bytes((folder / "red" / "1.png").read_bytes()[:300])
    (folder / "red" / "0.jpg").write_bytes(b"<!doctype html>")
    (folder / "red" / "._0.png").write_bytes(b"of a Mac")
    (folder / "red" / "a.heic").write_bytes(b"")
    assert (
        main(predicting(place, task, folder, place / "none.png", place / "photos" / "train", "--batch-size", "3")) == 1
    )
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4 + 10
    lines = err.splitlines()
    assert sum("must be a readable picture" in line for line in lines) == 3
    assert sum("1 file was no picture by its name: .heic 1" in line for line in lines) == 1
    assert len(lines) == 4
    assert all(line.startswith("submasking predict: ") for line in lines)


def test_predict_takes_what_training_takes(place, task, capsys):
    folder = place / "various"
    folder.mkdir()
    for name in ("a.JFIF", "b.gif", "c.webp", "d.TIF", "e.jp2", "f.bmp", "g.tga", "h.png"):
        kind = {"a": "JPEG", "e": "JPEG2000"}.get(name[0])
        Image.new("RGB", (8, 8), "red").save(folder / name, kind)
    assert main(predicting(place, task, folder)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert main(predicting(place, task, place / "various", place / "photos" / "none")) == 1


SEVERAL = """
import json, sys
from submasking.commands.cli import main
print([main(words) for words in json.loads(sys.argv[1])])
"""


def test_a_terminal_that_lacks_a_character_shows_its_number(origin, task, tmp_path):
    picture = tmp_path / "猫.png"
    shutil.copy(origin / "photos" / "test" / "red" / "0.png", picture)
    words = [["inspect", str(task)], predicting(origin, task, picture), predicting(origin, task, tmp_path / "犬.png")]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-c", SEVERAL, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stdout.decode("latin-1").splitlines()[-1] == "[0, 0, 1]"
    assert b"\\u732b" in done.stdout
    assert b"\\u72ac" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_predict_does_not_follow_a_link_upwards(place, task, capsys):
    inside = place / "photos" / "test" / "red"
    (inside / "up").symlink_to(inside.parent)
    capsys.readouterr()
    assert main(predicting(place, task, inside)) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "leads up to" in err


def test_a_pipe_is_called_no_file(place, task, capsys):
    os.mkfifo(place / "photos" / "test" / "red" / "pipe.png")
    assert main(predicting(place, task, place / "photos" / "test" / "red")) == 1
    assert "pipe.png must be a readable picture (it is no file)" in capsys.readouterr().err


def test_a_task_of_photographs_is_weighed_on_its_test_pictures(place):
    assert main(training(place)) == 0
    pair = "=".join(str(place / name) for name in ("task.safetensors", "photos", "weights.safetensors"))
    found, every = whole_tasks.photographs([pair])
    assert found["model"] == "photos"
    assert (found["images"], found["changed"], found["files"]) == (4, 0, 1)
    assert found["rounded"] < found["exact"] <= 1
    assert every == found | {"model": "all"}


@pytest.mark.parametrize(
    "pair", ["{task}", "{task}={place}/nowhere={weights}", "{weights}={photos}", "{task}={photos}"]
)
def test_what_is_no_task_of_photographs_is_told_in_a_line(pair, place, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # for tests after this one
    assert main(training(place)) == 0
    names = {"task": place / "task.safetensors", "weights": place / "weights.safetensors", "photos": place / "photos"}
    with pytest.raises(SystemExit):
        benchmarks.main(["whole_photographs", "--tasks", pair.format(place=place, **names)])
    assert "--tasks must be FILE=FOLDER[=WEIGHTS]; " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["0.png", "new.safetensors"])
def test_an_output_among_the_pictures_is_refused(name, place, capsys):
    there = sorted(place.rglob("*"))
    before = (place / "photos" / "train" / "red" / "0.png").read_bytes()
    assert main(training(place, out=f"photos/train/red/{name}")) == 1
    assert "--out must lie outside the pictures" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == there
    assert (place / "photos" / "train" / "red" / "0.png").read_bytes() == before


def test_a_training_does_not_go_on_with_another_option_of_the_network(place, monkeypatch, capsys):
    class StopError(Exception):
        pass

    def stop(*unused, **named):
        raise StopError

    save = train._save
    monkeypatch.setattr(train, "_save", lambda *given: (save(*given), stop()))
    with pytest.raises(StopError):
        main(training(place))
    monkeypatch.setattr(train, "_save", save)
    assert main(training(place, "--option", "act_layer=gelu")) == 1
    assert "it has another architecture" in capsys.readouterr().err
    assert main(training(place)) == 0
