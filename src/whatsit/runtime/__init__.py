"""Open a model file and classify. Loads no training library.

engine              the contract of every inference library
onnxruntime_engine  the one of the base installation
open_model          pictures in, predictions out
judging             labelled pictures in, a report out
prediction          one answer
"""

from __future__ import annotations

from whatsit.runtime.open_model import OpenModel
from whatsit.runtime.prediction import Prediction

__all__ = ["OpenModel", "Prediction"]
