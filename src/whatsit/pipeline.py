"""START HERE: the whole journey, from a folder of pictures to one file.

open -> read -> split -> examine -> choose a recipe -> learn -> calibrate -> export and check -> judge once -> write
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from whatsit import catalogue, dataset, doctor, modelfile, pretrained, run_report, sources, storage, weights
from whatsit.catalogue import Framework
from whatsit.dataset import SPLITS, Dataset
from whatsit.errors import DataError, MissingExtraError, OutputError, WeightsError
from whatsit.evaluation import Calibration, Report, calibrate
from whatsit.evaluation.calibration import softmax
from whatsit.events import Decision, Event, Finished, Notice, OnEvent, ignore
from whatsit.learning import GetEngine, Learned, Settle, learn
from whatsit.modelfile import Golden, Manifest
from whatsit.recipe import FROM_SCRATCH, OWN, Recipe, choose, facts_of, refuse_contradictions
from whatsit.runs import Origin, Recorder, RunFolder
from whatsit.runtime.judging import evaluate
from whatsit.runtime.open_model import OpenModel
from whatsit.sources import photos
from whatsit.training import pictures
from whatsit.training.engine import Engine, RateTest
from whatsit.training.engines import engine_of
from whatsit.transfer import backbone as backbones
from whatsit.version import __version__
from whatsit.weights import WeightsFile
from whatsit.wishes import Kept, Wishes, check_positive

_GOLDEN = 10
_WANTED_BY_ALL = ("onnx", "sklearn", "tomli_w", "tensorboard", "jinja2", "matplotlib")
_WANTED = (*_WANTED_BY_ALL, "torch", "timm", "onnxscript", "safetensors")
_WANTED_BY_KERAS = ("keras", "tf2onnx")
_NETWORK = {"tutorial_vgg16": "vgg16"}  # the network of a recipe
_FOR_PHOTOS = "mobilenet_v2"


@dataclass(frozen=True)
class Trained:
    """What a run left: its folder, its file, and what was measured on the test pictures.

    target is the accuracy that was asked for, None if none was.
    """

    folder: Path
    model: Path
    report: Report
    calibration: Calibration
    unreadable: int
    epochs: int
    stopped: str | None
    seconds: float
    target: float | None = None

    @property
    def missed_by(self) -> float:
        """How far the accuracy on the test pictures stays below the target; 0 where it is reached or there is none."""
        return max(0.0, (self.target or 0.0) - self.report.accuracy)


def train(
    data: str | Path | Dataset | None,
    wishes: Wishes | None = None,
    *,
    classes: Sequence[str] | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
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
    if isinstance(data, Dataset):
        data_dir = None  # nothing is looked for

    if resume and out is not None and RunFolder(out).has_recipe():
        run = RunFolder(out)
        samples, recipe, origin = _open_again(run, data, classes, wishes, data_dir, tell)
        for what, why in origin.decisions:
            tell(Decision(what, why))
        fresh = False
        found_at = origin.data
        data_dir = data_dir or (Path(origin.data_dir) if origin.data_dir else None)
        _refuse_missing_parts(recipe.framework)
        get_engine = cache(partial(_engine, recipe.framework))
    else:
        wishes = wishes or Wishes()
        found_at = _where(data, data_dir)  # before there is a run folder, which may have the data set's name
        if resume and out is not None:
            RunFolder(out).clear_false_start()
        _check_early(wishes, out)
        found = _named_weights(wishes, tell)
        framework = _framework(wishes, found)
        _refuse_missing_parts(framework)
        if wishes.model is not None and found is None:
            wishes = _checked_name(_engine(framework), wishes)
        samples = prepare(_named(data), classes, tell, data_dir, wishes.offline)
        recipe = _choose(wishes, found, samples, tell)
        get_engine = cache(partial(_engine, recipe.framework))
        run = RunFolder.create(out, samples.name)
        fresh = True

    def settle(settled: Recipe, test: RateTest | None) -> None:
        made = tuple((decision.what, decision.why) for decision in decisions)
        where = str(data_dir.resolve()) if data_dir else ""
        origin = Origin(found_at, where, samples.classes, samples.fingerprint, __version__, made)
        run.write_start(origin, settled, samples)
        if test is not None:
            run.write_rate_test(test.rates, test.losses, settled.learning_rate)

    pretrained_on = _weights_origin(recipe)
    with _resumable(run):
        learned = _learn(get_engine, samples, recipe, run, settle, tell, fresh)
        calibration = calibrate(learned.validation_logits, samples.part("validation").targets(), recipe.promise)
        tell(_calibrated(calibration))
        report = _export_and_judge(learned, pretrained_on, calibration, samples, run, tell)
        seconds = time.perf_counter() - started
        run_report.write(run, samples, report, learned.fitted, calibration, learned.recipe, decisions, seconds)
        run.tidy()
    on_event(Finished(f"{run.model} holds the classifier, {run.report} what was measured"))
    return Trained(
        folder=run.path,
        model=run.model,
        report=report,
        calibration=calibration,
        unreadable=len(samples.unreadable),
        epochs=len(learned.fitted.history),
        stopped=learned.fitted.stopped,
        seconds=seconds,
        target=learned.recipe.target,
    )


def prepare(
    data: str | Path | Dataset,
    classes: Sequence[str] | None = None,
    on_event: OnEvent = ignore,
    data_dir: Path | None = None,
    offline: bool = False,
) -> Dataset:
    """Open, read, split and examine. Raises DataError where there is nothing to learn."""
    if isinstance(data, Dataset):
        opened = data
    else:
        opened = sources.open_data(data, classes, data_dir, offline=offline, on_event=on_event)
    _refuse_one_class(opened)
    samples = dataset.complete(dataset.read(opened, on_event, storage.cache_folder() / "readings.sqlite"))
    _refuse_unlearnable(samples)
    for finding in doctor.examine(samples):
        on_event(Notice(f"{finding.text}. {finding.hint}", finding.pictures))
    counts = ", ".join(f"{len(samples.part(split)):,} {split}" for split in SPLITS)
    on_event(Notice(f"{len(samples):,} pictures of {len(samples.classes)} classes: {counts}"))
    return samples


def _check_early(wishes: Wishes, out: Path | None) -> None:
    """Refuse what can be refused before anything is fetched or read."""
    check_positive(wishes)
    refuse_contradictions(wishes)
    if out is not None:
        RunFolder.refuse_used(out)


def _named_weights(wishes: Wishes, tell: OnEvent) -> WeightsFile | None:
    """The weights that were asked for, fetched if need be; None to learn from scratch, or where the data decides."""
    if wishes.weights is not None and wishes.model in (None, *OWN):
        return weights.describe(wishes.weights)
    model = wishes.model or _NETWORK.get(wishes.recipe or "")
    if model in (None, *OWN) or wishes.random_weights or wishes.recipe in FROM_SCRATCH:
        return None
    return pretrained.locate(str(model), wishes.framework, wishes.offline, tell, weights=wishes.weights)


def _checked_name(engine: Engine, wishes: Wishes) -> Wishes:
    """The framework's own name for a network that is to start from random weights. Raises OptionError."""
    if wishes.model in OWN:
        engine.check_model(str(wishes.model))
        return wishes
    spec = catalogue.find(str(wishes.model), wishes.framework)
    name = spec.network if spec else str(wishes.model)
    engine.check_model(name)
    return replace(wishes, model=name)


