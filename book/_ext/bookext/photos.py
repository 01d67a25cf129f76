"""{photos}, {photo-table}, {photo-distance}, {photo-figure}: the studies of photographs, a record for each.

The role's words, split by semicolons; a network may be * for all:

    accuracy; mobilenetv2_035; cifar10; FS late   mean over the seeds, in percent
    ahead; mobilenetv2_035; FS late; FFT late     difference over the test images of all folders, with interval
    few; 10; dtd10; mobilenetv2_035; SSM late; LP   the same with 10 % of the labels, on one folder
    score; *; FS late; FFT late                   wins, ties and losses over the studies ("1 / 3 / 8")
    verdict; FS late; FFT late                    for each network: ahead, behind, or not told apart
    bits; mobilenetv2_035; FS late                bits of a masked weight, mean over the folders
    off; mobilenetv2_035; FS late                 percent of the masked weights that are off, likewise
    rate; mobilenetv2_035; FS late                lowest and highest learning rate that was chosen
    ends; mobilenetv2_035; FS late                of how many studies the chosen rate is the last that was tried
    alike; FS-squared late; FFT late              agreement of masks and turned signs, lowest and highest
    signs; 0.1                                    the same at one rate for both
    negative; FS late                             percent of the weights that go which are negative
    copy; mobilenetv2_035                         KiB of a copy of the late layers' weights
    setting; mobilenetv2_035; epochs              a setting of its studies, or a count of images: test, train
    studies; networks; trainings                  how many there are
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.util.docutils import SphinxDirective

from bookext import addresses, shelf
from bookext.expressions import Number
from bookext.grids import MADE, write
from bookext.plots import Drawing, RecordFigure
from bookext.roles import NumberRole, link, number_node, up, web
from bookext.settings import plain
from submasking.records import photographs as records
from submasking.records import places
from submasking.report import figures, photo_figures, photo_numbers, photographs, verdicts
from submasking.report.photographs import Study
from submasking.report.tables import MISSING

FOLDER = places.committed_folder("photographs")
CODE = [Path(photographs.__file__), Path(photo_figures.__file__), Path(figures.__file__), Path(records.__file__)]
Words = Sequence[str]


def studies(network: str = "*") -> list[Study]:
    """All studies that the project keeps, or those of one network.

    Raises:
        ValueError: there is none.
    """
    kept = [study for study in records.read(FOLDER) if network in ("*", study["model"])]
    if not kept:
        raise ValueError(f"there is no study of {network} in book/records/photographs")
    return kept


def files() -> list[Path]:
    """The records."""
    return sorted(FOLDER.glob("*/*.json"))


def evaluate(text: str, books: Any = None) -> Number:
    """The number that the words name.

    Raises:
        ValueError: an unknown word, or no study that has it.
    """
    kind, *words = [word.strip() for word in text.split(";")]
    if kind not in KINDS:
        raise ValueError(f"a number of photographs must be one of {', '.join(KINDS)}; got {kind!r}")
    count, make = KINDS[kind]
    if len(words) != count:
        raise ValueError(f"{kind!r} must have {count} words after it, split by semicolons; got {text!r}")
    shown, hover = make(words)
    return Number(shown.replace("-", "−") if kind in ("ahead", "few") else shown, hover, behind(words))


def behind(words: Words) -> tuple[Path, ...]:
    """The records that a number may be from: those of the networks and folders among its words, or all."""
    every = files()
    for told in (lambda file: file.parent.name, lambda file: file.stem):
        if named := [file for file in every if told(file) in words]:
            every = named
    return tuple(every)


def _with(ways: Words, network: str = "*", share: float = 100.0) -> list[Study]:
    """Studies that have all of these ways, with a share of the labels in percent."""
    if unknown := set(ways) - set(records.WAYS):
        raise ValueError(f"a way must be one of {', '.join(records.WAYS)}; got {min(unknown)!r}")
    found = [study for study in studies(network) if set(ways) <= set(photographs.ways(study, share))]
    if not found:
        raise ValueError(f"no study of {network} has {' and '.join(ways)} with {share:g} % of the labels")
    return found


def _accuracy(words: Words) -> tuple[str, str]:
    network, name, way = words
    found = [study for study in _with([way], network) if study["name"] == name]
    if not found:
        raise ValueError(f"there is no study of {network} on {name} with {way}")
    number = _accuracy_of(found[0], way, photographs.table(found[0]).loc[way])
    return number.text, number.hover


def _ahead(words: Words, share: float = 100.0, folder: str = "") -> tuple[str, str]:
    network, first, second = words
    found = [study for study in _with([first, second], network, share) if folder in ("", study["name"])]
    if not found:
        raise ValueError(f"no study of {network} on {folder} has {first} and {second} with {share:g} % of the labels")
    value, low, high = photographs.percent(photographs.together(found, first, second, share))
    seen = "" if share == 100 else f" with {share:g} % of the labels"
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]", f"{first} minus {second}{seen}, {_where(found)}"


def _few(words: Words) -> tuple[str, str]:
    return _ahead(words[2:], float(words[0]), words[1])


def _compared(first: str, second: str, network: str = "*") -> pd.DataFrame:
    """What the family of a pair says of it."""
    for name, pairs in photographs.FAMILIES.items():
        if (first, second) in pairs:
            found = photographs.compare(studies(), name)
            chosen = found[(found["first"] == first) & (found["second"] == second)]
            return chosen if network == "*" else chosen[chosen.model == network]
    raise ValueError(f"{first} against {second} must be a pair of one of the families; add it to the report")


def _score(words: Words) -> tuple[str, str]:
    network, first, second = words
    found = _compared(first, second, network)
    names = [f"{name} ({model})" for name, model in zip(found["name"], found["model"], strict=True)]
    told = verdicts.counted(found, names)
    sets = {"wins": told.wins, "ties": told.ties, "losses": told.losses}
    sets |= {"not tested": told.untested} if told.untested else {}
    hover = "; ".join(f"{said}: {', '.join(chosen) or 'none'}" for said, chosen in sets.items())
    return str(told), f"{first} against {second}, {hover}"


def _verdict(words: Words) -> tuple[str, str]:
    first, second = words
    parts = []
    for network in dict.fromkeys(study["model"] for study in _with(words)):
        value, low, high = photographs.percent(photographs.together(_with(words, network), first, second))
        place = "ahead" if low > 0 else "behind" if high < 0 else "not told apart"
        if np.isnan(low):
            place = "not tested: one run"
        gain = f"{value:+.1f}" + ("" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]")
        parts.append(f"{photo_figures.SHORT.get(network, network)}: {place}, {gain.replace('-', '−')}")
    return "; ".join(parts), f"{first} minus {second} in points, {_where(_with(words))}"


def _column(field: str, form: str) -> Callable[[Words], tuple[str, str]]:
    def number(words: Words) -> tuple[str, str]:
        network, way = words
        found = _with([way], network)
        values = [photographs.table(study).loc[way, field] for study in found]
        return form.format(np.mean(values)), f"{way}, {_where(found)}"

    return number


def _rate(words: Words) -> tuple[str, str]:
    network, way = words
    found = _with([way], network)
    return _range([photographs.table(study).loc[way, "rate"] for study in found], "{:g}"), f"{way}, {_where(found)}"


def _ends(words: Words) -> tuple[str, str]:
    network, way = words
    found = _with([way], network)
    return f"{sum(photographs.ended(study, way) for study in found)} of {len(found)}", f"{way}, {_where(found)}"


def _alike(words: Words) -> tuple[str, str]:
    values = [
        pair["agreement"]
        for study in studies()
        for pair in study["alike"]
        if sorted(pair["ways"]) == sorted(words) and (len(set(words)) == 2) == (len(set(pair["seeds"])) == 1)
    ]
    if not values:
        raise ValueError(f"no study has masks of {' and '.join(words)}")
    return _range(values, "{:.2f}"), f"0 is chance, 1 one within the other; {len(values)} pairs of masks"


def _signs(words: Words) -> tuple[str, str]:
    rate = float(words[0])
    values = [told["agreement"] for study in studies() if study["curves"] for at, told in study["curves"]["signs"]
              if at == rate]  # fmt: skip
    if not values:
        raise ValueError(f"no study has both at the rate {rate}")
    return _range(values, "{:.2f}"), f"rate {rate:g}; 0 is chance, 1 one within the other; {len(values)} pairs"


def _negative(words: Words) -> tuple[str, str]:
    found = _with(words)
    values = [
        100 * run["why"]["negative"]
        for study in found
        for run in records.runs(study["found"], words[0])
        if run["sparsity"]
    ]
    return _range(values, "{:.0f}"), f"{words[0]}, {_where(found)}"


def _copy(words: Words) -> tuple[str, str]:
    (network,) = words
    masked = {run["masked"] for study in studies(network) for run in records.runs(study["found"], "FS late")}
    return _range([4 * count / 1024 for count in masked], "{:,.0f} KiB"), "4 bytes for each weight of the late layers"


def _setting(words: Words) -> tuple[str, str]:
    network, field = words
    found = {(study["settings"] | study["data"]).get(field) for study in studies(network)}
    if None in found:
        raise ValueError(f"{field!r} is no setting of a study")
    return _range(sorted(found), "{:,}" if isinstance(next(iter(found)), int) else "{}"), f"setting {field}"


def _total(field: str) -> Callable[[Words], tuple[str, str]]:
    def number(words: Words) -> tuple[str, str]:
        found = studies()
        networks = {study["model"] for study in found}
        trained = sum(len(study["found"]) for study in found)
        counts = {"studies": len(found), "networks": len(networks), "trainings": trained}
        return f"{counts[field]:,}", f"records of {', '.join(sorted(networks))}"

    return number


def _range(values: Sequence[Any], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _where(found: Sequence[Study]) -> str:
    seeds = {entry["seed"] for study in found for entry in study["found"]}
    return f"n = {len(seeds)} seeds, " + ", ".join(f"{study['name']} ({study['model']})" for study in found)


def _accuracy_of(study: Study, way: str, row: Any) -> Number:
    """Accuracy as a row of `photographs.table` has it."""
    n = len(records.runs(study["found"], way))
    return Number(
        f"{row.accuracy:.1f}",
        f"{way}, {study['name']}, {study['model']}: {row.accuracy:.2f} % [{row.low:.2f}, {row.high:.2f}], n = {n},"
        f" rate {row.rate:g}",
    )


KINDS: dict[str, tuple[int, Callable[[Words], tuple[str, str]]]] = {
    "accuracy": (3, _accuracy),
    "ahead": (3, _ahead),
    "few": (5, _few),
    "score": (3, _score),
    "verdict": (2, _verdict),
    "bits": (2, _column("bits", "{:.2f}")),
    "off": (2, _column("off", "{:.1f} %")),
    "task": (2, _column("task", "{:,.0f} KiB")),
    "copy": (1, _copy),
    "seconds": (2, _column("seconds", "{:.0f} s")),
    "rate": (2, _rate),
    "ends": (2, _ends),
    "alike": (2, _alike),
    "signs": (1, _signs),
    "negative": (1, _negative),
    "setting": (2, _setting),
    "studies": (0, _total("studies")),
    "networks": (0, _total("networks")),
    "trainings": (0, _total("trainings")),
}


class PhotoTable(SphinxDirective):
    """Accuracy by way (rows) and folder (columns) for one network, with what its masks cost."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        network = self.arguments[0]
        try:
            found = studies(network)
        except ValueError as error:
            raise self.error(str(error)) from error
        tables = {study["name"]: photographs.table(study) for study in found}
        shown = [way for way in records.WAYS if any(way in table.index for table in tables.values())]
        shelf.note(self.env, [*files(), *CODE])
        csv = pd.concat(tables, names=["folder"])
        write(self.env, name := f"photographs-{network}.csv", csv.to_csv(float_format="%.4g"))
        heads = ["way", *tables, "off, %", "bits"]
        rows = [_row(way, found, tables) for way in shown]
        behind = nodes.paragraph("", "All numbers, with intervals, rates, bytes and seconds: ", classes=["behind"])
        behind += link("CSV", f"{up(self.env)}{MADE}/{name}")
        return [plain([heads, *rows]), web(behind)]


