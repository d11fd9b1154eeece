"""Events on a terminal (a live progress bar with the time left) or in a pipe (plain lines). Always on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from whatsit.events import Decision, EpochEnded, Event, Finished, NetworkBuilt, Notice, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_DETAILS = 5  # names shown below a notice
_QUIET = 10.0  # seconds between two lines about one stage in a pipe
_PATIENCE = 0.5  # seconds of work before a bar is worth loading and drawing


def reporter(verbose: bool = True) -> Lines:
    """A live bar where a person watches, plain lines otherwise."""
    return Terminal(verbose) if sys.stderr.isatty() else Lines(verbose)


class Lines:
    """Plain lines, for pipes and logs. A context manager and an event callback."""

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose
        self._stage, self._done, self._began, self._said = "", 0, 0.0, 0.0
        self._first = 0  # done before: where a training is gone on with, not in this time

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress(event)
        else:
            for line in lines(event, self.verbose):
                self._say(line)

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        if event.stage != self._stage or event.done < self._done:  # another stage, or the same one again
            self._stage, self._began, self._said, self._first = event.stage, now, now, event.done
        self._done = event.done
        if now - self._said > _QUIET and self._first < event.done < event.total:
            self._said = now
            left = (now - self._began) / (event.done - self._first) * (event.total - event.done)
            self._say(f"{event.stage}: {event.done:,} of {event.total:,}, about {duration(left)} left")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class Terminal(Lines):
    """The same lines above a live bar, which appears when the work takes a while."""

    def __init__(self, verbose: bool = True) -> None:
        super().__init__(verbose)
        self._began = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _progress(self, event: Progress) -> None:
        if self._bar is None:
            if event.done >= event.total or time.monotonic() - self._began < _PATIENCE:
                return
            self._bar = _live_bar()
        if event.stage != self._stage or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._stage, self._task = event.stage, self._bar.add_task(event.stage, total=event.total)
        self._bar.update(self._task, completed=event.done, total=event.total)

    def _say(self, line: str) -> None:
        if self._bar is None:
            super()._say(line)
        else:
            self._bar.console.print(line, markup=False, soft_wrap=True)


def _live_bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True, highlight=False),
        transient=True,
        redirect_stdout=False,  # it would send the answers to stderr
    )
    bar.start()
    return bar


def lines(event: Event, verbose: bool = True) -> list[str]:
    """What an event says in plain text."""
    if isinstance(event, Notice):
        shown = [f"  {name}" for name in event.details[:_DETAILS]]
        more = len(event.details) - _DETAILS
        return [event.text, *shown, *([f"  and {more:,} more"] if more > 0 else [])]
    if isinstance(event, Decision):
        return [f"{event.what}: {event.why}"]
    if isinstance(event, NetworkBuilt):
        total = f"{event.total_parameters:,} parameters, {event.trainable_parameters:,} of them trained"
        return [*(event.table.splitlines() if verbose else []), total]
    if isinstance(event, EpochEnded):
        return [_epoch(event)]
    if isinstance(event, Finished):
        return [event.text]
    return []


def _epoch(e: EpochEnded) -> str:
    return (
        f"epoch {e.epoch:>{len(str(e.epochs))}}/{e.epochs}  "
        f"train loss {e.train_loss:.3f} accuracy {e.train_accuracy:.1%}  "
        f"validation loss {e.validation_loss:.3f} accuracy {e.validation_accuracy:.1%}  "
        f"{e.seconds:.1f} s{'  best' if e.best else ''}"
    )


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
