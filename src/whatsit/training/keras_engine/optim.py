"""The optimiser, the learning rate at a step, and the loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from whatsit.recipe import Recipe
from whatsit.training.course import class_weights
from whatsit.training.keras_engine.networks import Network, weight_layers

Arrays = list[NDArray[Any]]


class _EachItsRate:
    """Multiplies the learning rate of each variable by its `scales`, and shrinks it by its `decays`.

    AdamW's decay shrinks the weights themselves (Loshchilov and Hutter, ICLR 2019), that of the others is part of
    the gradient, as in PyTorch.
    """

    scales: tuple[float, ...]
    decays: tuple[float, ...]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        optimizer: Any = self
        index = optimizer._get_variable_index(variable)
        rate, decay = learning_rate * self.scales[index], self.decays[index]
        if decay and isinstance(self, keras.optimizers.Adam):
            optimizer.assign_sub(variable, variable * (rate * decay))
        elif decay:
            gradient = gradient + variable * decay
        super().update_step(gradient, variable, rate)  # type: ignore[misc]


class _Adam(_EachItsRate, keras.optimizers.Adam):  # type: ignore[misc]
    pass


class _SGD(_EachItsRate, keras.optimizers.SGD):  # type: ignore[misc]
    pass


class _RMSprop(_EachItsRate, keras.optimizers.RMSprop):  # type: ignore[misc]
    pass


def optimizer_for(network: Network, learning: list[Any], recipe: Recipe) -> Any:
    """The recipe's optimiser for these variables of the network. Biases and normalisation do not decay.

    A fresh last layer learns at the full rate, the backbone at `backbone_rate` times that, and each of its layers
    at `layer_decay` times the rate of the next (discriminative rates: Howard and Ruder, ACL 2018, section 3.2).
    """
    optimizer: Any
    if recipe.optimizer == "sgd":
        optimizer = _SGD(recipe.learning_rate, name="sgd", momentum=0.9, nesterov=True)
    elif recipe.optimizer == "rmsprop":
        optimizer = _RMSprop(recipe.learning_rate, name="rmsprop")
    else:
        optimizer = _Adam(recipe.learning_rate, name="adam", epsilon=1e-7 if recipe.optimizer == "adam" else 1e-8)
    layers = weight_layers(network)
    scales = {
        id(variable): recipe.backbone_rate * recipe.layer_decay ** (len(layers) - 1 - depth)
        for depth, group in enumerate(layers)
        for layer in group
        for variable in layer.trainable_weights
    }
    optimizer.scales = tuple(scales.get(id(variable), 1.0) for variable in learning)
    optimizer.decays = tuple(recipe.weight_decay if len(variable.shape) > 1 else 0.0 for variable in learning)
    optimizer.build(learning)
    return optimizer


def averaged(average: Arrays, weights: Arrays, step: int, decay: float) -> Arrays:
    """Exponential moving average of weights and statistics (Polyak and Juditsky, 1992), quick to leave the start.

    It takes the noise of the last few steps out of small sets, where a lucky epoch is hard to tell from a good one.
    """
    decay = min(decay, (1 + step) / (10 + step))
    return [mean + (value - mean) * np.float32(1 - decay) for mean, value in zip(average, weights, strict=True)]


class Loss:
    """Cross-entropy with label smoothing; rarer classes weigh more if the recipe says so."""

    def __init__(self, recipe: Recipe, targets: NDArray[np.int64], n_classes: int) -> None:
        self.weight = class_weights(targets, n_classes) if recipe.class_weights else np.ones(n_classes)
        self._smoothing = recipe.label_smoothing

    def aims(self, targets: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, K]: what the log probabilities are multiplied by. The batch's mean weight is divided out."""
        k = len(self.weight)
        smooth = (1 - self._smoothing) * np.eye(k)[targets] + self._smoothing / k
        return np.asarray(smooth * self.weight / self.weight[targets].mean(), np.float32)

    def with_labels(self, aims: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, 2K]: the aims, for the loss, and the labels, for the accuracy, as one array for Keras."""
        return np.concatenate([aims, np.eye(len(self.weight), dtype=np.float32)[targets]], axis=1)


def cross_entropy(wanted: Any, logits: Any) -> Any:
    """[N]: the loss of each picture, for what `Loss.with_labels` gives."""
    ops = keras.ops
    return -ops.sum(wanted[:, : logits.shape[1]] * ops.log_softmax(logits), axis=1)


def accuracy(wanted: Any, logits: Any) -> Any:
    """[N]: 1 where the largest logit is the label's."""
    ops = keras.ops
    return ops.cast(ops.equal(ops.argmax(wanted[:, logits.shape[1] :], 1), ops.argmax(logits, 1)), "float32")
