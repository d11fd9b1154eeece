"""`images.load` against plain Pillow on the JPEGs of a folder, one thread, in turn, five rounds.

    python benchmarks/decode_speed.py --folder PATH [--count 200] [--rounds 5]

Plain Pillow is what people write: open, exif_transpose, convert("RGB"), to an array. Files are read from disk in both
cases (from its cache: one round of each goes uncounted). The order within a round alternates. Files that plain Pillow
does not read are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from whatsit import images


def plain_pillow(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def pillow_reads(path: Path) -> bool:
    try:
        plain_pillow(path)
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def images_per_second(read: Callable[[Path], Any], paths: list[Path]) -> float:
    start = time.perf_counter()
    for path in paths:
        read(path)
    return len(paths) / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    chosen = found[:: max(1, len(found) // options.count)][: options.count]
    paths = [path for path in chosen if pillow_reads(path)]
    if not paths:
        print(f"no JPEG under {options.folder}", file=sys.stderr)
        return 1
    readers: dict[str, Callable[[Path], Any]] = {"images.load": images.load, "plain Pillow": plain_pillow}
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for round_number in range(options.rounds + 1):
        names = list(readers) if round_number % 2 else list(reversed(readers))
        measured = {name: images_per_second(readers[name], paths) for name in names}
        if round_number:
            for name, speed in measured.items():
                speeds[name].append(speed)
    size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    left_out = len(chosen) - len(paths)
    print(f"{len(paths)} JPEGs of {size:.0f} kB on average ({left_out} left out), {options.rounds} rounds")
    for name, each in speeds.items():
        print(f"{name:<14} {statistics.median(each):8.0f} images/s  (from {min(each):.0f} to {max(each):.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
