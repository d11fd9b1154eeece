"""Transfer: the network is looked through once, a last layer is fitted, and the file is the network with that layer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the 'train' extra")

import torch
from safetensors.torch import save_file

from whatsit import learning, pipeline, resizing
from whatsit.cache import ContentCache
from whatsit.dataset import from_pairs, read
from whatsit.errors import InterruptedEarlyError, OptionError, ParityError, WeightsError
from whatsit.evaluation.calibration import cross_entropy, softmax
from whatsit.events import Decision, EpochEnded, Event, Progress, ignore
from whatsit.recipe import Facts, choose
from whatsit.runtime.onnxruntime_engine import OnnxRuntimeEngine
from whatsit.training.engine import Head, RateTest
from whatsit.transfer import backbone as backbones
from whatsit.transfer import features, graph, head
from whatsit.weights import describe
from whatsit.wishes import Wishes

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of timm's with random weights, described as weights are."""
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file({k: v.contiguous() for k, v in timm.create_model("test_resnet").state_dict().items()}, path)
    path.with_name(path.name + ".json").write_text(
        '{"name": "timm:test_resnet", "framework": "torch", "network": "timm:test_resnet", "input_size": [32, 32],'
        ' "preprocess": "imagenet", "licence": "none"}'
    )
    return path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_last_layer_on_frozen_features_makes_a_whole_classifier(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    photos = make_photos(red=20, green=20, blue=20)
    trained = pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "run", on_event=events.append)
    assert trained.report.accuracy > 0.9
    assert trained.epochs == 0
    assert not [event for event in events if isinstance(event, EpochEnded)]
    said = " ".join(f"{event.what}: {event.why}" for event in events if isinstance(event, Decision))
    assert "stays as it is" in said
    assert "regularisation" in said
    assert trained.report.pictures
    assert (tmp_path / "run" / "report.html").exists()
    judged = pipeline.evaluate(pipeline.OpenModel(trained.model), pipeline.sources.open_data(photos), "test")
    assert judged.report.accuracy == trained.report.accuracy
    assert [p.score for p in judged.report.pictures] == pytest.approx(
        [p.score for p in trained.report.pictures], abs=1e-5
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_with_keras_the_run_holds_the_same_network_for_keras(
    make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    keras = pytest.importorskip("keras", reason="needs the 'keras' extra")
    arguments = {"alpha": 0.35}
    published = tmp_path / "mobilenet.weights.h5"
    keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), **arguments).save_weights(published)
    wishes = Wishes(
        framework="keras",
        model="keras:MobileNetV2",
        network_args=arguments,
        weights=published,
        preprocess="-1..1",
        image_size=32,
    )
    trained = pipeline.train(make_photos(red=20, green=20), wishes, out=tmp_path / "run")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    native = keras.saving.load_model(tmp_path / "run" / "model.keras")
    temperature = pipeline.OpenModel(trained.model).manifest.calibration["temperature"]
    logits = np.log(np.asarray(native(pictures.astype(np.float32)))) / temperature
    expected, _ = OnnxRuntimeEngine(trained.model).run(pictures)
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-4)
    assert np.abs(expected - 0.5).max() > 0.1


def test_training_again_looks_only_at_new_pictures(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(**counts: int) -> int:
        events: list[Event] = []
        first = counts.pop("first", 0)
        photos = make_photos(first=first, **counts)
        pipeline.train(photos, Wishes(weights=weights), out=tmp_path / f"run{first}", on_event=events.append)
        totals = [
            e.total
            for e in events
            if isinstance(e, Progress) and e.stage == "looking at pictures" and e.done == e.total
        ]
        return sum(totals)

    assert looked_at(red=12, green=12) == 24
    assert looked_at(red=3, green=3, first=12) == 6
    assert looked_at(red=0, green=0, first=99) == 0
    monkeypatch.setattr(resizing, "shrinks_with", lambda: "another library")  # which makes other pixels
    assert looked_at(red=0, green=0, first=999) == 30


def test_relabelled_pictures_are_not_looked_at_again_either(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    photos = make_photos(red=12, green=12, blue=12)
    pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "one")
    for number in range(3):
        (photos / "red" / f"00{number}.png").rename(photos / "green" / f"red{number}.png")
    events: list[Event] = []
    pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "two", on_event=events.append)
    assert not [event for event in events if isinstance(event, Progress) and event.stage == "looking at pictures"]


