"""The whole journey on small coloured pictures: one training, looked at from every side."""

from __future__ import annotations

import csv
import errno
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from PIL import Image

pytest.importorskip("torch", reason="needs the 'train' extra")

import whatsit
from whatsit import modelfile, pipeline
from whatsit.dataset import Dataset
from whatsit.errors import DataError, OptionError, OutputError, ParityError, WeightsError
from whatsit.events import Decision, EpochEnded, Event, NetworkBuilt, Notice
from whatsit.runtime import OpenModel
from whatsit.sources import photos
from whatsit.wishes import Wishes


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trained run, its data folder and the events it told."""
    folder = tmp_path_factory.mktemp("run")
    for label, n in (("red", 40), ("green", 30), ("blue", 20)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(n):
            Image.fromarray(coloured(label, number)).save(folder / "photos" / label / f"{number:03d}.png")
    (folder / "photos" / "red" / "broken.jpg").write_text("not a picture")
    events: list[Event] = []
    trained = whatsit.train(folder / "photos", epochs=6, seed=1, out=folder / "out", on_event=events.append)
    return trained, folder, events


def test_it_leaves_everything_a_run_folder_promises(run: Any) -> None:
    trained, folder, _ = run
    found = {path.name for path in (folder / "out").iterdir()}
    assert found == {
        "model.onnx",
        "report.html",
        "recipe.toml",
        "history.csv",
        "curves.png",
        "split.csv",
        "tensorboard",
        "checkpoint",
    }
    assert trained.model == folder / "out" / "model.onnx"
    assert list((folder / "out" / "checkpoint").iterdir()) == [folder / "out" / "checkpoint" / "last.pt"]


def test_it_learns_colours_and_says_how_sure_that_is(run: Any) -> None:
    report = run[0].report
    assert report.accuracy > 0.8
    assert report.interval.low < report.accuracy <= report.interval.high + 1e-12
    assert report.baseline == pytest.approx(max(s.support for s in report.per_class) / report.n)


def test_every_picture_is_in_one_part_and_the_broken_one_in_none(run: Any) -> None:
    rows = table(run[1] / "out" / "split.csv")
    assert len(rows) == 90
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert run[0].unreadable == 1
    assert "red/broken.jpg" not in {row["path"] for row in rows}
    assert "red/broken.jpg" in (run[1] / "out" / "report.html").read_text()


def test_the_file_is_judged_on_pictures_it_was_not_trained_on(run: Any) -> None:
    trained, folder, _ = run
    classifier = whatsit.load(trained.model)
    rows = table(folder / "out" / "split.csv")
    for row in rows:
        assert classifier.manifest.knows(row["sha256"]) is (row["split"] != "test")
    test = [row for row in rows if row["split"] == "test"]
    right = sum(classifier.predict(folder / "photos" / row["path"]).label == row["label"] for row in test)
    assert len(test) == trained.report.n
    assert right == trained.report.correct


def test_the_manifest_tells_what_was_measured_and_done(run: Any) -> None:
    trained, _, _ = run
    manifest = modelfile.read_manifest(trained.model)
    assert manifest.labels == ("blue", "green", "red")
    assert manifest.measured["accuracy"] == trained.report.accuracy
    assert manifest.measured["interval"] == [trained.report.interval.low, trained.report.interval.high]
    assert manifest.calibration["temperature"] == trained.calibration.temperature
    assert manifest.data["unreadable"] == 1
    assert manifest.recipe["seed"] == 1
    assert {golden.label for golden in manifest.golden} == set(manifest.labels)
    assert modelfile.verify(manifest, whatsit.load(trained.model).answers) < 1e-5


def test_the_golden_pictures_are_test_pictures(run: Any) -> None:
    rows = {row["path"]: row["split"] for row in table(run[1] / "out" / "split.csv")}
    assert {rows[golden.name] for golden in modelfile.read_manifest(run[0].model).golden} == {"test"}


def test_history_and_recipe_can_be_read_by_anyone(run: Any) -> None:
    rows = table(run[1] / "out" / "history.csv")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    recipe = tomllib.loads((run[1] / "out" / "recipe.toml").read_text())
    assert recipe["recipe"]["epochs"] == 6
    assert recipe["run"]["classes"] == ["blue", "green", "red"]


def test_tensorboard_reads_the_curves_of_both_parts(run: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part in ("train", "validation"):
        events = EventAccumulator(str(run[1] / "out" / "tensorboard" / part))
        events.Reload()
        assert [e.step for e in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
        assert all(0 <= e.value <= 1 for e in events.Scalars("accuracy"))


def test_it_tells_what_it_decided_and_built(run: Any) -> None:
    events = run[2]
    assert any(isinstance(e, Decision) and e.what == "recipe fast" for e in events)
    assert any(isinstance(e, Decision) and "rarer classes" in e.what for e in events)
    assert sum(isinstance(e, NetworkBuilt) for e in events) == 1
    assert sum(isinstance(e, EpochEnded) for e in events) == 6
    assert any(isinstance(e, Notice) and "cannot be read" in e.text for e in events)


def test_the_report_opens_offline(run: Any) -> None:
    page = (run[1] / "out" / "report.html").read_text()
    assert f"{run[0].report.accuracy:.1%}" in page.replace(" %", "%").replace("\u00a0", "").replace("\u202f", "")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_same_seed_gives_the_same_file(run: Any, tmp_path: Path) -> None:
    trained, folder, _ = run
    again = whatsit.train(folder / "photos", epochs=6, seed=1, out=tmp_path / "again")
    pictures = np.stack([coloured("red", n) for n in range(200, 210)])
    one, two = whatsit.load(trained.model), whatsit.load(again.model)
    assert np.array_equal(one.predict_proba(pictures), two.predict_proba(pictures))
    assert one.manifest.data == two.manifest.data


def test_resuming_a_finished_run_judges_it_again(run: Any) -> None:
    trained, folder, _ = run
    again = whatsit.train(resume=folder / "out")
    assert again.report.accuracy == trained.report.accuracy
    assert "a compact network learns them from scratch" in (folder / "out" / "report.html").read_text()
    assert again.epochs == trained.epochs


def test_a_run_is_not_resumed_on_other_data_or_wishes(run: Any, make_photos: Callable[..., Path]) -> None:
    _, folder, _ = run
    with pytest.raises(OptionError, match="another epochs"):
        whatsit.train(out=folder / "out", resume=True, epochs=7)
    with pytest.raises(OptionError, match="another golden"):
        whatsit.train(out=folder / "out", resume=True, golden="none")
    with pytest.raises(OptionError, match="another promise"):
        whatsit.train(out=folder / "out", resume=True, promise=0.9)
    with pytest.raises(DataError, match="fingerprint"):
        whatsit.train(make_photos(red=5, green=5, blue=5), out=folder / "out", resume=True)


def test_a_named_set_is_found_again_by_a_run_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = whatsit.train("digits", epochs=1, out="digits")
    assert whatsit.train(resume="digits").report.accuracy == trained.report.accuracy
    assert whatsit.train("digits", resume="digits").report.accuracy == trained.report.accuracy


@pytest.mark.parametrize(("fitting", "epochs"), [(3, 3), (0, 1), (1000, 60)])
def test_a_budget_sets_the_epochs_that_fit_into_it(
    fitting: int, epochs: int, make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.training.torch_engine import TorchEngine

    seconds: list[float | None] = []
    monkeypatch.setattr(TorchEngine, "plan", lambda *given: (seconds.append(given[2].budget), fitting)[1])
    events: list[Event] = []
    photos = make_photos(red=12, green=12)
    trained = whatsit.train(photos, budget="10h", out=tmp_path / "out", on_event=events.append)
    assert seconds == [36_000.0]
    assert trained.epochs == epochs
    assert tomllib.loads((tmp_path / "out" / "recipe.toml").read_text())["recipe"]["epochs"] == epochs
    said = [event.what for event in events if isinstance(event, Decision)]
    assert any(what.startswith(f"{epochs} epochs in batches of ") for what in said) is (fitting < 1000)


def test_pictures_of_many_sizes_are_brought_to_the_usual_one(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_photos(red=20, green=20)  # 24x24
    for number, size in enumerate([(20, 20), (60, 24), (32, 50), (300, 200)]):
        Image.fromarray(coloured("red", 50 + number, 8)).resize(size).save(photos / "red" / f"other{number}.png")
    said: list[Event] = []
    trained = whatsit.train(photos, epochs=2, out=tmp_path / "out", on_event=said.append)
    assert OpenModel(trained.model).manifest.preprocess.size == (24, 24)
    assert any("sides measure 20 to 300 pixels" in event.why for event in said if isinstance(event, Decision))
    answers = whatsit.load(trained.model).predict_proba(sorted((photos / "red").glob("other*")))
    assert answers.shape == (4, 2)


def test_a_disk_that_is_full_from_the_start_leaves_no_run(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit import runs, storage

    def full(path: Path, data: bytes | str) -> None:
        raise storage.cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(runs.storage, "write_whole", full)
    with pytest.raises(OutputError, match="no space left"):
        whatsit.train(make_photos(red=12, green=12), epochs=1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [["red", "green"], ["green", "red", "blue"]])
def test_a_resumed_run_keeps_its_classes(classes: list[str], make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos, out = make_photos(red=12, green=12), tmp_path / "out"
    whatsit.train(photos, epochs=1, out=out)
    with pytest.raises(OptionError, match="with other classes") as caught:
        whatsit.train(photos, classes=classes, out=out, resume=True)
    assert caught.value.accepted == "green, red, as it was started"
    whatsit.train(photos, classes=["green", "red"], out=out, resume=True)


def test_data_in_memory_is_no_name_whatever_folder_is_given(tmp_path: Path) -> None:
    whatsit.train(pipeline.sources.open_data("digits"), data_dir=tmp_path, epochs=1, out=tmp_path / "run")
    told = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())["run"]
    assert (told["data"], told["data_dir"]) == ("in memory: digits", "")


def test_data_that_has_moved_is_found_where_it_is_said_to_be(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_photos = make_photos(red=4, green=4)
    stick, other = tmp_path / "stick", tmp_path / "other"
    data = pipeline.sources.digits()

    def load(data_dir: Path | None, offline: bool, on_event: object) -> Dataset:
        if data_dir is None or not data_dir.is_dir():
            raise DataError("cannot find it", value=data_dir, accepted="files", hint="Look elsewhere.")
        return data

    stick.mkdir()
    monkeypatch.setitem(pipeline.sources.NAMED, "digits", load)
    trained = whatsit.train("digits", data_dir=stick, epochs=1, out=tmp_path / "run")
    stick.rename(other)
    with pytest.raises(DataError, match="cannot find it") as caught:
        whatsit.train(resume=tmp_path / "run")
    assert caught.value.hint == "The files were there when the run was started. Where they are now: --data-dir FOLDER"
    with pytest.raises(DataError, match="cannot use this order"):  # other data is not looked for on the stick
        whatsit.train(other_photos, resume=tmp_path / "run")
    again = whatsit.train(resume=tmp_path / "run", data_dir=other)
    assert again.report.accuracy == trained.report.accuracy


def test_no_run_overwrites_another(run: Any) -> None:
    with pytest.raises(OutputError, match="not empty"):
        whatsit.train(run[1] / "photos", out=run[1] / "out")


def test_golden_none_keeps_pictures_out_of_the_file(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    trained = whatsit.train(make_photos(red=8, green=8), epochs=1, golden="none", out=tmp_path / "out")
    assert modelfile.read_manifest(trained.model).golden == ()


def test_golden_samples_keeps_parts_of_the_sample_photos_instead(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    trained = whatsit.train(make_photos(red=8, green=8), epochs=1, golden="samples", promise=0.9, out=tmp_path / "out")
    model = OpenModel(trained.model)
    parts = {name: model.manifest.preprocess.apply(part) for name, part in photos.sample_parts()}
    assert model.manifest.calibration["promise"] == 0.9
    assert [golden.name for golden in model.manifest.golden] == list(parts)
    for golden in model.manifest.golden:
        assert np.array_equal(golden.picture, parts[golden.name])
        assert golden.label == model.labels[int(np.argmax(golden.probabilities))]
    assert modelfile.verify(model.manifest, model.answers) < 1e-5


def test_a_file_that_answers_otherwise_than_the_network_is_not_kept(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "softmax", lambda logits: np.full_like(logits, 0.4))
    with pytest.raises(ParityError):
        whatsit.train(make_photos(red=8, green=8), epochs=1, out=tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.onnx")) == []


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        (Wishes(model="smal"), "small"),
        (Wishes(epochs=0), "epochs"),
        (Wishes(batch_size=1), "batch-size"),
        (Wishes(image_size=5000), "image-size"),
        (Wishes(learning_rate=-1.0), "learning rate"),
        (Wishes(device="tpu"), "device"),
    ],
)
def test_wrong_wishes_leave_nothing(
    wishes: Wishes, complaint: str, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=complaint):
        pipeline.train(make_photos(red=5, green=5), wishes, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_weights_leave_nothing(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    wishes = Wishes(model="resnet10t", weights=tmp_path / "none.safetensors", preprocess="imagenet")
    with pytest.raises(WeightsError, match="no such file"):
        pipeline.train(make_photos(red=5, green=5), wishes, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_class_is_refused_before_any_picture_is_read(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one class only"):
        whatsit.train(make_photos(red=8), out=tmp_path / "out")


def test_the_scikit_learn_way(tmp_path: Path) -> None:
    pictures = [coloured(label, n) for label in ("red", "blue") for n in range(12)]
    labels = ["red"] * 12 + ["blue"] * 12
    classifier = whatsit.Classifier(epochs=3, out=tmp_path / "out").fit(pictures, labels)
    assert list(classifier.classes_) == ["blue", "red"]
    assert classifier.report_ is not None
    assert classifier.predict(coloured("red", 99)).label in ("red", "blue")
    assert 0 <= classifier.score(pictures, labels) <= 1


def test_a_class_order_of_ones_own(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    trained = whatsit.train(
        make_photos(red=8, green=8, blue=8), epochs=1, classes=["red", "blue", "green"], out=tmp_path / "out"
    )
    assert modelfile.read_manifest(trained.model).labels == ("red", "blue", "green")


def test_given_parts_are_kept_and_the_test_part_judged(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    for part, first, n in (("train", 0, 12), ("val", 50, 4), ("test", 80, 5)):
        make_photos(f"data/{part}", first, red=n, green=n)
    trained = whatsit.train(tmp_path / "data", epochs=1, out=tmp_path / "out")
    assert trained.report.n == 10
    assert {picture.name.split("/")[0] for picture in trained.report.pictures} == {"test"}


def test_it_trains_a_timm_network_with_weights_from_a_file(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    import json

    import timm
    from safetensors.torch import save_file

    path = tmp_path / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=9).state_dict(), path)
    description = {"network": "timm:resnet10t", "preprocess": "imagenet", "input_size": [32, 32], "licence": "MIT"}
    path.with_name(path.name + ".json").write_text(json.dumps(description))
    trained = whatsit.train(make_photos(red=8, green=8), weights=path, epochs=1, out=tmp_path / "out")
    manifest = modelfile.read_manifest(trained.model)
    assert manifest.recipe["model"] == "resnet10t"
    assert manifest.recipe["scaling"] == "imagenet"
    assert manifest.weights["licence"] == "MIT"


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(recipe="fast", optimizer="sgd"),
        Wishes(recipe="accurate", framework="keras"),
        Wishes(recipe="tutorial", model="resnet18"),
    ],
)
def test_wishes_that_contradict_the_recipe_are_refused_before_any_data_is_opened(
    wishes: Wishes, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"--recipe {wishes.recipe}"):
        pipeline.train(tmp_path / "nowhere", wishes, out=tmp_path / "out")


def test_with_its_files_named_a_data_set_stays_a_name_where_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar10").mkdir()
    monkeypatch.chdir(tmp_path)
    assert pipeline._where("cifar10", tmp_path / "cifar10") == "cifar10"
    assert pipeline._where("cifar10", None) == str(tmp_path / "cifar10")
