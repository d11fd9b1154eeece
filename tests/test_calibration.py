"""Temperature, calibration error and threshold against slower ways to the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whatsit.evaluation import calibration
from whatsit.evaluation.calibration import (
    best_temperature,
    calibrate,
    cross_entropy,
    expected_calibration_error,
    lowest_threshold,
    softmax,
)

optimize = pytest.importorskip("scipy.optimize", reason="needs the 'train' extra")


def drawn(n: int, k: int, sharpness: float, seed: int) -> tuple[Any, Any]:
    """Logits float32 [N, K] whose right temperature is about `sharpness`, and classes drawn from them."""
    chance = np.random.default_rng(seed)
    true = chance.normal(0, 1.5, (n, k))
    powers = np.exp(true)
    rows = powers / powers.sum(axis=1, keepdims=True)
    targets = np.array([chance.choice(k, p=row) for row in rows])
    return (true * sharpness).astype(np.float32), targets


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 2.5, 10.0])
@pytest.mark.parametrize(("n", "k"), [(300, 2), (2000, 10)])
def test_the_temperature_is_scipys(n: int, k: int, sharpness: float) -> None:
    logits, targets = drawn(n, k, sharpness, 0)

    def loss(log_temperature: float) -> float:
        from scipy.special import log_softmax

        rows = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        doubt = 1 / (n + 2)
        return float(-((1 - doubt) * rows[np.arange(n), targets] + doubt * rows.mean(axis=1)).mean())

    found = optimize.minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-8})
    temperature = best_temperature(logits, targets)
    assert np.log(temperature) == pytest.approx(found.x, abs=2e-4)
    assert temperature == pytest.approx(sharpness, rel=0.25)


def test_the_temperature_stays_within_its_bounds() -> None:
    logits = np.eye(3, dtype=np.float32).repeat(5, axis=0)
    always_right = np.arange(3).repeat(5)
    assert best_temperature(logits * 0.01, always_right) == pytest.approx(0.05, rel=0.01)
    assert best_temperature(logits, (always_right + 1) % 3) == pytest.approx(20, rel=0.01)


def test_a_few_pictures_all_answered_rightly_prove_no_certainty() -> None:
    logits = 10 * np.eye(3, dtype=np.float32).repeat(5, axis=0)
    few = softmax(logits / best_temperature(logits, np.arange(3).repeat(5))).max()
    assert 0.9 < few < 0.98  # 15 pictures: about 1 - 1 / 17
    many = softmax(logits / best_temperature(logits.repeat(100, axis=0), np.arange(3).repeat(500))).max()
    assert few < many < 1


def test_huge_logits_overflow_nowhere() -> None:
    logits, targets = drawn(200, 5, 1.0, 1)
    assert best_temperature(logits * 1e4, targets) == pytest.approx(20, rel=0.01)
    assert np.isfinite(softmax(logits * 1e30)).all()
    assert np.isfinite(cross_entropy(logits * 1e30, targets))


def test_softmax_and_cross_entropy_are_scipys() -> None:
    special = pytest.importorskip("scipy.special")
    logits, targets = drawn(100, 7, 1.0, 2)
    assert softmax(logits) == pytest.approx(special.softmax(logits.astype(float), axis=1), abs=1e-6)
    expected = -special.log_softmax(logits.astype(float), axis=1)[np.arange(100), targets].mean()
    assert cross_entropy(logits, targets) == pytest.approx(expected, rel=1e-6)
    assert softmax(logits).dtype == np.float32


def slow_ece(probabilities: Any, targets: Any, bins: int) -> float:
    """As in the paper: bin m holds confidences in ((m - 1) / M, m / M]."""
    total = 0.0
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            total += inside.sum() / len(targets) * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("n", [1, 50, 2000])
def test_the_calibration_error_is_the_papers(n: int, bins: int) -> None:
    logits, targets = drawn(n, 4, 3.0, n)
    probabilities = softmax(logits).astype(np.float64)
    assert expected_calibration_error(probabilities, targets, bins) == pytest.approx(
        slow_ece(probabilities, targets, bins), abs=1e-9
    )


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower() -> None:
    probabilities = np.array([[0.5, 0.2, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    assert expected_calibration_error(probabilities, np.array([1, 0]), bins=2) == pytest.approx(0.05)


def test_the_calibration_error_of_extremes() -> None:
    certain = np.array([[1, 0], [1, 0]], np.float32)
    assert expected_calibration_error(certain, np.array([0, 0])) == 0
    assert expected_calibration_error(certain, np.array([1, 1])) == 1
    assert expected_calibration_error(certain, np.array([0, 1])) == 0.5
    assert expected_calibration_error(np.zeros((1, 2), np.float32), np.array([0])) == 1  # in no bin of the paper's


def slow_threshold(scores: Any, right: Any, promise: float) -> float | None:
    kept = [float(t) for t in sorted(set(scores.tolist())) if right[scores >= np.float32(t)].mean() >= promise]
    return kept[0] if kept else None


@pytest.mark.parametrize("promise", [0.5, 0.8, 0.95, 1.0])
def test_the_threshold_is_the_lowest_that_keeps_the_promise_ties_included(promise: float) -> None:
    chance = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        n = int(chance.integers(1, 60))
        scores = np.float32(chance.integers(1, 8, n) / 8)  # few values: many ties
        right = chance.random(n) < scores
        found = lowest_threshold(scores, right, promise)
        assert found == slow_threshold(scores, right, promise)
        seen.add(found is None)
    assert seen == {True, False}


def test_nineteen_of_twenty_keep_a_promise_of_95_percent() -> None:
    right = np.array([True] * 19 + [False])
    assert lowest_threshold(np.full(20, 0.5, np.float32), right) == 0.5
    assert lowest_threshold(np.full(19, 0.5, np.float32), right[1:]) is None


def test_the_threshold_found_answers_the_coverage_told() -> None:
    logits, targets = drawn(3000, 5, 4.0, 3)
    found = calibrate(logits, targets)
    assert found.threshold is not None
    probabilities = softmax(logits / found.temperature)
    answered = np.array([float(score) >= found.threshold for score in probabilities.max(axis=1)])  # as at prediction
    assert found.coverage == pytest.approx(answered.mean())
    assert (probabilities.argmax(axis=1) == targets)[answered].mean() >= calibration.PROMISE
    assert found.ece_after < found.ece_before
    assert found.temperature == pytest.approx(4, rel=0.1)


def test_a_higher_promise_is_kept_by_answering_less() -> None:
    logits, targets = drawn(3000, 5, 4.0, 3)
    usual, strict = (calibrate(logits, targets, promise) for promise in (0.6, 0.8))
    assert usual.threshold is not None
    assert strict.threshold is not None
    assert (strict.promise, strict.temperature) == (0.8, usual.temperature)
    assert strict.threshold > usual.threshold
    assert strict.coverage < usual.coverage
    probabilities = softmax(logits / strict.temperature)
    answered = probabilities.max(axis=1) >= strict.threshold
    assert (probabilities.argmax(axis=1) == targets)[answered].mean() >= 0.8


def test_where_no_threshold_keeps_the_promise_all_is_answered() -> None:
    wrong = calibrate(np.eye(2, dtype=np.float32), np.array([1, 0]))
    assert (wrong.threshold, wrong.coverage) == (None, 1)