def test_a_second_run_needs_no_framework(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos(red=12, green=12)
    first = pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "one")

    def refuse(framework: str) -> Any:
        raise AssertionError("the framework was asked for")

    monkeypatch.setattr(pipeline, "_engine", refuse)
    second = pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "two")
    assert second.report == first.report


def test_fine_tuning_goes_on_from_the_head_and_the_better_one_is_kept(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    wishes = Wishes(weights=weights, finetune="last", epochs=2, mixup=0.2, learning_rate="auto", batch_size=8)
    trained = pipeline.train(make_photos(red=16, green=16), wishes, out=tmp_path / "run", on_event=events.append)
    assert len([event for event in events if isinstance(event, EpochEnded)]) == 2
    kept = [event.what for event in events if isinstance(event, Decision) and event.what.endswith("network is kept")]
    assert kept in (["the frozen network is kept"], ["the fine-tuned network is kept"])
    assert trained.epochs == 2
    assert (tmp_path / "run" / "rate_test.png").stat().st_size > 1000


def test_worse_fine_tuning_is_thrown_away(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    wishes = Wishes(weights=weights, finetune="all", epochs=1, learning_rate=9.0, ema=0.0, batch_size=4)
    trained = pipeline.train(
        make_photos(red=16, green=16, blue=16), wishes, out=tmp_path / "run", on_event=events.append
    )
    assert any(isinstance(event, Decision) and event.what == "the frozen network is kept" for event in events)
    assert trained.report.accuracy > 0.8


SURE, LESS_SURE, WRONG = [[3, 0], [0, 3]], [[1, 0], [0, 1]], [[3, 0], [3, 0]]


@pytest.mark.parametrize(
    ("frozen", "tuned", "kept"),
    [
        (WRONG, LESS_SURE, "tuned"),
        (LESS_SURE, WRONG, "frozen"),
        (LESS_SURE, SURE, "tuned"),
        (SURE, LESS_SURE, "frozen"),
        (SURE, SURE, "frozen"),
    ],
)
def test_what_is_better_on_validation_is_kept(
    frozen: list[list[float]], tuned: list[list[float]], kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Higher accuracy, and of equal ones the lower loss; the frozen network where nothing was gained."""
    recipe = replace(choose(Wishes(model="small"), Facts(2, 1.0, 32, 32, False), None, "cpu")[0], method="transfer")
    nothing = Head(np.zeros((1, 2), np.float32), np.zeros(2, np.float32))
    backbone = SimpleNamespace(network=None)
    held_out = np.zeros((0, 32, 32, 3), np.uint8)

    def learned(logits: list[list[float]]) -> learning.Learned:
        fitted = learning._Transferred(backbone, nothing, recipe, lambda: None)  # type: ignore[arg-type, return-value]
        return learning.Learned(fitted, recipe, np.array(logits, np.float32), held_out)

    both = {"frozen": learned(frozen), "tuned": learned(tuned)}
    monkeypatch.setattr(learning, "_train", lambda *_: both["tuned"])
    data = from_pairs([np.zeros((32, 32, 3), np.uint8)] * 2, ["a", "b"])
    data = replace(data, samples=tuple(replace(sample, split="validation") for sample in data.samples))
    result = learning._finetuned(
        lambda: None,  # type: ignore[arg-type, return-value]
        data,
        recipe,
        None,
        both["frozen"],
        nothing,
        Path("none"),
        lambda *_: None,
        ignore,
    )
    assert result.fitted is both[kept].fitted


def test_no_time_for_fine_tuning_is_said(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.training.torch_engine import TorchEngine

    monkeypatch.setattr(TorchEngine, "plan", lambda *_: 0)
    events: list[Event] = []
    trained = pipeline.train(
        make_photos(red=12, green=12), Wishes(weights=weights, budget=1.0), out=tmp_path / "run", on_event=events.append
    )
    assert trained.epochs == 0
    assert any(isinstance(event, Decision) and event.what == "no fine-tuning" for event in events)


def test_ctrl_c_while_looking_keeps_what_was_seen(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    photos = make_photos(red=40, green=40)

    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "looking at pictures" and event.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedEarlyError, match="goes on from there"):
        pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "run", on_event=press)
    assert not (tmp_path / "run").exists()
    events: list[Event] = []
    pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "run", on_event=events.append)
    stages = [e for e in events if isinstance(e, Progress) and e.stage == "looking at pictures" and e.done == e.total]
    assert 0 < sum(event.total for event in stages) <= 62


def test_ctrl_c_in_fine_tuning_keeps_the_frozen_network(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "training":
            raise KeyboardInterrupt

    wishes = Wishes(weights=weights, finetune="all", epochs=2)
    trained = pipeline.train(make_photos(red=16, green=16), wishes, out=tmp_path / "run", on_event=press)
    assert trained.stopped == "interrupted"
    assert trained.report.accuracy > 0.9


@pytest.mark.parametrize("where", ["_settled", "decode"])
def test_ctrl_c_between_the_head_and_the_first_step_keeps_the_frozen_network(
    where: str,
    weights: Path,
    make_photos: Callable[..., Path],
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, where, press)
    wishes = Wishes(weights=weights, finetune="all", epochs=2)
    trained = pipeline.train(make_photos(red=12, green=12), wishes, out=tmp_path / "run")
    assert trained.stopped == "interrupted"
    assert trained.model.exists()


def test_the_same_command_goes_on_with_a_budget(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    wishes = Wishes(weights=weights, budget=3.0, batch_size=8, preprocess="densenet", augment="light")
    photos = make_photos(red=12, green=12)
    pipeline.train(photos, wishes, out=tmp_path / "run")
    assert pipeline.RunFolder(tmp_path / "run").read_recipe()[1].budget == 3.0
    pipeline.train(photos, wishes, out=tmp_path / "run", resume=True)
    with pytest.raises(OptionError, match="another augment"):
        pipeline.train(photos, replace(wishes, augment="strong"), out=tmp_path / "run", resume=True)


def test_a_finished_run_survives_ctrl_c_when_it_is_judged_again(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    photos = make_photos(red=12, green=12)
    pipeline.train(photos, Wishes(weights=weights), out=tmp_path / "run")

    def press(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "fitting the last layer":
            raise KeyboardInterrupt

    with pytest.raises(InterruptedEarlyError):
        pipeline.train(photos, None, out=tmp_path / "run", resume=True, on_event=press)
    assert {"model.onnx", "recipe.toml", "report.html", "split.csv"} <= {p.name for p in (tmp_path / "run").iterdir()}


def test_resuming_with_other_contents_in_the_weights_file_is_refused(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    photos, mine = make_photos(red=12, green=12), tmp_path / "mine.safetensors"
    mine.write_bytes(weights.read_bytes())
    wishes = Wishes(weights=mine, model="timm:test_resnet", preprocess="imagenet", image_size=32)
    pipeline.train(photos, wishes, out=tmp_path / "run")
    mine.write_bytes(weights.read_bytes()[:-8] + b"changed!")
    with pytest.raises(WeightsError, match="other contents"):
        pipeline.train(photos, None, out=tmp_path / "run", resume=True)


def test_a_picture_without_mirror_image_is_only_seen_plain(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    pipeline.train(make_photos(red=12, green=12), Wishes(weights=weights, mirror=False), out=tmp_path / "run")
    names = sorted(path.name.split("-")[1] for path in (own_cache / "features").glob("*.sqlite"))
    assert names == ["plain"]


class LeftMinusRight:
    """Looks at pictures as a backbone's runtime does, and tells one side from the other."""

    name = "test"

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        halves = pictures.astype(np.float32).reshape(len(pictures), pictures.shape[1], 2, -1).mean((1, 3))
        return halves, halves[:, :1] - halves[:, 1:]


def test_each_view_is_what_its_name_says(weights: Path, tmp_path: Path) -> None:
    pictures = np.zeros((3, 32, 32, 3), np.uint8)
    pictures[:, :, :16] = np.array([10, 20, 30], np.uint8)[:, None, None, None]
    data = read(from_pairs(list(pictures), ["a", "b", "a"]))
    recipe, _ = choose(Wishes(), Facts(3, 2.0, 32, 32, False), describe(weights), "cpu")
    backbone = SimpleNamespace(runtime=LeftMinusRight())
    for looked_at in (3, 0):  # the second time from what was kept
        (plain, mirrored), new = features.collect(
            backbone,  # type: ignore[arg-type]
            data,
            ("plain", "mirrored"),
            recipe,
            tmp_path,
            ignore,
        )
        assert plain.tolist() == [[10], [20], [30]]
        assert mirrored.tolist() == [[-10], [-20], [-30]]
        assert new == looked_at


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "0" * 64},
        {"scaling": "0..1"},
        {"network_args": {"pad_type": "same"}},
        {"model": "another"},
        {"framework": "keras"},
        {"preprocess": {"size": (40, 32)}},
        {"preprocess": {"fit": "pad"}},
        {"preprocess": {"interpolation": "box"}},
        {"preprocess": {"resize_shorter": 40}},
    ],
    ids=str,
)
def test_what_was_seen_otherwise_is_not_taken_for_it(change: dict[str, Any], weights: Path, tmp_path: Path) -> None:
    recipe, _ = choose(Wishes(), Facts(3, 2.0, 32, 32, False), describe(weights), "cpu")
    geometry = change.get("preprocess")
    other = replace(recipe, **(change if geometry is None else {"preprocess": replace(recipe.preprocess, **geometry)}))
    looking: Any = SimpleNamespace(runtime=LeftMinusRight())
    assert features._path(looking, "plain", recipe, tmp_path) != features._path(looking, "plain", other, tmp_path)
    if geometry is None or "size" in geometry:  # the rest is done before the network sees a picture
        assert set(backbones._paths(recipe, 2, tmp_path)).isdisjoint(backbones._paths(other, 2, tmp_path))


