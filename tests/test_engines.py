"""The contract of `training.engine`, one body for both engines.

Keras runs on the backend that it is set to. The last test runs some of these on another, in a process of
its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from numpy.typing import NDArray

from whatsit.augmentation import Augmentation
from whatsit.errors import DataError, InterruptedEarlyError, OptionError, WeightsError
from whatsit.evaluation.calibration import softmax
from whatsit.events import EpochEnded, Event, NetworkBuilt, Progress, ignore
from whatsit.recipe import Facts, Recipe, choose
from whatsit.training import course
from whatsit.training.engine import TEST_RATES, Engine, Fitted, Head, TrainingData
from whatsit.wishes import Wishes

STILL = Augmentation(mirror=False, translate=0, rotate=0, zoom=0, light=0)
LABELS = ("blue", "green", "red")
SIZE = 32
NOTHING = 0.0  # a learning rate that moves nothing
HALF = {"torch": 0.04, "keras": 0.001}  # validation is judged in bfloat16 by torch, where the processor has it


@dataclass(frozen=True)
class Subject:
    """An engine, how it calls things, and what only it knows: how to save weights and look at them."""

    engine: Engine
    module: Any  # its batches
    network: str  # a small one with published weights
    arguments: dict[str, Any]
    misspelt: str
    other: str  # another network
    save: Callable[[Recipe, int, Path], Path]  # random weights of the recipe's network
    weights: Callable[[Fitted], dict[str, NDArray[Any]]]

    @property
    def name(self) -> str:
        return self.engine.name


def torch_subject() -> Subject:
    torch = pytest.importorskip("torch", reason="needs the 'train' extra")
    pytest.importorskip("timm", reason="needs the 'train' extra")
    import timm

    from whatsit.training.torch_engine import TorchEngine, batches

    def save(recipe: Recipe, n_classes: int, folder: Path) -> Path:
        model = timm.create_model(recipe.model, num_classes=n_classes, **recipe.network_args)
        torch.save(model.state_dict(), folder / "weights.pth")
        return folder / "weights.pth"

    def weights(fitted: Any) -> dict[str, NDArray[Any]]:
        return {name: value.numpy() for name, value in fitted._model.state_dict().items()}

    return Subject(TorchEngine(), batches, "test_efficientnet", {}, "mobilnetv2_100", "test_resnet", save, weights)


def keras_subject() -> Subject:
    if find_spec("keras") is None:
        pytest.skip("needs the 'keras' extra")
    from whatsit.training.keras_engine import KerasEngine, batches

    def save(recipe: Recipe, n_classes: int, folder: Path) -> Path:
        import keras

        function = getattr(keras.applications, recipe.model)
        model = function(weights=None, input_shape=(SIZE, SIZE, 3), classes=n_classes, **recipe.network_args)
        with warnings.catch_warnings(action="ignore"):  # Keras does not know NumPy's newest ways
            model.save_weights(folder / "w.weights.h5")
        return folder / "w.weights.h5"

    def weights(fitted: Any) -> dict[str, NDArray[Any]]:
        import keras

        with warnings.catch_warnings(action="ignore"):
            return {v.path: np.array(keras.ops.convert_to_numpy(v.value)) for v in fitted._model.logits.weights}

    arguments = {"alpha": 0.35}
    return Subject(KerasEngine(), batches, "MobileNetV2", arguments, "MobilNetV2", "MobileNet", save, weights)


@pytest.fixture(scope="module", params=[torch_subject, keras_subject], ids=["torch", "keras"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return request.param()


@pytest.fixture(scope="module")
def data() -> TrainingData:
    train = np.stack([coloured(label, n, SIZE) for label in LABELS for n in range(16)])
    validation = np.stack([coloured(label, n, SIZE) for label in LABELS for n in range(100, 106)])
    return TrainingData(train, np.repeat(np.arange(3), 16), validation, np.repeat(np.arange(3), 6), LABELS)


def recipe_for(subject: Subject, **changes: Any) -> Recipe:
    """Our small network from scratch, on the CPU."""
    recipe, _ = choose(
        Wishes(model="small", epochs=4, batch_size=16, framework=subject.name),
        Facts(48, 1.0, SIZE, SIZE, False),
        None,
        "cpu",
    )
    return replace(recipe, **changes)


def published(subject: Subject, weights: Path | None = None, **changes: Any) -> Recipe:
    """A network with weights from elsewhere."""
    return recipe_for(
        subject,
        model=subject.network,
        network_args=subject.arguments,
        weights=str(weights) if weights else None,
        frozen_statistics=True,
        **changes,
    )


def tutorial(subject: Subject, size: int = SIZE, **changes: Any) -> Recipe:
    wishes = Wishes(recipe="tutorial_vgg16", framework=subject.name, image_size=size, epochs=1, random_weights=True)
    recipe, _ = choose(wishes, Facts(4, 1.0, size, size, False), None, "cpu")
    return replace(recipe, **changes)


@dataclass(frozen=True)
class Undisturbed:
    recipe: Recipe
    fitted: Fitted
    events: list[Event]


@pytest.fixture(scope="module")
def undisturbed(subject: Subject, data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A whole run with everything in it that is random."""
    recipe = recipe_for(subject, mixup=0.2)
    events: list[Event] = []
    fitted = subject.engine.fit(data, recipe, None, tmp_path_factory.mktemp("run") / "last.pt", events.append)
    return Undisturbed(recipe, fitted, events)


