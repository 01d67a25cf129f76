import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from submasking.learning.images import ImageSet
from submasking.records.names import DATASET_STAND_INS, DATASETS
from submasking.worlds import characters, glyphs
from submasking.worlds import datasets as data

GLYPH_TASKS = [task for task in glyphs.BY_NAME if task != "digits"]


def test_every_data_set_of_the_paper_has_its_own_task():
    assert tuple(DATASET_STAND_INS) == DATASETS
    tasks = [task for task, _ in DATASET_STAND_INS.values()]
    assert len(set(tasks)) == 8
    assert data.SOURCE not in tasks
    assert set(tasks) < set(glyphs.BY_NAME)


def test_no_face_is_in_two_splits():
    faces = [face for split in glyphs.SPLITS for face in glyphs.FACES[split]]
    assert len(set(faces)) == len(faces) == 12


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(glyphs.BY_NAME)), st.sampled_from(glyphs.SPLITS), st.integers(1, 40))
def test_same_arguments_give_the_same_images(task, split, count):
    first, second = (glyphs.render(task, split, count, 16) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert len(first) == count
    assert first.images.shape == (count, 3, 16, 16)


@pytest.mark.parametrize("task", GLYPH_TASKS)
def test_every_character_is_drawn_in_every_face_and_no_box_stands_for_a_missing_one(task):
    for faces in glyphs.FACES.values():
        for face in faces:
            missing = glyphs._draw("\U000f0000", face).tobytes()  # private use: in no face
            drawn = [glyphs._draw(character, face) for character in glyphs.characters(task)]
            assert all(picture.max() > 0 for picture in drawn)
            assert missing not in {picture.tobytes() for picture in drawn}


@pytest.mark.parametrize("task", GLYPH_TASKS)
def test_no_two_classes_look_the_same(task):
    pictures = [glyphs._draw(character, "DejaVuSans").tobytes() for character in glyphs.characters(task)]
    assert len(set(pictures)) == len(pictures) >= 30


def test_a_character_missing_from_a_face_is_left_out():
    candidates = set(map(chr, range(0x2200, 0x2300)))
    kept = set(glyphs.characters("operators"))
    assert kept < candidates
    absent = ord(min(candidates - kept))
    assert not all(absent in glyphs._available(face) for faces in glyphs.FACES.values() for face in faces)


@pytest.mark.parametrize("task", sorted(glyphs.BY_NAME))
def test_classes_are_unicode_names_in_equal_shares(task):
    images = glyphs.render(task, "train", 400, 8)
    counts = torch.bincount(images.labels, minlength=len(images.classes))
    assert all(name.isupper() for name in images.classes)
    if task != "digits":  # the real digits come as they were written
        assert counts.max() - counts.min() <= 1


def test_splits_of_the_handwritten_digits_share_no_digit():
    rows = [glyphs._handwritten(split, 10)[0].reshape(-1, glyphs.CANVAS**2).tolist() for split in glyphs.SPLITS]
    assert sum(map(len, rows)) == 1797
    sets = [{tuple(row) for row in split} for split in rows]
    assert not sets[0] & sets[2]
    assert not sets[0] & sets[1]
    assert not sets[1] & sets[2]


def test_limit_keeps_the_first_classes():
    images = glyphs.render("arrows", "test", 20, 16, limit=4)
    assert images.classes == ("LEFTWARDS ARROW", "UPWARDS ARROW", "RIGHTWARDS ARROW", "DOWNWARDS ARROW")
    assert images.labels.max() == 3


def test_ink_is_darker_than_paper():
    images = glyphs.render("latin", "train", 200, 24).images.float().mean(1)
    corner, centre = images[:, 0, 0], images[:, 8:18, 8:16].amin((1, 2))
    assert (corner > centre).float().mean() > 0.98


def test_recipe_changes_with_every_argument():
    arguments = [
        ("box", "train", 10, 24, None),
        ("box", "test", 10, 24, None),
        ("box", "train", 11, 24, None),
        ("box", "train", 10, 25, None),
        ("box", "train", 10, 24, 5),
    ]
    assert len({characters.recipe(*chosen) for chosen in arguments}) == len(arguments)


def test_errors_list_what_there_is():
    with pytest.raises(ValueError, match="box"):
        glyphs.render("boxes", "train", 1, 8)
    with pytest.raises(ValueError, match="validation"):
        glyphs.render("box", "valid", 1, 8)
    with pytest.raises(ValueError, match="cifar10, cifar100"):
        data.load("smoke", "cifar11", "train")
    with pytest.raises(ValueError, match="validation"):
        data.load("smoke", "cifar10", "val")


def test_load_reads_its_cache_and_survives_a_damaged_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    first = data.load("smoke", "dtd", "test")
    (file,) = tmp_path.rglob("box-test-*.safetensors")
    monkeypatch.setattr(glyphs, "render", None)  # a second rendering would fail
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


def test_seeds_differ_between_tasks_and_splits():
    seeds = {glyphs._seed(task, split) for task in glyphs.BY_NAME for split in glyphs.SPLITS}
    assert len(seeds) == 3 * len(glyphs.BY_NAME)
