"""The PyTorch engine: networks, batches, schedule, loop, checkpoint, export."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from whatsit.augmentation import Augmentation  # noqa: E402
from whatsit.errors import DataError, InterruptedEarlyError, OptionError, WeightsError  # noqa: E402
from whatsit.evaluation.calibration import softmax  # noqa: E402
from whatsit.events import EpochEnded, Event, Progress, ignore  # noqa: E402
from whatsit.preprocess import Preprocess, scaling_named  # noqa: E402
from whatsit.recipe import Facts, Recipe, choose  # noqa: E402
from whatsit.training import course  # noqa: E402
from whatsit.training.engine import TrainingData  # noqa: E402
from whatsit.training.torch_engine import TorchEngine, batches, checkpoint, networks, optim  # noqa: E402
from whatsit.wishes import Wishes  # noqa: E402

STILL = Augmentation(mirror=False, translate=0, rotate=0, zoom=0, light=0)
LABELS = ("blue", "green", "red")


def recipe_for(**changes: Any) -> Recipe:
    recipe, _ = choose(Wishes(model="small", epochs=2, batch_size=16), Facts(48, 1.0, 24, 24, False), None, "cpu")
    return replace(recipe, **changes)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    train = np.stack([coloured(label, n) for label in LABELS for n in range(16)])
    validation = np.stack([coloured(label, n) for label in LABELS for n in range(100, 106)])
    return TrainingData(train, np.repeat(np.arange(3), 16), validation, np.repeat(np.arange(3), 6), LABELS)


def pixels(n: int = 4, size: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


# ---- networks


@pytest.mark.parametrize("size", [16, 32, 64, 96])
def test_the_small_network_takes_small_and_larger_pictures(size: int) -> None:
    network = networks.build(recipe_for(preprocess=Preprocess("squash", (size, size))), 5).eval()
    x = torch.zeros(2, 3, size, size)
    assert network(x).shape == (2, 5)
    assert network.embed(x).shape == (2, 128)


def test_summary_counts_every_parameter_and_names_every_layer() -> None:
    network = networks.build(recipe_for(), 3)
    built = networks.summary(network, (24, 24))
    assert built.total_parameters == sum(p.numel() for p in network.parameters())
    assert built.trainable_parameters == built.total_parameters
    rows = built.table.splitlines()
    assert rows[0].split() == ["layer", "kind", "output", "parameters"]
    assert rows[-1].split() == ["head", "Linear", "3", "387"]
    listed = sum(int(row.split()[-1].replace(",", "")) for row in rows[1:])
    assert listed == built.total_parameters


def test_an_unknown_network_gets_a_suggestion() -> None:
    with pytest.raises(OptionError, match="mobilenetv2_100"):
        TorchEngine().check_model("mobilnetv2_100")


@pytest.mark.parametrize("argument", ["checkpoint_path", "pretrained_cfg_overlay", "cache_dir"])
def test_arguments_that_would_read_other_files_are_refused(argument: str) -> None:
    with pytest.raises(OptionError, match=f"the argument '{argument}'"):
        networks.build(recipe_for(model="resnet10t", network_args={argument: "elsewhere"}), 3)


def test_a_wrong_network_argument_is_named() -> None:
    with pytest.raises(OptionError, match="cannot build the network 'resnet10t'"):
        networks.build(recipe_for(model="resnet10t", network_args={"no_such_thing": 1}), 3)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_035", "vit_tiny_patch16_224"])
def test_any_timm_network_answers_as_timm_has_it(name: str) -> None:
    size = 224 if name.startswith("vit") else 64
    network = networks.build(recipe_for(model=name, preprocess=Preprocess("squash", (size, size))), 3).eval()
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert torch.allclose(network(x), network.model(x), atol=1e-5)


def weights_of(network: Any, path: Path, prefix: str = "") -> Path:
    torch.save({"state_dict": {f"{prefix}{k}": v for k, v in network.model.state_dict().items()}}, path)
    return path


def test_weights_are_loaded_all_but_the_last_layer(tmp_path: Path) -> None:
    recipe = recipe_for(model="resnet10t", preprocess=Preprocess("squash", (64, 64)))
    torch.manual_seed(1)
    original = networks.build(recipe, 7)
    path = weights_of(original, tmp_path / "w.pth", prefix="module.")
    torch.manual_seed(2)
    loaded = networks.build(replace(recipe, weights=str(path)), 3)
    theirs, ours = original.model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours if not name.startswith("fc."))
    assert ours["fc.weight"].shape == (3, 512)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = weights_of(networks.build(recipe_for(model="resnet10t"), 3), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="tensors missing"):
        networks.build(recipe_for(model="mobilenetv2_035", weights=str(path)), 3)


def test_a_weights_file_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(WeightsError, match="without code"):
        networks.build(recipe_for(model="resnet10t", weights=str(path)), 3)
    assert not (tmp_path / "ran").exists()


def test_the_small_network_takes_no_pretrained_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="network 'small'"):
        networks.build(recipe_for(weights=str(tmp_path / "w.pth")), 3)


# ---- batches


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own() -> None:
    pictures, targets = torch.from_numpy(pixels(50, 8)), torch.arange(50)
    first, again, second = (
        torch.cat([t for _, t in batches.training_batches(pictures, targets, STILL, 8, 0, epoch)]).tolist()
        for epoch in (1, 1, 2)
    )
    assert sorted(first) == list(range(50))
    assert list(first) == list(again)
    assert list(first) != list(second)


@pytest.mark.parametrize(("n", "size", "steps"), [(64, 16, 4), (65, 16, 5), (66, 16, 5), (3, 16, 1)])
def test_batches_are_even_and_steps_count_them(n: int, size: int, steps: int) -> None:
    pictures, targets = torch.from_numpy(pixels(n, 8)), torch.arange(n)
    lengths = [len(t) for _, t in batches.training_batches(pictures, targets, STILL, size, 0, 1)]
    assert len(lengths) == steps == course.steps_per_epoch(n, size)
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_a_batch_of_one_joins_no_batch_norm() -> None:
    lengths = [len(t) for _, t in batches.training_batches(torch.zeros(3, 8, 8, 3), torch.arange(3), STILL, 2, 0, 1)]
    assert lengths == [2]


def test_pictures_are_mirrored_every_other_epoch() -> None:
    pictures, targets = torch.from_numpy(pixels(40, 8)), torch.arange(40)
    how = replace(STILL, mirror=True, alternate=True)

    def mirrored(epoch: int) -> list[bool]:
        found = {}
        for batch, places in batches.training_batches(pictures, targets, how, 7, 3, epoch):
            for picture, place in zip(batch, places.tolist(), strict=True):
                assert torch.equal(picture, pictures[place]) or torch.equal(picture, pictures[place].flip(1))
                found[place] = torch.equal(picture, pictures[place].flip(1))
        return [found[place] for place in range(40)]

    first, second, third = mirrored(1), mirrored(2), mirrored(3)
    assert 8 < sum(first) < 32
    assert second == [not one for one in first]
    assert third == first


def test_a_shifted_picture_is_what_is_cut_from_reflected_margins() -> None:
    pictures = torch.from_numpy(pixels(6, 8))
    shift = torch.tensor([[0, 2, -2, 1, 0, -1], [0, -2, 1, 0, 2, 2]])
    flags = torch.tensor([False, False, False, True, True, False])
    found = batches.moved(pictures, shift, flags)
    for picture, down, right, flag, out in zip(pictures.numpy(), *shift.tolist(), flags.tolist(), found, strict=True):
        wide = np.pad(picture, ((2, 2), (2, 2), (0, 0)), "reflect")
        cut = wide[2 - down : 10 - down, 2 - right : 10 - right]
        assert np.array_equal(out.numpy(), cut[:, ::-1] if flag else cut)


def test_cutout_hides_a_square_of_that_size_in_each_picture() -> None:
    x = torch.ones(30, 3, 16, 16)
    out = batches.augment(x, replace(STILL, cutout=5), torch.Generator().manual_seed(0))
    hidden = (out == 0.5).all(dim=1)
    assert hidden.sum(dim=(1, 2)).tolist() == [25] * 30
    assert {(int(h.any(1).sum()), int(h.any(0).sum())) for h in hidden} == {(5, 5)}
    assert len({tuple(h.flatten().tolist()) for h in hidden}) > 10


def test_augmentation_by_nothing_changes_nothing() -> None:
    x = batches.to_network(torch.from_numpy(pixels()), torch.device("cpu"))
    same = batches.augment(x, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(x, same, atol=1e-5)


def test_augmentation_stays_in_range_and_follows_its_generator() -> None:
    x = batches.to_network(torch.from_numpy(pixels()), torch.device("cpu"))
    how = Augmentation(True, 0.1, 10, 0.3, 0.2)
    one, same, other = (batches.augment(x, how, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 1


def test_a_mirrored_picture_is_the_picture_mirrored() -> None:
    x = batches.to_network(torch.from_numpy(pixels(32)), torch.device("cpu"))
    out = batches.augment(x, replace(STILL, mirror=True), torch.Generator().manual_seed(0))
    kept = [torch.allclose(a, b, atol=1e-4) for a, b in zip(x, out, strict=True)]
    turned = [torch.allclose(a.flip(2), b, atol=1e-4) for a, b in zip(x, out, strict=True)]
    assert all(k != t for k, t in zip(kept, turned, strict=True))
    assert 4 < sum(turned) < 28


# ---- schedule and loss


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    recipe = recipe_for(learning_rate=1.0, warmup=0.1)
    rates = [course.rate_at(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_the_pretrained_layers_learn_more_slowly_than_the_last() -> None:
    network = networks.build(recipe_for(), 3)
    optimizer = optim.optimizer_for(network, recipe_for(backbone_rate=0.1, layer_decay=0.8, learning_rate=1.0), 16)
    optim.set_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(network.head.weight)] == pytest.approx(0.5)
    convolutions = [module for module in network.stages.modules() if isinstance(module, torch.nn.Conv2d)]
    slower = [0.05 * 0.8**before_the_last for before_the_last in range(len(convolutions))]
    assert [rates[id(module.weight)] for module in reversed(convolutions)] == pytest.approx(slower)
    assert decays[id(network.head.bias)] == 0
    assert decays[id(network.head.weight)] > 0
    assert len(rates) == len(list(network.parameters()))


def test_the_average_follows_the_weights_and_none_copies_them() -> None:
    network, average = networks.build(recipe_for(), 3), networks.build(recipe_for(), 3)
    start = average.head.weight.clone()
    optim.update_average(average, network, step=10_000, decay=0.9)
    assert torch.allclose(average.head.weight, 0.9 * start + 0.1 * network.head.weight)
    optim.update_average(average, network, step=10_000, decay=0.0)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))


def test_rare_classes_weigh_more_and_the_mean_weight_is_one() -> None:
    targets = np.array([0] * 90 + [1] * 10)
    weight = optim.loss_for(recipe_for(class_weights=True), targets, 2).weight.numpy()
    assert weight[1] / weight[0] == pytest.approx(3.0)
    assert weight[targets].mean() == pytest.approx(1.0)
    assert optim.loss_for(recipe_for(class_weights=False), targets, 2).weight is None


# ---- the loop


def test_it_learns_and_tells_each_epoch(data: TrainingData, tmp_path: Path) -> None:
    events: list[Event] = []
    fitted = TorchEngine().fit(data, recipe_for(epochs=4), None, tmp_path / "last.pt", events.append)
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert tuple(epochs) == fitted.history
    steps = [event for event in events if isinstance(event, Progress)]
    assert (steps[-1].done, steps[-1].total) == (12, 12)
    assert (fitted.logits(data.validation_pictures).argmax(1) == data.validation_targets).mean() > 0.6


def test_the_same_seed_gives_the_same_network_and_another_seed_another(data: TrainingData, tmp_path: Path) -> None:
    def logits(seed: int, name: str) -> NDArray[np.float32]:
        fitted = TorchEngine().fit(data, recipe_for(seed=seed), None, tmp_path / name, ignore)
        return fitted.logits(data.validation_pictures)

    assert np.array_equal(logits(5, "a"), logits(5, "b"))
    assert not np.array_equal(logits(5, "c"), logits(6, "d"))


def test_resuming_gives_what_an_undisturbed_run_gives(data: TrainingData, tmp_path: Path) -> None:
    recipe = recipe_for(epochs=5)
    whole = TorchEngine().fit(data, recipe, None, tmp_path / "whole.pt", ignore)

    def break_off(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        TorchEngine().fit(data, recipe, None, tmp_path / "broken.pt", break_off)
    told: list[Event] = []
    resumed = TorchEngine().fit(data, recipe, None, tmp_path / "broken.pt", told.append)
    assert np.array_equal(whole.logits(data.validation_pictures), resumed.logits(data.validation_pictures))
    assert [e.epoch for e in told if isinstance(e, EpochEnded)] == [1, 2, 3, 4, 5]
    assert [e.train_loss for e in whole.history] == [e.train_loss for e in resumed.history]


def test_the_best_epoch_is_kept_not_the_last(data: TrainingData, tmp_path: Path) -> None:
    """The rate explodes after the first epochs, so later networks are worse."""
    fitted = TorchEngine().fit(data, recipe_for(epochs=6, learning_rate=0.5), None, tmp_path / "last.pt", ignore)
    right = (fitted.logits(data.validation_pictures).argmax(1) == data.validation_targets).mean()
    best = max(epoch.validation_accuracy for epoch in fitted.history)
    assert right == pytest.approx(best, abs=0.06)  # judged in bfloat16 there, in float32 here


def test_it_stops_early_when_validation_no_longer_improves(data: TrainingData, tmp_path: Path) -> None:
    recipe = recipe_for(epochs=30, patience=2, learning_rate=1e-9)
    fitted = TorchEngine().fit(data, recipe, None, tmp_path / "last.pt", ignore)
    assert fitted.stopped == "early stopping"
    assert len(fitted.history) < 30


def test_it_stops_when_the_budget_is_spent(data: TrainingData, tmp_path: Path) -> None:
    fitted = TorchEngine().fit(data, recipe_for(epochs=50, budget=0.001), None, tmp_path / "last.pt", ignore)
    assert fitted.stopped == "budget"
    assert len(fitted.history) == 1


def test_a_larger_budget_plans_more_epochs(data: TrainingData) -> None:
    short, long = (TorchEngine().plan(data, recipe_for(budget=seconds), None) for seconds in (0.001, 60.0))
    assert short == 0
    assert long > 5


def test_ctrl_c_keeps_the_best_so_far(data: TrainingData, tmp_path: Path) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 7:  # in the third epoch of three steps each
            raise KeyboardInterrupt

    fitted = TorchEngine().fit(data, recipe_for(epochs=9), None, tmp_path / "last.pt", press)
    assert fitted.stopped == "interrupted"
    assert len(fitted.history) == 2
    assert checkpoint.load(tmp_path / "last.pt").epochs_done == 2


def test_ctrl_c_before_the_first_epoch_ends_keeps_nothing(data: TrainingData, tmp_path: Path) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(InterruptedEarlyError):
        TorchEngine().fit(data, recipe_for(), None, tmp_path / "last.pt", press)
    assert list(tmp_path.iterdir()) == []


def test_pretrained_statistics_stay_as_they_were(data: TrainingData, tmp_path: Path) -> None:
    for frozen in (True, False):
        recipe = recipe_for(epochs=1, frozen_statistics=frozen)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            before = networks.build(recipe, 3).state_dict()["stages.0.1.running_mean"]
        TorchEngine().fit(data, recipe, None, tmp_path / f"{frozen}.pt", ignore)
        after = checkpoint.load(tmp_path / f"{frozen}.pt").best["stages.0.1.running_mean"]
        assert torch.equal(before, after) is frozen


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_memory_that_a_step_frees_stays_for_the_next_one_and_is_given_back_after_the_last() -> None:
    code = """
