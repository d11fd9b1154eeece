"""The optimiser, the learning rate at a step, and the loss."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from whatsit.recipe import Recipe
from whatsit.training.course import class_weights
from whatsit.training.torch_engine.muon import Muon
from whatsit.training.torch_engine.network import Network
from whatsit.training.torch_engine.networks import weight_layers


def optimizer_for(network: Network, recipe: Recipe, batch_size: float) -> torch.optim.Optimizer:
    """The recipe's optimiser; each group's `scale` multiplies the rate. Biases and normalisation do not decay.

    A fresh last layer learns at the full rate, the backbone at `backbone_rate` times that, and each of its layers
    at `layer_decay` times the rate of the next (discriminative rates: Howard and Ruder, ACL 2018, section 3.2).
    `batch_size` is that of the batches as they are; a small set does not fill the recipe's.
    """
    if recipe.optimizer == "muon":
        return muon_for(network, batch_size)
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
    if recipe.optimizer == "adam":
        return torch.optim.Adam(settings, eps=1e-7, fused=True)  # epsilon as Keras has it, whose tutorials use it
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, momentum=0.9, nesterov=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(settings, alpha=0.9, eps=1e-7)  # as Keras has them, whose tutorials use it
    return torch.optim.AdamW(settings)


# Rates of what Muon leaves to SGD, for each picture of a batch, against that of the filters.
_OFFSETS = 0.053 / 0.24
_LAST_LAYER = 0.67 / 0.24


def muon_for(network: Network, batch_size: float) -> Muon:
    """Filters by Muon; offsets and the last layer by SGD, whose rates grow with the batch.

    The rates are airbench's (arXiv 2404.00498, appendix A), brought from a summed loss to a mean one.
    """
    last = {id(parameter) for parameter in network.last_layer().parameters()}
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    filters = [parameter for parameter in learning if parameter.ndim == 4]
    offsets = [parameter for parameter in learning if parameter.ndim < 4 and id(parameter) not in last]
    head = [parameter for parameter in learning if id(parameter) in last]
    return Muon(
        [
            {"params": filters, "scale": 1.0, "filters": True},
            {"params": offsets, "scale": _OFFSETS * batch_size},
            {"params": head, "scale": _LAST_LAYER * batch_size},
        ]
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


@torch.no_grad()
def update_average(average: Network, network: Network, step: int, decay: float) -> None:
    """Exponential moving average of weights and statistics (Polyak and Juditsky, 1992), quick to leave the start.

    It takes the noise of the last few steps out of small sets, where a lucky epoch is hard to tell from a good one.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def loss_for(recipe: Recipe, targets: NDArray[np.int64], n_classes: int) -> nn.CrossEntropyLoss:
    """Cross-entropy with label smoothing; rarer classes weigh more if the recipe says so."""
    weight = None
    if recipe.class_weights:
        weight = torch.tensor(class_weights(targets, n_classes), dtype=torch.float32)
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=recipe.label_smoothing)
