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


def reporter(verbose: bool = True) -> Terminal | Lines:
    return Terminal(verbose) if sys.stderr.isatty() else Lines(verbose)


class Lines:
    """Plain lines, for pipes and logs. A context manager and an event callback."""

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose
        self._stage, self._began, self._said = "", 0.0, 0.0

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
        if event.stage != self._stage:
            self._stage, self._began, self._said = event.stage, now, now
        if now - self._said > _QUIET and event.done < event.total:
            self._said = now
            left = (now - self._began) / event.done * (event.total - event.done)
            self._say(f"{event.stage}: {event.done:,} of {event.total:,}, about {duration(left)} left")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class Terminal(Lines):
    """The same lines above a live bar."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar: Bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task: TaskID | None = None
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _progress(self, event: Progress) -> None:
        if event.stage != self._stage or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._stage, self._task = event.stage, self._bar.add_task(event.stage, total=event.total)
        self._bar.update(self._task, completed=event.done)

    def _say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, soft_wrap=True)


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


def percent(share: float) -> str:
    return f"{share:.1%}"
