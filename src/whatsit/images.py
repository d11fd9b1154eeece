"""A picture from anywhere -> one upright RGB array. The only code of the project that decodes pictures.

What Pillow decodes whole and within the limits is read, and equals Pillow's own RGB after `exif_transpose`, with
transparency laid on white. Two exceptions: 16-bit grey is scaled where Pillow clips it, and values without an agreed
black and white (32-bit whole numbers, floats outside 0 to 1) are refused. All else is an `ImageError` with its reason.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import ImageError, UnreadableKind

if TYPE_CHECKING:  # Pillow and simplejpeg are imported on first use: listing folders needs neither
    from PIL import Image

Picture: TypeAlias = NDArray[np.uint8]
"""Upright RGB, `uint8 [H, W, 3]`, C-contiguous."""

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any]"
"""Whatever `load` reads. A str is a path; bytes are the file itself."""

_JPEGS, _PHONES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}, {".heic", ".heif", ".hif", ".avif", ".webp"}
_SCANS, _ICONS = {".tif", ".tiff", ".jp2", ".j2k", ".bmp", ".dib"}, {".png", ".apng", ".gif", ".ico", ".icns"}
_PLAIN = {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".sgi", ".qoi"}
PICTURE_SUFFIXES: frozenset[str] = frozenset(_JPEGS | _PHONES | _SCANS | _ICONS | _PLAIN)
"""Lower-case suffixes that count as pictures by name."""

_FORMATS = "a whole JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture"
_ARRAYS = "an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, uint16, bool, or floats from 0 to 1"
_SOURCES = "a path, bytes, a binary file object, a PIL image or a numpy array"
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"RIFF": "WebP", b"BM": "BMP", b"icns": "ICNS"}
_MAGIC |= {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\0\0\1\0": "ICO", b"\0\0\0\x0cjP  ": "JPEG 2000"}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
# Pillow would start Ghostscript or the system's renderer, or open an inner picture whose size it does not tell before.
_REFUSED_FORMATS = {"EPS", "WMF", "IPTC", "FITS", "BLP"}
_INNER_SIZE = re.compile(rb"IHDR(.{4})(.{4})|ihdr(.{4})(.{4})|\xff\x4f\xff\x51.{4}(.{4})(.{4})", re.DOTALL)
_ORIENTATION, _BITS_PER_SAMPLE, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 258, 322, 323  # TIFF and EXIF tags
# EXIF orientation -> swap rows and columns?, then the step down and the step across
_TURNS = {2: (0, 1, -1), 3: (0, -1, -1), 4: (0, -1, 1), 5: (1, 1, 1), 6: (1, 1, -1), 7: (1, -1, -1), 8: (1, -1, 1)}


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded: larger files (bytes) and larger pictures (width x height, in pixels).

    Pillow's own `Image.MAX_IMAGE_PIXELS` holds too: as Pillow ships, nothing over 179 megapixels.
    """

    max_bytes: int = 200_000_000
    max_pixels: int = 100_000_000


DEFAULT_LIMITS = Limits()


