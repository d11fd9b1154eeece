"""whatsit predict, whatsit evaluate."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from whatsit.apps.cli.data import data_dir_option
from whatsit.apps.cli.named_model import model_options, open_model
from whatsit.apps.cli.terminal import Lines, reporter
from whatsit.apps.text import printable
from whatsit.errors import OptionError

if TYPE_CHECKING:
    from whatsit.evaluation import Report
    from whatsit.runtime import Prediction
    from whatsit.runtime.judging import Evaluation

_CLASSES = 50  # shown in a table


@click.command()
@model_options
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", "--top-k", "--topk", default=5, show_default=True, help="How many labels to show.")
@click.option(
    "--format", "style", type=click.Choice(["text", "json", "jsonl", "csv"]), default="text", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the answers to this file instead of stdout.")
@click.pass_context
def predict(
    ctx: click.Context, /, pictures: tuple[Path, ...], top: int, style: str, out: Path | None, **model: Any
) -> None:
    """Say what is in PICTURES, which may be files and folders.

    Answers go to stdout, in the order given; everything else to stderr. An unreadable picture is a row with its
    reason; the exit code is then 1.
    """
    _start_lightly()
    refuse_unwritable(out)
    opened = open_model(**model)
    paths = list(_expand(pictures))
    failed: list[str] = []
    # No live bar on a screen where the answers themselves scroll by.
    with Lines() if out is None and sys.stdout.isatty() else reporter() as report:
        predictions = _noting_failures(opened.stream(paths, top=top, on_event=report), failed)
        with _output(out, style) as file:
            _WRITERS[style](predictions, file)
    if failed:
        click.echo(f"{len(failed)} of {len(paths)} pictures could not be read", err=True)
        ctx.exit(1)


@click.command()
@model_options
@click.argument("data")
@click.option(
    "--split", type=click.Choice(["train", "validation", "val", "test"]), help="Judge this part of the data instead."
)
@data_dir_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write path, actual, predicted, score of each picture (CSV)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the result on the last line of stdout.")
def evaluate(
    data: str, split: str | None, data_dir: Path | None, out: Path | None, as_json: bool, **model: Any
) -> None:
    """Judge a model on labelled DATA: its test part where it has parts, all of it otherwise.

    Pictures that the model was trained on are recognised by their contents, counted and named.
    """
    from whatsit import sources
    from whatsit.runtime import judging

    refuse_unwritable(out)
    opened = open_model(**model)
    part: Any = {"val": "validation"}.get(split or "", split)
    with reporter() as report:
        dataset = sources.open_data(data, data_dir=data_dir, offline=model["offline"], on_event=report)
        evaluation = judging.evaluate(opened, dataset, part, report)
    if out is not None:
        _write_rows(evaluation.report, out)
    _print_evaluation(evaluation)
    if as_json:
        click.echo(json.dumps(_as_json(evaluation)))


def _start_lightly() -> None:
    """NumPy's OpenBLAS starts a thread for each core when it is loaded: a tenth of the time of a one-picture
    prediction, for matrix products that nothing here computes."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _noting_failures(predictions: Iterable[Prediction], failed: list[str]) -> Iterator[Prediction]:
    for prediction in predictions:
        if prediction.error is not None:
            failed.append(prediction.path)
        yield prediction


def _expand(pictures: Iterable[Path]) -> Iterator[Path]:
    """Files as they are; folders as the pictures below them, sorted. Files that are no pictures by name are said."""
    from whatsit.dataset.layouts import files_below, is_picture_name

    for path in pictures:
        if not path.is_dir():
            yield path
            continue
        files = list(files_below(path))
        found = [file for file in files if is_picture_name(file)]
        if len(found) < len(files):
            click.echo(
                f"{path}: {len(files) - len(found)} files are no pictures by their names and left alone", err=True
            )
        if not found:
            raise OptionError(
                f"cannot find pictures in '{path}'",
                value="a folder without any",
                accepted="pictures, or folders that hold some",
                hint="Check the path.",
            )
        yield from found


def refuse_unwritable(out: Path | None) -> None:
    """Before the work, not after it."""
    if out is None:
        return
    from whatsit import storage

    if out.is_dir():
        raise storage.cannot_write(out, IsADirectoryError(21, "it is a folder", str(out)))
    storage.check_writable(out.parent)


@contextmanager
def _output(out: Path | None, style: str) -> Iterator[IO[str]]:
    """Stdout, or a file that appears whole or not at all. What machines read is UTF-8 everywhere.

    Bytes of a file name that are no text come out as \\udc80 to \\udcff, which JSON's readers turn back.
    """
    if out is None:
        if style != "text" and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        yield sys.stdout
        return
    from whatsit.storage import beside

    with beside(out) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        yield file