import numpy as np
from whatsit.training.torch_engine.memory import freed_memory_kept
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
def step():
    a = np.ones(200 * 2**20, np.uint8)
before = resident()
with freed_memory_kept():
    step()
    print(resident() - before)
print(resident() - before)
step()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1200, check=True)
    during, after, later = map(float, done.stdout.split())
    assert 180 <= during <= 300
    assert max(after, later) <= 100


@pytest.mark.parametrize(("strict", "warns"), [(False, False), (True, True), (True, False)])
def test_pytorchs_global_switches_are_put_back(strict: bool, warns: bool, data: TrainingData, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    torch.use_deterministic_algorithms(strict, warn_only=warns)
    try:
        TorchEngine().fit(data, recipe_for(epochs=1), None, tmp_path / "last.pt", ignore)
        assert torch.are_deterministic_algorithms_enabled() is strict
        assert torch.is_deterministic_algorithms_warn_only_enabled() is warns
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(before, torch.get_rng_state())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot train on this device"):
        TorchEngine().device("tpu")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="cannot resume"):
        checkpoint.load(path)


def test_a_checkpoint_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"network": Bomb()}, tmp_path / "last.pt")
    with pytest.raises(DataError, match="cannot resume"):
        checkpoint.load(tmp_path / "last.pt")
    assert not (tmp_path / "ran").exists()


