"""The contract between the journey and a training engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from whatsit.events import EpochEnded, NetworkBuilt, OnEvent
from whatsit.recipe import Recipe

Stopped = Literal["early stopping", "budget", "interrupted"]


@dataclass(frozen=True)
class TrainingData:
    """Pictures `uint8 [N, h, w, 3]` and right classes `int64 [N]` to learn from and to choose by."""

    train_pictures: NDArray[np.uint8]
    train_targets: NDArray[np.int64]
    validation_pictures: NDArray[np.uint8]
    validation_targets: NDArray[np.int64]
    classes: tuple[str, ...]


class Fitted(Protocol):
    """A trained network with its best weights.

    `history` holds every epoch; `stopped` says why it ended before the recipe's last epoch, None if it did not.
    """

    history: tuple[EpochEnded, ...]
    network: NetworkBuilt
    stopped: Stopped | None

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, h, w, 3] -> float32 [N, K], in full precision."""
        ...

    def onnx(self, temperature: float) -> bytes:
        """The graph of promise 1: uint8 `pictures` in, `probabilities` (softmax of logits / T) and `embedding` out."""
        ...


class Engine(Protocol):
    def device(self, asked: str | None) -> str:
        """The device to train on: the one asked for, or the best there is. Raises OptionError if it is not there."""
        ...

    def check_model(self, name: str) -> None:
        """Raise OptionError, with a suggestion, for a network that this engine does not know."""
        ...

    def check_recipe(self, recipe: Recipe, n_classes: int) -> None:
        """Raise what `fit` would raise for this network, its arguments and weights, without training."""
        ...

    def plan(self, data: TrainingData, recipe: Recipe) -> int:
        """How many epochs fit into `recipe.budget`, from timing a few steps. At least 1."""
        ...

    def fit(self, data: TrainingData, recipe: Recipe, checkpoint: Path, on_event: OnEvent) -> Fitted:
        """Train, or go on from `checkpoint` where it exists.

        Raises InterruptedEarlyError if it is interrupted before the first epoch ends.
        """
        ...
