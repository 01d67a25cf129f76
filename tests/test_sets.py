import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from submasking.learning.images import ImageSet
from submasking.records import profiles, results
from submasking.records.names import DATASET_STAND_INS, DATASETS
from submasking.records.places import committed_folder
from submasking.worlds import datasets as data
from submasking.worlds import digits, glyphs, ink, novelty, patches, sets

CHARACTERS = [name for name, chosen in sets.BY_NAME.items() if isinstance(chosen, sets.Characters)]
PATCHES = [name for name, chosen in sets.BY_NAME.items() if isinstance(chosen, sets.Patches)]
STAND_INS = [name for name, _ in DATASET_STAND_INS.values()]


def test_every_data_set_of_the_paper_has_its_own_set():
    assert tuple(DATASET_STAND_INS) == DATASETS
    assert len(set(STAND_INS)) == 8
    assert data.SOURCE not in STAND_INS
    assert set(STAND_INS) < set(sets.BY_NAME)
    real = [name for name in STAND_INS if name not in CHARACTERS]
    assert len(real) >= 3


@pytest.mark.parametrize("name", STAND_INS)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_drawing_of_a_split_was_shown_in_training(name, split):
    assert novelty.repeated(name, split) == 0


def test_a_drawing_that_was_shown_is_found_wherever_it_lies():
    one = np.zeros((64, 64), dtype=np.uint8)
    one[10:20, 12:15] = 255
    moved = np.roll(one, (7, -3), (0, 1))
    other = np.zeros_like(one)
    other[10:20, 12:19] = 255
    assert ink.alike(one, moved)
    assert not ink.alike(one, other)


def test_symbols_that_every_face_draws_alike_make_no_set():
    boxes = sets.Characters("box", ((0x2500, 0x257F),))  # DejaVu draws these once for all faces of one width
    assert len(glyphs.characters(boxes)) < 10


