"""Networks: two of our own, and every application of Keras by its name there.

Each is a chain of ready Keras layers, scaling included, that takes pictures `[N, h, w, 3]` in 0..255.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from whatsit.errors import OptionError, WeightsError, did_you_mean
from whatsit.events import NetworkBuilt
from whatsit.preprocess import scaling_named
from whatsit.recipe import COMPACT, SMALL, TUTORIAL_CNN, Recipe
from whatsit.training.engine import Head
from whatsit.training.keras_engine import weight_files

_WIDTHS = (24, 48, 96, 128)
_ONLY_SHAPES = (layers.Activation, layers.Softmax, layers.Flatten, layers.Reshape, layers.Dropout)


@dataclass(frozen=True)
class Network:
    """A network as two functions of the same layers.

    embed     pictures -> embedding [N, D], what the last layer sees
    logits    pictures -> logits [N, K]
    backbone  what may have been pretrained: scaled pictures -> features
    features  what the backbone gives for the pictures: the embedding, or feature maps
    last      the layer that maps the embedding to the classes
    """

    embed: Any
    logits: Any
    backbone: Any
    features: Any
    last: Any


class Learning(keras.Model):  # type: ignore[misc]
    """The same layers while they learn: pictures -> logits.

    Statistics of a few small batches would spoil those that a pretrained backbone comes with, so it may be kept in
    evaluation mode. Saying so where it is called in `logits` does not last: Keras lets the outer model's mode win.
    """

    def __init__(self, network: Network, frozen_statistics: bool) -> None:
        super().__init__()
        self.body = keras.Model(network.logits.inputs, network.features)
        self.top = keras.Model(network.features, network.logits.outputs[0])
        self.frozen_statistics = frozen_statistics

    def call(self, pictures: Any, training: bool | None = None) -> Any:
        features = self.body(pictures, training=False if self.frozen_statistics else training)
        return self.top(features, training=training)


def build(recipe: Recipe, n_classes: int, head: Head | None = None) -> Network:
    """The recipe's network: pretrained weights loaded, the last layer fresh (or `head`), what is not to learn frozen.

    Raises OptionError and WeightsError.
    """
    network = _assemble(recipe, _backbone(recipe, n_classes), n_classes)
    if head is not None:
        network.last.set_weights([head.weight, head.bias])
    _freeze(network, recipe.finetune)
    return network


def as_it_came(recipe: Recipe, n_classes: int) -> Network:
    """The network with every weight of its file, the last layer's included. Raises OptionError and WeightsError."""
    path = Path(str(recipe.weights))
    if path.suffix == ".keras":
        model = _whole(path, recipe)
    else:
        model = _application(recipe, n_classes)
        found = weight_files.match(model.layers, *weight_files.read(path))
        if not found.fits or found.left:
            raise weight_files.misfitting(path, found)
        found.assign()
        _fix_scaling(model)
    last = _last_layer(model, str(path.name))
    both = keras.Model(model.inputs, [_flat(last.input), _flat(_linear(last))], name=f"{model.name}_linear")
    if both.outputs[1].shape[-1] != n_classes:
        raise WeightsError(
            f"cannot use '{path.name}' with these labels",
            value=f"a network of {both.outputs[1].shape[-1]} classes and {n_classes} labels",
            accepted="as many labels as classes",
            hint="Check the labels, or train a new last layer with 'whatsit train'.",
        )
    pictures = _pictures(recipe)
    embedding, logits = both(_scaled(pictures, recipe), training=False)
    return Network(keras.Model(pictures, embedding), keras.Model(pictures, logits), both, embedding, last)


def _assemble(recipe: Recipe, backbone: Any, n_classes: int) -> Network:
    """Scaling, the backbone, and the last layers."""
    pictures = _pictures(recipe)
    features = backbone(_scaled(pictures, recipe))
    if recipe.last_layers == "tutorial":
        embedding = layers.Dense(1024, "relu", name="dense")(layers.Flatten(name="flatten")(features))
    else:
        embedding = features
    dropped = layers.Dropout(recipe.dropout, name="dropout")(embedding)
    # A random last layer on large features starts with large errors, which then run through the network.
    fresh = "zeros" if recipe.weights and recipe.last_layers == "linear" else "glorot_uniform"
    last = layers.Dense(n_classes, kernel_initializer=fresh, name="head")
    logits = last(dropped)
    return Network(keras.Model(pictures, embedding), keras.Model(pictures, logits), backbone, features, last)


def _pictures(recipe: Recipe) -> Any:
    return keras.Input((*recipe.preprocess.size, 3), dtype="float32", name="pictures")


def _scaled(pictures: Any, recipe: Recipe) -> Any:
    scaling = scaling_named(recipe.scaling)
    scale = [1 / (255 * std) for std in scaling.std]
    offset = [-mean / std for mean, std in zip(scaling.mean, scaling.std, strict=True)]
    x = layers.Rescaling(scale, offset, name="scaling")(pictures)
    return keras.ops.flip(x, axis=-1) if scaling.bgr else x


