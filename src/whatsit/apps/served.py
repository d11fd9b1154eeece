"""Models that are open at the same time, each under a name of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whatsit.runtime import OpenModel


@dataclass(frozen=True)
class Served:
    """An open model and the name that pages show and addresses hold: letters, digits and `._:-`, unique."""

    name: str
    model: OpenModel


def named(models: Iterable[tuple[str, OpenModel]]) -> list[Served]:
    """A name for each, from what the user called it: `runs/photos/model.onnx` is photos, `birds.onnx` birds.

    A second one of the same name gets a number.
    """
    used: Counter[str] = Counter()
    served = []
    for called, model in models:
        name = _name(called)
        used[name] += 1
        while used[name] > 1 and f"{name}-{used[name]}" in used:
            used[name] += 1
        unique = name if used[name] == 1 else f"{name}-{used[name]}"
        used[unique] += unique != name
        served.append(Served(unique, model))
    return served


def _name(called: str) -> str:
    path = Path(called)
    if path.suffix != ".onnx":
        name = called
    elif path.stem == "model":  # every run folder's file is called that
        name = path.absolute().parent.name
    else:
        name = path.stem
    return re.sub(r"[^A-Za-z0-9._:-]+", "-", name).strip("-") or "model"
