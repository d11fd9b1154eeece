"""What is in a file of Keras weights, read without executing any of it.

Two layouts are known. `.weights.h5` (and `.keras`) of Keras 3 keep `layers/conv2d_1/vars/0`, named by class and
number. The older `.h5`, in which most applications are published, keeps the layers in order with their names.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from whatsit.errors import WeightsError
from whatsit.training.keras_engine.silence import silence

_MOST_LEFT = 3  # layers that a file may hold beyond those wanted: VGG16's three dense ones
_LARGEST = 16_000_000_000  # bytes of an unpacked `.keras`
_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # the second: Keras 2.12 to 2.15

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Match:
    """A network's layers with the arrays that a file has for them, and what does not fit."""

    pairs: list[tuple[Any, Arrays]]
    wanted: int
    missing: list[str]
    misfit: list[str]
    left: int

    @property
    def fits(self) -> bool:
        return not self.missing and not self.misfit and self.left <= _MOST_LEFT

    def assign(self) -> None:
        for variables, arrays in self.pairs:
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)


def read(path: Path) -> tuple[bool, dict[str, Arrays]]:
    """Whether it is the older layout, and the arrays of each layer that has any, in order. Raises WeightsError."""
    try:
        with h5py.File(path, "r") as file:
            if "layer_names" in file.attrs or "layer_names0" in file.attrs or "model_weights" in file:
                return True, dict(_older(file.get("model_weights", file)))
            return False, dict(_keras3(file))
    except Exception as error:  # h5py has no exceptions of its own, and a damaged file raises about any
        raise unreadable(path, error) from None


def _keras3(file: Any) -> Iterator[tuple[str, Arrays]]:
    root = next(file[name] for name in _ROOTS if name in file)
    names: list[str] = []
    root.visit(names.append)
    for name in names:
        if name.endswith("/vars") and len(root[name]):
            yield name.removesuffix("/vars"), [np.asarray(root[name][str(n)]) for n in range(len(root[name]))]


def _older(root: Any) -> Iterator[tuple[str, Arrays]]:
    for layer in _names(root, "layer_names"):
        weights = _names(root[layer], "weight_names")
        if weights:
            yield layer, [np.asarray(root[layer][name]) for name in weights]


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which is cut into numbered parts where it is long."""
    parts = [attribute] if attribute in group.attrs else []
    while not parts or f"{attribute}{len(parts)}" in group.attrs:
        if f"{attribute}{len(parts)}" not in group.attrs:
            break
        parts.append(f"{attribute}{len(parts)}")
    found = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def match(layers: list[Any], older: bool, stored: dict[str, Arrays]) -> Match:
    """Find for each layer with weights what the file has for it."""
    names = _in_order(layers, list(stored)) if older else _by_class(layers)
    pairs, missing, misfit = [], [], []
    wanted = 0
    for layer, name in names:
        variables = layer.trainable_weights + layer.non_trainable_weights if older else list(layer.weights)
        arrays = stored.get(name, []) if name else []
        wanted += len(variables)
        labels = [f"{layer.name}/{variable.name}" for variable in variables]
        missing += labels[len(arrays) :]
        misfit += [
            label
            for label, variable, array in zip(labels, variables, arrays, strict=False)
            if tuple(variable.shape) != array.shape
        ]
        if len(arrays) > len(variables):
            misfit.append(labels[-1])
        pairs.append((variables, arrays))
    return Match(pairs, wanted, missing, misfit, len(stored) - sum(1 for _, arrays in pairs if arrays))


def _in_order(layers: list[Any], names: list[str]) -> Iterator[tuple[Any, str | None]]:
    weighted = [layer for layer in layers if layer.weights]
    for place, layer in enumerate(weighted):
        yield layer, names[place] if place < len(names) else None


def _by_class(layers: list[Any], above: str = "") -> Iterator[tuple[Any, str]]:
    """As Keras names them when it saves: by class and number, layers without weights counted."""
    seen: dict[str, int] = {}
    for layer in layers:
        name = _snake_case(type(layer).__name__)
        number = seen[name] = seen.get(name, -1) + 1
        path = f"{above}{name}_{number}" if number else f"{above}{name}"
        if isinstance(layer, keras.Model):
            yield from _by_class(layer.layers, f"{path}/layers/")
        elif layer.weights:
            yield layer, path


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def read_whole(path: Path) -> Any:
    """A `.keras` model, in safe mode: nothing that could run code is opened. Raises WeightsError."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
            if size > _LARGEST or size > 100 * max(path.stat().st_size, 1):
                raise ValueError(f"{size:,} bytes when unpacked")
        with warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a layer that does not come with Keras raises about anything
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot read the weights '{path}'",
        value=" ".join(str(error).split())[:120] or type(error).__name__,
        accepted="a whole .weights.h5, .h5 or .keras file of Keras, without code",
        hint="Copy or download the file again.",
    )


def misfitting(path: Path, found: Match) -> WeightsError:
    first = [*found.missing, *found.misfit][:1]
    told = f"{len(found.missing)} of {found.wanted} tensors missing, {len(found.misfit)} of another shape"
    return WeightsError(
        f"cannot load '{path.name}' into this network",
        value=f"{told}, the first: {first[0]}" if first else f"{found.left} layers more than the network has",
        accepted="weights saved from the same network with the same arguments",
        hint="Check --model, --network-arg and --image-size.",
    )
