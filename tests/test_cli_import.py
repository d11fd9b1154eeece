"""whatsit import, from the command line to a file that every other command takes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import coloured
from PIL import Image

onnx = pytest.importorskip("onnx", reason="needs the 'train' extra")
pytest.importorskip("sklearn", reason="needs the 'train' extra")

from foreign_graphs import save  # noqa: E402

from whatsit.apps.cli.main import main  # noqa: E402
from whatsit.importers import extras  # noqa: E402


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a foreign model and its labels, and nothing else; commands run in it."""
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "foreign.onnx")
    (tmp_path / "in" / "labels.txt").write_text("red\ngreen\nblue\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMPORT = ["import", "in/foreign.onnx", "--labels", "in/labels.txt", "--preprocess", "0..1"]


def test_an_imported_file_is_shown_verified_used_and_judged(
    place: Path, make_photos: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(IMPORT) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "24 pictures answered as by the original: largest difference" in captured.err
    assert "foreign.onnx holds the model; try it: whatsit predict -m foreign.onnx" in captured.err
    assert main(["show", "foreign.onnx"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "3 labels: red, green, blue",
        "8x8 pixels, crop",
        "not measured",
        "it was not calibrated",
        "not known",
    ):
        assert text in shown
    assert main(["verify", "foreign.onnx"]) == 0
    photos = make_photos(red=3, green=3, blue=3)
    assert main(["predict", "-m", "foreign.onnx", str(photos / "red"), "--format", "json"]) == 0
    assert main(["evaluate", "-m", "foreign.onnx", str(photos)]) == 0


def test_offline_no_data_set_is_fetched_to_calibrate_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from whatsit import downloads

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it connected")

    monkeypatch.setenv("WHATSIT_DATA", str(place / "empty"))
    monkeypatch.setattr(downloads, "fetch_on", refuse)
    assert main([*IMPORT, "--calibrate", "cifar10", "--offline"]) == 2
    assert "Without --offline or WHATSIT_OFFLINE it is fetched" in capsys.readouterr().err
    assert not (place / "foreign.onnx").exists()


def test_a_calibrated_file_says_when_it_is_not_sure(
    place: Path, make_photos: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(red=10, green=10, blue=10)
    assert main([*IMPORT, "--calibrate", "photos", "--out", "made/warm.onnx", "--fit", "squash"]) == 0
    assert "temperature" in capsys.readouterr().err
    assert main(["show", "made/warm.onnx", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["calibration"]["temperature"] != 1
    assert shown["preprocess"]["fit"] == "squash"
    assert shown["recipe"]["calibration_pictures"] == shown["known_pictures"] == 30


def test_golden_pictures_of_ones_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "mine").mkdir()
    Image.fromarray(coloured("red", 1)).save(place / "mine" / "one.png")
    assert main([*IMPORT, "--golden", "mine"]) == 0
    capsys.readouterr()
    assert main(["show", "foreign.onnx", "--json"]) == 0
    assert [golden["name"] for golden in json.loads(capsys.readouterr().out)["golden"]] == ["one.png"]


def test_what_is_there_already_is_not_overwritten_unasked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "foreign.onnx").write_text("mine")
    assert main(IMPORT) == 2
    assert "a file that is there already" in capsys.readouterr().err
    before = (place / "in" / "foreign.onnx").read_bytes()
    assert main([*IMPORT, "--out", "in/foreign.onnx"]) == 2
    assert (place / "in" / "foreign.onnx").read_bytes() == before
    assert main([*IMPORT, "--out", "foreign.onnx"]) == 0
    assert main([*IMPORT, "--out", "in"]) == 2


def _labels_too_few(folder: Path) -> list[str]:
    (folder / "few.txt").write_text("a\nb\n")
    return ["in/foreign.onnx", "--labels", "in/few.txt", "--preprocess", "0..1"]


def _text_named_onnx(folder: Path) -> list[str]:
    (folder / "text.onnx").write_text("not a model")
    return ["in/text.onnx", "--labels", "in/labels.txt"]


def _cut_off(folder: Path) -> list[str]:
    (folder / "cut.onnx").write_bytes((folder / "foreign.onnx").read_bytes()[:-40])
    return ["in/cut.onnx", "--labels", "in/labels.txt"]


def _pickle_bomb(folder: Path) -> list[str]:
    torch = pytest.importorskip("torch")

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(folder.parent / "it-ran"),)

    torch.save({"state_dict": Bomb()}, folder / "bomb.pth")
    return ["in/bomb.pth", "--labels", "in/labels.txt", "--network", "cifar_resnet20", "--preprocess", "imagenet"]


def _zip_bomb(folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keras_model.h5", bytes(150_000_000))
        archive.writestr("labels.txt", "0 a\n1 b\n")
    return ["in/bomb.zip"]


def _other_weights(folder: Path) -> list[str]:
    torch = pytest.importorskip("torch")
    torch.save({"linear.weight": torch.zeros(3, 64), "linear.bias": torch.zeros(3)}, folder / "net.pth")
    return ["in/net.pth", "--labels", "in/labels.txt", "--network", "cifar_resnet20", "--preprocess", "imagenet"]


def _without_config(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["in/empty"]


def _not_there(folder: Path) -> list[str]:
    return ["in/gone.keras"]


def _unknown_scaling(folder: Path) -> list[str]:
    return ["in/foreign.onnx", "--labels", "in/labels.txt", "--preprocess", "imagnet"]


def _nothing_said(folder: Path) -> list[str]:
    return ["in/foreign.onnx"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_labels_too_few, "got 2 labels; accepted: 3 labels"),
        (_text_named_onnx, "ONNX"),
        (_cut_off, "ONNX"),
        (_pickle_bomb, "pickled objects are never loaded"),
        (_zip_bomb, "do not unpack it"),
        (_other_weights, "weights saved from the same network"),
        (_without_config, "config.json"),
        (_not_there, "no such file"),
        (_unknown_scaling, "Did you mean 'imagenet'"),
        (_nothing_said, "--preprocess"),
    ],
)
def test_every_bad_input_ends_in_one_line_and_leaves_no_file(
    make: Callable[[Path], list[str]], said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = make(place / "in")
    assert main(["import", *arguments, "--out", "out.onnx"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("reading ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert said in errors[0]
    assert [path.name for path in place.iterdir()] == ["in"]


def test_a_missing_library_is_named_with_its_extra(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "in" / "net.tflite").write_bytes(b"x")
    installed = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "tf2onnx" else installed(name))
    assert main(["import", "in/net.tflite"]) == 2
    assert "no module named 'tf2onnx'" in (error := capsys.readouterr().err)
    assert "pip install 'whatsit[import]'" in error
