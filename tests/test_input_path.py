"""The benchmark of the input path: what it compares hands out the same pictures."""

import torch

from benchmarks import input_path
from submasking.learning import augment


def test_all_ways_hand_out_every_picture_and_have_a_rate():
    rows = input_path.measure(6, workers=0)
    assert [row["way"].partition(",")[0] for row in rows[-2:]] == ["mapped", "decoded and kept"]
    assert all(row["a_second"] > 0 and row["ratio"] > 0 for row in rows)
    assert {row["pictures"] for row in rows} == {6}


def test_a_picture_is_the_same_by_either_way_before_it_is_augmented(tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "PHOTOS", augment.Style(jitter=0.0, jittered=0.0, grey=0.0))
    files = input_path._photographs(tmp_path / "photos", 4)
    pairs = []
    for batches in (input_path._plain(tmp_path / "photos", 0), input_path._ours(tmp_path, files)):
        ((images, labels),) = batches
        order = images.mean((1, 2, 3)).argsort()
        pairs.append((images[order], labels[order]))
    assert torch.allclose(pairs[0][0], pairs[1][0], atol=0.02)
    assert torch.equal(pairs[0][1], pairs[1][1])


def test_mirroring_is_exact():
    images = torch.rand(64, 3, 8, 8)
    style = augment.Style(jitter=0.0, jittered=0.0, grey=0.0, flipped=0.5)
    changed = augment.supervised(images, torch.Generator().manual_seed(0), style)
    kept = [torch.allclose(one, two, atol=1e-6) for one, two in zip(changed, images, strict=True)]
    turned = [torch.allclose(one, two.flip(-1), atol=1e-6) for one, two in zip(changed, images, strict=True)]
    assert all(one or two for one, two in zip(kept, turned, strict=True))
    assert 10 < sum(kept) < 54
