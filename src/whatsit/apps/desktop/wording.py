"""What stands in the answer's place, as text and shares, cut to what can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from whatsit.apps import presenter
from whatsit.apps.text import printable
from whatsit.evaluation.report import percent

if TYPE_CHECKING:
    from whatsit.modelfile import Manifest
    from whatsit.runtime.prediction import Prediction

TOP = 10
_LABEL, _REASON, _NAME, _SUMMARY = 48, 160, 60, 260  # letters that are shown

Kind = Literal["sure", "unsure", "error", "waiting"]


@dataclass(frozen=True)
class Shown:
    """The panel's parts; `rows` are label, share as text, and share in [0, 1]."""

    kind: Kind
    headline: str
    why: str = ""
    rows: Sequence[tuple[str, str, float]] = ()
    caption: str = ""


def answer(prediction: Prediction, manifest: Manifest | None, name: str) -> Shown:
    """The answer about the picture of this name. Labels stand there literally."""
    if prediction.error is not None:
        return Shown("error", _capital(shortened(presenter.headline(prediction), _REASON)))
    brief = replace(prediction, label=shortened(prediction.label or "", _LABEL), top=_brief(prediction.top))
    headline = _unbroken(presenter.headline(brief))
    rows = [(printable(label), _unbroken(percent(share)), share) for label, share in presenter.bars(prediction, TOP)]
    caption = f"{shortened_middle(name, _NAME)}, {presenter.duration(prediction.seconds)}"
    if not prediction.unsure:
        return Shown("sure", headline, "", rows, caption)
    return Shown("unsure", _capital(headline), presenter.why_unsure(manifest) if manifest else "", rows, caption)


def summary(manifest: Manifest) -> str:
    return _unbroken(shortened(presenter.summary(manifest), _SUMMARY))


def shortened(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def shortened_middle(text: str, most: int) -> str:
    """For names: their end tells more than their beginning, and both more than their middle."""
    text = printable(text)
    first = most // 3
    return text if len(text) <= most else f"{text[:first]}…{text[first + 1 - most :]}"


def _brief(top: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple((shortened(label, _LABEL), share) for label, share in top)


def _unbroken(text: str) -> str:
    """No line break between a number and its unit."""
    return text.replace(" %", "\u00a0%")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