class PhotoDistance(SphinxDirective):
    """How far each folder is from what the network with all powers knows, beside the power that did best."""

    def run(self) -> list[nodes.Node]:
        shelf.note(self.env, [*files(), *CODE])
        found = photographs.distance(studies(DETAILED)).sort_values("moved")
        heads = ("set", "means move by", "probe, %", "fine-tuning gains", "best power", "ahead of the square")
        rows = []
        for (_, name), row in found.iterrows():
            cells = [name, f"{row.moved:.2f}", f"{row.probe:.1f}", f"{row.gain:+.1f}", MISSING, MISSING]
            if not np.isnan(row.best):
                ahead = MISSING if row.best == 2 else f"{row.ahead:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"
                cells[-2:] = [f"{row.best:g}", ahead]
            rows.append([cell.replace("-", "−") for cell in cells])
        return [plain([heads, *rows])]


def _row(way: str, found: Sequence[Study], tables: dict[str, pd.DataFrame]) -> list[str | nodes.Node]:
    cells: list[str | nodes.Node] = [number_node(Number(way, records.WAYS[way].said), "record")]
    there = [table.loc[way] for table in tables.values() if way in table.index]
    for study in found:
        table = tables[study["name"]]
        if way not in table.index:
            cells.append(MISSING)
            continue
        address = addresses.document("photographs", study["model"], study["name"]).address
        number = number_node(_accuracy_of(study, way, table.loc[way]), "record", address)
        best = table.accuracy[table.index.isin(photographs.JUDGED)].max() == table.accuracy[way]
        cells.append(nodes.strong("", "", number) if best else number)
    off, bits = (np.array([row[field] for row in there]) for field in ("off", "bits"))
    for values, form in ((off, ".1f"), (bits, ".2f")):
        cells.append(MISSING if np.isnan(values).all() else format(np.nanmean(values), form))
    return cells


