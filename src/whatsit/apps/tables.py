"""Answers about many pictures as a table: the same CSV from the command line, the page and the desktop window."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from whatsit.runtime import Prediction

_COLUMNS = ("path", "label", "score", "top", "unsure", "error")


def write_csv(predictions: Iterable[Prediction], file: IO[str]) -> None:
    """A row for each prediction, an unreadable picture with its reason; `top` is JSON, best label first."""
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for prediction in predictions:
        row = prediction.to_row()
        writer.writerow({**row, "top": json.dumps(row["top"], ensure_ascii=False)})
