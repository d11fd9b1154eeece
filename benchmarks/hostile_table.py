"""Every file of a folder through `images.load`: what came out, how long it took, and the most memory ever held.

    python benchmarks/hostile_table.py [--folder PATH]

Exits with 1 if anything but an ImageError came out. Bytes that C libraries print go to stderr as they are.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from whatsit import images
from whatsit.errors import ImageError

HOSTILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "hostile"


def outcome(path: Path) -> tuple[str, str]:
    """("read", "HxW"), ("refused", the reason) or ("failed", the exception that should not be)."""
    try:
        height, width, _ = images.load(path).shape
    except ImageError as error:
        return "refused", str(error.value)
    except Exception as error:
        return "failed", repr(error)
    return "read", f"{height}x{width}"


def peak_megabytes() -> float:
    """Of this process alone: getrusage also counts what the process that started it held before."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HOSTILE)
    folder = parser.parse_args().folder
    counts = {"read": 0, "refused": 0, "failed": 0}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        start = time.perf_counter()
        kind, text = outcome(path)
        milliseconds = (time.perf_counter() - start) * 1000
        counts[kind] += 1
        print(f"{path.relative_to(folder)!s:<50} {milliseconds:8.1f} ms  {kind:<8} {text}")
    print(f"\n{counts['read']} read, {counts['refused']} refused, {counts['failed']} failed otherwise", end="; ")
    print(f"peak memory {peak_megabytes():.0f} MB")
    return 1 if counts["failed"] or not sum(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
