"""`whatsit show` and `whatsit verify`, and what they say about files that are no model files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_model import golden_pictures, write_tiny_model

from whatsit import modelfile
from whatsit.apps.cli.main import main
from whatsit.modelfile import GOLDEN_TOLERANCE, Golden

Capture = pytest.CaptureFixture[str]

MEASURED = {
    "accuracy": 0.875,
    "interval": [0.8, 0.925],
    "n": 1200,
    "baseline": 0.4,
    "coverage": 0.905,
    "answered_accuracy": 0.921,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(
        tmp_path / "model.onnx", threshold=0.625, measured=MEASURED, known=np.arange(80, dtype=np.uint64)
    )


def test_show_says_what_is_in_the_file(model: Path, capsys: Capture) -> None:
    assert main(["show", str(model)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = {line[:12].strip(): line[12:] for line in captured.out.splitlines()}
    assert lines["answers"] == "3 labels: red, green, blue"
    assert lines["sees"] == "16x16 pixels, squash, bicubic"
    assert lines["network"] == "mean colour, 12 parameters"
    assert lines["accuracy"] == "87.5% (95 % interval 80.0% to 92.5%) on 1,200 test pictures; baseline 40.0%"
    assert lines["not sure"] == (
        "below 0.62, chosen so that 95% of the answers on validation were right; "
        "90.5% of the test pictures got an answer, 92.1% of these right"
    )
    assert lines["data"].startswith("colours (180 train, 60 validation, 60 test), fingerprint c0105")
    assert lines["golden"].startswith("3 pictures")
    assert "whatsit verify" in lines["golden"]


def test_show_json_is_one_object_with_everything_but_pixels(model: Path, capsys: Capture) -> None:
    assert main(["show", str(model), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    data = json.loads(out)
    assert data["labels"] == ["red", "green", "blue"]
    assert data["preprocess"]["size"] == [16, 16]
    assert data["threshold"] == 0.625
    assert data["measured"] == MEASURED
    assert data["known_pictures"] == 80
    assert [golden["label"] for golden in data["golden"]] == data["labels"]
    assert "picture" not in data["golden"][0]


def test_show_of_a_file_that_says_little(tmp_path: Path, capsys: Capture) -> None:
    bare = write_tiny_model(tmp_path / "m.onnx", golden=False, calibration={}, data={}, recipe={}, weights={})
    assert main(["show", str(bare)]) == 0
    lines = {line[:12].strip(): line[12:] for line in capsys.readouterr().out.splitlines()}
    assert lines["network"] == "?, ? parameters"
    assert lines["accuracy"] == "not measured"
    assert lines["not sure"] == "never: it was not calibrated"
    assert lines["data"] == "not known"
    assert lines["golden"] == "none"
    half = write_tiny_model(
        tmp_path / "m.onnx", threshold=0.5, calibration={}, data={"name": "x"}, weights={"pretrained": "w"}
    )
    assert main(["show", str(half)]) == 0
    assert "w, licence not stated" in capsys.readouterr().out


def test_show_says_why_there_is_no_threshold(tmp_path: Path, capsys: Capture) -> None:
    assert main(["show", str(write_tiny_model(tmp_path / "m.onnx"))]) == 0
    assert "never: no threshold kept the promised accuracy" in capsys.readouterr().out


def test_show_of_many_labels_names_a_dozen(tmp_path: Path, capsys: Capture) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", [f"l{n}" for n in range(100)], golden=False)
    assert main(["show", str(path)]) == 0
    assert "100 labels: l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11 and 88 more" in capsys.readouterr().out


def test_labels_with_escape_codes_do_nothing_to_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", ["\x1b[2Jgone", "two\nlines", "c"], golden=False)
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "two\\nlines" in out


def test_verify_replays_the_golden_pictures(model: Path, capsys: Capture) -> None:
    assert main(["verify", str(model)]) == 0
    captured = capsys.readouterr()
    assert "3 golden pictures" in captured.out
    assert f"{GOLDEN_TOLERANCE:g}" in captured.out
    assert captured.err == ""


def test_verify_fails_where_the_answers_are_others(tmp_path: Path, capsys: Capture) -> None:
    golden = golden_pictures(("red", "green", "blue"), (16, 16))
    first = golden[0]
    shifted = (first.probabilities[0] - 0.002, first.probabilities[1] + 0.002, first.probabilities[2])
    golden[0] = Golden(first.name, first.label, first.picture, shifted)
    path = write_tiny_model(tmp_path / "m.onnx")
    manifest = replace(modelfile.read_manifest(path), golden=tuple(golden))
    graph = onnx.load(path)
    del graph.metadata_props[:]
    modelfile.write(path, graph.SerializeToString(), manifest, lambda part: None)
    assert main(["verify", str(path)]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "does not answer here as it did where it was made" in captured.err
    assert "0.002" in captured.err


def test_verify_without_golden_pictures_does_not_claim_more_than_it_did(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", str(write_tiny_model(tmp_path / "m.onnx", golden=False))]) == 0
    assert "not checked" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["verify"], ["predict", "x.jpg", "-m"]])
def test_files_that_are_no_model_files_give_one_line(
    tmp_path: Path, model: Path, capsys: Capture, command: list[str]
) -> None:
    whole = model.read_bytes()
    contents = {
        "empty": b"",
        "text": b"hello\n",
        "cut": whole[: len(whole) // 2],
        "barely cut": whole[:-1],
        "grown": whole + b"\n",
        "flipped": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "missing", "."):
        assert main([*command, str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1


def test_a_foreign_onnx_file_is_refused(shared: Path, capsys: Capture) -> None:
    assert main(["verify", str(shared / "models_to_import" / "shufflenet-v2-12-int8.onnx")]) == 2
    assert "without a whatsit manifest" in capsys.readouterr().err
