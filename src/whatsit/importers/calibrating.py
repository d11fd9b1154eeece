"""Temperature and "not sure" threshold of a model brought along, from labelled pictures."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from whatsit import dataset, modelfile
from whatsit.dataset import Dataset
from whatsit.errors import DataError, did_you_mean
from whatsit.evaluation import calibrate
from whatsit.evaluation.calibration import softmax
from whatsit.events import Notice, OnEvent, ignore
from whatsit.importers.brought import Answers, Brought
from whatsit.importers.wrapping import log_probabilities, with_temperature
from whatsit.modelfile import Manifest
from whatsit.runtime.open_model import OpenModel

_MOST = 5000  # pictures: more do not move two numbers


def calibrated(brought: Brought, labelled: Dataset, on_event: OnEvent = ignore) -> Brought:
    """The same model with a temperature inside the graph, and a threshold, both chosen on labelled pictures.

    Where the data has parts, on validation, or on half of the test part if there is none. Raises DataError for classes
    that the model does not know.
    """
    part = _evenly(_part(labelled, on_event))
    _refuse_unknown(part, brought.labels)
    read = dataset.read(part, on_event)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        modelfile.write(path, brought.graph, Manifest(brought.labels, brought.preprocess), lambda _: None)
        probabilities = OpenModel(path).predict_proba([sample.source for sample in read.samples])
    targets = replace(read, classes=brought.labels).targets()
    found = calibrate(log_probabilities(probabilities), targets)
    on_event(
        Notice(
            f"temperature {found.temperature:.2f} from {len(read):,} pictures: "
            f"calibration error {found.ece_before:.3f} before, {found.ece_after:.3f} after"
        )
    )
    return replace(
        brought,
        graph=with_temperature(brought.graph, found.temperature),
        original=_warmer(brought.original, found.temperature),
        recipe={**brought.recipe, "calibrated_on": labelled.name, "calibration_pictures": len(read)},
        calibration=found,
        known=tuple(sample.content for sample in read.samples),
    )


def _warmer(original: Answers, temperature: float) -> Answers:
    return lambda pictures: softmax(log_probabilities(original(pictures)) / temperature)


def _part(labelled: Dataset, on_event: OnEvent) -> Dataset:
    """What the network has hardly learned from: on pictures that it knows by heart it is surer than it may be."""
    if not labelled.given_splits or labelled.given_splits == {"train"}:
        return labelled
    if "validation" in labelled.given_splits:
        return labelled.part("validation")
    test = labelled.part("test")
    on_event(Notice("no validation part: every second test picture is calibrated on, the others are left to judge by"))
    return replace(test, samples=test.samples[::2])


def _evenly(part: Dataset) -> Dataset:
    step = -(-len(part) // _MOST)
    return replace(part, samples=part.samples[::step]) if step > 1 else part


def _refuse_unknown(part: Dataset, labels: tuple[str, ...]) -> None:
    unknown = sorted({sample.label for sample in part.samples} - set(labels))
    if unknown:
        raise DataError(
            f"cannot calibrate on '{part.name}'",
            value=f"pictures of {', '.join(unknown[:5])}",
            accepted=", ".join(labels[:20]) + (" and more" if len(labels) > 20 else ""),
            hint=did_you_mean(unknown[0], labels) or "Name the class folders as the model's labels.",
        )
