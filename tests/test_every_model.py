"""A grid that adapts all six models by FS and FFT, the controls staying with three: plan, tables, figures, answers."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import yaml
from bookext import contents

from submasking.experiments import grid, work
from submasking.records import profiles
from submasking.records.names import DATASETS, MODELS
from submasking.report import figures, frames, storage, tables, verdicts

ROOT = Path(__file__).resolve().parents[1]
USUAL = profiles.TINY.control_models
LAST = [name for name in MODELS if name not in USUAL]


@pytest.fixture
def wide(monkeypatch):
    """Profile tiny with six models."""
    plan = replace(profiles.TINY, full_models=MODELS)
    monkeypatch.setitem(profiles.PROFILES, "tiny", plan)
    return plan


@pytest.fixture
def frame(wide):
    records = synthetic.records(seeds="0,1")
    return frames.to_frame(records).join(storage.columns(records))


@pytest.mark.parametrize("seeds", ["all", "0,1,2"])
def test_the_plan_gains_three_methods_for_each_model_and_no_control(seeds, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "tiny", replace(profiles.TINY, full_models=USUAL))
    before = set(grid.runs("tiny", seeds))
    monkeypatch.setitem(profiles.PROFILES, "tiny", replace(profiles.TINY, full_models=MODELS))
    gained = set(grid.runs("tiny", seeds)) - before
    assert before <= set(grid.runs("tiny", seeds))
    assert {(run.model, run.method) for run in gained} == {
        (model, way) for model in LAST for way in profiles.TINY.compared
    }
    assert len(gained) == len(LAST) * len(profiles.TINY.compared) * len(DATASETS)
    assert {run.seed for run in gained} == {0}
    asked = grid.accuracy_runs("tiny", LAST[0], methods="FS", seed=seeds)  # by name: with every seed
    assert {run.seed for run in asked} == set(grid.seeds(seeds, "tiny"))
    assert len({run.record for run in grid.runs("tiny", seeds)}) == len(grid.runs("tiny", seeds))


def test_sizes_are_weighed_after_the_runs_of_every_model(wide):
    stored = grid.notebook_runs("compression-all", "tiny")
    assert {run.model for run in stored if run.method == "FS"} == set(MODELS)
    assert {f"submasking-{model}" for model in MODELS} <= set(grid.before("compression-all", "tiny"))
    assert set(stored) <= {run for stem in grid.before("compression-all", "tiny") for run in
                           grid.notebook_runs(stem, "tiny")}  # fmt: skip


def test_every_run_has_a_recipe_and_a_cost(wide):
    for run in grid.runs("tiny"):
        assert run.recipe()["pretraining"]
        assert work.of(run) > 0


@pytest.mark.parametrize("number", tables.specs(profiles.TINY))
def test_no_cell_of_ours_is_empty_in_a_table_of_six_models(frame, number):
    made = tables.build(number, frame, frames.reported(), profiles.TINY)
    assert [query for query, cell in made.cells() if query.source == tables.HERE and cell.missing] == []


@pytest.mark.parametrize(("number", "methods"), [("1", {"LP", "FS", "FFT"}), ("2", {"FS"}), ("bits", {"FS", "SSM"})])
def test_what_the_profile_adapts_stands_in_the_tables(frame, number, methods):
    made = tables.build(number, frame, frames.reported(), profiles.TINY)
    ours = {(query.model, query.method) for query, _ in made.cells() if query.source == tables.HERE}
    assert {(model, way) for model in MODELS for way in methods - {"SSM"}} <= ours
    assert {way for _, way in ours} == methods


def test_the_start_by_magnitude_is_shown_of_the_models_with_controls_only(frame):
    cells = [query for query, _ in tables.build("starts", frame, frames.reported(), profiles.TINY).cells()]
    assert {query.model for query in cells if query.method == "FS-squared"} == set(MODELS)
    assert {query.model for query in cells if query.method == "FS-magnitude"} == set(profiles.TINY.control_models)


@pytest.mark.parametrize("model", LAST)
def test_a_model_without_controls_has_its_answer_and_figures(frame, model):
    rows = frame[frame.model == model]
    said = verdicts.methods(rows)
    assert "FS against FFT" in said
    assert "FS-squared against FS" in said
    assert "FS-none" not in said
    assert figures.methods(rows).axes
    assert figures.differences(rows, "starts").axes


def test_sizes_of_every_model_have_a_panel(frame):
    rows = frame[frame.labels.isin([0.0, 100.0])]
    titles = [axes.get_title(loc="left") for axes in figures.bits_per_weight(rows).axes]
    assert sorted(titles) == sorted([*(f"{model}, FS" for model in MODELS), "rn50-swav, SSM"])


def test_titles_of_notebooks_say_what_the_grid_does_to_a_model():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    titles = {entry["file"]: entry.get("title") for part in parts for entry in part["chapters"]}
    for model in MODELS:
        done = "Masks" if model in profiles.TINY.full_models else "Linear probe"
        assert titles[f"notebooks/submasking-{model}"] == f"{done} on {model}"


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_titles_in_the_book_of_a_profile_say_what_its_grid_does_to_a_model(name):
    adapted = profiles.profile(name).full_models
    made = contents.titled(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")), adapted)
    titles = {entry["file"]: entry.get("title") for part in made["parts"] for entry in part["chapters"]}
    for model in MODELS:
        assert titles[f"notebooks/submasking-{model}"].startswith("Masks" if model in adapted else "Linear probe")
    assert titles["notebooks/compression-all"] == "What a task costs"


@pytest.mark.parametrize("draw", [figures.bits_per_weight, figures.task_bytes])
def test_names_of_data_sets_do_not_run_into_each_other_and_a_page_holds_the_figure(frame, draw):
    figure = draw(frame[frame.labels.isin([0.0, 100.0])])
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = sorted((label.get_window_extent() for label in axes.get_yticklabels()), key=lambda box: box.y0)
        assert all(low.y0 + 0.6 * low.height <= high.y0 for low, high in itertools.pairwise(boxes))
    assert figure.get_figheight() <= 1.3 * 9.5  # of a printed page, at letters three quarters as high