def _backbone(recipe: Recipe, n_classes: int) -> Any:
    if recipe.model in _OWN:
        if recipe.weights:
            raise WeightsError(
                f"cannot load pretrained weights into the network '{recipe.model}'",
                value=recipe.weights,
                accepted="weights of an application of Keras",
                hint="Name the network with --model, or leave --weights out.",
            )
        return _OWN[recipe.model](recipe.preprocess.size)
    if recipe.weights and Path(recipe.weights).suffix == ".keras":
        model = _whole(Path(recipe.weights), recipe)
        return _without_last(model, Path(recipe.weights).name)
    if recipe.last_layers == "tutorial":
        candidates = [_application(recipe, None, pooling=None)]
    else:
        candidates = [_without_last(_application(recipe, n_classes), recipe.model)]
    if not recipe.weights:
        _fix_scaling(candidates[0])
        return candidates[0]
    if recipe.last_layers == "linear":
        candidates.append(_application(recipe, None, pooling="avg"))  # for a file that was saved without top
    return _loaded(candidates, Path(recipe.weights))


def _loaded(candidates: list[Any], path: Path) -> Any:
    """The first of these networks that the file fits, with its weights. Raises WeightsError if it fits none."""
    older, stored = weight_files.read(path)
    found = [(weight_files.match(network.layers, older, stored), network) for network in candidates]
    for match, network in found:
        if match.fits:
            match.assign()
            _fix_scaling(network)
            return network
    raise weight_files.misfitting(path, min((m for m, _ in found), key=lambda m: len(m.missing) + len(m.misfit)))


def _fix_scaling(model: Any) -> None:
    """The statistics of a built-in scaling as plain numbers, which the exporter takes for constants."""
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
            layer.mean, layer.variance = (np.array(keras.ops.convert_to_numpy(x)) for x in (layer.mean, layer.variance))


def _small(size: tuple[int, int]) -> Any:
    """A small convolutional network for small objects in small pictures: 0.4 million parameters.

    Four stages of two 3x3 convolutions, each but the first after halving the picture; the first stage of large
    pictures works at half size. Global average pooling lets it take any size from 16 pixels.
    """
    x = pictures = keras.Input((*size, 3), name="scaled")
    for number, width in enumerate(_WIDTHS, start=1):
        for part, stride in (("a", 2 if number > 1 or max(size) > 64 else 1), ("b", 1)):
            # Padded by one on every side, as PyTorch does: Keras's "same" pads a stride of 2 on one side only.
            x = layers.ZeroPadding2D(1, name=f"pad{number}{part}")(x)
            x = layers.Conv2D(width, 3, stride, use_bias=False, name=f"conv{number}{part}")(x)
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"norm{number}{part}")(x)
            x = layers.Activation("gelu", name=f"gelu{number}{part}")(x)
    return keras.Model(pictures, layers.GlobalAveragePooling2D(name="pool")(x), name="small")


def _tutorial_cnn(size: tuple[int, int]) -> Any:
    """The CIFAR-10 tutorial's convolutions: three blocks of two, each with its pooling and dropout."""
    x = pictures = keras.Input((*size, 3), name="scaled")
    for number, width in enumerate((32, 64, 128), start=1):
        for part in ("a", "b"):
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{number}{part}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.Dropout(0.25, name=f"drop{number}")(x)
    return keras.Model(pictures, x, name="tutorial_cnn")


_OWN = {SMALL: _small, TUTORIAL_CNN: _tutorial_cnn}


def applications() -> list[str]:
    return sorted(name for name, value in vars(keras.applications).items() if inspect.isfunction(value))


def check_name(name: str) -> None:
    """Raise OptionError, with a suggestion, for a network that neither we nor Keras have."""
    known = [*_OWN, *applications()]
    if name == COMPACT:
        raise OptionError(
            f"cannot train the network '{COMPACT}' with Keras",
            value="--framework keras",
            accepted=f"{', '.join(_OWN)} or an application of Keras",
            hint="Leave --framework out: PyTorch has it.",
        )
    if name not in known:
        raise OptionError(
            f"cannot find a network called '{name}'",
            value=repr(name),
            accepted=f"{', '.join(_OWN)} or one of the {len(applications())} applications of Keras",
            hint=_suggestion(name, known) or "For instance: --model keras:MobileNetV2",
        )


def _suggestion(name: str, known: list[str]) -> str:
    """Keras writes MobileNetV2, everybody else mobilenet_v2."""
    plain = {other.lower(): other for other in known}
    same = plain.get(name.lower().replace("_", "").replace("-", ""))
    return f"Did you mean '{same}'?" if same else did_you_mean(name, known)


