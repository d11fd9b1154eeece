"""The state of a run between two epochs, on disk whole or not at all."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whatsit import storage
from whatsit.errors import DataError
from whatsit.events import EpochEnded


@dataclass
class State:
    """Everything the next epoch depends on. Random draws follow from (seed, epoch) and need no state."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: list[EpochEnded] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    stale: int = 0  # epochs since the best
    elapsed: float = 0.0  # seconds of training, over all sessions

    @property
    def epochs_done(self) -> int:
        return len(self.history)


def save(path: Path, state: State) -> None:
    data = {**vars(state), "history": [asdict(epoch) for epoch in state.history]}
    whole = io.BytesIO()  # given a file, PyTorch reports a full disk as an error of its own, with a traceback
    torch.save(data, whole)
    with storage.beside(path) as part:
        part.write_bytes(whole.getvalue())  # a view that an error keeps alive makes Python 3.13 complain at the end


def load(path: Path) -> State:
    """Read a checkpoint; nothing in it is executed. Raises DataError if it is no checkpoint of ours."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        data["history"] = [EpochEnded(**epoch) for epoch in data["history"]]
        return State(**data)
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise DataError(
            f"cannot resume from '{path}'",
            value=" ".join(str(error).split())[:120],
            accepted="a checkpoint written by this version of whatsit",
            hint="Delete the run folder and train again.",
        ) from None
