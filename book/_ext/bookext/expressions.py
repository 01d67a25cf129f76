"""The language of the roles: a few words that name a number.

    rn18-timm dtd FS top1                      mean ± std (n) of one experiment; all labels unless @ says otherwise
    rn50-swav sun397 LP@10 top1                with 10 % of the labels
    rn18-timm * FS sparsity                    mean over the data sets
    rn18-timm * FS bits_coded                  bits per weight, kilobytes, multiples: see `submasking.report.storage`
    rn18-timm dtd FS top1 - rn18-timm dtd LP top1     difference in points (hundredths)
    better rn18-timm FS LP top1                on how many data sets FS is clearly better than LP ("5 of 8")
    score rn18-timm FS LP top1                 wins, ties and losses of FS against LP ("5 / 2 / 1")
                                               where one run each is all there is: "not tested: one run"
    better rn50-swav SSM+LP LP@10 top1         the same with the bars of Figure 1
    runs | minutes | seeds                     number of records, the time that they took, seeds of the grid
    more * * FS bits_file 1                    how many runs of a method exceed a bound ("8 of 27"); * is every one
    data rn50-swav sun397 LP@10 labelled       what a run saw: classes, train, labelled or test images
    images mobilenetv2_035 cifar10 FS top1     any of these, in a profile other than the book's

A word that is no model, data set, method or metric is an error; so is a number without a record, as soon as there
are records at all. A size that the records of a run do not hold is missing: records of older versions have fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bookext.shelf import COMMAND, HOME, Shelf
from submasking.records.names import DATASETS, METHODS
from submasking.records.profiles import PROFILES
from submasking.report import storage, tables, verdicts
from submasking.report.tables import MISSING, Cell

MODELS = ("rn18-timm", "rn50-timm", "rn50-torch", "rn50-swav", "rn50-clip", "vitb32-clip")
METRICS = ("top1", "knn", "sparsity", "lp@10", "lp@100", *storage.COLUMNS)


@dataclass(frozen=True)
class Number:
    """A number ready to show: its text, how many runs, where it is from, and the files it was read from."""

    text: str
    hover: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Term:
    """One experiment and what was measured in it."""

    model: str
    dataset: str
    method: str
    labels: float | None
    metric: str

    @classmethod
    def parse(cls, text: str, models: Sequence[str]) -> Term:
        words = text.split()
        if len(words) != 4:
            raise ValueError(f"{text!r} must be four words: model, data set, method, metric")
        model, dataset, asked, metric = words
        method, labels = method_and_labels(asked)
        _known("model", model, models)
        _known("data set", dataset, (*DATASETS, "*"))
        _known("metric", metric, METRICS)
        return cls(model, dataset, method, labels, metric)


def method_and_labels(word: str) -> tuple[str, float | None]:
    """Split "LP@10" into method and percentage of the labels."""
    method, _, percent = word.partition("@")
    _known("method", method, METHODS)
    return method, float(percent) if percent else None


def evaluate(text: str, shelf: Shelf) -> Number:
    """The number that an expression names.

    Raises:
        ValueError: unknown word, or no record of it where there are records.
    """
    words = text.split()
    if not words:
        raise ValueError("a number must be named; the expression is empty")
    if words[0] in PROFILES:
        return evaluate(" ".join(words[1:]), shelf.of(words[0]))
    if words[0] in ("better", "worse", "score"):
        return _count(words, shelf)
    if words[0] in ("runs", "minutes", "seeds"):
        return _total(words, shelf)
    if words[0] == "more":
        return _more(words, shelf)
    if words[0] == "data":
        return _seen(words, shelf)
    models = list(dict.fromkeys([*MODELS, *(record.model for record in shelf.records)]))
    terms = [Term.parse(part, models) for part in text.split(" - ")]
    cells = [_cell(term, shelf) for term in terms]
    if any(cell.missing for cell in cells):
        return _unknown_size(terms, shelf) or _absent(text, shelf)
    files = tuple(file for term in terms for file in _files(term, shelf))
    hover = "; ".join(f"{_name(term)}: {cell.provenance()}" for term, cell in zip(terms, cells, strict=True))
    shown = _plain(terms[0], cells[0]) if len(cells) == 1 else _difference(cells)
    return Number(shown, f"{hover}; profile {shelf.profile}", files)


def quote(text: str, shelf: Shelf) -> Number:
    """The number that a paper reports: source, table, metric, model, method, data set.

    Raises:
        ValueError: there is no such number in reported.csv.
    """
    words = text.split()
    if len(words) != 6:
        raise ValueError(f"{text!r} must be six words: source, table, metric, model, method, data set")
    query = tables.Query(*words)
    cell = tables.quoted(shelf.reported, query)
    if cell.missing:
        raise ValueError(f"no number in reported.csv for {text!r}")
    place = f"Table {query.table}" if any(map(str.isdigit, query.table)) else query.table
    return Number(f"{cell.value:.{cell.digits}f}", f"{cell.provenance()}, {place}")


def _known(what: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}; got {word!r}")


def _cell(term: Term, shelf: Shelf) -> Cell:
    look = (term.method, term.metric, term.labels)
    if term.dataset != "*":
        return tables.measured(shelf.frame, term.model, term.dataset, *look)
    cells = [tables.measured(shelf.frame, term.model, name, *look) for name in DATASETS]
    means = [cell.value for cell in cells if not cell.missing]
    if not means:
        return Cell()
    runs = sum(cell.n or 0 for cell in cells)
    digits = tables.DIGITS.get(term.metric, 3 if term.metric in storage.COLUMNS else 2)
    early = sum(cell.unconverged for cell in cells)
    return Cell(sum(means) / len(means), math.nan, runs, cells[0].seeds, digits, unconverged=early)


def _files(term: Term, shelf: Shelf) -> list[Path]:
    labels = _labels(term.method, term.labels)
    wanted: dict[str, str | float] = {"model": term.model, "method": term.method, "labels": labels}
    if term.dataset != "*":
        wanted["dataset"] = term.dataset
    return shelf.files(**wanted)


def _name(term: Term) -> str:
    share = "" if term.labels is None else f" with {term.labels:g} % of the labels"
    place = "mean over data sets" if term.dataset == "*" else term.dataset
    return f"{term.model} {place} {term.method}{share} {term.metric}"


def _plain(term: Term, cell: Cell) -> str:
    if term.metric == "sparsity":
        digits = 2 if cell.value >= 0.095 else 3 if cell.value >= 0.0095 else 4
        cell = Cell(cell.value, cell.std, cell.n, cell.seeds, digits)
    return cell.text() + (f" (n = {cell.n})" if term.dataset != "*" else "")


def _difference(cells: list[Cell]) -> str:
    if len(cells) != 2:
        raise ValueError("a difference must have two terms")
    return f"{100 * (cells[0].value - cells[1].value):+.1f} points".replace("-", "−")


def _count(words: list[str], shelf: Shelf) -> Number:
    if len(words) != 5:
        raise ValueError(f"{' '.join(words)!r} must be: better|worse|score, model, method, method, metric")
    word, model, first, second, metric = words
    _known("model", model, MODELS)
    percent = next((float(name.partition("@")[2]) for name in (first, second) if "@" in name), 100.0)
    first, second = (name.partition("@")[0] for name in (first, second))
    for name in (first, second):
        _known("method", name.removesuffix("+LP"), METHODS)
    _known("metric", metric, METRICS)
    if not shelf.records:
        return _absent(" ".join(words), shelf)
    rows, pairs = verdicts.family(shelf.frame[shelf.frame.model == model], first, second, percent)
    found = verdicts.compare(rows, pairs, metric) if metric in rows else pd.DataFrame()
    told = verdicts.score(found, first, second) if len(found) else None
    if told is None or not told.tested + len(told.untested):
        return _absent(" ".join(words), shelf)
    sets = (("wins", told.wins), ("ties", told.ties), ("losses", told.losses), ("not tested", told.untested))
    said = "; ".join(f"{name}: {', '.join(names) or 'none'}" for name, names in sets if names or name != "not tested")
    hover = f"{first} against {second}, {said} ({verdicts.explain(found)}); profile {shelf.profile}"
    text = {
        "better": told.text(f"{len(told.wins)} of {told.tested}"),
        "worse": told.text(f"{len(told.losses)} of {told.tested}"),
        "score": str(told),
    }
    return Number(text[word], hover, tuple(shelf.files(model=model)))


def _total(words: list[str], shelf: Shelf) -> Number:
    if len(words) != 1:
        raise ValueError(f"{words[0]!r} stands alone; got {' '.join(words)!r}")
    if not shelf.records:
        return _absent(words[0], shelf)
    if words[0] == "runs":
        return Number(str(len(shelf.records)), f"records of profile {shelf.profile}")
    if words[0] == "seeds":
        return Number(str(len({record.seed for record in shelf.records})), f"seeds in the records of {shelf.profile}")
    seconds = sum(record.timings.get("total_s", 0.0) for record in shelf.records)
    return Number(f"{seconds / 60:.0f}", "minutes of one core, summed over the records, pretraining not counted")


def _more(words: list[str], shelf: Shelf) -> Number:
    """How many runs, of those that measured it, exceed a bound."""
    if len(words) != 6:
        raise ValueError(f"{' '.join(words)!r} must be: more, model, data set, method, metric, bound")
    _, model, dataset, asked, metric, bound = words
    method, labels = method_and_labels(asked)
    _known("model", model, (*MODELS, "*"))
    _known("data set", dataset, (*DATASETS, "*"))
    _known("metric", metric, METRICS)
    if not shelf.records:
        return _absent(" ".join(words), shelf)
    wanted = {"model": model, "dataset": dataset, "method": method, "labels": _labels(method, labels)}
    rows = shelf.frame
    for name, value in wanted.items():
        rows = rows if value == "*" else rows[rows[name] == value]
    rows = rows.dropna(subset=[metric])
    if rows.empty:
        return _absent(" ".join(words), shelf)
    hover = f"runs of {method} whose {metric} is above {bound}; profile {shelf.profile}"
    fields = {name: value for name, value in wanted.items() if value != "*"}
    return Number(f"{(rows[metric] > float(bound)).sum()} of {len(rows)}", hover, tuple(shelf.files(**fields)))


def _labels(method: str, labels: float | None) -> float:
    """The share of the labels that is meant where none is named: all, or none for a method without."""
    return labels if labels is not None else tables.all_labels(method)


def _seen(words: list[str], shelf: Shelf) -> Number:
    """How many classes or images the runs of one experiment saw; its seeds agree."""
    if len(words) != 5:
        raise ValueError(f"{' '.join(words)!r} must be: data, model, data set, method, field")
    _, model, dataset, asked, field = words
    method, labels = method_and_labels(asked)
    wanted = {"model": model, "dataset": dataset, "method": method, "labels": _labels(method, labels)}
    found = [one for one in shelf.records if all(getattr(one, name) == value for name, value in wanted.items())]
    if not found:
        return _absent(" ".join(words), shelf)
    _known("field", field, sorted(found[0].data))
    values = {one.data[field] for one in found}
    if len(values) > 1:
        raise ValueError(f"runs of {' '.join(words[1:-1])} must agree in {field}; they have {sorted(values)}")
    hover = f"{field} of {model} {dataset} {method}; profile {shelf.profile}"
    return Number(f"{values.pop():,}", hover, tuple(shelf.files(**wanted)))


def _unknown_size(terms: list[Term], shelf: Shelf) -> Number | None:
    """The missing number of a size that the records of the run do not hold; None where there is no such run."""
    known = all(term.metric in storage.COLUMNS and _files(term, shelf) for term in terms)
    hover = f"the records of profile {shelf.profile} do not hold it: they were made by an older version"
    return Number(MISSING, hover) if known else None


def _absent(text: str, shelf: Shelf) -> Number:
    if shelf.records and shelf.profile not in (
        HOME,
        "images",
    ):  # what the text speaks of need not be in another profile's grid
        return Number(MISSING, f"the grid of profile {shelf.profile} has no such run")
    if shelf.records:
        raise ValueError(f"no record of profile {shelf.profile} for {text!r} in {shelf.folder.name}/")
    return Number(MISSING, f"no records of profile {shelf.profile} yet: {COMMAND} makes them")
