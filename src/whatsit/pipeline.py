"""START HERE: the whole journey, from a folder of pictures to one file.

open -> read -> split -> examine -> choose a recipe -> fit -> calibrate -> export and check -> judge once -> write
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from whatsit import dataset, doctor, modelfile, run_report, sources, weights
from whatsit.dataset import SPLITS, Dataset
from whatsit.errors import DataError, MissingExtraError
from whatsit.evaluation import Calibration, Report, calibrate
from whatsit.evaluation.calibration import softmax
from whatsit.events import Decision, Event, Finished, Notice, OnEvent, ignore
from whatsit.modelfile import Golden, Manifest
from whatsit.recipe import Recipe, Wishes, check_positive, choose, facts_of, with_epochs
from whatsit.runs import Origin, Recorder, RunFolder
from whatsit.runtime.judging import evaluate
from whatsit.runtime.open_model import OpenModel
from whatsit.training import pictures
from whatsit.training.engine import Engine, Fitted, TrainingData
from whatsit.version import __version__

_GOLDEN = 10
_PARITY_PICTURES = 256
_WANTED = ("torch", "timm", "onnx", "onnxscript", "safetensors", "tomli_w", "tensorboard", "jinja2", "matplotlib")


@dataclass(frozen=True)
class Trained:
    """What a run left: its folder, its file, and what was measured on the test pictures."""

    folder: Path
    model: Path
    report: Report
    calibration: Calibration
    unreadable: int
    epochs: int
    stopped: str | None
    seconds: float


def train(
    data: str | Path | Dataset | None,
    wishes: Wishes | None = None,
    *,
    classes: Sequence[str] | None = None,
    out: Path | None = None,
    resume: bool = False,
    on_event: OnEvent = ignore,
    started: float | None = None,
) -> Trained:
    """Train on `data` and leave a run folder, `out`. With `resume`, go on with the run that `out` holds.

    `started` is time.perf_counter() when the work began, for the seconds reported.
    """
    started = time.perf_counter() if started is None else started
    decisions: list[Decision] = []
    tell = _both(on_event, lambda event: decisions.append(event) if isinstance(event, Decision) else None)
    engine = _engine()

    if resume and out is not None and RunFolder(out).has_recipe():
        run = RunFolder(out)
        samples, recipe, origin = _open_again(run, data, wishes, tell)
        for what, why in origin.decisions:
            tell(Decision(what, why))
        training_data = _decode(samples, recipe, tell)
    else:
        wishes = wishes or Wishes()
        if resume and out is not None:
            RunFolder(out).clear_false_start()
        _check_early(engine, wishes, out)
        samples = prepare(_named(data), classes, tell)
        recipe = _choose(engine, wishes, samples, tell)
        training_data = _decode(samples, recipe, tell)
        recipe = _within_budget(engine, training_data, recipe, wishes, tell)
        made = tuple((decision.what, decision.why) for decision in decisions)
        origin = Origin(_where(data), samples.classes, samples.fingerprint, __version__, made)
        run = RunFolder.create(out, samples.name)
        run.write_start(origin, recipe, samples)

    fitted = _fit(engine, training_data, recipe, run, tell)
    calibration = calibrate(fitted.logits(training_data.validation_pictures), training_data.validation_targets)
    tell(_calibrated(calibration))
    report = _export_and_judge(fitted, calibration, training_data, samples, recipe, run, tell)
    seconds = time.perf_counter() - started
    run_report.write(run, samples, report, fitted, calibration, recipe, decisions, seconds)
    run.tidy()
    on_event(Finished(f"{run.model} holds the classifier, {run.report} what was measured"))
    return Trained(
        folder=run.path,
        model=run.model,
        report=report,
        calibration=calibration,
        unreadable=len(samples.unreadable),
        epochs=len(fitted.history),
        stopped=fitted.stopped,
        seconds=seconds,
    )


def prepare(data: str | Path | Dataset, classes: Sequence[str] | None = None, on_event: OnEvent = ignore) -> Dataset:
    """Open, read, split and examine. Raises DataError where there is nothing to learn."""
    opened = data if isinstance(data, Dataset) else sources.open_data(data, classes)
    _refuse_one_class(opened)
    samples = dataset.complete(dataset.read(opened, on_event))
    _refuse_unlearnable(samples)
    for finding in doctor.examine(samples):
        on_event(Notice(f"{finding.text}. {finding.hint}", finding.pictures))
    counts = ", ".join(f"{len(samples.part(split)):,} {split}" for split in SPLITS)
    on_event(Notice(f"{len(samples):,} pictures of {len(samples.classes)} classes: {counts}"))
    return samples


def _check_early(engine: Engine, wishes: Wishes, out: Path | None) -> None:
    """Refuse what can be refused before any picture is read."""
    check_positive(wishes)
    if out is not None:
        RunFolder.refuse_used(out)
    if wishes.model is not None:
        engine.check_model(wishes.model)


def _choose(engine: Engine, wishes: Wishes, samples: Dataset, tell: OnEvent) -> Recipe:
    described = weights.describe(wishes.weights) if wishes.weights else None
    recipe, decisions = choose(wishes, facts_of(samples), described, engine.device(wishes.device))
    for decision in decisions:
        tell(decision)
    engine.check_recipe(recipe, len(samples.classes))
    return recipe


def _open_again(
    run: RunFolder, data: str | Path | Dataset | None, wishes: Wishes | None, tell: OnEvent
) -> tuple[Dataset, Recipe, Origin]:
    """The data and recipe of a run that was broken off; both must be what they were."""
    origin, recipe = run.read_recipe()
    run.refuse_other_wishes(recipe, wishes)
    samples = prepare(origin.data if data is None else data, origin.classes, tell)
    if samples.fingerprint != origin.fingerprint:
        raise DataError(
            f"cannot resume the run '{run.path}'",
            value=f"data with fingerprint {samples.fingerprint[:12]}",
            accepted=f"the data it was started on, fingerprint {origin.fingerprint[:12]}",
            hint="Pictures or labels have changed since; train again in a new folder.",
        )
    return samples, recipe, origin


def _decode(samples: Dataset, recipe: Recipe, tell: OnEvent) -> TrainingData:
    train, validation = samples.part("train"), samples.part("validation")
    return TrainingData(
        train_pictures=pictures.decode(train, recipe.preprocess, tell),
        train_targets=train.targets(),
        validation_pictures=pictures.decode(validation, recipe.preprocess, tell),
        validation_targets=validation.targets(),
        classes=samples.classes,
    )


def _within_budget(engine: Engine, data: TrainingData, recipe: Recipe, wishes: Wishes, tell: OnEvent) -> Recipe:
    """With a budget and no number of epochs asked for, the budget decides it."""
    if wishes.budget is None:
        return recipe
    fitting = engine.plan(data, recipe)
    if wishes.epochs is not None and wishes.epochs <= fitting:
        return recipe
    tell(Decision(f"{fitting} epochs", f"that is what fits into {wishes.budget:g} s on this machine"))
    return with_epochs(recipe, fitting)


def _fit(engine: Engine, data: TrainingData, recipe: Recipe, run: RunFolder, tell: OnEvent) -> Fitted:
    recorder = Recorder(run)
    try:
        return engine.fit(data, recipe, run.checkpoint, _both(recorder, tell))
    finally:
        recorder.close()
        if not run.checkpoint.exists():  # it was stopped before there was anything to resume
            run.discard()


def _export_and_judge(
    fitted: Fitted,
    calibration: Calibration,
    data: TrainingData,
    samples: Dataset,
    recipe: Recipe,
    run: RunFolder,
    tell: OnEvent,
) -> Report:
    """Write the file, prove that it answers as the network did, and only then look at the test pictures, with it."""
    tell(Notice("exporting and checking the model file"))
    graph = fitted.onnx(calibration.temperature)
    held_out = data.validation_pictures[:_PARITY_PICTURES]
    expected = softmax(fitted.logits(held_out) / calibration.temperature)

    def check(path: Path) -> None:
        modelfile.check_parity(OpenModel(path).answers(held_out), expected)

    manifest = _manifest(samples, calibration, recipe, fitted)
    modelfile.write(run.candidate, graph, manifest, check)
    model = OpenModel(run.candidate)
    test = replace(samples, given_splits=frozenset(SPLITS))
    report = evaluate(model, test, "test", tell).report
    golden = _golden(model, samples.part("test")) if recipe.golden else ()
    modelfile.write(run.model, graph, replace(manifest, measured=report.to_json(), golden=golden), check)
    return report


def _manifest(samples: Dataset, calibration: Calibration, recipe: Recipe, fitted: Fitted) -> Manifest:
    return Manifest(
        labels=samples.classes,
        preprocess=recipe.preprocess,
        threshold=calibration.threshold,
        calibration=vars(calibration),
        data={
            "name": samples.name,
            "fingerprint": samples.fingerprint,
            "counts": {split: samples.part(split).counts() for split in SPLITS},
            "unreadable": len(samples.unreadable),
        },
        known=modelfile.known_contents(s.content for s in samples.samples if s.split != "test"),
        recipe=recipe.to_dict(),
        weights=_weights_origin(recipe, fitted),
        whatsit=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _weights_origin(recipe: Recipe, fitted: Fitted) -> dict[str, object]:
    described = weights.describe(Path(recipe.weights)) if recipe.weights else None
    return {
        "pretrained": Path(recipe.weights).name if recipe.weights else None,
        "sha256": recipe.weights_sha256,
        "licence": described.licence if described else None,
        "source": described.source if described else None,
        "parameters": fitted.network.total_parameters,
    }


def _golden(model: OpenModel, test: Dataset) -> tuple[Golden, ...]:
    """One test picture of each class, or of the first few, shrunk to the input, with the file's own answers."""
    first = {sample.label: sample for sample in reversed(test.samples)}
    chosen = [first[label] for label in test.classes if label in first][:_GOLDEN]
    shrunk = pictures.decode(replace(test, samples=tuple(chosen)), model.manifest.preprocess, ignore)
    rows = model.answers(shrunk)
    return tuple(
        Golden(sample.name, sample.label, np.asarray(picture), tuple(float(p) for p in row))
        for sample, picture, row in zip(chosen, shrunk, rows, strict=True)
    )


