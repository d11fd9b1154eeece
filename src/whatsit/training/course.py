"""The course of a training, the same in every framework: steps, rates, class weights, the best epoch, when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whatsit.events import EpochEnded
from whatsit.recipe import Recipe
from whatsit.training.engine import Stopped


def steps_per_epoch(n: int, batch_size: int) -> int:
    """A last batch of one joins no batch norm and is left out."""
    full, rest = divmod(n, batch_size)
    return max(1, full + (rest > 1))


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then a half cosine to zero (Loshchilov and Hutter, ICLR 2017). `step` counts from 0."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = max(1, round(recipe.warmup * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def class_weights(targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """float64 [K]: rarer classes weigh more, 1 on average over the pictures.

    The weights go with the square root of the imbalance: half way between leaving rare classes to chance and
    letting a handful of pictures steer the network.
    """
    counts = np.bincount(targets, minlength=n_classes).astype(np.float64)
    raw = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0)
    return np.asarray(raw * len(targets) / (raw * counts).sum(), np.float64)


def best_so_far(history: Sequence[EpochEnded]) -> tuple[float, float]:
    """The highest validation accuracy, and of equal ones the lowest loss, negated."""
    return max((epoch.validation_accuracy, -epoch.validation_loss) for epoch in history)


def reason_to_stop(epochs_done: int, stale: int, elapsed: float, recipe: Recipe) -> Stopped | None:
    """Why to end before the recipe's last epoch: `stale` epochs without a better one, or `elapsed` seconds."""
    if not 0 < epochs_done < recipe.epochs:
        return None
    if stale >= recipe.patience:
        return "early stopping"
    if recipe.budget is not None and elapsed + elapsed / epochs_done / 2 > recipe.budget:
        return "budget"
    return None
