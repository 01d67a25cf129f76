import errno
import os

import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papermill.cli import _resolve_type

from submasking.commands import cli
from submasking.experiments import grid, notebooks

KNOWN = {"profile": ("str", "tiny"), "lr": ("float", 50.0), "seed": ("int", 0), "draw": ("bool", True)}


def test_parameters_are_read_from_annotated_defaults():
    source = 'profile: str = "tiny"  # which\nlr: float = 50.0\nseed: int = 0\ndraw: bool = True\nother = 3'
    assert notebooks.declared(source) == KNOWN


def test_given_values_replace_the_defaults():
    assert notebooks.check(KNOWN, {"lr": 3, "seed": 2}) == {"profile": "tiny", "lr": 3.0, "seed": 2, "draw": True}


@given(st.floats(allow_nan=False))
def test_a_float_is_taken_as_number_or_as_text(value):
    assert notebooks.coerce("lr", "float", value) == value
    assert notebooks.coerce("lr", "float", str(value)) == value


def test_a_misspelt_parameter_names_the_nearest():
    with pytest.raises(ValueError, match="unknown parameter 'sed'; did you mean 'seed'"):
        notebooks.check(KNOWN, {"sed": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1.5), ("seed", "one"), ("seed", True), ("lr", "fast"), ("lr", True), ("draw", 1), ("draw", "no")],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(ValueError, match=f"parameter '{name}' must be {KNOWN[name][0]}, got {value!r}"):
        notebooks.check(KNOWN, {name: value})


LOOKALIKES = ("2024.10", "1e3", "007", "1_000", "True", "None", "nan", "inf", "-0", "true", "null", "1.0", "0x10")


@pytest.mark.parametrize("text", LOOKALIKES)
def test_text_that_looks_like_a_number_stays_itself_or_is_refused(text):
    """papermill's own reading of `-p`: what it changes cannot be had back."""
    for kept in (_resolve_type(text), text):  # -p, -r
        if isinstance(kept, str):
            assert notebooks.coerce("dataset", "str", kept) == text
        else:
            with pytest.raises(ValueError, match=r"'dataset' must be text, got .*: pass it as -r dataset <text>"):
                notebooks.coerce("dataset", "str", kept)


def test_seeds_may_be_a_number_or_text():
    assert [notebooks.coerce("seeds", notebooks.NUMBERS, seeds) for seeds in (3, "0,1", "all")] == ["3", "0,1", "all"]
    for wrong in (1.0, True, None):
        with pytest.raises(ValueError, match="'seeds' must be text, got"):
            notebooks.coerce("seeds", notebooks.NUMBERS, wrong)


class Shell:
    """The parts of a kernel's namespace that the check reads, as left by papermill's cells."""

    def __new__(cls, *cells):
        namespace = {"In": ["", *cells, "notebooks.parameters(globals())"]}
        for cell in cells:
            exec(cell, namespace)
        return namespace


def test_a_running_notebook_gets_its_values_with_the_declared_types():
    namespace = Shell("lr: float = 50.0\nseed: int = 0", "# Parameters\nlr = 3")
    assert notebooks.parameters(namespace) == {"lr": 3.0, "seed": 0}
    assert type(namespace["lr"]) is float


def test_a_running_notebook_refuses_what_it_does_not_declare():
    with pytest.raises(ValueError, match="unknown parameter 'sed'"):
        notebooks.parameters(Shell("seed: int = 0", "# Parameters\nsed = 3"))


def test_an_unknown_notebook_lists_those_there_are():
    with pytest.raises(ValueError, match=r"there is no notebook .nonsense.*label_sparsity"):
        notebooks.path("nonsense")


def test_every_notebook_is_found_with_its_parameters():
    assert notebooks.known_parameters("label_sparsity")["model"] == ("str", "rn50-swav")


def test_the_output_lies_with_the_results_of_its_profile(monkeypatch, tmp_path):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    path = notebooks.output_path("label_sparsity", {"profile": "smoke"})
    assert path == tmp_path / "smoke" / "notebooks" / "label_sparsity-rn50-swav.ipynb"


