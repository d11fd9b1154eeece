"""PyTorch: the only folder that imports torch and timm.

networks    our own networks and every timm network, with the pretrained weights of a local file
batches     order and augmentation, drawn from (seed, epoch) alone
optim       optimiser, learning rate at a step, loss; muon
loop        fit -> run_epoch -> train_step, best weights, early stopping
checkpoint  the state between two epochs, whole or not at all
export      the graph with everything inside; half: weights in half the space
"""

from __future__ import annotations

import os
import sys

# Before timm imports the hub's library, which reads them at once.
os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
if "tensorflow" in sys.modules:
    # Triton, which PyTorch's exporter would load, aborts the process where TensorFlow is loaded: both bring an LLVM.
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

from whatsit.training.torch_engine.loop import TorchEngine

__all__ = ["TorchEngine"]
