"""What may happen to a masked model between masking, saving and switching, and whether the file is still the model."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.faults.trial import Situation, Trial
from submasking import Bank, Masking, mask, maskfile
from submasking.files import weights

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "state_dict.")


def network(seed: int = 0, classes: int = 4) -> nn.Sequential:
    """The backbone, with norm statistics as of a pretrained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(6, classes),
        )  # fmt: skip
        model[1].running_mean.uniform_(-0.2, 0.2)
        model[1].running_var.uniform_(0.5, 1.5)
    return model.eval()


def images() -> Tensor:
    """A batch."""
    return torch.randn(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def answers(model: nn.Module) -> Tensor:
    """What a model says of the batch, in its own type."""
    model.eval()
    first = next(iter(model.parameters()))
    return model(images().to(first.dtype)).float()


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, Tensor]) -> bool:
    """Whether a model holds these tensors still."""
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], value) for name, value in before.items())


def close(first: Tensor, second: Tensor, kind: torch.dtype = torch.float32) -> bool:
    """Whether two answers are one, up to the rounding of a type."""
    return torch.allclose(first, second, atol=2e-2 if kind in (torch.float16, torch.bfloat16) else 1e-5)


def adapted(dice: Random, classes: int = 4) -> Masking:
    """A masked backbone with masks and norm statistics of its own."""
    masking = mask(network(classes=classes), "weights" if classes == 4 else "auto")
    seed = torch.Generator().manual_seed(dice.randrange(2**31))
    density = dice.choice((0.3, 0.8, 1.0))
    masking.load_masks({n: torch.rand(t.shape, generator=seed) < density for n, t in masking.frozen().items()})
    with torch.no_grad():
        masking.model[1].running_mean.add_(0.1)
    return masking


def nudged(model: nn.Module, name: str) -> None:
    """Change a parameter as another optimizer would."""
    with torch.no_grad():
        dict(model.named_parameters())[name].add_(0.05)


def averaged(masking: Masking) -> nn.Module:
    """An average over two states of a masked model, as of an EMA."""
    average = torch.optim.swa_utils.AveragedModel(masking.model)
    average.update_parameters(masking.model)
    masking.load_masks({name: ~on for name, on in masking.masks().items()})
    average.update_parameters(masking.model)
    return average


def saved(happens: Callable[[Masking], Any], base: int = 0, kind: torch.dtype = torch.float32) -> Situation:
    """Something happens to a masked model; it is saved, and laid on its backbone in a fresh copy."""

    def situation(dice: Random, folder: Path) -> Trial:
        masking = adapted(dice)
        model = happens(masking) or masking.model

        def attempt() -> bool:
            told = answers(model)
            maskfile.save(folder / "task", masking if model is masking.model else model)
            fresh = network(base).to(kind)
            maskfile.load(folder / "task").apply(fresh)
            return close(answers(fresh), told, kind)

        return Trial(attempt, lambda: not (folder / "task").exists())

    return situation


def written(**given: Any) -> Situation:
    """A save that cannot be right, over a good file."""

    def situation(dice: Random, folder: Path) -> Trial:
        masking, path = adapted(dice), folder / "task"
        maskfile.save(path, masking)
        content, before = path.read_bytes(), state(masking.model)

        def attempt() -> bool:
            maskfile.save(path, masking, **given)
            return False

        return Trial(attempt, lambda: path.read_bytes() == content and same(masking.model, before))

    return situation


def laid(target: Callable[[], nn.Module], classes: int = 4) -> Situation:
    """A task laid on a network that it is not for."""

    def situation(dice: Random, folder: Path) -> Trial:
        task, model = maskfile.save(folder / "task", adapted(dice, classes)), target()
        before = state(model)

        def attempt() -> bool:
            task.apply(model)
            return False

        return Trial(attempt, lambda: same(model, before))

    return situation


