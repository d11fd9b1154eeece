"""Zip files within limits: what they hold is counted before anything is unpacked."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from whatsit.importers.unusable import unusable

MOST_FILES = 10_000
LARGEST = 4_000_000_000  # bytes, unpacked
DENSEST = 100  # times: how much larger than the archive its contents may be, beyond
ALWAYS_FINE = 100_000_000  # bytes
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open and check an archive. Raises ModelFileError for a bomb, names that leave the archive, and damage.

    For reading from it alone: what fails inside the `with` is taken for damage, a disk that is full too.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(path, archive)
            yield archive
    except (*_DAMAGE, NotImplementedError, RuntimeError) as error:  # encrypted: RuntimeError
        raise unusable(path, error, "a whole zip file") from None
    except OSError as error:
        raise unusable(path, error.strerror or error, "a whole zip file") from None


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    strange = [entry.filename for entry in entries if _leaves(entry.filename)]
    if len(entries) > MOST_FILES:
        raise unusable(path, f"{len(entries):,} files in it", f"at most {MOST_FILES:,}", "It is no model.")
    if total > min(LARGEST, max(ALWAYS_FINE, DENSEST * path.stat().st_size)):
        value = f"{total:,} bytes of contents in {path.stat().st_size:,} bytes"
        raise unusable(
            path, value, "an archive that unpacks to a usual size", "It may be a zip bomb: do not unpack it."
        )
    if strange:
        raise unusable(path, f"a file named {strange[0]!r}", "names inside the archive", "Do not unpack it.")


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or ":" in name.split("/")[0]
