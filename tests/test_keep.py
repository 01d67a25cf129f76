"""What `make records` writes into the README."""

from pathlib import Path

import pytest
import synthetic

from submasking.experiments import keep
from submasking.records import places, results
from submasking.records.profiles import profile
from submasking.report import frames, storage

ROOT = Path(__file__).resolve().parents[1]


def joined(records):
    return frames.to_frame(records).join(storage.columns(records))


def test_the_readme_says_bits_of_the_mask_and_of_the_whole_file():
    frame = joined(synthetic.records())
    said = keep.readme_table(frame).splitlines()[-1]
    for model in profile("tiny").full_models:
        masks = frame[(frame.model == model) & (frame.labels == 100) & (frame.method == "FS")].groupby("dataset")
        mask, file = masks.bits_coded.mean().mean(), masks.bits_file.mean().mean()
        assert f"{model} {mask:.2f} and {file:.2f}" in said


def test_the_readme_is_that_of_the_records(tmp_path):
    frame = joined(results.read(places.committed_folder("tiny")))
    copy = tmp_path / "README.md"
    copy.write_bytes((ROOT / "README.md").read_bytes())
    keep.update_readme(copy, frame)
    assert copy.read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_readme_without_its_marks_is_left_alone(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text("# submasking")
    with pytest.raises(ValueError, match="must contain the lines"):
        keep.update_readme(copy, joined(synthetic.records()))
    assert copy.read_text() == "# submasking"
