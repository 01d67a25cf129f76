"""Any picture becomes what a person sees: upright, whole, on white; what is no picture is refused by its name."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin
from references_pictures import eight_bits, on_white, upright

from submasking.worlds import pictures
from submasking.worlds.pictures import decoded, rendered

SIDES = st.tuples(st.integers(1, 7), st.integers(1, 7))
SEEDS = st.integers(0, 2**32 - 1)
LOSSLESS = {"1": "PNG", "L": "PNG", "RGB": "PNG", "P": "GIF", "CMYK": "TIFF", "YCbCr": "TIFF", "LAB": "TIFF"}


def made(mode, sides, seed):
    """Noise in a colour mode."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*sides, 3), dtype=np.uint8))
    if mode != "LAB":
        return noise.convert(mode)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(noise, *profiles, outputMode="LAB")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture"  # no ending: what a file is, its content says


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One path for all examples of a property."""
    return tmp_path_factory.mktemp("pictures") / "picture"


def rows(picture):
    return np.asarray(picture).tolist()


@given(st.sampled_from(sorted(LOSSLESS)), st.integers(1, 8), SIDES, SEEDS)
def test_every_colour_mode_stands_upright(kept, mode, orientation, sides, seed):
    picture, exif = made(mode, sides, seed), Image.Exif()
    exif[274] = orientation
    kind = LOSSLESS[mode]
    if kind == "GIF":  # knows no EXIF
        orientation = 1
        picture.save(kept, kind)
    else:
        picture.save(kept, kind, exif=exif)
    shown = rendered(kept)
    assert shown.mode == "RGB"
    assert rows(shown) == upright(rows(picture.convert("RGB")), orientation)


@given(st.integers(1, 8), SIDES, SEEDS)
def test_photographs_stand_upright(kept, orientation, sides, seed):
    exif = Image.Exif()
    exif[274] = orientation
    made("RGB", sides, seed).save(kept, "JPEG", exif=exif)
    with Image.open(kept) as stored:
        assert rows(rendered(kept)) == upright(rows(stored), orientation)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"]
)
def test_broken_exif_does_not_cost_the_picture(path, exif):
    made("RGB", (5, 6), 0).save(path, "JPEG", exif=exif)
    assert rendered(path).size == (6, 5)


DEEP = {
    "png": ("<u2", "PNG", {}),
    "tiff": ("<u2", "TIFF", {}),
    "tiff, big-endian": (">u2", "TIFF", {}),
    "tiff, packed": ("<u2", "TIFF", {"compression": "tiff_lzw"}),
    "tiff, 0 is white": ("<u2", "TIFF", {"tiffinfo": {262: 0}}),
    "pgm": ("<u2", "PPM", {}),
    "jpeg 2000": ("<u2", "JPEG2000", {"irreversible": False}),
    "tiff, 32 bits": ("<i4", "TIFF", {}),
}


@given(st.sampled_from(sorted(DEEP)), st.sampled_from([255, 4095, 65535]), st.integers(1, 8), SEEDS)
def test_deep_grey_is_scaled_by_its_range_and_not_by_its_content(kept, name, largest, orientation, seed):
    numbers, kind, options = DEEP[name]
    values = np.random.default_rng(seed).integers(0, largest + 1, (40, 33))
    options, exif = dict(options), Image.Exif()
    if kind == "PNG":
        exif[274] = orientation
        options["exif"] = exif
    else:
        orientation = 1
    Image.fromarray(values.astype(numbers)).save(kept, kind, **options)
    wanted = [[(eight_bits(value, 65535),) * 3 for value in row] for row in values.tolist()]
    if "white" in name:
        wanted = [[tuple(255 - channel for channel in pixel) for pixel in row] for row in wanted]
    said = []
    assert rows(rendered(kept, say=said.append)) == [[list(p) for p in row] for row in upright(wanted, orientation)]
    assert len(said) == (largest < 65535)
    assert not said or "almost black" in said[0]


def test_twelve_bits_that_the_file_declares_are_the_range(path):
    """Pillow reads such files and does not write them: two numbers of 12 bits in three bytes, 4095 and 2048."""
    entries = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 3)]  # fmt: skip
    body = b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + count.to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, count, value in entries
    )
    start = b"II*\0" + (12).to_bytes(4, "little") + b"\xff\xf8\x00\0" + len(entries).to_bytes(2, "little")
    path.write_bytes(start + body + bytes(4))
    assert rows(rendered(path)) == [[[255] * 3, [128] * 3]]


@given(SIDES, SEEDS)
def test_floats_in_0_to_1_are_scaled(kept, sides, seed):
    values = np.random.default_rng(seed).random(sides, dtype=np.float32)
    Image.fromarray(values).save(kept, "TIFF")
    wanted = [[[eight_bits(value, 1)] * 3 for value in row] for row in values.tolist()]
    assert rows(rendered(kept)) == wanted


@pytest.mark.parametrize("value", [1.5, 255.0, -0.1, float("nan"), float("inf")])
def test_floats_of_another_range_are_refused_with_the_rule(path, value):
    Image.fromarray(np.array([[0.5, value]], dtype=np.float32)).save(path, "TIFF")
    with pytest.raises(ValueError, match=r"picture must be a readable picture \(grey of mode F must lie in 0\.\.1"):
        rendered(path)


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_whole_numbers_of_no_known_range_are_refused_with_the_rule(path, value):
    Image.fromarray(np.array([[5, value]], dtype=np.int32)).save(path, "TIFF")
    with pytest.raises(ValueError, match=r"must lie in 0\.\.65535"):
        rendered(path)


ALPHA = [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP"), ("PA", "TIFF"), ("RGBA", "TGA")]


@given(st.sampled_from(ALPHA), SIDES, SEEDS)
def test_what_is_transparent_lies_on_white(kept, how, sides, seed):
    mode, kind = how
    random = np.random.default_rng(seed)
    pixels = Image.fromarray(random.integers(0, 256, (*sides, 4), dtype=np.uint8))
    if mode == "LA":
        pixels = pixels.convert("LA")
    elif mode == "PA":
        mode, kind, pixels = "LA", "TIFF", pixels.convert("LA")
    pixels.save(kept, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    wanted = [[on_white(pixel[:3], pixel[3]) for pixel in row] for row in rows(pixels.convert("RGBA"))]
    assert np.abs(np.asarray(rendered(kept)) - np.array(wanted)).max() <= 1


@given(st.sampled_from(["1", "L", "P", "RGB", "I;16"]), SIDES, SEEDS)
def test_a_colour_that_counts_as_transparent_is_white(kept, mode, sides, seed):
    if mode == "I;16":
        values = np.random.default_rng(seed).integers(0, 65536, sides).astype(np.uint16)
        picture, clear = Image.fromarray(values), int(values[0, 0])
    else:
        picture = made(mode, sides, seed)
        clear = picture.getpixel((0, 0))
    picture.save(kept, "PNG", transparency=clear)
    gone = np.asarray(picture) == np.array(clear)
    gone = gone.all(-1) if gone.ndim == 3 else gone
    shown = np.asarray(rendered(kept))
    assert (shown[gone] == 255).all()
    if mode == "RGB":
        assert (shown[~gone] == np.asarray(picture)[~gone]).all()


def test_of_an_animation_the_first_frame_counts(path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        frames[0].save(
            path, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert rendered(path).getpixel((1, 1)) == (255, 0, 0), kind


def test_an_uneven_picture_is_resized_as_a_whole(path):
    made("RGB", (5, 90), 0).save(path, "PNG")
    assert decoded(path, 8).shape == (3, 8, 8)


def noise(kind):
    file = io.BytesIO()
    made("RGB", (64, 64), 0).save(file, kind)
    return file.getvalue()


FAULTY = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "words": b"no picture",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a Mac's other half": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100),
} | {f"half a {kind}": noise(kind)[:1500] for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM")}


@pytest.mark.parametrize("name", FAULTY)
def test_what_is_no_whole_picture_is_named(path, name):
    path.write_bytes(FAULTY[name])
    with pytest.raises(ValueError, match="picture must be a readable picture") as refused:
        rendered(path)
    assert "\n" not in str(refused.value)


def outcome(path):
    try:
        return rendered(path).mode
    except ValueError as refused:
        return str(refused)


@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "TGA", "PCX"]), st.data())
def test_damage_is_nothing_or_a_fault_that_names_the_file(kept, kind, data):
    content = bytearray(noise(kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    kept.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    said = outcome(kept)
    assert said == "RGB" or str(kept) in said


@pytest.mark.parametrize("side", [11_000, 19_000])
def test_a_bomb_is_refused_unopened(path, side):
    Image.new("1", (side, side)).save(path, "PNG")
    with pytest.raises(ValueError, match=r"picture must have at most 120,000,000 pixels"):
        rendered(path)


def test_a_large_picture_is_no_bomb(path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000)  # Pillow warns from here on
    Image.new("1", (70, 70)).save(path, "PNG")
    assert rendered(path).size == (70, 70)


def test_endings_are_those_of_files_that_can_be_decoded():
    endings = pictures.suffixes()
    assert {".jpg", ".jfif", ".png", ".gif", ".webp", ".tif", ".pgm", ".jp2", ".bmp"} <= endings
    assert not endings & {".eps", ".h5", ".mpg", ".pdf", ".wmf", ".txt", ".json", ".heic", ""}


def test_a_picture_with_long_words_in_it_is_a_picture(path):
    words = PngImagePlugin.PngInfo()
    words.add_text("prompt", "x" * 2000, zip=True)
    made("RGB", (4, 4), 0).save(path, "PNG", pnginfo=words)
    assert rendered(path).size == (4, 4)
