import pytest
import torch
from torch import nn

from submasking import Monitor, TopK, find_lr, mask
from submasking.masking.selection import random_part


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 3))


def loss(model: nn.Module) -> torch.Tensor:
    inputs = torch.randn(16, 6)
    return nn.functional.cross_entropy(model(inputs), (inputs[:, 0] > 0).long())


def learn(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()


@pytest.mark.parametrize("way", ["fused", "attached"])
def test_readings_count_flips_and_sparsity_exactly(way):
    model = network()
    masking = mask(model, random_part("weights", 0.5))
    optimizer = masking.optimizer(lr=30.0)
    if way == "attached":
        optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=30.0, momentum=0.9))
    monitor = Monitor(masking, optimizer, every=3)
    maskable = sum(int(scores.isfinite().sum()) for scores in masking.scores().values())
    expected = {}
    for step in range(7):
        before = masking.masks()
        learn(model, optimizer, 1)
        flips = sum(int((mask != before[name]).sum()) for name, mask in masking.masks().items())
        expected[step] = (flips / maskable, masking.sparsity(), masking.sparsities())
    assert [reading.step for reading in monitor.readings] == [0, 3, 6]
    for reading in monitor.readings:
        assert (reading.flip_rate, reading.sparsity, reading.sparsities) == expected[reading.step]
    assert any(reading.flip_rate > 0 for reading in monitor.readings)
    assert monitor.postfix() == {
        "sparsity": f"{monitor.readings[-1].sparsity:.4f}",
        "flips": f"{monitor.readings[-1].flip_rate:.1e}",
    }


def test_quantiles_are_those_of_the_scores_that_can_change():
    model = network()
    masking = mask(model, random_part("weights", 0.5), init="normal")
    monitor = Monitor(masking, optimizer := masking.optimizer(lr=1.0))
    learn(model, optimizer, 1)
    for name, scores in masking.scores().items():
        finite = scores[scores.isfinite()]
        low, *_, high = monitor.readings[0].quantiles[name]
        assert (low, high) == (float(finite.min()), float(finite.max()))


def test_closed_monitor_reads_no_more():
    model = network()
    masking = mask(model, "weights")
    monitor = Monitor(masking, optimizer := masking.optimizer(lr=1.0), every=1)
    assert monitor.postfix() == {}
    learn(model, optimizer, 2)
    monitor.close()
    learn(model, optimizer, 2)
    assert len(monitor.readings) == 2


def test_monitor_notices_gradients_that_are_not_finite_in_any_tensor():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=1.0)
    Monitor(masking, optimizer)
    loss(model).backward()
    model[3].weight.grad[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"gradients must be finite; that of '3.weight' holds NaN or infinity"):
        optimizer.step()


def test_readings_reach_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = network()
    masking = mask(model, "weights")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        monitor = Monitor(masking, optimizer := masking.optimizer(lr=30.0), every=2, writer=writer)
        learn(model, optimizer, 4)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    seen = [(event.step, pytest.approx(event.value)) for event in events.Scalars("masks/sparsity")]
    assert seen == [(reading.step, reading.sparsity) for reading in monitor.readings]
    assert "scores/0.weight" in events.Tags()["histograms"]


@pytest.mark.parametrize("wanted", [0.002, 0.01])
def test_found_learning_rate_flips_about_as_many_weights_as_wanted(wanted):
    model = network()
    masking = mask(model, "weights")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lr = find_lr(masking, lambda: loss(model).backward(), flip_rate=wanted, steps=10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    optimizer = masking.optimizer(lr)
    monitor = Monitor(masking, optimizer, every=1)
    learn(model, optimizer, 10)
    flips = sum(reading.flip_rate for reading in monitor.readings) / 10
    assert wanted / 4 < flips < wanted * 4


def test_find_lr_refuses_what_it_cannot_answer():
    model = network()
    with pytest.raises(ValueError, match=r"needs scores with a fixed threshold; got TopK\(density=0.5\)"):
        find_lr(mask(network(), "weights", TopK(0.5)), lambda: None)
    masking = mask(model, "weights")
    with pytest.raises(ValueError, match=r"must be in \(0, 1\); got 0.5 \* 10; ask for a smaller rate"):
        find_lr(masking, lambda: None, flip_rate=0.5)
    with pytest.raises(ValueError, match="only 0 move towards the threshold"):
        find_lr(masking, lambda: (0 * loss(model)).backward())


@pytest.mark.parametrize("failure", [KeyError, ValueError])
def test_find_lr_that_fails_leaves_the_model_as_it_was(failure):
    model = network()
    masking = mask(model, "weights")
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def backward():
        (loss(model) * (float("nan") if failure is ValueError else 1.0)).backward()
        if failure is KeyError:
            raise KeyError

    with pytest.raises(failure, match="gradients must be finite" if failure is ValueError else None):
        find_lr(masking, backward, flip_rate=0.01)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\); got 1.0; the paper uses 0.9"):
        find_lr(masking, backward, flip_rate=0.01, momentum=1.0)


def test_interval_must_be_positive():
    masking = mask(network(), "weights")
    for every in (0, 2.5):
        with pytest.raises(ValueError, match=f"every must be a whole number of steps, at least 1; got {every}"):
            Monitor(masking, masking.optimizer(), every=every)
