"""Accuracy against bytes per task: masks, fine-tuning and small adapters, everything counted that a task must store."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from submasking.experiments import grid, methods
from submasking.experiments.analyses import keeping, networks, rivals
from submasking.experiments.analyses.forms import BITS, EXACT, ROUNDED, SIGNS, Task, stored
from submasking.experiments.methods import STYLES, device
from submasking.experiments.run import Run
from submasking.files import atomic, identity
from submasking.learning.adapt import History, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import accuracy, features
from submasking.learning.images import ImageSet
from submasking.learning.probe_search import probe_head
from submasking.records import predictions
from submasking.records.analyses import Analysis, Row, number
from submasking.records.places import results_folder
from submasking.records.profiles import DECAY, profile
from submasking.report import verdicts
from submasking.tasks import maskfile
from submasking.tasks.packing import packed
from submasking.tasks.rounding import round_off
from submasking.tasks.taskfile import own_state

NAME = "equal_storage"
MASKS, MASK = ("FS", "FS-squared"), "FS"
PROBE, TUNED = "LP", "FFT"
EVERY = "all"  # the mean over the data sets
USUAL = "10 bits"  # the form in which ways are compared
COMPARED = (USUAL, "4 bits", "coarse", "coarser", "coarsest", SIGNS)
FORMS = {
    PROBE: (EXACT, USUAL),
    TUNED: (EXACT, *ROUNDED, SIGNS),
    "LoRA": (EXACT, USUAL, "4 bits"),
    "one-bit LoRA": (USUAL,),
}
WAYS = (PROBE, *rivals.RIVALS, TUNED)
SIZES = ("learned_bytes", "beside_bytes", "bytes")


def analyse(profile_name: str, model: str, dataset: str, seeds: str, repeats: int) -> Analysis:
    """The analysis, made where it is not known.

    Args:
        profile_name: "tiny" or "smoke".
        model: of those that `submasking.experiments.grid.ANALYSES` names, split by commas, or "all".
        dataset: of the paper's names, split by commas.
        seeds: of the grid.
        repeats: so many of them, from the first on, are read and trained on.

    Raises:
        ValueError: an unknown model or data set, repeats below 1, or a profile that has no rates for the rivals.
    """
    if not set(rivals.RIVALS) <= set(profile(profile_name).methods):
        raise ValueError(
            f"{NAME} needs learning rates of {', '.join(rivals.RIVALS)}, which profile {profile_name} has not; pass"
            " profile tiny"
        )
    names = grid.datasets(dataset, profile_name)
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}; 2 give an interval")
    tasks = keeping.tasks(NAME, profile_name, model, seeds)
    first = sorted({run.seed for run in tasks})[:repeats]
    tasks = [run for run in tasks if run.dataset in names and run.seed in first]
    tasks.sort(key=lambda run: run.seed)
    given = {"dataset": dataset, "seeds": seeds, "repeats": repeats, "ways": list(WAYS)}
    if probes := {run.model: probe for run in tasks if (probe := profile(run.profile).probe(run.model))}:
        given["probes"] = probes
    return keeping.kept(NAME, profile_name, model, keeping.records_of(tasks), given, lambda: _tables(tasks))


def judged(run: Run, way: str) -> dict[str, Any]:
    """One rival with the settings of the run's profile, judged on the images that judge this profile's runs.

    Returns:
        "metrics" with top1, "series" with the loss by epoch, "timings".
    """
    backbone = methods.backbone_of(run)
    task, history = _learned(run, way, backbone, methods.images_of(run, "train"))
    images = methods.images_of(run, profile(run.profile).evaluated_on)
    top1 = _judged(task.trunk, task.head, backbone, images)["top1"]
    return {"metrics": {"top1": top1}, "series": {"loss": history.loss}, "timings": {"train_s": history.seconds}}


def _tables(tasks: Sequence[Run]) -> keeping.Tables:
    """All that is measured: every way on every data set and seed."""
    measured: list[dict[str, Any]] = []
    for run in tasks:
        measured += [_identity(run, run.method) | form for form in _masks(run)]
        if run.method != MASK:
            continue
        for way in WAYS:
            measured += [_identity(run, way) | form for form in _trial(run, way)]
    for form in measured:
        form["method"] = f"{form['way']}, {form['form']}"
        form["right"] = {"top1": np.array(predictions.unpack(form["packed"]), dtype=bool)}
    frame = pd.DataFrame(measured)
    return {"points": _points(frame), "pairs": _pairs(frame), "settings": [_settings(tasks[0])]}


def _identity(run: Run, way: str) -> dict[str, Any]:
    return {"model": run.model, "dataset": run.dataset, "seed": run.seed, "way": way}


def _decay(run: Run) -> float:
    """Weight decay of the probe; where the profile names none, the paper's."""
    return float(profile(run.profile).probe(run.model).get("decay", DECAY))


