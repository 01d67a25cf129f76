"""What the parts of a grid take, roughly: how much of it is behind, and what must start first lest it end alone."""

from __future__ import annotations

from functools import cache

from submasking.experiments import grid
from submasking.experiments.run import Run
from submasking.records.names import MODELS

# measured seconds of one core in profile tiny, of which ratios matter; a variant without its own takes its method's
RUN = {"ZS": 0.5, "LP": 6.0, "FS": 10.0, "FFT": 10.0, "FS-none": 3.0, "FS-random": 3.0, "SSM": 36.0, "SSFT": 30.0}
BACKBONE = 80.0
# what a notebook does beside making its runs
BESIDE = {
    "submasking": 0.0, "label_sparsity": 0.0, "invariance": 60.0, "compression": 15.0, "layer_sparsity": 20.0,
    "correlations": 25.0, "ablations": 85.0, "cascade": 110.0, "low_shot": 270.0, "task_similarity": 420.0,
    "retraining": 140.0, "equal_storage": 360.0, "many_tasks": 35.0,
}  # fmt: skip


def of(run: Run) -> float:
    """Seconds of a run."""
    return RUN[run.method if run.method in RUN else run.method.partition("-")[0]]


def beside(stem: str, profile: str) -> float:
    """Seconds of a notebook beside its runs, by its stem in `submasking.experiments.grid.notebooks`."""
    return BESIDE[grid.notebooks(profile)[stem][0]]


def until_the_end(profile: str, seeds: str = "all") -> dict[str, float]:
    """Seconds from the start of each notebook to the end of all that waits for it; of a model, with its backbone.

    A scheduler that always starts what has most of them left keeps its cores busy to the end, or nearly so.

    Args:
        profile: name of a profile with a grid.
        seeds: as `submasking.experiments.grid.notebooks` takes them.
    """
    stems = grid.notebooks(profile)
    own = {stem: BESIDE[name] for stem, (name, _) in stems.items()}
    for run, maker in grid.makers(profile, seeds).items():
        own[maker] += of(run)
    waiting: dict[str, list[str]] = {stem: [] for stem in stems}
    for stem in stems:
        for earlier in grid.before(stem, profile):
            waiting[earlier].append(stem)

    @cache
    def left(stem: str) -> float:
        return own[stem] + max(map(left, waiting[stem]), default=0.0)

    found = {stem: left(stem) for stem in stems}
    for model in MODELS:
        using = [found[stem] for stem, (_, given) in stems.items() if given["model"] == model]
        found[model] = BACKBONE + max(using, default=0.0)
    return found
