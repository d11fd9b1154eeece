"""Training by the fast recipe: it learns, resumes, stops, and is repeatable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from whatsit.errors import OptionError  # noqa: E402
from whatsit.events import EpochEnded, Event, Progress, ignore  # noqa: E402
from whatsit.recipe import Facts, Recipe, choose  # noqa: E402
from whatsit.training import course  # noqa: E402
from whatsit.training.engine import TrainingData  # noqa: E402
from whatsit.training.torch_engine import TorchEngine  # noqa: E402
from whatsit.training.torch_engine.loop import TorchFitted  # noqa: E402
from whatsit.wishes import Wishes  # noqa: E402

LABELS = ("blue", "green", "red")
LIKE_CIFAR10 = Facts(48_000, 1.0, 32, 32, False)


def recipe_for(**changes: Any) -> Recipe:
    """The recipe as for a large set, with a narrow network: crops, mirrors by turns, coarse pictures first."""
    wishes = Wishes(recipe="fast", epochs=4, batch_size=12, network_args={"widths": [8, 12, 12]})
    recipe, _ = choose(wishes, LIKE_CIFAR10, None, "cpu")
    return replace(recipe, **changes)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    train = np.stack([coloured(label, n, 32) for label in LABELS for n in range(16)])
    validation = np.stack([coloured(label, n, 32) for label in LABELS for n in range(100, 108)])
    return TrainingData(train, np.repeat(np.arange(3), 16), validation, np.repeat(np.arange(3), 8), LABELS)


@pytest.fixture(scope="module")
def undisturbed(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TorchEngine().fit(data, recipe_for(), None, tmp_path_factory.mktemp("whole") / "last.pt", ignore)


def without_times(history: tuple[EpochEnded, ...]) -> list[EpochEnded]:
    return [replace(epoch, seconds=0.0) for epoch in history]


def test_it_learns(undisturbed: Any, data: TrainingData) -> None:
    right = undisturbed.logits(data.validation_pictures).argmax(1) == data.validation_targets
    assert right.mean() > 0.9
    assert undisturbed.stopped is None


def test_the_same_seed_gives_the_same_network_and_another_seed_another(
    undisturbed: Any, data: TrainingData, tmp_path: Path
) -> None:
    again = TorchEngine().fit(data, recipe_for(), None, tmp_path / "again.pt", ignore)
    assert without_times(again.history) == without_times(undisturbed.history)
    assert np.array_equal(again.logits(data.validation_pictures), undisturbed.logits(data.validation_pictures))
    other = TorchEngine().fit(data, recipe_for(seed=1), None, tmp_path / "other.pt", ignore)
    assert not np.array_equal(other.logits(data.validation_pictures), undisturbed.logits(data.validation_pictures))


class _CtrlC:
    """Presses it once this many steps are done."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, event: Event) -> None:
        self.left -= isinstance(event, Progress)
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [5, 11])
def test_ctrl_c_keeps_the_best_and_resuming_gives_what_an_undisturbed_run_gives(
    steps: int, undisturbed: Any, data: TrainingData, tmp_path: Path
) -> None:
    stopped = TorchEngine().fit(data, recipe_for(), None, tmp_path / "last.pt", _CtrlC(steps))
    assert (stopped.stopped, len(stopped.history)) == ("interrupted", steps // 4)
    resumed = TorchEngine().fit(data, recipe_for(), None, tmp_path / "last.pt", ignore)
    assert without_times(resumed.history) == without_times(undisturbed.history)
    assert np.array_equal(resumed.logits(data.validation_pictures), undisturbed.logits(data.validation_pictures))


def test_the_accurate_recipe_resumes_too(data: TrainingData, tmp_path: Path) -> None:
    """With its cut out squares, a third layer in each block, and weights that are rounded at the end."""
    wishes = Wishes(recipe="accurate", epochs=4, batch_size=12, network_args={"widths": [8, 12, 12]})
    recipe, _ = choose(wishes, LIKE_CIFAR10, None, "cpu")
    whole = TorchEngine().fit(data, recipe, None, tmp_path / "whole.pt", ignore)
    stopped = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", _CtrlC(7))
    assert stopped.stopped == "interrupted"
    resumed = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert without_times(resumed.history) == without_times(whole.history)
    assert np.array_equal(resumed.logits(data.validation_pictures), whole.logits(data.validation_pictures))


def test_coarse_pictures_are_shown_first(data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whatsit.training.torch_engine.own_networks import CompactNetwork

    shown = []
    embed = CompactNetwork.embed

    def noting(network: Any, x: Any) -> Any:
        if network.training:
            shown.append(x.shape[-1])
        return embed(network, x)

    monkeypatch.setattr(CompactNetwork, "embed", noting)
    TorchEngine().fit(data, recipe_for(epochs=2), None, tmp_path / "last.pt", ignore)
    assert shown == [24] * 4 + [32] * 4


@pytest.mark.parametrize("bf16", [True, False])
def test_it_computes_channels_last_and_in_bfloat16_where_that_is_fast(
    bf16: bool, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.training.torch_engine import loop
    from whatsit.training.torch_engine.own_networks import CompactNetwork

    seen = set()
    embed = CompactNetwork.embed

    def noting(network: Any, x: Any) -> Any:
        result = embed(network, x)
        if network.training:
            last = torch.channels_last
            filters = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
            lie_so = all(p.is_contiguous(memory_format=last) for p in filters)
            seen.add((x.is_contiguous(memory_format=last), lie_so, result.dtype == torch.bfloat16))
        return result

    monkeypatch.setattr(loop, "has_fast_bf16", lambda device: bf16)
    monkeypatch.setattr(CompactNetwork, "embed", noting)
    TorchEngine().fit(data, recipe_for(epochs=1), None, tmp_path / "last.pt", ignore)
    assert seen == {(True, True, bf16)}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_learns_stops_and_resumes_on_cuda(data: TrainingData, tmp_path: Path) -> None:
    recipe = recipe_for(device="cuda")
    whole = TorchEngine().fit(data, recipe, None, tmp_path / "whole.pt", ignore)
    assert (whole.logits(data.validation_pictures).argmax(1) == data.validation_targets).mean() > 0.9
    TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", _CtrlC(7))
    resumed = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert np.allclose(resumed.logits(data.validation_pictures), whole.logits(data.validation_pictures), atol=1e-2)


def test_where_a_picture_is_cut_out_does_not_depend_on_how_it_is_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the same numbers, 9 shifts and 21 places would leave the same remainder by 3."""
    from whatsit.training.torch_engine import batches

    shifts, places = [], []
    moved, randint = batches.moved, torch.randint
    monkeypatch.setattr(
        batches, "moved", lambda x, shift, mirrored: (shifts.append(shift), moved(x, shift, mirrored))[1]
    )
    monkeypatch.setattr(torch, "randint", lambda *args, **more: (places.append(randint(*args, **more)), places[-1])[1])
    how = choose(Wishes(recipe="accurate"), LIKE_CIFAR10, None, "cpu")[0].augmentation
    generator = torch.Generator().manual_seed(7 * 1_000_003 + 1)  # as `run_epoch` has it for seed 7, epoch 1
    x, y = torch.zeros(600, 32, 32, 3, dtype=torch.uint8), torch.zeros(600, dtype=torch.int64)
    for pictures, _ in batches.training_batches(x, y, how, 600, 7, 1):
        batches.augment(batches.to_network(pictures, torch.device("cpu")), how, generator)
    down, start = shifts[0][0] + how.crop, places[0].flatten()
    assert (down.min(), down.max(), start.min(), start.max()) == (0, 8, 0, 20)
    assert 0.25 < (down % 3 == start % 3).double().mean() < 0.42


def test_time_left_counts_a_step_with_coarse_pictures_by_their_pixels() -> None:
    recipe = recipe_for(epochs=2)
    assert [course.effort(step, 16, recipe) for step in (0, 4, 8, 16)] == [0, 2, 4, 12]  # 24 of 32 pixels: 9/16
    assert course.effort(7, 16, replace(recipe, start_size=0)) == 7


def test_progress_of_training_is_told_in_such_efforts(data: TrainingData, tmp_path: Path) -> None:
    told: list[Event] = []
    TorchEngine().fit(data, recipe_for(epochs=4), None, tmp_path / "last.pt", told.append)
    training = [(event.done, event.total) for event in told if isinstance(event, Progress)]
    assert (training[7], training[-1]) == ((4, 12), (12, 12))


def test_the_rate_falls_to_zero_on_a_line() -> None:
    rates = [course.rate_at(step, 10, recipe_for()) for step in range(11)]
    assert rates == pytest.approx([0.24 * (1 - step / 10) for step in range(11)])


def test_a_target_ends_the_training_once_it_is_surely_reached(data: TrainingData, tmp_path: Path) -> None:
    recipe = recipe_for(epochs=12, target=0.8)
    fitted = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert fitted.stopped == "target"
    best = max(epoch.validation_accuracy for epoch in fitted.history)
    assert best >= 0.8 + np.sqrt(0.8 * 0.2 / 24)
    assert all(epoch.validation_accuracy < 0.8 + np.sqrt(0.8 * 0.2 / 24) for epoch in fitted.history[:-1])


def test_a_budget_is_planned_with_coarse_and_whole_pictures(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.training.torch_engine import loop

    monkeypatch.setattr(loop._Trainer, "_time_steps", lambda _, size: 10.0 if size == 24 else 30.0)
    # 4 steps an epoch, half of them at 10 s and half at 30 s: 80 s, and a moment for judging
    assert [TorchEngine().plan(data, recipe_for(budget=float(n)), None) for n in (79, 100, 170)] == [0, 1, 2]


def test_a_batch_larger_than_the_set_is_as_large_as_the_set(data: TrainingData, tmp_path: Path) -> None:
    whole, larger = (
        TorchEngine().fit(data, recipe_for(batch_size=size), None, tmp_path / f"{size}.pt", ignore)
        for size in (48, 60_000)
    )
    assert np.array_equal(whole.logits(data.validation_pictures), larger.logits(data.validation_pictures))


@pytest.mark.parametrize(
    ("wishes", "facts"),
    [
        (Wishes(recipe="accurate", network_args={"widths": [8, 12, 12]}), LIKE_CIFAR10),
        (Wishes(), replace(LIKE_CIFAR10, n_train=48)),
        (Wishes(), replace(LIKE_CIFAR10, grey=True)),
    ],
    ids=["accurate", "few pictures", "grey"],
)
def test_every_kind_of_it_trains_and_exports(wishes: Wishes, facts: Facts, data: TrainingData, tmp_path: Path) -> None:
    import onnxruntime

    recipe, _ = choose(replace(wishes, epochs=3, batch_size=12), facts, None, "cpu")
    recipe = replace(recipe, network_args={**recipe.network_args, "widths": [8, 12, 12]})
    fitted = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", ignore)
    logits = fitted.logits(data.validation_pictures)
    assert (logits.argmax(1) == data.validation_targets).mean() > 0.6
    session = onnxruntime.InferenceSession(fitted.onnx(1.0), providers=["CPUExecutionProvider"])
    answers = session.run(["probabilities"], {"pictures": data.validation_pictures})[0]
    assert np.allclose(answers, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"network_args": {"widths": [8, 8], "depth": 5}},
        {"network_args": {"widths": 7}},
        {"network_args": {"widths": "abc"}},
        {"network_args": {"widths": [0, 0]}},
        {"network_args": {"width": [8]}},
        {"network_args": {"widths": [8] * 5}},  # more halvings than the coarse pictures have pixels for
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_training(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        TorchEngine().check_recipe(recipe_for(**changes), 3)


def test_the_graph_looks_at_all_views_of_a_picture(undisturbed: Any, data: TrainingData) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(undisturbed.onnx(1.0), providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    answers, seen = session.run(["probabilities", "embedding"], {"pictures": pictures})
    one_look = replace(undisturbed._recipe, views=1)
    plain = TorchFitted(undisturbed._model.network, one_look, undisturbed.network).embed(pictures)
    assert not np.allclose(seen, plain, rtol=0.01)
    assert np.allclose(seen, undisturbed.embed(pictures), rtol=1e-4, atol=1e-5 * np.abs(seen).max())
    logits = undisturbed.logits(pictures)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(answers, expected, atol=1e-5)


@pytest.mark.parametrize(("accuracy", "n", "stopped"), [(0.909, 400, None), (0.916, 400, "target"), (0.916, 100, None)])
def test_validation_must_have_the_target_with_a_standard_error_to_spare(
    accuracy: float, n: int, stopped: str | None
) -> None:
    ended = EpochEnded(1, 4, 1.0, 0.5, 1.0, accuracy, 0.1, 1.0, best=True)
    assert course.reason_to_stop([ended], 0, 1.0, recipe_for(target=0.9), n) == stopped


def test_a_target_near_all_does_not_ask_for_more_than_all() -> None:
    ended = EpochEnded(1, 4, 1.0, 0.5, 1.0, 1.0, 0.1, 1.0, best=True)
    assert course.reason_to_stop([ended], 0, 1.0, recipe_for(target=0.99), 20) == "target"


def test_muon_has_the_filters_and_sgd_what_grows_with_the_batch() -> None:
    from whatsit.training.torch_engine import networks, optim

    network = networks.build(recipe_for(), 3)
    filters, offsets, head = optim.muon_for(network, 50.0).param_groups
    assert {parameter.ndim for parameter in filters["params"]} == {4}
    assert len(filters["params"]) == len(offsets["params"]) == 6  # not the whitening filters, which do not learn
    assert [parameter is network.last_layer().weight for parameter in head["params"]] == [True]
    # airbench's 0.053 and 0.67 for a summed loss, at a rate of 0.24 for the filters
    assert (filters["scale"], 0.24 * offsets["scale"], 0.24 * head["scale"]) == pytest.approx(
        (1, 50 * 0.053, 50 * 0.67)
    )
