"""The command line from a folder of pictures to predictions; a user's mistake is one line and an exit code."""

import contextlib
import errno
import gc
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from submasking import mask
from submasking.commands import cli
from submasking.commands import mask as mask_command
from submasking.commands.cli import EXTRAS, VERBS, main
from submasking.experiments import notebooks
from submasking.experiments.photographs.__main__ import main as study
from submasking.experiments.photographs.trials import Settings
from submasking.files import identity
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
    assert made.provenance["data"] == identity.of_folder(place / "photos", ("train", "test"))


def test_a_rounded_task_is_smaller_and_its_score_is_that_of_the_file(place, task, tmp_path, capsys, monkeypatch):
    made = maskfile.load(task)
    small = tmp_path / "task.safetensors"
    scored = []
    score = mask_command._scored
    monkeypatch.setattr(mask_command, "_scored", lambda given, backbone, adapted, test: (
        scored.append(adapted.head.weight.detach().clone()), score(given, backbone, adapted, test))[1])  # fmt: skip
    assert main([*arguments(place, small), "--quiet", "--bits", "6"]) == 0
    rounded = maskfile.load(small)
    assert rounded.digest == made.digest
    assert rounded.size < made.size
    assert rounded.provenance["recipe"] == made.provenance["recipe"] | {"bits": 6}
    assert torch.equal(scored[0], rounded.head_state["weight"])
    assert not torch.equal(scored[0], made.head_state["weight"])
    assert rounded.score == made.score
    with pytest.raises(SystemExit):
        main([*arguments(place, small), "--quiet", "--bits", "21"])
    assert "argument --bits: invalid choice: 21" in capsys.readouterr().err


