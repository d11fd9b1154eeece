"""Nothing is sent or left behind: ONNX Runtime's telemetry writes a device id and looks up a host unless it is off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import coloured
from PIL import Image
from tiny_model import write_tiny_model


def test_predict_leaves_nothing_in_the_home_or_the_temporary_folder(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    model = write_tiny_model(tmp_path / "model.onnx")
    Image.fromarray(coloured("red", 1)).save(tmp_path / "red.png")
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(home / ".cache")}
    done = subprocess.run(
        [sys.executable, "-m", "whatsit", "predict", "-m", str(model or tmp_path / "model.onnx"), tmp_path / "red.png"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "red" in done.stdout
    assert list(home.rglob("*")) == []
    assert list(temporary.rglob("*")) == []
