"""The built-in model: what is in its file, and that it answers where no other is named."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whatsit
from whatsit import modelfile, named_models
from whatsit.apps.cli.main import main
from whatsit.runtime import OpenModel

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILE = named_models.file_called("everyday")


@pytest.fixture(scope="module")
def everyday() -> OpenModel:
    assert FILE is not None
    return OpenModel(FILE)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """A palace in its garden, which is none of the ten things."""
    sklearn = pytest.importorskip("sklearn.datasets")
    Image.fromarray(sklearn.load_sample_image("china.jpg")).save(tmp_path / "china.jpg")
    return str(tmp_path / "china.jpg")


def test_it_knows_ten_things_and_how_well(everyday: OpenModel) -> None:
    manifest = everyday.manifest
    assert manifest.labels == TEN
    assert manifest.measured["n"] == 10_000
    assert manifest.measured["accuracy"] >= 0.955
    assert manifest.calibration["promise"] == 0.99
    assert (manifest.recipe["name"], manifest.data["name"]) == ("accurate", "cifar10")
    assert sum(manifest.data["counts"]["test"].values()) == 10_000
    assert everyday.path.stat().st_size <= 20_000_000


def test_it_answers_here_as_where_it_was_made(everyday: OpenModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "everyday"]) == 0
    assert "answers as it did: 10 golden pictures" in capsys.readouterr().out
    assert modelfile.verify(everyday.manifest, everyday.answers) < modelfile.GOLDEN_TOLERANCE


def test_no_picture_of_its_training_is_in_it(everyday: OpenModel) -> None:
    pytest.importorskip("sklearn")
    from whatsit.sources import photos

    parts = dict(photos.sample_parts())
    assert {golden.name for golden in everyday.manifest.golden} == set(parts)
    for golden in everyday.manifest.golden:
        here = everyday.manifest.preprocess.apply(parts[golden.name]).astype(int)
        assert np.abs(here - golden.picture).max() <= 2  # shrunk there by Pillow, here perhaps with SIMD


@pytest.mark.parametrize("command", [["predict"], ["predict", "--format", "json"]])
def test_it_answers_where_no_model_is_named_and_says_so_in_one_line(
    command: list[str], photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, photo]) == 0
    unnamed = capsys.readouterr()
    assert main([*command, photo, "-m", "everyday"]) == 0
    named = capsys.readouterr()
    assert "china.jpg" in unnamed.out
    (line,) = unnamed.err.splitlines()
    assert all(name in line for name in TEN)
    assert "'everyday'" in line
    assert "-m mobilenet_v2" in line
    assert named.err == ""


@pytest.mark.parametrize("command", ["evaluate", "show-sample"])
def test_labelled_pictures_are_judged_by_it_where_no_model_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "show-sample":
        pytest.importorskip("matplotlib")
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (40, 30), "orange").save(tmp_path / "cat" / "tabby.png")
    monkeypatch.chdir(tmp_path)
    assert main([command, "."]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert all(name in first for name in TEN)
    assert "'everyday'" in first


def test_serve_opens_a_page_on_it_and_says_so_first() -> None:
    pytest.importorskip("gradio", reason="needs the 'web' extra")
    process = subprocess.Popen(
        [sys.executable, "-m", "whatsit", "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        first, second = process.stderr.readline(), process.stderr.readline()
        assert all(name in first for name in TEN)
        assert "-m mobilenet_v2" in first
        address = second.removeprefix("The page is at ").split()[0]
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert (answer.status, b"airplane" in answer.read()) == (200, True)
    finally:
        process.terminate()
        process.communicate(timeout=1200)


def test_what_is_none_of_the_ten_is_answered_not_sure(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", photo]) == 0
    assert f"{photo}: not sure  (" in capsys.readouterr().out


def test_python_opens_it_by_its_name_or_by_none(photo: str) -> None:
    unnamed, named = whatsit.load(), whatsit.load("everyday")
    assert unnamed.labels == named.labels == TEN
    assert unnamed.predict(photo).top == named.predict(photo).top


def test_a_file_of_its_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("everyday").write_bytes(b"mine")
    assert named_models.file_called("everyday") == Path("everyday")
    Path("everyday").unlink()
    Path("everyday").mkdir()
    assert named_models.file_called("everyday") == FILE


def test_no_file_of_its_name_answers_in_its_place(
    photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("everyday").write_bytes(b"mine")
    assert main(["predict", photo]) == 0
    assert main(["models"]) == 0
    assert whatsit.load().labels == TEN
    assert main(["predict", photo, "-m", "everyday"]) == 2
    assert "cannot open 'everyday'" in capsys.readouterr().err


def test_it_cannot_be_changed_by_hand(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", photo, "--preprocess", "0..1"]) == 2
    assert "cannot change the model file 'everyday'" in capsys.readouterr().err


def test_it_is_listed_shown_and_fetched_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Built in: everyday, ")
    assert "10,000 test pictures of cifar10" in last
    assert main(["models", "every*"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert main(["show", "everyday", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == list(TEN)
    assert main(["fetch", "everyday"]) == 0
    assert capsys.readouterr().out.strip() == str(FILE)
    assert main(["fetch", "everyday", "--to", "elsewhere"]) == 2
    assert "cannot change the built-in model" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


def test_it_loads_no_training_library(photo: str) -> None:
    code = (
        "import sys; from whatsit.apps.cli.main import main; assert main(['predict', sys.argv[1]]) == 0; "
        "print([name for name in ('torch', 'tensorflow', 'keras', 'sklearn', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, photo], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_it_is_right_about_as_often_as_it_says(everyday: OpenModel, shared: Path) -> None:
    """On 500 of its test pictures: not rarer than one draw in a thousand would have it."""
    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test_batch_0.webp").convert("RGB"))
    pictures = sheet.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)[:500]
    targets = np.fromfile(shared / "data" / "cifar10" / "test_batch.labels", np.uint8)[:500]
    share = everyday.manifest.measured["accuracy"]
    right = (everyday.predict_proba(pictures).argmax(axis=1) == targets).mean()
    assert right >= share - 3.1 * np.sqrt(share * (1 - share) / 500)


@pytest.mark.parametrize("asked", [[], ["--data-dir", "there"]])
def test_making_it_is_the_usual_command_and_a_copy(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("builtin", Path(__file__).parents[1] / "scripts" / "builtin.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    commands = []

    def run(command: list[str], cwd: Path, check: bool) -> None:
        commands.append(command[1:])
        (cwd / "runs" / "everyday").mkdir(parents=True, exist_ok=True)
        (cwd / "runs" / "everyday" / "model.onnx").write_bytes(b"a model")

    (tmp_path / "src" / "whatsit").mkdir(parents=True)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["builtin.py", *asked])
    script.main()
    (command,) = commands
    assert command[:4] == ["-m", "whatsit", "train", "cifar10"]
    options = dict(itertools.pairwise(command))
    assert (options["--recipe"], options["--promise"], options["--golden"]) == ("accurate", "0.99", "samples")
    assert (options["--seed"], options["--out"]) == ("0", "runs/everyday")
    assert "--resume" in command
    if asked:  # it runs in the project's folder, wherever it was called
        assert command[-2:] == ["--data-dir", str(Path("there").resolve())]
    else:
        assert "--data-dir" not in command
    assert (tmp_path / "src" / "whatsit" / "everyday.onnx").read_bytes() == b"a model"