# ---- what is asked for


def test_the_device_is_the_one_asked_for_or_the_best(subject: Subject) -> None:
    assert subject.engine.device("cpu") == "cpu"
    assert subject.engine.device(None) == subject.engine.device("auto") in ("cpu", "cuda")
    with pytest.raises(OptionError, match="cannot train on this device"):
        subject.engine.device("tpu")


def test_an_unknown_network_gets_a_suggestion(subject: Subject) -> None:
    subject.engine.check_model("small")
    subject.engine.check_model(subject.network)
    with pytest.raises(OptionError, match=r"mobilenetv2_100|MobileNetV2"):
        subject.engine.check_model(subject.misspelt)


def test_a_wrong_network_argument_is_named_before_training(subject: Subject) -> None:
    recipe = published(subject)
    with pytest.raises(OptionError, match=f"cannot build the network '{subject.network}'.*no_such_thing"):
        subject.engine.check_recipe(replace(recipe, network_args={"no_such_thing": 1}), 3)


# ---- training


def test_it_learns_and_tells_each_epoch(undisturbed: Undisturbed, data: TrainingData) -> None:
    epochs = [event for event in undisturbed.events if isinstance(event, EpochEnded)]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert tuple(epochs) == undisturbed.fitted.history
    assert epochs[-1].train_loss < epochs[0].train_loss
    steps = [event for event in undisturbed.events if isinstance(event, Progress) and event.stage == "training"]
    assert (steps[-1].done, steps[-1].total) == (12, 12)
    assert undisturbed.fitted.stopped is None
    right = undisturbed.fitted.logits(data.validation_pictures).argmax(1) == data.validation_targets
    assert right.mean() > 0.6


def test_the_best_epoch_is_what_was_kept(subject: Subject, undisturbed: Undisturbed, data: TrainingData) -> None:
    logits = undisturbed.fitted.logits(data.validation_pictures)
    best = max(undisturbed.fitted.history, key=lambda e: (e.validation_accuracy, -e.validation_loss))
    chances = softmax(logits)[np.arange(len(logits)), data.validation_targets]
    assert -np.log(chances).mean() == pytest.approx(best.validation_loss, abs=HALF[subject.name])


def test_the_layers_are_told_once_with_their_parameters(undisturbed: Undisturbed) -> None:
    (built,) = (event for event in undisturbed.events if isinstance(event, NetworkBuilt))
    rows = built.table.splitlines()
    assert rows[0].split() == ["layer", "kind", "output", "parameters"]
    assert (rows[-1].split()[0], rows[-1].split()[2:]) == ("head", ["3", "387"])
    assert sum(int(row.split()[-1].replace(",", "")) for row in rows[1:]) == built.total_parameters
    assert built.trainable_parameters == 420_971  # the convolutions', normalisations' and the last layer's
    assert undisturbed.fitted.network == built


