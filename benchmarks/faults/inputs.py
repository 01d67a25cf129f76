"""Folders, pictures, weights files and words that are not what they seem."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.faults.models import network, same
from benchmarks.faults.trial import Situation, Trial
from submasking.experiments import notebooks
from submasking.files import identity, weights
from submasking.worlds.pictures import rendered

# by EXIF orientation: how the pixels must lie in the file for the picture to stand upright
LYING = {1: lambda p: p, 3: lambda p: p[::-1, ::-1], 6: lambda p: np.rot90(p), 8: lambda p: np.rot90(p, -1)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"
TEXTS = ("2024.10", "007", "1e3", "1_000", "true", "True", "null", "None", "nan", "inf", "-0", "+7", "0x10", "3.", ".5")


def identified(change: Callable[[Path], Any], *, other: bool) -> Situation:
    """A folder of pictures before and after a change that makes it another data set, or does not."""

    def situation(dice: Random, folder: Path) -> Trial:
        images = folder / "images"
        for number in range(dice.randint(2, 5)):
            path = images / dice.choice(("train", "test")) / dice.choice("ab") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dice.randbytes(8))

        def attempt() -> bool:
            before = identity.of_folder(images, ("train", "test"), folder / "memory.json")
            moved = change(images)
            after = identity.of_folder(moved or images, ("train", "test"), folder / "memory.json")
            return (before != after) == other

        return Trial(attempt)

    return situation


def _first(images: Path) -> Path:
    return next(path for path in sorted(images.rglob("*")) if path.is_file())


def _rewritten(images: Path) -> None:
    """Other content of the same size and with the old time."""
    path = _first(images)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=times)


def pictured(store: Callable[[np.ndarray, Path, Random], np.ndarray]) -> Situation:
    """A picture stored in some way, against what a person sees; `store` returns that, in RGB."""

    def situation(dice: Random, folder: Path) -> Trial:
        pixels = np.random.default_rng(dice.randrange(2**32)).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        wanted = store(pixels, folder / "picture", dice)
        return Trial(lambda: np.array_equal(np.asarray(rendered(folder / "picture")), wanted))

    return situation


def _turned(pixels: np.ndarray, path: Path, dice: Random) -> np.ndarray:
    exif = Image.Exif()
    exif[274] = dice.choice(sorted(LYING))
    Image.fromarray(np.ascontiguousarray(LYING[exif[274]](pixels))).save(path, "PNG", exif=exif)
    return pixels


def _deep(pixels: np.ndarray, path: Path, dice: Random) -> np.ndarray:
    grey = pixels[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(path, dice.choice(("PNG", "TIFF")))
    return np.stack([grey] * 3, 2)


def _floats(pixels: np.ndarray, path: Path, dice: Random) -> np.ndarray:
    scale = dice.choice((1, 1, 300))
    Image.fromarray(pixels[..., 0].astype(np.float32) / 255 * scale).save(path, "TIFF")
    return np.stack([pixels[..., 0]] * 3, 2) if scale == 1 else pixels[:0]


def _clear(pixels: np.ndarray, path: Path, dice: Random) -> np.ndarray:
    alpha = (pixels[..., 1] > 127)[..., None]
    Image.fromarray(np.concatenate([pixels, alpha * np.uint8(255)], 2)).save(path, dice.choice(("PNG", "TIFF")))
    return np.where(alpha, pixels, np.uint8(255))


def _damaged(pixels: np.ndarray, path: Path, dice: Random) -> np.ndarray:
    Image.fromarray(np.repeat(pixels, 20, 0)).save(path, "PNG")
    content = path.read_bytes()
    path.write_bytes(dice.choice((content[: len(content) // 2], POINTER, b"", b"<html>no</html>")))
    return pixels[:0]  # nothing that could be right


def weighed(change: Callable[[dict[str, Tensor], Random], Any], *, good: bool) -> Situation:
    """A weights file after a change, read into a network."""

    def situation(dice: Random, folder: Path) -> Trial:
        path, fresh, tensors = folder / "model.safetensors", network(1), dict(network().state_dict())
        content = change(tensors, dice)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content == "pickle":
            torch.save({"state_dict": tensors, "epoch": 3}, path)
        else:
            save_file(tensors, path)

        def attempt() -> bool:
            weights.load(fresh, path)
            wanted = network().state_dict()
            found = fresh.state_dict()
            return good and all(torch.allclose(found[n].float(), wanted[n].float(), atol=1e-2) for n in wanted)

        return Trial(attempt, lambda: same(fresh, network(1).state_dict()))

    return situation


def _set(name: str, how: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor], Random], None]:
    def change(tensors: dict[str, Tensor], dice: Random) -> None:
        tensors[name] = how(tensors[name])

    return change


def _without(tensors: dict[str, Tensor], dice: Random) -> None:
    del tensors[dice.choice(["0.weight", "1.running_var", "5.bias"])]


def typed(route: str) -> Situation:
    """A text that looks like a number, given as a parameter that is text."""

    def situation(dice: Random, folder: Path) -> Trial:
        from papermill.cli import _resolve_type

        text = dice.choice((*TEXTS, str(dice.randrange(3000)), f"{dice.randrange(3000)}.{dice.randrange(100):02d}"))
        known = {"dataset": ("str", "all")}

        def attempt() -> bool:
            given = {"dataset": text if route == "run" else _resolve_type(text)}
            return notebooks.check(known, given)["dataset"] == text

        return Trial(attempt)

    return situation


IDENTITY: dict[str, Situation] = {
    "unchanged": identified(lambda f: None, other=False),
    "copied elsewhere": identified(lambda f: shutil.copytree(f, f.parent / "far"), other=False),
    "hidden file added": identified(lambda f: (_first(f).parent / ".x").write_bytes(b"") and None, other=False),
    "rewritten under the old time": identified(_rewritten, other=True),
    "renamed": identified(lambda f: _first(f).rename(_first(f).with_name("z.png")) and None, other=True),
    "one more": identified(lambda f: (_first(f).parent / "z.png").write_bytes(b"1") and None, other=True),
    "one less": identified(lambda f: _first(f).unlink(), other=True),
}
PICTURES: dict[str, Situation] = {
    "EXIF orientation": pictured(_turned),
    "16 bits": pictured(_deep),
    "floats": pictured(_floats),
    "transparency": pictured(_clear),
    "cut off or no picture": pictured(_damaged),
}
WEIGHTS: dict[str, Situation] = {
    "torch.save under another name": weighed(lambda t, d: "pickle", good=True),
    "float16": weighed(lambda t, d: t.update({n: v.half() for n, v in t.items() if v.is_floating_point()}), good=True),
    "a classifier more": weighed(lambda t, d: t.update({"head.weight": torch.ones(2, 2)}), good=True),
    "int8": weighed(_set("0.weight", lambda v: (v * 100).to(torch.int8)), good=False),
    "not a number": weighed(_set("0.weight", lambda v: v * float("nan")), good=False),
    "another shape": weighed(_set("0.weight", lambda v: v[:3].contiguous()), good=False),
    "one missing": weighed(_without, good=False),
    "pointer, page or nothing": weighed(lambda t, d: d.choice((POINTER, b"<html></html>", b"", bytes(64))), good=False),
}
WORDS: dict[str, Situation] = {
    "papermill -p": typed("-p"),
    "submasking run -p": typed("run"),
}
