"""`submasking mask` on a folder of pictures and the saving of mask files, killed in processes of their own."""

import time
from pathlib import Path
from random import Random

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.interruptions.child import Child
from submasking import mask, maskfile
from submasking.commands.cli import main

MODEL, PICTURES, EPOCHS = "test_resnet", 24, 8
MOST = 25  # kills of one training, which must come to its end on a machine that has become slower too


def training(kills: int, place: Path, dice: Random) -> tuple[int, int, list[str]]:
    """`submasking mask`, killed at any moment and started again until it has come to its end, again and again.

    Returns:
        Kills; those of trainings whose mask file had other bits at last than an undisturbed one; what was wrong.
    """
    words, out, done, wrong, said = _command(place), place / "task.safetensors", 0, 0, []

    def start() -> Child:
        return Child(lambda: main([*words, "--out", str(out)]), place)

    began, first = time.monotonic(), start()
    if first.end():
        raise RuntimeError(f"an undisturbed training must end well, it said: {first.said()[-2000:]}")
    span, wanted = time.monotonic() - began, out.read_bytes()
    while done < kills:
        out.unlink(missing_ok=True)
        here, program = 0, start()
        while here < MOST and program.wait(dice.uniform(0, span)):
            program.kill()
            here, program = here + 1, start()
        if program.end() or out.read_bytes() != wanted or list(place.glob("*.checkpoint")):
            wrong += here
            said.append(f"submasking mask: {program.said()[-2000:]}")
        done += here
    return done, wrong, said


def _command(place: Path) -> list[str]:
    """Pictures of two colours and weights of a small network; the words that train a mask on them."""
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = random.integers(0, 120, (20, 24, 3), dtype=np.uint8)
        pixels[..., 2 * (number % 2)] += 120
        folder = place / "photos" / ("train" if number < 16 else "test") / ("red", "blue")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    torch.manual_seed(0)
    save_file(timm.create_model(MODEL, num_classes=0).state_dict(), place / "weights.safetensors")
    return [
        "mask", str(place / "photos"), "--model", f"timm:{MODEL}", "--weights", str(place / "weights.safetensors"),
        "--size", "32", "--epochs", str(EPOCHS), "--batch-size", "8", "--lr", "20", "--quiet",
    ]  # fmt: skip


def saving(kills: int, place: Path, dice: Random) -> tuple[int, int, list[str]]:
    """A program that saves two tasks in one file by turns, killed at any moment: one of them must be there, whole.

    Returns:
        Kills; those after which neither was; what was there.
    """
    torch.manual_seed(0)
    masking, path, contents = mask(timm.create_model(MODEL, num_classes=0)), place / "task.safetensors", []
    both = []
    for seed in range(2):
        random = torch.Generator().manual_seed(seed)
        both.append({name: torch.rand(theta.shape, generator=random) < 0.9 for name, theta in masking.frozen().items()})
        masking.load_masks(both[-1])
        maskfile.save(path, masking)
        contents.append(path.read_bytes())

    def work() -> None:
        while True:
            for masks in both:
                masking.load_masks(masks)
                maskfile.save(path, masking)

    said = []
    for _ in range(kills):
        program = Child(work, place)
        program.wait(dice.uniform(0, 0.3))
        program.kill()
        if path.read_bytes() not in contents:
            said.append(f"a mask file of {path.stat().st_size} bytes is neither of two")
    return kills, len(said), said
