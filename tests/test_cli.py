"""The command line from a folder of pictures to predictions; a user's mistake is one line and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from submasking.commands.cli import main
from submasking.tasks import hub, maskfile

MODEL = "timm:test_resnet"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of two classes, red and blue, and weights of a small network."""
    folder, random = tmp_path_factory.mktemp("cli"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, channel in (("red", 0), ("blue", 2)):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (20, 24, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{number}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "weights.safetensors")
    return folder


def arguments(place, out, *more):
    return [
        "mask", str(place / "photos"), "--model", MODEL, *backbone(place), "--size", "32",
        "--epochs", "3", "--batch-size", "8", "--lr", "20", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def task(place):
    """A mask file that the command line has trained."""
    path = place / "task.safetensors"
    assert main([*arguments(place, path), "--quiet"]) == 0
    return path


def backbone(place):
    return ["--weights", str(place / "weights.safetensors")]


def test_training_leaves_a_whole_task_and_nothing_else(place, task):
    made = maskfile.load(task)
    assert made.classes == ("blue", "red")
    assert sum(made.off.values()) > 0
    assert set(made.score) == {"top1"}
    assert made.provenance["dataset"] == "photos"
    assert made.provenance["recipe"]["lr"] == 20
    assert not list(place.glob("*.checkpoint*"))


def test_inspect_tells_people_and_programs_the_same(task, capsys):
    assert main(["inspect", str(task)]) == 0
    text = capsys.readouterr().out
    assert main(["inspect", str(task), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"mask {found['sizes']['coded_bytes']:,} bytes" in text
    assert found["sizes"]["file_bytes"] == task.stat().st_size
    assert found["classes"] == ["blue", "red"]
    made = maskfile.load(task)
    weights = sum(int(np.prod(shape)) for shape in made.shapes.values())
    assert found["sparsity"] == pytest.approx(sum(made.off.values()) / weights)
    assert all(name in text for name in found["layers"])


def test_predict_names_classes_as_the_network_does(place, task, capsys):
    picture = place / "photos" / "test" / "red" / "0.png"
    assert main(["predict", str(task), str(picture), *backbone(place), "--json", "--top", "2"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["image"] == str(picture)
    assert sum(line["classes"].values()) == pytest.approx(1, abs=1e-5)
    assert main(["predict", str(task), str(place / "photos" / "test"), *backbone(place)]) == 0
    named = [row.split("\t") for row in capsys.readouterr().out.splitlines()]
    assert len(named) == 8
    right = np.mean([Path(path).parent.name == said.split()[0] for path, said in named])
    assert right == pytest.approx(maskfile.load(task).score["top1"])


def test_apply_bakes_a_plain_checkpoint_and_goes_back(place, task, tmp_path, capsys):
    baked, back = tmp_path / "baked.safetensors", tmp_path / "back.safetensors"
    assert main(["apply", str(task), *backbone(place), "--out", str(baked)]) == 0
    made, plain = maskfile.load(task), timm.create_model("test_resnet", num_classes=0)
    tensors = load_file(baked)
    plain.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("head.")})
    masked = timm.create_model("test_resnet", num_classes=0)
    masked.load_state_dict(load_file(place / "weights.safetensors"))
    made.apply(masked)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain.eval()(x), masked.eval()(x))
    assert torch.equal(tensors["head.weight"], made.head_state["weight"])
    assert main(["apply", "--back", str(baked), *backbone(place), "--out", str(back)]) == 0
    again = maskfile.load(back)
    assert (again.digest, again.classes, again.off) == (made.digest, made.classes, made.off)
    assert main(["apply", "--back", str(place / "weights.safetensors"), *backbone(place), "--out", str(back)]) == 1
    assert "has baked" in capsys.readouterr().err


def test_compare_finds_a_task_like_itself(place, task, capsys):
    assert main(["compare", str(task), str(task), *backbone(place), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["overlap"] == 1
    assert row["z"] > 5
    assert main(["compare", str(task), str(task), *backbone(place)]) == 0
    assert "1.0000" in capsys.readouterr().out


def test_a_shared_folder_is_pulled_back_without_a_network(task, tmp_path, capsys):
    assert main(["share", str(task), str(tmp_path / "repo")]) == 0
    assert hub.pull(tmp_path / "repo").checksum == maskfile.load(task).checksum
    card = (tmp_path / "repo" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: submasking\n")
    assert maskfile.load(task).backbone["fingerprint"] in card


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch, task, tmp_path):
    import huggingface_hub

    def unreachable(*unused, **named):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", unreachable)
    with pytest.raises(ValueError, match="no folder here, and no repository that can be reached"):
        hub.pull("someone/something")
    hub.export(task, tmp_path)
    with pytest.raises(ValueError, match=r"could not be pushed to.*login"):
        hub.push(tmp_path, "someone/something")


MISTAKES = {
    "no such file": (["inspect", "nowhere.safetensors"], "cannot be read"),
    "no mask file": (["inspect", "{weights}"], "not a mask file"),
    "no such model": (["mask", "{photos}", "--model", "timm:resnet17", "--out", "x"], "did you mean resnet1"),
    "no such library": (["mask", "{photos}", "--model", "keras:resnet18", "--out", "x"], "timm:NAME or open_clip:NAME"),
    "no such folder": (["mask", "{tmp}", "--model", MODEL, "--weights", "{weights}", "--out", "x"], "train/<class>"),
    "no such weights": (["mask", "{photos}", "--model", MODEL, "--weights", "none", "--out", "x"], "there is none"),
    "other weights": (
        ["mask", "{photos}", "--model", "timm:test_vit", "--weights", "{weights}", "--out", "x"],
        "missing",
    ),
    "one file": (["compare", "{task}"], "at least two"),
    "no picture": (["predict", "{task}", "{tmp}", "--weights", "{weights}"], "must hold pictures"),
    "not a picture": (["predict", "{task}", "{weights}", "--weights", "{weights}"], "readable picture"),
    "no such notebook": (["run", "nonsense"], "there is no notebook"),
    "no such parameter": (["run", "label_sparsity", "-p", "modell", "rn50-swav"], "did you mean 'model'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_users_mistake_is_one_line_and_exit_code_1(name, place, task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given, said = MISTAKES[name]
    names = {
        "weights": place / "weights.safetensors", "photos": place / "photos", "task": task, "tmp": tmp_path,
    }  # fmt: skip
    assert main([word.format(**names) for word in given]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith(f"submasking {given[0]}: ")
    assert "Traceback" not in error


def test_wrong_usage_is_exit_code_2(capsys):
    for given in ([], ["nonsense"], ["mask"], ["mask", "x", "--model", "y", "--out", "z", "--option", "novalue"]):
        with pytest.raises(SystemExit) as stop:
            main(given)
        assert stop.value.code == 2
    assert "usage: submasking" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["mask", "inspect", "predict", "apply", "compare", "share", "run"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_a_checkpoint_of_other_settings_is_not_continued(place, tmp_path, capsys):
    out = tmp_path / "task.safetensors"
    out.with_name("task.safetensors.checkpoint").write_bytes(b"of an earlier run")
    out.with_name("task.safetensors.checkpoint.json").write_text("{}")
    assert main([*arguments(place, out), "--quiet"]) == 1
    assert "--restart" in capsys.readouterr().err
    assert main([*arguments(place, out), "--quiet", "--restart"]) == 0


@pytest.mark.parametrize(("target", "code"), [("pipe", 0), ("/dev/full", 1)])
def test_output_that_nobody_takes_ends_without_a_traceback(task, target, code):
    """A reader such as `head` may leave early; a full disk is an error, and one line says so."""
    script = f"from submasking.commands.cli import main; raise SystemExit(main(['inspect', {str(task)!r}]))"
    if target == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    process = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert process.returncode == code
    lines = process.stderr.decode().splitlines()
    assert len(lines) == code
    assert code == 0 or "No space left" in lines[0]


def wait_for(path, process, seconds=120):
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    assert path.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_training_goes_on_and_ends_as_if_never_interrupted(place, tmp_path, how, capsys):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    more = ("--epochs", "12", "--quiet")
    assert main(arguments(place, whole, *more)) == 0
    script = "import sys; from submasking.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments(place, cut, *more)], stderr=subprocess.PIPE, env=os.environ
    )
    wait_for(cut.with_name("cut.safetensors.checkpoint"), process)
    process.send_signal(how)
    errors = process.communicate()[1].decode()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    assert how != signal.SIGINT or "the same command goes on" in errors
    assert not cut.exists()
    assert main(arguments(place, cut, *more)) == 0
    first, second = maskfile.load(cut), maskfile.load(whole)
    assert first.digest == second.digest
    for here, there in ((first.state, second.state), (first.head_state, second.head_state)):
        assert all(torch.equal(here[name], there[name]) for name in there)
