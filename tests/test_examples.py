"""The examples run, on small pictures and tiny networks, as their readers run them: as scripts, and as a notebook."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from tiny_model import write_tiny_model

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = {"image_size": 32, "epochs": 1, "batch_size": 8, "weights": "none"}


@contextmanager
def started(script: str, folder: Path, **environment: str) -> Iterator[str]:
    """Run an example that opens a page, and yield its address."""
    source = (EXAMPLES / script).read_text().replace("examples=sys.argv[1:]", "examples=sys.argv[1:], port=0")
    (folder / script).write_text(source)
    process = subprocess.Popen(
        [sys.executable, "-u", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = re.search(r"http://\S+", said)
        assert address, said
        yield address.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=1200)


@pytest.mark.parametrize(
    ("script", "name"), [("pytorch_resnet18_page.py", "resnet18"), ("keras_mobilenet_page.py", "keras:MobileNetV2")]
)
def test_a_page_example_opens_a_page_on_the_named_network(script: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs the 'web' extra")
    from whatsit import weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
        made = weights.model_path(weights.Wanted(name), weights.WeightsFile(tmp_path / "weights", "0" * 64))
    made.parent.mkdir(parents=True)
    write_tiny_model(made)  # as if it had been fetched before
    with (
        started(script, tmp_path, WHATSIT_CACHE=str(tmp_path / "cache"), WHATSIT_OFFLINE="1") as address,
        urllib.request.urlopen(address, timeout=30) as answer,
    ):
        assert answer.status == 200


@pytest.mark.train
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_beer_or_wings_goes_from_folders_to_plotted_predictions(
    framework: str, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip(framework, reason=f"needs the extra for {framework}")
    photos = make_photos(red=10, green=10)
    options = [f"{name}={value}" for name, value in {**SMALL, "framework": framework}.items()]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "beer_or_wings.py", photos, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "photos it had never seen" in done.stdout
    assert (tmp_path / "predictions.png").stat().st_size > 5_000
    assert (tmp_path / "runs" / "beer_or_wings" / "report.html").exists()
    assert (tmp_path / "runs" / "beer_or_wings" / "model.keras").exists() == (framework == "keras")


@pytest.mark.train
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_cifar10_from_scratch_gives_loss_accuracy_curves_and_drawn_answers(
    framework: str,
    small_cifar10: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(framework, reason=f"needs the extra for {framework}")
    monkeypatch.chdir(tmp_path)
    options = ["--data-dir", str(small_cifar10), "--framework", framework, "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", ["cifar10_from_scratch.py", *options])
    runpy.run_path(str(EXAMPLES / "cifar10_from_scratch.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(r"^Test loss \d\.\d{3}, test accuracy \d+\.\d%$", said, re.MULTILINE)
    assert re.search(r"^With 95 % confidence between \d+\.\d% and \d+\.\d%$", said, re.MULTILINE)
    run = Path("runs", "cifar10")
    assert f"Curves: {run / 'curves.png'}, or in TensorBoard: whatsit tensorboard {run}" in said
    for picture in (run / "curves.png", Path("predictions.png")):
        with Image.open(picture) as image:
            assert min(image.size) > 500
    assert list((run / "tensorboard").rglob("*.tfevents.*"))


@pytest.mark.train
def test_the_notebook_runs_from_top_to_bottom(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the 'train' extra")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    make_photos(red=10, green=10)
    notebook = nbformat.read(EXAMPLES / "beer_or_wings.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = f'photos = "photos"\noptions = {SMALL!r}'
    nbclient.NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no plot in the notebook"
    assert any("photos it had never seen" in output.get("text", "") for output in outputs)


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads((EXAMPLES / "beer_or_wings.ipynb").read_text())
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is absent")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = subprocess.run([linter, "-"], input="FROM x\nRUN cd /tmp\n", capture_output=True, text=True, check=False)
    assert broken.returncode != 0  # it would have found something
