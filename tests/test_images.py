"""What comes out of `images.load` is compared with pixels worked out here, without its code."""

from __future__ import annotations

import io
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time
import types
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from whatsit import images
from whatsit.errors import ImageError

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("WHATSIT_SHARED", REPOSITORY.parent / "shared"))
HOSTILE = SHARED / "data" / "hostile"
needs_shared = pytest.mark.skipif(not HOSTILE.is_dir(), reason="the shared development data is not here")

# Smooth, coloured, different under every turn and mirror; 17 x 23 leaves partial JPEG blocks.
ROWS, COLUMNS = np.mgrid[0:23, 0:17]
PIXELS = np.stack([ROWS * 11, COLUMNS * 15, (ROWS + COLUMNS) * 6], axis=2).astype(np.uint8)
ALPHA = ((ROWS * 37 + COLUMNS * 53) % 256).astype(np.uint8)
DEEP = (ROWS * 2500 + COLUMNS * 300).astype(np.uint16)
PICTURE = Image.fromarray(PIXELS)
HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(tags: dict[int, int], pixels: bytes, order: str = "<") -> bytes:
    """An uncompressed TIFF of 17 x 23 grey pixels, by hand."""
    every = {256: 17, 257: 23, 259: 1, 262: 1, 273: 0, 277: 1, 278: 23, 279: len(pixels), **tags}
    every[273] = 14 + 12 * len(every)
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, every[tag]) for tag in sorted(every))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(every))
    return head + entries + bytes(4) + pixels


