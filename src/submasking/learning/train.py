"""The only training loop: supervised or self-supervised, masks or weights, with checkpoint and resume."""

from __future__ import annotations

import io
import math
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from submasking.files import atomic

Schedule = Callable[[float], float]


class Loader(Protocol):
    """A sized iterable of batches that may be walked once per epoch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass
class History:
    """What training saw: mean loss of each epoch, seconds in all, values noted by the caller."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0


def cosine(warmup: float = 0.0) -> Schedule:
    """Learning-rate multiplier: linear from 0 to 1 over the first `warmup` share, then cosine to 0."""
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup must be a share of training in [0, 1), got {warmup}; 0 does without")

    def multiplier(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))

    return multiplier


def by_epoch(schedule: Schedule, epochs: int) -> Schedule:
    """A schedule that changes at the start of each epoch and stays in between."""
    return lambda progress: schedule(math.floor(progress * epochs) / epochs)


def fit(
    step_loss: Callable[[Any], Tensor],
    loader: Loader,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    epochs: int,
    schedule: Schedule,
    state: Mapping[str, Any] | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
    restart: bool = False,
    identity: Mapping[str, Any] | None = None,
    on_epoch: Callable[[int], None] | None = None,
    label: str = "",
    progress: bool = True,
) -> History:
    """Minimise `step_loss` over `epochs` passes of `loader`.

    Args:
        step_loss: batch -> scalar loss.
        loader: sized iterable of batches, walked once per epoch.
        optimizers: all stepped once per batch; the lr that each group has now is its peak.
        epochs: passes, at least 1.
        schedule: progress in [0, 1) -> multiplier of each peak lr, applied before every step.
        state: objects with state_dict / load_state_dict that a checkpoint holds (model, head, loader, ...).
        checkpoint: file resumed from when it exists. It stays at the end: whoever keeps what was trained removes it
            after, so that no fault on the way there costs the training.
        checkpoint_seconds: it is written after each epoch that ends this long after the last writing.
        restart: begin anew where there is a checkpoint; it stays until the first of this training takes its place.
        identity: all that makes this training another than others; a checkpoint of another is refused.
        on_epoch: called after each epoch with its index.
        label: what the progress bar says.
        progress: show a bar in a terminal, else print a line per epoch.

    Raises:
        ValueError: epochs < 1; the checkpoint is damaged, or of another training.
        FloatingPointError: the loss is not finite; the message names epoch and step.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}; 1 passes over the images once")
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    everything = dict(state or {}) | {f"optimizer{i}": optimizer for i, optimizer in enumerate(optimizers)}
    history, first, identity = History(), 0, dict(identity or {})
    if checkpoint is not None and checkpoint.exists() and not restart:
        first = _resume(checkpoint, everything, history, identity)
    saved = time.perf_counter()
    started = saved - history.seconds
    terminal = sys.stderr.isatty()
    bar = tqdm(total=epochs * len(loader), initial=first * len(loader), desc=label, disable=not (progress and terminal))
    for epoch in range(first, epochs):
        total = 0.0
        for step, batch in enumerate(loader):
            share = (epoch + (step + 0.5) / len(loader)) / epochs
            _set_rates(optimizers, peaks, schedule(share))
            loss = step_loss(batch)
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{label}: loss is {value} in epoch {epoch}, step {step}; lower the learning rate"
                )
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            total += value
            bar.update()
        history.loss.append(total / len(loader))
        history.seconds = time.perf_counter() - started
        bar.set_postfix(loss=f"{history.loss[-1]:.3f}")
        if progress and not terminal:  # a notebook or a log: a line each epoch instead of a bar
            print(f"{label}: epoch {epoch + 1} of {epochs}, loss {history.loss[-1]:.3f}", flush=True)
        if on_epoch is not None:
            on_epoch(epoch)
        if checkpoint is not None and epoch + 1 < epochs and time.perf_counter() - saved >= checkpoint_seconds:
            _set_rates(optimizers, peaks, 1.0)
            _save(checkpoint, everything, history, epoch + 1, identity)
            saved = time.perf_counter()
    bar.close()
    _set_rates(optimizers, peaks, 1.0)
    return history


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], peaks: list[list[float]], multiplier: float) -> None:
    for optimizer, rates in zip(optimizers, peaks, strict=True):
        for group, peak in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = peak * multiplier


def _save(path: Path, state: Mapping[str, Any], history: History, epoch: int, identity: dict[str, Any]) -> None:
    content = {name: thing.state_dict() for name, thing in state.items()}
    content |= {
        "loss": history.loss,
        "seconds": history.seconds,
        "epoch": epoch,
        "identity": identity,
        "rng": torch.get_rng_state(),
    }
    written = io.BytesIO()  # of a full disk torch.save speaks in riddles
    torch.save(content, written)
    with atomic.replacing(path) as part:
        part.write_bytes(written.getbuffer())


def _resume(path: Path, state: Mapping[str, Any], history: History, identity: dict[str, Any]) -> int:
    """Put everything back; returns the epoch to go on with."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads numbers without looking at their checksums
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"it must hold what was written; {damaged} is damaged; take another copy")
        content = torch.load(path, weights_only=True, map_location="cpu")  # it may go on elsewhere
        before = content["identity"]
        if different := _differences(before, identity):
            raise ValueError(f"it has another {', another '.join(different)}")
        for name, thing in state.items():
            thing.load_state_dict(content[name])
        torch.set_rng_state(content["rng"])
        history.loss, history.seconds = list(content["loss"]), float(content["seconds"])
        return int(content["epoch"])
    except Exception as error:  # torch and pickle raise nearly anything when they meet damage
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the checkpoint {path} must be a whole one of this very training ({said}); to go on with it, train with"
            " all that it was made with; to train from the start, move it away, or add --restart to `submasking mask`,"
            " which replaces it"
        ) from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, by name: of settings within settings each, and numbers with both."""
    found = []
    for name in sorted({**before, **now}):
        there, here = before.get(name), now.get(name)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            found += _differences(there, here)
        elif there != here:
            plain = all(isinstance(each, int | float | str) and len(str(each)) <= 20 for each in (there, here))
            found.append(f"{name} ({there} there, {here} here)" if plain else name)
    return found