def test_a_backbone_that_sees_something_else_is_not_kept(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.training.torch_engine.loop import TorchFitted

    seen = TorchFitted.embed
    monkeypatch.setattr(TorchFitted, "embed", lambda self, pictures: seen(self, pictures) * 1.01 + 0.1)
    with pytest.raises(ParityError):
        pipeline.train(make_photos(red=12, green=12), Wishes(weights=weights), out=tmp_path / "run")
    assert list((own_cache / "backbones").iterdir()) == []


def test_weights_of_another_network_are_refused_before_anything_is_written(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(weights.read_bytes())
    wishes = Wishes(weights=bare, model="resnet18", preprocess="imagenet", image_size=32)
    with pytest.raises(WeightsError, match="tensors missing"):
        pipeline.train(make_photos(red=12, green=12), wishes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def separable(n: int = 60, d: int = 8, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.arange(n) % classes
    return (np.eye(d)[targets] * 3 + rng.normal(0, 0.3, (n, d))).astype(np.float32), targets


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_separates_what_can_be_separated(classes: int) -> None:
    x, y = separable(classes=classes)
    fitted, tried = head.fit(x, y, x, y, classes, True, ignore)
    assert fitted.weight.shape == (8, classes)
    assert (fitted.logits(x).argmax(1) == y).all()
    assert len(tried) > 1


def test_two_classes_give_the_probabilities_of_the_logistic_function() -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = separable(classes=2)
    length = float(np.sqrt(np.square(x).sum(axis=1).mean()))
    fitted = head._head(LogisticRegression(C=1.0).fit(x / length, y), length, 2)
    logits = fitted.logits(x)
    expected = LogisticRegression(C=1.0).fit(x / length, y).predict_proba(x / length)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), expected, atol=1e-5)


def test_regularisation_is_chosen_where_the_data_is_noise() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 40)).astype(np.float32), rng.integers(0, 2, 80)
    other, truth = rng.normal(size=(80, 40)).astype(np.float32), rng.integers(0, 2, 80)
    fitted, tried = head.fit(x, y, other, truth, 2, False, ignore)
    assert len(tried) == 2  # the second strength was worse already, and no weaker one was tried
    assert tried[0].loss < tried[1].loss
    assert cross_entropy(fitted.logits(other), truth) == tried[0].loss


