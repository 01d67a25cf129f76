"""Runs as networks again: the grid's own training comes out once more, and what stands beside it is kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments import methods, runs
from submasking.experiments.analyses import networks, retraining, task_similarity
from submasking.experiments.run import Run
from submasking.report import retraining as again_report
from submasking.report import task_similarity as alike_report

NAMES = ("cifar10", "dtd", "flowers")


@pytest.fixture(scope="module")
def tasks(smoke_results):
    made = [Run("smoke", "rn18-timm", name, "FS") for name in NAMES]
    runs.run_all(made)
    return made


def masks(seed, shape=(4, 3), share=0.5):
    random = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=random) > share for name in ("a.weight", "b.weight")}


def test_a_training_once_more_ends_with_the_mask_that_the_grid_has_kept(tasks):
    kept, last = networks.masks_of(tasks[0]), retraining.epochs(tasks[0])[-1]
    assert kept.keys() == last.keys()
    assert all(torch.equal(kept[name], last[name]) for name in kept)
    other = retraining.epochs(tasks[0], retraining.again(tasks[0], 1))[-1]
    assert any(not torch.equal(kept[name], other[name]) for name in kept)


def test_what_a_training_has_left_is_read_where_the_question_is_the_same(tasks):
    calls = []

    def make():
        calls.append(1)
        return {"a": torch.tensor([len(calls)])}

    found = [int(networks.once(tasks[0], {"how": how}, make)["a"]) for how in (1, 1, 2)]
    assert found == [1, 1, 2]
    (file,) = [path for path in (networks.results_folder("smoke") / "analyses").rglob("*") if path.is_file()
               and path.stat().st_size < 200][:1]  # fmt: skip
    file.write_bytes(b"damaged")
    assert [int(networks.once(tasks[0], {"how": how}, make)["a"]) for how in (1, 2)] in ([3, 2], [1, 3])


def test_masks_of_another_task_are_where_training_starts(tasks):
    first, second = (networks.masks_of(task) for task in tasks[:2])
    seen = []
    for start in (first, second):
        plan = {"masks": start, "epochs": 1, "on_epoch": lambda epoch, masking: seen.append(masking.masks())}
        networks.learn(tasks[2], **plan)
    ends = [sum(int((end[name] != start[name]).sum()) for name in start) for end, start in zip(seen, (first, second),
            strict=True)]  # fmt: skip
    apart = sum(int((first[name] != second[name]).sum()) for name in first)
    assert max(ends) < apart / 2
    fft = Run("smoke", "rn18-timm", "dtd", "FFT")
    with pytest.raises(ValueError, match="masks must be None for FFT"):
        networks.learn(fft, masks=first)


def test_a_probe_under_masks_leaves_the_backbone_as_it_was(tasks):
    before = {name: tensor.clone() for name, tensor in methods.backbone_of(tasks[0]).trunk.state_dict().items()}
    off = {name: torch.zeros_like(mask) for name, mask in networks.masks_of(tasks[0]).items()}
    blind, seeing = networks.probed(tasks[0], off), networks.probed(tasks[0], {})
    after = methods.backbone_of(tasks[0]).trunk.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(blind.unique()) == 1  # all features are alike
    assert len(seeing.unique()) > 1


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_what_so_many_agree_on_is_counted_weight_by_weight(seed, count, votes):
    several = [masks(seed + number) for number in range(count)]
    found = retraining.agreed(several, votes)
    for name, mask in found.items():
        off = sum((~each[name]).int() for each in several)
        assert torch.equal(mask, off < votes)
    random = retraining.drawn(found, seed)
    assert {name: int(mask.sum()) for name, mask in random.items()} == {name: int(m.sum()) for name, m in found.items()}


@given(st.integers(0, 2**31), st.floats(0.1, 10))
def test_closeness_is_one_for_the_same_way_and_nought_for_others(seed, scale):
    random = torch.Generator().manual_seed(seed)
    way = {"a": torch.randn(30, generator=random, dtype=torch.float64)}
    other = {"a": torch.randn(30, generator=random, dtype=torch.float64)}
    back = {"a": -scale * way["a"]}
    assert task_similarity.closeness(way, way) == pytest.approx((1, 0))
    assert task_similarity.closeness(way, back)[0] == pytest.approx(0, abs=1e-9)
    assert task_similarity.closeness(way, other) == task_similarity.closeness(other, way)
    by_hand = torch.where(way["a"] * other["a"] > 0, torch.minimum(way["a"].abs(), other["a"].abs()), 0).sum()
    total = way["a"].abs().sum() + other["a"].abs().sum()
    assert task_similarity.closeness(way, other)[0] == pytest.approx(float(2 * by_hand / total))


@pytest.fixture(scope="module")
def alike(tasks):
    return task_similarity.tables(tasks, again=1, epochs=1)


@pytest.fixture(scope="module")
def repeated(tasks):
    return retraining.tables(tasks, tasks[:2], 2)


def test_every_pair_and_every_transfer_has_a_row(alike):
    assert len(alike["pairs"]) == 3
    assert {(row["source"], row["target"]) for row in alike["transfer"]} == {
        (a, b) for a in NAMES for b in NAMES if a != b
    }
    assert {row["kinds"] for row in alike["means"]} == {"all", "characters and pictures", "characters and characters"}
    words = alike_report.sentence(alike)
    assert "the 3 pairs of 3 tasks" in words


def test_repeated_trainings_of_one_seed_are_told_without_a_pair_in_the_grid(repeated):
    assert [row["pairs"] for row in repeated["overlap"]] == [0, 0, 0]
    assert {row["epoch"] for row in repeated["epochs"]} == {1, 2}
    assert all(row["own_end"] == 1 for row in repeated["epochs"] if row["epoch"] == 2)
    assert "no two seeds of one backbone" in again_report.sentence(repeated)
    with pytest.raises(ValueError, match="repeats must be at least 2"):
        retraining.tables([], [], 1)


@pytest.mark.parametrize("dark", [False, True])
def test_figures_of_both_are_drawn(alike, repeated, dark):
    for report, tables in ((alike_report, alike), (again_report, repeated)):
        for draw in report.FIGURES.values():
            assert draw(tables, dark=dark).axes


def test_a_training_that_is_kept_is_used_as_it_will_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    task, made = Run("smoke", "rn18-timm", "dtd", "FS"), torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    first, again = (networks.once(task, {"try": 1}, lambda: {"weight": made})["weight"] for _ in range(2))
    assert torch.equal(first, made)
    assert first.stride() == again.stride() != made.stride()
    assert torch.equal(first.flatten().sum(), again.flatten().sum())