def _calibrated(calibration: Calibration) -> Notice:
    if calibration.threshold is None:
        return Notice(f"no threshold keeps {calibration.promise:.0%} of the answers right: all are given")
    return Notice(
        f"scores below {calibration.threshold:.2f} will be answered 'not sure': that keeps {calibration.promise:.0%} "
        f"of the answers right, and answers {calibration.coverage:.1%} of the validation pictures"
    )


def _refuse_one_class(opened: Dataset) -> None:
    if len(opened.classes) < 2:
        raise DataError(
            f"cannot train on '{opened.name}'",
            value=f"one class only: {', '.join(opened.classes)}",
            accepted="at least two classes",
            hint="Add a folder with pictures of what it is not.",
        )


def _refuse_unlearnable(samples: Dataset) -> None:
    untaught = [label for label, n in samples.part("train").counts().items() if n == 0]
    empty = [split for split in SPLITS if not samples.part(split).samples]
    if untaught or empty:
        raise DataError(
            f"cannot train on '{samples.name}'",
            value=f"no readable pictures of '{untaught[0]}' in train" if untaught else f"no pictures for {empty[0]}",
            accepted="pictures of every class in train, and some in validation and test",
            hint="Add pictures (copies of one picture count once), or check the names of the folders.",
        )


def _engine() -> Engine:
    """Raises MissingExtraError for any part of the extra, before any work, however late that part would be wanted."""
    for module in _WANTED:
        if find_spec(module) is None:
            raise MissingExtraError("train a classifier", module=module, extra="train")
    try:
        from whatsit.training.torch_engine import TorchEngine
    except ImportError as error:
        raise MissingExtraError("train a classifier", module=error.name or "torch", extra="train") from None
    return TorchEngine()


def _named(data: str | Path | Dataset | None) -> str | Path | Dataset:
    if data is None:
        raise DataError(
            "cannot train without data",
            value="nothing",
            accepted="a folder of class folders, a CSV, or 'digits'",
            hint="For instance: whatsit train photos/",
        )
    return data


def _where(data: str | Path | Dataset | None) -> str:
    """What finds the data again from any folder."""
    if isinstance(data, Dataset):
        return f"in memory: {data.name}"
    return str(Path(str(data)).resolve()) if Path(str(data)).exists() else str(data)


def _both(first: OnEvent, second: OnEvent) -> OnEvent:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell
