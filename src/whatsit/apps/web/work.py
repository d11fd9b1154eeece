"""What is being worked on, so that the page ends after it and not in the middle: a process that leaves while a thread
is inside a library is aborted by the system.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

_PATIENCE = 20.0  # seconds for the work in hand: a picture, or a handful of many


class Work:
    """Counts what goes on. After `end` nothing begins any more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._going_on = 0
        self.ended = False

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with self._changed:
            if self.ended:
                raise gr.Error("The page is being closed.", print_exception=False)
            self._going_on += 1
        try:
            yield
        finally:
            with self._changed:
                self._going_on -= 1
                self._changed.notify_all()

    @property
    def busy(self) -> bool:
        """Whether something is going on."""
        return self._going_on > 0

    def end(self) -> None:
        """Let nothing more begin, and wait for what has."""
        with self._changed:
            self.ended = True
            self._changed.wait_for(lambda: not self._going_on, _PATIENCE)