def _settings(run: Run) -> Row:
    return {
        "epochs": profile(run.profile).method(TUNED, run.model).epochs,
        "rank": rivals.RANK, "rank_of_one_bit": rivals.RANK_OF_ONE_BIT, "bits": BITS,
    }  # fmt: skip


def _masks(run: Run) -> Iterator[dict[str, Any]]:
    """A stored mask as it is, and with head and statistics in fewer bits."""
    backbone = methods.backbone_of(run)
    file, trunk = maskfile.load(run.mask_file), copy.deepcopy(backbone.trunk)
    masking, head, sizes = file.apply(trunk), file.head(), file.sizes()
    assert head is not None  # the small world's heads are linear
    test = methods.images_of(run, "test")
    coded, beside = sizes["coded_bytes"], sizes["buffers_bytes"] + sizes["head_bytes"]
    yield _form(EXACT, coded, beside) | _judged(trunk, head, backbone, test)
    round_off(masking, head, bits=BITS)
    beside = len(packed(own_state(masking))) + len(packed(dict(head.named_parameters())))
    yield _form(USUAL, coded, beside) | _judged(trunk, head, backbone, test)


def _form(form: str, learned: int, beside: int) -> dict[str, Any]:
    return {"form": form, "learned_bytes": learned, "beside_bytes": beside, "bytes": learned + beside}


def _judged(trunk: nn.Module, head: nn.Module, backbone: Backbone, images: ImageSet) -> dict[str, Any]:
    with torch.inference_mode():
        classes = head(features(trunk, images, backbone.normalise)).argmax(1)
    right = (classes == images.labels).int().tolist()
    return {"top1": accuracy(classes, images.labels), "packed": predictions.pack(right), "test": images.fingerprint()}


def _trial(run: Run, way: str) -> list[dict[str, Any]]:
    """All forms of one way on one data set with one seed, read where it has been tried with these settings."""
    settings = {
        "recipe": run.recipe(), "way": way, "decay": _decay(run), "forms": _forms(way),
        "rival": asdict(rivals.RIVALS[way]) if way in rivals.RIVALS else None,
        "plan": None if way == PROBE else str(profile(run.profile).method(way, run.model)),
    }  # fmt: skip
    stem = f"{way.replace(' ', '-')}-{run.seed}-{identity.short(settings)}.json"
    file = results_folder(run.profile) / NAME / run.model / run.dataset / stem
    if file.exists():
        return json.loads(Path(file).read_text(encoding="utf-8"))
    found = list(_measured(run, way))
    atomic.write(file, json.dumps(found))
    told = "  ".join(f"{form['form']} {form['top1']:.3f} in {form['bytes']:,} bytes" for form in found)
    print(f"{run.model} {run.dataset} {way} seed {run.seed}: {told}", flush=True)
    return found


def _forms(way: str) -> tuple[str, ...]:
    return FORMS.get(way, (EXACT, USUAL))


def _measured(run: Run, way: str) -> Iterator[dict[str, Any]]:
    backbone = methods.backbone_of(run)
    train, test = methods.images_of(run, "train"), methods.images_of(run, "test")
    if way == PROBE:
        given = features(backbone.trunk, train, backbone.normalise)
        head = probe_head(given, train.labels, len(train.classes), decay=_decay(run))
        task = Task(backbone.trunk, head, (), {}, follows=False)
    else:
        task, _ = _learned(run, way, backbone, train)
    for form, size in stored(task, _forms(way), lambda trunk: networks.settle(trunk, backbone, train)):
        yield _form(form, *size) | _judged(task.trunk, task.head, backbone, test)


