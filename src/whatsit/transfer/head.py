"""A last layer for what a frozen network sees: logistic regression, its regularisation chosen on validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whatsit.evaluation.calibration import cross_entropy
from whatsit.events import OnEvent, Progress
from whatsit.training import course
from whatsit.training.engine import Head

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # inverse of the L2 penalty, on features of unit length
_TOLERANCE = 3e-4
_STEPS = 200


@dataclass(frozen=True)
class Tried:
    """One strength of regularisation and what came of it on validation: accuracy, and loss in nats."""

    strength: float
    accuracy: float
    loss: float


def fit(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    validation_features: NDArray[np.float32],
    validation_targets: NDArray[np.int64],
    n_classes: int,
    class_weights: bool,
    on_event: OnEvent,
) -> tuple[Head, list[Tried]]:
    """The head with the lowest loss on validation, and all strengths that were tried.

    features float32 [N, D], targets int64 [N]. From strong regularisation to weak, each starting where the last one
    ended, until validation no longer gains: that path is several times shorter than separate fits. A linear head on
    frozen features: Kornblith, Shlens and Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019, section 3.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    length = float(np.sqrt(np.square(features).sum(axis=1).mean())) or 1.0
    scaled = features / length
    model = LogisticRegression(tol=_TOLERANCE, max_iter=_STEPS, warm_start=True)
    weights = course.class_weights(targets, n_classes)[targets] if class_weights else None
    best, tried = None, []
    for number, strength in enumerate(_STRENGTHS):
        model.set_params(C=strength)
        # One thread: the products are small, and NumPy's and SciPy's own pools of threads get into each other's way,
        # which made this five times slower on two cores.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is one more regularisation
            model.fit(scaled, targets, sample_weight=weights)
        head = _head(model, length, n_classes)
        tried.append(_judged(strength, head.logits(validation_features), validation_targets))
        on_event(Progress("fitting the last layer", number + 1, len(_STRENGTHS)))
        if best is not None and tried[-1].loss > min(t.loss for t in tried[:-1]):
            break
        best = head
    assert best is not None
    return best, tried


def _head(model: LogisticRegression, length: float, n_classes: int) -> Head:
    """Two classes come as one row, for their difference; a class without a training picture not at all."""
    rows, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    weight = np.zeros((rows.shape[1], n_classes), np.float32)
    full = np.zeros(n_classes, np.float32)
    weight[:, model.classes_] = rows.T / length
    full[model.classes_] = bias
    return Head(weight, full)


def _judged(strength: float, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> Tried:
    return Tried(strength, float((logits.argmax(axis=1) == targets).mean()), cross_entropy(logits, targets))
