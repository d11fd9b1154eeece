"""Exported graphs without what exporters note of the machine they ran on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def forget_sources(model: onnx.ModelProto) -> None:
    """Remove file names, comments and lines of code, at every depth; nobody's paths belong in a shared file."""
    _forget([model])
    _forget_graph(model.graph)
    for function in model.functions:
        _forget([function])
        _forget_nodes(function.node)


def _forget_graph(graph: onnx.GraphProto) -> None:
    _forget([graph, *graph.initializer, *graph.input, *graph.output, *graph.value_info])
    _forget_nodes(graph.node)


def _forget_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        _forget([node])
        for attribute in node.attribute:
            attribute.doc_string = ""
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    _forget_graph(inner)


def _forget(items: list[Any]) -> None:
    for item in items:
        item.doc_string = ""
        del item.metadata_props[:]