def png(width: int, height: int, rows: bytes = b"", bits: int = 8) -> bytes:
    """An RGB PNG by hand, of any declared size."""
    header = struct.pack(">2I5B", width, height, bits, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def icns(inner: bytes) -> bytes:
    block = b"ic09" + struct.pack(">I", len(inner) + 8) + inner
    return b"icns" + struct.pack(">I", len(block) + 8) + block


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def reference(data: bytes) -> np.ndarray:
    """Pillow alone, with float arithmetic for transparency and 16 bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        image.load()
        try:
            image = ImageOps.exif_transpose(image)
        except Exception:  # broken EXIF turns nothing
            image = image.copy()
        if image.mode == "I;16":
            values = np.asarray(image)
            return grey(np.where(values == image.info.get("transparency", -1), 255, np.rint(values / 257)))
        if image.has_transparency_data:
            rgba = np.asarray(image.convert("RGBA"))
            return on_white(rgba[..., :3], rgba[..., 3])
        return np.asarray(image.convert("RGB"))


def refusal(source: Any, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        images.load(source, **options)
    error = caught.value
    assert error.what.startswith("cannot read picture '")
    assert all(isinstance(part, str) and part for part in (error.what, error.value, error.accepted, error.hint))
    return error


def check(picture: np.ndarray, expected: np.ndarray) -> None:
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("wrap", [bytes, bytearray, io.BytesIO, lambda data: memoryview(data * 2)[: len(data)]])
def test_memory_sources(wrap: Any) -> None:
    check(images.load(wrap(encode(PICTURE, "PNG"))), PIXELS)


def test_paths_and_file_objects(tmp_path: Path) -> None:
    path = tmp_path / "ünï code"
    path.write_bytes(encode(PICTURE, "PNG"))
    check(images.load(path), PIXELS)
    check(images.load(str(path)), PIXELS)
    with path.open("rb") as file:
        file.read(20)  # a reader may have looked at the start
        check(images.load(file), PIXELS)
        assert not file.closed
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as end, os.fdopen(reader, "rb") as start:
        end.write(path.read_bytes())
        end.close()
        check(images.load(start), PIXELS)


def test_callers_array_and_image_stay_as_they_are() -> None:
    array = PIXELS.copy()
    loaded = images.load(array)
    array[:] = 0
    check(loaded, PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(PICTURE, "PNG", exif=exif)))
    check(images.load(image), np.rot90(PIXELS, -1))
    np.testing.assert_array_equal(np.asarray(image), PIXELS)
    assert image.getexif()[0x0112] == 6
    palette = PICTURE.quantize(8)
    palette.info["transparency"] = bytes(8)
    assert (images.load(palette) == 255).all()
    assert palette.im.getpalettemode() == "RGB"  # Pillow's own conversion would have left "RGBA"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS[::-1, ::2], PIXELS[::-1, ::2]),
        (ALPHA, grey(ALPHA)),
        (ALPHA[..., None], grey(ALPHA)),
        (np.dstack([PIXELS, ALPHA]), on_white(PIXELS, ALPHA)),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (np.array([[0, 128, 129, 65535]], ">u2"), grey(np.array([[0, 0, 1, 255]]))),
        (ALPHA > 99, grey((ALPHA > 99) * 255)),
        (PIXELS / 255, PIXELS),
        (np.array([[0, 0.5, 1]], np.float16), grey(np.array([[0, 128, 255]]))),
        ((np.dstack([PIXELS, ALPHA]) / 255).astype(np.float32), on_white(PIXELS, ALPHA)),
    ],
)
def test_arrays(array: np.ndarray, expected: np.ndarray) -> None:
    check(images.load(array), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_opaque_modes(mode: str) -> None:
    image = PICTURE.convert(mode)
    check(images.load(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_alpha_is_laid_on_white(mode: str) -> None:
    straight = mode.replace("a", "A")
    image = Image.fromarray(np.dstack([PIXELS, ALPHA])).convert(straight).convert(mode)
    rgba = np.asarray(image.convert(straight).convert("RGBA"))
    assert len(np.unique(rgba[..., 3])) > 100
    check(images.load(image), on_white(rgba[..., :3], rgba[..., 3]))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "I;16"])
def test_transparent_colour_in_png(mode: str) -> None:
    image = PICTURE.quantize(16) if mode == "P" else Image.fromarray(DEEP) if mode == "I;16" else PICTURE.convert(mode)
    colour = image.getpixel((0, 0))
    hole = np.all(np.asarray(image).reshape(23, 17, -1) * (255 if mode == "1" else 1) == np.array(colour), axis=2)
    assert 0 < hole.sum() < hole.size
    opaque = grey(np.rint(DEEP / 257)) if mode == "I;16" else np.asarray(image.convert("RGB"))
    check(images.load(encode(image, "PNG", transparency=colour)), np.where(hole[..., None], 255, opaque))


def test_16_bits_are_scaled() -> None:
    for kind in ("PNG", "TIFF", "PPM", "JPEG2000"):
        check(images.load(encode(Image.fromarray(DEEP), kind)), grey(np.rint(DEEP / 257)))
    check(images.load(tiff({258: 16}, DEEP.astype(">u2").tobytes(), ">")), grey(np.rint(DEEP / 257)))
    check(images.load(Image.fromarray(DEEP.astype(np.int32))), grey(np.rint(DEEP / 257)))
    row = struct.pack(">3H", 0x1234, 65535, 0)
    check(images.load(png(1, 1, b"\0" + row, bits=16)), np.array([[[0x12, 255, 0]]], np.uint8))


def test_12_bits_and_floats_are_scaled() -> None:
    first = [0, 4095, 2048]
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00]) + bytes(1000)  # 000 FFF 800 0..
    check(images.load(tiff({258: 12}, packed))[:1, :3], grey(np.rint(np.array([first]) / 4095 * 255)))
    check(images.load(encode(Image.fromarray((ALPHA / 255).astype(np.float32)), "TIFF")), grey(ALPHA))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("stored_as", ["JPEG RGB", "JPEG L", "JPEG CMYK", "PNG RGB", "TIFF RGB", "WEBP RGB"])
def test_every_orientation(orientation: int, stored_as: str) -> None:
    kind, mode = stored_as.split()
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(PICTURE.convert(mode), kind, exif=exif)
    stored = np.asarray(Image.open(io.BytesIO(encode(PICTURE.convert(mode), kind))).convert("RGB"))
    turned = {  # EXIF 2.32, tag 0x0112: where the stored first row and first column belong
        2: np.fliplr(stored), 3: np.rot90(stored, 2), 4: np.flipud(stored), 5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1), 7: np.rot90(stored.swapaxes(0, 1), 2), 8: np.rot90(stored, 1),
    }.get(orientation, stored)  # fmt: skip
    check(images.load(data), turned)
    check(images.load(Image.open(io.BytesIO(data))), turned)


JPEG_OPTIONS = [
    *({"subsampling": each} for each in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")), {"progressive": True},
    {"quality": 5}, {"restart_marker_blocks": 1}, {"keep_rgb": True}, {"optimize": True, "quality": 100},
]  # fmt: skip


@pytest.mark.parametrize("options", JPEG_OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_fast_jpeg_equals_pillow(options: dict[str, Any], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PICTURE.convert(mode), "JPEG", **options)
    expected = reference(data)
    with monkeypatch.context() as patch:  # the pixels come from the fast decoder
        patch.setattr(images, "_rgb", None)
        check(images.load(data), expected)
    monkeypatch.setattr(images, "_jpeg_decoder", lambda: None)
    check(images.load(data), expected)


def test_odd_jpegs_fall_back_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PICTURE, "JPEG")
    junk = data[:2] + b"\xff\xe0\0\x04ab12345" + data[2:]
    check(images.load(junk), reference(data))
    for source in (data[: len(data) // 2], data[:-2]):
        assert refusal(source).value == f"the file is cut off after {len(source)} bytes"
        with monkeypatch.context() as patch:
            patch.setattr(images, "_jpeg_decoder", lambda: None)
            assert refusal(source).value == f"the file is cut off after {len(source)} bytes"
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    images._jpeg_decoder.cache_clear()
    assert images._jpeg_decoder() is None
    check(images.load(data), reference(data))
    images._jpeg_decoder.cache_clear()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_frame(kind: str) -> None:
    data = encode(PICTURE, kind, save_all=True, append_images=[ImageOps.invert(PICTURE)])
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    check(images.load(data), reference(data))


@pytest.mark.parametrize("kind", ["BMP", "TGA", "ICO", "PCX", "PPM", "QOI", "SGI", "JPEG2000", "AVIF", "HEIF"])
def test_other_formats(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif kind == "AVIF" and not ("avif" in features.modules and features.check_module("avif")):
        pytest.skip("this Pillow reads no AVIF")
    data = encode(PICTURE, kind)
    check(images.load(data), reference(data))
    assert np.abs(images.load(data)[:12, :12].astype(int) - PIXELS[:12, :12]).mean() < (40 if kind == "ICO" else 12)
    refusal(data[: len(data) // 2])


def test_missing_readers_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    images._reads_heic.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "pip install pillow-heif" in refusal(HEIC_HEAD).hint
    images._reads_heic.cache_clear()
    monkeypatch.delitem(features.modules, "avif", raising=False)
    assert "pip install --upgrade pillow" in refusal(HEIC_HEAD.replace(b"ftypheic", b"ftypavif")).hint


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
SMALL = images.Limits(max_bytes=500, max_pixels=300)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "there is nothing in it: 0 bytes"),
        (b"hello, I am text", "not a picture: it starts with b'hello, I am '"),
        (png(0, 5), "a damaged PNG file: its header is broken or gives no size"),
        (encode(PICTURE, "PNG")[:-40], "the file is cut off after"),
        (encode(PICTURE, "GIF")[:-40], "the file is cut off after"),
        (encode(PICTURE, "BMP")[:-40], "the file is cut off after"),
        (png(20000, 15600), "312 megapixels"),
        (png(20000, 6000), "120 megapixels (20000 x 6000)"),
        (png(70000, 70000), "4,900 megapixels"),
        (icns(png(70000, 70000)), "4,900 megapixels (70000 x 70000 inside the icon)"),
        (tiff({258: 8, 322: 60000, 323: 60000}, b""), "3,600 megapixels (60000 x 60000 in one tile)"),
        (EPS, "a file of kind EPS, not opened for safety"),
        (Image.new("RGB", (0, 3)), "no pixels: 0 x 3"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels: 5 x 0"),
        (np.zeros((3, 5, 7), np.uint8), "an array [3, 5, 7] of uint8"),
        (np.zeros((3, 5, 3), np.int64), "an array [3, 5, 3] of int64"),
        (np.zeros((2, 3, 5, 3), np.uint8), "an array [2, 3, 5, 3] of uint8"),
        (np.array([[0, 255.0]]), "floating-point values from 0 to 255"),
        (np.array([[0, np.nan]]), "floating-point values from nan to nan"),
        (Image.fromarray(np.array([[-1, 70000]], np.int32)), "whole numbers from -1 to 70000, which have no agreed"),
        (Image.open(io.BytesIO(encode(PICTURE, "PNG")[:-40])), "the file behind it is cut off"),
        (io.StringIO("text"), "a file object that gives str, not bytes"),
        (17, "an object of type int"),
        (None, "an object of type NoneType"),
        ("https://example.org/cat.jpg", "an address, not a file"),
        ("no\0path", "embedded null byte"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refusals(source: Any, reason: str) -> None:
    error = refusal(source)
    assert error.value.startswith(reason)
    name = source if isinstance(source, str) else "picture from memory"
    assert error.what == f"cannot read picture '{name}'"


def test_refused_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(tmp_path).value == "it is a folder"
    error = refusal(tmp_path / "gone.jpg")
    assert error.value == "there is no such file"
    assert error.what == f"cannot read picture '{tmp_path / 'gone.jpg'}'"
    path = tmp_path / "text.jpg"
    path.write_text("<!DOCTYPE html>")
    assert refusal(path, name="cat").what == "cannot read picture 'cat'"
    assert refusal(path).value == "not a picture: it starts with b'<!DOCTYPE ht'"
    with path.open("rb") as file:
        assert refusal(file).what == f"cannot read picture '{path}'"
    assert refusal(file).value == "read of closed file"
    monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert refusal(path).value == "no permission to read it"


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = encode(PICTURE, "BMP")
    path = tmp_path / "large.bmp"
    path.write_bytes(large)
    for source in (large, path, io.BytesIO(large), memoryview(large)):
        assert refusal(source, limits=SMALL).accepted == "at most 0.0005 MB"
    lazy = Image.open(io.BytesIO(encode(PICTURE, "PNG")[:-40]))  # its damage would show only when decoded
    for source in (encode(Image.new("L", (17, 23)), "PNG"), PICTURE, PIXELS, lazy):
        assert refusal(source, limits=SMALL).value == "0.000391 megapixels (17 x 23)"
    refusal(PIXELS, limits=images.Limits(max_pixels=17 * 23 - 1))
    check(images.load(large, limits=images.Limits(len(large), 17 * 23)), PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the user's choice for Pillow is not ours
    assert refusal(png(20000, 15600)).accepted == "at most 100 megapixels"
    monkeypatch.setattr(images, "_read", lambda *_: (_ for _ in ()).throw(MemoryError))
    assert refusal(b"").value == "it needs more memory than there is"


def test_no_warning_leaves_and_the_filters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(warnings.filters)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17 * 23 - 1)  # Pillow warns from here to twice as much
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\xff\xff\0\0\xff\xff\xff\xff\x00"
    sources = [encode(PICTURE, "PNG"), encode(PICTURE, "JPEG", exif=exif), encode(PICTURE, "JPEG")]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(sources[1])).getexif()
    assert {each.category for each in told} == {UserWarning, Image.DecompressionBombWarning}
    expected = [reference(source) for source in sources]
    wrong: list[str] = []

    def read_all(seed: int) -> None:
        for index in random.Random(seed).choices(range(3), k=60):
            try:
                check(images.load(sources[index]), expected[index])
            except Exception as error:  # pytest sees no exceptions of threads
                wrong.append(repr(error))

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert warnings.filters == before


def test_damaged_bytes_are_read_as_pillow_does_or_refused() -> None:
    chance = random.Random(7)
    whole = [encode(PICTURE, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO", "JPEG2000")]
    counts = {"read": 0, "refused": 0}
    for _ in range(600):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 2, 10))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            picture = images.load(data)
        except ImageError:
            counts["refused"] += 1
        else:
            check(picture, reference(bytes(data)))
            counts["read"] += 1
    assert min(counts.values()) > 100


def test_import_is_light() -> None:
    code = "import sys, whatsit.images; sys.exit(any(name in sys.modules for name in ('PIL', 'simplejpeg')))"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
    assert {".jpg", ".jpeg", ".png", ".heic", ".webp", ".tif"} < images.PICTURE_SUFFIXES


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}


@needs_shared
@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*")) if HOSTILE.is_dir() else [], ids=lambda path: path.name)
def test_hostile_file(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = path.read_bytes()
    try:
        expected = reference(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        expected = None
    started = time.process_time()
    if expected is None:
        assert str(path) in refusal(path).what
    else:
        check(images.load(path), expected)
    assert time.process_time() - started < 5
    assert capfd.readouterr() == ("", "")


@needs_shared
def test_hostile_table_stays_small() -> None:
    script = REPOSITORY / "benchmarks" / "hostile_table.py"
    run = [sys.executable, "-W", "error", script, "--folder", HOSTILE]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"peak memory (\d+) MB", done.stdout)[1]) < 400  # type: ignore[index]


@needs_shared
def test_photos_equal_pillow_by_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    clothing = sorted((SHARED / "data" / "clothing").rglob("*.jpg"))
    photos = [path for path in (SHARED / "data" / "photos").iterdir() if path.suffix.lower() in {".jpg", ".jpeg"}]
    assert len(photos) >= 6
    expected = {path: reference(path.read_bytes()) for path in photos + clothing[:: len(clothing) // 200]}
    monkeypatch.setattr(images, "_rgb", None)
    assert len(expected) > 200
    for path, pixels in expected.items():
        check(images.load(path), pixels)


def test_a_pillow_that_another_thread_is_only_importing_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its import ends, sys.modules holds it without its contents."""
    monkeypatch.setitem(sys.modules, "PIL.Image", types.ModuleType("PIL.Image"))
    with pytest.raises(ImageError, match="no such file"):
        images.load(tmp_path / "absent.png")
