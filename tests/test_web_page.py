"""The page without a browser: what it answers, what it lets in, what it leaves behind."""

from __future__ import annotations

import base64
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_visitor import Visitor
from PIL import Image
from tiny_model import golden_pictures, plain, write_tiny_model

import whatsit
import whatsit.apps.web  # first: what it sets, Gradio reads when it is imported
from whatsit import named_models
from whatsit.errors import OptionError, ServerError
from whatsit.evaluation.report import judge
from whatsit.images import Picture, load
from whatsit.preprocess import Preprocess
from whatsit.runtime import OpenModel

pytest.importorskip("gradio", reason="gradio is not installed")

from whatsit.apps import serving
from whatsit.apps.served import Served, named
from whatsit.apps.web import about, examples, pictures, public_link
from whatsit.apps.web.page import Page

LABELS = ("red", "green", "<script>alert(1)</script>")


@pytest.fixture(autouse=True)
def dropped_loops_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    return OpenModel(write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", LABELS, threshold=0.8))


@pytest.fixture
def opened_page(model: OpenModel) -> Iterator[Page]:
    with Page(alone(model)) as made:
        yield made


def alone(model: OpenModel) -> list[Served]:
    return named([("m.onnx", model)])


def saved(path: Path, picture: np.ndarray, **options: Any) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


# ---- what it answers


def said(page: Page, file: Path, name: str = "a.png", top: int = 3) -> str:
    return page.classify.statement(page.classify.classify(file, name), top)


def test_a_picture_gets_its_label_with_the_score(opened_page: Page, tmp_path: Path) -> None:
    text = said(opened_page, saved(tmp_path / "a.png", plain((0, 255, 0), (50, 50))))
    assert "<p class='headline sure'>green <span>96.5\u00a0%</span></p>" in text
    assert text.count("<tr>") == 3
    assert "a.png, " in text
    assert "teachable" not in text


@pytest.mark.parametrize(("top", "rows"), [(1, 1), (2, 2), (3, 3), (10, 3)])
def test_as_many_labels_are_shown_as_are_wanted(opened_page: Page, tmp_path: Path, top: int, rows: int) -> None:
    assert said(opened_page, saved(tmp_path / "a.png", plain((0, 255, 0))), top=top).count("<tr>") == rows


def test_a_low_score_is_said_to_be_not_sure(opened_page: Page, tmp_path: Path) -> None:
    text = said(opened_page, saved(tmp_path / "a.png", plain((128, 128, 128))))
    assert "<p class='headline unsure'>Not sure - perhaps red (33\u00a0%) or green (33\u00a0%)</p>" in text
    assert "Answers need a score of 80.0\u00a0% here" in text


def test_labels_and_file_names_stand_there_literally(opened_page: Page, tmp_path: Path) -> None:
    text = said(opened_page, saved(tmp_path / "a.png", plain((0, 0, 255))), "<b>\udcff.png")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; <span>96.5" in text
    assert "&lt;b&gt;?.png" in text
    assert "<script>" not in text


def test_the_answers_are_those_of_predict(tmp_path: Path) -> None:
    """Of all labels that the page shows, to the last digit that a probability has."""
    model = OpenModel(named_models.BUILTIN_FILE)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    file = saved(tmp_path / "a.jpg", noise)
    with Page(alone(model)) as made:
        (prediction,) = made.classify.classify(file, "a.jpg").predictions
    assert prediction == model.predict(file, top=10)
    assert [label for label, _ in prediction.top] == list(
        np.array(model.labels)[np.argsort(-model.predict_proba(file)[0])]
    )
    assert [score for _, score in prediction.top] == pytest.approx(sorted(model.predict_proba(file)[0])[::-1], abs=1e-4)


def test_several_models_answer_side_by_side_under_their_names(model: OpenModel, tmp_path: Path) -> None:
    other = OpenModel(write_tiny_model(tmp_path / "o.onnx", ("rot", "<b>", "blau", "gelb")))
    with Page(named([("one.onnx", model), ("two.onnx", other)])) as made:
        text = said(made, saved(tmp_path / "a.png", plain((255, 0, 0))))
        config = json.dumps(made.blocks.get_config_file(), default=str)
    first, second = text.split("<section class='card'>")[1:]
    assert "<h2>one</h2>" in first
    assert ">red <span>" in first
    assert "<h2>two</h2>" in second
    assert ">rot <span>" in second
    assert "2 models answer side by side: one and two" in config
    assert made.blocks.title == "whatsit: one and two"


def test_what_browsers_cannot_show_is_shown_all_the_same(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 1000, 3), np.uint8)
    for name in ("a.tif", "a.jpg"):
        assert decoded(pictures.shown(saved(tmp_path / name, noise))).shape == (240, 800, 3)
    (tmp_path / "text.png").write_text("hello")
    assert pictures.shown(tmp_path / "text.png") is None
    assert pictures.thumbnail(tmp_path / "text.png") == ""


def decoded(shown: dict[str, str] | None) -> Picture:
    assert shown is not None
    head, _, data = shown["url"].partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return load(base64.b64decode(data))


def test_tiny_pictures_are_enlarged_with_sharp_squares() -> None:
    tiny = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    seen = pictures.viewable(tiny)
    assert seen.shape == (400, 200, 3)
    assert (seen[12::25, 12::25] == tiny).all()
    assert (seen[:25, :25] == tiny[0, 0]).all()


# ---- examples


@pytest.mark.parametrize(
    "geometry",
    [
        Preprocess("squash", (16, 16)),
        Preprocess("pad", (20, 12)),
        Preprocess("crop", (16, 16), resize_shorter=23),
        Preprocess("crop", (20, 12)),
    ],
)
def test_golden_pictures_are_the_examples_and_get_their_golden_answers(geometry: Preprocess, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (*geometry.size, 3), np.uint8)
    path = write_tiny_model(tmp_path / "m.onnx", size=geometry.size, preprocess=geometry)
    model = OpenModel(path)
    with Page(alone(model)) as made:
        assert made.examples[1].name == "colours/1, labelled “green”"
        assert len(made.examples) == 3
        for example, golden in zip(made.examples, golden_pictures(model.labels, geometry.size), strict=True):
            assert model.predict_proba(example.file)[0] == pytest.approx(golden.probabilities, abs=1e-6)
            text, shown, *_ = made.classify.example(made.examples.index(example), 3, None)
            assert f">{golden.label} <span>" in text
            assert max(decoded(shown).shape) >= 400
    before = examples._before(noisy, geometry)
    assert (geometry.apply(before) == noisy).all()


def test_a_label_that_is_only_the_models_own_answer_is_not_shown_as_one(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", recipe={"model": "mean colour", "golden": "samples"})
    with Page(alone(OpenModel(path))) as made:
        assert [example.name for example in made.examples] == ["colours/0", "colours/1", "colours/2"]


def test_examples_come_from_files_and_folders(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    first = saved(tmp_path / "b.png", plain((255, 0, 0), (90, 90)))
    second = saved(tmp_path / "more" / "deep" / "a.jpg", plain((0, 255, 0), (90, 90)))
    (tmp_path / "more" / "notes.txt").write_text("no picture by its name")
    with Page(alone(model), [first, tmp_path / "more"]) as made:
        assert [example.file for example in made.examples] == [first, second]
        assert "green" in made.classify.example(1, 3, None)[0]


def test_of_many_examples_some_are_shown_evenly_spread(model: OpenModel, tmp_path: Path) -> None:
    for number in range(100):
        saved(tmp_path / f"{number:03}.png", plain((number, 0, 0)))
    with Page(alone(model), [tmp_path]) as made:
        names = [example.name for example in made.examples]
        assert len(names) == examples.MOST
        assert names[:3] == ["000.png", "002.png", "005.png"]
        assert names[-1] == "097.png"
        assert f"Examples ({examples.MOST} of 100)" in json.dumps(made.blocks.get_config_file(), default=str)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.png", "no such file"), ("empty", "a folder without pictures"), ("text.jpg", "not a picture")],
)
def test_bad_examples_are_refused_before_the_page_opens(
    model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(OptionError) as refused:
        Page(alone(model), [tmp_path / name])
    assert name in refused.value.what
    assert reason in str(refused.value.value)
    assert "--examples" in refused.value.hint
    assert "GRADIO_TEMP_DIR" not in os.environ


# ---- what it says about the models


def test_about_has_the_confusion_matrix_and_each_class(tmp_path: Path) -> None:
    labels = ("red", "green", "<script>x</script>")
    page = about.about(alone(OpenModel(write_tiny_model(tmp_path / "m.onnx", labels, measured=measured(labels)))))
    assert "<h3>What it took for what</h3>" in page
    assert page.count("<td class='right'") == 3
    assert "title='green taken for &lt;script&gt;x&lt;/script&gt;: 2'>2</td>" in page
    assert "<summary>Each class</summary>" in page
    assert "<script>" not in page


def test_about_of_many_classes_lists_the_most_frequent_mistakes(tmp_path: Path) -> None:
    labels = tuple(f"class {n}" for n in range(40))
    page = about.about(alone(OpenModel(write_tiny_model(tmp_path / "m.onnx", labels, measured=measured(labels)))))
    assert "matrix" not in page
    assert "<tr><td>class 1</td><td>class 2</td><td>2</td></tr>" in page
    assert "the 30 it finds worst of 40" in page


def test_about_without_measurements_says_so(model: OpenModel) -> None:
    page = about.about(alone(model))
    assert "not measured" in page
    assert "<h3>" not in page


def measured(labels: Sequence[str]) -> dict[str, Any]:
    """Class 1 was taken for class 2 twice; all other answers were right."""
    targets = np.repeat(np.arange(len(labels)), 5)
    answers = np.eye(len(labels), dtype=np.float32)[targets]
    answers[5:7] = np.eye(len(labels), dtype=np.float32)[2]
    return judge(answers, targets, [""] * len(targets), labels).to_json()


# ---- opening and closing


def test_an_address_in_use_is_said(model: OpenModel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError) as refused, serving.opened(alone(model), port=port):
            pass
    assert refused.value.what == f"cannot listen on 127.0.0.1:{port}"
    assert refused.value.value == "address already in use"


def test_every_address_is_told_as_one_to_visit(model: OpenModel) -> None:
    with serving.opened(alone(model), host="0.0.0.0", port=0) as running:
        assert running.addresses[0].startswith("http://127.0.0.1:")
        assert socket.gethostname() in running.addresses[1]
        assert Visitor(running.addresses[0]).config["title"]


def test_a_public_link_that_cannot_be_had_is_an_error_and_closes_the_page(
    model: OpenModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def offline(host: str, port: int, *_: object) -> str:
        asked.append(port)
        print("chatter")
        raise RuntimeError("Could not get share link.") from OSError("no route to host")

    monkeypatch.setattr(public_link.networking, "setup_tunnel", offline)
    with pytest.raises(ServerError) as refused, serving.opened(alone(model), port=0, share=True):
        pass
    assert refused.value.value == "Could not get share link. no route to host chatter"
    assert "--share" in refused.value.hint
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", asked[0])).close()


def test_a_public_link_is_told_beside_the_address(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_link.networking, "setup_tunnel", lambda *_: "https://public.example")
    with serving.opened(alone(model), port=0, share=True) as running:
        assert str(running).endswith(" and https://public.example")


def test_the_server_asks_nobody(tmp_path: Path) -> None:
    """Neither for news at start, nor while it is answering, nor at its end; and it prints nothing of its own."""
    path, picture = write_tiny_model(tmp_path / "m.onnx"), saved(tmp_path / "a.png", plain((255, 0, 0)))
    script = f"""
import sys
asked = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen")
sys.addaudithook(lambda event, args: asked.append((event, args)) if event in WATCHED else None)
from whatsit.apps import serving
from whatsit.apps.served import named
from whatsit.runtime import OpenModel
import urllib.request
with serving.opened(named([("m", OpenModel({str(path)!r}))]), port=0) as running:
    urllib.request.urlopen(str(running)).close()
    urllib.request.urlopen(str(running) + "/docs").close()
    urllib.request.urlopen(str(running) + "/predict", open({str(picture)!r}, "rb").read()).close()
local = ("127.0.0.1", "localhost")
print([call for call in asked if not any(repr(host) in repr(call) for host in local)])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)
