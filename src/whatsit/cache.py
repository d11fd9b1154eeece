"""What was once worked out about a picture, kept on disk by its content."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_A_QUERY = 500  # SQLite allows some thousand parameters
_UNSAVED = 256  # values that a crash may cost


class ContentCache:
    """Bytes by content hash, in one SQLite file. Several processes and threads may use it at once.

    Nothing in it is irreplaceable: a damaged file is thrown away, and where nothing can be written, nothing is kept.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._unsaved: dict[str, bytes] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(str(path))
        except sqlite3.OperationalError:  # no permission, no space
            self._db = _open(":memory:")
        except sqlite3.DatabaseError:  # not a database
            path.unlink()
            self._db = _open(str(path))
        except OSError:
            self._db = _open(":memory:")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._save()
        self._db.close()

    def is_empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM kept LIMIT 1").fetchone() is None

    def get(self, contents: Iterable[str]) -> dict[str, bytes]:
        """Those that are there."""
        wanted = list(dict.fromkeys(contents))
        found = {content: value for content in wanted if (value := self._unsaved.get(content)) is not None}
        for start in range(0, len(wanted), _A_QUERY):
            part = wanted[start : start + _A_QUERY]
            marks = ",".join("?" * len(part))
            with self._lock:
                found.update(self._db.execute(f"SELECT content, value FROM kept WHERE content IN ({marks})", part))
        return found

    def put(self, values: Mapping[str, bytes]) -> None:
        with self._lock:
            self._unsaved.update(values)
            if len(self._unsaved) >= _UNSAVED:
                self._save()

    def _save(self) -> None:
        """In one short transaction, so that other processes need not wait. A full disk costs the cache, not the run."""
        with contextlib.suppress(sqlite3.Error), self._db:
            self._db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", list(self._unsaved.items()))
        self._unsaved.clear()


def _open(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=60, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS kept (content TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        db.execute("SELECT content FROM kept LIMIT 1")
    except sqlite3.Error:
        db.close()
        raise
    return db
