"""Every error a user can cause, and what to do about it.

    WhatsitError                  exit code 2
    ├── ImageError                a picture that cannot be read             (1)
    ├── DataError                 a data set that cannot be used
    ├── OptionError               a value or combination that is not accepted
    ├── WeightsError              pretrained weights that do not fit
    ├── ModelFileError            a file that is not a usable model file
    ├── ParityError               an exported file that answers differently (4)
    ├── MissingExtraError         an optional part that is not installed
    ├── OutputError               a place that cannot be written to
    ├── ServerError               a page or server that cannot start
    ├── TargetMissedError         a training that is done, but not as accurate as asked for (3)
    └── InterruptedEarlyError     stopped before there was anything to keep (130)

Each carries four parts: what failed, the value seen, what is accepted, and what to do next.
The command line prints them as one line and exits with the class's code; HTTP turns them into a JSON problem.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Literal


class WhatsitError(Exception):
    """A mistake in the input or the surroundings, said in four parts."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, value: object, accepted: str, hint: str) -> None:
        self.what = what
        self.value = value
        self.accepted = accepted
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        return f"{self.what}: got {self.value}; accepted: {self.accepted}. {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive pickling on their own, and batch workers send errors home.
        return _rebuild, (type(self), self.what, self.value, self.accepted, self.hint)


def _rebuild(kind: type[WhatsitError], what: str, value: object, accepted: str, hint: str) -> WhatsitError:
    error = kind.__new__(kind)  # not kind(...): a class may have its own arguments
    WhatsitError.__init__(error, what, value=value, accepted=accepted, hint=hint)
    return error


UnreadableKind = Literal["empty", "not a picture", "too many bytes", "too many pixels", "unreadable"]


class ImageError(WhatsitError):
    """A picture that cannot be read; `value` is the reason, `kind` what sort of reason that is."""

    exit_code = 1
    kind: UnreadableKind = "unreadable"

    def __init__(
        self, what: str, *, value: object, accepted: str, hint: str, kind: UnreadableKind = "unreadable"
    ) -> None:
        super().__init__(what, value=value, accepted=accepted, hint=hint)
        self.kind = kind


class DataError(WhatsitError):
    pass


class OptionError(WhatsitError):
    pass


class WeightsError(WhatsitError):
    pass


class ModelFileError(WhatsitError):
    pass


class ParityError(WhatsitError):
    exit_code = 4


class MissingExtraError(WhatsitError):
    """An optional dependency is absent."""

    def __init__(self, task: str, *, module: str, extra: str) -> None:
        super().__init__(
            f"cannot {task}",
            value=f"no module named '{module}'",
            accepted=f"an installation with the '{extra}' extra",
            hint=f"Run: pip install 'whatsit[{extra}]'",
        )


class OutputError(WhatsitError):
    pass


class ServerError(WhatsitError):
    pass


class TargetMissedError(WhatsitError):
    exit_code = 3


class InterruptedEarlyError(WhatsitError):
    exit_code = 130


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "Did you mean 'x'?" for the nearest known names, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