def test_pixels_tell_a_class_that_was_shown():
    images = data.render("armenian", "train", 100, 16)
    assert novelty.nearest_pixels(images, images) == 1


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(sets.BY_NAME)), st.sampled_from(sets.SPLITS), st.integers(10, 40), st.integers(0, 3))
def test_same_arguments_give_the_same_images(name, split, count, seed):
    first, second = (data.render(name, split, count, 16, seed=seed) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert len(first) == count
    assert first.images.shape == (count, 3, 16, 16)


@pytest.mark.parametrize("name", sorted(sets.BY_NAME))
def test_a_seed_draws_other_training_images_and_the_same_test(name):
    one, two = (data.render(name, "train", 60, 16, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.images, two.images)
    assert torch.equal(*(data.render(name, "test", 60, 16, seed=seed).images for seed in (0, 1)))


@pytest.mark.parametrize("name", CHARACTERS)
def test_every_character_is_drawn_in_every_face_and_no_box_stands_for_a_missing_one(name):
    chosen = sets.BY_NAME[name]
    text = glyphs.characters(chosen)
    assert len(text) >= 30
    for face in chosen.faces.all:
        missing = glyphs.draw("\U000f0000", face).tobytes()  # private use: in no face
        drawn = [glyphs.draw(character, face) for character in text]
        assert all(picture.max() > 0 for picture in drawn)
        assert missing not in {picture.tobytes() for picture in drawn}


@pytest.mark.parametrize("name", CHARACTERS)
def test_no_face_is_in_two_splits_and_no_two_classes_look_the_same(name):
    chosen = sets.BY_NAME[name]
    assert len(set(chosen.faces.all)) == len(chosen.faces.all)
    pictures = [glyphs.draw(each, chosen.faces.train[0]).tobytes() for each in glyphs.characters(chosen)]
    assert len(set(pictures)) == len(pictures)


def test_a_character_missing_from_a_face_is_left_out():
    operators = sets.BY_NAME["operators"]
    candidates = set(map(chr, range(0x2200, 0x2300)))
    kept = set(glyphs.characters(sets.Characters("all operators", operators.blocks, operators.faces)))
    assert kept < candidates
    absent = ord(min(candidates - kept))
    assert not all(absent in glyphs.available(face) for face in operators.faces.all)


@pytest.mark.parametrize("name", sorted(sets.BY_NAME))
def test_classes_have_equal_shares(name):
    images = data.render(name, "train", 400, 8)
    counts = torch.bincount(images.labels, minlength=len(images.classes))
    assert all(each.isupper() for each in images.classes)
    if name != "digits":  # the real digits come as they were written
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("dataset", profiles.TINY.sparse_datasets)
@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_a_label_in_every_draw_of_the_figures(tmp_path, monkeypatch, dataset, seed):
    from submasking.learning.evaluate import label_subset

    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    labels = data.load("tiny", dataset, "train", seed).labels
    for percent in profiles.TINY.label_percents:
        assert len(labels[label_subset(labels, percent, seed=42 + seed)].unique()) == len(labels.unique())


def test_splits_of_the_handwritten_digits_share_no_digit():
    rows = [digits.written(sets.BY_NAME["digits"], split, 10)[0].flatten(1).tolist() for split in sets.SPLITS]
    assert sum(map(len, rows)) == 1797
    found = [{tuple(row) for row in split} for split in rows]
    assert not found[0] & found[2]
    assert not found[0] & found[1]
    assert not found[1] & found[2]


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("seed", [0, 7])
def test_training_pieces_lie_within_the_training_tiles(name, seed):
    chosen = sets.BY_NAME[name]
    for _, file in chosen.pictures:
        trained = torch.zeros(patches.picture(file).shape[1:], dtype=torch.bool)
        for box in patches.tiles(chosen, file, "train"):
            trained[box.top : box.top + box.side, box.left : box.left + box.side] = True
        for box in patches._drawn(chosen, file, 200, np.random.default_rng(seed)):
            piece = trained[box.top : box.top + box.side, box.left : box.left + box.side]
            assert piece.shape == (box.side, box.side)
            assert piece.all()


def test_limit_keeps_the_first_classes():
    images = data.render("cyrillic", "test", 20, 16, limit=2)
    assert images.classes == ("CYRILLIC CAPITAL LETTER A", "CYRILLIC CAPITAL LETTER BE")
    assert images.labels.max() == 1
    assert data.render("places", "test", 20, 16, limit=3).classes == ("ASTRONAUT", "CAT", "COFFEE")


def test_ink_is_darker_than_paper():
    images = data.render("latin", "train", 200, 24).images.float().mean(1)
    corner, centre = images[:, 0, 0], images[:, 8:18, 8:16].amin((1, 2))
    assert (corner > centre).float().mean() > 0.98


def test_neither_brightness_nor_contrast_tells_a_texture():
    images = data.render("textures", "train", 600, 24)
    grey = images.images.float().mean(1)
    means = [grey[images.labels == label].mean((1, 2)) for label in range(10)]
    assert max(group.mean() for group in means) - min(group.mean() for group in means) < 20


def test_recipe_changes_with_every_argument():
    arguments = [
        ("cyrillic", "train", 10, 24, None, 0),
        ("cyrillic", "test", 10, 24, None, 0),
        ("cyrillic", "train", 11, 24, None, 0),
        ("cyrillic", "train", 10, 25, None, 0),
        ("cyrillic", "train", 10, 24, 5, 0),
        ("cyrillic", "train", 10, 24, None, 1),
        ("armenian", "train", 10, 24, None, 0),
    ]
    assert len({sets.recipe(*chosen) for chosen in arguments}) == len(arguments)
    assert sets.recipe("cyrillic", "test", 10, 24, None, 0) == sets.recipe("cyrillic", "test", 10, 24, None, 1)


def test_errors_list_what_there_is():
    with pytest.raises(ValueError, match="textures"):
        data.render("boxes", "train", 1, 8)
    with pytest.raises(ValueError, match="validation"):
        data.render("textures", "valid", 1, 8)
    with pytest.raises(ValueError, match="cifar10, cifar100"):
        data.load("smoke", "cifar11", "train")
    with pytest.raises(ValueError, match="validation"):
        data.load("smoke", "cifar10", "val")
    with pytest.raises(ValueError, match=r"nowhere.png must come with scikit-image"):
        patches.picture("nowhere.png")


def test_load_reads_its_cache_and_survives_a_damaged_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    first = data.load("smoke", "dtd", "test")
    (file,) = tmp_path.rglob("textures-test-*.safetensors")
    monkeypatch.setattr(data, "render", None)  # a second rendering would fail
    assert torch.equal(data.load("smoke", "dtd", "test").images, first.images)
    monkeypatch.undo()
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    file.write_bytes(b"damaged")
    assert torch.equal(data.load("smoke", "dtd", "test").images, first.images)


def test_digits_is_another_name_for_what_stands_in_for_cifar10(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    assert torch.equal(data.load("smoke", "digits", "train").images, data.load("smoke", "cifar10", "train").images)


def test_image_set_refuses_what_does_not_fit():
    pixels, labels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    assert len(ImageSet(pixels, labels, ("a", "b"), "x").subset([1])) == 1
    with pytest.raises(ValueError, match="uint8"):
        ImageSet(pixels.float(), labels, ("a", "b"), "x")
    with pytest.raises(ValueError, match="one per image"):
        ImageSet(pixels, labels[:1], ("a", "b"), "x")
    with pytest.raises(ValueError, match="name every class"):
        ImageSet(pixels, labels, ("a",), "x")


def test_numbers_differ_between_sets_splits_and_seeds_of_training():
    numbers = {sets.number(name, split, seed) for name in sets.BY_NAME for split in sets.SPLITS for seed in (0, 1)}
    assert len(numbers) == 4 * len(sets.BY_NAME)


@pytest.mark.parametrize("name", DATASETS)
def test_a_set_has_the_pixels_that_its_records_were_made_on_whatever_the_processor(name):
    record = results.read_one(committed_folder("tiny") / results.record_path("rn50-timm", name, "FS", 100, 0))
    assert data.load("tiny", name, "test").fingerprint() == record.test["images"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([16, 48, 64]))
def test_drawings_are_placed_as_by_the_affine_grid_of_pytorch(seed, side):
    factors = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ours = torch.stack([ink._linear(tuple(row), side) for row in factors], -1)
    theirs = functional.affine_grid(factors.permute(2, 0, 1), [5, 1, side, side], align_corners=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "surroundings", [{"MKL_CBWR": "COMPATIBLE"}, {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}]
)
def test_another_processor_s_instructions_draw_the_same_pixels(surroundings):
    drawn = "import numpy, torch; from submasking.worlds import ink; random = numpy.random.default_rng(7);"
    drawn += "drawings = torch.from_numpy(random.integers(0, 256, (3000, 64, 64), dtype=numpy.uint8));"
    drawn += "print(hash(ink.on_paper(drawings, 24, random).numpy().tobytes()))"
    said = {
        subprocess.run([sys.executable, "-c", drawn], env=dict(os.environ, PYTHONHASHSEED="0", **more),
                       check=True, capture_output=True, text=True).stdout
        for more in ({}, surroundings)
    }  # fmt: skip
    assert len(said) == 1
