"""The pictures in what was uploaded, files and zip archives alike, one after the other and within limits.

Nothing is unpacked to disk, so a name in an archive leads nowhere. What an archive says about sizes is not believed:
no more is unpacked than a picture may have.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from whatsit import images
from whatsit.apps.presenter import listed
from whatsit.dataset.layouts import is_hidden, is_picture_name
from whatsit.errors import ImageError

MOST_PICTURES = 1_000
MOST_UPLOADED = 500_000_000  # bytes of one archive
MOST_UNPACKED = 4_000_000_000  # bytes of all that archives hold, together
_LARGEST_DIRECTORY = 4_000_000  # bytes of an archive's list of names, which is read at once
_NAMED = 5  # files that are no pictures, before "and 12 more"
_END, _END_LENGTH, _LONGEST_COMMENT = b"PK\5\6", 22, 65_535
_END_64, _END_64_LENGTH = b"PK\6\7", 20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the other kinds without a limit
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Upload:
    """A file on disk, and the name it had."""

    path: Path
    name: str


@dataclass(frozen=True)
class Found:
    """A picture by its name: a file, a member of an archive, or why it is neither."""

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    reason: str = ""


class Batch:
    """A context manager: archives are open for as long as it lasts."""

    def __init__(self, uploads: Sequence[Upload]) -> None:
        self.found: list[Found] = []
        self.left_out: list[str] = []
        self.too_many = 0
        self._unpacked = 0
        self._archives: dict[Path, zipfile.ZipFile] = {}
        with ExitStack() as opened:
            for upload in uploads:
                self._add(upload, opened)
            self._opened = opened.pop_all()
        self.too_many = max(0, len(self.found) - MOST_PICTURES)
        del self.found[MOST_PICTURES:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def notes(self) -> list[str]:
        """What is not among the pictures, and why, in sentences."""
        said = []
        if self.left_out:
            n = len(self.left_out)
            names = listed(self.left_out, _NAMED)
            said.append(f"{n:,} {'file is no picture' if n == 1 else 'files are no pictures'} by name: {names}.")
        if self.too_many:
            said.append(
                f"{self.too_many:,} more were left out: at most {MOST_PICTURES:,} pictures at a time. "
                "For more of them: whatsit predict"
            )
        return said

    def source(self, found: Found) -> Path | bytes | ImageError:
        """What can be read as a picture, or why nothing can."""
        if found.reason:
            return _error(found.name, found.reason)
        return found.path if found.member is None else self._unpack(found)

    # ---- what there is

    def _add(self, upload: Upload, opened: ExitStack) -> None:
        if _is_zip(upload.path):
            try:
                archive = opened.enter_context(_open_archive(upload.path))
            except _BROKEN as error:
                self.found.append(Found(upload.name, upload.path, reason=f"no archive that can be opened ({error})"))
                return
            self._archives[upload.path] = archive
            for member in archive.infolist():
                if not member.is_dir():
                    self._add_named(Found(f"{upload.name}/{member.filename}", upload.path, member))
        else:
            self._add_named(Found(upload.name, upload.path))

    def _add_named(self, found: Found) -> None:
        name = PurePosixPath(found.member.filename if found.member else found.name)
        if is_picture_name(Path(name)) and not any(is_hidden(part) for part in name.parts if part != ".."):
            self.found.append(found)
        else:
            self.left_out.append(found.name)

    # ---- what is in it

    def _unpack(self, found: Found) -> bytes | ImageError:
        member, most = found.member, images.DEFAULT_LIMITS.max_bytes
        assert member is not None
        if member.flag_bits & 1:
            return _error(found.name, "it is locked with a password")
        if member.compress_type not in _PACKED:
            return _error(found.name, f"packed in an unusual way (kind {member.compress_type})")
        if self._unpacked > MOST_UNPACKED:
            return _error(found.name, f"the archives hold more than {MOST_UNPACKED / 1e9:g} GB")
        try:
            with self._archives[found.path].open(member) as file:
                data = file.read(most + 1)
        except _BROKEN as error:
            return _error(found.name, f"damaged in the archive ({error})")
        self._unpacked += len(data)
        return data


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", _END)


def _open_archive(path: Path) -> zipfile.ZipFile:
    """Raises what zipfile raises, and also for one whose list of names is too long to be read at once."""
    size = path.stat().st_size
    if size > MOST_UPLOADED:
        raise zipfile.BadZipFile(f"more than {MOST_UPLOADED / 1e6:g} MB")
    with path.open("rb") as file:
        file.seek(max(0, size - _END_LENGTH - _LONGEST_COMMENT - _END_64_LENGTH))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_LENGTH:
        raise zipfile.BadZipFile("it is cut off")
    (directory,) = struct.unpack_from("<L", tail, at + 12)
    if directory > _LARGEST_DIRECTORY or tail[max(0, at - _END_64_LENGTH) : at].startswith(_END_64):
        raise zipfile.BadZipFile("it holds too many files")
    return zipfile.ZipFile(path)


def _error(name: str, reason: str) -> ImageError:
    return ImageError(f"cannot read picture '{name}'", value=reason, accepted="a picture", hint="Leave it out.")


def chunks(
    batch: Batch, pictures: int, most: int = 64_000_000
) -> Iterator[list[tuple[str, Path | bytes | ImageError]]]:
    """(name, source) of so many pictures at a time, or fewer where they take more than `most` bytes of memory."""
    chunk: list[tuple[str, Path | bytes | ImageError]] = []
    size = 0
    for found in batch.found:
        source = batch.source(found)
        chunk.append((found.name, source))
        size += len(source) if isinstance(source, bytes) else 0
        if len(chunk) == pictures or size > most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
