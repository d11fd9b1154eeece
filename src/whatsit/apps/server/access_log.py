"""Lines of JSON, written on a thread of their own: a reader that falls behind must not hold up answers."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any, TextIO

_MOST_WAITING = 10_000  # lines; what does not fit is counted in the next line's "dropped"


class AccessLog:
    """Write lines to a text stream. A context manager: at its end what waits is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)

    def __enter__(self) -> AccessLog:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._lines.put(None, timeout=1)
        except queue.Full:
            return  # nobody reads
        self._thread.join(timeout=1)

    def __call__(self, line: dict[str, Any]) -> None:
        if self._dropped:
            line = {**line, "dropped": self._dropped}
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(json.dumps(line) + "\n")  # plain ASCII, whatever a client made the path hold
                self._stream.flush()
            except (OSError, ValueError):  # the reader is gone, which is no reason to stop answering
                return