# ---- export


@pytest.mark.parametrize("scaling", ["imagenet", "-1..1", "0..1", "0..255"])
def test_the_graph_answers_as_the_network_does(data: TrainingData, tmp_path: Path, scaling: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    fitted = TorchEngine().fit(data, recipe_for(epochs=1, scaling=scaling), None, tmp_path / "last.pt", ignore)
    graph = fitted.onnx(temperature=1.7)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [(i.name, i.type, i.shape[1:]) for i in inputs] == [("pictures", "tensor(uint8)", [24, 24, 3])]
    assert [o.name for o in outputs] == ["probabilities", "embedding"]
    for n in (1, 5, 18):
        pictures = data.validation_pictures[:n]
        probabilities, embedding = session.run(None, {"pictures": pictures})
        assert embedding.shape == (n, 128)
        assert np.abs(probabilities - softmax(fitted.logits(pictures) / 1.7)).max() < 1e-5


@pytest.mark.parametrize(("name", "arguments"), [("mobilenetv2_050", {"pad_type": "same"}), ("test_vit", {})])
def test_every_kind_of_network_is_exported_with_a_free_batch(
    name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """Plain convolutional networks by the older exporter, with fixed margins, and others by the newer."""
    import onnx

    from whatsit.runtime.onnxruntime_engine import OnnxRuntimeEngine

    size = 64 if name.startswith("mobilenet") else 160
    preprocess = Preprocess("squash", (size, size))
    recipe = recipe_for(model=name, network_args=arguments, preprocess=preprocess, scaling="imagenet")
    fitted = TorchEngine().with_head(recipe, 4)
    (tmp_path / "m.onnx").write_bytes(fitted.onnx(1.0))
    pictures = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), np.uint8)
    for some in (pictures[:1], pictures):
        probabilities, embedding = OnnxRuntimeEngine(tmp_path / "m.onnx").run(some)
        np.testing.assert_allclose(embedding, fitted.embed(some), atol=1e-3)
        assert probabilities.shape == (len(some), 4)
    operations = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert "Ceil" not in operations  # margins are constants


def test_the_graph_names_no_file_of_this_machine(data: TrainingData, tmp_path: Path) -> None:
    graph = TorchEngine().fit(data, recipe_for(epochs=1), None, tmp_path / "last.pt", ignore).onnx(1.0)
    for trace in (b"site-packages", b"whatsit/", b".py", str(tmp_path).encode()):
        assert trace not in graph


def test_scaling_is_inside_the_graph_once() -> None:
    scaling = scaling_named("imagenet")
    network = networks.build(recipe_for(scaling="imagenet"), 3).eval()
    from whatsit.training.torch_engine.export import Answering

    pictures = torch.from_numpy(pixels())
    with torch.inference_mode():
        answered, _ = Answering(copy.deepcopy(network), recipe_for(scaling="imagenet"), 1.0)(pictures)
        x = (pictures.permute(0, 3, 1, 2) / 255 - torch.tensor(scaling.mean).view(1, 3, 1, 1)) / torch.tensor(
            scaling.std
        ).view(1, 3, 1, 1)
        assert torch.allclose(answered, torch.softmax(network(x), 1), atol=1e-6)
