"""The words of every graphical front end, checked without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from whatsit.apps import presenter
from whatsit.modelfile import Manifest, read_manifest
from whatsit.runtime.prediction import Prediction

MEASURED = {
    "n": 279,
    "accuracy": 276 / 279,
    "interval": [0.9689, 0.9963],
    "baseline": 0.1756,
    "baseline_label": "red",
    "coverage": 0.98,
    "answered_accuracy": 0.996,
}


def prediction(*top: tuple[str, float], unsure: bool = False, error: str | None = None) -> Prediction:
    label, score = top[0] if top else (None, None)
    return Prediction("a.jpg", label, score, top, unsure, "low score" if unsure else None, error)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(write_tiny_model(tmp_path / "m.onnx", threshold=0.474, measured=MEASURED))


def test_the_headline_is_label_and_score() -> None:
    assert presenter.headline(prediction(("cat", 0.973), ("dog", 0.02))) == "cat 97.3 %"


def test_not_sure_names_the_two_best() -> None:
    unsure = prediction(("cat", 0.54), ("dog", 0.41), ("cow", 0.05), unsure=True)
    assert presenter.headline(unsure) == "not sure - perhaps cat (54 %) or dog (41 %)"


def test_an_unreadable_picture_is_told_with_its_reason() -> None:
    broken = prediction(error="the file is cut off after 100 bytes")
    assert presenter.headline(broken) == "this picture cannot be read (the file is cut off after 100 bytes)"
    assert presenter.bars(broken) == []


def test_bars_are_the_best_labels_with_their_shares() -> None:
    four = prediction(("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1))
    assert presenter.bars(four) == [("a", 0.4), ("b", 0.3), ("c", 0.2)]
    assert presenter.bars(four, 1) == [("a", 0.4)]


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.973, 1, "97.3 %"),
        (1.0, 1, "100.0 %"),
        (0.0, 1, "0.0 %"),
        (0.99996, 1, "> 99.9 %"),
        (0.00001, 1, "< 0.1 %"),
        (0.54, 0, "54 %"),
        (0.996, 0, "> 99 %"),
        (0.004, 0, "< 1 %"),
    ],
)
def test_shares_are_never_rounded_to_all_or_nothing(share: float, digits: int, text: str) -> None:
    assert presenter.percent(share, digits) == text


def test_durations_have_a_fitting_unit() -> None:
    assert [presenter.duration(s) for s in (0.0001, 0.0123, 1.26)] == ["1 ms", "12 ms", "1.3 s"]


def test_lists_of_labels_end_with_and_or_say_how_many_are_left() -> None:
    assert presenter.listed(["a"], 9) == "a"
    assert presenter.listed(["a", "b"], 9) == "a and b"
    assert presenter.listed(["a", "b", "c"], 9) == "a, b and c"
    assert presenter.listed([str(n) for n in range(1000)], 2) == "0, 1 and 998 more"


def test_the_summary_names_the_labels_and_the_measured_accuracy(manifest: Manifest) -> None:
    assert presenter.summary(manifest) == (
        "It tells apart red, green and blue. It was right on 98.9 % of 279 test pictures "
        "(95 % interval 96.9 % to 99.6 %)."
    )


def test_the_reason_for_not_sure_is_the_threshold_and_its_promise(manifest: Manifest) -> None:
    assert presenter.why_unsure(manifest) == (
        "Answers need a score of 47.4 % here, chosen so that 95 % of the answers on validation pictures were right."
    )


def test_about_says_what_is_in_the_file(manifest: Manifest) -> None:
    about = dict(presenter.about(manifest))
    assert about["Labels"] == "3: red, green and blue"
    assert about["Accuracy"] == (
        "98.9 % of 279 test pictures (95 % interval 96.9 % to 99.6 %). Always answering “red” would be right on 17.6 %."
    )
    assert about["Not sure"] == (
        "Said below a score of 47.4 %, chosen so that 95 % of the answers on validation pictures were right. "
        "It answered 98.0 % of the test pictures, and 99.6 % of those answers were right."
    )
    assert about["Training data"].startswith(
        "colours, 180 train, 60 validation and 60 test pictures, fingerprint c0105"
    )
    assert about["Network"] == "mean colour, 12 parameters, sees 16 x 16 pixels"
    assert about["Pretrained weights"] == "none, trained from scratch"
    assert about["Made by"].startswith("whatsit ")
    assert about["Made by"].endswith(", 2026-01-31")


def test_about_names_pretrained_weights_and_their_licence(tmp_path: Path) -> None:
    weights = {"pretrained": "mobilenetv3", "licence": "Apache-2.0", "parameters": 1}
    with_licence = read_manifest(write_tiny_model(tmp_path / "a.onnx", weights=weights))
    assert dict(presenter.about(with_licence))["Pretrained weights"] == "mobilenetv3, licence Apache-2.0"
    without = read_manifest(write_tiny_model(tmp_path / "b.onnx", weights={"pretrained": "mobilenetv3"}))
    assert dict(presenter.about(without))["Pretrained weights"] == "mobilenetv3, licence not stated"


def test_what_a_file_does_not_say_is_said_to_be_missing(tmp_path: Path) -> None:
    bare = Manifest(("a", "b"), read_manifest(write_tiny_model(tmp_path / "m.onnx")).preprocess)
    about = dict(presenter.about(bare))
    assert about["Accuracy"] == "not measured"
    assert about["Not sure"].startswith("Never said")
    assert about["Training data"] == "not stated"
    assert about["Network"] == "unknown, sees 16 x 16 pixels"
    assert presenter.summary(bare) == "It tells apart a and b. Its accuracy was not measured."
    assert presenter.why_unsure(bare) == ""


# ---- what was measured, class by class

CLASS_BY_CLASS = {
    "labels": ["red", "green", "blue"],
    "confusion": [[5, 0, 0], [1, 3, 2], [0, 0, 0]],
    "per_class": [
        {"label": "red", "precision": 5 / 6, "recall": 1.0, "f1": 0.9, "support": 5},
        {"label": "green", "precision": 1.0, "recall": 0.5, "f1": 0.7, "support": 6},
        {"label": "blue", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
    ],
}


def test_mistakes_are_listed_most_frequent_first(tmp_path: Path) -> None:
    manifest = read_manifest(write_tiny_model(tmp_path / "m.onnx", measured={**MEASURED, **CLASS_BY_CLASS}))
    assert presenter.confusion(manifest) == (["red", "green", "blue"], [[5, 0, 0], [1, 3, 2], [0, 0, 0]])
    assert presenter.most_confused(manifest, 5) == [("green", "blue", 2), ("green", "red", 1)]
    assert presenter.most_confused(manifest, 1) == [("green", "blue", 2)]


def test_classes_are_listed_the_worst_first_and_only_those_that_were_tested(tmp_path: Path) -> None:
    manifest = read_manifest(write_tiny_model(tmp_path / "m.onnx", measured={**MEASURED, **CLASS_BY_CLASS}))
    assert presenter.class_scores(manifest) == [("green", 0.5, 1.0, 6), ("red", 1.0, 5 / 6, 5)]


def test_a_model_without_a_matrix_has_none(manifest: Manifest) -> None:
    assert presenter.confusion(manifest) == ([], [])
    assert presenter.most_confused(manifest, 5) == []
    assert presenter.class_scores(manifest) == []