def test_resuming_gives_what_an_undisturbed_run_gives(
    subject: Subject, undisturbed: Undisturbed, data: TrainingData, tmp_path: Path
) -> None:
    def break_off(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise RuntimeError("power cut")

    path, whole = tmp_path / "last.pt", undisturbed.fitted
    with pytest.raises(RuntimeError, match="power cut"):
        subject.engine.fit(data, undisturbed.recipe, None, path, break_off)
    told: list[Event] = []
    resumed = subject.engine.fit(data, undisturbed.recipe, None, path, told.append)
    assert [e.epoch for e in told if isinstance(e, EpochEnded)] == [1, 2, 3, 4]
    assert [e.train_loss for e in whole.history] == [e.train_loss for e in resumed.history]
    assert np.array_equal(whole.logits(data.validation_pictures), resumed.logits(data.validation_pictures))
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_ctrl_c_keeps_the_best_so_far_and_another_seed_is_another_run(
    subject: Subject, undisturbed: Undisturbed, data: TrainingData, tmp_path: Path
) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 4:  # in the second epoch of three steps each
            raise KeyboardInterrupt

    recipe = replace(undisturbed.recipe, seed=6)
    fitted = subject.engine.fit(data, recipe, None, tmp_path / "last.pt", press)
    assert fitted.stopped == "interrupted"
    assert len(fitted.history) == 1
    assert fitted.history[0].train_loss != undisturbed.fitted.history[0].train_loss


def test_ctrl_c_before_the_first_epoch_ends_keeps_nothing(subject: Subject, data: TrainingData, tmp_path: Path) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(InterruptedEarlyError):
        subject.engine.fit(data, recipe_for(subject), None, tmp_path / "last.pt", press)
    assert list(tmp_path.iterdir()) == []


def epochs_of(subject: Subject, data: TrainingData, recipe: Recipe, n: int, path: Path) -> tuple[EpochEnded, ...]:
    """The first n epochs of three steps each."""

    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 3 * n + 1:
            raise KeyboardInterrupt

    return subject.engine.fit(data, recipe, None, path, press).history


@pytest.mark.parametrize("changes", [{"augmentation": STILL}, {"mixup": 0.0}], ids=["augmentation", "mixup"])
def test_augmentation_and_mixup_change_what_is_learnt_from(
    subject: Subject, undisturbed: Undisturbed, data: TrainingData, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (epoch,) = epochs_of(subject, data, replace(undisturbed.recipe, **changes), 1, tmp_path / "last.pt")
    assert epoch.train_loss != undisturbed.fitted.history[0].train_loss


def test_mixup_has_the_classes_of_the_others_learnt_by_their_share(
    subject: Subject, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(subject, epochs=1)
    few = replace(data, train_pictures=data.train_pictures[::4], train_targets=data.train_targets[::4])
    order, others = np.random.default_rng((recipe.seed, 1)).permutation(12), np.roll(np.arange(12), 1)
    targets = np.empty_like(few.train_targets)
    targets[order] = few.train_targets[order[others]]
    head = Head(np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32), np.zeros(3, np.float32))
    monkeypatch.setattr(subject.module, "mix", lambda x, *_: (x, others, 0.0))
    mixed, swapped = (
        subject.engine.fit(of, replace(recipe, mixup=mixup), head, tmp_path / f"{mixup}.pt", ignore).history[0]
        for of, mixup in ((few, 0.2), (replace(few, train_targets=targets), 0.0))
    )
    assert mixed.train_loss == pytest.approx(swapped.train_loss, rel=1e-5)


def test_averaged_weights_are_judged_and_not_trained_on(
    subject: Subject, undisturbed: Undisturbed, data: TrainingData, tmp_path: Path
) -> None:
    plain = epochs_of(subject, data, replace(undisturbed.recipe, ema=0.0), 2, tmp_path / "last.pt")
    averaged = undisturbed.fitted.history[:2]
    assert [epoch.train_loss for epoch in plain] == [epoch.train_loss for epoch in averaged]
    assert min(abs(a.validation_loss - b.validation_loss) for a, b in zip(plain, averaged, strict=True)) > 1e-3


def test_it_stops_early_when_validation_no_longer_improves(
    subject: Subject, data: TrainingData, tmp_path: Path
) -> None:
    recipe = recipe_for(subject, epochs=30, patience=2, learning_rate=NOTHING, ema=0.0, frozen_statistics=True)
    fitted = subject.engine.fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert fitted.stopped == "early stopping"
    assert len(fitted.history) == 3


def test_a_budget_plans_epochs_and_stops_when_it_is_spent(subject: Subject, data: TrainingData, tmp_path: Path) -> None:
    assert subject.engine.plan(data, recipe_for(subject, budget=600.0), None) > 5
    recipe = recipe_for(subject, budget=1e-6, epochs=50)
    assert subject.engine.plan(data, recipe, None) == 0
    fitted = subject.engine.fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert fitted.stopped == "budget"
    assert len(fitted.history) == 1


def test_the_range_test_raises_the_rate_until_the_loss_explodes(subject: Subject, data: TrainingData) -> None:
    test = subject.engine.test_rates(data, recipe_for(subject, optimizer="sgd"), None)
    assert test.rates == TEST_RATES[: len(test.losses)]
    assert len(test.rates) > 10
    assert min(test.losses) < test.losses[0]


def test_a_file_that_is_no_checkpoint_is_refused(subject: Subject, data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="cannot resume"):
        subject.engine.fit(data, recipe_for(subject), None, tmp_path / "last.pt", ignore)


def test_both_engines_take_the_pictures_in_the_same_order(subject: Subject) -> None:
    pictures, targets = np.zeros((50, 2, 2, 3), np.uint8), np.arange(50)
    if subject.name == "torch":
        import torch

        shown = subject.module.training_batches(torch.from_numpy(pictures), torch.from_numpy(targets), STILL, 7, 3, 2)
    else:
        shown = subject.module.training_batches(pictures, targets, 7, 3, 2)
    found = [np.asarray(batch_targets) for _, batch_targets in shown]
    assert np.array_equal(np.concatenate(found), np.random.default_rng((3, 2)).permutation(50))
    assert [len(one) for one in found] == [7, 7, 6, 6, 6, 6, 6, 6]
    assert len(found) == course.steps_per_epoch(50, 7)


# ---- pretrained networks


def test_weights_come_as_they_are_saved_and_another_network_refuses_them(subject: Subject, tmp_path: Path) -> None:
    path = subject.save(published(subject), 7, tmp_path)
    recipe = published(subject, path)
    fitted = subject.engine.pretrained(recipe, 7)
    assert fitted.logits(np.zeros((2, SIZE, SIZE, 3), np.uint8)).shape == (2, 7)
    assert fitted.history == ()
    with pytest.raises(WeightsError, match=r"tensors missing|of another shape"):
        subject.engine.pretrained(recipe, 5)
    with pytest.raises(WeightsError, match="of another shape"):
        subject.engine.check_recipe(replace(recipe, model=subject.other, network_args={}), 7)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot read the weights"):
        subject.engine.check_recipe(recipe, 7)


def test_a_last_layer_is_put_on_what_the_pretrained_network_sees(
    subject: Subject, data: TrainingData, tmp_path: Path
) -> None:
    recipe = published(subject, subject.save(published(subject), 7, tmp_path))
    pictures = data.validation_pictures[:3]
    seen = subject.engine.pretrained(recipe, 7).embed(pictures)
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(seen.shape[1], 3)).astype(np.float32) / 16, rng.normal(size=3).astype(np.float32))
    fitted = subject.engine.with_head(recipe, 3, head)
    assert np.allclose(fitted.embed(pictures), seen, atol=1e-5)
    assert np.allclose(fitted.logits(pictures), head.logits(seen), atol=1e-4)
    assert not subject.engine.with_head(recipe, 3).logits(pictures).any()


