"""`whatsit predict` and `whatsit evaluate`: what is on stdout, what is on stderr, and what bad input gives."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from PIL import Image
from tiny_model import write_tiny_model

from whatsit import modelfile
from whatsit.apps.cli.main import main

MakePhotos = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
COLUMNS = ["path", "label", "score", "top", "unsure", "error"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model.onnx")


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """A red, a broken, a missing and a blue picture."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, label in (("r.png", "red"), ("b.png", "blue")):
        Image.fromarray(coloured(label, 0)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    return [folder / name for name in ("r.png", "broken.jpg", "missing.png", "b.png")]


def run(*arguments: object) -> int:
    return main([os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments])


def process(*arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "whatsit", *arguments]
    return subprocess.run(command, timeout=60, check=False, **{"capture_output": True, **options})


def only_error(capsys: Capture) -> str:
    """The one line of an error; nothing on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert "accepted: " in lines[0]
    return lines[0]


# ---- predict


def test_text_is_one_line_a_picture_in_the_order_given(model: Path, mixed: list[Path], capsys: Capture) -> None:
    assert run("predict", "-m", model, *mixed) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in mixed]
    assert lines[0].split(": ")[1].startswith("red ")
    assert lines[0].count("%") == 3
    assert "error: " in lines[1]
    assert "no such file" in lines[2]
    assert lines[3].split(": ")[1].startswith("blue ")
    assert captured.err == "2 of 4 pictures could not be read\n"
    assert "\x1b" not in captured.out


def test_all_readable_is_exit_code_zero_and_silence(model: Path, mixed: list[Path], capsys: Capture) -> None:
    assert run("predict", "--model", model, mixed[0]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["--top", "--top-k", "--topk"])
def test_so_many_labels(model: Path, mixed: list[Path], capsys: Capture, option: str) -> None:
    assert run("predict", "-m", model, mixed[0], option, 2) == 0
    assert capsys.readouterr().out.count("%") == 2
    assert run("predict", "-m", model, mixed[0], option, 99) == 0
    assert capsys.readouterr().out.count("%") == 3
    assert run("predict", "-m", model, mixed[0], option, 0) == 2
    assert "got 0" in only_error(capsys)


def rows_of(style: str, text: str) -> list[dict[str, Any]]:
    if style == "json":
        return list(json.loads(text))
    if style == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        row.update(top=json.loads(row["top"]), unsure=row["unsure"] == "True", score=float(row["score"] or "nan"))
        row.update({key: row[key] or None for key in ("label", "error")})
    return rows


@pytest.mark.parametrize("style", ["json", "jsonl", "csv"])
def test_machine_formats_read_back(model: Path, mixed: list[Path], capsys: Capture, style: str) -> None:
    assert run("predict", "-m", model, *mixed, "--format", style) == 1
    rows = rows_of(style, capsys.readouterr().out)
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert [row["path"] for row in rows] == [str(path) for path in mixed]
    assert [row["label"] for row in rows] == ["red", None, None, "blue"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, False]
    assert rows[0]["top"][0] == {"label": "red", "score": rows[0]["score"]}
    assert rows[1]["top"] == []
    assert sum(entry["score"] for entry in rows[3]["top"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("style", ["json", "jsonl", "csv"])
def test_machine_formats_without_any_readable_picture(model: Path, capsys: Capture, style: str) -> None:
    assert run("predict", "-m", model, "none.jpg", "--format", style) == 1
    (row,) = rows_of(style, capsys.readouterr().out)
    assert (row["path"], row["label"], row["unsure"]) == ("none.jpg", None, False)


def test_not_sure_is_said_in_words_and_in_rows(tmp_path: Path, mixed: list[Path], capsys: Capture) -> None:
    unsure = write_tiny_model(tmp_path / "unsure.onnx", threshold=0.999)
    assert run("predict", "-m", unsure, mixed[0]) == 0
    assert ": not sure  (red " in capsys.readouterr().out
    assert run("predict", "-m", unsure, mixed[0], "--format", "jsonl") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["unsure"], row["label"]) == (True, "red")


def test_folders_are_looked_through_in_order(model: Path, make_photos: MakePhotos, capsys: Capture) -> None:
    photos = make_photos(red=2, blue=2)
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "red" / "Thumbs.db").write_bytes(b"")
    (photos / ".cache").mkdir()
    (photos / ".cache" / "x.png").write_bytes(b"")
    single = photos / "blue" / "001.png"
    assert run("predict", "-m", model, single, photos, single, "--format", "jsonl") == 0
    captured = capsys.readouterr()
    paths = [json.loads(line)["path"] for line in captured.out.splitlines()]
    inside = [str(photos / name) for name in ("blue/000.png", "blue/001.png", "red/000.png", "red/001.png")]
    assert paths == [str(single), *inside, str(single)]
    assert "1 files are no pictures by their names" in captured.err


def test_a_folder_without_pictures_is_an_error(model: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert run("predict", "-m", model, tmp_path / "empty") == 2
    assert "cannot find pictures" in only_error(capsys)


def test_many_pictures_keep_their_order(model: Path, make_photos: MakePhotos, capsys: Capture) -> None:
    photos = make_photos(red=70, green=70)
    paths = [photos / label / f"{n:03d}.png" for n in range(70) for label in ("red", "green")]
    assert run("predict", "-m", model, *paths, "--format", "csv") == 0
    rows = rows_of("csv", capsys.readouterr().out)
    assert [(row["path"], row["label"]) for row in rows] == [(str(path), path.parent.name) for path in paths]


ODD = [b"caf\xe9.png", "猫 🍺.png".encode(), b"new\nline.png", b'quote",comma.png', b"\x1b[31mred.png", b"-m.png"]


@pytest.mark.parametrize("style", ["text", "json", "jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_file_names_of_any_bytes(model: Path, tmp_path: Path, style: str, encoding: str) -> None:
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)
    for name in ODD:
        with open(os.path.join(folder, name), "wb") as file:
            Image.fromarray(coloured("green", 1)).save(file, "PNG")
    paths = [os.path.join(folder, name) for name in ODD]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = process("predict", "-m", model, "--format", style, "--", *paths, env=environment)
    assert done.returncode == 0, done.stderr
    if style == "text":
        lines = done.stdout.decode(encoding).splitlines()
        assert len(lines) == len(ODD)
        assert all(": green " in line and "\x1b" not in line for line in lines)
        return
    rows = rows_of(style, done.stdout.decode("utf-8"))
    assert [row["label"] for row in rows] == ["green"] * len(ODD)
    if style == "csv":
        assert [row["path"].encode() for row in rows] == [
            os.fsdecode(path).encode("utf-8", "backslashreplace") for path in paths
        ]
    else:
        assert [os.fsencode(row["path"]) for row in rows] == paths


@pytest.mark.parametrize("style", ["text", "json", "jsonl", "csv"])
def test_out_holds_what_stdout_would(
    model: Path, mixed: list[Path], tmp_path: Path, capsys: Capture, style: str
) -> None:
    assert run("predict", "-m", model, *mixed, "--format", style) == 1
    expected = capsys.readouterr().out
    out = tmp_path / "new folder" / "answers"
    assert run("predict", "-m", model, *mixed, "--format", style, "--out", out) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert out.read_text("utf-8") == expected
    assert list(out.parent.iterdir()) == [out]


def test_out_that_cannot_be_written_leaves_nothing(
    model: Path, mixed: list[Path], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("as it was")
    before = sorted(tmp_path.rglob("*"))
    for out in (tmp_path / "file" / "x.csv", tmp_path, "/proc/x/y.csv"):
        assert run("predict", "-m", model, mixed[0], "--out", out) == 2
        assert "cannot write" in only_error(capsys)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "as it was"


def test_a_disk_that_fills_up_leaves_the_old_file(
    model: Path, mixed: list[Path], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.apps.cli import answers

    def full(predictions: Any, file: Any) -> None:
        file.write("half of it")
        list(predictions)
        raise OSError(28, "No space left on device")

    (tmp_path / "old.csv").write_text("as it was")
    monkeypatch.setitem(answers._WRITERS, "csv", full)
    assert run("predict", "-m", model, mixed[0], "--format", "csv", "--out", tmp_path / "old.csv") == 2
    assert "no space left" in only_error(capsys)
    assert (tmp_path / "old.csv").read_text() == "as it was"
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_behind_stdout_is_one_line(model: Path, mixed: list[Path]) -> None:
    with open("/dev/full", "wb") as full:
        done = process("predict", "-m", model, mixed[0], stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert b"no space left" in done.stderr


def test_out_may_be_a_device(model: Path, mixed: list[Path], capsys: Capture) -> None:
    assert run("predict", "-m", model, mixed[0], "--out", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("command", ["predict", "predict --format json", "evaluate"])
def test_a_reader_who_has_had_enough_ends_it_quietly(model: Path, make_photos: MakePhotos, command: str) -> None:
    photos = make_photos(red=3)
    line = [sys.executable, "-m", "whatsit", *command.split(), "-m", str(model), str(photos)]
    started = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert started.stderr.read() == b""
    started.stderr.close()
    assert started.wait(60) == 141


def test_head_gets_its_line_of_many(model: Path, make_photos: MakePhotos) -> None:
    photos = make_photos(red=2)
    line = [sys.executable, "-m", "whatsit", "predict", "-m", str(model), *[str(photos)] * 2000]
    started = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stderr is not None
    assert b"red" in started.stdout.readline()
    started.stdout.close()
    assert started.stderr.read() == b""
    started.stderr.close()
    assert started.wait(60) == 141


def test_ctrl_c_ends_it_at_once_and_leaves_no_half_file(model: Path, tmp_path: Path) -> None:
    """The second picture is a pipe that nobody writes to: the command waits for it until the signal comes."""
    Image.fromarray(coloured("red", 0)).save(tmp_path / "r.png")
    os.mkfifo(tmp_path / "waits.png")
    command = [sys.executable, "-m", "whatsit", "predict", "-m", str(model), str(tmp_path / "r.png")]
    command += [str(tmp_path / "waits.png"), "--out", str(tmp_path / "out.csv")]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # heeded also in the background
    )
    pipe = opened_when_somebody_reads(tmp_path / "waits.png")
    assert list(tmp_path.glob(".out.csv*"))
    started.send_signal(signal.SIGINT)
    time.sleep(0.3)
    os.close(pipe)  # the thread that reads it can only end when the pipe does
    _, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert err.decode().strip() == "stopped"
    assert not list(tmp_path.glob("*out.csv*"))


def opened_when_somebody_reads(pipe: Path) -> int:
    end = time.monotonic() + 120
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > end:
                raise
            time.sleep(0.02)


def test_answers_reach_a_pipe_although_a_person_watches_stderr(model: Path, make_photos: MakePhotos) -> None:
    import pty

    photos = make_photos(red=3)
    ours, theirs = pty.openpty()
    done = process("predict", "-m", model, photos, stdout=subprocess.PIPE, stderr=theirs, capture_output=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert [line.split(b": ")[1][:4] for line in done.stdout.splitlines()] == [b"red "] * 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict"], "Missing argument 'PICTURES"),
        (["predict", "-m", "MODEL"], "Missing argument 'PICTURES"),
        (["predict", "-m", "none.onnx", "x.jpg"], "no such file"),
        (["predict", "-m", "FOLDER", "x.jpg"], "a folder"),
        (["predict", "-m", "two\nlines\x1b.onnx", "x.jpg"], "two\\nlines\\x1b.onnx"),
        (["predict", "-m", "MODEL", "x.jpg", "--fromat", "csv"], "Did you mean --format"),
        (["predict", "-m", "MODEL", "x.jpg", "--format", "xml"], "accepted: text, json, jsonl, csv"),
        (["predict", "-m", "MODEL", "x.jpg", "--top", "many"], "'many' is not a valid integer"),
        (["predcit", "-m", "MODEL", "x.jpg"], "Did you mean 'predict'"),
        (["classify"], "accepted: demo, train, evaluate, predict"),
        (["--modle"], "unknown option --modle"),
        (["evaluate", "-m", "MODEL", "none"], "cannot find the data"),
        (["evaluate", "-m", "MODEL", "FOLDER", "--split", "tset"], "accepted: train, validation, val, test"),
        (["evaluate", "-m", "MODEL", "FOLDER", "--out", "FOLDER"], "cannot write"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    model: Path, tmp_path: Path, capsys: Capture, arguments: list[str], says: str
) -> None:
    (tmp_path / "folder").mkdir()
    known = {"MODEL": str(model), "FOLDER": str(tmp_path / "folder")}
    assert main([known.get(argument, argument) for argument in arguments]) == 2
    assert says in only_error(capsys)


def test_without_arguments_it_helps(capsys: Capture) -> None:
    assert main([]) == 0
    assert "whatsit train photos/" in capsys.readouterr().out


def test_the_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert "whatsit" in capsys.readouterr().out


# ---- evaluate


@pytest.mark.parametrize("verb", ["evaluate", "val"])
def test_evaluate_says_accuracy_interval_and_baseline(
    model: Path, make_photos: MakePhotos, capsys: Capture, verb: str
) -> None:
    photos = make_photos(red=6, green=4)
    (photos / "green" / "000.png").rename(photos / "red" / "green.png")
    assert run(verb, "-m", model, photos) == 0
    captured = capsys.readouterr()
    assert "Accuracy 90.0% (95 % interval 59.6% to 98.2%, 9 of 10) on all pictures" in captured.out
    assert "always answering 'red' gives 70.0%" in captured.out
    assert "1 times 'red' was taken for 'green'" in captured.out
    assert re.search(r"^Loss 0\.\d{3} \(mean cross-entropy\)$", captured.out, re.MULTILINE)
    assert captured.err == ""


def test_evaluate_json_is_the_last_line(model: Path, make_photos: MakePhotos, capsys: Capture) -> None:
    photos = make_photos("data/test", red=4, green=4).parent
    make_photos("data/train", first=50, red=4, green=4)
    (photos / "test" / "red" / "broken.png").write_bytes(b"no")
    assert run("evaluate", "-m", model, photos, "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result["accuracy"] == 1
    assert result["n"] == 8
    assert result["unreadable"] == 1
    assert result["interval"] == pytest.approx([0.6756, 1], abs=1e-4)
    assert result["split"] == "test"
    assert result["known_from_training"] == 0
    assert list(result["unreadable_pictures"]) == ["test/red/broken.png"]
    assert "unreadable: test/red/broken.png: " in captured.err


def test_evaluate_gives_the_mean_cross_entropy_of_the_answers(
    model: Path, make_photos: MakePhotos, tmp_path: Path, capsys: Capture
) -> None:
    """Two right answers at the score that --out tells, and nothing else."""
    photos = make_photos(red=1, blue=1)
    assert run("evaluate", "-m", model, photos, "--json", "--out", tmp_path / "rows.csv") == 0
    out = capsys.readouterr().out
    scores = [float(row["score"]) for row in csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())]
    loss = json.loads(out.splitlines()[-1])["loss"]
    assert loss == pytest.approx(-np.log(scores).mean(), abs=1e-5)
    assert f"Loss {loss:.3f} " in out


def test_a_model_file_from_before_the_loss_was_measured_is_still_read(
    make_photos: MakePhotos, tmp_path: Path, capsys: Capture
) -> None:
    from whatsit.runtime import OpenModel
    from whatsit.runtime.judging import evaluate
    from whatsit.sources import open_data

    photos = make_photos(red=2, green=2)
    measured = evaluate(OpenModel(write_tiny_model(tmp_path / "new.onnx")), open_data(photos)).report.to_json()
    assert measured.pop("loss") > 0
    old = write_tiny_model(tmp_path / "old.onnx", measured=measured)
    for command in (["show", old], ["verify", old], ["evaluate", "-m", old, photos]):
        assert run(*command) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["val", "validation"])
def test_evaluate_another_part(model: Path, make_photos: MakePhotos, capsys: Capture, name: str) -> None:
    data = make_photos("data/test", red=4, green=4).parent
    make_photos("data/valid", first=50, red=3, green=2)
    assert run("evaluate", "-m", model, data, "--split", name, "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["n"], result["split"]) == (5, "validation")


def test_evaluate_counts_and_names_what_training_knew(make_photos: MakePhotos, tmp_path: Path, capsys: Capture) -> None:
    photos = make_photos(red=4, green=4)
    contents = [hashlib.sha256((photos / "red" / f"{n:03d}.png").read_bytes()).hexdigest() for n in range(2)]
    model = write_tiny_model(tmp_path / "m.onnx", known=modelfile.known_contents(contents))
    assert run("evaluate", "-m", model, photos, "--json") == 0
    captured = capsys.readouterr()
    assert "2 of 8 pictures were known from training: red/000.png, red/001.png" in captured.err
    assert "Accuracy on the others: 100.0%" in captured.out
    result = json.loads(captured.out.splitlines()[-1])
    assert result["known_from_training"] == 2
    assert result["known_pictures"] == ["red/000.png", "red/001.png"]
    assert result["interval_unseen"] == pytest.approx([0.6097, 1], abs=1e-4)


def test_evaluate_on_nothing_but_known_pictures_says_what_that_means(
    make_photos: MakePhotos, tmp_path: Path, capsys: Capture
) -> None:
    photos = make_photos(red=2)
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.png")]
    model = write_tiny_model(tmp_path / "m.onnx", known=modelfile.known_contents(contents))
    assert run("evaluate", "-m", model, photos) == 0
    assert "how well it remembers" in capsys.readouterr().err


def test_evaluate_out_holds_a_row_a_picture(
    model: Path, make_photos: MakePhotos, tmp_path: Path, capsys: Capture
) -> None:
    photos = make_photos(red=2, green=1)
    (photos / "green" / "000.png").rename(photos / "red" / 'a "green", one.png')
    assert run("evaluate", "-m", model, photos, "--out", tmp_path / "rows.csv") == 0
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [list(row) for row in rows] == [["path", "actual", "predicted", "score"]] * 3
    by_name = {row["path"]: row for row in rows}
    assert by_name['red/a "green", one.png']["predicted"] == "green"
    assert by_name["red/000.png"]["actual"] == "red"
    assert 0 < float(by_name["red/001.png"]["score"]) <= 1


def test_evaluate_refuses_where_rows_cannot_be_written_before_any_work(
    model: Path, make_photos: MakePhotos, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").touch()
    assert run("evaluate", "-m", model, make_photos(red=1), "--out", tmp_path / "file" / "rows.csv") == 2
    assert "cannot write" in only_error(capsys)


def test_evaluate_refuses_unknown_classes_with_a_suggestion(
    model: Path, make_photos: MakePhotos, capsys: Capture
) -> None:
    photos = make_photos(red=1, green=1)
    (photos / "green").rename(photos / "gren")
    assert run("evaluate", "-m", model, photos) == 2
    assert "Did you mean 'green'" in only_error(capsys)


def test_evaluate_shows_so_many_classes_and_says_that_there_are_more(tmp_path: Path, capsys: Capture) -> None:
    labels = [f"label {n:02d}" for n in range(60)]
    model = write_tiny_model(tmp_path / "m.onnx", labels)
    for label in labels:
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photos" / label / "x.png")
    assert run("evaluate", "-m", model, tmp_path / "photos") == 0
    out = capsys.readouterr().out
    assert "label 49" in out
    assert "and 10 more classes" in out
