"""Whole files or none: write beside, flush to the disk, then rename."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whatsit.errors import OutputError

_ELSEWHERE = "choose another place with --out"


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; it becomes `path` when the block ends well, and vanishes otherwise.

    A link stays a link, to the new file; a device or pipe is written to as it is. Raises OutputError where the disk
    is full or the place cannot be written to.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from None
    part = Path(name)
    try:
        yield part
        _flush(part)
        os.chmod(part, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    with beside(path) as part:
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def check_writable(path: Path, hint: str = _ELSEWHERE) -> None:
    """Refuse a place that certainly cannot be written to, without writing anything. Raises OutputError."""
    nearest = path
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise cannot_write(path, NotADirectoryError(20, "not a folder", str(nearest)), hint)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise cannot_write(path, PermissionError(13, "permission denied", str(nearest)), hint)


def cannot_write(path: Path, error: OSError, hint: str = _ELSEWHERE) -> OutputError:
    return OutputError(
        f"cannot write '{path}'",
        value=(error.strerror or str(error)).lower(),
        accepted="a folder with free space and permission to write",
        hint=f"Free some space, or {hint}.",
    )


def _flush(part: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """Where whatsit keeps what it can make or fetch again: `WHATSIT_CACHE`, or the platform's place for such files.

    Below it: weights/, models/, features/, backbones/. Nothing is created.
    """
    if chosen := os.environ.get("WHATSIT_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "whatsit" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "whatsit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whatsit"
