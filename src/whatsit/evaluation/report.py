"""Every measured number with its interval, and the pictures behind it.

Only numpy is needed here, so that `whatsit evaluate` runs on the light installation; the tests compare each figure
with scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whatsit.evaluation.calibration import expected_calibration_error

_LEAST = 1e-12  # a probability taken for this when it is smaller: its logarithm would be infinite at 0


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a share in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 in [0, 1]; `support` is the number of pictures of the class."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Judged:
    """One judged picture: what it is, what the model said, how sure it was, and the loss in nats.

    The loss is minus the logarithm of the right label's probability, at most 27.6 where that is (next to) nothing.
    """

    name: str
    actual: str
    predicted: str
    score: float
    loss: float
    unsure: bool

    @property
    def right(self) -> bool:
        return self.actual == self.predicted


@dataclass(frozen=True)
class Report:
    """What was measured on one set of labelled pictures.

    loss              the mean cross-entropy in nats of the calibrated probabilities; finite, as `Judged.loss` is
    baseline          the accuracy of always answering `baseline_label`, the most frequent class
    confusion         [actual][predicted] counts in the order of `labels`
    ece               expected calibration error of the calibrated probabilities
    coverage          the share of pictures that got an answer (score at or above `threshold`); 1 without a threshold
    answered_accuracy the accuracy among those; None if there are none
    pictures          in the order given
    """

    labels: tuple[str, ...]
    n: int
    correct: int
    accuracy: float
    interval: Interval
    loss: float
    baseline: float
    baseline_label: str
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    threshold: float | None
    coverage: float
    answered_accuracy: float | None
    pictures: tuple[Judged, ...]

    def worst(self, k: int = 9) -> list[Judged]:
        """The wrong answers with the largest losses."""
        wrong = [picture for picture in self.pictures if not picture.right]
        return sorted(wrong, key=lambda picture: -picture.loss)[:k]

    def most_confused(self, least: int = 1) -> list[tuple[str, str, int]]:
        """(actual, predicted, count) for every confusion seen at least `least` times, most frequent first."""
        cells = [
            (actual, predicted, self.confusion[i][j])
            for i, actual in enumerate(self.labels)
            for j, predicted in enumerate(self.labels)
            if i != j and self.confusion[i][j] >= max(least, 1)
        ]
        return sorted(cells, key=lambda cell: -cell[2])

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the pictures."""
        data = asdict(self)
        del data["pictures"]
        data["interval"] = [self.interval.low, self.interval.high]
        return data


def judge(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    names: Sequence[str],
    labels: Sequence[str],
    threshold: float | None = None,
) -> Report:
    """Compare probabilities `[N, K]` with the right classes `[N]`. N must be at least 1."""
    n, k = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    scores = probabilities.max(axis=1)
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (targets, predicted), 1)
    correct = int(np.trace(confusion))
    support = confusion.sum(axis=1)
    answered = np.ones(n, bool) if threshold is None else scores >= threshold
    losses = -np.log(np.maximum(probabilities[np.arange(n), targets], _LEAST))
    return Report(
        labels=tuple(labels),
        n=n,
        correct=correct,
        accuracy=correct / n,
        interval=wilson_interval(correct, n),
        loss=float(losses.mean(dtype=np.float64)),
        baseline=float(support.max() / n),
        baseline_label=labels[int(support.argmax())],
        per_class=class_scores(confusion, labels),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        ece=expected_calibration_error(probabilities, targets),
        threshold=threshold,
        coverage=float(answered.mean()),
        answered_accuracy=float((predicted == targets)[answered].mean()) if answered.any() else None,
        pictures=tuple(
            Judged(
                names[i], labels[targets[i]], labels[predicted[i]], float(scores[i]), float(losses[i]), not answered[i]
            )
            for i in range(n)
        ),
    )


def wilson_interval(correct: int, n: int) -> Interval:
    """The 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927); honest for small n and near 0 or 1."""
    z = 1.959963984540054
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    return Interval(float(centre - half) if correct else 0.0, float(centre + half) if correct < n else 1.0)


def class_scores(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class; 0 where nothing was predicted or nothing was there."""
    right = np.diag(confusion).astype(float)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(predicted + support, 1)
    return tuple(
        ClassScore(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(labels)
    )


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent that is never rounded up to all or down to nothing."""
    least = 10.0**-digits
    if 0 < share * 100 < least / 2:
        return f"< {least:.{digits}f} %"
    if 100 - least / 2 <= share * 100 < 100:
        return f"> {100 - least:.{digits}f} %"
    return f"{share * 100:.{digits}f} %"