def test_training_goes_on_from_a_fitted_last_layer(subject: Subject, data: TrainingData, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(128, 3)).astype(np.float32), np.array([1, 2, 3], np.float32))
    recipe = recipe_for(subject, epochs=1, learning_rate=NOTHING, frozen_statistics=True)
    fitted = subject.engine.fit(data, recipe, head, tmp_path / "last.pt", ignore)
    pictures = data.validation_pictures
    assert np.allclose(fitted.logits(pictures), head.logits(fitted.embed(pictures)), atol=1e-4)


def test_finetune_says_how_many_layers_learn(subject: Subject) -> None:
    def learning(finetune: str) -> int:
        return subject.engine.with_head(recipe_for(subject, finetune=finetune), 3).network.trainable_parameters

    head, last, one_before = 128 * 3 + 3, 128 * 128 * 9 + 2 * 128, 96 * 128 * 9 + 2 * 128
    assert learning("no") == head
    assert learning("1") == head + last
    assert learning("last") == learning("2") == head + last + one_before  # a quarter of eight layers
    assert learning("all") == learning("99") == 420_971


# ---- the tutorial


def test_the_tutorials_network_is_keras_vgg16_with_the_tutorials_head(subject: Subject) -> None:
    built = subject.engine.with_head(tutorial(subject, 224), 4).network
    head = 25_088 * 1024 + 1024 + 1024 * 4 + 4
    assert built.total_parameters == 14_714_688 + head  # keras.applications.VGG16(include_top=False).count_params()
    assert built.trainable_parameters == 3 * (512 * 512 * 9 + 512) + head
    rows = [row.split() for row in built.table.splitlines()[1:]]
    weighted = [(_channels_last(row[2]), row[3]) for row in rows if row[3] != "0"]
    assert len(weighted) == 13 + 2
    assert weighted[0] == ("224x224x64", "1,792")
    assert weighted[12:] == [("14x14x512", "2,359,808"), ("1024", "25,691,136"), ("4", "4,100")]
    pools = [_channels_last(row[2]) for row in rows if "pool" in row[1].lower()]
    assert pools == ["112x112x64", "56x56x128", "28x28x256", "14x14x512", "7x7x512"]
    assert [row[2] for row in rows if row[1] == "Flatten"] == ["25088"]


