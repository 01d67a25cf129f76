import copy
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking.learning.batches import Batches
from submasking.learning.images import ImageSet
from submasking.learning.train import cosine, fit


def image_set(n=10):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(n) % 2, ("even", "odd"), "toy")


def setup(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    loader = Batches(image_set(), 4, lambda x, g: x + 0.1 * torch.rand(x.shape, generator=g), seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step_loss(batch):
        images, labels = batch
        return nn.functional.cross_entropy(model(images), labels)

    return model, loader, optimizer, step_loss


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_schedule_stays_between_zero_and_one(warmup, progress):
    assert 0 <= cosine(warmup)(progress) <= 1


def test_schedule_warms_up_peaks_and_ends_at_zero():
    schedule = cosine(0.25)
    assert schedule(0) == 0
    assert schedule(0.125) == pytest.approx(0.5)
    assert schedule(0.25) == pytest.approx(1)
    assert schedule(1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup", [-0.1, 1.0])
def test_schedule_refuses_warmup_outside_its_range(warmup):
    with pytest.raises(ValueError, match="warmup must be a share"):
        cosine(warmup)


@given(st.integers(1, 12))
def test_an_epoch_shows_every_image_once(batch_size):
    loader = Batches(image_set(), batch_size, lambda x, g: x)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = torch.cat([images for images, _ in batches])
    expected = image_set().images.float() / 255
    assert torch.equal(seen.flatten(1).sort(0).values, expected.flatten(1).sort(0).values)


def test_batches_follow_from_the_seed():
    first, second, other = ([y for _, y in Batches(image_set(), 3, lambda x, g: x, seed=seed)] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_empty_set_and_batch_size_zero_are_refused():
    with pytest.raises(ValueError, match="must hold an image to train on"):
        Batches(image_set().subset(torch.arange(0)), 4, lambda x, g: x)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        Batches(image_set(), 0, lambda x, g: x)


def test_fit_lowers_the_loss_and_puts_the_peak_rate_back():
    _, loader, optimizer, step_loss = setup()
    history = fit(step_loss, loader, [optimizer], epochs=20, schedule=cosine(0.1), progress=False)
    assert len(history.loss) == 20
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    model, loader, optimizer, step_loss = setup()
    fit(step_loss, loader, [optimizer], epochs=5, schedule=cosine(0.2), progress=False)
    wanted = copy.deepcopy(model.state_dict())

    class KilledError(Exception):
        pass

    def kill(epoch):
        if epoch == 3:
            raise KilledError

    file = tmp_path / "checkpoint.pt"
    for on_epoch in (kill, None):
        model, loader, optimizer, step_loss = setup()
        options = {"epochs": 5, "schedule": cosine(0.2), "progress": False, "checkpoint": file, "on_epoch": on_epoch}
        options |= {"checkpoint_seconds": 0.0}
        try:
            fit(step_loss, loader, [optimizer], state={"model": model, "loader": loader}, **options)
        except KilledError:
            assert file.exists()
    assert all(torch.equal(model.state_dict()[name], wanted[name]) for name in wanted)
    assert list(tmp_path.iterdir()) == [file]  # whoever keeps the weights removes it then


@given(st.integers(1, 40), st.integers(2, 12))
def test_no_batch_is_a_single_image_and_no_other_batch_changes(images, batch_size):
    lengths = [len(y) for _, y in Batches(image_set(images), batch_size, lambda x, g: x)]
    plain = [len(part) for part in torch.arange(images).split(batch_size)]
    if images > 1 and plain[-1] == 1:
        plain[-2:] = [batch_size + 1]
    assert lengths == plain


def stopped(file, epochs=5, **more):
    """A checkpoint after the first epoch, and a second try from it."""
    model, loader, optimizer, step_loss = setup()
    options = {"epochs": epochs, "schedule": cosine(), "progress": False, "checkpoint": file, "checkpoint_seconds": 0.0}
    return fit(step_loss, loader, [optimizer], state={"model": model, "loader": loader}, **options | more)


DAMAGE = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "words": lambda content: b"of an earlier run",
    "a byte": lambda content: content[:300] + bytes([content[300] ^ 255]) + content[301:],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, name):
    file = tmp_path / "checkpoint.pt"
    stopped(file)
    file.write_bytes(DAMAGE[name](file.read_bytes()))
    with pytest.raises(
        ValueError, match=r"checkpoint\.pt must be a whole one of this very training .*--restart"
    ) as said:
        stopped(file)
    assert "\n" not in str(said.value)


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(tmp_path):
    file = tmp_path / "checkpoint.pt"
    stopped(file, identity={"classes": ["a", "b"], "seed": 0})
    with pytest.raises(ValueError, match=r"it has another classes, another seed \(0 there, 1 here\)"):
        stopped(file, identity={"classes": ["a", "c"], "seed": 1})
    stopped(file, identity={"classes": ["a", "b"], "seed": 0})


def test_settings_that_differ_are_named_with_both_values(tmp_path):
    file = tmp_path / "checkpoint.pt"
    stopped(file, identity={"plan": {"lr": 50.0, "epochs": 3, "classes": list(range(30))}, "seed": 0})
    with pytest.raises(
        ValueError, match=r"another classes, another lr \(50.0 there, 0.1 here\), another seed \(0 there"
    ):
        stopped(file, identity={"plan": {"lr": 0.1, "epochs": 3, "classes": []}, "seed": 1})


def test_a_loss_that_is_not_finite_stops_the_run():
    _, loader, optimizer, _ = setup()
    with pytest.raises(FloatingPointError, match="epoch 0, step 0; lower the learning rate"):
        fit(lambda batch: torch.tensor(float("nan")), loader, [optimizer], epochs=1, schedule=cosine(), progress=False)


def test_a_bit_that_flips_in_a_checkpoint_is_refused_or_harmless(tmp_path):
    """torch reads numbers without looking at the checksums that its files have."""
    torch.manual_seed(0)
    path, whole = tmp_path / "training.checkpoint", {}

    def train(stop=None):
        torch.manual_seed(0)
        model = torch.nn.Linear(40, 30)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        batches = [torch.randn(8, 40) for _ in range(2)]

        def ended(epoch):
            if epoch == stop:
                raise KeyboardInterrupt

        fit(
            lambda batch: model(batch).square().mean(), batches, [optimizer], epochs=4, schedule=cosine(),
            state={"model": model}, checkpoint=path, checkpoint_seconds=0.0, on_epoch=ended, progress=False,
        )  # fmt: skip
        return {name: value.clone() for name, value in model.state_dict().items()}

    whole = train()
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        train(stop=2)
    good, dice, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(80):
        damaged = bytearray(good)
        damaged[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            after = train()
        except ValueError:
            refused += 1
        else:
            assert all(torch.equal(after[name], value) for name, value in whole.items())
    assert refused > 40
