"""The pictures to click: files and folders the user names, or the golden pictures inside the model file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whatsit import images
from whatsit.apps.web.pictures import encoded, is_tiny, viewable
from whatsit.dataset import in_parallel
from whatsit.dataset.layouts import files_below, is_picture_name
from whatsit.errors import ImageError, OptionError
from whatsit.events import ignore
from whatsit.images import Picture
from whatsit.modelfile import Golden, Manifest, encode_png
from whatsit.preprocess import Preprocess

MOST = 40  # more would make a long page and a slow start


@dataclass(frozen=True)
class Example:
    """A picture to click: `file` is what gets classified, `shown` one of a handy size that looks like it."""

    name: str
    file: Path
    shown: Path


def from_paths(paths: Sequence[Path], folder: Path) -> tuple[list[Example], int]:
    """At most MOST examples, evenly spread over the pictures at `paths`, and how many pictures there are.

    `folder` takes the files to show. Raises OptionError for a path without pictures or a picture that cannot be read.
    """
    found = [file for path in paths for file in _pictures_at(path)]
    chosen = [found[i * len(found) // MOST] for i in range(MOST)] if len(found) > MOST else found

    def prepare(item: tuple[int, Path]) -> Example:
        number, file = item
        return Example(file.name, file, _write_shown(_read(file), folder, number))

    return list(in_parallel(prepare, enumerate(chosen), "reading examples", ignore)), len(found)


def from_manifest(manifest: Manifest, folder: Path) -> list[Example]:
    """The golden pictures, as files that get the golden answers."""
    return [_from_golden(number, golden, manifest, folder) for number, golden in enumerate(manifest.golden)]


def _pictures_at(path: Path) -> list[Path]:
    if not os.path.isdir(path):
        return [path]
    found = [file for file in files_below(path) if is_picture_name(file)]
    if not found:
        raise _refusal(path, "a folder without pictures")
    return found


def _read(file: Path) -> Picture:
    try:
        return images.load(file)
    except ImageError as error:
        raise _refusal(file, str(error.value)) from None


def _refusal(path: Path, value: str) -> OptionError:
    return OptionError(
        f"cannot show '{path}' as an example",
        value=value,
        accepted="pictures that can be read, and folders that hold some",
        hint="Give other paths to --examples, or leave the option out.",
    )


def _from_golden(number: int, golden: Golden, manifest: Manifest, folder: Path) -> Example:
    file = folder / f"golden-{number}.png"
    file.write_bytes(encode_png(_before(golden.picture, manifest.preprocess)))
    # Of pictures that are not from the test part the label is only the model's own answer.
    labelled = f", labelled “{golden.label}”" if manifest.recipe.get("golden") == "test" else ""
    return Example(golden.name + labelled, file, _write_shown(golden.picture, folder, number))


def _before(picture: Picture, preprocess: Preprocess) -> Picture:
    """A picture that `preprocess` turns into exactly this one.

    Most geometries leave a picture of their own size alone. One that cuts the middle out of something larger gets
    the picture with a border to cut off.
    """
    if np.array_equal(preprocess.apply(picture), picture):
        return picture
    height, width = picture.shape[:2]
    side = max(preprocess.resize_shorter or 0, height, width)
    top, left = round((side - height) / 2), round((side - width) / 2)
    border = ((top, side - height - top), (left, side - width - left), (0, 0))
    return np.pad(picture, border, mode="edge")


def _write_shown(picture: Picture, folder: Path, number: int) -> Path:
    data, kind = encoded(viewable(picture), sharp=is_tiny(picture))
    path = folder / f"shown-{number}.{kind}"
    path.write_bytes(data)
    return path
