"""Labelled pictures in, a report out: which part is judged, what is known from training, what cannot be read."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from numpy.typing import NDArray
from PIL import Image
from tiny_model import write_tiny_model

from whatsit import dataset, modelfile, sources
from whatsit.dataset import from_pairs
from whatsit.errors import DataError
from whatsit.events import Event, Progress
from whatsit.runtime import OpenModel
from whatsit.runtime.judging import evaluate

MakePhotos = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> OpenModel:
    return OpenModel(write_tiny_model(tmp_path / "model.onnx"))


def parts(make_photos: MakePhotos, *names: str) -> Path:
    """Split folders with two pictures a class, and each part's pictures its own."""
    for place, name in enumerate(names):
        make_photos(f"data/{name}", first=10 * place, red=2, green=2, blue=2)
    return make_photos("data")


def names_of(evaluation: Any) -> list[str]:
    return [picture.name for picture in evaluation.report.pictures]


def test_a_folder_without_parts_is_judged_whole(model: OpenModel, make_photos: MakePhotos) -> None:
    evaluation = evaluate(model, sources.open_data(make_photos(red=4, green=3, blue=2)))
    assert evaluation.part is None
    assert evaluation.report.n == 9
    assert evaluation.report.accuracy == 1
    assert evaluation.known == ()
    assert evaluation.unseen is None
    assert names_of(evaluation)[0] == "blue/000.png"


def test_a_data_set_that_whatsit_split_itself_is_judged_whole_unless_a_part_is_asked_for(
    model: OpenModel, make_photos: MakePhotos
) -> None:
    completed = dataset.complete(dataset.read(sources.open_data(make_photos(red=20, green=20))))
    evaluation = evaluate(model, completed)
    assert (evaluation.part, evaluation.report.n) == (None, 40)


def test_mistakes_count_as_mistakes(model: OpenModel, make_photos: MakePhotos) -> None:
    photos = make_photos(red=4, green=3, blue=2)
    (photos / "green" / "000.png").rename(photos / "red" / "really green.png")
    report = evaluate(model, sources.open_data(photos)).report
    assert report.correct == 8
    assert report.most_confused() == [("red", "green", 1)]
    assert report.worst()[0].name == "red/really green.png"


@pytest.mark.parametrize(
    ("laid_out", "split", "judged"),
    [
        (("train", "val", "test"), None, "test"),
        (("train", "val", "test"), "validation", "validation"),
        (("train", "val", "test"), "train", "train"),
        (("test",), None, "test"),
        (("train", "test"), None, "test"),
    ],
)
def test_the_test_part_is_judged_unless_another_is_asked_for(
    model: OpenModel, make_photos: MakePhotos, laid_out: tuple[str, ...], split: Any, judged: str
) -> None:
    evaluation = evaluate(model, sources.open_data(parts(make_photos, *laid_out)), split)
    assert evaluation.part == judged
    folder = {"validation": "val"}.get(judged, judged)
    assert {name.split("/")[0] for name in names_of(evaluation)} == {folder}
    assert evaluation.report.n == 6


@pytest.mark.parametrize(("laid_out", "split"), [(("test",), "train"), (("val",), None), (("val", "test"), "train")])
def test_a_part_that_is_not_there_and_cannot_be_carved_is_refused(
    model: OpenModel, make_photos: MakePhotos, laid_out: tuple[str, ...], split: Any
) -> None:
    with pytest.raises(DataError) as caught:
        evaluate(model, sources.open_data(parts(make_photos, *laid_out)), split)
    assert "judge" in caught.value.what
    assert "--split" in caught.value.hint


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_part_of_a_plain_folder_is_the_one_training_would_carve(
    model: OpenModel, make_photos: MakePhotos, split: Any
) -> None:
    photos = make_photos(red=20, green=20, blue=20)
    (photos / "red" / "broken.png").write_bytes(b"no picture")
    carved = dataset.complete(dataset.read(sources.open_data(photos))).part(split)
    evaluation = evaluate(model, sources.open_data(photos), split)
    assert evaluation.part == split
    assert names_of(evaluation) == [sample.name for sample in carved.samples]
    assert 0 < evaluation.report.n < 60
    assert [picture.name for picture in evaluation.unreadable] == ["red/broken.png"]


def test_a_missing_test_part_is_carved_from_train_and_leaves_validation_alone(
    model: OpenModel, make_photos: MakePhotos
) -> None:
    make_photos("data/train", red=20, green=20, blue=20)
    data = make_photos("data/val", first=50, red=5, green=5, blue=5).parent
    (data / "train" / "red" / "broken.png").write_bytes(b"no picture")
    (data / "val" / "red" / "broken.png").write_bytes(b"no picture")
    evaluation = evaluate(model, sources.open_data(data))
    assert evaluation.part == "test"
    assert all(name.startswith("train/") for name in names_of(evaluation))
    assert [picture.name for picture in evaluation.unreadable] == ["train/red/broken.png"]


def test_pictures_known_from_training_are_found_by_content_whatever_their_name(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos(red=4, green=4)
    known = [photos / "red" / "000.png", photos / "green" / "003.png"]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in known]
    path = write_tiny_model(tmp_path / "m.onnx", known=modelfile.known_contents(contents))
    known[0].rename(photos / "red" / "renamed.png")
    shutil.copy(known[1], photos / "red" / "copied to the wrong class.png")
    evaluation = evaluate(OpenModel(path), sources.open_data(photos))
    assert sorted(evaluation.known) == ["green/003.png", "red/copied to the wrong class.png", "red/renamed.png"]
    assert evaluation.report.n == 9
    assert evaluation.unseen is not None
    assert evaluation.unseen.n == 6
    assert evaluation.unseen.accuracy == 1
    assert evaluation.report.correct == 8


