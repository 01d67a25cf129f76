"""What a profile's experiments consist of: the runs of each notebook, and the notebooks of the grid."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from submasking.experiments.run import Run, require_own, require_seed
from submasking.records.names import DATASETS, METHODS, MODELS, SELF_SUPERVISED
from submasking.records.profiles import profile
from submasking.records.results import Record

UNTRAINED = ("ZS", "LP")  # they need no training: every model has them
# What a grid runs with the first of its seeds only: this, and the models that no control has, unless asked for by name.
ONCE = ("FS-magnitude", "FS-frozen")
GRID = "grid.json"  # what a whole grid leaves: its seeds, notebooks, commit
# the model that the grid adapts without labels
UNLABELLED_MODEL = "rn50-swav"


class Reads(NamedTuple):
    """The runs of the grid that the notebook of an analysis reads.

    Attributes:
        methods: of the runs; none where it reads no runs.
        model: whose; "all" for every one of `models`.
        labels: percent of the labels that they saw; none for all.
        models: those that it can be asked about.
    """

    methods: tuple[str, ...]
    model: str = "all"
    labels: tuple[float, ...] = ()
    models: tuple[str, ...] = MODELS


ANALYSES: dict[str, Reads] = {
    "layer_sparsity": Reads(("FS", "FS-squared", "SSM", "SSM-squared"), labels=(0.0, 100.0)),
    "correlations": Reads(("ZS", "LP", "FS", "FS-squared", "FFT"), labels=(100.0,)),
    "ablations": Reads(("LP", "FS", "FS-squared", "FS-magnitude"), labels=(100.0,)),
    "cascade": Reads(("SSM",), UNLABELLED_MODEL),
    "low_shot": Reads(("ZS", "LP", "FS", "FS-squared", "FFT", "SSM", "SSM-squared"), UNLABELLED_MODEL),
    "task_similarity": Reads(("FS",), "rn18-timm", (100.0,)),
    "retraining": Reads(("FS", "FS-squared", "SSM"), "all", (100.0, 0.0)),
    "equal_storage": Reads(("FS", "FS-squared"), labels=(100.0,), models=("rn18-timm", "vitb32-clip")),
    "many_tasks": Reads(("FS",), "rn18-timm", (100.0,)),
}


def chosen(asked: str, offered: Sequence[str], what: str) -> tuple[str, ...]:
    """Names from a comma-separated parameter; "all" is every offered one; ValueError lists what there is."""
    if asked == "all":
        return tuple(offered)
    names = tuple(name.strip() for name in asked.split(",") if name.strip())
    unknown = [name for name in names if name not in offered]
    if unknown or not names:
        raise ValueError(f"{what} must be among {', '.join(offered)} (or all); got {(unknown or [asked])[0]!r}")
    _require_once(names, what)
    return names


def datasets(asked: str, profile_name: str) -> tuple[str, ...]:
    """Data sets from a comma-separated parameter; "all" is the profile's."""
    return profile(profile_name).datasets if asked == "all" else chosen(asked, DATASETS, "dataset")


def seeds(asked: str, profile_name: str) -> tuple[int, ...]:
    """Seeds from a comma-separated parameter; "all" is the profile's."""
    if asked == "all":
        return profile(profile_name).seeds
    try:
        found = tuple(int(seed) for seed in asked.split(","))
    except ValueError as error:
        raise ValueError(f"seeds must be whole numbers split by commas (or all); got {asked!r}") from error
    _require_once(found, "seeds")
    for seed in found:
        require_seed(seed)
    return found


def _require_once(given: Sequence[object], what: str) -> None:
    """Raise `ValueError` where something is named twice, which only tables at the end of all runs would tell."""
    twice = [each for each in given if given.count(each) > 1]
    if twice:
        raise ValueError(f"{what} must be named once each; got {twice[0]} twice; leave one out")


def network(profile_name: str, model: str, arch: str = "", weights: str = "", options: str = "") -> str:
    """The network that a notebook is about: in profile images `arch`, or `model` where that is not given.

    Raises:
        ValueError: something is said of a network of one's own in another profile, where it would be passed over.
    """
    require_own(profile_name, arch=arch, weights=weights, options=options)
    return arch or model


