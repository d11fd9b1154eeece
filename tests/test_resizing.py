"""Resizing: what torchvision and Pillow do, to the grey level or to within one, by both of the ways there are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
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
simd = pytest.mark.skipif(resizing._simd() is None, reason="cykooz.resizer has no wheel for this system")


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def photo() -> NDArray[np.uint8]:
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"))


@pytest.fixture
def pillow_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without cykooz.resizer."""
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    resizing._simd.cache_clear()
    yield
    resizing._simd.cache_clear()


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
def test_with_simd_a_crop_is_torchvisions_within_a_grey_level_or_on_noise_two(
    size: Any, shorter: Any, crop: Any, interpolation: Any
) -> None:
    different = apart(
        cropped(noise(*size), shorter, crop, interpolation), torchvisions(noise(*size), shorter, crop, interpolation)
    )
    assert different.max() <= 2
    assert np.mean(different > 1) < 0.001


@simd
@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("size", [(224, 224), (60, 90), (640, 700)])
def test_on_a_photo_few_values_are_off_at_all(
    interpolation: Any, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    window = Window(0, 0, *size)
    fast = resize(photo(), size, interpolation, window)
    request.getfixturevalue("pillow_only")
    different = apart(fast, resize(photo(), size, interpolation, window))
    assert different.max() <= 1
    assert np.mean(different > 0) < 0.01
    assert np.any(different), "this was not two ways of doing it"


@simd
@pytest.mark.parametrize("interpolation", SMOOTH)
@pytest.mark.parametrize("size", [(300, 200), (37, 91), (2000, 1500)])
def test_a_window_is_that_part_of_the_whole(interpolation: Any, size: tuple[int, int]) -> None:
    whole = resize(photo(), size, interpolation, Window(0, 0, *size))
    for left, top, width, height in ((0, 0, 5, 7), (size[0] - 9, size[1] - 4, 9, 4), (11, 23, 20, 30)):
        part = resize(photo(), size, interpolation, Window(left, top, width, height))
        assert apart(part, whole[top : top + height, left : left + width]).max() <= 1


@simd
def test_every_processor_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions differ (none, SSE4.1, AVX2; NEON on ARM), the grey levels must not."""
    import cykooz_resizer

    class Plain(cykooz_resizer.Resizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cpu_extensions = cykooz_resizer.CpuExtensions.none

    geometries = [((224, 224), Window(0, 0, 224, 224)), ((900, 600), Window(333, 111, 224, 224))]
    fast = [resize(photo(), size, "bicubic", window) for size, window in geometries]
    monkeypatch.setattr(cykooz_resizer, "Resizer", Plain)
    for expected, (size, window) in zip(fast, geometries, strict=True):
        assert np.array_equal(resize(photo(), size, "bicubic", window), expected)


@pytest.mark.parametrize("ways", ["simd", "pillow"])
@pytest.mark.parametrize("shape", [(2, 60_000), (60_000, 2)])
def test_a_long_thin_picture_is_never_resized_whole(
    ways: str, shape: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    if ways == "pillow":
        request.getfixturevalue("pillow_only")
    resource = pytest.importorskip("resource")
    thin = np.zeros((*shape, 3), np.uint8)
    thin[shape[0] // 2 :, shape[1] // 2 :] = 255
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = cropped(thin, None, 2000, "bicubic")  # whole it would have 120 billion pixels
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    assert seen[0, 0].max() < 128 < seen[-1, -1].min()


@pytest.mark.parametrize("interpolation", [*SMOOTH, "nearest", "box"])
def test_the_picture_itself_is_left_alone(interpolation: Any) -> None:
    before = noise(40, 50)
    resize(before, (20, 30), interpolation, Window(2, 3, 10, 10))
    assert np.array_equal(before, noise(40, 50))


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [noise(100 + 10 * number, 200) for number in range(8)]
    expected = [cropped(picture, None, 64, "bicubic") for picture in pictures]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(cropped(pictures[number], None, 64, "bicubic"), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
