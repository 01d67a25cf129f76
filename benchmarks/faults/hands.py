"""What other hands do to a masked model, and what one task may leave to the next."""

import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import fusion, prune

from benchmarks.faults.models import adapted, answers, close, images, network, saved, state, written
from benchmarks.faults.trial import Situation, Trial
from submasking import Bank, Masking, mask, maskfile

KINDS = ("masks alone", "statistics", "classifier")


class Tied(nn.Module):
    """Two layers of one weight behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem, self.first, self.second = nn.Conv2d(3, 6, 3), nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, batch: Tensor) -> Tensor:
        return self.second(self.first(self.stem(batch).mean((2, 3))).tanh())


def task(kind: str, dice: Random, path: Path) -> Tensor:
    """Save a task of a kind; returns what its model says."""
    model = network()
    masking = mask(
        model,
        lambda name, _: (
            "mask" if name == "0.weight" else "train" if kind == "classifier" and name[0] == "5" else "freeze"
        ),
    )
    seed = torch.Generator().manual_seed(dice.randrange(2**31))
    masking.load_masks({name: torch.rand(t.shape, generator=seed) < 0.6 for name, t in masking.frozen().items()})
    with torch.no_grad():
        if kind == "statistics":
            model[1].running_mean.normal_(generator=seed)
        for name in masking.trained:
            masking.parameter(name).normal_(generator=seed)
    maskfile.save(path, masking)
    return answers(model)


def over(dice: Random, folder: Path) -> Trial:
    """A task is laid over another, on one model."""
    first, second = dice.sample(KINDS, 2)
    told = task(first, dice, folder / "first"), task(second, dice, folder / "second")
    model = network()
    maskfile.load(folder / "first").apply(model)

    def attempt() -> bool:
        masking = maskfile.load(folder / "second").apply(model)
        right = close(answers(model), told[1])
        return right and close(answers(masking.unbake()), answers(network()))

    return Trial(attempt, lambda: close(answers(model), told[0]))


def banked(dice: Random, folder: Path) -> Trial:
    """Two banks on one model, used by turns, which may see data in train mode."""
    model = network()
    banks, told = [Bank(model), Bank(model)], {}
    for number, kind in enumerate(dice.sample(KINDS, 2)):
        told[number] = task(kind, dice, folder / kind)
        banks[number].add("task", folder / kind)

    def attempt() -> bool:
        for number in dice.choices((0, 1), k=6):
            if not close(answers(banks[number].use("task")), told[number]):
                return False
            if dice.random() < 0.3:
                model.train()(images())
        return close(answers(banks[0].release()), answers(network()))

    return Trial(attempt, lambda: close(answers(banks[0].release()), answers(network())))


def put(**given: Any) -> Situation:
    """What is no task is put into a bank that holds one."""

    def situation(dice: Random, folder: Path) -> Trial:
        bank, masking = Bank(network()), adapted(dice)
        bank.put("good", masking.masks())
        told = answers(bank.use("good"))
        made = {name: value(dice, masking) if callable(value) else value for name, value in given.items()}

        def attempt() -> bool:
            bank.put("bad", **({"masks": masking.masks()} | made))
            return False

        return Trial(attempt, lambda: list(bank.tasks) == ["good"] and close(answers(bank.use("good")), told))

    return situation


def stepped(happens: Callable[[Masking, Random], Any]) -> Situation:
    """Something happens between two steps: what it did is kept, or the second step is refused."""

    def situation(dice: Random, folder: Path) -> Trial:
        masking = adapted(dice)
        optimizer = masking.optimizer(lr=1e-3, in_backward=dice.random() < 0.5)

        def step() -> None:
            masking.model(images()).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        happens(masking, dice)
        wanted = state(masking.model)

        def attempt() -> bool:
            off = {name: wanted[name] == 0 for name in masking.masks()}
            step()
            return all(bool((masking.parameter(name)[zero] == 0).all()) for name, zero in off.items())

        return Trial(attempt, lambda: all(torch.equal(masking.parameter(n), wanted[n]) for n in masking.masks()))

    return situation


def pruned(masking: Masking, dice: Random) -> None:
    """Prune a layer in one of torch's ways, for good."""
    layer = masking.model[dice.choice((0, 5))]
    how = dice.choice((prune.l1_unstructured, prune.random_unstructured))
    how(layer, "weight", amount=dice.uniform(0.2, 0.9))
    prune.remove(layer, "weight")


