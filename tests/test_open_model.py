"""Pictures of every kind in, predictions out: in order, one each, the same answer however they are passed."""

from __future__ import annotations

import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from numpy.typing import NDArray
from PIL import Image
from tiny_model import colour, expected_probabilities, plain, write_tiny_model

from whatsit import named_models
from whatsit.errors import ImageError, ModelFileError, OptionError
from whatsit.events import Event, Progress
from whatsit.runtime import OpenModel, Prediction

RED, GREEN, BLUE = (plain(colour(n, 3)) for n in range(3))


@pytest.fixture
def model(tmp_path: Path) -> OpenModel:
    return OpenModel(write_tiny_model(tmp_path / "model.onnx"))


def png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


class Broken:
    """An engine whose arithmetic breaks down on black pictures."""

    name = "broken"

    def run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        black = (pictures == 0).all(axis=(1, 2, 3))
        rows = np.tile(np.float32([0.25, 0.5, 0.25]), (len(pictures), 1))
        rows[black] = np.nan
        return rows, np.zeros((len(pictures), 2), np.float32)


def test_the_answer_is_the_graphs(model: OpenModel) -> None:
    picture = coloured("green", 1, 16)
    expected = expected_probabilities(picture, 3)
    prediction = model.predict(picture)
    assert prediction.label == "green"
    assert prediction.score == pytest.approx(expected[1], abs=1e-6)
    assert [label for label, _ in prediction.top] == [("red", "green", "blue")[i] for i in np.argsort(-expected)]
    assert sum(score for _, score in prediction.top) == pytest.approx(1, abs=1e-6)
    assert prediction.error is None
    assert not prediction.unsure
    assert np.allclose(model.predict_proba([picture])[0], expected, atol=1e-6)
    assert np.allclose(model.embed(picture)[0], picture.mean(axis=(0, 1)) / 255, atol=1e-6)
    assert model.classes_.tolist() == ["red", "green", "blue"]


def test_every_kind_of_source_gives_the_same_answer(model: OpenModel, tmp_path: Path) -> None:
    picture = coloured("blue", 2, 40)
    path = tmp_path / "b.png"
    path.write_bytes(png(picture))
    with path.open("rb") as file:
        sources: list[Any] = [path, str(path), np.str_(path), png(picture), bytearray(png(picture)), file]
        sources += [io.BytesIO(png(picture)), memoryview(png(picture)), Image.fromarray(picture), picture]
        alone = [model.predict(source) for source in sources]
        together = model.predict(sources)
    assert len(together) == len(sources)
    for prediction in [*alone, *together]:
        assert isinstance(prediction, Prediction)
        assert prediction.error is None
        assert [label for label, _ in prediction.top] == [label for label, _ in alone[0].top]
        assert prediction.score == pytest.approx(alone[0].score, abs=1e-5)  # batches are summed in another order
    assert len({prediction.top for prediction in alone}) == 1
    assert [p.path for p in together] == [str(path)] * 3 + [f"picture {n}" for n in range(4, 11)]


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, lambda rows: (row for row in rows)])
def test_many_pictures_come_in_many_forms(model: OpenModel, kind: Callable[[Any], Any]) -> None:
    answers = model.predict(kind([RED, GREEN, BLUE]))
    assert [prediction.label for prediction in answers] == ["red", "green", "blue"]
    assert model.predict_proba(kind([RED, GREEN, BLUE])).argmax(axis=1).tolist() == [0, 1, 2]
    assert model.embed(kind([RED, BLUE])).shape == (2, 3)


@pytest.mark.parametrize("dtype", [object, str])
def test_an_array_or_column_of_paths_is_many_pictures(model: OpenModel, tmp_path: Path, dtype: type) -> None:
    for name, picture in (("r.png", RED), ("g.png", GREEN)):
        (tmp_path / name).write_bytes(png(picture))
    paths = [str(tmp_path / name) for name in ("g.png", "r.png", "none.png")]
    assert [p.label for p in model.predict(np.array(paths, dtype))] == ["green", "red", None]
    assert [p.label for p in model.predict(Path(path) for path in paths)] == ["green", "red", None]


def test_none_at_all_is_an_empty_list(model: OpenModel) -> None:
    assert model.predict([]) == []
    assert list(model.stream(iter(()))) == []
    assert model.predict_proba([]).shape == (0, 3)
    assert model.predict(np.empty((0, 16, 16, 3), np.uint8)) == []


