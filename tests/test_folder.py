import os
import unicodedata
from pathlib import Path

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


LITTER = [
    ".ipynb_checkpoints/a-checkpoint.png", ".git/x.png", "__MACOSX/red/._0.png", "@eaDir/0.png", "red/._0.png",
    "red/.hidden.png", "red/.DS_Store", "red/Thumbs.db", "green/desktop.ini", "red/.cache/0.png", ".DS_Store",
]  # fmt: skip


@pytest.mark.parametrize("name", LITTER)
def test_what_systems_and_tools_leave_behind_is_no_class_and_no_picture(pictures, name):
    for split in ("train", "test"):
        (pictures / split / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(pictures / split / name, "PNG")
    said = []
    assert len(folder.load(pictures, "train", 8, say=said.append)) == 12
    assert folder.load(pictures, "test", 8, say=said.append).classes == ("green", "red")
    assert said == []


def test_what_is_no_picture_by_its_name_is_counted_and_said(pictures, capsys):
    for name in ("a.heic", "b.HEIC", "notes.txt", "nothing", "c.jpg_large", "d.JPG2"):
        (pictures / "train" / "red" / name).write_bytes(b"")
    for name in ("e.JFIF", "f.gif", "g.Webp", "h.TIF", "i.jpe", "j.jp2"):
        kind = {"gif": "GIF", "webp": "WEBP", "tif": "TIFF", "jp2": "JPEG2000"}.get(name[2:].lower(), "JPEG")
        Image.new("RGB", (4, 4)).save(pictures / "train" / "red" / name, kind)
    (pictures / "train" / "loose.png").write_bytes(b"")
    assert len(folder.load(pictures, "train", 8)) == 12 + 6
    said = capsys.readouterr().err
    assert "6 files were no pictures by their name" in said
    assert all(part in said for part in (".heic 2", ".txt 1", "without ending 1", ".jpg_large 1", ".jpg2 1", "beside"))


def links(train, outside):
    return {
        "to the split": (train / "red" / "loop", train),
        "to its own class": (train / "red" / "loop", train / "red"),
        "to another class": (train / "red" / "loop", train / "green"),
        "as a class": (train / "rosy", train / "red"),
        "from outside back": (outside / "back", outside),
    }


@pytest.mark.parametrize("name", links(Path(), Path()))
def test_no_folder_is_entered_twice_whatever_links_there_are(pictures, tmp_path_factory, name):
    outside = tmp_path_factory.mktemp("outside")
    Image.new("RGB", (4, 4)).save(outside / "0.png")
    (pictures / "train" / "green" / "more").symlink_to(outside)
    link, target = links(pictures / "train", outside)[name]
    link.symlink_to(target)
    said = []
    images = folder.load(pictures, "train", 8, say=said.append)
    assert images.labels.tolist() == [0] * 7 + [1] * 6
    assert len(said) == 1
    assert link.name in said[0]


def test_a_class_may_be_a_link(pictures, tmp_path):
    (pictures / "train" / "red").rename(tmp_path / "elsewhere")
    (pictures / "train" / "red").symlink_to(tmp_path / "elsewhere")
    assert len(folder.load(pictures, "train", 8)) == 12


def test_links_that_lead_nowhere_are_said(pictures):
    (pictures / "train" / "red" / "notes").symlink_to("nowhere")
    (pictures / "train" / "red" / "itself").symlink_to("itself")
    said = []
    assert len(folder.load(pictures, "train", 8, say=said.append)) == 12
    assert "2 links were not followed" in said[0]
    (pictures / "train" / "red" / "x.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"x\.png must be a readable picture \(the link leads nowhere"):
        folder.load(pictures, "train", 8)


def test_a_pipe_is_not_waited_for(pictures):
    os.mkfifo(pictures / "train" / "red" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png must be"):
        folder.load(pictures, "train", 8)


@pytest.mark.parametrize("name", ["chaton-é", "Å", "각", "ö̲"])
def test_names_of_classes_are_the_same_in_both_unicode_forms(pictures, name):
    for split, form in (("train", "NFC"), ("test", "NFD")):
        (pictures / split / "red").rename(pictures / split / unicodedata.normalize(form, name))
    for split in ("train", "test"):
        classes = folder.load(pictures, split, 8).classes
        assert set(classes) == {"green", unicodedata.normalize("NFC", name)}


def test_two_folders_of_one_name_are_refused(pictures):
    (pictures / "train" / "red").rename(pictures / "train" / unicodedata.normalize("NFC", "é"))
    (pictures / "train" / "green").rename(pictures / "train" / unicodedata.normalize("NFD", "é"))
    with pytest.raises(ValueError, match="Unicode form"):
        folder.load(pictures, "train", 8)


def test_all_that_is_wrong_is_said_at_once(pictures):
    for number in range(14):
        (pictures / "train" / "red" / f"bad{number:02}.jpg").write_bytes(b"<html>")
    (pictures / "train" / "empty").mkdir()
    (pictures / "test" / "blue").mkdir()
    (pictures / "test" / "green" / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match="18 faults") as refused:
        folder.load_all(pictures, ("train", "test"), 8)
    said = str(refused.value)
    assert said.startswith(f"18 faults in {pictures}: ")
    assert said.endswith("and 8 more")
    assert all(f"bad{number:02}.jpg" in said for number in range(7))
    assert all(name in said for name in ("empty", "blue", "same classes"))
    assert "\n" not in said


def test_pictures_beside_the_class_folders_are_called_that(pictures):
    Image.new("RGB", (9, 9), (1, 2, 3)).save(pictures / "train" / "loose.png")
    said = []
    folder.load(pictures, "train", 8, say=said.append)
    assert any("pictures that lie beside the class folders, in none, were left out: 1" in note for note in said)


def test_a_class_whose_name_is_no_text_is_named(pictures):
    try:
        os.mkdir(os.fsencode(pictures / "train") + b"/d\xffg")
    except OSError:
        pytest.skip("this file system takes text only")
    with pytest.raises(ValueError, match=r"class folder b'd\\xffg' must be text in UTF-8"):
        folder.load(pictures, "train", 8)


@pytest.mark.parametrize("name", ["röd", "青", "ñandú"])
def test_a_name_that_the_locale_has_not_read_is_not_blamed(name, tmp_path):
    """As under LC_ALL=C with Python's own UTF-8 mode switched off, where each byte above 127 is kept apart."""
    assert "set PYTHONUTF8=1" in folder._why(name.encode().decode("ascii", "surrogateescape"))
    assert folder._why(os.fsdecode(name.encode("latin-1", "replace") + b"\xff")) == "it is not; rename it"
