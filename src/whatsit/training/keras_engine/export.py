"""The network with everything inside, as ONNX, and as a file for Keras."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from whatsit import storage
from whatsit.errors import OptionError
from whatsit.recipe import Recipe
from whatsit.training.anonymous import forget_sources
from whatsit.training.keras_engine.networks import Network
from whatsit.training.keras_engine.silence import silence

OPSET = 18
NATIVE = "model.keras"
_BACKENDS = ("tensorflow", "torch")


def check_backend() -> None:
    """Raise OptionError for a backend from which Keras writes no ONNX."""
    if keras.backend.backend() not in _BACKENDS:
        raise OptionError(
            "cannot write a model file from this backend of Keras",
            value=keras.backend.backend(),
            accepted=" or ".join(_BACKENDS),
            hint="Set KERAS_BACKEND=tensorflow, for instance.",
        )


def to_onnx(network: Network, recipe: Recipe, temperature: float) -> bytes:
    """A serialised ONNX model with a dynamic batch, free of source paths."""
    import onnx

    check_backend()
    model = _answering(network, recipe, temperature)
    with _quiet(), _in_one_piece(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        signature = [keras.InputSpec("uint8", (None, *recipe.preprocess.size, 3), name="pictures")]
        model.export(path, format="onnx", verbose=False, input_signature=signature, opset_version=OPSET)
        graph = onnx.load(path)
    _spell_out_erfc(graph.graph)
    _name_ends(graph.graph)
    forget_sources(graph)
    return bytes(graph.SerializeToString(deterministic=True))


def write_native(network: Network, folder: Path) -> Path:
    """model.keras: pictures in 0..255 -> probabilities, in layers that come with Keras. Raises OutputError."""
    (pictures,), (logits,) = network.logits.inputs, network.logits.outputs
    model = keras.Model(pictures, keras.layers.Softmax(name="probabilities")(logits))
    path = folder / NATIVE
    with _quiet(), tempfile.TemporaryDirectory() as elsewhere, storage.beside(path) as part:
        model.save(Path(elsewhere) / NATIVE)
        shutil.copyfile(Path(elsewhere) / NATIVE, part)
    return path


def _answering(network: Network, recipe: Recipe, temperature: float) -> Any:
    """uint8 [N, h, w, 3] -> probabilities [N, K], embedding [N, D]: scaling, softmax and temperature inside."""
    pictures = keras.Input((*recipe.preprocess.size, 3), dtype="uint8", name="pictures")
    both = keras.Model(network.logits.inputs, [network.logits.outputs[0], network.embed.outputs[0]])
    logits, embedding = both(keras.ops.cast(pictures, "float32"), training=False)
    return keras.Model(pictures, [keras.layers.Softmax()(logits / temperature), embedding])


def _spell_out_erfc(graph: Any) -> None:
    """TensorFlow's GELU becomes a node that ONNX does not have: erfc(x) = 1 - erf(x)."""
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        inner = f"{node.output[0]}_erf"
        nodes.append(helper.make_node("Erf", node.input, [inner]))
        nodes.append(helper.make_node("Sub", ["one_of_erfc", inner], node.output))
    if len(nodes) > len(graph.node):
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "one_of_erfc"))
    del graph.node[:]
    graph.node.extend(nodes)


def _name_ends(graph: Any) -> None:
    """The graph's input and outputs under our names, with "N" as the number of pictures."""
    ends = [*graph.input, *graph.output]
    names = dict(zip((end.name for end in ends), ("pictures", "probabilities", "embedding"), strict=True))
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for end in ends:
        end.name = names[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]


@contextlib.contextmanager
def _in_one_piece() -> Iterator[None]:
    """Keras has TensorFlow compile grouped convolutions as functions of their own, which ONNX has no node for."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow

    before = tensorflow.config.functions_run_eagerly()
    tensorflow.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tensorflow.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters print and warn about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
