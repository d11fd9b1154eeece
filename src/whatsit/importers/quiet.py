"""Silence for libraries that print, log and warn about their own insides while they convert."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send everything written to stdout and stderr, by C++ too, nowhere; no logging, no warnings."""
    level = logging.root.manager.disable
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            logging.disable(level)
            for number, handle in enumerate(kept, start=1):
                os.dup2(handle, number)
                os.close(handle)


def before_tensorflow() -> None:
    """TensorFlow and PyTorch's compiler, Triton, each bring an LLVM: Triton's aborts the process if it comes second."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        with contextlib.suppress(Exception):  # it need not be installed, nor work here
            importlib.import_module("triton")