def test_weights_of_the_classes_help_the_rare_one() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 10 == 0).astype(np.int64)
    x = (rng.normal(size=(600, 4)) + y[:, None] * 0.5).astype(np.float32)
    found = {
        weighted: int(head.fit(x, y, x, y, 2, weighted, ignore)[0].logits(x).argmax(1).sum())
        for weighted in (False, True)
    }
    assert found[True] > found[False] + 10


@pytest.mark.parametrize(("green", "weighted"), [(8, True), (20, False)])
def test_rarer_classes_weigh_more_in_the_last_layer(
    green: int,
    weighted: bool,
    weights: Path,
    make_photos: Callable[..., Path],
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    fit = head.fit

    def noted(*arguments: Any) -> Any:
        asked.append(arguments[5])
        return fit(*arguments)

    monkeypatch.setattr(head, "fit", noted)
    pipeline.train(make_photos(red=20, green=green), Wishes(weights=weights), out=tmp_path / "run")
    assert asked == [weighted]


def test_a_new_head_replaces_the_old_one_in_the_graph(
    weights: Path, make_photos: Callable[..., Path], own_cache: Path, tmp_path: Path
) -> None:
    trained = pipeline.train(make_photos(red=12, green=12), Wishes(weights=weights), out=tmp_path / "run")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    was, seen = OnnxRuntimeEngine(trained.model).run(pictures)
    rng = np.random.default_rng(2)
    new = Head(rng.normal(size=(seen.shape[1], 5)).astype(np.float32), rng.normal(size=5).astype(np.float32))
    other = tmp_path / "other.onnx"
    other.write_bytes(graph.with_head(trained.model.read_bytes(), new, 2.0))
    probabilities, embedding = OnnxRuntimeEngine(other).run(pictures)
    np.testing.assert_array_equal(embedding, seen)
    logits = new.logits(seen) / 2
    expected = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, expected / expected.sum(1, keepdims=True), atol=1e-5)
    assert was.shape == (3, 2)


