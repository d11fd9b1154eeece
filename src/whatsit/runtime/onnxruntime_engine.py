"""ONNX Runtime, the engine of the base installation. The only module that imports it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import ModelFileError

# Its telemetry starts with the import, looks up a host and writes a device id, unless this is set before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

_FATAL = 4


class OnnxRuntimeEngine:
    """Runs the graph on the CPU in full precision.

    spinning  threads that wait for each other within a run stay awake: a lone picture is answered a tenth sooner, and
              whatever else runs meanwhile gets less. Between runs they sleep all the same.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None, *, spinning: bool = False) -> None:
        try:
            self._session = _open(str(path), threads, spinning)
        except Exception as error:  # its errors share no base class
            raise ModelFileError(
                f"cannot open '{path}' as a model file",
                value=" ".join(str(error).split())[:200],
                accepted="an .onnx file made by whatsit, and an ONNX Runtime that can run it",
                hint="Copy or train the file again, or run: pip install --upgrade onnxruntime",
            ) from None
        # Some models brought along were frozen to one picture at a time.
        self._alone = self._session.get_inputs()[0].shape[0] == 1

    def run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self._alone and len(pictures) > 1:
            rows = [self._run(pictures[number : number + 1]) for number in range(len(pictures))]
            return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])
        return self._run(pictures)

    def _run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probabilities, embedding = self._session.run(["probabilities", "embedding"], {"pictures": pictures})
        return np.asarray(probabilities, np.float32), np.asarray(embedding, np.float32)


class ForeignGraph:
    """An ONNX graph as it came from elsewhere, with one input and the output called `output`.

    Raises whatever ONNX Runtime raises for a graph that it cannot run; its errors share no base class.
    """

    def __init__(self, graph: bytes, output: str) -> None:
        self._session = _open(graph, None)
        self._output = output
        self._input = self._session.get_inputs()[0].name
        self._alone = self._session.get_inputs()[0].shape[0] == 1

    def run(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """The graph's input for N pictures -> its answers, float32 [N, ...]."""
        pieces = [values[n : n + 1] for n in range(len(values))] if self._alone else [values]
        answers = [self._session.run([self._output], {self._input: piece})[0] for piece in pieces]
        return np.asarray(np.concatenate(answers), np.float32)


def _open(graph: str | bytes, threads: int | None, spinning: bool = False) -> Any:
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")  # at the end of each run
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