def accuracy_runs(
    profile_name: str,
    model: str,
    dataset: str = "all",
    methods: str = "all",
    seed: str = "all",
    weights: str = "",
    options: str = "",
) -> list[Run]:
    """Runs behind Tables 1 to 6 for one model: ZS and LP, and what trains where the profile asks for it.

    Some methods and models get the first of the seeds only (`ONCE`), as long as no methods are named.
    """
    plan = profile(profile_name)
    offered = tuple(method for method in METHODS if method not in SELF_SUPERVISED)
    adapted = profile_name == "images" or model in plan.full_models
    usual = UNTRAINED + plan.compared * adapted + plan.controls(model)
    wanted = usual if methods == "all" else chosen(methods, offered, "methods")
    runs = []
    for name in (dataset,) if profile_name == "images" else datasets(dataset, profile_name):
        for method in wanted:
            # a folder of one's own is drawn once: no seed changes what needs no training
            once = profile_name == "images" and method in UNTRAINED
            several = (0,) if once else seeds(seed, profile_name)
            trained = method in plan.compared and plan.control_models and model not in plan.control_models
            if methods == "all" and (method in ONCE or trained):
                several = several[:1]
            runs += [Run(profile_name, model, name, method, 100.0, k, weights, options) for k in several]
    return runs


def label_sparsity_runs(profile_name: str, model: str, dataset: str = "all", seed: str = "all") -> list[Run]:
    """Runs behind Figures 1 and 2: the ways to use few labels, and all of them, on the profile's data sets."""
    plan = profile(profile_name)
    runs = []
    for name in chosen(dataset, plan.sparse_datasets, "dataset"):
        for k in seeds(seed, profile_name):
            runs += [Run(profile_name, model, name, method, 0.0, k) for method in plan.no_labels]
            for percent in plan.label_percents:
                runs += [Run(profile_name, model, name, method, percent, k) for method in plan.few_labels]
    return runs


def storage_runs(
    profile_name: str,
    model: str = "all",
    dataset: str = "all",
    methods: str = "FS",
    seed: str = "all",
    weights: str = "",
    options: str = "",
) -> list[Run]:
    """Runs whose masks and fine-tuned weights are weighed against each other: FS with FFT, SSM with SSFT.

    "all" models are those that the grid adapts: with labels every one that Tables 1 to 6 show, without labels the one
    of Figures 1 and 2. These runs belong to other notebooks too, so a grid makes none for this.
    """
    wanted, plan = chosen(methods, ("FS", "SSM"), "methods"), profile(profile_name)
    if profile_name == "images":
        return accuracy_runs(profile_name, model, dataset, "FS,FFT", seed, weights, options)
    runs: list[Run] = []
    if "FS" in wanted:
        # of all models what the grid runs; of one that is named, with every seed
        methods = "all" if model == "all" else "FS,FFT"
        for name in plan.full_models if model == "all" else chosen(model, MODELS, "model"):
            every = accuracy_runs(profile_name, name, dataset, methods, seed)
            runs += [run for run in every if run.method in ("FS", "FFT")]
    if "SSM" in wanted:
        for name in (UNLABELLED_MODEL,) if model == "all" else chosen(model, MODELS, "model"):
            every = label_sparsity_runs(profile_name, name, dataset, seed)
            runs += [run for run in every if run.method in ("SSM", "SSFT")]
    return runs


def notebooks(profile_name: str, seeds: str = "all") -> dict[str, tuple[str, dict[str, Any]]]:
    """The executed notebooks of a profile's grid: file stem -> (notebook, parameters).

    Args:
        profile_name: name of a profile.
        seeds: whole numbers split by commas; "all" is the profile's.
    """
    plan: dict[str, tuple[str, dict[str, Any]]] = {}
    for model in MODELS:
        plan[f"submasking-{model}"] = ("submasking", {"profile": profile_name, "model": model})
    plan[f"label_sparsity-{UNLABELLED_MODEL}"] = (
        "label_sparsity",
        {"profile": profile_name, "model": UNLABELLED_MODEL},
    )
    plan["invariance-rn18-timm"] = ("invariance", {"profile": profile_name, "model": "rn18-timm"})
    plan["compression-all"] = ("compression", {"profile": profile_name, "model": "all", "methods": "FS,SSM"})
    for name, reads in ANALYSES.items():
        plan[f"{name}-{reads.model}"] = (name, {"profile": profile_name, "model": reads.model})
    if seeds != "all":
        for name, given in plan.values():
            given |= {} if name == "invariance" else {"seeds": seeds}
    return plan