def test_where_all_is_known_there_is_no_second_report(make_photos: MakePhotos, tmp_path: Path) -> None:
    photos = make_photos(red=3)
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.png")]
    model = OpenModel(write_tiny_model(tmp_path / "m.onnx", known=modelfile.known_contents(contents)))
    evaluation = evaluate(model, sources.open_data(photos))
    assert len(evaluation.known) == 3
    assert evaluation.unseen is None


def test_arrays_are_known_by_their_values(tmp_path: Path) -> None:
    rows = [coloured("red", n) for n in range(3)]
    model = OpenModel(
        write_tiny_model(tmp_path / "m.onnx", known=modelfile.known_contents([dataset.content_hash(rows[1])]))
    )
    assert evaluate(model, from_pairs(rows, ["red"] * 3)).known == ("pictures/00001",)


def test_unreadable_pictures_are_told_and_the_rest_is_judged(model: OpenModel, make_photos: MakePhotos) -> None:
    photos = make_photos(red=3, green=3)
    (photos / "red" / "000.png").write_bytes((photos / "red" / "000.png").read_bytes()[:60])
    (photos / "green" / "text.jpg").write_text("hello")
    evaluation = evaluate(model, sources.open_data(photos))
    assert evaluation.report.n == 5
    assert {picture.name for picture in evaluation.unreadable} == {"red/000.png", "green/text.jpg"}
    assert all(picture.reason and picture.label for picture in evaluation.unreadable)


def test_a_picture_that_vanishes_meanwhile_is_unreadable(
    model: OpenModel, make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.runtime import judging

    def gone(source: Path) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(source))

    photos = make_photos(red=2)
    first = photos / "red" / "000.png"
    hashed = judging.content_hash
    monkeypatch.setattr(judging, "content_hash", lambda source: gone(source) if source == first else hashed(source))
    evaluation = evaluate(model, sources.open_data(photos))
    assert [picture.reason for picture in evaluation.unreadable] == ["No such file or directory"]


def test_nothing_readable_is_an_error(model: OpenModel, make_photos: MakePhotos) -> None:
    photos = make_photos(red=1)
    (photos / "red" / "000.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 unreadable"):
        evaluate(model, sources.open_data(photos))
    with pytest.raises(DataError, match="no pictures"):
        evaluate(model, dataset.Dataset("empty", (), ()))


def test_a_class_the_model_has_no_label_for_is_refused_with_a_suggestion(
    model: OpenModel, make_photos: MakePhotos
) -> None:
    photos = make_photos(red=2)
    (photos / "red").rename(photos / "reds")
    with pytest.raises(DataError) as caught:
        evaluate(model, sources.open_data(photos))
    assert "reds" in str(caught.value.value)
    assert "'red'" in caught.value.hint
    assert "green" in caught.value.accepted


def test_classes_may_be_missing_and_stand_in_any_order(model: OpenModel, make_photos: MakePhotos) -> None:
    data = sources.open_data(make_photos(green=2, blue=2), classes=["green", "blue"])
    report = evaluate(model, data).report
    assert report.labels == ("red", "green", "blue")
    assert report.accuracy == 1
    assert [score.support for score in report.per_class] == [0, 2, 2]


def test_a_broken_down_answer_counts_as_unreadable_and_not_as_the_first_label(model: OpenModel) -> None:
    def run(pictures: NDArray[np.uint8]) -> Any:
        bad = (pictures == 0).all()
        return np.full((1, 3), np.nan if bad else 1 / 3, np.float32), np.zeros((1, 1), np.float32)

    model.engine = type("Engine", (), {"name": "", "run": staticmethod(run)})()
    evaluation = evaluate(model, from_pairs([np.zeros((4, 4, 3), np.uint8), coloured("red", 0)], ["red", "red"]))
    assert evaluation.report.n == 1
    assert "no numbers" in evaluation.unreadable[0].reason


def test_the_threshold_of_the_file_is_used(tmp_path: Path, make_photos: MakePhotos) -> None:
    model = OpenModel(write_tiny_model(tmp_path / "m.onnx", threshold=1.01))
    report = evaluate(model, sources.open_data(make_photos(red=3))).report
    assert (report.threshold, report.coverage, report.answered_accuracy) == (1.01, 0, None)


def test_judging_and_predicting_give_the_same_answers(tmp_path: Path, make_photos: MakePhotos) -> None:
    model = OpenModel(write_tiny_model(tmp_path / "m.onnx", size=(20, 12), threshold=0.7))
    photos = make_photos(red=5, green=5, blue=5)
    Image.fromarray(coloured("red", 9, 61)[:40]).save(photos / "red" / "odd.png")
    judged = evaluate(model, sources.open_data(photos)).report.pictures
    predicted = model.predict([photos / picture.name for picture in judged])
    assert [p.label for p in predicted] == [picture.predicted for picture in judged]
    assert [p.score for p in predicted] == pytest.approx([picture.score for picture in judged], abs=1e-5)
    assert [p.unsure for p in predicted] == [picture.unsure for picture in judged]


def test_progress_is_told(model: OpenModel, make_photos: MakePhotos) -> None:
    events: list[Event] = []
    evaluate(model, sources.open_data(make_photos(red=3)), None, events.append)
    assert events[-1] == Progress("judging", 3, 3)
