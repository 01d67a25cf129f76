"""What a task costs to store, from records: bits per weight, bytes of a file, multiples against fine-tuned weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from submasking.records.results import Record

CODERS = ("gzip", "bz2", "lzma", "zstd", "coded")  # the last is this project's
PARTS = ("mask", "buffers", "head", "rest")
# a mask and the fine-tuning that it is weighed against
RIVALS = {"FS": "FFT", "SSM": "SSFT"}
MULTIPLES = {
    "multiple_lzma": "lzma on both, as the paper counts",
    "multiple_mask": "our codec against the difference to the backbone",
    "multiple_task": "the same with norm buffers, head and file",
}
COLUMNS = (
    "bits_entropy", "bits_tensor", *(f"bits_{name}" for name in CODERS), "bits_file",
    *(f"kb_{name}" for name in (*PARTS, "file")), *MULTIPLES,
)  # fmt: skip


def columns(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record, in their order; nan where a record does not hold what is needed.

    `bits_<coder>`: bits per masked weight; "entropy" by the share of all weights that are off, "tensor" by that in each
    tensor; "file" counts the whole task file, with norm buffers and head. `kb_<part>`: thousands of bytes in the mask
    file. `multiple_<way>`: bytes of the fine-tuned weights of the same model, data set, labels and seed over bytes of
    the mask, see `MULTIPLES`; a record made before fine-tuned weights were weighed gives none.
    """
    rivals = {_identity(record): record for record in records if record.method in RIVALS.values()}
    rows = [
        _row(record, rivals.get((*_identity(record)[:3], RIVALS[record.method], record.seed)))
        if record.method in RIVALS
        else {}
        for record in records
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), index=range(len(records)), dtype=float)


def answer(frame: pd.DataFrame) -> str:
    """What the sizes say, in a paragraph per model and method.

    Args:
        frame: identity of each run beside its `columns`.
    """
    masks = frame[frame.method.isin(RIVALS) & frame.bits_coded.notna()]
    if masks.empty:
        return "None of these runs learned a mask: there is nothing to weigh."
    parts = [
        _paragraph(f"{model}, {method}", part)
        for (model, method), part in masks.groupby(["model", "method"], sort=False)
    ]
    sets, seeds = masks.dataset.nunique(), masks.seed.nunique()
    return "\n\n".join(
        [*parts, f"({len(masks)} masks: {sets} data set(s), {seeds} seed(s), profile {masks.profile.iloc[0]}.)"]
    )


def _identity(record: Record) -> tuple[str, str, float, str, int]:
    return record.model, record.dataset, record.labels, record.method, record.seed


def _row(record: Record, rival: Record | None) -> dict[str, float]:
    def size(name: str) -> float:
        return record.sizes.get(name, math.nan)

    weights = size("raw_bits")
    row = {"bits_entropy": size("entropy_bits_global") / weights, "bits_tensor": size("entropy_bits_tensor") / weights}
    row |= {f"bits_{name}": 8 * size(f"{name}_bytes") / weights for name in CODERS}
    row["bits_file"] = 8 * size("file_bytes") / weights
    mask, buffers, head, file = (size(f"{name}_bytes") for name in ("coded", "buffers", "head", "file"))
    row |= {"kb_mask": mask / 1e3, "kb_buffers": buffers / 1e3, "kb_head": head / 1e3, "kb_file": file / 1e3}
    row["kb_rest"] = (file - mask - buffers - head) / 1e3
    if rival is None:
        return row
    lzma, delta = (rival.sizes.get(f"weights_{name}_bytes", math.nan) for name in ("lzma", "delta"))
    beside = sum(rival.sizes.get(f"{name}_bytes", math.nan) for name in ("buffers", "head"))
    row |= {"multiple_lzma": lzma / size("lzma_bytes"), "multiple_mask": delta / mask}
    return row | {"multiple_task": (delta + beside) / file}


def _paragraph(name: str, part: pd.DataFrame) -> str:
    mean = part[list(COLUMNS)].mean()
    saved = 100 * (1 - mean.bits_coded / mean.bits_lzma)
    share = {name: 100 * mean[f"kb_{name}"] / mean.kb_file for name in ("mask", "head", "buffers")}
    text = (
        f"**{name}.** A mask takes {mean.bits_coded:.3f} bits per weight, {saved:.0f} % less than lzma makes of it;"
        f" by the share of weights that are off it would be {mean.bits_entropy:.3f}, by that share in each tensor"
        f" {mean.bits_tensor:.3f}. The file of a task has {mean.kb_file:.1f} kB, of which the mask is"
        f" {share['mask']:.0f} %, the head {share['head']:.0f} %, the norm buffers {share['buffers']:.0f} %."
    )
    if math.isnan(mean.multiple_task):
        return text + " These records do not say what fine-tuned weights cost; run the experiment anew for that."
    return text + (
        f" Fine-tuned weights take {mean.multiple_lzma:.0f} times as much as the mask with lzma on both,"
        f" {mean.multiple_mask:.0f} times if the mask is coded by this project and of the weights only the difference"
        f" to the backbone is kept, {mean.multiple_task:.1f} times once norm buffers, head and description are counted"
        " on both sides."
    )
