"""What a profile's experiments consist of: the runs of each notebook, and the notebooks of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from submasking.backbones import MODELS
from submasking.profiles import DATASETS, profile
from submasking.runs import Run

# methods whose outcome the seed cannot change when all labels are used
DETERMINISTIC = ("ZS", "LP")


def chosen(asked: str, offered: Sequence[str], what: str) -> tuple[str, ...]:
    """Names from a comma-separated parameter; "all" is every offered one; ValueError lists what there is."""
    if asked == "all":
        return tuple(offered)
    names = tuple(name.strip() for name in asked.split(",") if name.strip())
    unknown = [name for name in names if name not in offered]
    if unknown or not names:
        raise ValueError(f"{what} must be among {', '.join(offered)} (or all); got {asked!r}")
    return names


def seeds(asked: str, profile_name: str) -> tuple[int, ...]:
    """Seeds from a comma-separated parameter; "all" is the profile's."""
    if asked == "all":
        return profile(profile_name).seeds
    try:
        return tuple(int(seed) for seed in asked.split(","))
    except ValueError as error:
        raise ValueError(f"seeds must be whole numbers split by commas (or all); got {asked!r}") from error


def accuracy_runs(
    profile_name: str,
    model: str,
    dataset: str = "all",
    methods: str = "all",
    seed: str = "all",
    weights: str = "",
) -> list[Run]:
    """Runs behind Tables 1 to 6 for one model: ZS and LP, and FS and FFT where the profile asks for them."""
    plan = profile(profile_name)
    full = profile_name == "images" or model in plan.full_models
    offered = ("ZS", "LP", "FS", "FFT")
    wanted = chosen(methods, offered, "methods") if methods != "all" or full else DETERMINISTIC
    datasets = (dataset,) if profile_name == "images" else chosen(dataset, DATASETS, "dataset")
    runs = []
    for name in datasets:
        for method in wanted:
            several = seeds(seed, profile_name) if method not in DETERMINISTIC else (0,)
            runs += [Run(profile_name, model, name, method, 100.0, k, weights) for k in several]
    return runs


def label_sparsity_runs(profile_name: str, model: str, dataset: str = "all", seed: str = "all") -> list[Run]:
    """Runs behind Figures 1 and 2: five ways to use few labels, and all of them, on the profile's data sets."""
    plan = profile(profile_name)
    runs = []
    for name in chosen(dataset, plan.sparse_datasets, "dataset"):
        for k in seeds(seed, profile_name):
            runs += [Run(profile_name, model, name, method, 0.0, k) for method in ("SSM", "SSFT")]
            for percent in plan.label_percents:
                runs += [Run(profile_name, model, name, method, percent, k) for method in ("FS", "FFT")]
                if percent < 100 or k == 0:
                    runs.append(Run(profile_name, model, name, "LP", percent, k))
    return runs


def notebooks(profile_name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The executed notebooks of a profile's grid: file stem -> (notebook, parameters)."""
    plan: dict[str, tuple[str, dict[str, Any]]] = {}
    for model in MODELS:
        plan[f"submasking-{model}"] = ("submasking", {"profile": profile_name, "model": model})
    plan["label_sparsity-rn50-swav"] = ("label_sparsity", {"profile": profile_name, "model": "rn50-swav"})
    plan["invariance-rn18-timm"] = ("invariance", {"profile": profile_name, "model": "rn18-timm"})
    return plan


def notebook_runs(stem: str, profile_name: str) -> list[Run]:
    """The runs of one executed notebook; empty for a notebook that keeps a record of its own (invariance)."""
    name, given = notebooks(profile_name)[stem]
    if name == "submasking":
        return accuracy_runs(profile_name, given["model"])
    return label_sparsity_runs(profile_name, given["model"]) if name == "label_sparsity" else []


def runs(profile_name: str) -> list[Run]:
    """Every run of a profile's grid, once."""
    return list(dict.fromkeys(run for stem in notebooks(profile_name) for run in notebook_runs(stem, profile_name)))
