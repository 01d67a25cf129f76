"""Studies of photographs in tables, figures and sentences: like is compared with like, what is not there refused."""

import re

import numpy as np
import pytest
from bookext import photos
from matplotlib.figure import Figure

from submasking.records import photographs as records
from submasking.records import predictions
from submasking.report import photo_figures
from submasking.report import photographs as report

IMAGES = 300
SHARES = {"LP": 0.6, "FFT late": 0.8, "FS late": 0.65, "FS-squared late": 0.79}


def study(model="net", name="birds", shares=None, *, seeds=5, few=(), curves=True):
    """What a study would keep, with given shares of the test images right."""
    hard = np.random.default_rng(len(name)).random((seeds, IMAGES))
    found = []
    for share in (100.0, *few):
        for place, way in enumerate(records.WAYS if not shares and share == 100 else (shares or SHARES)):
            right = (shares or SHARES).get(way, 0.7)
            masked = records.WAYS[way].method == "FS"
            for seed in range(seeds):
                entry = {
                    "way": way, "rate": 0.1 * (place + 1), "seed": seed, "share": share, "chosen": [[0.1, right]],
                    "predictions": predictions.pack((hard[seed] > right).astype(int).tolist()),
                }  # fmt: skip
                if way != "LP":
                    entry |= {"seconds": 1.0, "loss": [1.0], "why": {"norms": {"mean": 0.1, "variance": 0.1}}}
                if masked:
                    entry |= {"sparsity": 0.1, "bytes": 100 * (place + 1), "masked": 8000, "whole": 5000}
                if masked or way == "FFT late":
                    entry["why"] |= {
                        "sizes": [0.1] * 10, "negative": 0.5, "layers": {"a": [1, 10], "b": [2, 10]},
                    }  # fmt: skip
                found.append(entry)
    agreement = {"first": 0.1, "second": 0.1, "both": 0.05, "chance": 0.01, "agreement": 0.4}
    return {
        "schema": 1, "name": name, "model": model, "found": found,
        "settings": {"epochs": 3, "views": 4, "size": 64}, "data": {"test": IMAGES, "train": 100},
        "judged": {"labels": predictions.pack([0] * IMAGES), "test": name},
        "curves": {"FFT late": [[0.1, 0.5], [0.3, -1]], "FS-squared late": [[0.1, 0.4], [0.3, 0.6]],
                   "signs": [[0.1, agreement]]} if curves else {},
        "alike": [{"ways": ["FFT late", "FS-squared late"], "seeds": [0, 0]} | agreement,
                  {"ways": ["FS late", "FS late"], "seeds": [0, 1]} | agreement | {"agreement": 0.2}],
    }  # fmt: skip


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Four studies of two networks in a folder that the book reads."""
    for model in ("net", "other"):
        for name in ("birds", "leaves"):
            records.write(records.place(tmp_path, model, name), study(model, name))
    monkeypatch.setattr(photos, "FOLDER", tmp_path)
    return tmp_path


def test_studies_come_back_as_they_were_kept(kept):
    assert [(one["model"], one["name"]) for one in records.read(kept)] == [
        ("net", "birds"), ("net", "leaves"), ("other", "birds"), ("other", "leaves"),
    ]  # fmt: skip
    assert records.read(kept)[0] == study("net", "birds") | {"found": records.read(kept)[0]["found"]}


@pytest.mark.parametrize(
    ("tried", "rate", "last"),
    [
        ([0.1, 0.3, 0.9], 0.1, True), ([0.1, 0.3, 0.9], 0.9, True), ([0.9, 0.1, 0.3], 0.3, False), ([0.1], 0.1, True),
        ([], 0.0, False),
    ],
)  # fmt: skip
def test_a_best_rate_at_an_end_is_told(tried, rate, last, kept):
    found = study()
    for entry in found["found"]:
        inside = [[0.01, 0.1], [entry["rate"], 0.7], [9.0, 0.1]]
        entry["chosen"] = inside
        if entry["way"] == "FFT late":
            entry |= {"chosen": [[each, 0.5] for each in tried], "rate": rate}
    assert report.ended(found, "FFT late") == last
    assert ("For FFT late the best rate was the lowest or the highest that was tried" in report.sentence(found)) == last
    records.write(records.place(kept, "net", "birds"), found)
    assert photos.evaluate("ends; net; FFT late").text == f"{int(last)} of 2"


def test_a_family_is_judged_together():
    found = report.compare([study(), study("other", "leaves")], "late")
    late = found[(found["first"] == "FS late") & (found["second"] == "FFT late")]
    assert list(late.model) == ["net", "other"]
    assert (late.value < -0.1).all()
    assert late.clear.all()
    assert (found.holm >= found.p).all()
    alone = report.compare([study()], "late")
    assert (alone.holm.to_numpy() <= found[found.model == "net"].holm.to_numpy() + 1e-12).all()
    same = study(shares=dict.fromkeys(SHARES, 0.7))
    assert not report.compare([same], "late").clear.any()


def test_the_images_of_several_sets_are_one_sample():
    birds, leaves = study(), study(name="leaves")
    whole = report.together([birds, leaves], "FS late", "FFT late")
    assert whole.images == 2 * IMAGES
    ends = [report.together([one], "FS late", "FFT late") for one in (birds, leaves)]
    assert whole.value == pytest.approx(np.mean([end.value for end in ends]))
    assert whole.high - whole.low < max(end.high - end.low for end in ends)
    for wrong in ([], [birds, study("other")]):
        with pytest.raises(ValueError, match="one network"):
            report.together(wrong, "FS late", "FFT late")


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("accuracy; net; birds; FFT late", r"\d\d\.\d"),
        ("ahead; net; FS late; FFT late", r"−\d+\.\d points \[−\d+\.\d, −\d+\.\d\]"),
        ("score; *; FS late; FFT late", r"0 / 0 / 4"),
        ("score; other; FFT late; LP", r"2 / 0 / 0"),
        ("verdict; FS late; FFT late", r"net: behind, −.*; other: behind, −.*"),
        ("verdict; FS-pointwise late; FS-rescaled late", r"net: not told apart, \+0\.0.*"),
        ("bits; net; FS late", r"0\.\d\d"),
        ("off; *; FS late", r"10\.0 %"),
        ("rate; net; FFT late", r"0\.3"),
        ("alike; FS-squared late; FFT late", r"0\.40"),
        ("alike; FS late; FS late", r"0\.20"),
        ("signs; 0.1", r"0\.40"),
        ("negative; FS late", "50"),
        ("copy; net", "31 KiB"),
        ("task; net; FS late", "5 KiB"),
        ("setting; net; epochs", "3"),
        ("setting; *; test", "300"),
        ("studies", "4"), ("networks", "2"), ("trainings", str(4 * 5 * len(records.WAYS))),
    ],
)  # fmt: skip
def test_the_page_takes_its_numbers_from_the_records(kept, asked, shown):
    number = photos.evaluate(asked)
    assert re.fullmatch(shown, number.text), number.text
    assert number.hover
    assert len(number.files) == (1 if "birds" in asked else 2 if "; net" in asked or "; other" in asked else 4)


def test_one_training_is_no_tie(monkeypatch):
    one = study(seeds=1)
    monkeypatch.setattr(photos, "studies", lambda network="*": [one])
    assert photos.evaluate("score; *; FS late; FFT late").text == "not tested: one run"
    assert re.fullmatch(r"net: not tested: one run, −\d+\.\d", photos.evaluate("verdict; FS late; FFT late").text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("best; net", "must be one of accuracy"), ("ahead; net; FS late", "must have 3 words"),
        ("accuracy; net; stones; LP", "no study of net on stones"), ("bits; net; FS", "a way must be one of"),
        ("bits; nets; FS late", "no study of nets"), ("score; *; LP; FS all", "one of the families"),
        ("signs; 0.5", "no study has both"), ("setting; net; colour", "no setting"), ("alike; LP; LP", "no study has"),
        ("few; 10; birds; net; FS late; LP", "with 10 % of the labels"),
    ],
)  # fmt: skip
def test_what_no_record_has_is_refused(kept, asked, said):
    with pytest.raises(ValueError, match=said):
        photos.evaluate(asked)


def test_a_number_with_few_labels_is_of_the_runs_that_saw_them(monkeypatch):
    monkeypatch.setattr(photos, "studies", lambda network="*": [study(few=(5.0, 25.0))])
    monkeypatch.setattr(photos, "files", list)
    all_labels, few = (
        photos.evaluate(asked) for asked in ("ahead; net; FS late; LP", "few; 5; birds; net; FS late; LP")
    )
    assert all_labels.text.count("points") == few.text.count("points") == 1
    assert "5 % of the labels" in few.hover
    assert "of the labels" not in all_labels.hover


def test_every_figure_is_drawn(kept, monkeypatch):
    every = [*records.read(kept), study(name="stones", few=(5.0, 25.0), curves=False)]
    monkeypatch.setattr(photos, "studies", lambda network="*": every)
    for name, draw in photos.DRAWN.items():
        figure = draw()
        assert isinstance(figure, Figure), name
        assert all(axes.lines or axes.collections for axes in figure.axes if axes.get_visible()), name


def test_only_studies_that_have_what_a_figure_shows_are_in_it():
    few = [study(shares=SHARES), study(name="leaves")]
    assert len(photo_figures.ahead(few, "FFT all", ("FS all",)).axes[0].get_yticks()) == 1
    assert len(photo_figures.ahead(few, "FFT late", ("FS late",)).axes[0].get_yticks()) == 2
    some = photo_figures.ahead(few, "FFT late", ("FS late", "FS-squared-held late")).axes[0]
    assert [len(each.lines[0].get_xdata()) for each in some.containers] == [2, 1]
    assert len(photo_figures.powers(few).axes[0].containers) == 1


def test_distance_stands_beside_the_power_that_did_best():
    found = report.distance([study(), study("other", shares=SHARES), study("few", shares=SHARES | {"norms late": 0.5})])
    assert list(found.index) == [("net", "birds"), ("few", "birds")]
    assert found.loc[("net", "birds"), "gain"] == pytest.approx(20, abs=3)
    assert found.loc[("net", "birds"), "best"] == 2.0
    assert found.loc[("net", "birds"), "ahead"] == 0
    assert np.isnan(found.loc[("few", "birds"), "best"])
