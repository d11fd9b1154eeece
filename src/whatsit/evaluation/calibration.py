"""Probabilities that mean what they say, and the threshold below which the honest answer is "not sure"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whatsit.wishes import PROMISE


@dataclass(frozen=True)
class Calibration:
    """What was chosen on the validation pictures.

    temperature  divides the logits
    ece_before   expected calibration error there, with temperature 1
    ece_after    the same with `temperature`
    threshold    answers with a lower score are "not sure"; None where the promise cannot be kept
    coverage     the share of validation pictures answered with it (1 without a threshold)
    promise      the accuracy promised among the answered
    """

    temperature: float
    ece_before: float
    ece_after: float
    threshold: float | None
    coverage: float
    promise: float = PROMISE


def calibrate(logits: NDArray[np.float32], targets: NDArray[np.int64], promise: float = PROMISE) -> Calibration:
    """Choose temperature and threshold on validation logits `[N, K]` and their right classes `[N]`.

    `promise` is the share of right answers, above 0 and below 1, that the threshold is to keep.
    """
    temperature = best_temperature(logits, targets)
    before, after = softmax(logits), softmax(logits / temperature)
    threshold = lowest_threshold(after.max(axis=1), after.argmax(axis=1) == targets, promise)
    return Calibration(
        temperature=temperature,
        ece_before=expected_calibration_error(before, targets),
        ece_after=expected_calibration_error(after, targets),
        threshold=threshold,
        coverage=1.0 if threshold is None else float((after.max(axis=1) >= threshold).mean()),
        promise=promise,
    )


def best_temperature(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature with the least cross-entropy (Guo et al., ICML 2017, section 4.2), within [0.05, 20].

    The right class counts as certain only as far as N pictures can tell: it gets 1 - 1 / (N + 2), the rest is spread
    over all classes (after Platt, 1999, section 2.2). Otherwise a few validation pictures that are all answered
    rightly would ask for temperature zero, and every later answer would come with a score of one.

    The loss is convex in 1 / temperature, so the golden-section search cannot be caught in a local minimum.
    """
    doubt = 1 / (len(targets) + 2)
    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if cross_entropy(logits / np.exp(a), targets, doubt) < cross_entropy(logits / np.exp(b), targets, doubt):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def lowest_threshold(scores: NDArray[np.float32], right: NDArray[np.bool_], promise: float = PROMISE) -> float | None:
    """The lowest of the scores seen that keeps at least `promise` right among those at or above it."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_of_its_score = np.append(ranked[1:] != ranked[:-1], True)
    kept = np.flatnonzero((share >= promise) & last_of_its_score)
    return float(ranked[kept[-1]]) if len(kept) else None


def expected_calibration_error(probabilities: NDArray[np.float32], targets: NDArray[np.int64], bins: int = 15) -> float:
    """The mean gap between confidence and accuracy over equal-width bins (Guo et al., ICML 2017, section 2)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(targets))


def cross_entropy(logits: NDArray[np.float32], targets: NDArray[np.int64], doubt: float = 0.0) -> float:
    """Mean negative log-likelihood in nats; `doubt` is the share of each target that is spread over all classes.

    In double precision, because the search compares values that are nearly equal.
    """
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    losses = np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted
    right = losses[np.arange(len(targets)), targets]
    return float(((1 - doubt) * right + doubt * losses.mean(axis=1)).mean())


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
