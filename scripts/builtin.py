"""Train the built-in model `everyday` and put it into the package.

    python scripts/builtin.py [--data-dir DIR]

Takes CIFAR-10 from DIR, or fetches it, and some three and a half hours on two cores. The run stays in runs/everyday;
where there is one already, it is gone on with: delete it to train anew, as after a change of the recipe. No picture of
CIFAR-10 gets into the model file: what `whatsit verify` replays there are parts of scikit-learn's sample photos.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from whatsit import storage

ROOT = Path(__file__).resolve().parents[1]
RUN = Path("runs/everyday")
FILE = Path("src/whatsit/everyday.onnx")
CHOICES = ("--recipe", "accurate", "--promise", "0.99", "--golden", "samples", "--seed", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder with CIFAR-10's binary files")
    where = parser.parse_args().data_dir
    arguments = [
        "cifar10",
        *CHOICES,
        "--out",
        str(RUN),
        "--resume",
        *(["--data-dir", str(where.resolve())] if where else []),
    ]
    subprocess.run([sys.executable, "-m", "whatsit", "train", *arguments], cwd=ROOT, check=True)
    with storage.beside(ROOT / FILE) as part:
        shutil.copyfile(ROOT / RUN / "model.onnx", part)
    print(f"{FILE}: {(ROOT / FILE).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
