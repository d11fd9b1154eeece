"""The Python front door, without training: opening, judging, mistakes in its use."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from PIL import Image
from tiny_model import write_tiny_model

import whatsit
from whatsit import estimator, sources
from whatsit.dataset import open_folder_or_csv
from whatsit.errors import DataError, ModelFileError, OptionError
from whatsit.runtime import OpenModel

MakePhotos = Callable[..., Path]


@pytest.fixture
def clf(tmp_path: Path) -> whatsit.Classifier:
    return whatsit.load(write_tiny_model(tmp_path / "model.onnx"))


def test_load_gives_a_classifier_with_the_verbs_of_scikit_learn(clf: whatsit.Classifier) -> None:
    assert isinstance(clf, whatsit.Classifier)
    assert isinstance(clf, OpenModel)
    pictures = [coloured(label, 0) for label in ("red", "green", "blue")]
    assert clf.classes_.tolist() == ["red", "green", "blue"]
    assert [str(prediction) for prediction in clf.predict(pictures)] == ["red", "green", "blue"]
    assert clf.predict_proba(pictures).shape == (3, 3)
    assert clf.predict_proba(pictures).sum(axis=1) == pytest.approx([1, 1, 1])
    assert clf.score(pictures, ["red", "green", "red"]) == pytest.approx(2 / 3)
    assert clf.predict(pictures[0])[0]["label"] == "red"


def test_load_takes_a_str_and_a_number_of_threads(tmp_path: Path) -> None:
    clf = whatsit.load(str(write_tiny_model(tmp_path / "model.onnx")), threads=1)
    assert clf.predict(coloured("blue", 1)).label == "blue"
    with pytest.raises(ModelFileError, match="no such file"):
        whatsit.load(tmp_path / "other.onnx")


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_x_and_y_may_be_lists_arrays_or_columns(clf: whatsit.Classifier, kind: Any, make_photos: MakePhotos) -> None:
    photos = make_photos(red=2, blue=2)
    paths = sorted(str(path) for path in photos.rglob("*.png"))
    labels = [Path(path).parent.name for path in paths]
    assert clf.score(kind(paths), kind(labels)) == 1
    assert clf.score(np.stack([coloured("red", n) for n in range(3)]), kind(["red"] * 3)) == 1
    assert clf.score([Image.fromarray(coloured("red", 0))], kind(["red"])) == 1


def test_labels_that_are_numbers_match_the_labels_in_the_file(tmp_path: Path) -> None:
    clf = whatsit.load(write_tiny_model(tmp_path / "m.onnx", ["0", "1", "2"]))
    assert clf.score([coloured("red", 0), coloured("blue", 0)], np.array([0, 2])) == 1


def test_judging_a_folder(clf: whatsit.Classifier, make_photos: MakePhotos) -> None:
    photos = make_photos(red=3, green=3)
    (photos / "green" / "000.png").rename(photos / "red" / "green.png")
    for data in (photos, str(photos), whatsit.Dataset):
        opened = data if data is not whatsit.Dataset else clf._dataset(photos, None)
        assert clf.score(opened) == pytest.approx(5 / 6)
    assert clf.evaluate(photos).n == 6
    assert clf.most_confused(photos) == [("red", "green", 1)]
    assert clf.most_confused(photos, least=2) == []
    losses = clf.top_losses(photos, k=4)
    assert losses[0].name == "red/green.png"
    assert [picture.loss for picture in losses] == sorted((picture.loss for picture in losses), reverse=True)
    assert len(clf.top_losses(photos)) == 6
    assert [p.name for p in clf.top_losses([coloured("red", 0)], y=["blue"])] == ["pictures/00000"]


def test_pictures_that_cannot_be_read_are_warned_of_where_the_user_called(
    clf: whatsit.Classifier, make_photos: MakePhotos
) -> None:
    photos = make_photos(red=3)
    for n in range(5):
        (photos / "red" / f"broken {n}.png").write_bytes(b"nothing")
    for judge in (clf.score, clf.evaluate, clf.top_losses, clf.most_confused):
        with pytest.warns(UserWarning, match=r"broken 0.png.*and 2 more") as caught:
            judge(photos)
        assert caught[0].filename == __file__


def test_pictures_without_labels_are_refused(clf: whatsit.Classifier) -> None:
    pictures = [coloured("red", 0)]
    for verb in (clf.score, clf.evaluate, clf.fit, clf.top_losses, whatsit.Classifier().fit):
        with pytest.raises(DataError, match="no y"):
            verb(pictures)
    with pytest.raises(DataError, match="1 pictures and 2 labels"):
        clf.score(pictures, ["red", "green"])
    with pytest.raises(DataError, match="got rad"):
        clf.score(pictures, ["rad"])


@pytest.mark.parametrize(
    "use",
    [
        lambda clf: clf.predict("x.jpg"),
        lambda clf: clf.predict_proba(["x.jpg"]),
        lambda clf: clf.embed(["x.jpg"]),
        lambda clf: clf.score([np.zeros((2, 2, 3), np.uint8)], ["red"]),
        lambda clf: clf.classes_,
        lambda clf: clf.labels,
        lambda clf: clf.path,
        lambda clf: clf.manifest,
    ],
)
def test_before_fit_every_use_says_to_fit(use: Callable[[Any], Any]) -> None:
    with pytest.raises(ModelFileError) as caught:
        use(whatsit.Classifier(epochs=1))
    assert "not trained" in str(caught.value)
    assert ".fit(" in caught.value.hint


def test_other_attributes_are_missing_as_usual() -> None:
    clf = whatsit.Classifier()
    assert clf.report_ is None
    assert not hasattr(clf, "transform")
    with pytest.raises(AttributeError, match="'Classifier' object has no attribute 'transform'"):
        _ = clf.transform
    assert repr(copy.copy(whatsit.Classifier(epochs=3))) == repr(whatsit.Classifier(epochs=3))


def test_an_unknown_option_fails_at_once_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"'epoch'.*'epochs'"):
        whatsit.Classifier(epoch=5)
    with pytest.raises(TypeError, match=r"'zzz'.*Accepted: .*image_size"):
        whatsit.Classifier(zzz=1)
    for name in ("data", "started"):
        with pytest.raises(TypeError, match=name):
            whatsit.Classifier(**{name: 1})


def test_options_go_to_train_and_the_result_is_opened(
    tmp_path: Path, make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_model(tmp_path / "trained.onnx")
    calls: list[tuple[Any, dict[str, Any]]] = []

    def train(data: Any, **options: Any) -> Any:
        calls.append((data, options))
        return type("Trained", (), {"model": path, "report": "the report"})

    clf = whatsit.Classifier(epochs=3, model="small")
    monkeypatch.setattr(estimator, "train", train)
    photos = make_photos(red=2, green=2)
    assert clf.fit(photos) is clf
    assert calls[0] == (photos, {"epochs": 3, "model": "small"})
    assert (clf.report_, clf.path) == ("the report", path)
    assert clf.predict(coloured("red", 1)).label == "red"
    clf.fit([coloured("red", 0), coloured("blue", 0)], np.array(["red", "blue"]))
    assert isinstance(calls[1][0], whatsit.Dataset)
    assert calls[1][0].classes == ("blue", "red")
    clf.fit(None)
    assert calls[2][0] is None


def test_repr_says_what_it_is(tmp_path: Path) -> None:
    assert repr(whatsit.Classifier(model="small", epochs=5)).startswith("Classifier(model='small', epochs=5)")
    assert "not trained" in repr(whatsit.Classifier())
    clf = whatsit.load(write_tiny_model(tmp_path / "m.onnx", [f"l{n}" for n in range(40)], size=(32, 24)))
    for part in ("m.onnx", "40 labels", "l0, l1", "...", "32x24"):
        assert part in repr(clf)


def test_nothing_here_warns_of_itself(clf: whatsit.Classifier, make_photos: MakePhotos) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.score(make_photos(red=1))


def test_offline_no_data_set_is_fetched_to_judge_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clf: whatsit.Classifier
) -> None:
    from whatsit import downloads

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it connected")

    monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(downloads, "fetch_on", refuse)
    with pytest.raises(DataError, match="Without --offline or WHATSIT_OFFLINE it is fetched"):
        whatsit.load(clf.path, offline=True).score("cifar10")
    with pytest.raises(AssertionError, match="it connected"):
        clf.score("cifar10")


def test_a_named_set_is_judged_where_it_was_trained_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clf: whatsit.Classifier, make_photos: MakePhotos
) -> None:
    asked: list[Path | None] = []
    photos = make_photos(red=2, blue=2)

    def load(data_dir: Path | None, offline: bool, on_event: object) -> Any:
        asked.append(data_dir)
        return open_folder_or_csv(photos)

    monkeypatch.setitem(sources.NAMED, "mnist", load)
    clf._options["data_dir"] = str(tmp_path)
    assert clf.score("mnist") == 1
    assert clf.score(photos) == 1  # no name, so nothing to look for there
    assert asked == [tmp_path]


def test_plot_draws_what_score_judges(clf: whatsit.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from whatsit.evaluation import plots

    drawn: list[int] = []
    monkeypatch.setattr(plots, "picture_grid", lambda shown: drawn.append(len(shown)))
    for part, n in (("train", 20), ("val", 3)):
        for label in ("red", "blue"):
            (tmp_path / "data" / part / label).mkdir(parents=True)
            for number in range(n):
                picture = coloured(label, number + (100 if part == "val" else 0))
                Image.fromarray(picture).save(tmp_path / "data" / part / label / f"{number}.png")
    clf.plot(tmp_path / "data", k=1000)
    assert drawn == [clf.evaluate(tmp_path / "data").n]
    with pytest.raises(DataError, match="yellow"):
        clf.plot([coloured("red", 0)], y=["yellow"])
    for pictures, k in (([], 12), ([coloured("red", 0)], 0), ([coloured("red", 0)], -1)):
        with pytest.raises(OptionError, match=f"k={k}, of {len(pictures)} pictures"):
            clf.plot(pictures, k=k)
