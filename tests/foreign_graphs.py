"""ONNX graphs as other people export them: the mean colour of a picture, put through one linear layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Each row of pixels' means goes to three scores; a constant keeps them apart.
WEIGHT = np.array([[4, -1, 0], [-2, 3, 1], [0, -2, 2]], np.float32)
BIAS = np.array([0.5, 0, -0.5], np.float32)


def mean_colour(
    layout: str = "NCHW",
    dtype: int = TensorProto.FLOAT,
    size: tuple[int | str, int | str] = (8, 8),
    batch: int | str = "N",
    last: str | None = None,
    classes: int = 3,
    opset: int = 13,
    outputs: int = 1,
) -> onnx.ModelProto:
    """A classifier whose last operator is `last` ("Softmax", "Sigmoid", or none: logits)."""
    shape = [batch, 3, *size] if layout == "NCHW" else [batch, *size, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["means", "weight", "bias"], ["scores"]),
    ]
    if last:
        nodes.append(helper.make_node(last, ["scores"], ["answers"], name="/home/somebody/net.py", doc_string="secret"))
    out = "answers" if last else "scores"
    names = [out, "means"][:outputs]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pictures", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(WEIGHT[:, :classes], "weight"), numpy_helper.from_array(BIAS[:classes], "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def flattened(size: tuple[int | str, int | str] = (8, 8), shape: tuple[int, int] = (0, -1)) -> onnx.ModelProto:
    """A classifier made for 8x8 pixels, whatever its input says. `shape` (1, -1) makes it one for a single picture."""
    model = mean_colour(size=size)
    nodes = [
        helper.make_node("Reshape", ["pictures", "shape"], ["row"]),
        helper.make_node("Gemm", ["row", "weight", "bias"], ["scores"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.repeat(WEIGHT / 64, 64, axis=0), "weight"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "shape"))
    return model


def with_words() -> onnx.ModelProto:
    """Scores, and beside them, as Azure Custom Vision writes it, the name of the first class."""
    model = mean_colour()
    model.graph.node.append(helper.make_node("Constant", [], ["classLabel"], value_strings=["a"]))
    model.graph.output.append(helper.make_tensor_value_info("classLabel", TensorProto.STRING, [1]))
    return model


def save(path: Path, model: onnx.ModelProto | None = None, **options: Any) -> Path:
    onnx.save(model or mean_colour(**options), str(path))
    return path
