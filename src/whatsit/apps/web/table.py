"""Answers about many pictures as a table with thumbnails, which sorts and filters in the browser (table.js)."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whatsit.apps import tables
from whatsit.apps.text import sendable
from whatsit.apps.web.answer import text
from whatsit.evaluation.report import percent
from whatsit.runtime.prediction import Prediction

SCRIPT = Path(__file__).with_name("table.js").read_text("utf-8")
_UNSURE, _UNREADABLE = "not sure", "unreadable"


@dataclass(frozen=True)
class Row:
    """A prediction, whose path is the picture's name, and the thumbnail's address."""

    prediction: Prediction
    thumbnail: str


def table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    predictions = [row.prediction for row in rows]
    head = "".join(
        f"<th scope='col'><button type='button' data-by='{by}'>{name}</button></th>"
        for by, name in (("name", "Picture"), ("label", "Answer"), ("score", "Score"))
    )
    return (
        f"<div class='tools'>{_filter(predictions)}{_search()}{_download(predictions)}</div>"
        f"<p class='quiet' aria-live='polite'><span class='count'>{len(rows):,}</span> of {len(rows):,} shown</p>"
        f"<table class='grid many'><thead><tr><th aria-label='Thumbnail'></th>{head}</tr></thead>"
        f"<tbody>{''.join(map(_row, rows))}</tbody></table>"
    )


def csv_text(predictions: Sequence[Prediction]) -> str:
    """The same columns as `whatsit predict --format csv` writes."""
    file = io.StringIO(newline="")
    tables.write_csv(predictions, file)
    return sendable(file.getvalue())


def _kind(prediction: Prediction) -> str:
    """What a row is filtered by: its label unless there is none to speak of."""
    if prediction.error is not None:
        return _UNREADABLE
    return _UNSURE if prediction.unsure else f"={prediction.label}"


def _filter(predictions: Sequence[Prediction]) -> str:
    counts = Counter(map(_kind, predictions))
    labels = sorted(kind for kind in counts if kind.startswith("="))
    kinds = [*labels, *(kind for kind in (_UNSURE, _UNREADABLE) if kind in counts)]
    options = "".join(
        f"<option value='{text(kind)}'>{text(kind.removeprefix('='))} ({counts[kind]:,})</option>" for kind in kinds
    )
    return f"<select aria-label='Show'><option value=''>all ({len(predictions):,})</option>{options}</select>"


def _search() -> str:
    return "<input type='search' placeholder='Search' aria-label='Search names and labels'>"


def _download(predictions: Sequence[Prediction]) -> str:
    data = base64.b64encode(csv_text(predictions).encode()).decode()
    return (
        f"<a class='download' download='answers.csv' href='data:text/csv;charset=utf-8;base64,{data}'>Download CSV</a>"
    )


def _row(row: Row) -> str:
    said = row.prediction
    image = f"<img src='{row.thumbnail}' alt='' loading='lazy'>" if row.thumbnail else ""
    label = "" if said.error is not None else str(said.label)
    return (
        f"<tr data-kind='{text(_kind(said))}' data-name='{text(said.path)}' data-label='{text(label)}' "
        f"data-score='{said.score if said.score is not None else -1:.6f}'>"
        f"<td>{image}</td><td>{text(said.path)}</td><td>{_said(said)}</td>"
        f"<td>{text(percent(said.score)) if said.score is not None else ''}</td></tr>"
    )


def _said(said: Prediction) -> str:
    if said.error is not None:
        return f"<span class='error'>{text(said.error)}</span>"
    if said.unsure:
        perhaps = " or ".join(label for label, _ in said.top[:2])
        return f"<span class='unsure'>not sure</span><br><small>perhaps {text(perhaps)}</small>"
    return f"<b>{text(str(said.label))}</b>"
