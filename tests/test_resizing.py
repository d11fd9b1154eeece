"""Resizing: what torchvision and Pillow do, to the grey level, or nearly where SIMD shrinks."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whatsit import resizing
from whatsit.preprocess import Preprocess
from whatsit.resizing import Window, resize

SIZES = [(1, 1), (1, 50), (50, 1), (31, 47), (47, 31), (64, 64), (65, 64), (224, 224), (100, 333), (480, 640), (16, 15)]
GEOMETRIES = [(None, 32), (36, 32), (64, 64), (256, 224), (33, 32)]
SMOOTH = ["bilinear", "bicubic", "lanczos"]
simd = pytest.mark.skipif(resizing._library() is None, reason="cykooz.resizer has no wheel for this system")


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def photo() -> NDArray[np.uint8]:
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"))


@pytest.fixture
def pillow_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without cykooz.resizer."""
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    resizing._library.cache_clear()
    yield
    resizing._library.cache_clear()


def torchvisions(picture: NDArray[np.uint8], shorter: int | None, crop: int, interpolation: str) -> NDArray[np.uint8]:
    transforms = pytest.importorskip("torchvision.transforms")
    resized = transforms.Resize(shorter or crop, transforms.InterpolationMode(interpolation))
    return np.asarray(transforms.CenterCrop(crop)(resized(Image.fromarray(picture))))


def cropped(picture: NDArray[np.uint8], shorter: int | None, crop: int, interpolation: Any) -> NDArray[np.uint8]:
    return Preprocess("crop", (crop, crop), interpolation, shorter).apply(picture)


def apart(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.int_]:
    assert ours.shape == theirs.shape
    return np.abs(ours.astype(int) - theirs)


@pytest.mark.usefixtures("pillow_only")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("shorter", "crop"), GEOMETRIES)
@pytest.mark.parametrize("interpolation", [*SMOOTH, "nearest", "box"])
def test_with_pillow_a_crop_is_torchvisions_to_the_grey_level(
    size: Any, shorter: Any, crop: Any, interpolation: Any
) -> None:
    different = apart(
        cropped(noise(*size), shorter, crop, interpolation), torchvisions(noise(*size), shorter, crop, interpolation)
    )
    longest = max((shorter or crop) * max(size) / min(size), 1)
    # Pictures that would become very long are never resized whole, and rounded once instead of twice.
    assert different.max() <= (1 if longest > 16 * crop else 0)


@simd
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("shorter", "crop"), GEOMETRIES)
@pytest.mark.parametrize("interpolation", SMOOTH)
def test_with_simd_a_crop_is_torchvisions_within_two_grey_levels(
    size: Any, shorter: Any, crop: Any, interpolation: Any
) -> None:
    different = apart(
        cropped(noise(*size), shorter, crop, interpolation), torchvisions(noise(*size), shorter, crop, interpolation)
    )
    assert different.max() <= 2
    assert np.mean(different > 1) < 0.001


@simd
@pytest.mark.parametrize("interpolation", SMOOTH)
# To 4 of 5 and 1 of 2, many values lie half-way between two grey levels, where the last bit decides.
@pytest.mark.parametrize(
    ("size", "off"), [((224, 224), 0.015), ((60, 90), 0.015), ((512, 340), 0.06), ((320, 213), 0.03)]
)
def test_on_a_photo_few_values_are_off_at_all(
    interpolation: Any, size: tuple[int, int], off: float, request: pytest.FixtureRequest
) -> None:
    window = Window(0, 0, *size)
    fast = resize(photo(), size, interpolation, window)
    request.getfixturevalue("pillow_only")
    different = apart(fast, resize(photo(), size, interpolation, window))
    assert different.max() <= 2
    assert np.mean(different > 1) < 0.0005
    assert np.mean(different > 0) < off
    assert np.any(different), "this was not two ways of doing it"


@pytest.mark.parametrize("interpolation", [*SMOOTH, "nearest", "box"])
@pytest.mark.parametrize("size", [(800, 600), (640, 428), (641, 427), (10, 600)])
def test_enlarging_is_pillows(interpolation: Any, size: tuple[int, int]) -> None:
    whole = Image.fromarray(photo()).resize(size, Image.Resampling[interpolation.upper()])
    assert np.array_equal(resize(photo(), size, interpolation, Window(0, 0, *size)), np.asarray(whole))


