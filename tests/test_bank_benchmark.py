"""The benchmark of the bank measures what it says it does."""

import torch

from benchmarks import bank
from submasking.worlds import networks


def test_tasks_cost_a_bit_per_weight_with_buffers_and_head():
    row = bank.fill(3)
    network = networks.trunk(bank.BACKBONE, 24)
    weights = {name: p for name, p in network.named_parameters() if p.dim() == 4}
    beside = 4 * sum(value.numel() for value in network.buffers() if value.is_floating_point())
    head = 4 * bank.CLASSES * (network.num_features + 1)
    assert row["tasks"] == 3
    assert row["weights"] == sum(p.numel() for p in weights.values())
    assert row["mask_bytes"] == sum(-(-p.numel() // 8) for p in weights.values())
    assert row["task_bytes"] == row["mask_bytes"] + beside + head


def test_made_up_tasks_switch_off_about_the_share_that_is_said():
    drawn = bank.drawn(100_000, torch.Generator().manual_seed(0))
    assert 0.9 * bank.OFF < 1 - drawn.float().mean().item() <= bank.OFF
