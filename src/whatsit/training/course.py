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
    return max(1, math.ceil(n / batch_size))


def batches(n: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The pictures of each step, drawn from (seed, epoch): batches of one size, or one less.

    Even batches, because the statistics of a small last one would count as much as those of the others.
    """
    order = np.random.default_rng((seed, epoch)).permutation(n)
    return np.array_split(order, steps_per_epoch(n, batch_size))


def size_at(step: int, steps: int, recipe: Recipe) -> int | None:
    """Pixels a side that the network is shown at this step, None for all there are."""
    return recipe.start_size if step < _coarse_steps(steps, recipe) else None


def effort(step: int, steps: int, recipe: Recipe) -> int:
    """What the first `step` steps take, in steps with whole pictures: smaller ones take less in proportion to their
    pixels. Time left is estimated from it."""
    height, width = recipe.preprocess.size
    coarse = min(step, _coarse_steps(steps, recipe))
    return round(step - coarse + coarse * recipe.start_size**2 / (height * width))


def _coarse_steps(steps: int, recipe: Recipe) -> int:
    return math.ceil(recipe.start_share * steps) if recipe.start_size else 0


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then to zero on a half cosine (Loshchilov and Hutter, ICLR 2017) or a line. `step` is 0-based."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = max(1, round(recipe.warmup * steps))
    if recipe.schedule == "linear":
        return recipe.learning_rate * min((step + 1) / warmup, max(0.0, 1 - step / steps))
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


def reason_to_stop(
    history: Sequence[EpochEnded], stale: int, elapsed: float, recipe: Recipe, n_validation: int
) -> Stopped | None:
    """Why to end before the recipe's last epoch: a target that is surely reached on validation, `stale` epochs without
    a better one, or `elapsed` seconds."""
    if not 0 < len(history) < recipe.epochs:
        return None
    if recipe.target is not None and best_so_far(history)[0] >= _surely(recipe.target, n_validation):
        return "target"
    if stale >= recipe.patience:
        return "early stopping"
    if recipe.budget is not None and elapsed + elapsed / len(history) / 2 > recipe.budget:
        return "budget"
    return None


def _surely(target: float, n: int) -> float:
    """What to ask of `n` pictures so that others will hold the target too: a standard error more, but not all right."""
    return min(target + math.sqrt(target * (1 - target) / n), (target + 1) / 2)
