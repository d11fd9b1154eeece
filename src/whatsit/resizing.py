"""Resize a picture and keep a window of the result. The only code that resizes what a network sees.

Both ways below follow Pillow's arithmetic: its filters, which average when they shrink, first across, then down, and
whole grey levels in between. cykooz.resizer does it with SIMD, four to eight times as fast, with 16 bits for a
coefficient where Pillow has 22: of the values of a photo, about one in 300 is off by one grey level. Where it has no
wheels (Linux and Windows on ARM), Pillow does it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil, floor
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
Picture: TypeAlias = NDArray[np.uint8]

# The filters that SIMD is for, with their reach in pixels of the smaller picture. The other two end in a step: where it
# falls on a pixel, the last bit of a coordinate decides, and that is to be decided as Pillow does.
_REACH = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
_LONGEST = 16  # times the window: where Pillow does it, longer resized pictures are never made whole


class Window(NamedTuple):
    """What is kept of a resized picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


_Resize: TypeAlias = Callable[[Picture, tuple[int, int], Window, Interpolation], Picture]


def resize(picture: Picture, size: tuple[int, int], interpolation: Interpolation, window: Window) -> Picture:
    """`uint8 [H, W, 3]` resized to `size` (width, height), and of that the window, `uint8 [height, width, 3]`."""
    simd = _simd() if interpolation in _REACH else None
    return (simd or _with_pillow)(picture, size, window, interpolation)


@cache
def _simd() -> _Resize | None:
    try:
        import cykooz_resizer as library
    except Exception:  # not there, or a broken installation: Pillow does the same, more slowly
        return None
    filters = {
        "bilinear": library.FilterType.bilinear,
        "bicubic": library.FilterType.catmull_rom,  # Keys, 1981, with a = -0.5
        "lanczos": library.FilterType.lanczos3,
    }

    def run(picture: Picture, size: tuple[int, int], box: tuple[float, float, float, float], kind: str) -> Picture:
        before = library.ImageData(picture.shape[1], picture.shape[0], library.PixelType.U8x3, picture.tobytes())
        after = library.ImageData(*size, library.PixelType.U8x3)
        algorithm = library.ResizeAlg.convolution(filters[kind])
        options = library.ResizeOptions(resize_alg=algorithm, crop_box=library.CropBox(*box))
        library.Resizer().resize(before, after, options)  # a Resizer that is shared lets one thread in at a time
        return np.frombuffer(after.get_buffer(), np.uint8).reshape(size[1], size[0], 3)

    def with_simd(picture: Picture, size: tuple[int, int], window: Window, kind: Interpolation) -> Picture:
        height, width = picture.shape[:2]
        across, down = width / size[0], height / size[1]  # pixels of the picture to one of the resized
        reach = ceil(_REACH[kind] * max(down, 1)) + 1
        first = max(floor(window.top * down) - reach, 0)
        rows = picture[first : ceil((window.top + window.height) * down) + reach]  # others have no part in the window
        left, top = window.left * across, window.top * down - first
        # Rounding must not push a box past the edge.
        wide = min(window.width * across, width - left), float(len(rows))
        high = float(window.width), min(window.height * down, len(rows) - top)
        columns = run(rows, (window.width, len(rows)), (left, 0.0, *wide), kind)
        return run(columns, (window.width, window.height), (0.0, top, *high), kind)

    return with_simd


def _with_pillow(picture: Picture, size: tuple[int, int], window: Window, kind: Interpolation) -> Picture:
    from PIL import Image

    image, resample = Image.fromarray(picture), Image.Resampling[kind.upper()]
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