def _choose(wishes: Wishes, found: WeightsFile | None, samples: Dataset, tell: OnEvent) -> Recipe:
    facts = facts_of(samples)
    by_default = wishes.model is None and wishes.recipe is None and not wishes.random_weights
    if found is None and by_default and not facts.tiny:
        found = pretrained.locate(_FOR_PHOTOS, wishes.framework, wishes.offline, tell)
    described = found and replace(found, framework=found.framework or _framework(wishes, found))
    recipe, decisions = choose(wishes, facts, described, wishes.device or "auto")
    for decision in decisions:
        tell(decision)
    known = backbones.ready(recipe, len(samples.classes), storage.cache_folder() / "backbones")
    if recipe.method == "transfer" and recipe.finetune == "no" and known and wishes.device in (None, "auto", "cpu"):
        return replace(recipe, device="cpu")  # no need for the framework: its graph is there, and was checked
    engine = _engine(recipe.framework)
    recipe = replace(recipe, device=engine.device(wishes.device))
    if recipe.method != "transfer":  # which builds the network before anything else, and then says the same
        engine.check_recipe(recipe, len(samples.classes))
    return recipe


def _open_again(
    run: RunFolder,
    data: str | Path | Dataset | None,
    classes: Sequence[str] | None,
    wishes: Wishes | None,
    data_dir: Path | None,
    tell: OnEvent,
) -> tuple[Dataset, Recipe, Origin]:
    """The data and recipe of a run that was broken off; both must be what they were, though the data may have moved."""
    origin, recipe = run.read_recipe()
    run.refuse_other_wishes(recipe, wishes)
    run.refuse_other_classes(origin, classes)
    if recipe.weights and weights.describe(Path(recipe.weights)).sha256 != recipe.weights_sha256:
        raise WeightsError(
            f"cannot resume the run '{run.path}'",
            value=f"other contents in '{recipe.weights}'",
            accepted="the weights it was started with",
            hint="Put the file back, or train again in a new folder.",
        )
    offline = bool(wishes and wishes.offline)
    # A name means no folder called so, such as the run's own: of folders the whole path is noted.
    if data in (None, origin.data) and origin.data in sources.NAMED:
        data = _named_again(origin, data_dir, offline, tell)
    samples = prepare(origin.data if data is None else data, origin.classes, tell, data_dir, offline)
    if samples.fingerprint != origin.fingerprint:
        raise DataError(
            f"cannot resume the run '{run.path}'",
            value=f"data with fingerprint {samples.fingerprint[:12]}",
            accepted=f"the data it was started on, fingerprint {origin.fingerprint[:12]}",
            hint="Pictures or labels have changed since; train again in a new folder.",
        )
    return samples, recipe, origin


