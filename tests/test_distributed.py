"""Data parallelism on two processes gives the masks of one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = """
import sys, torch
from torch import nn
from submasking import mask

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3, bias=False)).double()

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
model = network()
masking = mask(model, "weights", init="normal", rescale="variance")
parallel = nn.parallel.DistributedDataParallel(model)
optimizer = masking.optimizer(lr=30.0)
whole = network()
alone = mask(whole, "weights", init="normal", rescale="variance")
other = alone.optimizer(lr=30.0)
for step in range(4):
    images = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(step)).double()
    for net, optim, batch in ((parallel, optimizer, images[rank::2]), (whole, other, images)):
        optim.zero_grad()
        net(batch).square().mean().backward()
        optim.step()
broadcast = [name for name, _ in model.named_buffers() if name not in parallel.parameters_to_ignore]
if rank == 0:
    torch.save({"together": masking.masks(), "alone": alone.masks(), "broadcast": broadcast}, out)
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_learn_the_masks_of_one(tmp_path: Path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store"), str(tmp_path / "out.pt")], env=environment)
        for rank in (0, 1)
    ]
    try:
        assert [worker.wait(timeout=600) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    found = torch.load(tmp_path / "out.pt")
    assert found["broadcast"] == []
    assert sum(int((~on).sum()) for on in found["together"].values()) > 0
    assert all(torch.equal(on, found["alone"][name]) for name, on in found["together"].items())
