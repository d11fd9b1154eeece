"""One answer about one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

UnsureReason = Literal["low score"]


@dataclass(frozen=True)
class Prediction(Sequence[dict[str, Any]]):
    """The answer about one picture. It also reads as a list of {"label", "score"}, best first.

    path     the picture's path or name
    label    the most probable class; None if the picture could not be read
    score    its probability in [0, 1]
    top      (label, score) of the most probable classes, best first
    unsure   whether the honest answer is "not sure", and `reason` says why
    error    why the picture could not be read; None if it was
    seconds  the time for this picture, decoding included
    """

    path: str
    label: str | None
    score: float | None
    top: tuple[tuple[str, float], ...]
    unsure: bool = False
    reason: UnsureReason | None = None
    error: str | None = None
    seconds: float = field(default=0.0, compare=False)

    def __len__(self) -> int:
        return len(self.top)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [{"label": label, "score": score} for label, score in self.top[index]]
        label, score = self.top[index]
        return {"label": label, "score": score}

    def __str__(self) -> str:
        if self.error is not None:
            return f"error: {self.error}"
        return "not sure" if self.unsure else str(self.label)

    def to_row(self) -> dict[str, Any]:
        """What the machine-readable formats hold."""
        return {
            "path": self.path,
            "label": self.label,
            "score": self.score,
            "top": list(self),
            "unsure": self.unsure,
            "error": self.error,
        }
