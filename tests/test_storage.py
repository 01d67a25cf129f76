"""What a task costs, from records: each number is the quotient that its name promises, or missing."""

import dataclasses

import pytest
import synthetic

from submasking.experiments import grid
from submasking.report import frames, storage


@pytest.fixture(scope="module")
def records():
    return synthetic.records()


def find(records, method, labels):
    return next(
        k
        for k, record in enumerate(records)
        if (record.model, record.dataset, record.method, record.labels, record.seed)
        == ("rn50-swav", "cifar10", method, labels, 1)
    )


@pytest.mark.parametrize(
    ("method", "rival", "labels"), [("FS", "FFT", 100.0), ("FS", "FFT", 10.0), ("SSM", "SSFT", 0.0)]
)
def test_a_mask_is_weighed_against_the_fine_tuning_of_its_own_run(records, method, rival, labels):
    mask, tuned = (records[find(records, name, labels)].sizes for name in (method, rival))
    row = storage.columns(records).iloc[find(records, method, labels)]
    assert row.multiple_lzma == pytest.approx(tuned["weights_lzma_bytes"] / mask["lzma_bytes"])
    assert row.multiple_mask == pytest.approx(tuned["weights_delta_bytes"] / mask["coded_bytes"])
    whole = tuned["weights_delta_bytes"] + tuned["buffers_bytes"] + tuned["head_bytes"]
    assert row.multiple_task == pytest.approx(whole / mask["file_bytes"])
    assert row.bits_coded == pytest.approx(8 * mask["coded_bytes"] / mask["raw_bits"])
    assert row.bits_file == pytest.approx(8 * mask["file_bytes"] / mask["raw_bits"])
    assert row.bits_file > row.bits_coded
    assert row[[f"kb_{name}" for name in storage.PARTS]].sum() == pytest.approx(mask["file_bytes"] / 1000)


def test_runs_without_a_mask_have_no_sizes(records):
    found = storage.columns(records)
    stored = frames.to_frame(records).method.isin(storage.RIVALS)
    assert found[~stored].isna().all(axis=None)
    assert found[stored].notna().all(axis=None)


def test_records_of_before_are_missing_what_they_do_not_hold(records):
    old = [
        dataclasses.replace(
            record,
            sizes={name: size for name, size in record.sizes.items() if not name.startswith(("weights_", "zstd"))},
        )
        for record in records
    ]
    found = storage.columns(old)
    assert found[["bits_zstd", *storage.MULTIPLES]].isna().all(axis=None)
    frame = frames.to_frame(old).join(found)
    assert frame[frame.method == "FS"].bits_coded.notna().all()
    assert "do not say what fine-tuned weights cost" in storage.answer(frame)


def test_the_answer_reads_its_numbers_from_the_frame(records):
    frame = frames.to_frame(records).join(storage.columns(records))
    part = frame[(frame.model == "rn18-timm")]
    text = storage.answer(part)
    assert f"{part.bits_coded.mean():.3f} bits per weight" in text
    assert f"{part.multiple_task.mean():.1f} times once" in text
    assert text.count("**") == 2
    assert storage.answer(part[part.method == "LP"]).startswith("None of these runs")


def test_the_runs_of_the_compression_notebook_belong_to_other_notebooks_that_come_before_it():
    before = grid.before("compression-all", "tiny")
    made = {run for stem in before for run in grid.notebook_runs(stem, "tiny")}
    assert set(grid.notebook_runs("compression-all", "tiny")) <= made
    assert "compression-all" not in before
    assert grid.before("submasking-rn18-timm", "tiny") == []


def test_storage_runs_come_in_pairs():
    runs = grid.storage_runs("tiny", "rn18-timm", "dtd,flowers", "FS", "0,1")
    assert len(runs) == 8
    assert {run.method for run in runs} == {"FS", "FFT"}
    assert {run.method for run in grid.storage_runs("tiny", methods="SSM")} == {"SSM", "SSFT"}
    with pytest.raises(ValueError, match="methods must be among FS, SSM"):
        grid.storage_runs("tiny", methods="FFT")
    with pytest.raises(ValueError, match="model must be among rn18-timm"):
        grid.storage_runs("tiny", "resnet")