def _learned(run: Run, way: str, backbone: Backbone, train: ImageSet) -> tuple[Task, History]:
    """What fine-tuning or a rival makes of the training images."""
    chosen, where = profile(run.profile), device(run.profile)
    style, label = STYLES[chosen.photographs, True], f"{run.model} {run.dataset} {way}"
    plan = chosen.method(way, run.model)
    if way == TUNED:
        one_bit = False
        adapted = adapt(backbone, train, TUNED, plan, style=style, batch_size=chosen.batch_size, seed=run.seed,
                        device=where, label=label, progress=False)  # fmt: skip
    else:
        rival = rivals.RIVALS[way]
        one_bit = rival.one_bit
        adapted = rivals.learned(
            backbone, train, rival, plan, batch_size=chosen.batch_size, style=style, seed=run.seed, device=where,
            label=label,
        )  # fmt: skip
    trunk = adapted.trunk.cpu()
    names = tuple(name for name, weights in trunk.named_parameters() if weights.requires_grad)
    there = dict(backbone.trunk.named_parameters())
    assert adapted.head is not None  # with labels
    before = {name: there[name] for name in names if name in there}
    return Task(trunk, adapted.head.cpu(), names, before, one_bit), adapted.history


def _points(frame: pd.DataFrame) -> list[Row]:
    """Accuracy and bytes of each way in each form on each data set, and over the sets; who is on a front."""
    rows: list[Row] = []
    for model, part in frame.groupby("model", sort=False):
        found = verdicts.intervals(part)
        sizes = part.groupby(["dataset", "method"], sort=False)[list(SIZES)].mean()
        for row in _rows(found):
            rows.append(_named(str(model), row["method"], row["dataset"]) | {
                "accuracy": row["value"], "low": number(row["low"]), "high": number(row["high"]),
                "seeds": row["seeds"], "images": row["images"],
            } | {name: round(float(sizes[name][(row["dataset"], row["method"])])) for name in SIZES})  # fmt: skip
        for method in found.method.unique():
            of = [row for row in rows if row["model"] == model and f"{row['way']}, {row['form']}" == method]
            rows.append(_named(str(model), method, EVERY) | {
                "accuracy": fmean(float(row["accuracy"] or 0) for row in of), "low": None, "high": None,
                "seeds": of[0]["seeds"], "images": sum(int(row["images"] or 0) for row in of),
            } | {name: round(fmean(int(row[name] or 0) for row in of)) for name in SIZES})  # fmt: skip
    for row in rows:
        row["front"] = not any(_beats(other, row) for other in rows)
    return rows


def _named(model: str, method: str, dataset: str) -> Row:
    way, _, form = method.rpartition(", ")
    return {"model": model, "dataset": dataset, "way": way, "form": form}


def _beats(one: Row, other: Row) -> bool:
    """Whether one is at least as accurate in no more bytes, and better in one of the two."""
    if (one["model"], one["dataset"]) != (other["model"], other["dataset"]):
        return False
    ahead = float(one["accuracy"] or 0) - float(other["accuracy"] or 0)
    saved = int(other["bytes"] or 0) - int(one["bytes"] or 0)
    return ahead >= 0 and saved >= 0 and ahead + saved > 0


def _pairs(frame: pd.DataFrame) -> list[Row]:
    """Masks against every other way, both with numbers of few bits; Holm over all comparisons of a model."""
    rows: list[Row] = []
    for model, part in frame.groupby("model", sort=False):
        others = [
            f"{way}, {form}" for way in WAYS for form in (USUAL, "4 bits", "coarse", SIGNS) if form in _forms(way)
        ]
        found = verdicts.compare(part, [(f"{MASK}, {USUAL}", other) for other in others])
        sizes = part.groupby(["dataset", "method"])["bytes"].mean()
        for row in _rows(found):
            times = sizes[(row["dataset"], row["second"])] / sizes[(row["dataset"], row["first"])]
            rows.append(_named(str(model), row["second"], row["dataset"]) | {
                "ahead": row["value"], "low": number(row["low"]), "high": number(row["high"]),
                "holm": number(row["holm"]), "clear": bool(row["clear"]), "times": float(times),
            })  # fmt: skip
    return rows


def _rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]
