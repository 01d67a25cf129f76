"""A whole grid of made-up records, to test what reads records: the pages, tables and figures of the book."""

import json
import random

from submasking.experiments import grid
from submasking.files import atomic
from submasking.records import predictions
from submasking.records.results import Record, write


def record(task):
    """A record of one run with the recipe of the real one and numbers that are drawn from its name."""
    draw = random.Random(str(task))
    ways = ["knn", *(["lp@10", "lp@100"] if task.labels == 0 else ["top1"] * (task.method != "ZS"))]
    labels = [random.Random(task.dataset_name).randrange(10) for _ in range(100)]
    same = random.Random(f"{task.model} {task.dataset_name} {task.method} {task.labels}")  # whatever the seed
    given = {way: answers(draw, labels, same.uniform(0.3, 0.9) + draw.uniform(-0.02, 0.02)) for way in ways}
    metrics = {way: sum(map(int.__eq__, one, labels)) / 100 for way, one in given.items()}
    if task.method.partition("-")[0] in ("FS", "SSM"):
        metrics["sparsity"] = draw.uniform(0.01, 0.3)
    return Record(
        sizes=sizes(task.method, draw),
        profile=task.profile, model=task.model, dataset=task.dataset_name, method=task.method, labels=task.labels,
        seed=task.seed, recipe=task.recipe(), metrics=metrics, layers={"conv1.weight": 0.1, "layer1.weight": 0.2},
        backbone={"architecture": "made up", "parameters": 1000, "masked": 900 if "sparsity" in metrics else 0},
        predictions={way: predictions.pack(one) for way, one in given.items()},
        test={"images": task.dataset_name, "labels": predictions.pack(labels)},
        data={"classes": 10, "train": 120, "labelled": int(1.2 * task.labels), "test": 100},
        timings={"total_s": 60.0}, created="2026-01-02T03:04:05+00:00", commit="0123456789",
    )  # fmt: skip


def answers(draw, labels, share):
    """Classes given to images, right for about a share of them."""
    return [label if draw.random() < share else (label + 1) % 10 for label in labels]


def sizes(method, draw):
    """Made-up sizes of a mask, or of fine-tuned weights."""
    if method not in ("FS", "SSM", "FFT", "SSFT"):
        return {}
    found = {"buffers_bytes": 100.0, "head_bytes": draw.uniform(10, 500)}
    if method in ("FFT", "SSFT"):
        names = ("raw", "gzip", "bz2", "lzma", "zstd", "delta")
        return found | {f"weights_{name}_bytes": draw.uniform(2000, 3600) for name in names}
    found |= {f"{name}_bytes": draw.uniform(40, 112) for name in ("gzip", "bz2", "lzma", "zstd", "coded")}
    found |= {"raw_bits": 900.0, "entropy_bits_global": draw.uniform(400, 900)}
    found["entropy_bits_tensor"] = 0.9 * found["entropy_bits_global"]
    return found | {"file_bytes": found["coded_bytes"] + found["buffers_bytes"] + found["head_bytes"] + 1500}


def records(profile="tiny", seeds="0,1,2"):
    return [record(task) for task in grid.runs(profile, seeds)]


def write_grid(folder, profile="tiny", seeds="0,1,2"):
    """Write the made-up grid below `folder`, with the file that says its seeds; returns its records."""
    made = records(profile, seeds)
    atomic.write(folder / grid.GRID, json.dumps({"seeds": seeds}))
    for one in made:
        write(one, folder)
    return made
