"""Resize a picture and keep a window of the result. The only code that resizes what a network sees.

Two ways, both with Pillow's filters, which average when they shrink, and in Pillow's order: first across, then down,
with whole grey levels in between. cykooz.resizer shrinks with SIMD, two to seven times as fast as Pillow; its
coefficients are stored in 16 bits, so some values are off by a grey level. Everything else, and everything where it has
no wheels (Linux and Windows on ARM, Python 3.15), is Pillow's. The figures: docs/decisions/0010-resizing-with-simd.md.
"""

from __future__ import annotations

from functools import cache
from math import ceil, floor
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
Picture: TypeAlias = NDArray[np.uint8]

# The filters that SIMD is for, by the library's names. The other two end in a step: where it falls on a pixel, the last
# bit of a coordinate decides, and that is to be decided as Pillow does. "catmull_rom" is Keys's cubic with a = -0.5.
_FILTERS = {"bilinear": "bilinear", "bicubic": "catmull_rom", "lanczos": "lanczos3"}
_REACH = {"bilinear": 1, "bicubic": 2, "lanczos": 3}  # in pixels of the resized picture
_LONGEST = 16  # times the window: where Pillow does it, longer resized pictures are never made whole


class Window(NamedTuple):
    """What is kept of a resized picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


def resize(picture: Picture, size: tuple[int, int], interpolation: Interpolation, window: Window) -> Picture:
    """RGB `uint8 [H, W, 3]` resized to `size` (width, height), and of that the window, `uint8 [height, width, 3]`.

    Raises TypeError for arrays of another kind or shape.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise TypeError(f"expected uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}")
    # Enlarging would multiply the differences, and small pictures take no time. Of a thin one the first pass may make
    # gigabytes, for want of which Rust ends the process where Pillow raises MemoryError.
    shrinks = size[0] <= picture.shape[1] and size[1] <= picture.shape[0]
    if shrinks and interpolation in _FILTERS and (library := _library()):
        return _with_simd(library, picture, size, interpolation, window)
    return _with_pillow(picture, size, interpolation, window)


def shrinks_with() -> str:
    """The library that shrinks here, since what follows from the pixels (cached features) differs a little with it."""
    return "cykooz.resizer" if _library() else "pillow"


@cache
def _library() -> Any | None:
    try:
        import cykooz_resizer

        cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.lanczos3)
    except Exception:  # not there, or a broken installation: Pillow does the same, more slowly
        return None
    return cykooz_resizer


def _with_simd(
    library: Any, picture: Picture, size: tuple[int, int], interpolation: Interpolation, window: Window
) -> Picture:
    height, width = picture.shape[:2]
    across, down = width / size[0], height / size[1]  # pixels of the picture to one of the resized
    needed = _rows_needed(window, down, _REACH[interpolation])
    rows = picture[needed]
    left, top = window.left * across, window.top * down - needed.start
    wide = min(window.width * across, width - left)  # rounding must not push a box past the edge
    high = min(window.height * down, len(rows) - top)
    algorithm = library.ResizeAlg.convolution(getattr(library.FilterType, _FILTERS[interpolation]))
    columns = _pass(library, algorithm, rows, (left, 0, wide, len(rows)), (window.width, len(rows)))
    return _pass(library, algorithm, columns, (0, top, window.width, high), (window.width, window.height))


def _rows_needed(window: Window, down: float, reach: int) -> slice:
    """The rows of a picture that have a part in the window, where `down` of them become one."""
    margin = ceil(reach * down) + 1
    return slice(max(floor(window.top * down) - margin, 0), ceil((window.top + window.height) * down) + margin)


def _pass(
    library: Any, algorithm: Any, picture: Picture, box: tuple[float, float, float, float], size: tuple[int, int]
) -> Picture:
    """The box (left, top, width, height) of a picture, resized."""
    kind = library.PixelType.U8x3
    before = library.ImageData(picture.shape[1], picture.shape[0], kind, picture.tobytes())
    after = library.ImageData(*size, kind)
    options = library.ResizeOptions(resize_alg=algorithm, crop_box=library.CropBox(*box))
    library.Resizer().resize(before, after, options)  # a Resizer that is shared lets one thread in at a time
    return np.frombuffer(after.get_buffer(), np.uint8).reshape(size[1], size[0], 3)


def _with_pillow(picture: Picture, size: tuple[int, int], interpolation: Interpolation, window: Window) -> Picture:
    from PIL import Image

    image, resample = Image.fromarray(picture), Image.Resampling[interpolation.upper()]
    left, top, width, height = window
    right, bottom = left + width, top + height
    if max(size) > _LONGEST * max(width, height):
        across, down = image.width / size[0], image.height / size[1]
        # Rounding must not push it past the edge.
        box = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
        return np.asarray(image.resize((width, height), resample, box=box))
    # What is cut off at the sides is not resized down; Pillow's own `box` does that too, but rounds its corners.
    columns = image.resize((size[0], image.height), resample).crop((left, 0, right, image.height))
    return np.asarray(columns.resize((width, size[1]), resample).crop((0, top, width, bottom)))
