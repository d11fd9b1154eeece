"""fit -> run_epoch -> train_step."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whatsit.catalogue import Framework
from whatsit.errors import InterruptedEarlyError, OptionError
from whatsit.events import Decision, EpochEnded, NetworkBuilt, OnEvent, Progress, ignore
from whatsit.preprocess import scaling_named
from whatsit.recipe import Recipe
from whatsit.training import course
from whatsit.training.engine import TEST_RATES, Head, RateTest, Stopped, TrainingData
from whatsit.training.torch_engine import batches, checkpoint, export, half, memory, networks, optim
from whatsit.training.torch_engine.checkpoint import State
from whatsit.training.torch_engine.network import Network
from whatsit.training.torch_engine.own_networks import CompactNetwork

_PROBE_STEPS = 4
_LOOKED_AT = 5_000  # training pictures from which a network takes the statistics it starts with
_LOOKED_AT_ONCE = 256  # of these


class TorchFitted:
    """A network with its best weights. See `training.engine.Fitted`."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        table: NetworkBuilt,
        history: tuple[EpochEnded, ...] = (),
        stopped: Stopped | None = None,
    ):
        self.history = history
        self.network = table
        self.stopped = stopped
        self._recipe = recipe
        network = network.cpu().float().eval()
        if recipe.stored == "float16":
            half.round_weights(network)
        self._model = networks.with_views(network, recipe)

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._rows(self._model, pictures)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._rows(self._model.embed, pictures)

    def _rows(self, function: Callable[[Tensor], Tensor], pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        scale = _scaler(self._recipe, torch.device("cpu"))
        rows = []
        with torch.inference_mode():
            for start in range(0, len(pictures), batches.EVALUATION_BATCH):
                part = torch.from_numpy(np.ascontiguousarray(pictures[start : start + batches.EVALUATION_BATCH]))
                rows.append(function(scale(batches.to_network(part, torch.device("cpu")))).numpy())
        return np.concatenate(rows)

    def onnx(self, temperature: float) -> bytes:
        return export.to_onnx(self._model, self._recipe, temperature)

    def write_native(self, folder: Path) -> Path | None:  # noqa: ARG002  PyTorch's users have checkpoint/ and timm
        return None


class TorchEngine:
    """See `training.engine.Engine`."""

    name: Framework = "torch"

    def device(self, asked: str | None) -> str:
        if asked in (None, "auto"):
            return "cuda" if torch.cuda.is_available() else "cpu"
        if asked == "cpu" or (asked == "cuda" and torch.cuda.is_available()):
            return asked
        raise OptionError(
            "cannot train on this device",
            value=repr(asked),
            accepted="cpu, cuda where there is an NVIDIA GPU, or auto",
            hint="Leave --device out and whatsit takes the best there is.",
        )

    def check_model(self, name: str) -> None:
        networks.check_name(name.removeprefix("timm:"))

    def check_recipe(self, recipe: Recipe, n_classes: int) -> None:
        network = networks.build(recipe, n_classes)
        networks.summary(network, recipe.preprocess.size)
        if recipe.start_size:
            networks.summary(network, (recipe.start_size, recipe.start_size))

    def pretrained(self, recipe: Recipe, n_classes: int) -> TorchFitted:
        return _fitted(networks.as_it_came(recipe, n_classes), recipe)

    def with_head(self, recipe: Recipe, n_classes: int, head: Head | None = None) -> TorchFitted:
        return _fitted(networks.build(recipe, n_classes, head), recipe)

    def plan(self, data: TrainingData, recipe: Recipe, start: Head | None) -> int:
        assert recipe.budget is not None
        with _deterministic(recipe), memory.freed_memory_kept():
            trainer = _Trainer(data, recipe, start, ignore)
            step, judge = trainer.probe()
        steps = course.steps_per_epoch(len(data.train_targets), recipe.batch_size)
        return int(recipe.budget / (step * steps + judge))

    def test_rates(self, data: TrainingData, recipe: Recipe, start: Head | None) -> RateTest:
        with _deterministic(recipe), memory.freed_memory_kept():
            return _Trainer(data, recipe, start, ignore).test_rates()

    def fit(
        self, data: TrainingData, recipe: Recipe, start: Head | None, checkpoint: Path, on_event: OnEvent
    ) -> TorchFitted:
        with _deterministic(recipe), memory.freed_memory_kept():
            return _Trainer(data, recipe, start, on_event).fit(checkpoint)


def _fitted(network: Network, recipe: Recipe) -> TorchFitted:
    return TorchFitted(network, recipe, networks.summary(network, recipe.preprocess.size))


class _Trainer:
    """One run: the network, its optimiser, and the four levels of the loop."""

    def __init__(self, data: TrainingData, recipe: Recipe, start: Head | None, on_event: OnEvent) -> None:
        self.data, self.recipe, self.on_event = data, recipe, on_event
        self.device = torch.device(recipe.device)
        self.pictures, self.targets = _resident(data.train_pictures, data.train_targets, self.device)
        self.network = networks.build(recipe, len(data.classes), start)
        self.table = networks.summary(self.network, recipe.preprocess.size)
        self.network = self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scale = _scaler(recipe, self.device)
        if isinstance(self.network, CompactNetwork):
            some = self.pictures[:: -(-len(self.pictures) // _LOOKED_AT)]
            parts = torch.split(some, _LOOKED_AT_ONCE)
            self.network.prepare(self.scale(batches.to_network(part, self.device)) for part in parts)
        # Without an average, the network itself is judged.
        self.average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema else self.network
        self.steps = course.steps_per_epoch(len(data.train_targets), recipe.batch_size)
        self.optimizer = optim.optimizer_for(self.network, recipe, len(data.train_targets) / self.steps)
        self.loss = optim.loss_for(recipe, data.train_targets, len(data.classes)).to(self.device)
        self.plain_loss = nn.CrossEntropyLoss(reduction="sum")
        self.bf16 = has_fast_bf16(self.device)

    def fit(self, path: Path) -> TorchFitted:
        state = self._start(path)
        self.on_event(self.table)
        self.on_event(Decision("bfloat16" if self.bf16 else "float32", "what this processor is fastest with"))
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
        self.average.load_state_dict(state.best)
        return TorchFitted(self.average, self.recipe, self.table, tuple(state.history), stopped)

    def _reason_to_stop(self, state: State) -> Stopped | None:
        n_validation = len(self.data.validation_targets)
        return course.reason_to_stop(state.history, state.stale, state.elapsed, self.recipe, n_validation)

    def _start(self, path: Path) -> State:
        if not path.exists():
            return State(self.network.state_dict(), self.average.state_dict(), self.optimizer.state_dict())
        state = checkpoint.load(path)
        self.network.load_state_dict(state.network)
        self.average.load_state_dict(state.average)
        self.optimizer.load_state_dict(state.optimizer)
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
        weights = self.average.state_dict()
        following = State(
            network=self.network.state_dict(),
            average=weights,
            optimizer=self.optimizer.state_dict(),
            history=[*state.history, ended],
            best={name: value.detach().cpu().clone() for name, value in weights.items()} if best else state.best,
            stale=0 if best else state.stale + 1,
            elapsed=state.elapsed + seconds,
        )
        checkpoint.save(path, following)
        vars(state).update(vars(following))
        self.on_event(ended)

    def run_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Mean loss, accuracy, and the last learning rate."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)  # for dropout
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        self._train_mode()
        total = torch.zeros(2, device=self.device)
        recipe = self.recipe
        seen, rate, steps = 0, 0.0, self.steps * recipe.epochs
        effort = course.effort(steps, steps, recipe)
        for number, (pictures, targets) in enumerate(self._batches(epoch)):
            step = (epoch - 1) * self.steps + number
            rate = course.rate_at(step, steps, recipe)
            optim.set_rate(self.optimizer, rate)
            size = course.size_at(step, steps, recipe)
            total += len(targets) * torch.stack(self.train_step(pictures, targets, generator, size))
            if recipe.ema:
                optim.update_average(self.average, self.network, step, recipe.ema)
            seen += len(targets)
            self.on_event(Progress("training", course.effort(step + 1, steps, recipe), effort))
        loss, accuracy = (total / max(1, seen)).tolist()
        return loss, accuracy, rate

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        recipe = self.recipe
        return batches.training_batches(
            self.pictures, self.targets, recipe.augmentation, recipe.batch_size, recipe.seed, epoch
        )

    def _train_mode(self) -> None:
        """Statistics of a few small batches would spoil those a pretrained network comes with."""
        self.network.train()
        if self.recipe.frozen_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def train_step(
        self, pictures: Tensor, targets: Tensor, generator: torch.Generator, size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy of the batch, before the step, where the network is."""
        targets = targets.to(self.device)
        x = batches.augment(batches.to_network(pictures, self.device), self.recipe.augmentation, generator)
        others, share = None, 1.0
        if self.recipe.mixup:
            x, others, share = batches.mix(x, self.recipe.mixup, generator)
        with self._autocast():
            logits = self.network(batches.shrink(self.scale(x), size))
        loss = self.loss(logits.float(), targets)
        if others is not None:
            loss = share * loss + (1 - share) * self.loss(logits.float(), targets[others])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), (logits.argmax(1) == targets).float().mean()

    @torch.inference_mode()
    def judge(self) -> tuple[float, float]:
        """Mean loss and accuracy of the averaged network on the validation pictures, as they are."""
        self.average.eval()
        loss, right = 0.0, 0
        pictures, targets = self.data.validation_pictures, torch.from_numpy(self.data.validation_targets)
        for start in range(0, len(targets), batches.EVALUATION_BATCH):
            part = slice(start, start + batches.EVALUATION_BATCH)
            x = batches.to_network(torch.from_numpy(np.ascontiguousarray(pictures[part])), self.device)
            with self._autocast():
                logits = self.average(self.scale(x))
            expected = targets[part].to(self.device)
            loss += float(self.plain_loss(logits.float(), expected))
            right += int((logits.argmax(1) == expected).sum())
        return loss / len(targets), right / len(targets)

    def probe(self) -> tuple[float, float]:
        """Seconds of one training step and of judging once, on this machine, at this moment."""
        share = self.recipe.start_share
        step = (1 - share) * self._time_steps(None)
        if share:
            step += share * self._time_steps(self.recipe.start_size)
        started = time.perf_counter()
        self.judge()
        return step, time.perf_counter() - started

    def _time_steps(self, size: int | None) -> float:
        generator = torch.Generator().manual_seed(0)
        times = []
        self._train_mode()
        for pictures, targets in itertools.islice(self._batches(0), _PROBE_STEPS + 1):
            started = time.perf_counter()
            float(self.train_step(pictures, targets, generator, size)[0])
            if self.recipe.ema:
                optim.update_average(self.average, self.network, 0, self.recipe.ema)
            times.append(time.perf_counter() - started)
        return float(np.median(times[1:] or times))

    def test_rates(self) -> RateTest:
        """The loss while the rate grows from step to step (range test: Smith, WACV 2017, section 3.3)."""
        generator = torch.Generator().manual_seed(self.recipe.seed)
        self._train_mode()
        epochs = (batch for epoch in itertools.count() for batch in self._batches(epoch))
        losses: list[float] = []
        for rate, (pictures, targets) in zip(TEST_RATES, epochs, strict=False):
            optim.set_rate(self.optimizer, rate)
            losses.append(float(self.train_step(pictures, targets, generator)[0]))
            if not losses[-1] < 4 * min(losses):
                break
        return RateTest(TEST_RATES[: len(losses)], tuple(losses))

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is done in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _scaler(recipe: Recipe, device: torch.device) -> Any:
    scaling = scaling_named(recipe.scaling)
    mean = torch.tensor(scaling.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(scaling.std, device=device).view(1, 3, 1, 1)
    if scaling.bgr:
        return lambda x: ((x - mean) / std).flip(1)
    return lambda x: (x - mean) / std


def _resident(pictures: Any, targets: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """The training set as tensors: on the device where it leaves half of the memory free, so that no step waits."""
    tensors = torch.from_numpy(pictures), torch.from_numpy(targets)
    if device.type == "cuda" and pictures.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
        return tensors[0].to(device), tensors[1].to(device)
    return tensors


@contextmanager
def _deterministic(recipe: Recipe) -> Iterator[None]:
    """Same seed, same machine, same result; PyTorch's global switches are put back afterwards."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    gpus = [torch.cuda.current_device()] if recipe.device == "cuda" else []
    settings: Any = torch.utils.deterministic
    filling = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        with torch.random.fork_rng(gpus):
            torch.manual_seed(recipe.seed)
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        settings.fill_uninitialized_memory = filling
