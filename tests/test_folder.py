import pytest
import torch
from PIL import Image

from submasking.worlds import datasets as data
from submasking.worlds import folder

COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10)}


@pytest.fixture
def pictures(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for name, colour in COLOURS.items():
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (20 + index, 14), colour).save(place / f"{index}.png")
    return tmp_path


def test_pictures_are_resized_whole_and_labelled_by_folder(pictures):
    images = folder.load(pictures, "train", 8)
    assert images.images.shape == (12, 3, 8, 8)
    assert images.classes == ("green", "red")
    assert images.labels.tolist() == [0] * 6 + [1] * 6
    assert torch.equal(images.images[-1, :, 0, 0], torch.tensor([200, 10, 10], dtype=torch.uint8))


def test_profile_images_loads_a_folder(pictures):
    images = data.load("images", str(pictures), "test")
    assert len(images) == 6
    assert data.stand_in("images", str(pictures)) == ""


def test_limit_takes_pictures_from_all_classes(pictures):
    assert folder.load(pictures, "train", 8, limit=4).labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_colour_mode_becomes_rgb(pictures, mode):
    Image.new("RGB", (9, 9), (9, 9, 9)).convert(mode).save(
        pictures / "test" / "red" / ("x.jpg" if mode == "CMYK" else "x.png")
    )
    assert folder.load(pictures, "test", 8).images.shape == (7, 3, 8, 8)


def test_validation_is_read_from_val(pictures):
    with pytest.raises(ValueError, match="val or validation"):
        folder.load(pictures, "validation", 8)
    (pictures / "test").rename(pictures / "val")
    assert len(folder.load(pictures, "validation", 8)) == 6


def test_errors_name_what_is_wrong(pictures):
    with pytest.raises(ValueError, match="nowhere"):
        folder.load(pictures / "nowhere", "train", 8)
    with pytest.raises(ValueError, match="train, validation, test"):
        folder.load(pictures, "trial", 8)
    broken = pictures / "train" / "red" / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png must be a readable picture"):
        folder.load(pictures, "train", 8)


def test_a_truncated_picture_is_named(pictures):
    whole = pictures / "train" / "red" / "0.png"
    Image.effect_noise((64, 64), 50).save(whole)
    whole.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"0\.png"):
        folder.load(pictures, "train", 8)


def test_differing_classes_are_named(pictures):
    (pictures / "test" / "green").rename(pictures / "test" / "blue")
    with pytest.raises(ValueError, match="blue, green"):
        folder.load(pictures, "test", 8)


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="one folder per class"):
        folder.load(tmp_path, "train", 8)
