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


def save(path: Path, model: onnx.ModelProto | None = None, **options: Any) -> Path:
    onnx.save(model or mean_colour(**options), str(path))
    return path
