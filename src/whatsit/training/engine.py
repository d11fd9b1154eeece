"""The contract between the journey and a training engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from whatsit.catalogue import Framework
from whatsit.events import EpochEnded, NetworkBuilt, OnEvent
from whatsit.recipe import Recipe

Stopped = Literal["target", "early stopping", "budget", "interrupted"]


@dataclass(frozen=True)
class TrainingData:
    """Pictures `uint8 [N, h, w, 3]` and right classes `int64 [N]` to learn from and to choose by."""

    train_pictures: NDArray[np.uint8]
    train_targets: NDArray[np.int64]
    validation_pictures: NDArray[np.uint8]
    validation_targets: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """A last layer: logits `[N, K]` = embedding `[N, D]` @ weight `float32 [D, K]` + bias `float32 [K]`."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        return embedding @ self.weight + self.bias


# Learning rates of the range test, each a little larger than the one before.
TEST_RATES = tuple(float(rate) for rate in np.geomspace(1e-6, 1.0, 40))


@dataclass(frozen=True)
class RateTest:
    """Learning rates and the training loss of the step made with each."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def suggestion(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss, well before it turns up (Smith, WACV 2017).

        None where no rate brought the loss down noticeably: then the test says nothing.
        """
        losses = np.array(self.losses)
        losses = losses[: int(np.argmin(np.isfinite(losses))) or None] if not np.isfinite(losses).all() else losses
        width = min(5, len(losses))
        smooth = np.convolve(losses, np.ones(width) / width, "valid")
        lowest = int(np.argmin(smooth))
        if smooth[lowest] > 0.95 * smooth[0]:
            return None
        return self.rates[lowest + width // 2] / 10


class Fitted(Protocol):
    """A network with its best weights.

    `history` holds every epoch; `stopped` says why it ended before the recipe's last epoch, None if it did not.
    """

    history: tuple[EpochEnded, ...]
    network: NetworkBuilt
    stopped: Stopped | None

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, h, w, 3] -> float32 [N, K], in full precision."""
        ...

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, h, w, 3] -> float32 [N, D], what the last layer sees, in full precision."""
        ...

    def onnx(self, temperature: float) -> bytes:
        """The graph of promise 1: uint8 `pictures` in, `probabilities` (softmax of logits / T) and `embedding` out."""
        ...

    def write_native(self, folder: Path) -> Path | None:
        """Write the framework's own file for those who go on in it, and return its path; None if it has none.

        Keras: `model.keras`, which takes pictures float [N, h, w, 3] in 0..255 and gives probabilities.
        """
        ...


class Engine(Protocol):
    """One framework. Nothing of it is imported before an engine is made.

    Networks are named in `recipe.model` as the framework names them ("mobilenetv2_100", "MobileNetV2"), or are one of
    our own ("small"). `recipe.weights` is the path of pretrained weights, None for random ones.
    """

    name: Framework

    def device(self, asked: str | None) -> str:
        """The device to train on: the one asked for, or the best there is. Raises OptionError if it is not there."""
        ...

    def check_model(self, name: str) -> None:
        """Raise OptionError, with a suggestion, for a network that this engine does not know."""
        ...

    def check_recipe(self, recipe: Recipe, n_classes: int) -> None:
        """Raise what `fit` would raise for this network, its arguments and weights, without training."""
        ...

    def pretrained(self, recipe: Recipe, n_classes: int) -> Fitted:
        """The network as its weights file has it, its own last layer of `n_classes` included; empty history.

        Raises WeightsError if the file does not fit.
        """
        ...

    def with_head(self, recipe: Recipe, n_classes: int, head: Head | None = None) -> Fitted:
        """The pretrained network with this last layer (None: of zeros) instead of its own; empty history."""
        ...

    def plan(self, data: TrainingData, recipe: Recipe, start: Head | None) -> int:
        """How many epochs fit into `recipe.budget`, from timing a few steps; 0 if not even one does."""
        ...

    def test_rates(self, data: TrainingData, recipe: Recipe, start: Head | None) -> RateTest:
        """The loss at each of TEST_RATES, until it explodes."""
        ...

    def fit(
        self, data: TrainingData, recipe: Recipe, start: Head | None, checkpoint: Path, on_event: OnEvent
    ) -> Fitted:
        """Train, from the last layer `start` where there is one, or go on from `checkpoint` where it exists.

        `recipe.finetune` says which layers learn. Raises InterruptedEarlyError if it is interrupted before the first
        epoch ends.
        """
        ...
