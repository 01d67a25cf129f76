import colorsys
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from submasking.learning import augment

STILL = augment.Style(jittered=0.0, grey=0.0)


def _images(count=4, size=12, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([augment.GLYPHS, augment.PHOTOS, augment.Style(shift=0.1, turn=0.2)]))
def test_supervised_keeps_shape_and_range_and_repeats_itself(seed, style):
    images = _images()
    first, second = (augment.supervised(images, _generator(seed), style) for _ in range(2))
    assert first.shape == images.shape
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, second)
    assert torch.equal(images, _images())  # the input is left alone


def test_a_style_that_does_nothing_changes_nothing():
    assert torch.allclose(augment.supervised(_images(), _generator(), STILL), _images(), atol=1e-6)


def test_grey_makes_the_channels_equal():
    style = augment.Style(jittered=0.0, grey=1.0)
    grey = augment.supervised(_images(), _generator(), style)
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-5)
    assert torch.allclose(grey[:, 0], grey[:, 2], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_hue_and_saturation_keep_the_luma(seed):
    angle, saturation = torch.rand(2, 1, generator=_generator(seed)) * 2 - torch.tensor([[1.0], [0.0]])
    matrix = augment._colour_matrix(saturation.clamp(0, 2), angle * math.pi)
    pixel = torch.rand(3, generator=_generator(seed + 1))
    assert torch.isclose(augment._YIQ[0] @ (matrix[0] @ pixel), augment._YIQ[0] @ pixel, atol=1e-5)


def test_a_half_turn_of_the_colour_plane_gives_the_opposite_hue():
    matrix = augment._colour_matrix(torch.ones(1), torch.tensor([math.pi]))[0]
    reddish = torch.tensor([0.6, 0.45, 0.4])
    hue = colorsys.rgb_to_hsv(*reddish.tolist())[0]
    turned = colorsys.rgb_to_hsv(*(matrix @ reddish).tolist())[0]
    assert abs((turned - hue) % 1 - 0.5) < 0.1


def test_solarised_inverts_the_bright_half():
    images = _images()
    style = augment.Style(jittered=0.0, grey=0.0, solarised=1.0)
    expected = torch.where(images >= 0.5, 1 - images, images)
    assert torch.allclose(augment.supervised(images, _generator(), style), expected, atol=1e-5)


def test_flipped_mirrors_left_and_right():
    style = augment.Style(jittered=0.0, grey=0.0, flipped=1.0)
    assert torch.allclose(augment.supervised(_images(), _generator(), style), _images().flip(3), atol=1e-5)


def test_the_character_styles_never_flip_or_solarise():
    for style in (augment.GLYPHS, augment.GLYPH_VIEWS):
        assert style.flipped == style.solarised == 0


@pytest.mark.parametrize("probability", [0.2, 0.8])
def test_changes_happen_as_often_as_the_style_says(probability):
    images = _images(1).expand(2000, -1, -1, -1)
    style = augment.Style(jittered=0.0, grey=probability)
    grey = augment.supervised(images, _generator(), style)
    share = (grey[:, 0] - grey[:, 1]).abs().amax((1, 2)).lt(1e-4).float().mean().item()
    assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / 2000)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(4, 16), min_size=1, max_size=5))
def test_views_have_the_sizes_asked_for_and_repeat_themselves(seed, sizes):
    first, second = (augment.views(_images(), _generator(seed), sizes) for _ in range(2))
    assert [view.shape for view in first] == [(4, 3, size, size) for size in sizes]
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(0 <= view.min() <= view.max() <= 1 for view in first)


def test_a_view_of_the_whole_image_is_the_image():
    (view,) = augment.views(_images(), _generator(), (12,), [(1.0, 1.0)], STILL)
    assert torch.allclose(view, _images(), atol=1e-5)


def test_a_view_shows_a_part_of_the_image():
    ramp = torch.linspace(0, 1, 12).expand(50, 3, 12, 12)
    (view,) = augment.views(ramp, _generator(), (12,), [(0.25, 0.25)], STILL)
    span = view.amax((1, 2, 3)) - view.amin((1, 2, 3))
    assert torch.allclose(span, torch.full((50,), 0.5), atol=0.03)  # half the side of a ramp


def test_views_differ_from_each_other_and_between_images():
    one, other = augment.views(_images(1).expand(4, -1, -1, -1), _generator(), (12, 12))
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one[0], one[1], atol=1e-3)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="positive"):
        augment.views(_images(), _generator(), ())
    with pytest.raises(ValueError, match="positive"):
        augment.views(_images(), _generator(), (0,))
    with pytest.raises(ValueError, match="one to one"):
        augment.views(_images(), _generator(), (8, 8), [(0.5, 1.0)])


@pytest.mark.parametrize("style", [augment.PHOTOS, augment.GLYPHS, augment.GLYPH_VIEWS])
def test_images_are_changed_where_they_are(style):
    images = torch.empty(4, 3, 12, 12, device="meta")  # as a GPU would be: an operation on two devices fails
    generator = torch.Generator().manual_seed(0)
    assert augment.supervised(images, generator, style).device.type == "meta"
    assert {view.device.type for view in augment.views(images, generator, (8, 6), style=style)} == {"meta"}
