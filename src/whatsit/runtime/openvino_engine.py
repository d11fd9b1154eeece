"""OpenVINO: faster than ONNX Runtime on many processors, not always in full precision. Only this module imports it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray


class OpenVinoEngine:
    """Runs a graph on the CPU in the precision that this processor is fastest with.

    On processors with bfloat16 that is bfloat16: good enough to learn from, not to answer with (a probability may
    move by some per cent), so answers come from ONNX Runtime.
    """

    name = f"openvino {openvino.__version__}"

    def __init__(self, path: Path) -> None:
        self._core = openvino.Core()
        self._compiled = self._core.compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
        self._local = threading.local()

    @property
    def precision(self) -> str:
        """What it computes in: "bf16", "f16" or "f32"."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `runtime.engine.Engine`; each thread has a request of its own."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        results = self._local.request.infer({"pictures": pictures}, share_inputs=True)
        return results["probabilities"].copy(), results["embedding"].copy()