def untied(dice: Random, folder: Path) -> Trial:
    """Tied weights that are tied no more when the task is saved, or are."""
    model = Tied()
    masking = mask(model, "weights")
    apart = dice.random() < 0.7
    if apart:
        model.second.weight = nn.Parameter(dice.uniform(0.5, 1.5) * model.first.weight.detach())
    told = answers(model)

    def attempt() -> bool:
        maskfile.save(folder / "task", masking)
        fresh = Tied()
        maskfile.load(folder / "task").apply(fresh)
        return close(answers(fresh), told)

    return Trial(attempt, lambda: not (folder / "task").exists())


def frozen_norm(dice: Random, folder: Path) -> Trial:
    """Frozen norms are replaced by others over batches, then the model sees data in train mode."""
    model = network()
    masking = mask(model, norms="freeze")
    before = state(model)
    if dice.random() < 0.5:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        fresh = nn.BatchNorm2d(6)
        fresh.load_state_dict({name.removeprefix("1."): v for name, v in before.items() if name in BUFFERS})
        model[1] = fresh

    def attempt() -> bool:
        model.train()
        masking.apply()
        model.cpu()(images())
        return all(torch.equal(model.state_dict()[name], before[name]) for name in BUFFERS)

    return Trial(attempt)


BUFFERS = ("1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")


def fused(masking: Masking) -> None:
    """Fold the norm into the convolution before it."""
    masking.model[0] = fusion.fuse_conv_bn_eval(masking.model[0], masking.model[1])
    masking.model[1] = nn.Identity()


def quantised(masking: Masking) -> nn.Module:
    """Turn the linear layers into packed whole numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return quantize_dynamic(masking.model, {nn.Linear})


def fell_ill(masking: Masking) -> None:
    """Let the statistics of a norm be what a training that failed leaves."""
    masking.model[1].running_mean.fill_(float("nan"))


def sick(dice: Random, masking: Masking) -> dict[str, Tensor]:
    """Statistics of which one is not finite."""
    name = dice.choice(("1.running_mean", "1.running_var"))
    values = masking.model.state_dict()[name].clone()
    values[dice.randrange(len(values))] = dice.choice((float("nan"), float("inf"), -float("inf")))
    return {name: values}


def sick_head(dice: Random, masking: Masking) -> nn.Module:
    """A head with a number that is none."""
    head = nn.Linear(4, 3)
    with torch.no_grad():
        head.weight[dice.randrange(3), dice.randrange(4)] = dice.choice((float("nan"), float("inf")))
    return head if dice.random() < 0.5 else nn.Sequential(nn.Dropout(0.1), head)


NEXT: dict[str, Situation] = {
    "a task over another": over,
    "two banks on one model": banked,
    "a task whose statistics are nan": put(state=sick),
    "a head that is nan": put(head=sick_head),
    "a head of other classes": put(head=lambda d, m: nn.Linear(4, d.randint(3, 9)), classes=("a", "b")),
    "masks of floats": put(masks=lambda d, m: {name: on.to(d.choice((torch.float32, torch.uint8)))
                                               for name, on in m.masks().items()}),
    "classes that are numbers": put(classes=(1, 2, 3, 4)),
}  # fmt: skip
HANDS: dict[str, Situation] = {
    "pruned for good": stepped(pruned),
    "moved elsewhere": stepped(lambda m, d: m.model.to(memory_format=torch.channels_last)),
    "untied": untied,
    "norms replaced": frozen_norm,
    "activation replaced": saved(lambda m: m.model.__setitem__(2, nn.GELU())),
    "fused": saved(fused),
    "quantised": saved(quantised),
    "statistics gone nan": saved(fell_ill),
    "numbers for classes": written(head=nn.Linear(4, 2), classes=[3, 7]),
    "a class twice": written(head=nn.Linear(4, 2), classes=["a", "a"]),
}