def test_what_is_no_picture_is_one_answer_with_its_reason(model: OpenModel) -> None:
    for nonsense in (None, 3.5, np.arange(5), np.zeros((2,) * 5), "http://example.org/a.jpg", b"", dict.items):
        prediction = model.predict(nonsense)
        assert isinstance(prediction, Prediction)
        assert prediction.error
        assert (prediction.label, prediction.score, prediction.top) == (None, None, ())


def test_one_bad_picture_among_many_spoils_no_other(model: OpenModel) -> None:
    answers = model.predict([RED, b"not a picture", "/nowhere/x.jpg", BLUE])
    assert [p.label for p in answers] == ["red", None, None, "blue"]
    assert [bool(p.error) for p in answers] == [False, True, True, False]
    assert "no such file" in str(answers[2].error)
    with pytest.raises(ImageError, match="picture 2"):
        model.predict_proba([RED, b"not a picture", BLUE])


def test_order_holds_when_some_take_longer(model: OpenModel) -> None:
    chance = np.random.default_rng(0)
    wanted = chance.integers(0, 3, 300)

    def picture(label: int) -> NDArray[np.uint8]:
        return plain(colour(label, 3), tuple(chance.integers(1, 400, 2)))

    answers = list(model.stream(picture(label) for label in wanted))
    assert [p.label for p in answers] == [("red", "green", "blue")[label] for label in wanted]
    assert [p.path for p in answers] == [f"picture {n}" for n in range(1, 301)]


@pytest.mark.parametrize(("n", "ends"), [(1, [1]), (300, list(range(1, 301)))])
def test_progress_is_told_for_lists(model: OpenModel, n: int, ends: list[int]) -> None:
    events: list[Event] = []
    assert len(list(model.stream([RED] * n, on_event=events.append))) == n
    assert all(isinstance(event, Progress) and event.total == n for event in events)
    assert [e.done for e in events if isinstance(e, Progress)] == ends


def test_an_endless_generator_is_answered_as_it_goes(model: OpenModel) -> None:
    taken = 0

    def camera() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        while True:
            taken += 1
            yield (RED, GREEN)[taken % 2]

    stream = model.stream(camera())
    assert [next(stream).label for _ in range(130)] == ["green", "red"] * 65
    assert taken < 400


def test_the_batch_size_changes_nothing(tmp_path: Path) -> None:
    large = OpenModel(write_tiny_model(tmp_path / "large.onnx", size=(256, 256)))  # one picture at a time
    pictures = [coloured(label, n, 256) for n, label in enumerate(("red", "green", "blue") * 3)]
    assert np.allclose(large.predict_proba(pictures), [large.predict_proba(p)[0] for p in pictures], atol=1e-6)
    assert [p.label for p in large.predict(pictures)] == ["red", "green", "blue"] * 3


def test_top_is_cut_to_what_there_is(model: OpenModel) -> None:
    assert [len(model.predict(RED, top=top).top) for top in (1, 2, 3, 1000)] == [1, 2, 3, 3]
    for top in (0, -1):
        with pytest.raises(OptionError):
            model.predict(RED, top=top)
        with pytest.raises(OptionError):
            model.stream([], top=top)


@pytest.mark.parametrize("k", [2, 1000])
def test_any_number_of_labels(tmp_path: Path, k: int) -> None:
    model = OpenModel(write_tiny_model(tmp_path / "k.onnx", [f"label {n}" for n in range(k)], golden=False))
    prediction = model.predict(plain(colour(1, k)))
    expected = expected_probabilities(plain(colour(1, k)), k)
    assert len(prediction) == min(k, 5)
    assert prediction.score == pytest.approx(expected.max(), abs=1e-6)
    assert model.predict_proba(RED).shape == (1, k)


def test_of_equal_labels_the_first_wins(tmp_path: Path) -> None:
    model = OpenModel(write_tiny_model(tmp_path / "m.onnx"))
    model.engine = Broken()
    assert [label for label, _ in model.predict(RED).top] == ["green", "red", "blue"]
    ties = np.float32([[0.25, 0.25, 0.25, 0.25]])
    four = OpenModel(write_tiny_model(tmp_path / "4.onnx", ["d", "c", "b", "a"]))
    four.engine = type("Ties", (), {"name": "", "run": lambda self, pictures: (ties, ties)})()
    assert [label for label, _ in four.predict(RED, top=3).top] == ["d", "c", "b"]


