"""The nodes around a foreign graph, and the same arithmetic in NumPy for its original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, compose, helper, numpy_helper

from whatsit.evaluation.calibration import softmax
from whatsit.importers.unusable import unusable
from whatsit.preprocess import Scaling
from whatsit.training.anonymous import forget_sources

Layout = Literal["NHWC", "NCHW"]
Scores = Literal["logits", "probabilities", "one logit", "one probability"]
Run = Callable[[NDArray[np.generic]], NDArray[np.float32]]  # the input's values for N pictures -> answers [N, ...]

_PREFIX = "brought/"
TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT8: np.int8,
}
_SMALLEST = 1e-30  # a probability of zero has no logarithm
# What may stand between the last layer with weights and the answers.
_AFTER_THE_LAST_LAYER = {"Softmax", "LogSoftmax", "Sigmoid", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
_AFTER_THE_LAST_LAYER |= {"Add", "QLinearAdd", "QuantizeLinear", "DequantizeLinear", "Cast", "Dropout", "Transpose"}
_NEUTRAL = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "QuantizeLinear", "DequantizeLinear", "Cast"}


@dataclass(frozen=True)
class Ends:
    """What stands between pictures `uint8 [N, h, w, 3]` and a foreign input, and from its answers to probabilities.

    dtype    the ONNX type of the input; integers take the pixels as they are, int8 ones less 128
    scaling  what becomes of pixel values, for floats
    scale, zero   what an integer answer stands for: scale * (answer - zero)
    """

    layout: Layout
    dtype: int
    scaling: Scaling | None
    scores: Scores
    scale: float = 1.0
    zero: float = 0.0

    def values(self, pictures: NDArray[np.uint8]) -> NDArray[np.generic]:
        values: NDArray[np.generic] = pictures
        if self.dtype == TensorProto.INT8:
            values = (pictures.astype(np.int16) - 128).astype(np.int8)
        elif self.dtype != TensorProto.UINT8:
            assert self.scaling is not None
            offset, factor = _offset_and_factor(self.scaling)
            scaled = (pictures.astype(np.float32) - offset) * factor
            values = (scaled[..., ::-1] if self.scaling.bgr else scaled).astype(TYPES[self.dtype])
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "NCHW" else values)

    def probabilities(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = self.scale * (answers.reshape(len(answers), -1).astype(np.float32) - self.zero)
        if self.scores == "logits":
            return softmax(rows)
        if self.scores == "probabilities":
            return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)
        yes = 1 / (1 + np.exp(-rows)) if self.scores == "one logit" else rows
        return np.asarray(np.concatenate([1 - yes, yes], axis=1), np.float32)


def _offset_and_factor(scaling: Scaling) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float32 [3] each: scaled = (pixel - offset) * factor."""
    mean, std = np.array(scaling.mean), np.array(scaling.std)
    return (255 * mean).astype(np.float32), (1 / (255 * std)).astype(np.float32)


def wrap(model: onnx.ModelProto, output: str, ends: Ends, size: tuple[int, int], batch: int | None) -> bytes:
    """The graph that takes `pictures` and gives `probabilities` and `embedding`, serialised. `model` is used up.

    `batch` is 1 where the graph cannot take several pictures at once, None otherwise.
    """
    inside = last_layer_input(model.graph, output)
    source = real_inputs(model.graph)[0].name
    forget_sources(model)
    for node in model.graph.node:
        node.name = ""
    model = compose.add_prefix(model, _PREFIX, inplace=True)
    graph = model.graph
    before, first = _before(ends, _PREFIX + source)
    after, last = _after(ends, _PREFIX + output)
    nodes = [*before, *graph.node, *after]
    nodes.append(helper.make_node("Flatten", [_PREFIX + inside], ["embedding_as_it_is"], axis=1))
    nodes.append(helper.make_node("Cast", ["embedding_as_it_is"], ["embedding"], to=TensorProto.FLOAT))
    _replace(graph.node, nodes)
    graph.initializer.extend([*first, *last])
    n: int | str = batch or "N"
    _replace(graph.input, [helper.make_tensor_value_info("pictures", TensorProto.UINT8, [n, *size, 3])])
    _replace(
        graph.output,
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [n, None]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [n, None]),
        ],
    )
    del graph.value_info[:]
    graph.name, model.producer_name, model.producer_version = "brought", "whatsit", ""
    model.ir_version = max(model.ir_version, 8)  # older ones list the weights among the inputs
    return bytes(model.SerializeToString(deterministic=True))


