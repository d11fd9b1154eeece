"""A pretrained network as a graph on disk: made once, checked against its framework, used without it from then on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whatsit import modelfile, storage
from whatsit.events import NetworkBuilt, Notice, OnEvent
from whatsit.recipe import Recipe
from whatsit.runtime.engine import Engine as Runtime
from whatsit.runtime.onnxruntime_engine import OnnxRuntimeEngine
from whatsit.training.engine import Engine

_VERSION = 1  # of the files below; raise it when the same key would mean something else
_DIFFERENCE = 1e-3  # largest one allowed, against features of which the largest are about 1 to 10


@dataclass(frozen=True)
class Backbone:
    """The graph of a network with a last layer that says nothing yet; `embedding` is what it is for."""

    path: Path
    network: NetworkBuilt

    @cached_property
    def graph(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def runtime(self) -> Runtime:
        """One thread: pictures are looked at side by side.

        In full precision, like the file that is made of it. bfloat16 was no faster in PyTorch than this, and faster
        in OpenVINO, but a head fitted to its features was worse on exact ones (benchmarks/LOG.md).
        """
        return OnnxRuntimeEngine(self.path, threads=1)


def ready(recipe: Recipe, n_classes: int, folder: Path) -> bool:
    return _paths(recipe, n_classes, folder)[1].exists()


def prepare(
    get_engine: Callable[[], Engine],
    recipe: Recipe,
    n_classes: int,
    pictures: NDArray[np.uint8],
    folder: Path,
    on_event: OnEvent,
) -> Backbone:
    """The backbone from `folder`, or made there if it is not there yet.

    It is kept only if it sees in `pictures`, uint8 [N, h, w, 3], what the framework sees. Raises ParityError.
    """
    graph_path, facts_path = _paths(recipe, n_classes, folder)
    if not facts_path.exists():
        on_event(Notice("turning the pretrained network into a graph (once)"))
        _make(get_engine(), recipe, n_classes, pictures, graph_path, facts_path)
    facts = json.loads(facts_path.read_text("utf-8"))
    return Backbone(graph_path, NetworkBuilt(facts["table"], facts["total"], facts["trainable"]))


def key(recipe: Recipe) -> dict[str, Any]:
    """What the features of a picture depend on, the picture and the computing library apart."""
    return {
        "version": _VERSION,
        "framework": recipe.framework,
        "model": recipe.model,
        "arguments": recipe.network_args,
        "weights": recipe.weights_sha256,
        "scaling": recipe.scaling,
        "size": recipe.preprocess.size,
    }


def digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _paths(recipe: Recipe, n_classes: int, folder: Path) -> tuple[Path, Path]:
    name = digest({**key(recipe), "classes": n_classes})
    return folder / f"{name}.onnx", folder / f"{name}.json"


@storage.elsewhere("set WHATSIT_CACHE to a folder with room")
def _make(
    engine: Engine, recipe: Recipe, n_classes: int, pictures: NDArray[np.uint8], graph_path: Path, facts_path: Path
) -> None:
    """The graph first, then the facts: where these are, the graph is whole and checked."""
    fitted = engine.with_head(replace(recipe, finetune="no"), n_classes)
    with storage.beside(graph_path) as part:
        part.write_bytes(fitted.onnx(1.0))
        seen = OnnxRuntimeEngine(part).run(pictures)[1]
        expected = fitted.embed(pictures)
        scale = max(1.0, float(np.abs(expected).max()))
        modelfile.check_parity(seen / scale, expected / scale, _DIFFERENCE)
    facts = {
        "table": fitted.network.table,
        "total": fitted.network.total_parameters,
        "trainable": fitted.network.trainable_parameters,
    }
    storage.write_whole(facts_path, json.dumps(facts))