DRAWN: dict[str, Callable[..., Figure]] = {
    "late": lambda: photo_figures.ahead(
        studies(), records.RIVAL, (records.PROBE, "FS late", "FS-squared late", "FS-squared-held late")
    ),
    "all": lambda: photo_figures.ahead(studies(), "FFT all", ("FS all", "FS-squared all")),
    "powers": lambda: photo_figures.powers(studies()),
    "rates": lambda: photo_figures.rates(studies()),
    "gone": lambda: photo_figures.gone(studies(DETAILED)[0]),
    "sizes": lambda: photo_figures.sizes(
        sorted(studies(DETAILED), key=lambda study: -len(photographs.ways(study)))[:2]
    ),
    "labels": lambda: photo_figures.labels(studies(DETAILED)),
}
EVERY: Callable[[], dict[str, pd.DataFrame]] = lambda: {"photographs": photo_numbers.every(studies())}  # noqa: E731
# what a figure shows, where that is not the table of every way
OFFERED: dict[str, Callable[[], dict[str, pd.DataFrame]]] = {
    "rates": lambda: {"photographs-rates": photo_numbers.rates(studies())},
    "gone": lambda: {
        "photographs-layers": photo_numbers.layers(studies(DETAILED)[0]),
        "photographs-tenths": photo_numbers.tenths(studies(DETAILED)[0]),
    },
}
DETAILED = "mobilenetv2_035"  # the network with which everything was tried


class PhotoFigure(RecordFigure):
    """A figure of the studies by its name; the content is the caption."""

    def run(self) -> list[nodes.Node]:
        name = self._asked("figure", DRAWN)
        shelf.note(self.env, [*files(), *CODE, Path(figures.STYLE)])
        drawing = Drawing(lambda rows: DRAWN[name](), numbers=lambda rows: OFFERED.get(name, EVERY)())
        named = f"photos-{name}"
        self._draw(named, drawing, None)
        return [self._figure(named, drawing, None), web(self._behind(named, drawing))]

    def _sample(self, drawing: Drawing, rows: Any) -> str:
        if self.arguments[0] in OFFERED:  # of one seed, as its caption says
            return ""
        counts = {
            len({run["seed"] for run in study["found"] if run["way"] == way})
            for study in studies()
            for way in photographs.ways(study)
        }
        return f" n = {' to '.join(str(count) for count in sorted({min(counts), max(counts)}))} seeds."


def setup(app: Any) -> None:
    app.add_role("photos", NumberRole("photos", evaluate))
    app.add_directive("photo-table", PhotoTable)
    app.add_directive("photo-distance", PhotoDistance)
    app.add_directive("photo-figure", PhotoFigure)
