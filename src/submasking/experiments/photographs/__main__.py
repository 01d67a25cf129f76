"""Study folders of photographs: `python -m submasking.experiments.photographs FOLDER ...`.

What is done is read, so the same command goes on after an interruption. The records go to results/photographs, with
--keep to book/records/photographs, which the book shows. To a record that is there already is added what it lacks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from submasking.experiments import notebooks
from submasking.experiments.photographs.keep import keep, record
from submasking.experiments.photographs.trials import Settings
from submasking.files.remedies import line
from submasking.records.photographs import GROUPS, place
from submasking.records.photographs import study as read
from submasking.records.places import committed_folder, results_folder
from submasking.report.photographs import sentence
from submasking.report.photographs import ways as ways_of

BESIDE = {"head_lr": "peak learning rate of the head", "batch_size": "images per step"}  # what the notebook leaves
JUDGED = ("FS late", "FS-squared late")  # of which the sentence at the end speaks


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; 1 where a folder, the network, a setting or the disk is not what it must be, 130 interrupted."""
    given = vars(_parser().parse_args(words))
    folders, ways, shares, curves = (given.pop(name) for name in ("folders", "ways", "shares", "curves"))
    target = (committed_folder if given.pop("keep") else results_folder)("photographs")
    quiet = given.pop("quiet")
    try:
        for folder in folders:
            settings = Settings(data=str(folder), **given)
            known = place(target, settings.model, folder.resolve().name)
            before = read(known) if known.exists() else None
            found = record(settings, ways, tuple(shares), curves=curves, before=before, progress=not quiet)
            print(keep(target, found), flush=True)
            if set(JUDGED) <= set(ways_of(found)):
                print(sentence(found), flush=True)
    except (ValueError, OSError) as error:
        print(f"photographs: {line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nphotographs: interrupted; the same command goes on after the last whole trial", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m submasking.experiments.photographs", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="train/<class>/* and test/<class>/*")
    # a setting is called, and is by default, what the notebook has it be
    usual = {name: default for name, (_, default) in notebooks.known_parameters("photographs").items()}
    what = notebooks.explained("photographs") | BESIDE
    for setting in fields(Settings):
        if setting.name == "data":
            continue
        default = usual.get(setting.name, setting.default)
        name, said = f"--{setting.name.replace('_', '-')}", what[setting.name] + (" (%(default)s)" if default else "")
        parser.add_argument(name, type=type(default), default=default, help=said)
    parser.add_argument("--ways", default="main", help=f"{', '.join(GROUPS)}, or names split by commas (%(default)s)")
    parser.add_argument("--shares", type=float, nargs="*", default=[], metavar="PERCENT",
                        help="of the labels, to be tried beside all")  # fmt: skip
    parser.add_argument("--curves", action="store_true", help="masks and fine-tuning at the same rates")
    parser.add_argument("--keep", action="store_true", help="into the book's records")
    parser.add_argument("--quiet", action="store_true", help="a line for each trial only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
