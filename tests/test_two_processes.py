"""What several processes do to a model, really tried on two: each way works, or is one line at the mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = """
import json, sys, warnings
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from submasking import mask, maskfile

warnings.simplefilter("ignore")
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + folder + "/store", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )

images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(rank))

def shard(model):
    fully_shard(model, mesh=mesh)
    return model

def flat(original):
    return lambda model: FullyShardedDataParallel(
        model, device_id=torch.device("cpu"), use_orig_params=original
    )

def mask_after(wrap):
    mask(wrap(network()))

def train_after(wrap):
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=1.0)
    before = {name: value.clone() for name, value in masking.scores().items()}
    wrapped = wrap(model)
    try:
        wrapped(images).square().mean().backward()
        optimizer.step()
    finally:
        assert all(torch.equal(value, before[name]) for name, value in before.items())

def optimize_after(wrap):
    model = network()
    masking = mask(model, "weights")
    wrap(model)
    masking.optimizer(lr=1.0)

def save_after(wrap):
    model = network()
    masking = mask(model, "weights")
    wrap(model)
    maskfile.save(folder + "/sharded%d" % rank, masking)

def synchronised(before):
    model = network()
    if before:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    masking = mask(model, "weights")
    masking.load_masks({name: theta > 0 for name, theta in masking.frozen().items()})
    if not before:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with torch.no_grad():
        model[1].running_mean.add_(0.1)
    told = model.eval()(images)
    maskfile.save(folder + "/sync%d" % rank, masking)
    fresh = network().eval()
    maskfile.load(folder + "/sync%d" % rank).apply(fresh)
    assert torch.equal(fresh(images), told)

def averaged():
    model = network()
    masking = mask(model, "weights")
    average = torch.optim.swa_utils.AveragedModel(nn.parallel.DistributedDataParallel(model).module)
    average.update_parameters(model)
    masking.load_masks({name: theta > 0 for name, theta in masking.frozen().items()})
    average.update_parameters(model)
    maskfile.save(folder + "/average%d" % rank, average)

ways = {"fully_shard": shard, "FSDP": flat(True), "FSDP, flat": flat(False)}
tries = {
    what.__name__ + " " + name: (lambda what=what, wrap=wrap: what(wrap))
    for what in (mask_after, train_after, optimize_after, save_after) for name, wrap in ways.items()
}
tries |= {"sync before": lambda: synchronised(True), "sync after": lambda: synchronised(False), "average": averaged}
found = {}
for name, what in tries.items():
    try:
        what()
        found[name] = "works"
    except Exception as error:
        found[name] = type(error).__name__ + ": " + str(error)
    torch.distributed.barrier()
with open(folder + "/found%d.json" % rank, "w") as file:
    json.dump(found, file)
torch.distributed.destroy_process_group()
"""
WAYS = ("fully_shard", "FSDP", "FSDP, flat")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every try gave, in each of two processes."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no distributed package")
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(folder)], env=environment) for rank in (0, 1)
    ]
    try:
        assert [worker.wait(timeout=1200) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return [json.loads(Path(folder / f"found{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", ["mask_after", "train_after", "optimize_after", "save_after"])
def test_a_sharded_model_is_one_line_and_changes_no_mask(found, moment, way):
    for process in found:
        said = process[f"{moment} {way}"]
        assert said.startswith("ValueError: "), said
        assert "\n" not in said
        assert "must" in said.lower()


@pytest.mark.parametrize("when", ["before", "after"])
def test_norms_may_be_synchronised_before_or_after_masking(found, when):
    assert [process[f"sync {when}"] for process in found] == ["works", "works"]


def test_an_average_of_models_is_not_saved_as_if_it_were_one(found):
    for process in found:
        assert process["average"].startswith("ValueError: what is saved must be what the model computes")
