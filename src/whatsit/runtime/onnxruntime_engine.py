"""ONNX Runtime, the engine of the base installation. The only module that imports it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import ModelFileError

# Its telemetry starts with the import, looks up a host and writes a device id, unless this is set before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

_FATAL = 4


class OnnxRuntimeEngine:
    """Runs the graph on the CPU in full precision."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = _FATAL
        # Spinning threads win microseconds and burn a core between pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base class
            raise ModelFileError(
                f"cannot open '{path}' as a model file",
                value=" ".join(str(error).split())[:200],
                accepted="an .onnx file made by whatsit, and an ONNX Runtime that can run it",
                hint="Copy or train the file again, or run: pip install --upgrade onnxruntime",
            ) from None

    def run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probabilities, embedding = self._session.run(["probabilities", "embedding"], {"pictures": pictures})
        return np.asarray(probabilities, np.float32), np.asarray(embedding, np.float32)
