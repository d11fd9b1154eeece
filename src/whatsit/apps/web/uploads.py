"""What browsers send, on disk for as long as it is needed and no longer.

Gradio puts an upload at <content>/<name>, so two people with the same picture share a file. It is deleted soon after
its answer rather than at once: the other's question may still be waiting. Gradio would leave what it was sent half,
and forget what nobody asked about; here everything goes by its age.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SWEEP = 5.0  # seconds between two looks through the folder
_ANSWERED = 10.0  # seconds an upload stays after its answer
_FORGOTTEN = 900.0  # seconds an upload stays that nobody asks about: it may wait for others' work, or still be arriving
_KEPT = 3600.0  # seconds a picture stays that may still get its right label
_MOST = 2_000_000_000  # bytes of all that is there, whoever sent it


class Uploads:
    """Two folders below one: what Gradio receives, and pictures that may still get their right label."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._kept = folder / "uploads", folder / "kept"
        self.folder.mkdir()
        self._kept.mkdir()
        self.lasting: set[Path] = set()
        self._in_use: Counter[Path] = Counter()
        self._answered: dict[Path, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._sweep_regularly, name="uploads", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def are_full(self) -> bool:
        """Whether nothing more may come until something has gone."""
        sizes = {}
        for path in (*_files_below(self.folder), *_files_below(self._kept)):
            with suppress(OSError):  # deleted meanwhile
                entry = path.stat()
                sizes[entry.st_dev, entry.st_ino] = entry.st_size  # once for all names of a file
        return sum(sizes.values()) >= _MOST

    def holds(self, path: str | Path) -> bool:
        return Path(path).resolve().is_relative_to(self.folder)

    @contextmanager
    def using(self, paths: Iterable[Path]) -> Iterator[None]:
        """Uploads that are being looked at. Afterwards they are not needed any more."""
        paths = list(paths)
        with self._lock:
            self._in_use.update(paths)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.subtract(paths)
                self._answered.update(dict.fromkeys(paths, time.time()))

    def keep(self, path: Path) -> Path:
        """The same file under a name of its own, for as long as somebody may say what it really shows."""
        kept = self._kept / f"{secrets.token_hex(16)}{path.suffix}"
        try:
            os.link(path, kept)
        except OSError:  # a file system without links
            shutil.copyfile(path, kept)
        return kept

    def forget(self, kept: Path | None) -> None:
        if kept is not None:
            kept.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what is no longer needed."""
        now = time.time()
        for path in _files_below(self.folder):
            with self._lock, suppress(OSError):  # somebody else has deleted it
                if path not in self.lasting and self._in_use[path] <= 0 and self._is_over(path, now):
                    path.unlink()
                    self._answered.pop(path, None)
        with self._lock:
            self._in_use = +self._in_use
            self._answered = {path: when for path, when in self._answered.items() if path.exists()}
        for path in _files_below(self._kept):
            with suppress(OSError):
                if now - _came(path) > _KEPT:
                    path.unlink()
        for folder in self.folder.iterdir():  # later than their files: a new one may be about to arrive in it
            with suppress(OSError):
                if now - folder.stat().st_mtime > _ANSWERED:
                    folder.rmdir()

    def _is_over(self, path: Path, now: float) -> bool:
        came = _came(path)
        answered = self._answered.get(path, 0.0)
        if answered >= came:  # else it has come again since
            return now - answered > _ANSWERED
        return now - came > _FORGOTTEN

    def _sweep_regularly(self) -> None:
        while not self._closed.wait(_SWEEP):
            with suppress(OSError):
                self.sweep()


def _files_below(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def _came(path: Path) -> float:
    """When it was written. Not when its entry changed: other names of the same file come and go."""
    return path.stat().st_mtime
