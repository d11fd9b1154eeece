"""report.html: what a run leaves for a person, in one file that opens offline.

Here the numbers become words, rows and shapes; report.html.jinja only places them. What is long is cut to a stated
length and the page says how much it leaves out, so that a thousand classes still give a small file.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from whatsit.dataset import Unreadable
from whatsit.doctor import Finding
from whatsit.errors import MissingExtraError
from whatsit.evaluation import plots
from whatsit.evaluation.calibration import Calibration
from whatsit.evaluation.report import ClassScore, Judged, Report
from whatsit.evaluation.report import percent as plain_percent
from whatsit.events import Decision, EpochEnded

if TYPE_CHECKING:
    from jinja2 import Environment

Picture = Callable[[str], bytes | None]

CAPS: Mapping[str, int] = {
    "tiles": 24,  # test pictures
    "mistakes": 12,
    "classes": 100,  # rows of the tables with one row per class
    "pairs": 15,  # most confused
    "named": 20,  # pictures named by one finding
    "unreadable": 50,
    "epochs": 100,
    "layers": 400,
}
_TABLE, _MAP = 25, 100  # classes up to which the confusion matrix is a table, and up to which a map without counts
_LEVELS = 8  # shades of the map
_PICTURE_BYTES = 300_000  # a thumbnail takes a few thousand
_NOTHING = "–"
_NARROW = 0.1  # an interval wider than this asks for more test pictures
_ENDINGS = {
    "interrupted": "It was interrupted; the best epoch until then was kept.",
    "early stopping": "It stopped early because the validation pictures no longer gained from it.",
    "budget": "It stopped because its time was used up.",
    "target": "It ended early because the validation pictures had reached the target.",
}


@dataclass(frozen=True)
class RunFacts:
    """What the page tells about a run besides its measured numbers.

    created        ISO date
    counts         split -> label -> pictures
    recipe         every choice of the run; may be nested
    network_table  plain monospaced text
    seconds        the whole run
    stopped        why training ended before its last epoch ("interrupted", "early stopping", ...), or None
    software       versions and hardware
    batch          (name, label) of some training pictures, to show what the classifier learns from
    """

    title: str
    created: str
    command: str
    data_name: str
    fingerprint: str
    counts: Mapping[str, Mapping[str, int]]
    unreadable: Sequence[Unreadable]
    findings: Sequence[Finding]
    decisions: Sequence[Decision]
    recipe: Mapping[str, object]
    network_table: str
    total_parameters: int
    trainable_parameters: int
    history: Sequence[EpochEnded]
    calibration: Calibration
    seconds: float
    stopped: str | None
    software: Mapping[str, str]
    batch: Sequence[tuple[str, str]] = ()


class Tile(NamedTuple):
    """A test picture and its data URI, None where there is no picture to show."""

    judged: Judged
    uri: str | None


class Labelled(NamedTuple):
    """A training picture's name, label and data URI, None where there is no picture to show."""

    name: str
    label: str
    uri: str | None


class CountRow(NamedTuple):
    """How many pictures of one class each part has."""

    label: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)