def _write_text(predictions: Iterable[Prediction], file: IO[str]) -> None:
    for prediction in predictions:
        names = "  ".join(f"{label} {score:.1%}" for label, score in prediction.top)
        if prediction.error is not None:
            names = f"error: {prediction.error}"
        elif prediction.unsure:
            names = f"not sure  ({names})"
        file.write(printable(f"{prediction.path}: {names}") + "\n")


def _write_jsonl(predictions: Iterable[Prediction], file: IO[str]) -> None:
    for prediction in predictions:
        file.write(json.dumps(prediction.to_row(), ensure_ascii=False) + "\n")


def _write_json(predictions: Iterable[Prediction], file: IO[str]) -> None:
    rows = [prediction.to_row() for prediction in predictions]
    file.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")


def _write_csv(predictions: Iterable[Prediction], file: IO[str]) -> None:
    from whatsit.apps import tables

    tables.write_csv(predictions, file)


_WRITERS = {"text": _write_text, "json": _write_json, "jsonl": _write_jsonl, "csv": _write_csv}


def _print_evaluation(evaluation: Evaluation) -> None:
    report = evaluation.report
    what = f"the {evaluation.part} part" if evaluation.part else "all pictures"
    baseline = f"always answering '{report.baseline_label}' gives {report.baseline:.1%}"
    click.echo(f"Accuracy {_accuracy(report)} on {what}; {baseline}.")
    click.echo(f"Loss {report.loss:.3f} (mean cross-entropy)")
    if report.threshold is not None and report.answered_accuracy is not None:
        click.echo(
            f"Answered {report.coverage:.1%} of them, {report.answered_accuracy:.1%} of those rightly; "
            "'not sure' on the rest."
        )
    click.echo(f"Calibration error {report.ece:.3f}")
    if evaluation.known:
        names = ", ".join(evaluation.known[:5]) + (" ..." if len(evaluation.known) > 5 else "")
        click.echo(f"{len(evaluation.known):,} of {report.n:,} pictures were known from training: {names}", err=True)
        if evaluation.unseen:
            click.echo(f"Accuracy on the others: {_accuracy(evaluation.unseen)}")
        else:
            click.echo("None is new to the model, so this says how well it remembers, not how good it is.", err=True)
    for picture in evaluation.unreadable:
        click.echo(printable(f"unreadable: {picture.name}: {picture.reason}"), err=True)
    _print_classes(report)


def _accuracy(report: Report) -> str:
    low, high = report.interval.low, report.interval.high
    return f"{report.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}, {report.correct:,} of {report.n:,})"


def _print_classes(report: Report) -> None:
    there = [score for score in report.per_class if score.support]
    shown = there[:_CLASSES]
    width = max(len(score.label) for score in shown)
    click.echo(f"{'':<{width}}  precision  recall     f1  pictures")
    for s in shown:
        click.echo(f"{s.label:<{width}}  {s.precision:>9.1%}  {s.recall:>6.1%}  {s.f1:>5.3f}  {s.support:>8,}")
    if len(there) > len(shown):
        click.echo(f"and {len(there) - len(shown):,} more classes: --json has them all")
    for actual, predicted, count in report.most_confused()[:5]:
        click.echo(f"{count:,} times '{actual}' was taken for '{predicted}'")


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    report, unseen = evaluation.report, evaluation.unseen
    return {
        "loss": report.loss,
        "accuracy": report.accuracy,
        "interval": [report.interval.low, report.interval.high],
        "n": report.n,
        "unreadable": len(evaluation.unreadable),
        "split": evaluation.part,
        "baseline": report.baseline,
        "ece": report.ece,
        "coverage": report.coverage,
        "answered_accuracy": report.answered_accuracy,
        "known_from_training": len(evaluation.known),
        "known_pictures": list(evaluation.known),
        "unreadable_pictures": {picture.name: picture.reason for picture in evaluation.unreadable},
        "accuracy_unseen": unseen.accuracy if unseen else None,
        "interval_unseen": [unseen.interval.low, unseen.interval.high] if unseen else None,
        "per_class": {
            s.label: {"precision": s.precision, "recall": s.recall, "f1": s.f1, "n": s.support}
            for s in report.per_class
        },
        "confusion": [list(row) for row in report.confusion],
        "labels": list(report.labels),
    }


def _write_rows(report: Report, out: Path) -> None:
    with _output(out, "csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "actual", "predicted", "score"))
        writer.writerows((p.name, p.actual, p.predicted, f"{p.score:.6f}") for p in report.pictures)
