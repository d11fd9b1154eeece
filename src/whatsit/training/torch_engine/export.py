"""The network with everything inside, as ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from whatsit.preprocess import scaling_named
from whatsit.recipe import Recipe
from whatsit.training.torch_engine.networks import Network

OPSET = 18


class Answering(nn.Module):
    """uint8 [N, h, w, 3] -> probabilities [N, K], embedding [N, D]: scaling, layout, softmax and temperature inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, recipe: Recipe, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        scaling = scaling_named(recipe.scaling)
        self.bgr = scaling.bgr
        self.register_buffer("mean", torch.tensor(scaling.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(scaling.std).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = (pictures.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        x = x.flip(1) if self.bgr else x
        embedding = self.network.embed(x)
        return torch.softmax(self.network.classify(embedding) / self.temperature, dim=1), embedding


def to_onnx(network: Network, recipe: Recipe, temperature: float) -> bytes:
    """A serialised ONNX model with a dynamic batch, free of source paths."""
    example = torch.zeros(2, *recipe.preprocess.size, 3, dtype=torch.uint8)
    with _quiet():
        program: Any = torch.onnx.export(
            Answering(network, recipe, temperature).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pictures"],
            output_names=["probabilities", "embedding"],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            verbose=False,
        )
    model = program.model_proto
    _forget_sources(model)
    return bytes(model.SerializeToString(deterministic=True))


def _forget_sources(model: Any) -> None:
    """The exporter notes file names and lines of code in every node; nobody's paths belong in a shared file."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    for item in [*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.functions]:
        item.doc_string = ""
        del item.metadata_props[:]
    for function in model.functions:
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints and warns about its own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
