"""Data sets by name, as they are typed: their files in a folder, what is wrong with them, and the real CIFAR-10."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whatsit import dataset, downloads, modelfile, named_models
from whatsit.apps.cli.main import main
from whatsit.errors import DataError
from whatsit.sources import open_data
from whatsit.sources.published import PUBLISHED

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(downloads, "fetch", fail)
    monkeypatch.setattr(downloads, "fetch_on", fail)


@pytest.mark.usefixtures("nothing_is_fetched")
def test_every_command_takes_the_files_from_where_they_lie(
    small_cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("torch", reason="needs the 'train' extra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "empty"))
    here = ["--data-dir", str(small_cifar10)]
    assert main(["train", "cifar10", *here, "--epochs", "1", "--out", "run"]) == 0
    assert "40 pictures" in capsys.readouterr().out
    model = ["-m", "run/model.onnx", "cifar10", *here]
    assert main(["evaluate", *model, "--json"]) == 0
    judged = json.loads(last_line(capsys))
    assert judged["n"] == 40
    assert main(["evaluate", *model, "--split", "validation", "--json"]) == 0
    assert 0 < json.loads(last_line(capsys))["n"] < 40
    assert main(["show-sample", *model]) == 0
    assert "sample.png shows 12 of 40 pictures" in capsys.readouterr().out
    assert main(["check", "cifar10", *here]) in (0, 1)
    assert main(["train", "--resume", "run"]) == 0  # it knows where they lie
    capsys.readouterr()
    assert main(["train", "--resume", "run", *here, "--epochs", "7"]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_wrong_hash_is_one_line(small_cifar10: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    known = PUBLISHED["cifar10"]
    (archive,) = known.archives
    sums = {**archive.members, "test_batch.bin": "0" * 32}
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(known, archives=(replace(archive, members=sums),)))
    assert main(["train", "cifar10", "--data-dir", str(small_cifar10)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot use '{small_cifar10 / 'test_batch.bin'}': got MD5 ")
    assert f"accepted: the authors' file, MD5 {'0' * 32}" in line


def test_no_connection_is_one_line_that_says_which_files_go_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "data"))
    nobody = replace(PUBLISHED["mnist"], homes=("http://127.0.0.1:9/",))  # the port that throws everything away
    monkeypatch.setitem(PUBLISHED, "mnist", nobody)
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    assert main(["train", "mnist"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: cannot fetch")
    for archive in nobody.archives:
        assert archive.name in last
    assert str(tmp_path / "data" / "mnist") in last
    assert "--data-dir" in last


def test_a_place_that_cannot_be_written_to_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "file"))
    assert main(["train", "mnist"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: cannot write '{tmp_path / 'file' / 'mnist'}")
    assert "set WHATSIT_DATA to" in last


# ---- the real thing


@pytest.fixture(scope="module")
def cifar10(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' own files, rebuilt from the shared mosaics."""
    spec = importlib.util.spec_from_file_location("unpack", shared / "data" / "unpack_cifar10.py")
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = tmp_path_factory.mktemp("cifar10")
    script.main(str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("nothing_is_fetched")
def test_the_authors_files_are_what_the_table_says(cifar10: Path) -> None:
    opened = open_data("cifar10", data_dir=cifar10)
    assert [len(opened.part(split)) for split in dataset.SPLITS] == [50_000, 0, 10_000]
    records = np.fromfile(cifar10 / "test_batch.bin", np.uint8).reshape(-1, 3073)
    test = opened.part("test")
    assert [sample.label for sample in test.samples] == [opened.classes[label] for label in records[:, 0]]
    assert np.array_equal(test.picture(test.samples[7]), records[7, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    samples = dataset.complete(dataset.read(opened))
    assert len(samples.part("test")) == 10_000
    assert abs(len(samples.part("validation")) - 2_000) < 200
    assert len(samples) == 60_000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_wrong_byte_of_the_authors_files_is_seen(cifar10: Path, tmp_path: Path) -> None:
    for file in cifar10.glob("*.bin"):
        (tmp_path / file.name).symlink_to(file)
    damaged = bytearray((cifar10 / "data_batch_3.bin").read_bytes())
    damaged[12_345_678] ^= 1
    (tmp_path / "data_batch_3.bin").unlink()
    (tmp_path / "data_batch_3.bin").write_bytes(damaged)
    with pytest.raises(DataError, match=r"data_batch_3.*MD5"):
        open_data("cifar10", data_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("nothing_is_fetched")
def test_the_built_in_model_is_as_accurate_as_it_says(cifar10: Path, capsys: Capture) -> None:
    """On all 10,000 test pictures, by the command that anybody would type."""
    assert main(["evaluate", "cifar10", "--data-dir", str(cifar10), "--json"]) == 0
    said = capsys.readouterr()
    judged = json.loads(said.out.splitlines()[-1])
    assert "'everyday'" in said.err.splitlines()[0]
    assert judged["n"] == 10_000
    assert judged["accuracy"] >= 0.955
    measured = modelfile.read_manifest(named_models.BUILTIN_FILE).measured
    assert judged["accuracy"] == pytest.approx(measured["accuracy"], abs=0.001)


def last_line(capsys: Capture) -> str:
    return capsys.readouterr().out.splitlines()[-1]
