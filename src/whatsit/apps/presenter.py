"""What every graphical front end shows about a prediction and a model file: words and shares, no widget.

Labels are passed on as they are; a front end that knows markup escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from whatsit.evaluation.report import percent

if TYPE_CHECKING:
    from whatsit.errors import WhatsitError
    from whatsit.modelfile import Manifest
    from whatsit.runtime.prediction import Prediction

_NAMED = 30  # labels written out before "and 970 more"


def headline(prediction: Prediction) -> str:
    """The answer in one line: "cat 97.3 %", "not sure - perhaps cat (54 %) or dog (41 %)", or why there is none."""
    if prediction.error is not None:
        return f"this picture cannot be read ({prediction.error})"
    if prediction.unsure:
        perhaps = " or ".join(f"{label} ({percent(score, 0)})" for label, score in prediction.top[:2])
        return f"not sure - perhaps {perhaps}"
    return f"{prediction.label} {percent(prediction.score or 0.0)}"


def bars(prediction: Prediction, n: int = 3) -> list[tuple[str, float]]:
    """The most probable labels with their probabilities in [0, 1], best first."""
    return list(prediction.top[:n])


def why_unsure(manifest: Manifest) -> str:
    """What stands behind a "not sure"."""
    if manifest.threshold is None:
        return ""
    return f"Answers need a score of {percent(manifest.threshold)} here, {_promise(manifest)}."


def summary(manifest: Manifest) -> str:
    """What it tells apart and how well, for the top of a window."""
    measured = manifest.measured
    if not measured:
        return f"It tells apart {listed(manifest.labels, 12)}. Its accuracy was not measured."
    return (
        f"It tells apart {listed(manifest.labels, 12)}. It was right on {percent(measured['accuracy'])} of "
        f"{_pictures(measured['n'], 'test')} ({_interval(manifest)})."
    )


def about(manifest: Manifest) -> list[tuple[str, str]]:
    """(name, text) for everything worth knowing about a model file, most wanted first."""
    height, width = manifest.preprocess.size
    parameters = manifest.weights.get("parameters")
    network = [str(manifest.recipe.get("model", "unknown")), f"{parameters:,} parameters" if parameters else ""]
    return [
        ("Labels", f"{len(manifest.labels):,}: {listed(manifest.labels, _NAMED)}"),
        ("Accuracy", _accuracy(manifest)),
        ("Not sure", _not_sure(manifest)),
        ("Training data", _training_data(manifest)),
        ("Network", ", ".join([*filter(None, network), f"sees {width} x {height} pixels"])),
        ("Pretrained weights", _weights(manifest)),
        ("Made by", f"whatsit {manifest.whatsit or '?'}" + (f", {manifest.created[:10]}" if manifest.created else "")),
    ]


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"


def listed(labels: Sequence[str], most: int) -> str:
    """red, green and blue; with more than `most`, the first ones and how many are left."""
    if len(labels) > most:
        return f"{', '.join(labels[:most])} and {len(labels) - most:,} more"
    return " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))


def _accuracy(manifest: Manifest) -> str:
    measured = manifest.measured
    if not measured:
        return "not measured"
    return (
        f"{percent(measured['accuracy'])} of {_pictures(measured['n'], 'test')} ({_interval(manifest)}). "
        f"Always answering “{measured['baseline_label']}” would be right on {percent(measured['baseline'])}."
    )


def _interval(manifest: Manifest) -> str:
    low, high = manifest.measured["interval"]
    return f"95 % interval {percent(low)} to {percent(high)}"


def _not_sure(manifest: Manifest) -> str:
    if manifest.threshold is None:
        return "Never said: no threshold kept the promised accuracy, so every picture gets an answer."
    text = f"Said below a score of {percent(manifest.threshold)}, {_promise(manifest)}."
    answered = manifest.measured.get("answered_accuracy")
    if answered is None:
        return text
    share = percent(manifest.measured["coverage"])
    return f"{text} It answered {share} of the test pictures, and {percent(answered)} of those answers were right."


def _promise(manifest: Manifest) -> str:
    promise = manifest.calibration.get("promise")
    return (
        f"chosen so that {100 * promise:g} % of the answers on validation pictures were right"
        if promise
        else "chosen in training"
    )


def _training_data(manifest: Manifest) -> str:
    data = manifest.data
    if not data:
        return "not stated"
    counts = [f"{sum(classes.values()):,} {split}" for split, classes in data.get("counts", {}).items()]
    parts = f"{_joined(counts)} pictures" if counts else ""
    fingerprint = f"fingerprint {str(data.get('fingerprint', '?'))[:16]}"
    return ", ".join(filter(None, [str(data.get("name", "?")), parts, fingerprint]))


def _weights(manifest: Manifest) -> str:
    pretrained = manifest.weights.get("pretrained")
    if not pretrained:
        return "none, trained from scratch"
    return f"{pretrained}, licence {manifest.weights.get('licence') or 'not stated'}"


def _pictures(n: int, what: str) -> str:
    return f"{n:,} {what} picture{'' if n == 1 else 's'}"


def _joined(parts: Iterable[str]) -> str:
    return listed(list(parts), 100)


# ---- what was measured, class by class


def confusion(manifest: Manifest) -> tuple[list[str], list[list[int]]]:
    """The labels, and counts [actual][answered] of the test pictures; both empty where nothing was measured."""
    measured = manifest.measured
    return list(measured.get("labels", ())), [list(row) for row in measured.get("confusion", ())]


def most_confused(manifest: Manifest, most: int) -> list[tuple[str, str, int]]:
    """(actual, answered, times) of the most frequent mistakes, most frequent first."""
    labels, counts = confusion(manifest)
    mistakes = [
        (labels[i], labels[j], count) for i, row in enumerate(counts) for j, count in enumerate(row) if count and i != j
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[2])[:most]


def class_scores(manifest: Manifest) -> list[tuple[str, float, float, int]]:
    """(label, recall, precision, pictures) of each class that was tested, the one it finds worst first."""
    scores = [
        (str(row["label"]), float(row["recall"]), float(row["precision"]), int(row["support"]))
        for row in manifest.measured.get("per_class", ())
        if row["support"]
    ]
    return sorted(scores, key=lambda score: score[1])


# ---- in words


def copied(prediction: Prediction) -> str:
    """The answer to be pasted elsewhere: a line for each label, with its share behind a tab; or why there is none."""
    if prediction.error is not None:
        return headline(prediction)
    return "".join(f"{label}\t{percent(score)}\n" for label, score in prediction.top)


def problem(error: WhatsitError) -> tuple[str, str]:
    """An error for a dialog: what failed as a sentence, and below it what was found, what is accepted, what to do."""
    what = f"{error.what[:1].upper()}{error.what[1:]}."
    return what, f"Found: {error.value}\nAccepted: {error.accepted}\n\n{error.hint}"