def test_the_rate_test_suggests_a_tenth_of_the_lowest_point() -> None:
    rates = tuple(10.0**n for n in range(-6, 1))
    test = RateTest(rates, (2.0, 2.0, 2.0, 1.5, 0.5, 0.5, 3.0))
    assert test.suggestion() == pytest.approx(1e-4)
    assert RateTest(rates, (1.0,) * 7).suggestion() is None
    cut = RateTest(rates, (2.0, 2.0, 2.0, 1.5, 0.5, 0.5, float("nan")))
    assert cut.suggestion() is not None
    assert cut.suggestion() <= RateTest(rates, (2.0, 2.0, 2.0, 1.5, 0.5, 0.5, 0.5)).suggestion()


def test_a_cache_gives_back_what_was_put(tmp_path: Path) -> None:
    with ContentCache(tmp_path / "a" / "c.sqlite") as cache:
        cache.put({"x": b"1", "y": b"2"})
    with ContentCache(tmp_path / "a" / "c.sqlite") as cache:
        assert cache.get(["y", "x", "z", "x"]) == {"x": b"1", "y": b"2"}
        assert len(cache.get([str(n) for n in range(2000)])) == 0


def test_a_damaged_cache_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is no database at all" * 100)
    with ContentCache(path) as cache:
        assert cache.get(["x"]) == {}
        cache.put({"x": b"1"})
        assert cache.get(["x"]) == {"x": b"1"}


def test_where_nothing_can_be_written_nothing_is_kept(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    with ContentCache(unprivileged / "below" / "c.sqlite") as cache:
        cache.put({"x": b"1"})
        assert cache.get(["x"]) == {"x": b"1"}


def test_threads_share_a_cache(tmp_path: Path) -> None:
    with ContentCache(tmp_path / "c.sqlite") as cache:
        threads = [threading.Thread(target=lambda n=n: cache.put({str(n): b"v"})) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cache.get([str(n) for n in range(50)])) == 50


def test_what_a_crash_leaves_is_readable(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "c.sqlite")
    cache.put({str(n): b"v" for n in range(256)})
    with sqlite3.connect(tmp_path / "c.sqlite") as other:  # as another process would, without a close of the first
        assert other.execute("SELECT count(*) FROM kept").fetchone() == (256,)
    other.close()
    cache._db.close()