def test_not_sure_is_said_below_the_threshold_and_not_at_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    score = OpenModel(write_tiny_model(path)).predict(RED).score
    assert score is not None
    at = OpenModel(write_tiny_model(path, threshold=score)).predict(RED)
    above = OpenModel(write_tiny_model(path, threshold=float(np.nextafter(score, 1)))).predict(RED)
    assert (at.unsure, at.reason, str(at)) == (False, None, "red")
    assert (above.unsure, above.reason, str(above)) == (True, "low score", "not sure")
    assert above.label == "red"


def test_a_network_that_breaks_down_gives_a_reason_and_no_label(model: OpenModel) -> None:
    model.engine = Broken()
    black = np.zeros_like(RED)
    answers = model.predict([RED, black, GREEN])
    assert [p.label for p in answers] == ["green", None, "green"]
    assert "no numbers" in str(answers[1].error)
    json.dumps([p.to_row() for p in answers], allow_nan=False)
    with pytest.raises(ImageError, match="no numbers"):
        model.predict_proba([RED, black])


def test_one_model_serves_many_threads(model: OpenModel) -> None:
    def answer(n: int) -> str | None:
        return model.predict((RED, GREEN, BLUE)[n % 3]).label

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, range(240))) == ["red", "green", "blue"] * 80


@pytest.mark.parametrize("spinning", [False, True])
def test_between_two_pictures_no_thread_is_busy(spinning: bool) -> None:
    everyday = OpenModel(named_models.BUILTIN_FILE, threads=2, spinning=spinning)
    busy = 0.0
    for _ in range(20):
        assert everyday.predict(RED).label
        before = time.process_time()
        time.sleep(0.02)
        busy += time.process_time() - before
    assert busy < 0.1  # left alone, ONNX Runtime's threads spin all of these 0.4 s


def test_spinning_changes_no_answer() -> None:
    file = named_models.BUILTIN_FILE
    pictures = [RED, GREEN, BLUE]
    alone, usual = OpenModel(file, spinning=True).predict_proba(pictures), OpenModel(file).predict_proba(pictures)
    assert np.array_equal(alone, usual)


def test_a_stream_left_half_way_leaves_no_threads(model: OpenModel) -> None:
    before = threading.active_count()
    stream = model.stream([RED] * 500)
    next(stream)
    del stream
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_the_callers_picture_stays_as_it_is(model: OpenModel) -> None:
    for size in (16, 40):
        picture = coloured("red", 1, size)
        before = picture.copy()
        model.predict(picture)
        assert np.array_equal(picture, before)


def test_a_prediction_reads_as_a_list_of_labels_and_scores(model: OpenModel) -> None:
    prediction = model.predict(GREEN, top=2)
    assert list(prediction) == [{"label": label, "score": score} for label, score in prediction.top]
    assert prediction[0] == {"label": "green", "score": prediction.score}
    assert prediction[-1] == prediction[1:][0]
    assert len(prediction) == 2
    with pytest.raises(IndexError):
        _ = prediction[2]
    assert list(prediction.to_row()) == ["path", "label", "score", "top", "unsure", "error"]


def test_the_same_answer_is_equal_however_long_it_took(model: OpenModel) -> None:
    first, second = model.predict(GREEN), model.predict(GREEN)
    assert first == second
    assert len({first, second}) == 1
    assert first != model.predict(RED)
    assert first.seconds > 0
    assert pickle.loads(pickle.dumps(first)) == first


def test_a_graph_that_cannot_be_run_is_a_clear_error(tmp_path: Path) -> None:
    from tiny_model import golden_pictures

    from whatsit import modelfile
    from whatsit.modelfile import Manifest
    from whatsit.preprocess import Preprocess

    golden = tuple(golden_pictures(["a", "b"], (4, 4)))
    manifest = Manifest(("a", "b"), Preprocess("pad", (4, 4)), golden=golden)
    modelfile.write(tmp_path / "m.onnx", b"\x08\x09", manifest, lambda part: None)
    with pytest.raises(ModelFileError) as caught:
        OpenModel(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_prepared_pictures_are_answered_in_batches_of_bounded_size(tmp_path: Path) -> None:
    model = OpenModel(write_tiny_model(tmp_path / "m.onnx", size=(64, 64)))
    pictures = np.stack([coloured("red", n, 64) for n in range(40)])
    whole, sizes, run = model.engine.run(pictures)[0], [], model.engine.run

    class Noting:
        name = "noting"

        def run(self, part: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            sizes.append(len(part))
            return run(part)

    model.engine = Noting()
    assert np.allclose(model.answers(pictures), whole, atol=1e-6)
    assert sizes == [16, 16, 8]
    assert model.answers(pictures[:0]).shape == (0, 3)
