"""A picture as it was chosen, its neighbours in the folder, and how it is scaled to be looked at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from whatsit.dataset.layouts import files_below, is_picture_name
from whatsit.errors import DataError, ImageError

if TYPE_CHECKING:
    from PIL import Image

    from whatsit.images import Picture

_LARGEST = 2560  # pixels of the longer side that are kept to look at: as wide as most screens
_CRISP = 2.0  # a picture enlarged by more than this keeps its pixels' edges
_ENLARGED = 12.0  # times at most


@dataclass(frozen=True)
class Chosen:
    """A picture to look at: a file, or a PIL image that was pasted."""

    source: Path | Image.Image
    name: str

    @classmethod
    def file(cls, path: Path) -> Chosen:
        return cls(path, path.name)

    @property
    def path(self) -> Path | None:
        return self.source if isinstance(self.source, Path) else None

    @property
    def folder(self) -> Path | None:
        return self.source.parent if isinstance(self.source, Path) else None


def beside(path: Path) -> list[Path]:
    """The pictures of its folder, sorted, without those of folders inside; itself in any case."""
    try:
        return sorted({path, *in_folder(path.parent)})
    except DataError:  # a folder that may not be looked into can still hold a file that may be read
        return [path]


def in_folder(folder: Path) -> list[Path]:
    """The pictures right in a folder, sorted. Raises DataError."""
    own = takewhile(lambda file: file.parent == folder, files_below(folder))  # its own files come first
    return [file for file in own if is_picture_name(file)]


def first_in(folder: Path) -> Path:
    """The first picture of a folder. Raises DataError where there is none."""
    found = in_folder(folder)
    if not found:
        raise DataError(
            f"cannot find a picture in the folder '{folder}'",
            value="no pictures",
            accepted="a folder with JPEG, PNG or other pictures right in it",
            hint="Choose another folder, or a single picture.",
        )
    return found[0]


def paths_in(text: str) -> Iterator[Path]:
    """The files that a pasted text names: paths or file:// addresses, one a line."""
    for line in filter(None, (line.strip() for line in text.splitlines())):
        address = urlsplit(line)
        if address.scheme == "file":
            yield Path(_local(address.path))
        elif os.path.lexists(os.path.expanduser(line)):
            yield Path(os.path.expanduser(line))


def from_clipboard(text: str) -> list[Path] | Image.Image:
    """The files that the text in the clipboard names, or else those or the picture in it. Raises ImageError."""
    from PIL import ImageGrab

    if paths := list(paths_in(text)):
        return paths
    try:
        found = ImageGrab.grabclipboard()
    except NotImplementedError:
        raise _cannot_paste(
            "no program that hands over pictures",
            "Install xclip or wl-clipboard, for instance: apt install xclip wl-clipboard. Or open the picture's file.",
        ) from None
    except (OSError, ValueError) as error:
        raise _cannot_paste(str(error), "Save the picture as a file, and open that.") from None
    if isinstance(found, list) and found:
        return [Path(file) for file in found]
    if found is None or isinstance(found, list):
        raise _cannot_paste("no picture in the clipboard", "Copy a picture or its file first.")
    return found


def _cannot_paste(found: str, hint: str) -> ImageError:
    return ImageError(
        "cannot paste a picture", value=found, accepted="a copied picture, or a file by its path", hint=hint
    )


def as_on_disk(path: Path) -> Path:
    """The file that Tk means. It reads bytes of a name that are no text as Latin-1; Python keeps them apart."""
    if os.path.lexists(path):
        return path
    try:
        names = os.listdir(path.parent)
    except OSError:
        return path
    return next((path.with_name(name) for name in names if _as_tk_reads(name) == path.name), path)


def to_look_at(picture: Picture) -> Image.Image:
    """No larger than a screen, so that scaling it to the window is quick."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((_LARGEST, _LARGEST), reducing_gap=2.0)
    return image


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """As large as the place allows, its shape kept."""
    from PIL import Image

    scale = min(width / image.width, height / image.height, _ENLARGED)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    filtering = Image.Resampling.NEAREST if scale > _CRISP else Image.Resampling.BICUBIC
    return image.resize(size, filtering, reducing_gap=2.0)


def _local(address: str) -> str:
    if sys.platform == "win32":
        return url2pathname(address)
    return os.fsdecode(unquote_to_bytes(address))


def _as_tk_reads(name: str) -> str:
    return "".join(chr(ord(letter) - 0xDC00) if "\udc80" <= letter <= "\udcff" else letter for letter in name)
