"""Files of published data sets: found in a folder or fetched, and read in memory once they are known to be whole."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from whatsit.errors import DataError
from whatsit.events import OnEvent

_LARGEST = 200_000_000  # bytes of one file in an archive; CIFAR-100's 154 million are the most
_ELSEWHERE = "set WHATSIT_DATA to a folder for data sets elsewhere, or name a folder that has the files with --data-dir"


@dataclass(frozen=True)
class Archive:
    """A file as published: .tar.gz, or .gz with one file in it. members: their MD5, or "" where it is not known."""

    name: str
    md5: str
    members: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """The bytes of a member, and the file on the disk that holds it."""

    path: Path
    data: bytes


def is_there(archive: Archive, places: tuple[Path, ...]) -> bool:
    return not not_unpacked(archive, places) or _find(archive.name, places) is not None


def not_unpacked(archive: Archive, places: tuple[Path, ...]) -> list[str]:
    """The members that lie in none of the places as files of their own."""
    return [member for member in archive.members if _find(member, places) is None]


def fetch(home: str, archive: Archive, folder: Path, on_event: OnEvent, hint: str) -> None:
    """Fetch an archive into a folder; what has arrived when it fails is kept for the next time.

    Raises DataError, with the hint, and OutputError.
    """
    from whatsit import downloads  # here, so that those who fetch nothing load nothing of the network's

    downloads.fetch_on(
        home + archive.name,
        folder / archive.name,
        md5=archive.md5,
        on_event=on_event,
        error=DataError,
        hint=hint,
        elsewhere=_ELSEWHERE,
    )


def read(archive: Archive, places: tuple[Path, ...], hint: str) -> Iterator[tuple[str, Content]]:
    """The members by name: unpacked if all lie there, else from the archive. Raises DataError, with the hint."""
    unpacked = {member: _find(member, places) for member in archive.members}
    packed = _find(archive.name, places)
    if packed is not None and not all(unpacked.values()):
        yield from ((member, Content(packed, data)) for member, data in _unpacked(packed, archive, hint).items())
        return
    for member, path in unpacked.items():
        assert path is not None, "is_there says whether it is"
        yield member, Content(path, _whole(path, archive.members[member], hint))


def unusable(path: Path, value: str, accepted: str, hint: str) -> DataError:
    return DataError(f"cannot use '{path}'", value=value, accepted=accepted, hint=hint)


def _find(name: str, places: tuple[Path, ...]) -> Path | None:
    return next((place / name for place in places if os.path.isfile(place / name)), None)


def _whole(path: Path, md5: str, hint: str) -> bytes:
    """The bytes of an unpacked file."""
    try:
        with path.open("rb") as file:
            _check(path, file, md5, hint)
            return _limited(file)
    except (OSError, ValueError) as error:
        raise unusable(path, _reason(error), "a file that can be read", hint) from None


def _unpacked(path: Path, archive: Archive, hint: str) -> dict[str, bytes]:
    """The members of an archive, by name."""
    try:
        with path.open("rb") as file:
            _check(path, file, archive.md5, hint)
            found = dict(_members(file, archive))
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise unusable(path, _reason(error), "a whole archive", hint) from None
    absent = [member for member in archive.members if member not in found]
    if absent:
        raise unusable(path, f"no {absent[0]} in it", f"an archive of {', '.join(archive.members)}", hint)
    return found


def _members(file: BufferedReader, archive: Archive) -> Iterator[tuple[str, bytes]]:
    if not archive.name.endswith(".tar.gz"):
        with gzip.open(file) as only:
            yield next(iter(archive.members)), _limited(only)
        return
    with tarfile.open(fileobj=file, mode="r|gz") as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            body = tar.extractfile(member) if name in archive.members and member.isreg() else None
            if body is not None:
                yield name, _limited(body)


def _check(path: Path, file: BufferedReader, md5: str, hint: str) -> None:
    if not md5:
        return
    # It finds damage, no attackers: some systems want that said before they compute an MD5.
    found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise unusable(path, f"MD5 {found}", f"the authors' file, MD5 {md5}", hint)
    file.seek(0)


def _limited(file: BufferedReader | gzip.GzipFile | IO[bytes]) -> bytes:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} bytes")
    return data


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