@given(st.dictionaries(st.sampled_from(["dataset", "seeds"]), st.sampled_from(["all", "cifar10", "0", "0,1"])))
def test_a_try_takes_the_place_of_no_notebook_of_the_grid(given_here):
    path = notebooks.output_path("label_sparsity", {"profile": "smoke"} | given_here)
    usual = all(value == "all" for value in given_here.values())
    assert (path.stem in grid.notebooks("smoke")) == usual
    assert path.stem.startswith("label_sparsity-rn50-swav")
    for other in grid.notebooks("smoke"):
        assert usual or path.stem != other


def test_a_bad_parameter_stops_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    with pytest.raises(ValueError, match="unknown parameter"):
        notebooks.execute("label_sparsity", {"modell": "rn50-swav"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", LOOKALIKES)
def test_our_own_command_keeps_every_text(text, monkeypatch):
    told = {}
    monkeypatch.setattr(notebooks, "execute", lambda name, given, output: told.update(given))
    assert cli.main(["run", "submasking", "-p", "dataset", text, "-p", "seeds", text]) == 0
    assert told == {"dataset": text, "seeds": text}


@pytest.mark.parametrize("name", [b"photos-\xff", b"r\xe9d/two", b"\xfe"])
def test_a_name_that_is_no_text_is_told_before_a_notebook_starts(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    assert cli.main(["run", "submasking", "-p", "profile", "images", "-p", "dataset", os.fsdecode(name)]) == 1
    assert "must be text in UTF-8" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(file.stem for file in notebooks.FOLDER.glob("*.ipynb")))
def test_no_output_takes_the_place_of_a_notebook_of_the_project(name, monkeypatch, tmp_path):
    own = tmp_path / "notebooks"
    own.mkdir()
    before = notebooks.path(name).read_bytes()
    (own / f"{name}.ipynb").write_bytes(before)
    with pytest.raises(ValueError, match="in the place of an executed one"):
        notebooks.execute(name, {}, own / f"{name}.ipynb")
    assert (own / f"{name}.ipynb").read_bytes() == before


def test_an_executed_notebook_makes_room_for_the_next(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("papermill.execute_notebook", lambda source, output, **more: asked.append(output))
    executed, empty = tmp_path / "out.ipynb", tmp_path / "empty.ipynb"
    executed.write_text('{"cells": [], "metadata": {"papermill": {"exception": true}}}', encoding="utf-8")
    empty.touch()
    for output in (executed, empty):
        assert notebooks.execute("label_sparsity", {"profile": "smoke"}, output) == output
    assert asked == [str(executed), str(empty)]


def test_a_disk_that_is_full_is_told_with_the_notebook(monkeypatch, tmp_path, capsys):
    def full(*unused, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("papermill.execute_notebook", full)
    assert cli.main(["run", "label_sparsity", "-p", "profile", "smoke", "--out", str(tmp_path / "out.ipynb")]) == 1
    assert f"No space left on device: '{tmp_path / 'out.ipynb'}'; make room there" in capsys.readouterr().err


def test_a_kernel_has_minutes_to_start_on_a_busy_machine(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("papermill.execute_notebook", lambda *given, **more: asked.append(more["start_timeout"]))
    notebooks.execute("label_sparsity", {"profile": "smoke"}, tmp_path / "out.ipynb")
    assert asked == [notebooks.START_SECONDS]
    assert asked[0] >= 600


@pytest.mark.parametrize("name", sorted(file.stem for file in notebooks.FOLDER.glob("*.ipynb")))
def test_papermill_knows_every_parameter_too_and_warns_of_none(name):
    assert set(papermill.inspect_notebook(notebooks.path(name))) == set(notebooks.known_parameters(name))


@pytest.mark.parametrize(
    "name", ["label_sparsity.ipynb", "notebooks/label_sparsity.ipynb", "Label_Sparsity", "label-sparsity"]
)
def test_another_name_of_a_notebook_gets_a_hint(name):
    with pytest.raises(ValueError, match="did you mean 'label_sparsity'"):
        notebooks.path(name)


def test_a_notebook_of_a_network_of_ones_own_is_called_after_it():
    given = {"profile": "images", "dataset": "photos", "arch": "torchvision:resnet18"}
    assert notebooks.output_path("submasking", given).name.startswith("submasking-torchvision_resnet18-")
