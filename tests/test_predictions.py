import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.records import predictions

CLASSES = st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=300)


@given(CLASSES)
def test_classes_come_back_as_they_were_packed(classes):
    assert predictions.unpack(predictions.pack(classes)) == classes


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_the_share_of_right_ones_is_counted_image_by_image(seed, share):
    draw = random.Random(seed)
    labels = [draw.randrange(500) for _ in range(50)]
    given = [label if draw.random() < share else (label + 1) % 500 for label in labels]
    expected = [one == other for one, other in zip(given, labels, strict=True)]
    assert predictions.right(predictions.pack(given), predictions.pack(labels)) == expected


def test_a_thousand_predictions_of_128_classes_take_little_more_than_a_kilobyte():
    draw = random.Random(0)
    assert len(predictions.pack(draw.randrange(128) for _ in range(1000))) < 1400


@pytest.mark.parametrize("wrong", [-1, 2**16])
def test_a_number_that_is_no_class_is_refused(wrong):
    with pytest.raises(ValueError, match="whole number in"):
        predictions.pack([0, wrong])


@given(CLASSES, st.data())
def test_a_damaged_text_is_refused_or_means_the_same(classes, data):
    text = predictions.pack(classes)
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:place] + data.draw(st.sampled_from("Az/+=!é")) + text[place + 1 :]
    try:
        found = predictions.unpack(damaged)
    except ValueError as error:
        found = str(error)
    assert found == classes or "run the experiment again" in found  # base64 does not use every bit


LABELS = predictions.pack([0, 1, 2, 3])
TEST = {"images": "0123", "labels": LABELS}


@pytest.mark.parametrize(
    ("given", "test", "metrics", "message"),
    [
        ({"top1": LABELS}, TEST, {"top1": 0.75}, "must be what its predictions give, 1.0, got 0.75"),
        ({"knn": LABELS}, TEST, {"top1": 1.0}, "metric knn must be"),
        ({"top1": predictions.pack([0, 1, 2])}, TEST, {"top1": 1.0}, "each of the 4 test images, got 3"),
        ({"top1": LABELS}, {}, {"top1": 1.0}, "test must hold images"),
        ({"top1": LABELS}, TEST | {"images": ""}, {"top1": 1.0}, "test must hold images"),
        ({"top1": "nonsense"}, TEST, {"top1": 1.0}, "zlib in base64"),
    ],
)
def test_predictions_that_do_not_fit_their_record_are_refused(given, test, metrics, message):
    with pytest.raises(ValueError, match=message):
        predictions.validate(given, test, metrics)


def test_predictions_that_give_the_recorded_accuracy_are_accepted():
    predictions.validate({"top1": predictions.pack([0, 1, 2, 0])}, TEST, {"top1": 0.75})
    predictions.validate({}, {}, {"top1": 0.75})  # a record from before they were kept
