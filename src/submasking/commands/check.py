"""`submasking check`: what is here of the paper's networks and pictures, what is missing, and how long it all takes."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from submasking.commands.options import add_device, add_json
from submasking.experiments import cost, forecast, grid
from submasking.learning.backbone import Backbone
from submasking.learning.device import choose
from submasking.worlds.paper import effort, models, places
from submasking.worlds.paper.data import load
from submasking.worlds.paper.data.catalogue import SETS
from submasking.worlds.paper.inventory import Item, inventory, ready, room
from submasking.worlds.paper.remote import words
from submasking.worlds.paper.weights import NETWORKS

GPU_BYTES = 24 * 10**9  # what the authors ask for, for their most demanding run


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Look for the published weights and archives of the paper in $SUBMASKING_WEIGHTS and $SUBMASKING_DATA, check"
        " them by their hashes, take one step of training with every network and data set that are both here, and say"
        " what is missing and how long the whole would take. Nothing is fetched. The exit code is 1 where something"
        " must be put right: a damaged file, a full disk, a step that failed."
    )
    command.add_argument("--profile", choices=[places.PROFILE], default=places.PROFILE)
    add_device(command)
    command.add_argument("--batch-size", type=int, default=effort.BATCH, help="images in a step")
    command.add_argument("--no-steps", action="store_true", help="look only: no step, no hours")
    add_json(command)


def run(given: argparse.Namespace) -> int:
    """Look, measure, print."""
    if given.batch_size < 2:
        raise ValueError(f"--batch-size must be at least 2, got {given.batch_size}; the paper uses {effort.BATCH}")
    device = choose(given.device)
    items = inventory(progress=not given.json)
    runs = grid.runs(given.profile)
    found: dict[str, Any] = {
        "profile": given.profile,
        "runs": len(runs),
        "kept": sum(map(cost.kept_bytes, runs)),
        "files": [asdict(item) for item in items],
        "disk": _disk(items),
        "device": _device(device),
        "batch": given.batch_size,
        "steps": [],
        "hours": None,
    }
    if not given.no_steps:
        found["steps"] = list(_steps(items, device, given.batch_size))
        seconds = forecast.by_model(found["steps"])
        if len(seconds) == len(NETWORKS):
            found["hours"] = cost.hours(seconds, given.batch_size)
    found["faults"] = _faults(found)
    print(json.dumps(found, indent=2) if given.json else "\n".join(_text(found)))
    return 1 if found["faults"] else 0


def _disk(items: list[Item]) -> list[dict[str, Any]]:
    """What is still to be written to each disk, and what is free there."""
    need = room(items)
    weights = sum(item.bytes for item in items if item.state == "missing" and item.of in NETWORKS)
    wanted = (
        (places.weights_folder(), weights),
        (places.data_folder(), need["fetched"] - weights),
        (places.cache_folder(), need["decoded"]),
    )
    disks: dict[int, dict[str, Any]] = {}
    for folder, more in wanted:
        here = _existing(folder)
        disk = disks.setdefault(here.stat().st_dev, {"folders": [], "need": 0, "free": shutil.disk_usage(here).free})
        disk["folders"].append(str(folder))
        disk["need"] += more
    return list(disks.values())


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _device(device: str) -> dict[str, Any]:
    if not device.startswith("cuda"):
        return {"name": device, "memory": 0}
    properties = torch.cuda.get_device_properties(device)
    return {"name": properties.name, "memory": properties.total_memory}


def _steps(items: list[Item], device: str, batch: int) -> Iterator[dict[str, Any]]:
    """A step of every network and data set that are both here; of a network without any, one of random weights."""
    count = 8 if device.startswith("cuda") else 1
    pictures: dict[str, Any] = {}
    for name in SETS:
        if ready(items, name):
            try:
                pictures[name] = load.sample(name, batch)
            except ValueError as error:
                yield {"model": "", "dataset": name, "error": str(error)}
    for model in NETWORKS:
        backbone = _backbone(items, model)
        if isinstance(backbone, str):
            yield {"model": model, "dataset": "", "error": backbone}
            continue
        real = bool(backbone.fingerprint) and bool(pictures)
        for name, images in (pictures if real else {"": effort.stand_in(batch)}).items():
            try:
                yield asdict(effort.measured(backbone, images, name, device, steps=count))
            except (
                RuntimeError,
                ValueError,
                FloatingPointError,
            ) as error:  # a device that is full says so as the first
                yield {"model": model, "dataset": name, "error": " ".join(str(error).split())}


def _backbone(items: list[Item], model: str) -> Backbone | str:
    """The network with its weights, or random ones where they are missing; else what is wrong with them."""
    if not ready(items, model):
        return models.untrained(model)
    try:
        return models.load(model, download=False)
    except ValueError as error:
        return str(error)


def _faults(found: dict[str, Any]) -> list[str]:
    """What must be put right, in a line each."""
    faults = [file["note"] for file in found["files"] if file["state"] == "damaged"]
    faults += [
        f"{' and '.join(disk['folders'])} must have room for {words(disk['need'])}, {words(disk['free'])} are free"
        for disk in found["disk"]
        if disk["need"] > disk["free"]
    ]
    return faults + [
        f"{' on '.join(filter(None, (step['model'], step['dataset'])))} cannot be run: {step['error']}"
        for step in found["steps"]
        if "error" in step
    ]


def _text(found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    for file in found["files"]:
        size = words(file["bytes"]) if file["bytes"] else "size unknown"
        yield f"{file['state']:<9}{file['of']:<12}{file['name']:<36}{size:>12}"
        if file["state"] == "missing":
            yield f"{'':<9}from {file['address']}\n{'':<9}to {file['folder']}"
    missing = [file for file in found["files"] if file["state"] == "missing"]
    unknown = sum(not file["bytes"] for file in missing)
    beside = f" and {unknown} of unknown size" if unknown else ""
    yield f"\n{len(missing)} files are missing: {words(sum(file['bytes'] for file in missing))}{beside}"
    for disk in found["disk"]:
        need = f"{'at least ' if unknown else ''}{words(disk['need'])}"
        yield f"disk: {need} to be written, {words(disk['free'])} free ({', '.join(disk['folders'])})"
    yield f"{found['runs']} runs, which leave task files of {words(found['kept'])} at most"
    device = found["device"]
    memory = f", {words(device['memory'])}; the authors ask for {words(GPU_BYTES)}" if device["memory"] else ""
    yield f"device: {device['name']}{memory}"
    for step in found["steps"]:
        if "seconds" in step:
            what = step["dataset"] or "random weights and pictures"
            used = f", {words(step['memory'])}" if step["memory"] else ""
            yield f"one step of {step['model']} on {what}: {step['seconds']:.3g} s{used}"
    if found["hours"]:
        parts = ", ".join(f"{kind} {value:,.1f}" for kind, value in found["hours"].items())
        yield f"the whole, one seed, on this device: {sum(found['hours'].values()):,.1f} hours ({parts})"
    for fault in found["faults"]:
        yield f"fault: {fault}"