def test_inspect_tells_people_and_programs_the_same(task, capsys):
    assert main(["inspect", str(task)]) == 0
    text = capsys.readouterr().out
    assert main(["inspect", str(task), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"mask {found['sizes']['coded_bytes']:,} bytes" in text
    assert found["sizes"]["file_bytes"] == task.stat().st_size
    assert f"head {found['sizes']['head_bytes']:,} (of {found['sizes']['head_raw_bytes']:,})" in text
    assert found["classes"] == ["blue", "red"]
    made = maskfile.load(task)
    weights = sum(int(np.prod(shape)) for shape in made.shapes.values())
    assert found["sparsity"] == pytest.approx(sum(made.off.values()) / weights)
    assert all(name in text for name in found["layers"])
    assert found["provenance"]["data"] in text


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
    small = tmp_path / "small.safetensors"
    assert main(["apply", "--back", str(baked), *backbone(place), "--out", str(small), "--bits", "8"]) == 0
    rounded = maskfile.load(small)
    assert rounded.provenance == again.provenance | {"bits": 8}
    assert rounded.size < again.size
    assert 0 < (rounded.head_state["weight"] - made.head_state["weight"]).abs().max() < 1e-2
    assert main(["apply", str(task), *backbone(place), "--out", str(small), "--bits", "8"]) == 1
    assert "--bits rounds a mask file, so it belongs to --back; got 8" in capsys.readouterr().err
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


@pytest.mark.parametrize("text", ["# My project\n", "---\nlibrary_name: timm\n---\n", ""])
def test_sharing_replaces_no_text_of_another(text, task, tmp_path, capsys):
    (tmp_path / "README.md").write_text(text)
    assert main(["share", str(task), str(tmp_path)]) == 1
    assert "must not replace other text" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == text
    for _ in range(2):
        assert main(["share", str(task), str(tmp_path / "repo")]) == 0


def test_only_the_task_is_pushed(monkeypatch, task, tmp_path):
    import huggingface_hub

    pushed = {}
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *unused, **named: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda self, **named: pushed.update(named))
    hub.export(task, tmp_path)
    (tmp_path / "secret.txt").write_text("mine")
    hub.push(tmp_path, "someone/something")
    assert pushed["allow_patterns"] == [hub.FILE, hub.CARD]


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
    "no such library": (
        ["mask", "{photos}", "--model", "keras:resnet18", "--out", "x"],
        "open_clip:NAME",
    ),
    "no such folder": (["mask", "{tmp}", "--model", MODEL, "--weights", "{weights}", "--out", "x"], "train/<class>"),
    "no such weights": (["mask", "{photos}", "--model", MODEL, "--weights", "none", "--out", "x"], "there is none"),
    "other weights": (
        ["mask", "{photos}", "--model", "timm:test_vit", "--weights", "{weights}", "--out", "x"],
        "missing",
    ),
    "no rate for a start": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--init", "squared"],
        "must have an --lr of its own",
    ),
    "no rate for held norms": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--norms", "freeze"],
        "--norms freeze must have an --lr of its own",
    ),
    "an option that no constructor takes": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--option", "output_stride=3"],
        "cannot be built with output_stride=3 (AssertionError); leave it out, or give another value",
    ),
    "an option said twice": (
        [
            "mask",
            "{photos}",
            "--model",
            MODEL,
            "--weights",
            "{weights}",
            "--out",
            "x",
            "--option",
            "drop_path_rate=0.1",
            "--option",
            "drop_path_rate=0.2",
        ],
        "each --option must be said once; got 'drop_path_rate' twice",
    ),
    "values of images among options of the network": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--option", "std=0.5"],
        "say it as --std X X X",
    ),
    "a mean of images from 0 to 255": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--mean", "124", "116", "104"],
        "mean must be of images in [0, 1], and so lie in [0, 1], got 124 116 104; divide by 255",
    ),
    "a deviation that no image has": (
        ["mask", "{photos}", "--model", MODEL, "--weights", "{weights}", "--out", "x", "--std", "1e-30", "1", "1"],
        "std must be of images in [0, 1], and so lie in [0.001, 1], got 1e-30 1 1",
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
    for words in ([], ["nonsense"], ["mask"], ["mask", "x", "--model", "y", "--out", "z", "--option", "novalue"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    assert "usage: submasking" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["mask", "inspect", "predict", "apply", "compare", "share", "run"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


OTHERS_FILES = {
    "notes.md": b"what I must not forget",
    "other.safetensors": None,  # weights, as somebody has fetched them
    "cut.safetensors": b"\x80\x00\x00\x00\x00\x00\x00\x00{",
    "own.ipynb": b'{"cells": [], "metadata": {"kernelspec": {}}, "nbformat": 4, "nbformat_minor": 5}',
    "list.ipynb": b"[1, 2]",
}


@pytest.mark.parametrize("name", OTHERS_FILES)
@pytest.mark.parametrize("verb", ["mask", "apply", "apply --back", "run"])
def test_no_output_takes_the_place_of_a_file_of_another_kind(verb, name, place, task, tmp_path, capsys):
    content = OTHERS_FILES[name] or (place / "weights.safetensors").read_bytes()
    out, baked = tmp_path / name, tmp_path / "baked.safetensors"
    assert main(["apply", str(task), "--out", str(baked), *backbone(place)]) == 0
    out.write_bytes(content)
    words = {
        "mask": [*arguments(place, out), "--quiet"],
        "apply": ["apply", str(task), "--out", str(out), *backbone(place)],
        "apply --back": ["apply", str(baked), "--back", "--out", str(out), *backbone(place)],
        "run": ["run", "label_sparsity", "-p", "profile", "smoke", "--out", str(out)],
    }[verb]
    capsys.readouterr()
    assert main(words) == 1
    said = capsys.readouterr().err
    assert str(out) in said or "must have a name that ends in .ipynb" in said
    assert "name a new one" in said or "name it so" in said
    assert out.read_bytes() == content


@pytest.mark.parametrize("verb", ["mask", "apply", "apply --back"])
@pytest.mark.parametrize("before", ["nothing", "an empty file", "one of its own"])
def test_an_output_may_take_the_place_of_its_like(before, verb, place, task, tmp_path):
    out, baked = tmp_path / "out", tmp_path / "baked.safetensors"
    assert main(["apply", str(task), "--out", str(baked), *backbone(place)]) == 0
    if before != "nothing":
        out.write_bytes((baked if verb == "apply" else task).read_bytes() if before == "one of its own" else b"")
    words = {
        "mask": [*arguments(place, out), "--quiet"],
        "apply": ["apply", str(task), "--out", str(out), *backbone(place)],
        "apply --back": ["apply", str(baked), "--back", "--out", str(out), *backbone(place)],
    }[verb]
    assert main(words) == 0
    assert out.read_bytes() == (baked if verb == "apply" else out).read_bytes() != b""


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_output_among_the_pictures_leaves_no_folder_there(split, place, capsys):
    new = place / "photos" / split / "green"
    assert main([*arguments(place, new / "task.safetensors"), "--quiet"]) == 1
    assert "--out must lie outside the pictures" in capsys.readouterr().err
    assert not new.exists()


@pytest.mark.parametrize("verb", ["mask", "apply"])
def test_a_link_that_leads_to_itself_is_told(verb, place, task, tmp_path, capsys):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    words = [*arguments(place, loop), "--quiet"] if verb == "mask" else ["apply", str(task), "--out", str(loop)]
    assert main(words) == 1
    assert "is a link that leads to itself; name another" in capsys.readouterr().err
    assert loop.is_symlink()


@pytest.mark.parametrize("text", ["No", "yes", "off", "ON"])
def test_a_switch_that_would_be_true_as_a_text_is_wrong_usage(text, place, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*arguments(place, tmp_path / "task"), "--option", f"qkv_bias={text}"])
    assert f"must be true or false, got '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["val", "validation", "valid"])
def test_a_part_that_is_not_looked_at_is_said(other, place, tmp_path, capsys):
    shutil.copytree(place / "photos" / "train", tmp_path / "photos" / "train")
    shutil.copytree(place / "photos" / "test", tmp_path / "photos" / other)
    words = ["mask", str(tmp_path / "photos"), "--model", MODEL, *backbone(place), "--size", "32", "--epochs", "1"]
    assert main([*words, "--out", str(tmp_path / "task.safetensors"), "--quiet"]) == 0
    assert f"{other}/ is not looked at" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(file.stem for file in notebooks.FOLDER.glob("*.ipynb")))
def test_the_help_of_a_named_notebook_shows_what_it_takes(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out.partition(f"parameters of {name}:")[2]
    first = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert first == list(notebooks.known_parameters(name))


def test_help_of_a_notebook_that_is_not_there_lists_those_there_are(capsys):
    assert main(["run", "lowshot", "--help"]) == 1
    assert "low_shot" in capsys.readouterr().err


def test_every_setting_of_a_study_is_explained(capsys):
    with pytest.raises(SystemExit):
        study(["--help"])
    shown = capsys.readouterr().out
    assert shown.count("\n  --") == len(fields(Settings)) - 1 + 5  # all but the folder, and five of the program's own
    assert not re.search(r"--[\w-]+ [A-Z_]+ +--", shown)  # each on a line of its own


def test_a_checkpoint_of_other_settings_is_not_continued(place, tmp_path, capsys):
    out = tmp_path / "task.safetensors"
    out.with_name("task.safetensors.checkpoint").write_bytes(b"of an earlier run")
    out.with_name("task.safetensors.checkpoint.json").write_text("{}")
    assert main([*arguments(place, out), "--quiet"]) == 1
    assert "--restart" in capsys.readouterr().err
    capsys.readouterr()
    assert main([*arguments(place, out), "--quiet", "--restart", "--init", "squared", "--lr", "0.1"]) == 0
    assert "start        squared" in capsys.readouterr().out
    assert maskfile.load(out).provenance["recipe"]["init"] == maskfile.load(out).init == "squared"


def test_a_folder_in_the_place_of_the_checkpoint_is_said_before_training(place, tmp_path, capsys):
    out = tmp_path / "task.safetensors"
    (tmp_path / "task.safetensors.checkpoint").mkdir()
    for more in ((), ("--restart",)):
        assert main([*arguments(place, out), *more]) == 1
        error = capsys.readouterr().err
        assert (
            "task.safetensors.checkpoint, where checkpoints of the training go, must be a file, it is a folder" in error
        )
        assert "epoch" not in error


def test_a_batch_of_any_size_is_one_of_all_pictures(place, task, capsys):
    words = ["predict", str(task), str(place / "photos" / "test"), "--weights", str(place / "weights.safetensors")]
    assert main(words) == 0
    known = capsys.readouterr().out
    assert main([*words, "--batch-size", str(10**30)]) == 0
    assert capsys.readouterr().out == known


def test_held_norms_store_no_statistics(place, tmp_path):
    held, free = tmp_path / "held.safetensors", tmp_path / "free.safetensors"
    common = ["--quiet", "--init", "squared", "--lr", "0.01"]
    assert main([*arguments(place, held), *common, "--norms", "freeze"]) == 0
    assert main([*arguments(place, free), *common]) == 0
    assert maskfile.load(free).state
    assert not maskfile.load(held).state
    assert maskfile.load(held).provenance["recipe"]["norms"] == "freeze"


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
    more = ("--epochs", "20", "--quiet")
    assert main(arguments(place, whole, *more)) == 0
    script = "import sys; from submasking.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments(place, cut, *more)], stderr=subprocess.PIPE, env=os.environ,
        # a shell's background job ignores this signal, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for(cut.with_name("cut.safetensors.checkpoint"), process)
    process.send_signal(how)
    errors = process.communicate()[1].decode()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    assert how != signal.SIGINT or "the same command goes on after the last whole epoch" in errors
    assert not cut.exists()
    assert main(arguments(place, cut, *more)) == 0
    first, second = maskfile.load(cut), maskfile.load(whole)
    assert first.digest == second.digest
    for here, there in ((first.state, second.state), (first.head_state, second.head_state)):
        assert all(torch.equal(here[name], there[name]) for name in there)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["no-such-verb"], []], ids=str)
def test_what_needs_no_torch_does_not_wait_for_it(words):
    program = (
        "import sys\n"
        "from submasking.commands.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(sorted({'torch', 'numpy', 'timm', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"
    assert found.returncode == (0 if words and words[0].startswith("--") else 2)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_that_describes_it(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: submasking {verb} ")


@given(st.sampled_from(sorted(EXTRAS)), st.sampled_from(sorted(VERBS)))
def test_a_missing_package_is_named_with_its_extra(package, verb):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {package!r}", name=f"{package}.part")

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
        patch.setattr(cli, "import_module", absent)
        assert main([verb]) == 1
    assert f"pip install 'submasking[{EXTRAS[package]}]'" in said.getvalue()


def test_every_extra_that_is_named_exists():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


def test_a_module_of_ours_that_is_missing_is_a_fault_and_not_an_extra(monkeypatch):
    monkeypatch.setattr(cli, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name=name)))
    with pytest.raises(ModuleNotFoundError):
        main(["inspect"])


@pytest.mark.parametrize("shape", ["plain", "classifier", "prefixed", "no counters"])
def test_compare_reads_the_weights_without_building_the_network(place, task, shape, tmp_path, monkeypatch, capsys):
    model = timm.create_model("test_resnet", num_classes=7 if shape == "classifier" else 0)
    tensors = load_file(place / "weights.safetensors") | {
        name: value for name, value in model.state_dict().items() if name.startswith("fc.")
    }
    if shape == "no counters":
        tensors = {name: value for name, value in tensors.items() if "num_batches" not in name}
    prefix = "trunk." if shape == "prefixed" else ""
    save_file({prefix + name: value for name, value in tensors.items()}, tmp_path / "w")
    monkeypatch.setattr("submasking.worlds.libraries.build", None)  # building would fail
    assert main(["compare", str(task), str(task), "--weights", str(tmp_path / "w"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["corrected"] == 1


def test_compare_refuses_the_weights_of_another_backbone(place, task, tmp_path, capsys):
    tensors = load_file(place / "weights.safetensors")
    name = next(name for name, value in tensors.items() if value.dim() == 4)
    save_file(tensors | {name: tensors[name] + 1}, tmp_path / "w")
    assert main(["compare", str(task), str(task), "--weights", str(tmp_path / "w")]) == 1
    assert "belongs to the backbone" in capsys.readouterr().err


NAMES = ["a\tb", "c\nd", "\x1b[31mred", "e\rf", "plain, é 猫"]


def test_names_that_would_move_a_terminal_are_shown_as_python_writes_them(tmp_path, capsys):
    model = timm.create_model("test_resnet", num_classes=0)
    head = torch.nn.Linear(model.eval()(torch.zeros(1, 3, 32, 32)).shape[1], len(NAMES))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    maskfile.save(tmp_path / "task.safetensors", mask(model), head=head, classes=NAMES, weights="w\x1b[2J",
                  architecture="timm:test_resnet", provenance={"no\nte": "x\ty"})  # fmt: skip
    picture = tmp_path / "a\nb.png"
    Image.new("RGB", (32, 32)).save(picture)
    weights = ["--weights", str(tmp_path / "weights.safetensors")]
    assert main(["inspect", str(tmp_path / "task.safetensors")]) == 0
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n"))
    assert r"a\tb, c\nd, \x1b[31mred, e\rf, plain, é 猫" in said
    assert main(["predict", str(tmp_path / "task.safetensors"), str(picture), *weights, "--top", "5"]) == 0
    (line, end) = capsys.readouterr().out.split("\n")
    assert not end
    assert len(line.split("\t")) == 1 + len(NAMES)


@pytest.mark.parametrize("verb", ["inspect", "compare", "mask", "maks"])
def test_a_command_leaves_the_process_as_it_was(verb, task, place):
    with contextlib.suppress(SystemExit):
        main([verb, str(task), str(task), *backbone(place)])
    assert gc.isenabled()
    assert sys.modules.get("scipy", 0) is not None


@pytest.mark.parametrize(("option", "said"), [("--size", "--size must be at least 1, got 0"), ("--lr", None)])
def test_zero_is_not_taken_for_nothing(option, said, place, tmp_path, capsys):
    code = main([*arguments(place, tmp_path / "task.safetensors"), option, "0", "--epochs", "1"])
    if said is None:  # nothing is learnt, which is what was asked for
        assert code == 0
        assert maskfile.load(tmp_path / "task.safetensors").provenance["recipe"]["lr"] == 0
        return
    assert code == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["mask", "predict", "apply", "compare"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_mask_file_as_weights_is_told_for_what_it_is(place, task, tmp_path, verb, folder, capsys):
    weights = hub.export(task, tmp_path / "shared") if folder else task
    words = {
        "mask": arguments(place, tmp_path / "out.safetensors")[1:],
        "predict": [str(task), str(place / "photos" / "test")],
        "apply": [str(task), "--out", str(tmp_path / "out.safetensors")],
        "compare": [str(task), str(task)],
    }[verb]
    assert main([verb, *words, "--weights", str(weights)]) == 1
    said = capsys.readouterr().err
    assert ("holds mask.safetensors, a mask file and no weights" if folder else "is a mask file: it says which") in said
    assert not (tmp_path / "out.safetensors").exists()


def test_a_folder_names_the_weights_beside_a_mask_file(place, task, tmp_path, capsys):
    hub.export(task, tmp_path / "shared")
    (tmp_path / "shared" / "w.safetensors").write_bytes((place / "weights.safetensors").read_bytes())
    assert main(["compare", str(task), str(task), "--weights", str(tmp_path / "shared")]) == 1
    assert "which holds w.safetensors; name the file in it" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["mask", "predict", "apply", "apply --back", "compare"])
def test_weights_that_cannot_be_had_are_told_with_what_the_verb_can_do(
    place, task, tmp_path, verb, monkeypatch, capsys
):
    baked = tmp_path / "baked.safetensors"
    assert main(["apply", str(task), "--out", str(baked), *backbone(place)]) == 0
    create = timm.create_model

    def offline(name, pretrained=False, **more):
        if pretrained:
            raise OSError("no network")
        return create(name, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    words = {
        "mask": [word for word in arguments(place, tmp_path / "out.safetensors")[1:] if word not in backbone(place)],
        "predict": [str(task), str(place / "photos" / "test")],
        "apply": [str(task), "--out", str(tmp_path / "out.safetensors")],
        "apply --back": [str(baked), "--back", "--out", str(tmp_path / "out.safetensors")],
        "compare": [str(task), str(task)],
    }[verb]
    assert main([verb.split()[0], *words]) == 1
    said = capsys.readouterr().err
    assert ("or take efficientnet-lite0" in said) == (verb == "mask")
    assert ("the task belongs to with --weights" in said) == (verb != "mask")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_command_whose_output_is_closed_does_its_work(task, tmp_path, closed):
    """As under some daemons, where Python has no sys.stdout."""
    code = "import sys; from submasking.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} inspect {shlex.quote(str(task))} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("streams", ["2>&1 |", "2>&1 >/dev/null |", "2>/dev/null |"])
def test_a_reader_who_has_enough_ends_no_training(streams, place, task, tmp_path):
    out, code = tmp_path / "task.safetensors", "import sys; from submasking.commands.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, *arguments(place, out)]
    script = f"set -o pipefail; {shlex.join(words)} {streams} head -c 1 > /dev/null"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path).returncode == 0
    assert out.read_bytes() == task.read_bytes()
    assert not out.with_name("task.safetensors.checkpoint").exists()


def test_json_stands_alone_on_standard_output(place, tmp_path, capsys):
    assert main([*arguments(place, tmp_path / "one.safetensors")]) == 0
    said = capsys.readouterr()
    assert "epoch 1 of 3" in said.err
    assert "epoch" not in said.out.partition("recipe")[0]


def test_what_the_system_refuses_comes_with_a_remedy(monkeypatch, capsys):
    def full(given):
        raise OSError(errno.ENOSPC, "No space left on device", "task")

    monkeypatch.setattr("submasking.commands.inspect.run", full)
    assert main(["inspect", "task"]) == 1
    assert "No space left on device: 'task'; make room there, or name another place" in capsys.readouterr().err