def notebook_runs(stem: str, profile_name: str, seeds: str = "all") -> list[Run]:
    """The runs of one executed notebook; empty for a notebook that keeps a record of its own (invariance)."""
    name, given = notebooks(profile_name)[stem]
    if name == "compression":
        return storage_runs(profile_name, given["model"], methods=given["methods"], seed=seeds)
    if name in ANALYSES:
        return analysed(name, profile_name, given["model"], seeds)
    if name == "submasking":
        return accuracy_runs(profile_name, given["model"], seed=seeds)
    return label_sparsity_runs(profile_name, given["model"], seed=seeds) if name == "label_sparsity" else []


def analysed(name: str, profile_name: str, model: str, seeds: str = "all") -> list[Run]:
    """The runs that an analysis reads: those of the grid's other notebooks that it names, once each.

    Args:
        name: of the notebook, a key of `ANALYSES`.
        profile_name: name of a profile with a grid.
        model: of those that the analysis can be asked about, split by commas, or "all".
        seeds: whole numbers split by commas; "all" is the profile's.

    Raises:
        ValueError: another model, seeds that are no numbers, or a profile without a grid.
    """
    if profile_name == "images":
        raise ValueError(f"{name} reads the runs of a grid, which profile images has not; pass profile tiny or paper")
    reads = ANALYSES[name]
    wanted = chosen(model, reads.models, "model")
    tasks = [run for other in wanted for run in accuracy_runs(profile_name, other, seed=seeds)]
    if UNLABELLED_MODEL in wanted:
        tasks += label_sparsity_runs(profile_name, UNLABELLED_MODEL, seed=seeds)
    asked = [run for run in tasks if run.method in reads.methods and (not reads.labels or run.labels in reads.labels)]
    return list(dict.fromkeys(asked))


def reading() -> tuple[str, ...]:
    """Notebooks that make no runs of their own."""
    return ("compression", *ANALYSES)


def before(stem: str, profile_name: str) -> list[str]:
    """Notebooks of the grid that must be executed first: those whose records a notebook shares."""
    if stem == f"submasking-{UNLABELLED_MODEL}":
        return [f"label_sparsity-{UNLABELLED_MODEL}"]
    if notebooks(profile_name)[stem][0] not in reading():
        return []
    shared = set(notebook_runs(stem, profile_name))
    return [
        other
        for other, (name, _) in notebooks(profile_name).items()
        if name not in reading() and shared & set(notebook_runs(other, profile_name))
    ]


def makers(profile_name: str, seeds: str = "all") -> dict[Run, str]:
    """Every run of a profile's grid, once, with the notebook that makes it: of two that share it the one before."""
    made: dict[Run, str] = {}
    for stem, (name, _) in notebooks(profile_name).items():
        if name not in reading():
            earlier = set(before(stem, profile_name))
            for run in notebook_runs(stem, profile_name, seeds):
                if made.get(run) not in earlier:
                    made[run] = stem
    return made


def made_with(folder: Path) -> str:
    """The seeds that the grid in a folder, or in the one above, was made with; "all" where it does not say."""
    for file in (folder / GRID, folder.parent / GRID):
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8")).get("seeds", "all"))
    return "all"


def own(profile_name: str, records: Iterable[Record], seeds: str = "all") -> tuple[list[Record], list[Record]]:
    """Sort out, of records that lie in one folder, those of a profile's grid.

    Args:
        profile_name: name of a profile; "images" has no grid, so that all are its own.
        records: of that profile.
        seeds: that the grid was made with.

    Returns:
        The grid's, with the recipe that the grid has today; and those of its runs with another recipe. What is
        neither (other seeds, tries) is left out.
    """
    if profile_name == "images":
        return list(records), []
    recipes = {run.record: run.recipe() for run in runs(profile_name, seeds)}
    found: tuple[list[Record], list[Record]] = [], []
    for record in records:
        if record.path in recipes:
            found[recipes[record.path] != record.recipe].append(record)
        elif record.method not in METHODS and not record.variant:  # of a notebook that keeps one of its own
            found[0].append(record)
    return found


def runs(profile_name: str, seeds: str = "all") -> list[Run]:
    """Every run of a profile's grid, once."""
    stems = notebooks(profile_name)
    return list(dict.fromkeys(run for stem in stems for run in notebook_runs(stem, profile_name, seeds)))
