"""How long `whatsit desktop` takes until its window is on the screen, and until the built-in model can answer in it.

    python benchmarks/desktop_start.py [-n 5]

Each run is a new process on a display of its own (Xvfb), timed from its start; one more before them goes uncounted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

LIMIT = 1.5  # seconds, median, until the model can answer
FORBIDDEN = {"torch", "timm", "tensorflow", "keras", "gradio", "sklearn", "matplotlib", "onnx"}
WINDOW = """
import json, sys, time
from whatsit.apps.desktop import window

seen = {}
refresh = window.Window.refresh

def watched(self):
    refresh(self)
    if "shown" not in seen and self.root.winfo_viewable():
        seen["shown"] = time.time()
    if self.session.model is not None and "shown" in seen:
        seen["ready"] = time.time()
        self.root.after(0, self.close)
    else:
        self.root.after(5, self.refresh)

window.Window.refresh = watched
from whatsit.apps.cli.main import main
code = main(["desktop"])
print(json.dumps({**seen, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
sys.exit(code)
"""


def start(display: str) -> tuple[float, float, set[str]]:
    """Seconds until the window is shown and until the model is ready, and what was loaded by then."""
    began = time.time()
    environment = {**os.environ, "DISPLAY": display}
    done = subprocess.run([sys.executable, "-c", WINDOW], check=True, capture_output=True, text=True, env=environment)
    seen = json.loads(done.stdout.splitlines()[-1])
    return seen["shown"] - began, seen["ready"] - began, set(seen["modules"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5)
    options = parser.parse_args()
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        display = f":{int(server.stdout.readline())}"
        runs = [start(display) for _ in range(options.n + 1)][1:]
        server.terminate()
    for name, values in (("shown", [run[0] for run in runs]), ("ready", [run[1] for run in runs])):
        print(f"{name} after {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f}, n {len(runs)})")
    heavy = sorted(FORBIDDEN & set.union(*(run[2] for run in runs)))
    print("heavy libraries loaded:", ", ".join(heavy) or "none")
    sys.exit(bool(heavy) or statistics.median(run[1] for run in runs) > LIMIT)


if __name__ == "__main__":
    main()
