"""How long `whatsit predict -m FILE one.jpg` takes from the shell, and which modules it loads.

    python benchmarks/predict_start.py [-m model.onnx] [-n 10] [PICTURE.jpg]

Each run is a new process, timed from its start to its end; one more before them warms the disk's cache and goes
uncounted. Without -m it makes a tiny model of its own (this needs the onnx package), without PICTURE a JPEG of
1600x1200 pixels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 0.45  # seconds, median
FORBIDDEN = {"torch", "timm", "tensorflow", "keras", "ray", "gradio", "sklearn", "matplotlib", "onnx", "rich"}
MODULES = """
import json, sys
from whatsit.apps.cli.main import main
code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


def console_script() -> list[str]:
    """`whatsit` as installed beside this Python, or else as a module."""
    beside = Path(sys.executable).parent / "whatsit"
    found = str(beside) if beside.exists() else shutil.which("whatsit")
    return [found] if found else [sys.executable, "-m", "whatsit"]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def modules_of(arguments: list[str]) -> list[str]:
    done = subprocess.run([sys.executable, "-c", MODULES, *arguments], check=True, capture_output=True, text=True)
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    return names


def tiny_model(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny_model import write_tiny_model

    return write_tiny_model(folder / "model.onnx", size=(224, 224))


def photo(folder: Path) -> Path:
    """A smooth picture with some noise, as large as an old phone's, so that its JPEG costs what a photo's does."""
    rows, columns = np.mgrid[0:1200, 0:1600] / 1600
    smooth = np.stack([rows, columns, 1 - columns], axis=-1) * 200
    noisy = smooth + np.random.default_rng(0).normal(0, 12, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "one.jpg", quality=88)
    return folder / "one.jpg"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("-n", "--runs", type=int, default=10)
    parser.add_argument("picture", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or tiny_model(Path(temporary))
        picture = options.picture or photo(Path(temporary))
        arguments = ["predict", "-m", str(model), str(picture)]
        command = [*console_script(), *arguments]
        seconds(command)
        times = [seconds(command) for _ in range(options.runs)]
        loaded = modules_of(arguments)
        print(
            f"{model.name}, {model.stat().st_size / 1e6:.1f} MB; {picture.name}, {picture.stat().st_size / 1e3:.0f} kB"
        )
    median = statistics.median(times)
    print(f"median {median:.3f} s of {len(times)} runs, from {min(times):.3f} to {max(times):.3f} s (limit {LIMIT} s)")
    own = [name for name in loaded if name not in sys.stdlib_module_names and not name.startswith("_")]
    print(f"{len(loaded)} top-level modules loaded, outside the standard library: {', '.join(own)}")
    heavy = sorted(FORBIDDEN & set(loaded))
    assert not heavy, f"loaded {', '.join(heavy)}"
    return 0 if median <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