def _channels_last(shape: str) -> str:
    """PyTorch's "64x224x224" as Keras says it."""
    sides = shape.split("x")
    return "x".join([*sides[1:], sides[0]]) if len(sides) == 3 and sides[1] == sides[2] else shape


def test_in_the_tutorial_only_block_5_and_the_new_layers_learn(
    subject: Subject, data: TrainingData, tmp_path: Path
) -> None:
    few = replace(
        data,
        train_pictures=data.train_pictures[::12],
        train_targets=data.train_targets[::12],
        validation_pictures=data.validation_pictures[::9],
        validation_targets=data.validation_targets[::9],
    )
    recipe = tutorial(subject)
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size, recipe.dropout) == ("rmsprop", 1e-4, 32, 0.5)
    before, after = (
        subject.weights(subject.engine.fit(few, replace(recipe, learning_rate=rate), None, tmp_path / name, ignore))
        for rate, name in ((NOTHING, "still.pt"), (1e-4, "moved.pt"))
    )
    moved = [np.abs(a - b).max() > 1e-6 for a, b in zip(before.values(), after.values(), strict=True)]
    assert len(moved) == 2 * (13 + 2)
    assert moved == [False] * 20 + [True] * 10, [name for name, it in zip(before, moved, strict=True) if it]


# ---- the file


@pytest.mark.parametrize("scaling", ["imagenet", "caffe"])
def test_the_graph_answers_as_the_network_does(subject: Subject, data: TrainingData, scaling: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    head = Head(np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32), np.zeros(3, np.float32))
    fitted = subject.engine.with_head(recipe_for(subject, scaling=scaling), 3, head)
    graph = fitted.onnx(temperature=1.7)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [(i.name, i.type, i.shape) for i in inputs] == [("pictures", "tensor(uint8)", ["N", SIZE, SIZE, 3])]
    assert [o.name for o in outputs] == ["probabilities", "embedding"]
    for n in (1, 5, 18):
        pictures = data.validation_pictures[:n]
        probabilities, embedding = session.run(None, {"pictures": pictures})
        assert np.abs(probabilities - softmax(fitted.logits(pictures) / 1.7)).max() < 1e-5
        assert np.abs(embedding - fitted.embed(pictures)).max() < 1e-4
    for trace in (b"site-packages", b"whatsit/", b".py", str(Path.cwd()).encode()):
        assert trace not in graph


# ---- another backend


@pytest.mark.slow
def test_keras_does_the_same_on_pytorch_as_its_backend() -> None:
    if find_spec("keras") is None or find_spec("torch") is None:
        pytest.skip("needs the 'keras' and 'train' extras")
    tests = (
        test_it_learns_and_tells_each_epoch,
        test_the_best_epoch_is_what_was_kept,
        test_resuming_gives_what_an_undisturbed_run_gives,
        test_a_last_layer_is_put_on_what_the_pretrained_network_sees,
        test_in_the_tutorial_only_block_5_and_the_new_layers_learn,
    )
    chosen = [f"{__file__}::{test.__name__}[keras]" for test in tests]
    chosen.append(f"{__file__}::{test_the_graph_answers_as_the_network_does.__name__}[keras-caffe]")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout
