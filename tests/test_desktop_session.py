"""What the desktop window is about, without a window: choosing, answering, stepping, cancelling, saving."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageGrab
from tiny_model import plain, write_tiny_model

from whatsit import images, named_models
from whatsit.apps.cli.main import main
from whatsit.apps.desktop import models, pictures, wording
from whatsit.apps.desktop.recent import Recent, recent_file
from whatsit.apps.desktop.session import Session
from whatsit.apps.desktop.work import Inbox, Lane, Task
from whatsit.errors import DataError, ImageError, InterruptedEarlyError, ModelFileError, WhatsitError
from whatsit.runtime import OpenModel
from whatsit.runtime.prediction import Prediction

COLOURS = {"a_red": (255, 0, 0), "b_green": (0, 255, 0), "c_blue": (0, 0, 255)}
LABELS = tuple("abcdefghijklm")
SECONDS = 20


def wait(session: Session, condition: Callable[[], object]) -> None:
    """Hear what the threads tell until it holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        session.deliver()
        time.sleep(0.002)


def settle(session: Session) -> None:
    """Until nothing is under way and the folder is listed."""
    wait(session, lambda: not session.busy and (session.place is not None or not session.picture or not _file(session)))


def _file(session: Session) -> Path | None:
    return session.picture.path if session.picture else None


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
def session(tmp_path: Path, errors: list[Exception]) -> Iterator[Session]:
    opened = Session(Recent(tmp_path / "state" / "recent.json"), errors.append)
    yield opened
    opened.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "colours.onnx", threshold=0.8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "holiday"
    found.mkdir()
    for name, colour in COLOURS.items():
        Image.fromarray(plain(colour, (30, 40))).save(found / f"{name}.png")
    (found / "notes.txt").write_text("not a picture")
    (found / ".hidden.png").write_bytes((found / "a_red.png").read_bytes())
    (found / "inside").mkdir()
    Image.fromarray(plain((0, 0, 0))).save(found / "inside" / "aa.png")
    return found


def ready(session: Session, model: Path, picture: Path) -> None:
    session.choose_model(str(model))
    session.open(picture)
    settle(session)


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[Any]:
    """Every picture takes so long; returns those that were read."""
    read: list[Any] = []
    load = images.load

    def slow(source: Any, **options: Any) -> images.Picture:
        time.sleep(seconds)
        read.append(source)
        return load(source, **options)

    monkeypatch.setattr(images, "load", slow)
    return read


def held_from(monkeypatch: pytest.MonkeyPatch, first: str) -> tuple[list[Any], threading.Event]:
    """Pictures of this name and those after it are read when the event is set; returns what was read, and the event."""
    read: list[Any] = []
    go_on = threading.Event()
    load = images.load

    def hesitant(source: Any, **options: Any) -> images.Picture:
        if isinstance(source, Path):  # not the pixels, which the model is given
            assert source.name < first or go_on.wait(SECONDS)
            read.append(source)
        return load(source, **options)

    monkeypatch.setattr(images, "load", hesitant)
    return read, go_on


# ---- answers


def test_a_picture_gets_the_answer_of_predict(session: Session, folder: Path, tmp_path: Path, capsys: Any) -> None:
    model = write_tiny_model(tmp_path / "many.onnx", LABELS)
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    Image.fromarray(noise).save(folder / "d_noise.jpg")
    ready(session, model, folder / "d_noise.jpg")
    assert session.answer is not None
    assert len(session.answer.top) == 10
    assert main(["predict", "-m", str(model), str(folder / "d_noise.jpg"), "--top", "10", "--format", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert session.answer.path == said["path"]
    assert [label for label, _ in session.answer.top] == [one["label"] for one in said["top"]]
    np.testing.assert_allclose([score for _, score in session.answer.top], [s["score"] for s in said["top"]], atol=1e-4)
    assert session.answer.seconds > 0


def test_pictures_are_seen_upright(session: Session, model: Path, tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    ready(session, model, tmp_path / "turned.jpg")
    assert session.look is not None
    assert session.look.size == (20, 40)


def test_a_picture_that_was_there_before_the_model_is_answered_when_it_opens(
    session: Session, model: Path, folder: Path
) -> None:
    session.open(folder / "a_red.png")
    settle(session)
    assert session.look is not None
    assert session.answer is None
    assert session.awaited == "Choose a model first."
    session.choose_model(str(model))
    settle(session)
    assert str(session.answer) == "red"


def test_another_model_answers_anew(session: Session, model: Path, folder: Path, tmp_path: Path) -> None:
    ready(session, model, folder / "a_red.png")
    session.choose_model(str(write_tiny_model(tmp_path / "other.onnx", ("rouge", "vert", "bleu"))))
    settle(session)
    assert str(session.answer) == "rouge"
    assert session.model_name == "other.onnx"
    assert session.note == "other.onnx answers now."


def test_the_model_that_was_chosen_meanwhile_has_the_last_word(
    session: Session, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(session, model, folder / "a_red.png")
    other = write_tiny_model(tmp_path / "other.onnx", ("rouge", "vert", "bleu"))
    slowly(monkeypatch, 0.3)
    session.step(1)
    session.choose_model(str(other))
    settle(session)
    assert str(session.answer) == "vert"
    assert {prediction.label for prediction in session.answers.values()} == {"vert"}


def test_analyse_reads_the_file_again(session: Session, model: Path, folder: Path) -> None:
    ready(session, model, folder / "a_red.png")
    Image.new("RGB", (40, 30), "blue").save(folder / "a_red.png")
    session.analyse()
    settle(session)
    assert str(session.answer) == "blue"


# ---- the folder


def test_the_neighbours_are_the_pictures_right_in_the_folder(session: Session, model: Path, folder: Path) -> None:
    ready(session, model, folder / "b_green.png")
    assert [path.name for path in session.neighbours] == ["a_red.png", "b_green.png", "c_blue.png"]
    assert session.position == "2 of 3"


def test_steps_go_through_the_folder_and_end_at_its_ends(session: Session, model: Path, folder: Path) -> None:
    ready(session, model, folder / "a_red.png")
    seen = []
    for by in (-1, 1, 1, 1, -1):
        session.step(by)
        settle(session)
        assert session.picture is not None
        seen.append((session.picture.name, str(session.answer), session.position))
    assert seen == [
        ("a_red.png", "red", "1 of 3"),
        ("b_green.png", "green", "2 of 3"),
        ("c_blue.png", "blue", "3 of 3"),
        ("c_blue.png", "blue", "3 of 3"),
        ("b_green.png", "green", "2 of 3"),
    ]


def test_of_many_quick_steps_only_the_last_one_counts(
    session: Session, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{number:02d}.png")
    ready(session, model, tmp_path / "00.png")
    read, go_on = held_from(monkeypatch, "00.png")
    for _ in range(15):
        session.step(1)
    go_on.set()
    settle(session)
    assert session.position == "16 of 20"
    assert session.answer is not None
    assert session.answer.path == str(tmp_path / "15.png")
    assert len(read) <= 2  # the one that was being read when the next step came, and the last


def test_a_folder_opens_at_its_first_picture(session: Session, model: Path, folder: Path) -> None:
    ready(session, model, folder)
    assert session.position == "1 of 3"
    assert str(session.answer) == "red"


def test_a_folder_without_pictures_is_an_error_and_what_was_there_stays(
    session: Session, model: Path, folder: Path, tmp_path: Path, errors: list[Exception]
) -> None:
    ready(session, model, folder / "a_red.png")
    (tmp_path / "empty").mkdir()
    session.open(tmp_path / "empty")
    settle(session)
    assert [type(error) for error in errors] == [DataError]
    assert str(session.answer) == "red"
    session.step(1)
    settle(session)
    assert str(session.answer) == "green"


def test_the_whole_folder_is_answered_and_then_known(
    session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "d_broken.png").write_text("hello")
    Image.new("RGB", (8, 8), "grey").save(folder / "e_grey.png")
    ready(session, model, folder / "a_red.png")
    session.analyse_folder()
    assert session.status == "Analysing the folder: 0 of 5"
    settle(session)
    assert session.note == "5 pictures analysed, 1 of them not sure, 1 cannot be read."
    assert [str(answer)[:8] for answer in session.results] == ["red", "green", "blue", "error: n", "not sure"]
    monkeypatch.setattr(OpenModel, "predict", lambda *_, **__: pytest.fail("asked again"))
    session.step(1)
    assert str(session.answer) == "green"  # at once
    settle(session)
    assert session.look is not None


def test_the_folders_progress_is_told_and_cancel_ends_it(
    session: Session, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{number:03d}.png")
    ready(session, model, tmp_path / "000.png")
    read, go_on = held_from(monkeypatch, "020.png")
    session.analyse_folder()
    wait(session, lambda: session.judged == 20)
    assert session.to_judge == 300
    session.cancel()
    assert not session.busy
    assert session.note == "Stopped. 1 of 300 pictures answered."  # the others in a batch that was not complete
    go_on.set()
    session._folder.close(SECONDS)  # what was begun has ended
    session.deliver()
    assert len(session.results) == 1
    assert len(read) <= 21 + 4 * ((os.cpu_count() or 1) + 1)  # with the one awaited, and those begun beside it


def test_a_new_model_ends_the_work_of_the_former_one(
    session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready(session, model, folder / "a_red.png")
    slowly(monkeypatch, 0.2)
    session.analyse_folder()
    session.choose_model(str(write_tiny_model(tmp_path / "other.onnx", ("rouge", "vert", "bleu"))))
    settle(session)
    assert {answer.label for answer in session.results} <= {"rouge", "vert", "bleu"}


def test_cancelling_leaves_a_picture_that_can_be_asked_again(
    session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(session, model, folder / "a_red.png")
    slowly(monkeypatch, 0.2)
    session.step(1)
    session.cancel()
    assert (session.busy, session.answer, session.awaited) == (False, None, "Press Analyse.")
    session.analyse()
    settle(session)
    assert str(session.answer) == "green"


# ---- what is wrong


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    found = tmp_path / "broken"
    found.mkdir()
    (found / "text.png").write_text("hello")
    (found / "empty.jpg").touch()
    Image.new("1", (20_000, 15_000)).save(found / "huge.png")
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.png", "not a picture"),
        ("empty.jpg", "0 bytes"),
        ("huge.png", "300 megapixels"),
        ("missing.png", "there is no such file"),
    ],
)
def test_a_picture_that_cannot_be_read_is_an_error_where_it_was_chosen_by_hand(
    name: str, reason: str, session: Session, model: Path, broken: Path, errors: list[Exception]
) -> None:
    session.choose_model(str(model))
    session.open(broken / name)
    settle(session)
    (error,) = errors
    assert isinstance(error, ImageError)
    assert reason in str(error.value)
    assert session.answer is not None
    assert reason in str(session.answer.error)
    assert session.look is None
    assert str(broken / name) not in session.recent.pictures
    session.step(1)
    settle(session)
    assert len(errors) == 1  # on the way through the folder it is told in place


def test_a_broken_picture_before_the_model_is_open_is_told_once(
    session: Session, model: Path, broken: Path, errors: list[Exception]
) -> None:
    session.open(broken / "text.png")
    session.choose_model(str(model))
    settle(session)
    assert len(errors) == 1
    assert session.answer is not None
    assert session.answer.error is not None


@pytest.mark.parametrize("what", ["missing", "text", "folder"])
def test_a_file_that_is_no_model_is_an_error_and_the_former_model_stays(
    what: str, session: Session, model: Path, folder: Path, tmp_path: Path, errors: list[Exception]
) -> None:
    ready(session, model, folder / "a_red.png")
    bad = tmp_path / "bad.onnx"
    if what == "text":
        bad.write_text("no model")
    elif what == "folder":
        bad.mkdir()
    session.choose_model(str(bad))
    settle(session)
    assert [type(error) for error in errors] == [ModelFileError]
    assert session.model_name == "colours.onnx"
    session.step(1)
    settle(session)
    assert str(session.answer) == "green"


def test_a_model_file_that_was_deleted_goes_on_and_is_then_forgotten(
    session: Session, model: Path, folder: Path, errors: list[Exception]
) -> None:
    ready(session, model, folder / "a_red.png")
    assert session.recent.models == (str(model),)
    model.unlink()
    session.step(1)
    settle(session)
    assert str(session.answer) == "green"
    session.choose_model(str(model))
    settle(session)
    assert len(errors) == 1
    assert session.recent.models == ()


def test_a_mistake_of_ours_in_a_thread_is_an_error_too(
    session: Session, model: Path, folder: Path, errors: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(session, model, folder / "a_red.png")
    monkeypatch.setattr(pictures, "to_look_at", lambda picture: 1 / 0)
    session.step(1)
    wait(session, lambda: errors)
    assert isinstance(errors[0], ZeroDivisionError)
    assert not session.reading


def test_an_error_names_its_four_parts_on_lines_of_their_own() -> None:
    from whatsit.apps import presenter

    what, detail = presenter.problem(WhatsitError("cannot do it", value="this", accepted="that", hint="Do so."))
    assert what == "Cannot do it."
    assert detail == "Found: this\nAccepted: that\n\nDo so."


# ---- a network by name


def test_a_network_by_name_is_fetched_and_cancel_ends_that(
    session: Session, monkeypatch: pytest.MonkeyPatch, errors: list[Exception]
) -> None:
    stopped: list[threading.Event] = []

    def path_of(wanted: Any, quiet: bool, stopped_: threading.Event) -> Path:
        assert (wanted.name, quiet) == ("resnet50", True)
        stopped.append(stopped_)
        assert stopped_.wait(SECONDS)
        raise InterruptedEarlyError("stopped", value="", accepted="", hint="")

    monkeypatch.setattr(named_models, "path_of", lambda wanted, quiet, stopped: path_of(wanted, quiet, stopped))
    session.choose_model("resnet50")
    assert session.busy
    assert session.status.startswith("Getting resnet50 ready.")
    wait(session, lambda: stopped)
    session.cancel()
    assert not session.busy
    assert stopped[0].is_set()
    time.sleep(0.1)
    session.deliver()
    assert errors == []


def test_names_of_models() -> None:
    assert "resnet50" in models.by_name()
    assert "dinov2" not in models.by_name()  # it has no labels of its own
    assert models.file_of("everyday") == named_models.BUILTIN_FILE
    assert models.file_of("resnet50") is None
    assert models.shown("resnet50") == "resnet50"
    assert models.shown(os.path.join("runs", "photos", "model.onnx")) == "photos/model.onnx"
    assert models.shown(os.path.join("runs", "birds.onnx")) == "birds.onnx"


# ---- pasting and names


@pytest.mark.parametrize("written", ["path", "address", "second line"])
def test_a_pasted_text_may_name_a_file(
    written: str, session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.choose_model(str(model))
    picture = (folder / "a_red.png").rename(folder / "a füße.png")
    text = {"path": str(picture), "address": picture.as_uri(), "second line": f"copy\n{picture.as_uri()}\n"}[written]
    session.paste(text)
    settle(session)
    assert _file(session) == picture
    assert str(session.answer) == "red"


@pytest.mark.parametrize("how", ["dropped", "pasted", "pasted as text"])
def test_of_several_at_once_one_is_opened_and_the_others_are_not_forgotten(
    how: str, session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(folder / f"{name}.png") for name in COLOURS]
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: files)
    session.choose_model(str(model))
    if how == "dropped":
        session.open(files[0], of=3)
    else:
        session.paste("\n".join(files) if how == "pasted as text" else "")
    settle(session)
    assert str(session.answer) == "red"
    assert session.status == "1 of 3 opened: a_red.png. For all of them, put them in one folder."
    session.open(files[1])
    settle(session)
    assert session.status == ""


def test_a_pasted_picture_is_answered(
    session: Session, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready(session, model, folder / "a_red.png")
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: Image.new("RGB", (9, 9), "blue"))
    session.paste("some words")
    settle(session)
    assert session.picture is not None
    assert session.picture.name == "pasted picture"
    assert str(session.answer) == "blue"
    assert session.position == ""
    assert [answer.path for answer in session.results] == ["pasted picture"]


@pytest.mark.parametrize(
    ("grab", "found"),
    [
        (lambda: None, "no picture in the clipboard"),
        (list, "no picture in the clipboard"),
        (lambda: (_ for _ in ()).throw(NotImplementedError), "no program that hands over pictures"),
        (lambda: (_ for _ in ()).throw(ChildProcessError("xclip error: no display")), "xclip error"),
    ],
)
def test_what_cannot_be_pasted_is_an_error(
    grab: Any, found: str, session: Session, monkeypatch: pytest.MonkeyPatch, errors: list[Exception]
) -> None:
    monkeypatch.setattr(ImageGrab, "grabclipboard", grab)
    session.paste("")
    wait(session, lambda: errors)
    assert isinstance(errors[0], ImageError)
    assert found in str(errors[0].value)
    assert not session.busy


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text here")
def test_a_name_that_is_no_text_is_found_shown_and_saved(
    session: Session, model: Path, folder: Path, errors: list[Exception], tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/b_\xff\xc3\xa9.png"))
    odd.write_bytes((folder / "a_red.png").read_bytes())
    session.choose_model(str(model))
    session.open(folder / "b_ÿé.png")  # as Tk's file dialog calls it
    settle(session)
    assert errors == []
    assert _file(session) == odd
    assert session.answer is not None
    assert wording.answer(session.answer, None, odd.name).caption.startswith("b_\\udcffé.png, ")
    assert Recent(tmp_path / "state" / "recent.json").pictures == (str(odd),)
    session.save(tmp_path / "out.csv")
    wait(session, lambda: session.note.startswith("Saved"))
    assert "b_\\udcffé.png" in (tmp_path / "out.csv").read_text("utf-8")


# ---- saving


def test_the_results_are_saved_as_predict_writes_them(
    session: Session, model: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    (folder / "d_broken.png").write_text("hello")
    ready(session, model, folder / "a_red.png")
    session.analyse_folder()
    settle(session)
    session.save(tmp_path / "out.csv")
    wait(session, lambda: session.note.startswith("Saved"))
    assert session.note == "Saved 4 answers in out.csv."
    files = [str(path) for path in session.neighbours]
    main(["predict", "-m", str(model), *files, "--top", "10", "--format", "csv"])
    said = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    saved = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert [{**row, "score": "", "top": ""} for row in saved] == [{**row, "score": "", "top": ""} for row in said]
    for mine, theirs in zip(saved[:3], said[:3], strict=True):
        assert float(mine["score"]) == pytest.approx(float(theirs["score"]), abs=1e-4)


def test_a_place_that_cannot_be_written_to_is_an_error(
    session: Session, model: Path, folder: Path, errors: list[Exception]
) -> None:
    ready(session, model, folder / "a_red.png")
    session.save(folder / "notes.txt" / "out.csv")
    wait(session, lambda: errors)
    assert isinstance(errors[0], WhatsitError)
    assert errors[0].hint == "Free some space, or save it in another place."


# ---- words


def test_the_first_line_says_what_to_do_first(session: Session, model: Path) -> None:
    assert session.status == "To begin, choose a model."
    session.choose_model(str(model))
    assert session.status == "Opening colours.onnx…"
    settle(session)
    assert session.status == "To begin, choose a picture. It stays on this computer."
    assert session.awaited == "The answer appears here."


def test_the_answer_in_words(model: Path) -> None:
    manifest = OpenModel(model).manifest
    unsure = Prediction("x", "a b", 0.5, (("a b", 0.5), ("c", 0.3)), unsure=True)
    shown = wording.answer(unsure, manifest, "photo.jpg")
    assert (shown.kind, shown.headline) == ("unsure", "Not sure - perhaps a b (50\u00a0%) or c (30\u00a0%)")
    assert shown.why.startswith("Answers need a score of 80.0 %")
    assert shown.rows == [("a b", "50.0\u00a0%", 0.5), ("c", "30.0\u00a0%", 0.3)]
    error = wording.answer(Prediction("x", None, None, (), error="it is\ngone"), manifest, "photo.jpg")
    assert error == wording.Shown("error", "This picture cannot be read (it is\\ngone)")


def test_long_and_odd_labels_stay_readable_and_literal(model: Path) -> None:
    markup = "<b>{x}</b> [exec rm] $y \\"
    shown = wording.answer(Prediction("x", markup, 1.0, ((markup, 1.0), ("l" * 99, 0.0))), None, "n" * 99 + ".png")
    assert shown.headline.startswith(markup)
    assert shown.rows[0][0] == markup
    assert len(shown.caption) < 80
    assert ".png, " in shown.caption
    long = wording.answer(Prediction("x", "l" * 99, 0.9, (("l" * 99, 0.9),)), None, "n")
    assert long.headline.endswith("l… 90.0\u00a0%")


# ---- recent files


def test_recent_files_are_kept_the_latest_first_and_only_some(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "recent.json"
    recent = Recent(file)
    for number in range(12):
        recent.add_picture(Path(f"/p/{number}.png"))
    recent.add_picture(Path("/p/9.png"))
    recent.add_model(Path("/m.onnx"))
    again = Recent(file)
    assert again.pictures[:3] == ("/p/9.png", "/p/11.png", "/p/10.png")
    assert len(again.pictures) == 8
    assert again.models == ("/m.onnx",)
    again.forget(Path("/m.onnx"))
    assert Recent(file).models == ()


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"pictures": 3, "models": [1, "/m.onnx"]}', "\0"])
def test_a_damaged_file_of_recent_files_is_no_trouble(content: str, tmp_path: Path) -> None:
    file = tmp_path / "recent.json"
    file.write_text(content)
    recent = Recent(file)
    assert recent.pictures == ()
    recent.add_picture(Path("/a.png"))
    assert Recent(file).pictures == ("/a.png",)


def test_recent_files_that_cannot_be_kept_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recent = Recent(tmp_path / "file" / "recent.json")
    recent.add_picture(Path("/a.png"))
    assert recent.pictures == ("/a.png",)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another place there")
def test_the_place_of_recent_files_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert recent_file() == tmp_path / "whatsit" / "recent.json"


# ---- threads


def test_a_lane_does_the_latest_and_drops_the_rest() -> None:
    inbox, heard, begun, go = Inbox(), [], threading.Event(), threading.Event()
    lane = Lane("test", inbox)

    def first(task: Task) -> None:
        begun.set()
        assert go.wait(SECONDS)
        task.tell(heard.append, ("first", task.stopped.is_set()))

    lane.ask(first, heard.append)
    assert begun.wait(SECONDS)
    for number in range(5):
        lane.ask(lambda task, number=number: task.tell(heard.append, number), heard.append)  # type: ignore[misc]
    go.set()
    end = time.monotonic() + SECONDS
    while not heard and time.monotonic() < end:
        inbox.deliver(0.01)
    lane.close(SECONDS)
    inbox.deliver(0.01)
    assert heard == [4]


def test_what_was_told_before_the_cancel_is_not_heard_after_it() -> None:
    inbox, heard, told = Inbox(), [], threading.Event()
    lane = Lane("test", inbox)

    def work(task: Task) -> None:
        task.tell(heard.append, 1)
        told.set()

    lane.ask(work, heard.append)
    assert told.wait(SECONDS)
    lane.cancel()
    assert not inbox.deliver(0.01)
    assert heard == []
    lane.close(SECONDS)


# ---- light


def test_without_a_widget_there_is_no_tk() -> None:
    code = "import sys, whatsit.apps.desktop.session, whatsit.apps.presenter; print('tkinter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_without_a_display_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    if sys.platform != "linux":
        pytest.skip("there is always a display here")
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "whatsit", "desktop"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot open a window: got no display: DISPLAY is not set; accepted: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_tk_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    assert main(["desktop"]) == 2
    assert "apt install python3-tk" in capsys.readouterr().err
