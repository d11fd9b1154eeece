"""What every importer ends with: parity, golden pictures, temperature; and labels and archives on the way there."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from PIL import Image

pytest.importorskip("onnx", reason="needs the 'train' extra")
pytest.importorskip("sklearn", reason="needs the 'train' extra")

from foreign_graphs import save

from whatsit import dataset, modelfile, sources
from whatsit.errors import DataError, ModelFileError, OptionError, ParityError
from whatsit.events import Event, Notice
from whatsit.importers import finish, teachable_machine
from whatsit.importers.archives import open_zip
from whatsit.importers.brought import Brought
from whatsit.importers.calibrating import calibrated
from whatsit.importers.choosing import bring
from whatsit.importers.labels import read_labels
from whatsit.importers.said import Said
from whatsit.runtime import OpenModel

LABELS = ("red", "green", "blue")


@pytest.fixture
def brought(tmp_path: Path) -> Brought:
    return bring(save(tmp_path / "foreign.onnx"), Said(labels=LABELS, preprocess="0..1"))


def test_golden_pictures_are_ten_different_parts_of_two_photos(brought: Brought, tmp_path: Path) -> None:
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    golden = model.manifest.golden
    assert len(golden) == 10
    assert len({one.picture.tobytes() for one in golden}) == 10
    assert {one.name.split()[0] for one in golden} == {"china.jpg", "flower.jpg"}
    assert all(one.label == LABELS[int(np.argmax(one.probabilities))] for one in golden)
    assert modelfile.verify(model.manifest, model.answers) < 1e-6


def test_golden_pictures_may_come_from_a_folder(
    brought: Brought, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_photos(red=2, blue=1)
    (photos / "broken.png").write_bytes(b"no picture")
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx", golden=photos))
    assert [one.name for one in model.manifest.golden] == ["blue/000.png", "red/000.png", "red/001.png"]
    for empty in (tmp_path / "nowhere", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(OptionError, match="golden pictures"):
            finish.write(brought, tmp_path / "second.onnx", golden=empty)
        assert not (tmp_path / "second.onnx").exists()


def test_a_file_that_answers_otherwise_is_not_kept(brought: Brought, tmp_path: Path) -> None:
    wrong = replace(brought, original=lambda pictures: brought.original(pictures) + np.float32(2e-4))
    with pytest.raises(ParityError):
        finish.write(wrong, tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.onnx"]


def test_integers_may_differ_where_the_original_is_undecided_and_nowhere_else(brought: Brought, tmp_path: Path) -> None:
    def swapped(margin: float) -> Any:
        """The first two labels exchanged, in answers that differ by `margin`."""

        def answer(pictures: Any) -> Any:
            rows = np.zeros((len(pictures), 3), np.float32)
            order = np.argsort(-brought.original(pictures), axis=1)
            rows[np.arange(len(rows)), order[:, 1]] = 0.5 + margin / 2
            rows[np.arange(len(rows)), order[:, 0]] = 0.5 - margin / 2
            return rows

        return answer

    undecided = replace(brought, quantised=1 / 256, original=swapped(11 / 256))
    assert OpenModel(finish.write(undecided, tmp_path / "out.onnx")).manifest.weights["largest_difference"] > 0.01
    with pytest.raises(ParityError, match="another first label on 24 of 24 pictures"):
        finish.write(replace(undecided, original=swapped(13 / 256)), tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_calibrating_puts_a_temperature_into_the_graph(
    brought: Brought, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    data = sources.open_data(make_photos(red=15, green=15, blue=15))
    events: list[Event] = []
    fitted = calibrated(brought, data, events.append)
    assert fitted.calibration is not None
    temperature = fitted.calibration.temperature
    assert temperature != 1
    assert any(isinstance(event, Notice) and "temperature" in event.text for event in events)
    plain = OpenModel(finish.write(brought, tmp_path / "plain.onnx"))
    warm = OpenModel(finish.write(fitted, tmp_path / "warm.onnx"))
    picture = coloured("red", 99, size=8)[None]
    powers = plain.answers(picture) ** (1 / temperature)
    assert np.allclose(warm.answers(picture), powers / powers.sum(), atol=1e-5)
    assert warm.manifest.threshold == fitted.calibration.threshold
    assert warm.manifest.calibration["temperature"] == temperature
    assert modelfile.verify(warm.manifest, warm.answers) < 1e-6
    read = dataset.read(data)
    assert all(warm.manifest.knows(sample.content) for sample in read.samples)


def test_calibrating_takes_validation_or_half_of_test_but_never_train(
    brought: Brought, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    make_photos("parts/train", red=4, green=4)
    make_photos("parts/test", first=50, red=4, green=4)

    def known_names() -> set[str]:
        known = calibrated(brought, sources.open_data(tmp_path / "parts")).known
        read = dataset.read(sources.open_data(tmp_path / "parts"))
        return {sample.name for sample in read.samples if sample.content in known}

    assert known_names() == {"test/green/050.png", "test/green/052.png", "test/red/050.png", "test/red/052.png"}
    make_photos("parts/val", first=80, red=1, green=1)
    assert known_names() == {"val/green/080.png", "val/red/080.png"}


def test_calibrating_on_unknown_classes_is_refused(brought: Brought, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "rad"
    folder.mkdir(parents=True)
    Image.fromarray(coloured("red", 1)).save(folder / "1.png")
    with pytest.raises(DataError) as caught:
        calibrated(brought, sources.open_data(tmp_path / "photos"))
    assert caught.value.hint == "Did you mean 'red'?"


# ---- labels


def test_labels_are_lines_or_a_json_list(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffa b\nc, d \r\né\n\n", "utf-8")
    assert read_labels(path) == ("a b", "c, d", "é")
    path.write_text('["a", "b c"]')
    assert read_labels(path) == ("a", "b c")


def test_a_label_that_comes_again_gets_a_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("crane\nowl\ncrane\ncrane (2)\ncrane\n")
    events: list[Event] = []
    labels = read_labels(path, events.append)
    assert labels == ("crane", "owl", "crane (3)", "crane (2)", "crane (4)")
    assert isinstance(events[0], Notice)
    assert events[0].details == ("crane",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"a\n\nb\n", "an empty line 2"),
        (b"\xff\xfe\x00", "no UTF-8"),
        (b'["a", 3]', "something else than names"),
        (b'["a",', "a broken JSON list"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(OptionError) as caught:
        read_labels(path)
    assert reason in str(caught.value.value)


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.txt", "no such file"), (tmp_path, "a directory")):
        with pytest.raises(OptionError, match=reason):
            read_labels(path)


# ---- archives


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", **{"keras_model.h5": bytes(200_000_000), "labels.txt": b"0 a\n1 b\n"})
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(ModelFileError, match="It may be a zip bomb"), open_zip(bomb):
        pass


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/outside.txt", "a/../../outside.txt", "..\\outside.txt", "C:/x"]
)
def test_names_that_leave_an_archive_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="a file named"), open_zip(zipped(tmp_path / "x.zip", **{name: b"x"})):
        pass


def test_archives_of_too_many_files_and_damaged_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = zipped(tmp_path / "x.zip", a=b"x", b=b"y")
    monkeypatch.setattr("whatsit.importers.archives.MOST_FILES", 1)
    with pytest.raises(ModelFileError, match="2 files in it"), open_zip(whole):
        pass
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(ModelFileError, match="whole zip file"), open_zip(whole):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_whose_bytes_were_flipped_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    content[50:100] = b"\xff" * 50  # after 31 bytes of header
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="whole zip file"), open_zip(path) as archive:
        archive.read("a")


def test_a_full_disk_is_not_taken_for_a_bad_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = zipped(tmp_path / "x.zip", **{"model.tflite": b"x", "labels.txt": b"0 a\n1 b\n"})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        teachable_machine.bring(path, Said())