def followed(change: Callable[[nn.Module], Any], kind: torch.dtype = torch.float32) -> Situation:
    """A bank over a model that changes between two switches."""

    def situation(dice: Random, folder: Path) -> Trial:
        told, bank = {}, Bank(network())
        for name in "ab":
            masking = adapted(dice)
            told[name] = answers(masking.model)
            bank.add(name, maskfile.save(folder / name, masking))
        if dice.random() < 0.7:
            bank.use(dice.choice("ab"))
        change(bank.model)
        wanted = dice.choice("ab")

        def attempt() -> bool:
            right = close(answers(bank.use(wanted)), told[wanted], kind)
            return right and close(answers(bank.release()), answers(network().to(kind)), kind)

        return Trial(attempt, lambda: close(answers(bank.release()), answers(network())))

    return situation


def wrapped(wrap: Callable[[nn.Module], nn.Module], when: str) -> Situation:
    """A wrapper around a model: before it is masked, before it is saved, or before a task is laid on it."""

    def situation(dice: Random, folder: Path) -> Trial:
        if when == "mask":
            model = wrap(network())
            before = state(model)
            return Trial(lambda: mask(model) is None, lambda: same(model, before))
        masking = adapted(dice)
        told = answers(masking.model)
        maskfile.save(folder / "task", wrap(masking.model) if when == "save" else masking)
        fresh = network()
        target = fresh if when == "save" else wrap(fresh)
        before = state(target)

        def attempt() -> bool:
            maskfile.load(folder / "task").apply(target)
            return close(answers(fresh), told)

        return Trial(attempt, lambda: same(target, before))

    return situation


def prefixed(dice: Random, folder: Path) -> Trial:
    """Weights under names that begin as of one wrapper or of several."""
    before, fresh = "".join(dice.sample(PREFIXES, dice.randint(1, 3))), network(1)
    save_file({before + name: value for name, value in network().state_dict().items()}, folder / "weights")

    def attempt() -> bool:
        weights.load(fresh, folder / "weights")
        return same(fresh, network().state_dict())

    return Trial(attempt, lambda: same(fresh, network(1).state_dict()))


SAVED: dict[str, Situation] = {
    "as it is": saved(lambda m: None),
    "another optimizer": saved(lambda m: nudged(m.model, "0.weight")),
    "frozen bias trained": saved(lambda m: nudged(m.model, "0.bias")),
    "average of models": saved(averaged),
    "baked": saved(lambda m: m.bake()),
    "unbaked": saved(lambda m: m.unbake()),
    "cast to bfloat16": saved(lambda m: m.model.bfloat16(), kind=torch.bfloat16),
    "laid out anew": saved(lambda m: m.model.to(memory_format=torch.channels_last)),
    "weights loaded after masking": saved(lambda m: m.model.load_state_dict(network(1).state_dict()) and None, base=1),
    "layer replaced": saved(lambda m: m.model.__setitem__(5, nn.Linear(6, 4))),
}
WRITTEN: dict[str, Situation] = {
    "score not a number": written(score={"top1": float("nan")}),
    "head of another kind": written(head=nn.Sequential(nn.Linear(6, 2))),
    "weight-normed head": written(head=nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))),
    "classes miscounted": written(head=nn.Linear(6, 2), classes=["a"]),
    "provenance no JSON": written(provenance={"seed": {1}}),
    "another backbone": laid(lambda: network(1)),
    "other classes": laid(lambda: network(classes=7), classes=3),
    "no classifier": laid(lambda: network()[:5], classes=3),
}
FOLLOWED: dict[str, Situation] = {
    "double": followed(lambda m: m.double(), torch.float64),
    "bfloat16": followed(lambda m: m.bfloat16(), torch.bfloat16),
    "laid out anew": followed(lambda m: m.to(memory_format=torch.channels_last)),
    "assigned": followed(lambda m: m.load_state_dict(state(m), assign=True)),
    "loaded": followed(lambda m: m.load_state_dict(network(1).state_dict())),
    "edited": followed(lambda m: nudged(m, "0.weight")),
    "in train mode": followed(lambda m: m.train()),
}
SHELLS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": torch.compile, "DataParallel": nn.DataParallel, "a shell": lambda m: nn.Sequential(nn.DataParallel(m)),
}  # fmt: skip
WRAPPED: dict[str, Situation] = {
    f"{name}, then {when}": wrapped(wrap, when) for name, wrap in SHELLS.items() for when in ("mask", "save", "apply")
} | {"prefixed weights": prefixed}
