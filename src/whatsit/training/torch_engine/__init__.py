"""PyTorch: the only folder that imports torch and timm.

networks    our small network and every timm network, with the pretrained weights of a local file
batches     order and augmentation, drawn from (seed, epoch) alone
optim       optimiser, learning rate at a step, loss
loop        fit -> run_epoch -> train_step, best weights, early stopping
checkpoint  the state between two epochs, whole or not at all
export      the graph with everything inside
"""

from __future__ import annotations

from whatsit.training.torch_engine.loop import TorchEngine

__all__ = ["TorchEngine"]
