"""`whatsit show-sample`: which pictures, what is said of them, and what bad input gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_model import write_tiny_model

from whatsit.apps.cli.main import main

pytest.importorskip("matplotlib", reason="needs the 'train' extra")

from whatsit.evaluation import plots

MakePhotos = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own current folder: without --out the picture goes there."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model.onnx")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[plots.Shown]:
    """What the last call drew."""
    seen: list[plots.Shown] = []
    draw = plots.picture_grid

    def note(shown: Any) -> Any:
        seen[:] = shown
        return draw(shown)

    monkeypatch.setattr(plots, "picture_grid", note)
    return seen


def show(*arguments: object) -> int:
    return main(["show-sample", *(os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments)])


def has_colour(path: Path, rgb: tuple[int, int, int]) -> bool:
    with Image.open(path) as image:
        return bool((np.abs(np.asarray(image.convert("RGB"), int) - rgb).max(axis=2) < 8).any())


RIGHT, WRONG = (0x1A, 0x7F, 0x37), (0xC6, 0x28, 0x28)


def test_pictures_are_drawn_with_answer_score_and_truth(
    model: Path, make_photos: MakePhotos, drawn: list[plots.Shown], folder: Path, capsys: Capture
) -> None:
    photos = make_photos(red=3, blue=2)
    (photos / "red" / "000.png").rename(photos / "blue" / "really red.png")
    assert show("-m", model, photos) == 0
    captured = capsys.readouterr()
    assert captured.out == "sample.png shows 5 of 5 pictures, 4 of them answered rightly\n"
    assert captured.err == ""
    assert [path.name for path in folder.iterdir()] == ["sample.png"]
    assert sorted(one.right is True for one in drawn) == [False, True, True, True, True]
    (wrong,) = (one.title for one in drawn if not one.right)
    assert wrong.startswith("red ")
    assert wrong.endswith(" %)\nis blue")
    assert has_colour(folder / "sample.png", RIGHT)
    assert has_colour(folder / "sample.png", WRONG)


def test_nothing_is_red_where_all_is_right(model: Path, make_photos: MakePhotos, folder: Path) -> None:
    assert show("-m", model, make_photos(blue=3)) == 0
    assert has_colour(folder / "sample.png", RIGHT)
    assert not has_colour(folder / "sample.png", WRONG)


def test_missing_plots_are_said_before_the_work(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from whatsit.apps.cli import samples

    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    assert show("-m", "nowhere.onnx", make_photos(red=1)) == 2
    assert "no module named 'matplotlib'" in capsys.readouterr().err


def test_a_seed_draws_the_same_again_and_none_draws_others(
    model: Path, make_photos: MakePhotos, drawn: list[plots.Shown]
) -> None:
    photos = make_photos(red=40, green=40, blue=40)

    def draw(*options: object) -> list[bytes]:
        assert show("-m", model, photos, *options) == 0
        return [one.picture.tobytes() for one in drawn]

    assert len(draw()) == 12
    assert draw("--seed", 7) == draw("--seed", 7)
    assert draw("--seed", 7) != draw("--seed", 8)
    assert draw() != draw()


def test_the_test_part_is_drawn_from_unless_another_is_asked_for(
    model: Path, make_photos: MakePhotos, drawn: list[plots.Shown], capsys: Capture
) -> None:
    make_photos("data/train", first=50, blue=4)
    data = make_photos("data/test", red=4).parent
    assert show("-m", model, data) == 0
    assert {one.title.split()[-1] for one in drawn} == {"red"}
    assert show("-m", model, data, "--split", "train", "--n", 3) == 0
    assert {one.title.split()[-1] for one in drawn} == {"blue"}
    assert "shows 3 of 4 pictures" in capsys.readouterr().out


def test_unreadable_pictures_are_left_out_and_said(model: Path, make_photos: MakePhotos, capsys: Capture) -> None:
    photos = make_photos(red=2)
    for number in range(3):
        (photos / "red" / f"broken{number}.png").write_bytes(b"no picture")
    assert show("-m", model, photos, "--n", 2, "--seed", 0) == 0
    captured = capsys.readouterr()
    assert "shows 2 of 5 pictures, 2 of them" in captured.out
    lines = captured.err.splitlines()
    assert all(line.startswith("unreadable: red/broken") for line in lines)
    assert 1 <= len(lines) <= 3


def test_labels_of_any_script_and_length_are_drawn(tmp_path: Path, folder: Path, capsys: Capture) -> None:
    labels = ["a$b$ \\frac{1}", "猫", "a label of so many words that its neighbour would have no room for its own"]
    for label in labels:
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photos" / label / "x.png")
    assert show("-m", write_tiny_model(tmp_path / "m.onnx", labels), tmp_path / "photos") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["PHOTOS", "--out", "sample.jpg"], "ends in .png"),
        (["PHOTOS", "--out", "sample"], "without an ending"),
        (["PHOTOS", "--out", "file/sample.png"], "cannot write"),
        (["PHOTOS", "--n", "0"], "0 is not in the range 1<=x<=100"),
        (["PHOTOS", "--n", "many"], "not a valid integer"),
        (["PHOTOS", "--seed", "-1"], "-1 is not in the range"),
        (["nowhere"], "cannot find the data"),
        (["PHOTOS", "--split", "tset"], "accepted: train, validation, val, test"),
        (["BROKEN"], "at least one readable picture"),
        (["UNKNOWN"], "Did you mean 'red'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    model: Path, make_photos: MakePhotos, folder: Path, capsys: Capture, arguments: list[str], says: str
) -> None:
    broken, unknown = make_photos("broken", red=1), make_photos("unknown", red=1)
    (broken / "red" / "000.png").write_bytes(b"no picture")
    (unknown / "red").rename(unknown / "reed")
    (folder / "file").touch()
    known = {"PHOTOS": make_photos(red=1), "BROKEN": broken, "UNKNOWN": unknown}
    assert show("-m", model, *(known.get(argument, argument) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in captured.err
    assert [path.name for path in folder.iterdir()] == ["file"]
