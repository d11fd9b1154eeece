"""The one file: what goes in comes out; whatever is not a whole file of ours is refused in words."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tiny_model import expected_probabilities, write_tiny_model

from whatsit import modelfile
from whatsit.errors import ModelFileError, OutputError, ParityError
from whatsit.images import load
from whatsit.modelfile import Golden, Manifest
from whatsit.preprocess import Preprocess

FULL = Manifest(
    labels=("Köter", "猫", "a,b"),
    preprocess=Preprocess("pad", (3, 5), "bilinear", pad_colour=(1, 2, 3)),
    threshold=0.625,
    calibration={"temperature": 1.5},
    measured={"accuracy": 0.5, "interval": [0.25, 0.75]},
    data={"name": "pets"},
    known=np.array([1, 2**64 - 1], np.uint64),
    recipe={"seed": 0},
    weights={"licence": None},
    golden=(Golden("x.png", "猫", np.arange(45, dtype=np.uint8).reshape(3, 5, 3), (0.25, 0.5, 0.25)),),
    whatsit="0.1.0",
    created="2026-01-31",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model.onnx")


def keep(part: Path) -> None:
    """A check that every file passes."""


def refusal(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        modelfile.read_manifest(path)
    error = caught.value
    assert all([error.what, error.value, error.accepted, error.hint])
    assert "\n" not in str(error)
    return error


def sealed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same graph with another manifest and a right checksum: what another version could have written."""
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    data = json.loads(metadata["whatsit"])
    change(data)
    del data["sha256"]
    graph = onnx.load(path)
    del graph.metadata_props[:]
    text = json.dumps({**data, "sha256": "0" * 64}).encode()
    entry = modelfile._metadata_entry(text)[:-66]
    start = graph.SerializeToString() + entry
    path.write_bytes(start + hashlib.sha256(start).hexdigest().encode() + b'"}')
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    modelfile.write(tmp_path / "m.onnx", b"", FULL, keep)
    read = modelfile.read_manifest(tmp_path / "m.onnx")
    same = ("labels", "preprocess", "threshold", "calibration", "measured", "data", "recipe", "weights", "created")
    assert all(getattr(read, name) == getattr(FULL, name) for name in same)
    assert np.array_equal(read.known, FULL.known)
    (golden,) = read.golden
    assert (golden.name, golden.label, golden.probabilities) == ("x.png", "猫", (0.25, 0.5, 0.25))
    assert np.array_equal(golden.picture, FULL.golden[0].picture)


def test_a_read_manifest_can_be_changed_and_written_again(model: Path) -> None:
    manifest = modelfile.read_manifest(model)
    modelfile.write(model, b"", replace(manifest, threshold=0.5), keep)
    again = modelfile.read_manifest(model)
    assert again.threshold == 0.5
    assert len(again.golden[1:]) == 2
    assert np.array_equal(again.golden[2].picture, manifest.golden[-1].picture)


def test_it_is_a_plain_onnx_file_with_one_json_value(model: Path) -> None:
    loaded = onnx.load(model)
    onnx.checker.check_model(loaded, full_check=True)
    (entry,) = loaded.metadata_props
    assert entry.key == "whatsit"
    data = json.loads(entry.value)
    assert data["format"] == modelfile.FORMAT
    assert data["labels"] == ["red", "green", "blue"]
    assert data["sha256"] == hashlib.sha256(model.read_bytes()[:-66]).hexdigest()


