"""Whole files or none: write beside, flush to the disk, then rename."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whatsit.errors import OutputError

_ELSEWHERE = "choose another place with --out"
_ABANDONED = 600.0  # seconds without a byte, after which nobody works on a part any more


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
    part = _new_part(path, _ELSEWHERE)
    try:
        yield part
        _settle(part, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def elsewhere(hint: str) -> Iterator[None]:
    """What to do instead, where what the block does cannot be written: not every place is chosen with --out."""
    try:
        yield
    except OutputError as error:
        error.hint = f"Free some space, or {hint}."
        raise


@contextmanager
def continued(path: Path, hint: str) -> Iterator[Path]:
    """As `beside`, but what the block has written when it fails or is interrupted is there again the next time.

    Of several processes at once, one goes on with such a part and the others begin anew: each has a part of its own
    name while it works. A full disk is not left full: then nothing is kept. Raises OutputError, with the hint.
    """
    part = _new_part(path, hint)
    try:
        _take_over(path, part)
        yield part
        _settle(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(path, error, hint) from None
    except BaseException:
        _give_back(path, part)
        raise
    for left in _left(path):
        left.unlink(missing_ok=True)


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


def _new_part(path: Path, hint: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error, hint) from None
    return Path(name)


def _settle(part: Path, path: Path) -> None:
    _flush(part)
    os.chmod(part, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
    os.replace(part, path)


def _resting(path: Path) -> Path:
    """Where a part lies while nobody works on it."""
    return path.with_name(f".{path.name}.part")


def _left(path: Path) -> list[Path]:
    """Parts of `path` that nobody works on, the largest first: given back, or their process has died."""
    found: list[tuple[int, Path]] = []
    for part in path.parent.glob(f".{glob.escape(path.name)}.*part"):
        with contextlib.suppress(OSError):  # another process was faster
            facts = part.stat()
            if part == _resting(path) or time.time() - facts.st_mtime > _ABANDONED:
                found.append((facts.st_size, part))
    return [part for _, part in sorted(found, reverse=True)]


def _take_over(path: Path, part: Path) -> None:
    """Put the largest part that was left in the place of our own. Whoever renames it first has it."""
    for left in _left(path):
        with contextlib.suppress(OSError):  # another process has it
            os.utime(left)  # before it has our name, or it would look abandoned under that
            os.replace(left, part)
            return


def _give_back(path: Path, part: Path) -> None:
    resting = _resting(path)
    have = part.stat().st_size if part.exists() else 0
    if have > (resting.stat().st_size if resting.exists() else 0):
        os.replace(part, resting)
    else:
        part.unlink(missing_ok=True)


def _flush(part: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """Where whatsit keeps what it can make or fetch again: `WHATSIT_CACHE`, or the platform's place for such files.

    Below it: weights/, models/, features/, backbones/, data/. Nothing is created.
    """
    if chosen := os.environ.get("WHATSIT_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "whatsit" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "whatsit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whatsit"
