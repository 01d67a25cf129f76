"""`submasking inspect`: what is in a mask file."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from submasking.commands.options import add_json, place, shown
from submasking.tasks import stored
from submasking.tasks.shares import entropy_bits
from submasking.tasks.stored import Stored


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Show task, backbone, sizes and sparsity per layer of a mask file; the backbone is not needed."
    )
    command.add_argument("file", type=place)
    add_json(command)


def described(task: Stored) -> dict[str, Any]:
    """Everything about a mask file that JSON can hold."""
    counts = {name: math.prod(shape) for name, shape in task.shapes.items()}
    weights, off = sum(counts.values()), sum(task.off.values())
    sizes = task.sizes()
    return {
        "backbone": task.backbone,
        "classes": list(task.classes),
        "score": task.score,
        "preprocessing": task.preprocessing,
        "provenance": task.provenance,
        "rescale": task.rescale,
        "init": task.init,
        "head": task.head_kind,
        "library": task.library,
        "checksum": task.checksum,
        "sibling": task.sibling,
        "weights": weights,
        "sparsity": off / max(weights, 1),
        "bits_per_weight": 8 * sizes["coded_bytes"] / max(weights, 1),
        "sizes": sizes
        | {
            "raw_bytes": -(-weights // 8),
            "entropy_bytes": math.ceil(entropy_bits(off, weights) / 8),
            "tensor_entropy_bytes": math.ceil(sum(entropy_bits(task.off[name], counts[name]) for name in counts) / 8),
            "weights_bytes": 4 * weights,
        },
        "layers": {name: task.off[name] / max(counts[name], 1) for name in counts},
    }


def run(given: argparse.Namespace) -> int:
    """Print it."""
    task = stored.read(given.file)
    found = described(task)
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    backbone = task.backbone
    print(shown(f"{given.file}: a task on {backbone['architecture'] or 'an unnamed architecture'}"))
    print(shown(f"  backbone     {backbone['weights'] or 'weights without a name'}, {backbone['fingerprint'][:12]}"))
    more = ", ..." if len(task.classes) > 6 else ""
    print(shown(f"  classes      {len(task.classes)}: {', '.join(task.classes[:6])}{more}"))
    for name, value in task.score.items():
        print(shown(f"  {name:<12} {value:.4f}"))
    for name, value in task.provenance.items():
        print(shown(f"  {name:<12} {value}"))
    print(shown(f"  start        {task.init or 'not known'}"))
    off = 100 * found["sparsity"]
    print(f"  switched off {off:.{2 if off >= 0.005 or not off else 7}f} % of {found['weights']:,} weights")
    sizes = found["sizes"]
    print(
        f"  sizes        mask {sizes['coded_bytes']:,} bytes ({found['bits_per_weight']:.4f} bits per weight),"
        f" norm buffers {sizes['buffers_bytes']:,} (of {sizes['buffers_raw_bytes']:,}), head"
        f" {sizes['head_bytes']:,} (of {sizes['head_raw_bytes']:,}), file {sizes['file_bytes']:,}"
    )
    print(
        f"  for scale    one bit per weight {sizes['raw_bytes']:,}, entropy {sizes['entropy_bytes']:,}, entropy per"
        f" tensor {sizes['tensor_entropy_bytes']:,}, the weights themselves {sizes['weights_bytes']:,}"
    )
    width = max(map(len, found["layers"]), default=0)
    for name, sparsity in found["layers"].items():
        print(shown(f"    {name:<{width}}  {100 * sparsity:6.2f} % off"))
    return 0
