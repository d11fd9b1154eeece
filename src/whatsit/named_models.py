"""A name -> its model file: the built-in one, or that of a pretrained network, from the cache or fetched into it.

Fetching and converting need PyTorch or Keras, so they run in a process of their own; this one only reads the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from whatsit import catalogue, weights
from whatsit.errors import InterruptedEarlyError, WeightsError
from whatsit.weights import Wanted

BUILTIN = "everyday"
BUILTIN_FILE = Path(__file__).with_name("everyday.onnx")
_SLICE = 0.2  # seconds between two looks at whether to go on
_PATIENCE = 10.0  # seconds in which a fetch that was ended puts away what it has


class NotFetchedError(WeightsError):
    """`whatsit fetch` failed; `code` is its exit code."""

    def __init__(self, name: str, code: int, said: str) -> None:
        self.code = code
        super().__init__(
            f"cannot make a model file of '{name}'",
            value=said or f"whatsit fetch ended with code {code}",
            accepted="a network whose weights can be had",
            hint="Try it by itself: whatsit fetch " + name,
        )


def file_called(model: str) -> Path | None:
    """The model file that this means, a path or the built-in model; None where it is the name of a network."""
    path = Path(model)
    if path.suffix == ".onnx" or "/" in model or os.sep in model or path.is_file():
        return path
    if model == BUILTIN:
        return BUILTIN_FILE
    return path if path.is_dir() and model not in catalogue.curated() else None


def path_of(wanted: Wanted, offline: bool = False, quiet: bool = False, stopped: threading.Event | None = None) -> Path:
    """The model file of a named network. Raises WeightsError, NotFetchedError.

    What `whatsit fetch` says goes to stderr, or with `quiet`, if it fails, into the error. Setting `stopped` ends it,
    with an InterruptedEarlyError; what is downloaded by then is kept for the next time.
    """
    return _in_the_cache(wanted) or _fetch(wanted, offline, quiet, stopped or threading.Event())


def _in_the_cache(wanted: Wanted) -> Path | None:
    found = weights.describe(wanted.weights) if wanted.weights else None
    found = found or weights.find(wanted.name, wanted.framework, verify=False)
    if found is not None:
        path = weights.model_path(wanted, found)
        return path if path.is_file() else None
    return weights.made_before(wanted) if wanted.by_name_alone else None


def _fetch(wanted: Wanted, offline: bool, quiet: bool, stopped: threading.Event) -> Path:
    command = [sys.executable, "-m", "whatsit", "fetch", wanted.name]
    command += ["--weights", str(wanted.weights)] if wanted.weights else []
    command += [
        word
        for name, value in wanted.arguments.items()
        for word in ("--network-arg", f"{name}={json.dumps(value, default=str)}")
    ]
    command += ["--preprocess", wanted.preprocess] if wanted.preprocess else []
    command += ["--framework", wanted.framework] if wanted.framework else []
    command += ["--offline"] if offline else []
    # Without what suits this process only: the limit of `predict`, and the switch of an open page.
    own = {"OPENBLAS_NUM_THREADS", *(["HF_HUB_OFFLINE"] if "whatsit.apps.web" in sys.modules else [])}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    done = _run(command, env=environment, quiet=quiet, stopped=stopped)
    if done is None:
        raise InterruptedEarlyError(
            f"stopped getting '{wanted.name}' ready",
            value="no model file yet",
            accepted="its end",
            hint="Ask for it again: it goes on with what was downloaded.",
        )
    if done.returncode:  # negative where a signal ended it
        code = done.returncode if done.returncode > 0 else 128 - done.returncode
        raise NotFetchedError(
            wanted.name, code, (done.stderr or "").strip().rpartition("\n")[2].removeprefix("error: ")
        )
    return Path(done.stdout.splitlines()[-1])


def _run(
    command: list[str], *, env: dict[str, str], quiet: bool, stopped: threading.Event
) -> subprocess.CompletedProcess[str] | None:
    """As subprocess.run, but None when `stopped` was set: then the process is asked to end."""
    errors = subprocess.PIPE if quiet else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env) as process:
        try:
            while not stopped.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    printed, said = process.communicate(timeout=_SLICE)
                    return subprocess.CompletedProcess(command, process.returncode, printed, said)
            process.terminate()
            process.communicate(timeout=_PATIENCE)
            return None
        finally:
            process.kill()  # does nothing to a process that has ended
