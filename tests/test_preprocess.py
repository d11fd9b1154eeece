"""The geometry: which part of a picture is seen, and the same size every time. How it is resized: test_resizing.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whatsit.errors import OptionError
from whatsit.preprocess import GREY, SCALINGS, Preprocess, scaling_named

SIZES = [(1, 1), (1, 50), (50, 1), (31, 47), (47, 31), (64, 64), (65, 64), (224, 224), (100, 333), (480, 640), (16, 15)]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("target", [(32, 32), (20, 30), (30, 20), (1, 1), (224, 7)])
@pytest.mark.parametrize("size", [*SIZES, (1, 3000), (3000, 1)])
def test_the_size_is_always_the_one_asked_for(fit: Any, target: tuple[int, int], size: tuple[int, int]) -> None:
    before = picture(*size)
    result = Preprocess(fit, target).apply(before)
    assert result.shape == (*target, 3)
    assert result.dtype == np.uint8
    assert np.array_equal(before, picture(*size))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("target", [(32, 32), (20, 30), (30, 20)])
def test_a_picture_of_the_right_size_keeps_every_pixel(fit: Any, target: tuple[int, int]) -> None:
    assert np.array_equal(Preprocess(fit, target).apply(picture(*target)), picture(*target))


def test_a_picture_of_the_right_size_is_still_enlarged_where_the_crop_wants_it() -> None:
    assert not np.array_equal(Preprocess("crop", (32, 32), resize_shorter=36).apply(picture(32, 32)), picture(32, 32))


@pytest.mark.parametrize(("target", "size"), [((20, 30), (40, 60)), ((30, 20), (60, 40)), ((20, 30), (40, 100))])
def test_a_crop_that_is_not_square_loses_no_more_than_it_must(target: tuple[int, int], size: tuple[int, int]) -> None:
    whole = picture(*size)
    kept = size[0] * target[1] // target[0]  # columns that fit at this height
    left = (size[1] - kept) // 2
    expected = np.asarray(Image.fromarray(whole[:, left : left + kept]).resize(target[::-1], Image.Resampling.BOX))
    assert np.abs(Preprocess("crop", target, "box").apply(whole).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("size", "inner"),
    [((10, 20), (slice(8, 24), slice(0, 32))), ((20, 10), (slice(0, 32), slice(8, 24))), ((5, 5), (slice(0, 32),) * 2)],
)
def test_pad_keeps_proportions_and_fills_the_margins_with_grey(size: tuple[int, int], inner: Any) -> None:
    padded = Preprocess("pad", (32, 32)).apply(np.full((*size, 3), 200, np.uint8))
    expected = np.full((32, 32, 3), GREY[0], np.uint8)
    expected[inner] = 200
    assert np.array_equal(padded, expected)


def test_pad_in_a_colour_of_choice() -> None:
    padded = Preprocess("pad", (4, 4), pad_colour=(1, 2, 3)).apply(np.zeros((2, 4, 3), np.uint8))
    assert padded[0].tolist() == [[1, 2, 3]] * 4
    assert padded[1].tolist() == [[0, 0, 0]] * 4


def test_squash_shows_the_whole_picture() -> None:
    halves = np.zeros((50, 100, 3), np.uint8)
    halves[:, 50:] = 255
    squashed = Preprocess("squash", (8, 8), "box").apply(halves)
    assert np.array_equal(squashed, np.repeat([[0] * 4 + [255] * 4], 8, axis=0)[..., None].repeat(3, axis=2))


def test_rows_need_not_be_contiguous() -> None:
    flipped = picture(40, 30)[:, ::-1]
    for fit in ("crop", "pad", "squash"):
        preprocess = Preprocess(fit, (16, 16))
        assert np.array_equal(preprocess.apply(flipped), preprocess.apply(flipped.copy()))


def test_it_survives_json() -> None:
    import json

    for preprocess in (Preprocess("pad", (3, 4), "lanczos", None, (9, 8, 7)), Preprocess("crop", (5, 5), "box", 6)):
        assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess
    assert Preprocess.from_json({"fit": "pad", "size": [2, 3], "interpolation": "box"}).pad_colour == GREY


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"fit": "crob"}, "crop"),
        ({"fit": ""}, "--fit"),
        ({"interpolation": "bicubik"}, "bicubic"),
        ({"size": (0, 5)}, "--image-size"),
        ({"size": (5, 4097)}, "--image-size"),
        ({"resize_shorter": 100_000}, "--image-size"),
        ({"resize_shorter": -1}, "--image-size"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(OptionError) as caught:
        Preprocess(**{"fit": "crop", "size": (8, 8), **wrong})
    assert hint in caught.value.hint


def test_scalings_by_name() -> None:
    white, black = 1.0, 0.0
    imagenet, signed, unit, raw = (scaling_named(name) for name in ("imagenet", "-1..1", "0..1", "0..255"))
    assert [((v - signed.mean[0]) / signed.std[0]) for v in (black, white)] == [-1, 1]
    assert [((v - unit.mean[0]) / unit.std[0]) for v in (black, white)] == [0, 1]
    assert [((v - raw.mean[0]) / raw.std[0]) for v in (black, white)] == [0, 255]
    assert (white - imagenet.mean[2]) / imagenet.std[2] == pytest.approx(2.64)
    with pytest.raises(OptionError, match="imagenet"):
        scaling_named("imagnet")
    assert len(SCALINGS) == 7


def test_keras_applications_names_stand_for_their_scaling() -> None:
    assert scaling_named("mobilenet_v2") == scaling_named("-1..1")
    assert scaling_named("vgg16") == scaling_named("caffe")
    assert scaling_named("caffe").bgr
    caffe = scaling_named("caffe")
    red = [(value / 255 - caffe.mean[0]) / caffe.std[0] for value in (0, 255)]
    assert red == [pytest.approx(-123.68), pytest.approx(131.32)]
