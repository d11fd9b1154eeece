"""fit -> run_epoch -> train_step."""

from __future__ import annotations

import itertools
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from whatsit.catalogue import Framework
from whatsit.errors import InterruptedEarlyError, OptionError
from whatsit.events import Decision, EpochEnded, NetworkBuilt, OnEvent, Progress, ignore
from whatsit.recipe import Recipe
from whatsit.training import course
from whatsit.training.engine import TEST_RATES, Head, RateTest, Stopped, TrainingData
from whatsit.training.keras_engine import batches, checkpoint, export, networks, optim
from whatsit.training.keras_engine.checkpoint import State
from whatsit.training.keras_engine.networks import Network

_PROBE_STEPS = 4
_PLACES = {"cpu": "cpu", "cuda": "gpu"}  # without a number, which takes PyTorch's parameters for others


class KerasFitted:
    """A network with its best weights, on the CPU. See `training.engine.Fitted`."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        history: tuple[EpochEnded, ...] = (),
        stopped: Stopped | None = None,
    ):
        self.history = history
        self.network = networks.summary(network)
        self.stopped = stopped
        self._recipe = recipe
        self._model = network

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        with _settled(self._recipe.seed, "cpu"):
            return _rows(self._model.logits, pictures)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        with _settled(self._recipe.seed, "cpu"):
            return _rows(self._model.embed, pictures)

    def onnx(self, temperature: float) -> bytes:
        with _settled(self._recipe.seed, "cpu"):
            return export.to_onnx(self._model, self._recipe, temperature)

    def write_native(self, folder: Path) -> Path | None:
        with _settled(self._recipe.seed, "cpu"):
            return export.write_native(self._model, folder)


class KerasEngine:
    """See `training.engine.Engine`."""

    name: Framework = "keras"

    def device(self, asked: str | None) -> str:
        if asked in (None, "auto"):
            return "cuda" if _has_gpu() else "cpu"
        if asked == "cpu" or (asked == "cuda" and _has_gpu()):
            return asked
        raise OptionError(
            "cannot train on this device",
            value=repr(asked),
            accepted=f"cpu, cuda where Keras's backend ({keras.backend.backend()}) finds an NVIDIA GPU, or auto",
            hint="Leave --device out and whatsit takes the best there is.",
        )

    def check_model(self, name: str) -> None:
        networks.check_name(name.removeprefix("keras:"))

    def check_recipe(self, recipe: Recipe, n_classes: int) -> None:
        export.check_backend()
        with _settled(recipe.seed, "cpu"):
            networks.build(recipe, n_classes)

    def pretrained(self, recipe: Recipe, n_classes: int) -> KerasFitted:
        with _settled(recipe.seed, "cpu"):
            return KerasFitted(networks.as_it_came(recipe, n_classes), recipe)

    def with_head(self, recipe: Recipe, n_classes: int, head: Head | None = None) -> KerasFitted:
        with _settled(recipe.seed, "cpu"):
            return KerasFitted(networks.build(recipe, n_classes, head), recipe)

    def plan(self, data: TrainingData, recipe: Recipe, start: Head | None) -> int:
        assert recipe.budget is not None
        with _settled(recipe.seed, recipe.device):
            step, judge = _Trainer(data, recipe, start, ignore).probe()
        steps = course.steps_per_epoch(len(data.train_targets), recipe.batch_size)
        return int(recipe.budget / (step * steps + judge))

    def test_rates(self, data: TrainingData, recipe: Recipe, start: Head | None) -> RateTest:
        with _settled(recipe.seed, recipe.device):
            return _Trainer(data, recipe, start, ignore).test_rates()

    def fit(
        self, data: TrainingData, recipe: Recipe, start: Head | None, checkpoint: Path, on_event: OnEvent
    ) -> KerasFitted:
        with _settled(recipe.seed, recipe.device):
            state, stopped = _Trainer(data, recipe, start, on_event).fit(checkpoint)
        with _settled(recipe.seed, "cpu"):
            network = networks.build(recipe, len(data.classes))
            _assign(network.logits.weights, state.best)
        return KerasFitted(network, recipe, tuple(state.history), stopped)


class _Trainer:
    """One run: the network, its optimiser, and the four levels of the loop."""

    def __init__(self, data: TrainingData, recipe: Recipe, start: Head | None, on_event: OnEvent) -> None:
        self.data, self.recipe, self.on_event = data, recipe, on_event
        self.network = networks.build(recipe, len(data.classes), start)
        self.table: NetworkBuilt = networks.summary(self.network)
        self.weights = self.network.logits.weights
        self.model = networks.Learning(self.network, recipe.frozen_statistics)
        self.optimizer = optim.optimizer_for(self.network, self.model.trainable_weights, recipe)
        self.loss = optim.Loss(recipe, data.train_targets, len(data.classes))
        self.model.compile(self.optimizer, optim.cross_entropy, metrics=[optim.accuracy], jit_compile=False)
        self.average = _copies(self.weights) if recipe.ema else []
        self.steps = course.steps_per_epoch(len(data.train_targets), recipe.batch_size)

    def fit(self, path: Path) -> tuple[State, Stopped | None]:
        state = self._start(path)
        self.on_event(self.table)
        self.on_event(Decision(f"Keras on {keras.backend.backend()}", "KERAS_BACKEND or Keras's settings say so"))
        for epoch in state.history:
            self.on_event(epoch)
        stopped = self._reason_to_stop(state)
        try:
            while state.epochs_done < self.recipe.epochs and stopped is None:
                self._one_epoch(state, path)
                stopped = self._reason_to_stop(state)
        except KeyboardInterrupt:
            stopped = "interrupted"
        if not state.best:
            raise InterruptedEarlyError(
                "stopped before the first epoch ended",
                value="no trained weights yet",
                accepted="at least one whole epoch",
                hint="Nothing was kept. Start again, perhaps with a smaller --image-size.",
            )
        return state, stopped

    def _reason_to_stop(self, state: State) -> Stopped | None:
        n_validation = len(self.data.validation_targets)
        return course.reason_to_stop(state.history, state.stale, state.elapsed, self.recipe, n_validation)

    def _start(self, path: Path) -> State:
        if not path.exists():
            return State(network=[], average=[], optimizer=[])
        state = checkpoint.load(path)
        _assign(self.weights, state.network)
        self.average = state.average
        _assign(self.optimizer.variables, state.optimizer)
        return state

    def _one_epoch(self, state: State, path: Path) -> None:
        """Train, judge on validation, remember the best, write the checkpoint, then tell."""
        started = time.perf_counter()
        epoch = state.epochs_done + 1
        train_loss, train_accuracy, rate = self.run_epoch(epoch)
        loss, accuracy = self.judge()
        best = not state.history or (accuracy, -loss) > course.best_so_far(state.history)
        seconds = time.perf_counter() - started
        ended = EpochEnded(epoch, self.recipe.epochs, train_loss, train_accuracy, loss, accuracy, rate, seconds, best)
        weights = _copies(self.weights)
        following = State(
            network=weights,
            average=self.average,
            optimizer=_copies(self.optimizer.variables),
            history=[*state.history, ended],
            best=(self.average or weights) if best else state.best,
            stale=0 if best else state.stale + 1,
            elapsed=state.elapsed + seconds,
        )
        checkpoint.save(path, following)
        vars(state).update(vars(following))
        self.on_event(ended)

    def run_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Mean loss, accuracy, and the last learning rate."""
        self._seed_dropout(epoch)
        rng = batches.draws_of(self.recipe.seed, epoch)
        total_loss, right, seen, rate = 0.0, 0.0, 0, 0.0
        for number, (pictures, targets) in enumerate(self._batches(epoch)):
            step = (epoch - 1) * self.steps + number
            rate = course.rate_at(step, self.steps * self.recipe.epochs, self.recipe)
            loss, accuracy = self.train_step(pictures, targets, rate, rng)
            if self.average:
                self.average = optim.averaged(self.average, _copies(self.weights), step, self.recipe.ema)
            n = len(targets)
            total_loss, right, seen = total_loss + loss * n, right + accuracy * n, seen + n
            self.on_event(Progress("training", step + 1, self.steps * self.recipe.epochs))
        return total_loss / max(1, seen), right / max(1, seen), rate

    def _batches(self, epoch: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        arrays = (self.data.train_pictures, self.data.train_targets)
        return batches.training_batches(*arrays, self.recipe.batch_size, self.recipe.seed, epoch)

    def _seed_dropout(self, epoch: int) -> None:
        """Dropout counts its draws on; from (seed, epoch) it starts where an undisturbed run does."""
        for layer in self.model._flatten_layers():
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator._initial_seed = self.recipe.seed  # without one, PyTorch as backend draws from elsewhere
                state = np.random.default_rng((self.recipe.seed, epoch, 2)).integers(2**31, size=2)
                generator.state.assign(state.astype("uint32"))

    def train_step(
        self, pictures: NDArray[np.uint8], targets: NDArray[np.int64], rate: float, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Loss and accuracy of the batch, before the step."""
        x = batches.augment(pictures.astype(np.float32), self.recipe.augmentation, rng)
        aims = self.loss.aims(targets)
        if self.recipe.mixup:
            x, others, share = batches.mix(x, self.recipe.mixup, rng)
            aims = np.float32(share) * aims + np.float32(1 - share) * aims[others]
        self.optimizer.learning_rate = rate
        loss, accuracy = self.model.train_on_batch(x, self.loss.with_labels(aims, targets))
        return float(loss), float(accuracy)

    def judge(self) -> tuple[float, float]:
        """Mean loss and accuracy of the averaged network on the validation pictures, as they are."""
        weights = _copies(self.weights) if self.average else []
        if self.average:
            _assign(self.weights, self.average)
        try:
            logits = _rows(self.model, self.data.validation_pictures).astype(np.float64)
        finally:
            if weights:
                _assign(self.weights, weights)
        targets = self.data.validation_targets
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        loss = log_sum - logits[np.arange(len(targets)), targets]
        return float(loss.mean()), float((logits.argmax(axis=1) == targets).mean())

    def probe(self) -> tuple[float, float]:
        """Seconds of one training step and of judging once, on this machine, at this moment."""
        rng = batches.draws_of(self.recipe.seed, 0)
        times = []
        for pictures, targets in itertools.islice(self._batches(0), _PROBE_STEPS + 1):
            started = time.perf_counter()
            self.train_step(pictures, targets, self.recipe.learning_rate, rng)
            if self.average:
                self.average = optim.averaged(self.average, _copies(self.weights), 0, self.recipe.ema)
            times.append(time.perf_counter() - started)
        self.judge()  # the first time, the backend compiles
        started = time.perf_counter()
        self.judge()
        return float(np.median(times[1:] or times)), time.perf_counter() - started

    def test_rates(self) -> RateTest:
        """The loss while the rate grows from step to step (range test: Smith, WACV 2017, section 3.3)."""
        self._seed_dropout(0)
        rng = batches.draws_of(self.recipe.seed, 0)
        epochs = (batch for epoch in itertools.count() for batch in self._batches(epoch))
        losses: list[float] = []
        for rate, (pictures, targets) in zip(TEST_RATES, epochs, strict=False):
            losses.append(self.train_step(pictures, targets, rate, rng)[0])
            if not losses[-1] < 4 * min(losses):
                break
        return RateTest(TEST_RATES[: len(losses)], tuple(losses))


def _rows(model: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's answers, in batches of one size: a backend that compiles compiles once."""
    size = batches.EVALUATION_BATCH
    rows = []
    for start in range(0, len(pictures), size):
        part = pictures[start : start + size]
        rows.append(np.asarray(model.predict_on_batch(np.ascontiguousarray(part, np.float32))))
    return np.concatenate(rows)


def _copies(variables: list[Any]) -> list[NDArray[Any]]:
    """Some backends give out the very memory that the next step writes to."""
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def _assign(variables: list[Any], values: list[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _has_gpu() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    try:
        with keras.device(_PLACES["cuda"]):
            keras.ops.zeros(1)
    except Exception:  # each backend has exceptions of its own for what it does not find
        return False
    return True


@contextmanager
def _settled(seed: int, device: str) -> Iterator[None]:
    """Fresh weights from this seed, on this device, in Keras's usual settings; all are put back afterwards."""
    python = random.getstate()
    layout, floats = keras.config.image_data_format(), keras.config.dtype_policy()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    random.seed(seed)  # Keras's initialisers and dropouts draw their seeds from it
    try:
        with keras.device(_PLACES[device]), warnings.catch_warnings():
            # Keras's backends do not know NumPy's newest way of asking for an array.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            yield
    finally:
        keras.config.set_image_data_format(layout)
        keras.config.set_dtype_policy(floats)
        random.setstate(python)