class ClassRow(NamedTuple):
    """A class's scores; None where there was nothing to divide by."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def render(report: Report, facts: RunFacts, picture: Picture) -> str:
    """The page. `picture` gives a thumbnail of a test picture by its name, as JPEG or PNG, or None."""
    environment = _environment()
    source = files("whatsit.evaluation").joinpath("report.html.jinja").read_text("utf-8")
    page = environment.from_string(source).render(
        report=report,
        facts=facts,
        cap=CAPS,
        counts=count_rows(facts.counts),
        classes=class_rows(report),
        pairs=confused(report),
        matrix=_matrix_kind(len(report.labels)),
        best=plots.best_epoch(facts.history),
        verdict=verdict(report),
        promise=promise(report, facts.calibration),
        ending=_ENDINGS.get(facts.stopped or "", f"It ended early: {facts.stopped}." if facts.stopped else ""),
        wide=report.interval.high - report.interval.low > _NARROW,
        recipe=flat(facts.recipe),
        batch=[Labelled(name, label, data_uri(picture(name))) for name, label in facts.batch],
        **_pictures(report, picture),
        **_drawings(report, facts),
    )
    # File names that are not valid UTF-8 reach Python as lone surrogates, which no file can be written with.
    return page.encode("utf-8", "replace").decode("utf-8")


def verdict(report: Report) -> str:
    """The accuracy against the baseline, in words."""
    if report.baseline == 1:
        return "All test pictures are of this class, so the comparison says nothing."
    if report.interval.low > report.baseline:
        return "The classifier is clearly better than that."
    if report.accuracy > report.baseline:
        return "The classifier is better than that, but with so few test pictures it may be luck."
    return "The classifier is no better than that on these pictures."


def promise(report: Report, calibration: Calibration) -> str:
    """What "not sure" costs and brings, in words."""
    aim = f"{100 * calibration.promise:g}\u00a0%"
    if report.threshold is None:
        return f"No threshold gives {aim} right answers on the validation pictures, so it always answers."
    cut = f"Below a score of {percent(report.threshold)} the answer is “not sure”."
    if report.answered_accuracy is None:
        return f"{cut} None of the test pictures reached it."
    kept = "as promised" if report.answered_accuracy >= calibration.promise else f"less than the {aim} promised"
    return (
        f"{cut} It answered {percent(report.coverage)} of the test pictures, "
        f"and {percent(report.answered_accuracy)} of these answers were right, {kept}."
    )


def count_rows(counts: Mapping[str, Mapping[str, int]]) -> list[CountRow]:
    """One row per class in the given order; the smallest classes first where not all will be shown."""
    labels = dict.fromkeys(label for part in counts.values() for label in part)
    rows = [CountRow(label, tuple(part.get(label, 0) for part in counts.values())) for label in labels]
    return sorted(rows, key=lambda row: row.total) if len(rows) > CAPS["classes"] else rows


def class_rows(report: Report) -> list[ClassRow]:
    """One row per class in the order of the labels; the lowest F1 first where not all will be shown."""
    predicted = [sum(column) for column in zip(*report.confusion, strict=True)]
    rows = [_class_row(score, n) for score, n in zip(report.per_class, predicted, strict=True)]
    if len(rows) <= CAPS["classes"]:
        return rows
    return sorted(rows, key=lambda row: 2 if row.f1 is None else row.f1)


def _class_row(score: ClassScore, predicted: int) -> ClassRow:
    return ClassRow(
        score.label,
        score.precision if predicted else None,
        score.recall if score.support else None,
        score.f1 if predicted or score.support else None,
        score.support,
    )


def confused(report: Report) -> list[tuple[str, str, int, float]]:
    """(actual, predicted, count, share of the actual class), most frequent first."""
    support = {score.label: score.support for score in report.per_class}
    return [(actual, said, count, count / support[actual]) for actual, said, count in report.most_confused()]


def _matrix_kind(classes: int) -> str:
    return "table" if classes <= _TABLE else "map" if classes <= _MAP else "none"


def confusion_shapes(report: Report) -> dict[str, str]:
    """The confusion matrix as one SVG path of unit squares per shade: "right3", "wrong1", ... -> path data."""
    shapes: dict[str, list[str]] = {}
    for i, row in enumerate(report.confusion):
        for j, count in enumerate(row):
            if count:
                level = math.ceil(count / sum(row) * _LEVELS)
                shapes.setdefault(f"{'right' if i == j else 'wrong'}{level}", []).append(f"M{j} {i}h1v1h-1z")
    return {shade: "".join(squares) for shade, squares in sorted(shapes.items())}


def spread(report: Report, most: int) -> list[Judged]:
    """Up to `most` test pictures, evenly over the classes and always the same ones.

    Within a class the order of the names' hashes decides: neighbours in a folder are often shots of one scene.
    """
    by_class: dict[str, list[Judged]] = {label: [] for label in report.labels}
    for judged in sorted(report.pictures, key=_hash_of_name):
        by_class[judged.actual].append(judged)
    held = [pictures for pictures in by_class.values() if pictures]
    if len(held) > most:
        held = [held[i * len(held) // most] for i in range(most)]
    rounds = (pictures[depth] for depth in range(most) for pictures in held if depth < len(pictures))
    chosen = {judged for judged, _ in zip(rounds, range(most), strict=False)}
    return [judged for pictures in held for judged in pictures if judged in chosen]


def _hash_of_name(judged: Judged) -> str:
    return hashlib.sha256(judged.name.encode("utf-8", "surrogateescape")).hexdigest()


def _pictures(report: Report, picture: Picture) -> dict[str, list[Tile]]:
    uri = cache(lambda name: data_uri(picture(name)))
    return {
        "tiles": [Tile(judged, uri(judged.name)) for judged in spread(report, CAPS["tiles"])],
        "mistakes": [Tile(judged, uri(judged.name)) for judged in report.worst(CAPS["mistakes"])],
    }


def data_uri(data: bytes | None) -> str | None:
    """The picture as a data URI, or None where there is none, it is neither JPEG nor PNG, or it is no thumbnail."""
    kind = _kind(data or b"")
    if data is None or kind is None or len(data) > _PICTURE_BYTES:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _kind(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "png" if data.startswith(b"\x89PNG\r\n\x1a\n") else None


def _drawings(report: Report, facts: RunFacts) -> dict[str, object]:
    """The SVG elements: our own text, with nothing of the user's in it."""
    from markupsafe import Markup

    return {
        "curves": Markup(plots.learning_curves(facts.history)) if facts.history else None,
        "diagram": Markup(plots.reliability(report)),
        "shapes": confusion_shapes(report) if _matrix_kind(len(report.labels)) == "map" else {},
    }


def flat(recipe: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested choices as rows: ("optimizer.name", "adamw")."""
    rows: list[tuple[str, str]] = []
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: object) -> str:
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return ", ".join(_plain(part) for part in value) or _NOTHING
    return str(value)


def percent(share: float | None, digits: int = 1) -> str:
    """The same as everywhere, or a dash for what was not measured."""
    if share is None or not math.isfinite(share):
        return _NOTHING
    return plain_percent(share, digits).replace(" ", "\u00a0")  # number and sign stay on one line


def decimal(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else _NOTHING


def duration(seconds: float) -> str:
    """12.3 s, 4 min 5 s, 2 h 3 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}\u00a0s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes}\u00a0min {round(seconds) % 60}\u00a0s"
    return f"{minutes // 60:,}\u00a0h {minutes % 60}\u00a0min"


def short(text: str, most: int) -> str:
    """A long text without its middle: the ends of file names and labels are what tells them apart."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def _script_hash(script: str) -> str:
    """What the page's security policy names, so that no other script can run in it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _environment() -> Environment:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("write the report page", module="jinja2", extra="train") from error
    # The name tells no file type by which Jinja2 could decide, so escaping is on for everything.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        percent=percent, decimal=decimal, duration=duration, short=short, script_hash=_script_hash
    )
    return environment
