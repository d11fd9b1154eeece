"""The optimiser, the learning rate at a step, and the loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from whatsit.recipe import Recipe
from whatsit.training.torch_engine.networks import Network, weight_layers


def optimizer_for(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; each group's `scale` multiplies the rate. Biases and normalisation do not decay.

    A fresh last layer learns at the full rate, the backbone at `backbone_rate` times that, and each of its layers
    at `layer_decay` times the rate of the next (discriminative rates: Howard and Ruder, ACL 2018, section 3.2).
    """
    layers = weight_layers(network)
    scales = {
        id(parameter): recipe.backbone_rate * recipe.layer_decay ** (len(layers) - 1 - depth)
        for depth, layer in enumerate(layers)
        for parameter in layer
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scales.get(id(parameter), 1.0), decay), []).append(parameter)
    settings = [
        {"params": parameters, "scale": scale, "weight_decay": decay, "lr": recipe.learning_rate * scale}
        for (scale, decay), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, momentum=0.9, nesterov=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(settings, alpha=0.9, eps=1e-7)  # as Keras has them, whose tutorials use it
    return torch.optim.AdamW(settings)


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then a half cosine to zero (Loshchilov and Hutter, ICLR 2017). `step` counts from 0."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = max(1, round(recipe.warmup * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


@torch.no_grad()
def update_average(average: Network, network: Network, step: int, decay: float) -> None:
    """Exponential moving average of weights and statistics (Polyak and Juditsky, 1992), quick to leave the start.

    It takes the noise of the last few steps out of small sets, where a lucky epoch is hard to tell from a good one.
    """
    if decay:  # without an average, the network itself is judged
        decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def loss_for(recipe: Recipe, targets: NDArray[np.int64], n_classes: int) -> nn.CrossEntropyLoss:
    """Cross-entropy with label smoothing; rarer classes weigh more if the recipe says so.

    The weights go with the square root of the imbalance: half way between leaving rare classes to chance and
    letting a handful of pictures steer the network.
    """
    weight = None
    if recipe.class_weights:
        counts = np.bincount(targets, minlength=n_classes).astype(np.float64)
        raw = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0)
        weight = torch.tensor(raw * len(targets) / (raw * counts).sum(), dtype=torch.float32)
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=recipe.label_smoothing)
