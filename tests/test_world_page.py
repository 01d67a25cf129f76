"""The sheets and the table of the page on the tiny world are of today's images."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import world
from submasking.records.names import DATASET_STAND_INS
from submasking.worlds import novelty

PAGE = (world.SHEETS.parents[1] / "world.md").read_text(encoding="utf-8")
ROWS = {row["way"].partition(" ")[0]: row for row in json.loads((command.RECORDS / "world.json").read_text())["rows"]}


@pytest.mark.parametrize("dataset", DATASET_STAND_INS)
def test_a_sheet_shows_the_images_of_today(dataset):
    name = DATASET_STAND_INS[dataset][0]
    wanted = world.sheet(world.drawn(name, "train"), world.drawn(name, "test")).permute(1, 2, 0).numpy()
    shown = np.asarray(Image.open(world.SHEETS / f"{dataset}.png"))
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).mean() < 1  # fonts are drawn alike but for rounding
    assert f"images/world/{dataset}.png" in PAGE


@pytest.mark.parametrize("dataset", ["cifar10", "dtd", "oxfordpets"])
def test_the_table_says_what_pixels_tell(dataset):
    name = DATASET_STAND_INS[dataset][0]
    train, test = world.drawn(name, "train"), world.drawn(name, "test")
    row = ROWS[dataset]
    assert (row["classes"], row["train"], row["test"]) == (len(test.classes), len(train), len(test))
    assert row["repeated"] == 0
    assert abs(row["floor"] - novelty.nearest_pixels(train, test)) < 0.05


def test_every_set_has_a_row():
    assert list(ROWS) == list(DATASET_STAND_INS)