def test_every_cut_is_refused(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    start = whole.index(b"whatsit") - 6
    near = [cut + step for cut in (0, start, len(whole)) for step in range(-12, 13)]
    for length in sorted({n for n in (*near, *range(0, len(whole), 97)) if 0 <= n < len(whole)}):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        assert "cannot" in refusal(tmp_path / "cut.onnx").what


def test_every_flipped_bit_is_refused(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    chance = random.Random(0)
    places = {*(chance.randrange(len(whole)) for _ in range(400)), *range(40), *range(len(whole) - 80, len(whole))}
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped.onnx").write_bytes(damaged)
        refusal(tmp_path / "flipped.onnx")


def test_one_changed_digit_in_the_manifest_is_refused(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "model.onnx", threshold=0.75)
    path.write_bytes(path.read_bytes().replace(b'"threshold": 0.75', b'"threshold": 0.15', 1))
    assert "checksum" in str(refusal(path).value)


@pytest.mark.parametrize("extra", [b"\n", b"\0", b"\x72\x00", b"PK\x03\x04 and more"])
def test_appended_bytes_are_said(model: Path, extra: bytes) -> None:
    model.write_bytes(model.read_bytes() + extra)
    assert "appended" in str(refusal(model).value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"hello, I am a text file\n" * 40, "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not an ONNX file"),
        (b"\x08\x09", "without a whatsit manifest"),
        (b"\x72" + b"\xff" * 9 + b"\x7f", "cut off"),
        (b"\x72" + b"\xff" * 30, "not an ONNX file"),
        (b"\x72\xff\xff\xff\x7fabc", "cut off"),
        (b"\x72\x0a\x0a\x07whatsit\x12", "not readable"),
        (b"\x72\x0d\x0a\x07whatsit\x12\x02{}", "not readable"),
        (b"\x72\x0d\x0a\x07whatsit\x12\x02[]", "not readable"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "other.onnx").write_bytes(content)
    assert reason in str(refusal(tmp_path / "other.onnx").value)


def test_a_foreign_onnx_file_is_refused(shared: Path) -> None:
    error = refusal(shared / "models_to_import" / "shufflenet-v2-12-int8.onnx")
    assert "without a whatsit manifest" in str(error.value)


def test_a_missing_file_a_folder_and_an_impossible_name_are_told_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.onnx").value == "no such file"
    assert refusal(tmp_path).value == "a folder"
    assert "null" in str(refusal(Path("a\0b")).value)
    assert "too long" in str(refusal(tmp_path / ("x" * 300)).value)


def test_a_file_one_may_not_read_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert refusal(model).value == "permission denied"


def test_a_newer_format_asks_for_an_update(model: Path) -> None:
    error = refusal(sealed(model, lambda data: data.update(format=99, whatsit="7.0")))
    assert "format 99" in str(error.value)
    assert "7.0" in str(error.value)
    assert "upgrade" in error.hint


@pytest.mark.parametrize("key", ["labels", "preprocess", "threshold", "known", "golden", "measured", "created"])
def test_a_manifest_that_lacks_something_is_refused(model: Path, key: str) -> None:
    assert key in str(refusal(sealed(model, lambda data: data.pop(key))).value)


def test_a_manifest_with_an_unknown_geometry_is_refused(model: Path) -> None:
    error = refusal(sealed(model, lambda data: data["preprocess"].update(fit="stretch")))
    assert "stretch" in str(error.value)


def test_a_golden_picture_that_is_none_is_said_when_it_is_looked_at(model: Path) -> None:
    manifest = modelfile.read_manifest(sealed(model, lambda data: data["golden"][1].update(picture="AAAA")))
    assert manifest.golden[0].label == "red"
    with pytest.raises(ModelFileError, match="golden picture 'colours/1'"):
        _ = manifest.golden[1]


def test_a_file_that_does_not_pass_its_check_is_not_kept(tmp_path: Path) -> None:
    def check(part: Path) -> None:
        assert modelfile.read_manifest(part).labels == FULL.labels  # it was whole already
        modelfile.check_parity(np.float32([0.5]), np.float32([0.6]))

    (tmp_path / "m.onnx").write_bytes(b"the one of before")
    with pytest.raises(ParityError, match=r"differ by 0\.1"):
        modelfile.write(tmp_path / "m.onnx", b"", FULL, check)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"the one of before"


def test_a_place_that_cannot_be_written_to_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        modelfile.write(tmp_path / "file" / "m.onnx", b"", FULL, keep)


@pytest.mark.parametrize("answered", [[0.5, np.nan], [0.5, 0.5002], [np.inf, 0.5], [0.5]])
def test_parity_fails_on_what_is_not_equal(answered: list[float]) -> None:
    with pytest.raises(ParityError) as caught:
        modelfile.check_parity(np.float32(answered), np.float32([0.5, 0.5]))
    assert caught.value.exit_code == 4


def test_parity_holds_within_the_tolerance() -> None:
    assert modelfile.check_parity(np.float32([0.5, 0.50005]), np.float32([0.5, 0.5])) == pytest.approx(5e-5, rel=0.01)
    assert modelfile.check_parity(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)) == 0


def test_verify_replays_the_golden_pictures(model: Path) -> None:
    manifest = modelfile.read_manifest(model)
    seen: list[NDArray[np.uint8]] = []

    def right(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(pictures)
        return np.stack([expected_probabilities(picture, 3) for picture in pictures])

    assert modelfile.verify(manifest, right) < 1e-6
    assert seen[0].shape == (3, 16, 16, 3)
    with pytest.raises(ParityError, match="does not answer here"):
        modelfile.verify(manifest, lambda pictures: right(pictures)[::-1])
    with pytest.raises(ParityError):
        modelfile.verify(manifest, lambda pictures: right(pictures)[:, :2])


def test_without_golden_pictures_there_is_nothing_to_replay(tmp_path: Path) -> None:
    manifest = modelfile.read_manifest(write_tiny_model(tmp_path / "m.onnx", golden=False))
    assert manifest.golden == ()
    assert modelfile.verify(manifest, lambda pictures: pytest.fail("asked")) == 0


def test_known_pictures_are_found_by_their_content() -> None:
    contents = [hashlib.sha256(bytes([n])).hexdigest() for n in range(200)]
    manifest = replace(FULL, known=modelfile.known_contents(contents[:100] + contents[:50]))
    assert len(manifest.known) == 100
    assert [manifest.knows(content) for content in contents] == [True] * 100 + [False] * 100
    assert not manifest.knows("f" * 64)
    assert not manifest.knows("0" * 64)
    assert not replace(FULL, known=modelfile.known_contents([])).knows(contents[0])
    assert replace(FULL, known=modelfile.known_contents(["f" * 64, "0" * 64])).knows("f" * 64)


def test_png_keeps_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(load(modelfile.encode_png(picture)), picture)