def _application(recipe: Recipe, n_classes: int | None, pooling: str | None = "avg") -> Any:
    """The application with a last layer of so many classes, or with None without its top. Nothing is downloaded."""
    check_name(recipe.model)
    function = getattr(keras.applications, recipe.model)
    top = {"include_top": False} if n_classes is None else {"classes": n_classes, "classifier_activation": None}
    try:
        return function(
            **recipe.network_args, **top, weights=None, input_shape=(*recipe.preprocess.size, 3), pooling=pooling
        )
    except Exception as error:  # what applications raise for arguments and sizes they do not know is not written down
        raise OptionError(
            f"cannot build the network '{recipe.model}'",
            value=" ".join(str(error).split())[:160],
            accepted="arguments of that application of Keras, and an image size it takes",
            hint="Check --network-arg NAME=VALUE and --image-size, or choose another --model.",
        ) from None


def _whole(path: Path, recipe: Recipe) -> Any:
    model = weight_files.read_whole(path)
    shape = getattr(model, "input_shape", None)
    wanted = (*recipe.preprocess.size, 3)
    if not isinstance(shape, tuple) or len(shape) != 4 or any(a not in (None, b) for a, b in zip(shape[1:], wanted)):  # noqa: B905
        raise WeightsError(
            f"cannot use the model '{path.name}'",
            value=f"a model for input of the shape {shape}",
            accepted=f"one that takes pictures of {wanted[0]}x{wanted[1]} pixels and three colours",
            hint="Pass the --image-size that the model was made for.",
        )
    return model


def _last_layer(model: Any, name: str) -> Any:
    """The layer with weights that gives the logits. Raises WeightsError where it cannot be told."""
    place = max((n for n, layer in enumerate(model.layers) if layer.weights), default=-1)
    last, after = model.layers[place], model.layers[place + 1 :]
    if not isinstance(last, layers.Dense | layers.Conv2D) or not all(isinstance(one, _ONLY_SHAPES) for one in after):
        raise WeightsError(
            f"cannot tell the last layer of '{name}'",
            value=f"a network that ends with {type(model.layers[-1]).__name__}",
            accepted="one that ends with one dense layer, with or without softmax",
            hint="Choose another --model.",
        )
    return last


def _without_last(model: Any, name: str) -> Any:
    return keras.Model(model.inputs, _flat(_last_layer(model, name).input), name=model.name)


def _linear(last: Any) -> Any:
    """The last layer's output without softmax."""
    last.activation = keras.activations.linear
    return last.output


def _flat(x: Any) -> Any:
    return x if len(x.shape) == 2 else layers.Flatten()(x)


def _freeze(network: Network, finetune: str) -> None:
    """Leave `finetune` layers of the backbone to learn, counted from the end, and every layer after it."""
    if finetune == "all":
        return
    groups = weight_layers(network)
    learning = {"no": 0, "last": math.ceil(len(groups) / 4)}.get(finetune)
    learning = int(finetune) if learning is None else learning
    for group in groups[: max(0, len(groups) - learning)]:
        for layer in group:
            layer.trainable = False


def weight_layers(network: Network) -> list[list[Any]]:
    """The backbone's layers with weights, in order; a normalisation belongs to the layer before it."""
    groups: list[list[Any]] = []
    for layer in network.backbone.layers:
        shapes = [variable.shape for variable in layer.weights if _can_learn(layer, variable)]
        if shapes and (not groups or any(len(shape) > 1 for shape in shapes)):
            groups.append([layer])
        elif shapes:
            groups[-1].append(layer)
    return groups


def _can_learn(layer: Any, variable: Any) -> bool:
    """Whether a variable learns if its layer does: neither statistics nor the numbers of a built-in scaling."""
    return not any(variable is other for other in layer._non_trainable_variables)


def summary(network: Network) -> NetworkBuilt:
    """A table of the layers with their output shapes and parameters, for one picture."""
    rows = [
        (layer.name, type(layer).__name__, "x".join(map(str, layer.output.shape[1:])), layer.count_params())
        for outer in network.logits.layers
        for layer in (outer.layers if isinstance(outer, keras.Model) else [outer])
        if isinstance(layer, layers.Layer) and not isinstance(layer, layers.InputLayer)
    ]
    learning = sum(int(np.prod(variable.shape)) for variable in network.logits.trainable_weights)
    return NetworkBuilt(_table(rows), network.logits.count_params(), learning)


def _table(rows: list[tuple[str, str, str, int]]) -> str:
    cells = [("layer", "kind", "output", "parameters"), *((n, k, s, f"{p:,}") for n, k, s, p in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return "\n".join(f"{n:<{widths[0]}}  {k:<{widths[1]}}  {s:>{widths[2]}}  {p:>{widths[3]}}" for n, k, s, p in cells)