@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("size", [(300, 200), (37, 91), (600, 400)])
def test_a_window_is_that_part_of_the_whole(interpolation: Any, size: tuple[int, int]) -> None:
    whole = resize(photo(), size, interpolation, Window(0, 0, *size))
    for left, top, width, height in ((0, 0, 5, 7), (size[0] - 9, size[1] - 4, 9, 4), (11, 23, 20, 30)):
        part = resize(photo(), size, interpolation, Window(left, top, width, height))
        assert apart(part, whole[top : top + height, left : left + width]).max() <= 1


@pytest.mark.parametrize("side", [(31, 10), (31, 24), (35, 31), (37, 10)])
def test_a_window_at_the_edge_stays_within_it_whatever_rounding_does(side: tuple[int, int]) -> None:
    before, after = side  # (after - 1) * (before / after) + before / after > before
    size, last = (after, after), after - 1
    picture = noise(before, before)
    whole = resize(picture, size, "bilinear", Window(0, 0, *size))
    corner = resize(picture, size, "bilinear", Window(last, last, 1, 1))
    assert apart(corner, whole[last:, last:]).max() <= 1


@simd
@pytest.mark.parametrize("interpolation", SMOOTH)
def test_every_row_that_has_a_part_is_taken(interpolation: Any) -> None:
    """With a white row just outside, the window stays black; just inside, it does not."""
    height, rows, top = 1000, 90, 40
    down, reach = height / rows, resizing._REACH[interpolation]
    window = Window(0, top, 8, 10)
    needed = resizing._rows_needed(window, down, reach)
    # Pillow's bounds: a pixel counts where its middle is less than the filter's reach from that of the resized one.
    first, last = (top + 0.5 - reach) * down - 0.5, (top + 9.5 + reach) * down - 0.5
    assert needed.start <= first
    assert needed.stop - 1 >= last
    for row in range(height):
        picture = np.zeros((height, 20, 3), np.uint8)
        picture[row] = 255
        expected = resizing._with_pillow(picture, (8, rows), interpolation, window)
        assert apart(resize(picture, (8, rows), interpolation, window), expected).max() <= 1


@simd
def test_every_processor_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions differ (none, SSE4.1, AVX2; NEON on ARM), the grey levels must not."""
    import cykooz_resizer

    class Plain(cykooz_resizer.Resizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cpu_extensions = cykooz_resizer.CpuExtensions.none

    geometries = [((224, 224), Window(0, 0, 224, 224)), ((600, 400), Window(133, 111, 224, 224))]
    fast = [resize(photo(), size, "bicubic", window) for size, window in geometries]
    monkeypatch.setattr(cykooz_resizer, "Resizer", Plain)
    for expected, (size, window) in zip(fast, geometries, strict=True):
        assert np.array_equal(resize(photo(), size, "bicubic", window), expected)


@pytest.mark.parametrize("shape", [(2, 60_000), (60_000, 2)])
def test_a_long_thin_picture_is_never_resized_whole(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    resize, sizes = Image.Image.resize, []

    def noting(image: Image.Image, size: tuple[int, int], *arguments: Any, **options: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", noting)
    thin = np.zeros((*shape, 3), np.uint8)
    thin[shape[0] // 2 :, shape[1] // 2 :] = 255
    seen = cropped(thin, None, 224, "bicubic")  # whole it would have 6.7 million rows or columns
    assert sizes == [(224, 224)]
    assert seen[0, 0].max() < 128 < seen[-1, -1].min()


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)],
    ids=["alpha", "grey", "float"],
)
def test_other_arrays_are_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises(TypeError, match="uint8"):
        resize(wrong, (4, 4), "bicubic", Window(0, 0, 4, 4))


def test_a_broken_installation_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cykooz_resizer", types.ModuleType("cykooz_resizer"))
    resizing._library.cache_clear()
    try:
        assert resizing.shrinks_with() == "pillow"
        whole = np.asarray(Image.fromarray(photo()).resize((224, 224), Image.Resampling.BICUBIC))
        assert np.array_equal(resize(photo(), (224, 224), "bicubic", Window(0, 0, 224, 224)), whole)
    finally:
        resizing._library.cache_clear()


@pytest.mark.parametrize("interpolation", [*SMOOTH, "nearest", "box"])
def test_the_picture_itself_is_left_alone(interpolation: Any) -> None:
    before = noise(40, 50)
    resize(before, (20, 30), interpolation, Window(2, 3, 10, 10))
    assert np.array_equal(before, noise(40, 50))


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [noise(100 + 10 * number, 200) for number in range(8)]
    expected = [cropped(picture, None, 64, "bicubic") for picture in pictures]

    def differs(number: int) -> bool:
        return not np.array_equal(cropped(pictures[number % 8], None, 64, "bicubic"), expected[number % 8])

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(differs, range(400)))
