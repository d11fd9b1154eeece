"""Threads for all that takes time. The latest wish counts, and what comes of it is heard on the interface's thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec

P = ParamSpec("P")

Work = Callable[["Task"], None]
Failed = Callable[[Exception], None]


class Stopped(Exception):
    """Ends a piece of work that nobody waits for any more."""


class Task:
    """A piece of work under way. `stopped` is set when nobody waits for it any more: then it may end at once."""

    def __init__(self, inbox: Inbox) -> None:
        self.stopped = threading.Event()
        self._inbox = inbox

    def check(self) -> None:
        if self.stopped.is_set():
            raise Stopped

    def tell(self, hear: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `hear` called on the interface's thread, unless the task is stopped by then."""
        self._inbox.put(self, partial(hear, *args, **kwargs))


class Inbox:
    """What tasks told, until the interface's thread comes to hear it."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[tuple[Task, Callable[[], None]]] = queue.SimpleQueue()

    def put(self, task: Task, heard: Callable[[], None]) -> None:
        self._told.put((task, heard))

    def deliver(self, seconds: float) -> bool:
        """Hear what was told, for about so long at most. Whether there was anything."""
        end = time.perf_counter() + seconds
        heard_any = False
        while time.perf_counter() < end:
            try:
                task, heard = self._told.get_nowait()
            except queue.Empty:
                break
            if not task.stopped.is_set():
                heard()
                heard_any = True
        return heard_any


class Lane:
    """One thread that does the latest thing it was asked. What was asked before is stopped, and no longer heard."""

    def __init__(self, name: str, inbox: Inbox) -> None:
        self._name, self._inbox = name, inbox
        self._changed = threading.Condition()
        self._task: Task | None = None
        self._next: tuple[Task, Work, Failed] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, work: Work, failed: Failed) -> None:
        """Do `work` on the lane's thread; `failed` hears of an exception."""
        self.cancel()
        with self._changed:
            self._task = Task(self._inbox)
            self._next = (self._task, work, failed)
            if self._thread is None:
                # A daemon: a picture of a hundred megapixels that is being read must not keep the program from ending.
                self._thread = threading.Thread(target=self._run, name=f"whatsit {self._name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def cancel(self) -> None:
        with self._changed:
            if self._task is not None:
                self._task.stopped.set()
            self._task = self._next = None

    def close(self, seconds: float) -> None:
        """Take no more, and give what is under way or waiting so long to end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (waiting := self._wait()) is not None:
            task, work, failed = waiting
            try:
                work(task)
            except Stopped:
                pass
            except Exception as error:
                task.tell(failed, error)

    def _wait(self) -> tuple[Task, Work, Failed] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._closed)
            waiting, self._next = self._next, None
            return waiting
