"""Each figure of a report against scikit-learn's or scipy's."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from whatsit.evaluation import Report, judge, wilson_interval

metrics = pytest.importorskip("sklearn.metrics", reason="needs the 'train' extra")
stats = pytest.importorskip("scipy.stats", reason="needs the 'train' extra")

LABELS = ["a", "b", "c", "d", "never seen"]


def drawn(n: int, k: int, seed: int) -> tuple[Any, Any]:
    """Probabilities float32 [N, K] and targets [N] that they often hit; the last class never occurs."""
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, k - 1, n)
    logits = chance.normal(0, 1.5, (n, k))
    logits[np.arange(n), targets] += 1.5
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), targets


@pytest.fixture(params=[(1, 0), (7, 1), (500, 2), (3000, 3)], ids=str)
def judged(request: pytest.FixtureRequest) -> tuple[Report, Any, Any]:
    n, seed = request.param
    probabilities, targets = drawn(n, 5, seed)
    return judge(probabilities, targets, [f"p{i}" for i in range(n)], LABELS), probabilities, targets


def test_accuracy_confusion_and_baseline(judged: tuple[Report, Any, Any]) -> None:
    report, probabilities, targets = judged
    predicted = probabilities.argmax(axis=1)
    assert report.n == len(targets)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert report.correct == (targets == predicted).sum()
    assert np.array_equal(report.confusion, metrics.confusion_matrix(targets, predicted, labels=range(5)))
    from sklearn.dummy import DummyClassifier

    dummy = DummyClassifier(strategy="most_frequent").fit(targets[:, None], targets)
    assert report.baseline == pytest.approx(dummy.score(targets[:, None], targets))
    assert report.baseline_label == LABELS[dummy.predict([[0]])[0]]


def test_precision_recall_and_f1_of_each_class(judged: tuple[Report, Any, Any]) -> None:
    report, probabilities, targets = judged
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, probabilities.argmax(axis=1), labels=range(5), zero_division=0
    )
    assert [s.label for s in report.per_class] == LABELS
    assert [s.precision for s in report.per_class] == pytest.approx(precision)
    assert [s.recall for s in report.per_class] == pytest.approx(recall)
    assert [s.f1 for s in report.per_class] == pytest.approx(f1)
    assert [s.support for s in report.per_class] == support.tolist()
    assert report.per_class[-1].support == 0


def test_losses_add_up_to_the_log_loss(judged: tuple[Report, Any, Any]) -> None:
    report, probabilities, targets = judged
    expected = metrics.log_loss(targets, probabilities, labels=range(5))
    assert np.mean([picture.loss for picture in report.pictures]) == pytest.approx(expected, rel=1e-5)
    assert report.loss == pytest.approx(expected, rel=1e-5)
    assert json.loads(json.dumps(report.to_json()))["loss"] == report.loss


def test_the_loss_is_finite_where_the_right_label_was_held_for_impossible() -> None:
    report = judge(np.array([[1, 0], [1, 0]], np.float32), np.array([0, 1]), ["a", "b"], ["x", "y"])
    assert report.loss == pytest.approx(-math.log(1e-12) / 2, rel=1e-5)


def test_pictures_are_told_in_the_order_given(judged: tuple[Report, Any, Any]) -> None:
    report, probabilities, targets = judged
    assert [p.name for p in report.pictures] == [f"p{i}" for i in range(len(targets))]
    assert [p.actual for p in report.pictures] == [LABELS[t] for t in targets]
    assert [p.predicted for p in report.pictures] == [LABELS[t] for t in probabilities.argmax(axis=1)]
    assert [p.score for p in report.pictures] == pytest.approx(probabilities.max(axis=1))
    assert sum(p.right for p in report.pictures) == report.correct


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 1000, 10_000, 1_000_000])
def test_the_interval_is_wilsons(n: int) -> None:
    for correct in {0, 1, n // 3, n // 2, n - 1, n}:
        low, high = vars(wilson_interval(correct, n)).values()
        expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0 <= low <= correct / n <= high <= 1


def test_the_interval_ends_exactly_at_none_and_all() -> None:
    for n in range(1, 400):
        assert wilson_interval(0, n).low == 0.0
        assert wilson_interval(n, n).high == 1.0
        assert wilson_interval(0, n).high < 1
        assert wilson_interval(n, n).low > 0


def test_ten_right_out_of_ten_is_not_certainty() -> None:
    assert wilson_interval(10, 10).low == pytest.approx(0.7225, abs=1e-4)  # 10 / (10 + 1.96 ** 2)


def test_the_threshold_decides_what_was_answered() -> None:
    probabilities, targets = drawn(400, 5, 4)
    threshold = float(np.sort(probabilities.max(axis=1))[200])
    report = judge(probabilities, targets, [""] * 400, LABELS, threshold)
    kept = probabilities.max(axis=1) >= np.float32(threshold)
    assert report.coverage == pytest.approx(0.5)
    assert report.answered_accuracy == pytest.approx((probabilities.argmax(axis=1) == targets)[kept].mean())
    assert [p.unsure for p in report.pictures] == (~kept).tolist()


def test_without_a_threshold_all_is_answered_and_with_too_high_a_one_nothing() -> None:
    probabilities, targets = drawn(50, 5, 5)
    everything = judge(probabilities, targets, [""] * 50, LABELS)
    assert (everything.coverage, everything.answered_accuracy) == (1, pytest.approx(everything.accuracy))
    nothing = judge(probabilities, targets, [""] * 50, LABELS, 1.1)
    assert (nothing.coverage, nothing.answered_accuracy) == (0, None)


def test_of_equal_probabilities_the_first_label_counts() -> None:
    report = judge(np.full((2, 4), 0.25, np.float32), np.array([0, 3]), ["x", "y"], list("abcd"))
    assert [p.predicted for p in report.pictures] == ["a", "a"]
    assert report.baseline_label == "a"


def test_a_probability_of_zero_has_a_finite_loss() -> None:
    report = judge(np.array([[1, 0]], np.float32), np.array([1]), ["x"], ["a", "b"])
    assert math.isfinite(report.pictures[0].loss)
    assert report.worst() == [report.pictures[0]]


def test_worst_and_most_confused_name_mistakes_only() -> None:
    probabilities, targets = drawn(300, 5, 6)
    report = judge(probabilities, targets, [f"p{i}" for i in range(300)], LABELS)
    worst = report.worst(10)
    assert len(worst) == 10
    assert not any(p.right for p in worst)
    losses = [p.loss for p in report.pictures if not p.right]
    assert [p.loss for p in worst] == sorted(losses, reverse=True)[:10]
    confused = report.most_confused()
    assert sum(count for *_, count in confused) == 300 - report.correct
    assert [count for *_, count in confused] == sorted((count for *_, count in confused), reverse=True)
    assert all(actual != predicted for actual, predicted, _ in confused)
    assert report.most_confused(5) == [row for row in confused if row[2] >= 5]
    assert report.most_confused(0) == confused


def test_its_json_holds_the_numbers_and_no_pictures() -> None:
    probabilities, targets = drawn(20, 5, 7)
    report = judge(probabilities, targets, [""] * 20, LABELS, 0.5)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert "pictures" not in data
    assert data["interval"] == [report.interval.low, report.interval.high]
    assert data["per_class"][0]["support"] == report.per_class[0].support


def test_a_thousand_labels_are_judged_quickly_enough_to_wait_for() -> None:
    probabilities, targets = drawn(2000, 1000, 8)
    report = judge(probabilities, targets, [""] * 2000, [str(i) for i in range(1000)])
    assert report.accuracy == pytest.approx(metrics.accuracy_score(targets, probabilities.argmax(axis=1)))
    assert len(report.confusion) == 1000
