"""Keras 3, on whichever backend Keras is set to: the folder that imports keras and TensorFlow.

networks     our small network and every application of Keras, with the pretrained weights of a local file
weight_files what is in a file of weights, read without executing any of it
batches      order and augmentation, drawn from (seed, epoch) alone
optim        optimiser, learning rate at a step, loss
loop         fit -> run_epoch -> train_step, best weights, early stopping
checkpoint   the state between two epochs, whole or not at all
export       the graph with everything inside, and model.keras
silence      what the backends write past every setting
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys

from whatsit.errors import MissingExtraError
from whatsit.training.keras_engine.silence import silence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of what it compiles for each new number of pictures


# TensorFlow and PyTorch's compiler, Triton, each bring an LLVM. Loaded after TensorFlow's, Triton's aborts the process.
if "tensorflow" not in sys.modules:
    with contextlib.suppress(Exception):
        importlib.import_module("triton")
elif "triton" not in sys.modules:
    sys.modules["triton"] = None  # type: ignore[assignment] # as if it were not installed: PyTorch does without
try:
    with silence():
        import keras
except ImportError as error:  # Keras itself, or the backend it is set to
    raise MissingExtraError("use Keras", module=error.name or "keras", extra="keras") from None

from whatsit.training.keras_engine.loop import KerasEngine  # noqa: E402  once Keras is there

assert keras

__all__ = ["KerasEngine"]
