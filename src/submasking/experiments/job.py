"""One job of a grid: pretrain a backbone, make a run, execute a notebook, or say that all is done.

The Snakefile calls it, `python -m submasking.experiments.job`, so that a job is one process that imports PyTorch once:
a notebook's cells run in it too, instead of in a kernel of their own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from submasking.experiments import grid, notebooks, sole
from submasking.experiments.run import Run
from submasking.files import atomic
from submasking.records import surroundings
from submasking.records.places import results_folder


def backbone(profile: str, model: str, seed: int) -> None:
    """Pretrain the backbone that a profile's runs of a seed take."""
    from submasking.worlds import backbones

    backbones.load(model, profile, seed=seed)


def run(task: Run, seeds: str) -> None:
    """Make the record of one run, which names the notebook that would have made it."""
    from submasking.experiments import runs

    name, given = grid.notebooks(task.profile, seeds)[grid.makers(task.profile, seeds)[task]]
    parameters = notebooks.check(notebooks.known_parameters(name), given)
    runs.run(task, notebook={"name": name, "parameters": parameters}, progress=False)


def notebook(profile: str, stem: str, seeds: str) -> None:
    """Execute a notebook of the grid in this process."""
    from submasking.experiments import inprocess

    name, given = grid.notebooks(profile, seeds)[stem]
    inprocess.execute(name, given, results_folder(profile) / "notebooks" / f"{stem}.ipynb", {})


def finish(profile: str, seeds: str) -> None:
    """Write what lets the book show this grid: its seeds, notebooks and commit."""
    content = {
        "profile": profile,
        "seeds": seeds,
        "runs": len(grid.runs(profile, seeds)),
        "notebooks": sorted(grid.notebooks(profile, seeds)),
        "commit": surroundings.commit(),
    }
    atomic.write(results_folder(profile) / grid.GRID, json.dumps(content, indent=1) + "\n")


def read(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; what is wrong with them ends the program."""
    parser = argparse.ArgumentParser(prog="python -m submasking.experiments.job", description=__doc__)
    parser.add_argument("--profile", required=True, help="the grid's profile")
    parser.add_argument("--seeds", default="all", help="the grid's seeds, split by commas (default: the profile's)")
    parser.add_argument("--gpu", action="store_true", help="show it one GPU, which no other job of this machine has")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    one = kinds.add_parser("backbone", help="pretrain a network")
    one.add_argument("model")
    one.add_argument("seed", type=int)
    one = kinds.add_parser("run", help="make one record")
    for name, kind in {"model": str, "dataset": str, "method": str, "labels": float, "seed": int}.items():
        one.add_argument(name, type=kind)
    kinds.add_parser("notebook", help="execute a notebook").add_argument(
        "stem", help="such as label_sparsity-rn50-swav"
    )
    kinds.add_parser("finish", help="say that the grid is whole")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Do what is asked for, while no other grid starts in this folder."""
    given = read(words)
    sole.hold_job(results_folder(given.profile))
    if given.gpu:
        sole.hold_gpu()  # before anything brings CUDA
    if given.kind == "backbone":
        backbone(given.profile, given.model, given.seed)
    elif given.kind == "run":
        task = Run(given.profile, given.model, given.dataset, given.method, given.labels, given.seed)
        run(task, given.seeds)
    elif given.kind == "notebook":
        notebook(given.profile, given.stem, given.seeds)
    else:
        finish(given.profile, given.seeds)


if __name__ == "__main__":
    main()
