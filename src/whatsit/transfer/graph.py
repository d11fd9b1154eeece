"""A new last layer in a finished graph, without the framework that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whatsit.training.engine import Head

if TYPE_CHECKING:
    import onnx


def with_head(graph: bytes, head: Head, temperature: float) -> bytes:
    """The graph of promise 1 with `probabilities` = softmax((embedding @ W + b) / T) instead of those it had."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_model_from_string(graph)
    body = model.graph
    _keep_what_leads_to(body, "embedding")
    weight, bias = head.weight / temperature, head.bias / temperature
    body.initializer.extend(
        [
            numpy_helper.from_array(weight.astype(np.float32), "whatsit_head_weight"),
            numpy_helper.from_array(bias.astype(np.float32), "whatsit_head_bias"),
        ]
    )
    body.node.extend(
        [
            helper.make_node(
                "Gemm", ["embedding", "whatsit_head_weight", "whatsit_head_bias"], ["whatsit_logits"], "whatsit_head"
            ),
            helper.make_node("Softmax", ["whatsit_logits"], ["probabilities"], "whatsit_softmax", axis=1),
        ]
    )
    embedding = next(output for output in body.output if output.name == "embedding")
    batch = embedding.type.tensor_type.shape.dim[0].dim_param or "N"
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, len(bias)])
    del body.output[:]
    body.output.extend([answers, embedding])
    return bytes(model.SerializeToString(deterministic=True))


def _keep_what_leads_to(body: onnx.GraphProto, output: str) -> None:
    """Remove the nodes and constants that only the other outputs needed."""
    wanted, kept = {output}, []
    for node in reversed(body.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(_read_by(node))
    constants = [constant for constant in body.initializer if constant.name in wanted]
    for field, values in ((body.node, kept[::-1]), (body.initializer, constants)):
        del field[:]
        field.extend(values)
    infos = [info for info in body.value_info if info.name in wanted]
    del body.value_info[:]
    body.value_info.extend(infos)


def _read_by(node: onnx.NodeProto) -> list[str]:
    """The names a node reads, those of graphs inside it included."""
    names = list(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names += _read_by(inner)
    return names
