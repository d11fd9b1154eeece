"""What every importer gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whatsit.evaluation import Calibration
from whatsit.preprocess import Preprocess

Answers = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Brought:
    """A model from elsewhere, ready to be written.

    graph        ONNX: uint8 `pictures` [N, h, w, 3] -> float32 `probabilities` [N, K] and `embedding` [N, D]
    original     pictures uint8 [N, h, w, 3] -> probabilities float32 [N, K], answered by the original's own runtime
    recipe       what the manifest says about the network: {"model": ..., "scaling": ...} and whatever else is known
    weights      origin: {"pretrained": file name, "sha256", "licence", "source", "parameters"}
    quantised    one step of the original's answers, e.g. 1/256, where it computes in integers; None where in floats
    calibration  where `calibrating.calibrated` put a temperature into the graph
    known        content hashes of the pictures that was chosen on
    """

    graph: bytes
    original: Answers
    labels: tuple[str, ...]
    preprocess: Preprocess
    recipe: dict[str, Any]
    weights: dict[str, Any]
    quantised: float | None = None
    calibration: Calibration | None = None
    known: tuple[str, ...] = ()
