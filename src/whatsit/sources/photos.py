"""The two photos that come with scikit-learn: pictures of nobody's, to compare answers on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import MissingExtraError

Picture = tuple[str, NDArray[np.uint8]]  # a name and uint8 [h, w, 3]
# Parts of a photo, as shares of its height and width: (top, left, side of the part).
_PARTS = ((0, 0, 1), (0, 0, 0.6), (0, 0.4, 0.6), (0.4, 0, 0.6), (0.4, 0.4, 0.6))
_MORE = ((0.2, 0.2, 0.6), (0, 0, 0.3), (0, 0.35, 0.3), (0, 0.7, 0.3), (0.5, 0, 0.3), (0.5, 0.35, 0.3), (0.5, 0.7, 0.3))


def sample_photos() -> dict[str, NDArray[np.uint8]]:
    """The photos by name, uint8 [427, 640, 3]: a Chinese temple and a flower."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise MissingExtraError("take sample photos", module="sklearn", extra="train") from None
    bunch = load_sample_images()
    names = [Path(name).name for name in bunch.filenames]
    return {name: np.asarray(photo, np.uint8) for name, photo in zip(names, bunch.images, strict=True)}


def sample_parts(others: bool = False) -> Iterator[Picture]:
    """Ten parts of the photos, the whole ones among them, or fourteen others."""
    for name, photo in sample_photos().items():
        height, width = photo.shape[:2]
        for top, left, side in _MORE if others else _PARTS:
            rows = slice(round(top * height), round((top + side) * height))
            columns = slice(round(left * width), round((left + side) * width))
            yield f"{name} {rows.start}:{rows.stop},{columns.start}:{columns.stop}", photo[rows, columns]