def load(source: Source, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Read one picture, upright, as RGB `uint8 [H, W, 3]`; of an animation, the first frame.

    `name` is what errors call the picture: by default its path, or "picture from memory". Arrays are copied, and a
    caller's PIL image keeps its pixels and orientation (a lazy one is read). File objects are read from their start,
    and left open. Raises ImageError, whose `value` is the reason, and nothing else.
    """
    try:
        return _load(source, limits)
    except Exception as error:
        known = error if isinstance(error, _Refusal) else _explain(error, b"")
        what = f"cannot read picture '{name or _name(source)}'"
        raise ImageError(what, value=known.reason, accepted=known.accepted, hint=known.hint, kind=known.kind) from error


class _Refusal(Exception):
    """A reason on its way to `load`, which knows the picture's name."""

    def __init__(
        self,
        reason: str,
        accepted: str = _FORMATS,
        hint: str = "Replace the file, or leave it out.",
        kind: UnreadableKind = "unreadable",
    ) -> None:
        super().__init__(reason)
        self.reason, self.accepted, self.hint, self.kind = reason, accepted, hint, kind


def _name(source: object) -> str:
    with suppress(Exception):  # the source may be anything, and this runs while its error is being told
        path = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
        if known := os.fsdecode(path or source.filename):  # type: ignore[attr-defined]
            return known
    return "picture from memory"


def _load(source: Source, limits: Limits) -> Picture:
    if isinstance(source, np.ndarray):
        return _from_array(np.asarray(source), limits)
    # Where Pillow was never imported, or another thread is only about to, nobody holds one of its images.
    image_class = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if image_class is not None and isinstance(source, image_class):
        _check_size(source.size, limits)
        with _pillow_warnings_off():
            return _from_pillow(source, limits)
    return _decode(_read(source, limits), limits)


# ---- bytes


def _read(source: Any, limits: Limits) -> bytes:
    """The file's bytes, never more than one beyond the limit."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        _check_bytes(memoryview(source).nbytes, limits)
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        data = _read_file(os.fsdecode(source), limits)
    elif callable(getattr(source, "read", None)):
        data = _read_stream(source, limits)
    else:
        hint = "Pass a tensor as tensor.numpy(), and a list as numpy.array(list, 'uint8')."
        raise _Refusal(f"an object of type {type(source).__name__}", _SOURCES, hint)
    _check_bytes(len(data), limits)
    if not data:
        raise _Refusal("there is nothing in it: 0 bytes", kind="empty")
    return data


def _check_bytes(count: int, limits: Limits) -> None:
    if count > limits.max_bytes:
        hint = "Save it smaller or compressed, or raise max_bytes."
        accepted = f"at most {limits.max_bytes / 1e6:.4g} MB"
        raise _Refusal(f"{count / 1e6:,.6g} MB or more", accepted, hint, "too many bytes")


def _read_file(path: str, limits: Limits) -> bytes:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            _check_bytes(status.st_size, limits)
            ordinary = stat.S_ISREG(status.st_mode) and status.st_size > 0
            return file.read() if ordinary else file.read(limits.max_bytes + 1)  # pipes and devices tell no size
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise _explain_path(error, path) from error


def _explain_path(error: Exception, path: str) -> _Refusal:
    if "://" in path:
        return _Refusal("an address, not a file", _SOURCES, "Download it first.")
    if os.path.isdir(path):
        return _Refusal("it is a folder", "one picture file", "Name a file in it.")
    if isinstance(error, FileNotFoundError):
        return _Refusal("there is no such file", "an existing file", "Check the path.")
    if isinstance(error, PermissionError):
        return _Refusal("no permission to read it", "a readable file", "Change the file's permissions.")
    return _Refusal(getattr(error, "strerror", None) or str(error), "a readable file", "Check the path and the disk.")


def _read_stream(stream: Any, limits: Limits) -> bytes:
    if inspect.iscoroutinefunction(stream.read):
        raise _Refusal("an asynchronous file", _SOURCES, "Pass its bytes: await file.read().")
    with suppress(OSError, ValueError, AttributeError):  # as Pillow does: the picture starts where the file does
        stream.seek(0)
    parts: list[bytes] = []
    missing = limits.max_bytes + 1
    while missing > 0 and (part := stream.read(min(missing, 1 << 24))):
        if not isinstance(part, (bytes, bytearray, memoryview)):
            reason = f"a file object that gives {type(part).__name__}, not bytes"
            raise _Refusal(reason, _SOURCES, "Open it with mode 'rb'.")
        parts.append(bytes(part))
        missing -= len(part)
    return b"".join(parts)


# ---- decoding


def _decode(data: bytes, limits: Limits) -> Picture:
    try:
        with _pillow_warnings_off():
            _prepare_brand(data)
            _check_icon(data, limits)
            image = _open(data)
            _check_header(image, limits)
            pixels = _fast_jpeg(image, data)
            return _from_pillow(image, limits) if pixels is None else _upright(pixels, image)
    except _Refusal:
        raise
    except Exception as error:  # for broken files, Pillow's plugins raise nearly every built-in exception
        raise _explain(error, data) from error


def _open(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        Image.init()  # another thread may be half-way through registering Pillow's plugins: wait for it, ask again
        return Image.open(io.BytesIO(data))


def _fast_jpeg(image: Image.Image, data: bytes) -> Picture | None:
    """The JPEG's pixels as stored, or None where Pillow is to decode: CMYK, odd or damaged ones, no simplejpeg.

    Accurate DCT and smooth upsampling are also Pillow's settings: the pixels are the same, and a test holds them so.
    """
    decode = _jpeg_decoder() if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") else None
    if decode is None:
        return None
    try:
        pixels = decode(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    except (ValueError, RuntimeError):
        return None
    return pixels if pixels.shape[1::-1] == image.size else None


@cache
def _jpeg_decoder() -> Callable[..., Picture] | None:
    try:
        from simplejpeg import decode_jpeg  # type: ignore[import-untyped, unused-ignore]
    except Exception:  # a broken installation counts as none: Pillow reads the same pixels
        return None
    return cast("Callable[..., Picture]", decode_jpeg)


def _from_pillow(image: Image.Image, limits: Limits) -> Picture:
    image.load()
    _check_size(image.size, limits)  # again: what icons hold, the header does not say
    return _upright(_rgb(image), image)


def _upright(pixels: Picture, image: Image.Image) -> Picture:
    """The pixels as the image's EXIF wants them; only now, because PNG may tell after its pixels, and TIFF turns."""
    swap, down, across = 0, 1, 1
    with suppress(Exception):  # none, or broken EXIF, which is no reason to lose the picture
        swap, down, across = _TURNS[image.getexif()[_ORIENTATION]]
    whole = np.ascontiguousarray(pixels).view("V3")[..., 0]  # three bytes moved at once: twice as fast
    turned = (whole.T if swap else whole)[::down, ::across]
    return np.ascontiguousarray(turned)[..., None].view(np.uint8)


@contextmanager
def _pillow_warnings_off() -> Iterator[None]:
    """Keep Pillow's warnings (odd EXIF, large pictures) from the user, who gets a picture or an ImageError.

    `catch_warnings` swaps one list for the whole process: threads that overlap restore each other's, and leave it
    wrong for good. So each reader puts a filter for Pillow's modules alone into the list that is there, and takes one
    out of the same list. The price: meanwhile Pillow's warnings are silent in other threads too. The list is changed
    directly because `filterwarnings` would also forget which warnings were already shown once.
    """
    filters: list[Any] = warnings.filters  # type: ignore[assignment, unused-ignore]
    entry = ("ignore", None, Warning, _PILLOW_MODULES, 0)
    filters.insert(0, entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # resetwarnings was called meanwhile
            filters.remove(entry)


_PILLOW_MODULES = re.compile(r"(?P<whatsit>PIL\.|pillow_heif\b)")  # named so that no filter of the user's equals ours


# ---- what may be decoded


def _check_size(size: tuple[int, int], limits: Limits, part: str = "") -> None:
    pixels = size[0] * size[1]
    if min(size) <= 0:
        raise _Refusal(f"no pixels: {size[0]} x {size[1]}{part}", "at least 1 x 1 pixels")
    if pixels > limits.max_pixels:
        reason = f"{pixels / 1e6:,.6g} megapixels ({size[0]} x {size[1]}{part})"
        accepted = f"at most {limits.max_pixels / 1e6:.4g} megapixels"
        raise _Refusal(reason, accepted, "Scale it down first, or raise max_pixels.", "too many pixels")


def _check_header(image: Image.Image, limits: Limits) -> None:
    if image.format in _REFUSED_FORMATS:
        raise _Refusal(f"a file of kind {image.format}, not opened for safety", hint="Save it as PNG first.")
    _check_size(image.size, limits)
    tags = getattr(image, "tag_v2", {})
    if _TILE_WIDTH in tags and _TILE_LENGTH in tags:  # a whole tile is decoded, however small the picture
        _check_size((tags[_TILE_WIDTH], tags[_TILE_LENGTH]), limits, " in one tile")


def _check_icon(data: bytes, limits: Limits) -> None:
    """Icons hold whole PNG and JPEG 2000 files, which Pillow decodes without asking their size first."""
    for match in _INNER_SIZE.finditer(data) if data.startswith((b"icns", b"\0\0\1\0")) else ():
        width, height = (int.from_bytes(side, "big") for side in match.groups() if side is not None)
        _check_size((width, height), limits, " inside the icon")


def _prepare_brand(data: bytes) -> None:
    """AVIF and HEIC share a container; make sure that a reader for this one is there."""
    if data[4:8] != b"ftyp":
        return
    from PIL import features

    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        if "avif" not in features.modules or not features.check_module("avif"):
            raise _Refusal("an AVIF picture, which this Pillow cannot read", hint="Run: pip install --upgrade pillow")
    elif brands & _HEIC_BRANDS and not _reads_heic():
        hint = "Run: pip install pillow-heif (or save the picture as JPEG)."
        raise _Refusal("a HEIC picture, and no reader for it is installed", hint=hint)


@cache
def _reads_heic() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _explain(error: Exception, data: bytes) -> _Refusal:
    """The reason behind an exception from a decoder, in plain words."""
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "picture")
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return _Refusal("it needs more memory than there is", hint="Scale it down first.")
    if bomb := re.search(r"Image size \((\d+) pixels\) exceeds limit of (\d+) pixels", text):
        reason, most = f"{int(bomb[1]) / 1e6:,.6g} megapixels", min(int(bomb[2]), DEFAULT_LIMITS.max_pixels)
        return _Refusal(reason, f"at most {most / 1e6:.4g} megapixels", "Scale it down first.", "too many pixels")
    if "cannot identify image file" in text:
        damaged = f"a damaged {kind} file: its header is broken or gives no size"
        if kind == "picture":
            return _Refusal(f"not a picture: it starts with {data[:12]!r}", kind="not a picture")
        return _Refusal(damaged)
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return _Refusal(f"the file is cut off after {len(data)} bytes" if data else "the file behind it is cut off")
    return _Refusal(f"damaged {kind} data ({text})" if data else text)


# ---- pixel values


def _rgb(image: Image.Image) -> Picture:
    """A loaded PIL image of any mode -> RGB `uint8 [H, W, 3]`, as stored."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image)
    if image.has_transparency_data:
        return _on_white(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _on_white(image: Image.Image) -> Picture:
    from PIL import Image

    seen = image.convert("LA") if image.mode == "La" else image.copy()  # converting changes a palette in place
    seen = seen if seen.mode == "RGBA" else seen.convert("RGBA")
    white = Image.new("RGB", seen.size, "white")
    white.paste(seen, mask=seen)
    return np.asarray(white)


def _deep_grey(image: Image.Image) -> Picture:
    """Modes I;16 and I (16 bits; 12 in some TIFF files) and F (0 to 1) -> RGB, black to white over the whole range."""
    values = np.asarray(image)
    white = 4095 if getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE) == (12,) else 65535
    if image.mode != "F" and not 0 <= values.min() <= values.max() <= white:
        reason = f"whole numbers from {values.min()} to {values.max()}, which have no agreed black and white"
        raise _Refusal(reason, "8 or 16 bits per channel", "Scale it to 8 or 16 bits first.")
    grey = _from_unit_range(values) if image.mode == "F" else _from_whole_range(values, white)
    see_through = image.info.get("transparency")
    if isinstance(see_through, int):
        grey[values == see_through] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def _from_whole_range(values: NDArray[Any], white: int) -> Picture:
    """0 to `white` -> 0 to 255, rounded."""
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _from_unit_range(values: NDArray[Any]) -> Picture:
    """0.0 to 1.0 -> 0 to 255, rounded."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where one of them is not a number
        hint = "Divide by the value of white, or pass 0 to 255 as uint8."
        raise _Refusal(f"floating-point values from {low:.4g} to {high:.4g}", "floats from 0 to 1", hint)
    return np.rint(values * np.float32(255)).astype(np.uint8)


def _from_array(array: NDArray[Any], limits: Limits) -> Picture:
    kind, planes = array.dtype.str[1:], array[..., None] if array.ndim == 2 else array  # 'b1', 'u2', 'f4'
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or not (kind[0] in "bf" or kind in ("u1", "u2")):
        reason = f"an array [{', '.join(map(str, array.shape))}] of {array.dtype}"
        raise _Refusal(reason, _ARRAYS, "Put the channels last; pass values from 0 to 255 as array.astype('uint8').")
    _check_size((array.shape[1], array.shape[0]), limits)
    if kind[0] == "f":
        values = _from_unit_range(planes)
    else:
        values = planes.copy() if kind == "u1" else _from_whole_range(planes, 1 if kind == "b1" else 65535)
    if values.shape[2] < 4:
        return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
    from PIL import Image

    return _on_white(Image.fromarray(values))