def _named_again(origin: Origin, data_dir: Path | None, offline: bool, tell: OnEvent) -> Dataset:
    """A named data set, from where its files were at the start unless they are said to be elsewhere now."""
    where = data_dir or (Path(origin.data_dir) if origin.data_dir else None)
    try:
        return sources.open_named(origin.data, origin.classes, where, offline, tell)
    except DataError as error:
        if data_dir is None and where is not None:
            error.hint = "The files were there when the run was started. Where they are now: --data-dir FOLDER"
        raise


@contextmanager
def _resumable(run: RunFolder) -> Iterator[None]:
    """On a full disk, what was learned until then is still there: say how to go on with it."""
    try:
        yield
    except OutputError as error:
        if run.checkpoint.exists():
            error.hint = f"Free some space, then go on: whatsit train --resume {run.path}"
        raise


def _learn(
    get_engine: GetEngine,
    samples: Dataset,
    recipe: Recipe,
    run: RunFolder,
    settle: Settle,
    tell: OnEvent,
    fresh: bool,
) -> Learned:
    recorder = Recorder(run)
    try:
        if not run.has_recipe():
            settle(recipe, None)
        return learn(get_engine, samples, recipe, run.checkpoint, settle, _both(recorder, tell))
    except BaseException:
        if fresh and not run.checkpoint.exists():  # it was stopped before there was anything to resume
            run.discard()
        raise
    finally:
        recorder.close()


def _export_and_judge(
    learned: Learned,
    pretrained_on: dict[str, object],
    calibration: Calibration,
    samples: Dataset,
    run: RunFolder,
    tell: OnEvent,
) -> Report:
    """Write the file, prove that it answers as the network did, and only then look at the test pictures, with it."""
    tell(Notice("exporting and checking the model file"))
    graph = learned.fitted.onnx(calibration.temperature)
    expected = softmax(learned.validation_logits[: len(learned.held_out)] / calibration.temperature)

    def check(path: Path) -> None:
        modelfile.check_parity(OpenModel(path).answers(learned.held_out), expected)

    manifest = _manifest(samples, calibration, learned, pretrained_on)
    modelfile.write(run.candidate, graph, manifest, check)
    model = OpenModel(run.candidate)
    test = replace(samples, given_splits=frozenset(SPLITS))
    answered = {content: softmax(row[None] / calibration.temperature)[0] for content, row in learned.answered.items()}
    report = evaluate(model, test, "test", tell, answered).report
    golden = _golden(model, samples.part("test"), learned.recipe.golden)
    modelfile.write(run.model, graph, replace(manifest, measured=report.to_json(), golden=golden), check)
    learned.fitted.write_native(run.path)
    return report