def _before(ends: Ends, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """From `pictures` to the foreign input."""
    chain = _Chain("pictures", "before")
    if ends.dtype != TensorProto.UINT8:
        chain.add("Cast", to=TensorProto.FLOAT)
    if ends.dtype == TensorProto.INT8:
        chain.add("Sub", np.float32(128))
    elif ends.dtype != TensorProto.UINT8:
        assert ends.scaling is not None
        offset, factor = _offset_and_factor(ends.scaling)
        if offset.any():
            chain.add("Sub", offset)
        if (factor != 1).any():
            chain.add("Mul", factor)
        if ends.scaling.bgr:
            chain.add("Gather", np.array([2, 1, 0]), axis=3)
    if ends.dtype not in (TensorProto.UINT8, TensorProto.FLOAT):
        chain.add("Cast", to=ends.dtype)
    if ends.layout == "NCHW":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    return chain.ending_in(target)


def _after(ends: Ends, source: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """From the foreign answers to `probabilities`."""
    chain = _Chain(source, "after")
    chain.add("Flatten", axis=1)
    chain.add("Cast", to=TensorProto.FLOAT)
    if ends.zero:
        chain.add("Sub", np.float32(ends.zero))
    if ends.scale != 1:
        chain.add("Mul", np.float32(ends.scale))
    if ends.scores == "logits":
        chain.add("Softmax", axis=1)
    elif ends.scores == "probabilities":
        chain.add("LpNormalization", axis=1, p=1)  # each row by its sum; ReduceSum differs between opsets
    else:
        if ends.scores == "one logit":
            chain.add("Sigmoid")
        chain.add("Mul", np.array([[-1, 1]], np.float32))
        chain.add("Add", np.array([[1, 0]], np.float32))
    return chain.ending_in("probabilities")


def with_temperature(graph: bytes, temperature: float) -> bytes:
    """The same graph with the logarithms of its probabilities divided by `temperature`."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            node.output[number] = "uncalibrated" if name == "probabilities" else name
    chain = _Chain("uncalibrated", "calibration")
    chain.add("Max", np.float32(_SMALLEST))
    chain.add("Log")
    chain.add("Mul", np.float32(1 / temperature))
    chain.add("Softmax", axis=1)
    nodes, constants = chain.ending_in("probabilities")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    return bytes(model.SerializeToString(deterministic=True))


def log_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `with_temperature` divides."""
    return np.asarray(np.log(np.maximum(probabilities, np.float32(_SMALLEST))), np.float32)


class _Chain:
    """Nodes one after the other, each with one constant at most."""

    def __init__(self, source: str, name: str) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._last, self._name = source, name

    def add(self, kind: str, constant: NDArray[np.generic] | np.generic | None = None, **attributes: Any) -> None:
        inputs = [self._last]
        if constant is not None:
            inputs.append(f"{self._name}_constant_{len(self._constants)}")
            self._constants.append(numpy_helper.from_array(np.asarray(constant), inputs[1]))
        self._last = f"{self._name}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [self._last], **attributes))

    def ending_in(self, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
        if not self._nodes:
            self.add("Identity")
        self._nodes[-1].output[0] = target
        return self._nodes, self._constants


def _replace(field: object, items: list[NodeProto] | list[onnx.ValueInfoProto]) -> None:
    kept = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]


# ---- reading a foreign graph


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Old files list their weights among the inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def last_layer_input(graph: onnx.GraphProto, output: str) -> str:
    """What the last layer with weights sees: the embedding. The answers themselves where it cannot be found."""
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    node = made_by.get(output)
    while node is not None and node.op_type in _AFTER_THE_LAST_LAYER:
        node = next((made_by[name] for name in node.input if name in made_by and name not in constants), None)
    if node is None or node.op_type not in ("Gemm", "MatMul", "Conv", "QLinearMatMul"):
        return output
    seen = node.input[0]
    if seen in constants:
        return output
    if node.op_type == "QLinearMatMul":  # its input is quantised; what was quantised is the embedding
        maker = made_by.get(seen)
        return str(maker.input[0]) if maker is not None and maker.op_type == "QuantizeLinear" else output
    return str(seen)


def scores_of(path: Path, graph: onnx.GraphProto, output: str, answers: NDArray[np.float32]) -> Scores:
    """What the answers are. `answers` [N, ...] for a few pictures, dequantised. Raises ModelFileError."""
    if answers.ndim < 2 or answers[0].size != max(answers.shape[1:]):
        shape = "x".join(str(side) for side in answers.shape[1:]) or "a single number"
        raise unusable(
            path,
            f"answers of shape {shape}",
            "a classifier, with one score for each class",
            "Detectors, segmenters and encoders cannot be imported.",
        )
    rows = answers.reshape(len(answers), -1)
    last = _last_kind(graph, output)
    if rows.shape[1] == 1:
        return "one probability" if last == "Sigmoid" else "one logit"
    if last == "Sigmoid":
        raise unusable(
            path,
            "answers that each say yes or no by themselves (sigmoid)",
            "a classifier whose answers exclude each other",
            "Networks that name several things in one picture cannot be imported.",
        )
    one = bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))
    return "probabilities" if last == "Softmax" or one else "logits"


def _last_kind(graph: onnx.GraphProto, output: str) -> str:
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(output)
    while node is not None and node.op_type in _NEUTRAL:
        node = made_by.get(node.input[0])
    return node.op_type if node is not None else ""
