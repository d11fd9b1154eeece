"""From split pictures and a recipe to a network chosen on validation: by training, by transfer, or by both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit import storage
from whatsit.dataset import SPLITS, Dataset
from whatsit.errors import InterruptedEarlyError
from whatsit.evaluation.calibration import cross_entropy
from whatsit.events import Decision, EpochEnded, NetworkBuilt, OnEvent
from whatsit.recipe import Recipe, with_epochs, with_rate
from whatsit.training import pictures
from whatsit.training.engine import Engine, Fitted, Head, RateTest, Stopped, TrainingData
from whatsit.transfer import backbone as backbones
from whatsit.transfer import features, graph
from whatsit.transfer import head as heads
from whatsit.transfer.backbone import Backbone
from whatsit.transfer.features import View

_MOST_EPOCHS = 30  # of fine-tuning; more only wear a pretrained network out
_CHECKED = 256  # validation pictures on which a trained network and its file are compared
_CHECKED_AGAIN = 8  # the same for a file whose backbone was checked when it was made

GetEngine = Callable[[], Engine]
Settle = Callable[[Recipe, RateTest | None], None]


@dataclass(frozen=True)
class Learned:
    """A network and what the next steps need to know of it.

    validation_logits float32 [N, K], in the order of the validation samples
    held_out          the first of the validation pictures, uint8 [M, h, w, 3]
    answered          logits float32 [K] by content, for test pictures that its graph has already seen
    """

    fitted: Fitted
    recipe: Recipe
    validation_logits: NDArray[np.float32]
    held_out: NDArray[np.uint8]
    answered: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def learn(
    get_engine: GetEngine, samples: Dataset, recipe: Recipe, checkpoint: Path, settle: Settle, on_event: OnEvent
) -> Learned:
    """Train by the recipe, or go on from `checkpoint`. `settle` is told the recipe once time or tests completed it.

    Raises InterruptedEarlyError where there was nothing to keep yet.
    """
    if recipe.method != "transfer":
        learned = _train(get_engine(), samples, recipe, None, recipe.budget, checkpoint, settle, on_event)
        assert learned is not None
        return learned
    started = time.perf_counter()
    try:
        frozen, head = _fit_head(get_engine, samples, recipe, on_event)
    except KeyboardInterrupt:
        raise InterruptedEarlyError(
            "stopped before the last layer was fitted",
            value="a network that has not seen every picture",
            accepted="a whole pass over the pictures",
            hint="What it saw so far is kept: the same command goes on from there.",
        ) from None
    if recipe.finetune == "no":
        return frozen
    left = None if recipe.budget is None else max(1.0, recipe.budget - (time.perf_counter() - started))
    return _finetuned(get_engine, samples, recipe, left, frozen, head, checkpoint, settle, on_event)


def _train(
    engine: Engine,
    samples: Dataset,
    recipe: Recipe,
    start: Head | None,
    seconds: float | None,
    checkpoint: Path,
    settle: Settle,
    on_event: OnEvent,
) -> Learned | None:
    """Train within `seconds`; None if there is no time for a single epoch."""
    data = decode(samples, recipe, on_event)
    if not checkpoint.exists():
        recipe = _settled(engine, data, recipe, start, seconds, settle, on_event)
    if recipe.epochs == 0:
        return None
    fitted = engine.fit(data, replace(recipe, budget=seconds), start, checkpoint, on_event)
    held_out = data.validation_pictures
    return Learned(fitted, recipe, fitted.logits(held_out), held_out[:_CHECKED])


def decode(samples: Dataset, recipe: Recipe, on_event: OnEvent) -> TrainingData:
    train, validation = samples.part("train"), samples.part("validation")
    return TrainingData(
        train_pictures=pictures.decode(train, recipe.preprocess, on_event),
        train_targets=train.targets(),
        validation_pictures=pictures.decode(validation, recipe.preprocess, on_event),
        validation_targets=validation.targets(),
        classes=samples.classes,
    )


def _settled(
    engine: Engine,
    data: TrainingData,
    recipe: Recipe,
    start: Head | None,
    seconds: float | None,
    settle: Settle,
    on_event: OnEvent,
) -> Recipe:
    """The recipe with the rate and the number of epochs that had to be tried out on this machine."""
    test = None
    if recipe.find_rate:
        on_event(Decision("testing learning rates", "--lr auto was asked for"))
        test = engine.test_rates(data, recipe, start)
        found = test.suggestion()
        recipe = with_rate(recipe, found or recipe.learning_rate)
        why = "a tenth of the one with the lowest loss" if found else "the usual one: no rate lowered the loss"
        on_event(Decision(f"learning rate {recipe.learning_rate:.2g}", why))
    if seconds is not None:
        fitting = engine.plan(data, replace(recipe, budget=seconds), start)
        if start is None:
            fitting = max(1, fitting)
        elif recipe.epochs == 0:
            fitting = min(fitting, _MOST_EPOCHS)
        if not 0 < recipe.epochs <= fitting:
            recipe = with_epochs(recipe, fitting)
            what = f"{fitting} epochs in batches of {recipe.batch_size:,}"
            on_event(Decision(what, f"{seconds:.0f} s are left for them on this machine"))
    settle(recipe, test)
    return recipe


class _Transferred:
    """A backbone and a fitted last layer, run without the framework. See `training.engine.Fitted`."""

    def __init__(self, backbone: Backbone, head: Head, recipe: Recipe, get_engine: GetEngine) -> None:
        self.history: tuple[EpochEnded, ...] = ()
        self.network: NetworkBuilt = backbone.network
        self.stopped: Stopped | None = None
        self._backbone, self._head, self._recipe, self._get_engine = backbone, head, recipe, get_engine

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._backbone.runtime.run(pictures)[1]

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._head.logits(self.embed(pictures))

    def onnx(self, temperature: float) -> bytes:
        return graph.with_head(self._backbone.graph, self._head, temperature)

    def write_native(self, folder: Path) -> Path | None:
        if self._recipe.framework == "torch":
            return None  # it has none, and need not be loaded to say so
        return self._get_engine().with_head(self._recipe, len(self._head.bias), self._head).write_native(folder)


def _fit_head(get_engine: GetEngine, samples: Dataset, recipe: Recipe, on_event: OnEvent) -> tuple[Learned, Head]:
    train, validation, test = (samples.part(split) for split in SPLITS)
    few = replace(validation, samples=validation.samples[:_CHECKED_AGAIN])
    held_out = pictures.decode(few, recipe.preprocess, on_event)
    cache = storage.cache_folder()
    backbone = backbones.prepare(get_engine, recipe, len(samples.classes), held_out, cache / "backbones", on_event)
    if recipe.finetune == "no":  # otherwise the table that is told later counts what learns
        on_event(backbone.network)

    def see(part: Dataset, *views: View) -> tuple[list[NDArray[np.float32]], int]:
        return features.collect(backbone, part, views, recipe, cache / "features", on_event)

    views: tuple[View, ...] = ("plain", "mirrored") if recipe.augmentation.mirror else ("plain",)
    seen, new = see(train, *views)
    (validation_seen,), more = see(validation, "plain")
    (test_seen,), others = see(test, "plain")
    looked_at = new + more + others
    if looked_at < len(samples):
        on_event(
            Decision(
                f"{len(samples) - looked_at:,} pictures need not be looked at again", "an earlier run has seen them"
            )
        )
    head, tried = heads.fit(
        np.concatenate(seen),
        np.tile(train.targets(), len(seen)),
        validation_seen,
        validation.targets(),
        len(samples.classes),
        recipe.class_weights,
        on_event,
    )
    best = min(tried, key=lambda one: one.loss)
    on_event(
        Decision(
            f"regularisation 1/{best.strength:g}",
            f"the lowest loss of {len(tried)} tried on validation: {best.loss:.3f}, accuracy {best.accuracy:.1%}",
        )
    )
    rows = head.logits(test_seen)
    answered = {sample.content: row for sample, row in zip(test.samples, rows, strict=True)}
    fitted = _Transferred(backbone, head, recipe, get_engine)
    return Learned(fitted, recipe, head.logits(validation_seen), held_out, answered), head


def _finetuned(
    get_engine: GetEngine,
    samples: Dataset,
    recipe: Recipe,
    seconds: float | None,
    frozen: Learned,
    head: Head,
    checkpoint: Path,
    settle: Settle,
    on_event: OnEvent,
) -> Learned:
    """Go on from the fitted head, and keep whichever is better on validation."""
    assert isinstance(frozen.fitted, _Transferred)
    try:
        tuned = _train(get_engine(), samples, recipe, head, seconds, checkpoint, settle, on_event)
    except (InterruptedEarlyError, KeyboardInterrupt):
        frozen.fitted.stopped = "interrupted"
        return frozen
    if tuned is None:
        on_event(Decision("no fine-tuning", "not even one epoch fits into the time that is left"))
        return frozen
    targets = samples.part("validation").targets()
    (was, was_loss), (now, now_loss) = (_judged(one.validation_logits, targets) for one in (frozen, tuned))
    better = (now, -now_loss) > (was, -was_loss)
    on_event(
        Decision(
            f"the {'fine-tuned' if better else 'frozen'} network is kept",
            f"on validation fine-tuning gave {now:.1%} (loss {now_loss:.3f}), frozen it was {was:.1%} ({was_loss:.3f})",
        )
    )
    if better:
        return tuned
    frozen.fitted.history, frozen.fitted.stopped = tuned.fitted.history, tuned.fitted.stopped
    return replace(frozen, recipe=tuned.recipe)


def _judged(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy in [0, 1] and cross-entropy in nats."""
    return float((logits.argmax(axis=1) == targets).mean()), cross_entropy(logits, targets)