def _manifest(
    samples: Dataset, calibration: Calibration, learned: Learned, pretrained_on: dict[str, object]
) -> Manifest:
    return Manifest(
        labels=samples.classes,
        preprocess=learned.recipe.preprocess,
        threshold=calibration.threshold,
        calibration=vars(calibration),
        data={
            "name": samples.name,
            "fingerprint": samples.fingerprint,
            "counts": {split: samples.part(split).counts() for split in SPLITS},
            "unreadable": len(samples.unreadable),
        },
        known=modelfile.known_contents(s.content for s in samples.samples if s.split != "test"),
        recipe=learned.recipe.to_dict(),
        weights={**pretrained_on, "parameters": learned.fitted.network.total_parameters},
        whatsit=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _weights_origin(recipe: Recipe) -> dict[str, object]:
    """Before the work, not after it: the file may be gone by then."""
    described = weights.describe(Path(recipe.weights)) if recipe.weights else None
    return {
        "pretrained": Path(recipe.weights).name if recipe.weights else None,
        "sha256": recipe.weights_sha256,
        "licence": described.licence if described else None,
        "source": described.source if described else None,
    }


def _golden(model: OpenModel, test: Dataset, which: Kept) -> tuple[Golden, ...]:
    """Pictures shrunk to the input, with the file's own answers: parts of the sample photos, or one test picture of
    each class, or of the first few."""
    if which == "none":
        return ()
    preprocess = model.manifest.preprocess
    if which == "samples":
        parts = [(name, preprocess.apply(part)) for name, part in photos.sample_parts()]
        return modelfile.golden_of(parts, model.answers(np.stack([part for _, part in parts])), model.labels)
    first = {sample.label: sample for sample in reversed(test.samples)}
    chosen = [first[label] for label in test.classes if label in first][:_GOLDEN]
    shrunk = pictures.decode(replace(test, samples=tuple(chosen)), preprocess, ignore)
    return tuple(
        Golden(sample.name, sample.label, np.asarray(picture), tuple(float(p) for p in row))
        for sample, picture, row in zip(chosen, shrunk, model.answers(shrunk), strict=True)
    )


def _calibrated(calibration: Calibration) -> Notice:
    if calibration.threshold is None:
        return Notice(
            f"no threshold keeps {100 * calibration.promise:g}% of the answers on validation right: all are given"
        )
    return Notice(
        f"scores below {calibration.threshold:.2f} will be answered 'not sure': that keeps "
        f"{100 * calibration.promise:g}% of the answers on validation right, and answers {calibration.coverage:.1%} of "
        "its pictures"
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


def _framework(wishes: Wishes, found: WeightsFile | None) -> Framework:
    """The one that was asked for, in so many words or by what only one of them can read."""
    if wishes.framework is None and found is not None:
        if found.framework == "keras" or found.path.suffix in (".h5", ".keras"):
            return "keras"
    elif wishes.framework is None and (wishes.model or "").startswith("keras:"):
        return "keras"
    return wishes.framework or "torch"


def _refuse_missing_parts(framework: Framework) -> None:
    """Raise MissingExtraError for any part of the extras, before any work, however late that part would be wanted."""
    for module in _WANTED if framework == "torch" else (*_WANTED_BY_ALL, *_WANTED_BY_KERAS):
        if find_spec(module) is None:
            extra = "keras" if module in _WANTED_BY_KERAS else "train"
            raise MissingExtraError("train a classifier", module=module, extra=extra)


def _engine(framework: Framework) -> Engine:
    return engine_of(framework, "train a classifier")


def _named(data: str | Path | Dataset | None) -> str | Path | Dataset:
    if data is None:
        raise DataError(
            "cannot train without data",
            value="nothing",
            accepted="a folder of class folders, a CSV, or a data set by name such as 'digits'",
            hint="For instance: whatsit train photos/",
        )
    return data


def _where(data: str | Path | Dataset | None, data_dir: Path | None) -> str:
    """What finds the data again from any folder. With `data_dir` it is a name, also where a folder is called so."""
    if isinstance(data, Dataset):
        return f"in memory: {data.name}"
    if data_dir is not None:
        return str(data)
    return str(Path(str(data)).resolve()) if Path(str(data)).exists() else str(data)


def _both(first: OnEvent, second: OnEvent) -> OnEvent:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell
