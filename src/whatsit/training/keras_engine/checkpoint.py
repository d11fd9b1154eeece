"""The state of a run between two epochs, on disk whole or not at all: arrays and JSON, nothing that could execute."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whatsit import storage
from whatsit.errors import DataError
from whatsit.events import EpochEnded

Arrays = list[NDArray[Any]]
_LISTS = ("network", "average", "optimizer", "best")


@dataclass
class State:
    """Everything the next epoch depends on. Random draws follow from (seed, epoch) and need no state."""

    network: Arrays
    average: Arrays  # empty where the weights themselves are judged
    optimizer: Arrays
    history: list[EpochEnded] = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    stale: int = 0  # epochs since the best
    elapsed: float = 0.0  # seconds of training, over all sessions

    @property
    def epochs_done(self) -> int:
        return len(self.history)


def save(path: Path, state: State) -> None:
    told = {
        "history": [asdict(epoch) for epoch in state.history],
        "stale": state.stale,
        "elapsed": state.elapsed,
        "lengths": {name: len(getattr(state, name)) for name in _LISTS},
    }
    arrays = {f"{name}/{n}": array for name in _LISTS for n, array in enumerate(getattr(state, name))}
    with storage.beside(path) as part, part.open("wb") as file:
        np.savez(file, state=np.array(json.dumps(told)), **arrays)


def load(path: Path) -> State:
    """Read a checkpoint; nothing in it is executed. Raises DataError if it is no checkpoint of ours."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            told = json.loads(str(stored["state"]))
            lists = {name: [stored[f"{name}/{n}"] for n in range(told["lengths"][name])] for name in _LISTS}
        history = [EpochEnded(**epoch) for epoch in told["history"]]
        return State(**lists, history=history, stale=told["stale"], elapsed=told["elapsed"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot resume from '{path}'",
            value=" ".join(str(error).split())[:120],
            accepted="a checkpoint written by Keras and this version of whatsit",
            hint="Delete the run folder and train again.",
        ) from None
