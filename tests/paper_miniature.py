"""The paper in miniature: its six true networks with random weights, its eight data sets with a few pictures each.

`write` makes the files in their published forms; `install` lets a process take their hashes and counts for the
published ones, and gives profile paper one epoch. A process that a test starts installs it by `startup`.
"""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import open_clip
import paper_archives
import torch
import torchvision
from paper_weights import scripted, swav

from submasking.experiments import sizes
from submasking.records import profiles
from submasking.worlds.paper import weights
from submasking.worlds.paper.data import catalogue

COMPRESSORS = ("gzip", "bz2", "lzma", "zstd")


def write(folder, monkeypatch):
    """Weights and archives below a folder."""
    for name in ("weights", "data"):
        (folder / name).mkdir(parents=True)
    for dataset in catalogue.SETS:
        paper_archives.write(monkeypatch, folder / "data", dataset)
    torch.manual_seed(0)
    files = {model: folder / "weights" / network.file.name for model, network in weights.NETWORKS.items()}
    torch.save(torchvision.models.resnet18().state_dict(), files["rn18-timm"])
    resnet = torchvision.models.resnet50()
    torch.save(resnet.state_dict(), files["rn50-torch"])
    os.link(files["rn50-torch"], files["rn50-timm"])
    torch.save(swav(resnet), files["rn50-swav"])
    for model in ("rn50-clip", "vitb32-clip"):
        name = weights.NETWORKS[model].architecture.partition(":")[2]
        scripted(open_clip.model.CLIP(**open_clip.get_model_config(name)), files[model])


def install(folder, monkeypatch, **changes):
    """Let what `write` has made be what was published."""
    monkeypatch.setenv("SUBMASKING_WEIGHTS", str(folder / "weights"))
    monkeypatch.setenv("SUBMASKING_DATA", str(folder / "data"))
    for dataset, chosen in list(catalogue.SETS.items()):
        place = folder / "data" / chosen.folder
        split = chosen.split and (place / chosen.split.name).read_bytes()
        paper_archives.publish(monkeypatch, dataset, (place / chosen.archive.name).read_bytes(), split)
    for model, network in list(weights.NETWORKS.items()):
        if network.file.digest:
            content = (folder / "weights" / network.file.name).read_bytes()
            file = replace(network.file, digest="sha256:" + hashlib.sha256(content).hexdigest())
            monkeypatch.setitem(weights.NETWORKS, model, replace(network, file=file))
    # the compressors are tested elsewhere; on whole networks they take minutes
    monkeypatch.setattr(sizes, "compressed", lambda content, quick=False: dict.fromkeys(COMPRESSORS, len(content)))
    for name, profile in list(profiles.PROFILES.items()):
        if profile.protocol is not None:
            monkeypatch.setitem(profiles.PROFILES, name, small(profile, **changes))


def small(profile, **changes):
    """One epoch, and what needs hundreds of images with a few."""
    one = {name: replace(settings, epochs=1) for name, settings in profile.methods.items()}
    swav = replace(profile.swav, prototypes=4, queue=6, freeze_prototypes=1)
    return replace(profile, methods=one, swav=swav, batch_size=3, neighbours=3, label_percents=(50.0, 100.0), **changes)


def startup(folder):
    """Environment of a process that installs the miniature as it starts."""
    here = folder / "startup"
    here.mkdir(exist_ok=True)
    (here / "sitecustomize.py").write_text(
        "import pathlib, pytest, paper_miniature\n"
        f"paper_miniature.install(pathlib.Path({str(folder)!r}), pytest.MonkeyPatch())\n"
    )
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join([str(here), str(Path(__file__).parent), *before])}
