"""Weights in half precision: rounded once, kept in half the space, computed with in full precision."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from whatsit.training.torch_engine.network import Network

_WORTH_IT = 1_024  # values; smaller tensors would gain nothing
_SUFFIX = ".float16"


@torch.no_grad()
def round_weights(network: Network) -> None:
    """Round filters and matrices, where they are, to values that float16 holds. Offsets and statistics stay."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.copy_(parameter.half())


def store_as_half(model: onnx.ModelProto) -> None:
    """Keep those weights as float16 that lose nothing by it. A runtime widens them once, when it opens the file."""
    widened = []
    for weights in model.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) < _WORTH_IT:
            continue
        values = numpy_helper.to_array(weights)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(halves, name + _SUFFIX))
        widened.append(helper.make_node("Cast", [name + _SUFFIX], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
