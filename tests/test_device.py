"""Devices and precisions: what is not here is refused, and bfloat16 changes the training and nothing that is kept."""

import pytest
import torch
from torch import nn

from submasking.learning import device
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.learning.train import by_epoch, cosine
from submasking.records.profiles import Optimisation, Swav


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch):
    monkeypatch.delenv(device.DEVICE, raising=False)


def network():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Backbone(trunk, 8, "resnet", (0.5,) * 3, (0.5,) * 3, 8, name="small")


def images(count=24):
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=random)
    return ImageSet(pixels, torch.arange(count) % 3, ("a", "b", "c"), "drawn")


def adapted(method="FS", **more):
    rates = {"FS": 200.0, "SSM": 20.0}  # a fifth to a third goes off, far from none on any processor
    plan = Optimisation(lr=rates.get(method, 0.1), epochs=3)
    swav = Swav(crops=(2,), sizes=(8,), dimensions=4, prototypes=3, queue=0)
    return adapt(network(), images(), method, plan, swav=swav, batch_size=8, progress=False, **more)


@pytest.mark.parametrize("asked", ["cuda:99", "nowhere", "cpu:x", "mps:7"])
def test_a_device_that_is_not_here_is_one_line(asked):
    with pytest.raises(ValueError, match="device must be one that is here") as error:
        device.choose(asked)
    assert "\n" not in str(error.value)
    assert repr(asked) in str(error.value)


def test_the_best_is_taken_unless_another_is_wished(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((5, 9, 7)[number], 10))
    assert device.choose() == "cuda:1"
    assert device.choose("cpu") == "cpu"
    monkeypatch.setenv(device.DEVICE, "cpu")
    assert device.choose() == "cpu"
    monkeypatch.setenv(device.DEVICE, "cuda:99")
    with pytest.raises(ValueError, match="cuda:99"):
        device.choose()


def test_without_a_gpu_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose() == "cpu"


@pytest.mark.parametrize("method", ["FS", "FFT", "SSM", "SSFT"])
def test_bfloat16_trains_another_way_and_keeps_float32(method):
    plain, narrow = adapted(method), adapted(method, precision="bfloat16")
    assert plain.history.loss != narrow.history.loss
    assert plain.history.loss == pytest.approx(narrow.history.loss, rel=0.1)
    assert all(value.dtype != torch.bfloat16 for value in narrow.trunk.state_dict().values())
    if narrow.masking is not None:
        assert 0 < narrow.masking.sparsity() < 1
        narrow.masking.bake()
    shown = torch.rand(2, 3, 8, 8)
    assert narrow.trunk.eval()(shown).dtype == torch.float32


@pytest.mark.parametrize(("name", "value"), [("precision", "float16"), ("precision", ""), ("rates", "batch")])
def test_unknown_choices_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be one of .*{value!r}"):
        adapted(**{name: value})


@pytest.mark.parametrize("warmup", [0.0, 0.4])
def test_rates_by_epoch_stand_still_within_it(warmup):
    plain = cosine(warmup)
    held = by_epoch(plain, 5)
    for epoch in range(5):
        assert {held((epoch + (step + 0.5) / 7) / 5) for step in range(7)} == {plain(epoch / 5)}
    assert held(0.1) == (0 if warmup else 1)


def test_with_rates_by_epoch_a_warm_up_begins_with_an_epoch_that_trains_nothing():
    plan = Optimisation(lr=1e4, epochs=1, warmup=0.5)
    found = adapt(network(), images(), "FS", plan, batch_size=8, rates="epoch", progress=False)
    assert found.masking.sparsity() == 0
    assert adapt(network(), images(), "FS", plan, batch_size=8, progress=False).masking.sparsity() > 0


def test_a_training_in_another_precision_is_not_resumed(tmp_path):
    file = tmp_path / "checkpoint"
    adapted(checkpoint=file, checkpoint_seconds=0.0)
    assert file.exists()
    for change in ({"precision": "bfloat16"}, {"rates": "epoch"}):
        with pytest.raises(ValueError, match="another"):
            adapted(checkpoint=file, **change)


@pytest.mark.gpu
def test_a_gpu_trains_the_same_task():
    here, there = adapted(), adapted(device=device.choose())
    assert there.history.loss == pytest.approx(here.history.loss, rel=0.05)
