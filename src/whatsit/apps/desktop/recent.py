"""The pictures and models that were opened last, kept between two starts."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

from whatsit import storage
from whatsit.errors import OutputError

_KEPT = 8


class Recent:
    """Paths as text, the latest first. Safe to share between threads.

    Nothing in it is irreplaceable: a damaged file counts as empty, and where nothing can be written, nothing is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept = _read(file)

    @property
    def pictures(self) -> tuple[str, ...]:
        return self._kept["pictures"]

    @property
    def models(self) -> tuple[str, ...]:
        return self._kept["models"]

    def add_picture(self, path: Path) -> None:
        self._change("pictures", str(path), keep=True)

    def add_model(self, path: Path) -> None:
        self._change("models", str(path), keep=True)

    def forget(self, path: Path) -> None:
        """It is gone, or no longer what it was."""
        for kind in ("pictures", "models"):
            self._change(kind, str(path), keep=False)

    def _change(self, kind: str, path: str, keep: bool) -> None:
        with self._lock:
            others = tuple(other for other in self._kept[kind] if other != path)
            changed = {**self._kept, kind: ((path, *others) if keep else others)[:_KEPT]}
            if changed != self._kept:
                self._kept = changed
                with contextlib.suppress(OutputError):
                    storage.write_whole(self._file, json.dumps(changed, indent=1) + "\n")


def recent_file() -> Path:
    """Where the platform wants what a program remembers about its use."""
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / "Application Support"
    else:
        place = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return place / "whatsit" / "recent.json"


def _read(file: Path) -> dict[str, tuple[str, ...]]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    found = found if isinstance(found, dict) else {}
    return {kind: _paths(found.get(kind)) for kind in ("pictures", "models")}


def _paths(found: object) -> tuple[str, ...]:
    return tuple(path for path in found if isinstance(path, str))[:_KEPT] if isinstance(found, list) else ()
