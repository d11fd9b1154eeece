"""Pictures for looking at. They reach the browser inside the page: nothing to keep on disk, nothing to fetch."""

from __future__ import annotations

import base64
import io

import numpy as np

from whatsit import images
from whatsit.errors import ImageError
from whatsit.images import Picture

_LARGE, _TINY, _ENLARGED, _THUMBNAIL = 800, 64, 400, 96  # pixels


def is_tiny(picture: Picture) -> bool:
    return bool(max(picture.shape[:2]) <= _TINY)


def viewable(picture: Picture) -> Picture:
    """The picture at a size for looking at: large ones shrunk, tiny ones with each pixel as a square."""
    if is_tiny(picture):
        factor = -(-_ENLARGED // max(picture.shape[:2]))
        return picture.repeat(factor, axis=0).repeat(factor, axis=1)
    return _shrunk(picture, _LARGE)


def shown(source: images.Source) -> dict[str, str] | None:
    """What Gradio's picture takes, holding the picture itself; None for one that cannot be read."""
    try:
        picture = images.load(source)
    except ImageError:
        return None
    return {"path": "", "url": _address(viewable(picture), sharp=is_tiny(picture))}


def thumbnail(source: images.Source) -> str:
    """A small picture as an address that holds it; empty for one that cannot be read."""
    try:
        picture = images.load(source)
        return _address(_shrunk(picture, _THUMBNAIL), sharp=is_tiny(picture))
    except ImageError:
        return ""


def encoded(picture: Picture, sharp: bool) -> tuple[bytes, str]:
    """The file and its kind: PNG where every pixel counts, JPEG otherwise."""
    from PIL import Image

    kind = "png" if sharp else "jpeg"
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, quality=85)
    return file.getvalue(), kind


def _address(picture: Picture, sharp: bool) -> str:
    data, kind = encoded(picture, sharp)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _shrunk(picture: Picture, longest: int) -> Picture:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((longest, longest))
    return np.asarray(image)
