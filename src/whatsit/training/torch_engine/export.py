"""The network with everything inside, as ONNX."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same_arg
from torch import Tensor, nn

from whatsit.preprocess import scaling_named
from whatsit.recipe import Recipe
from whatsit.training.anonymous import forget_sources
from whatsit.training.torch_engine import half
from whatsit.training.torch_engine.network import Network

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
    answering = Answering(network, recipe, temperature).eval()
    with _quiet():
        model = (
            _traced(_with_fixed_margins(answering, example), example, fold=recipe.stored == "float32")
            if _is_convolutional(network)
            else _exported(answering, example)
        )
    forget_sources(model)
    if recipe.stored == "float16":
        half.store_as_half(model)
    return bytes(model.SerializeToString(deterministic=True))


def _is_convolutional(network: Network) -> bool:
    """Whether convolutions, linear layers and batch norms are all that has weights."""
    plain = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm)
    return all(isinstance(module, plain) for module in network.modules() if any(True for _ in module.parameters(False)))


def _with_fixed_margins(answering: Answering, example: Tensor) -> Answering:
    """A copy whose TensorFlow-like "same" convolutions have their margins worked out for this size of picture.

    timm works them out from each input, and traced that becomes a dozen operations before every such convolution.
    """
    copied = copy.deepcopy(answering)
    found: list[tuple[str, tuple[int, ...]]] = []
    hooks = [
        module.register_forward_hook(lambda _module, inputs, _output, name=name: found.append((name, inputs[0].shape)))
        for name, module in copied.named_modules()
        if isinstance(module, Conv2dSame)
    ]
    with torch.no_grad():
        copied(example)
    for hook in hooks:
        hook.remove()
    for name, shape in found:
        conv = copied.get_submodule(name)
        assert isinstance(conv, Conv2dSame)
        margins = pad_same_arg(list(shape[-2:]), list(conv.kernel_size), list(conv.stride), list(conv.dilation))
        parent, _, own = name.rpartition(".")
        setattr(copied.get_submodule(parent), own, nn.Sequential(nn.ZeroPad2d(margins), _plain(conv)))
    return copied


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution without margins of its own."""
    settings: dict[str, Any] = {
        "stride": conv.stride,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
    }
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **settings)  # type: ignore[arg-type]
    plain.load_state_dict(conv.state_dict())
    return plain.eval()


def _traced(answering: Answering, example: Tensor, fold: bool) -> Any:
    """By the older exporter, which needs half a second where the newer one needs six. Plain convolutional networks
    are what it was made for, and every file is compared with the network before it is kept.

    `fold` merges batch norms into the filters before them, which would undo their rounding.
    """
    file = io.BytesIO()
    torch.onnx.export(
        answering,
        (example,),
        file,  # type: ignore[arg-type]  # the older exporter takes files
        dynamo=False,
        training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
        opset_version=OPSET,
        input_names=["pictures"],
        output_names=["probabilities", "embedding"],
        dynamic_axes={name: {0: "N"} for name in ("pictures", "probabilities", "embedding")},
    )
    return onnx.load_model_from_string(file.getvalue())


def _exported(answering: Answering, example: Tensor) -> Any:
    program: Any = torch.onnx.export(
        answering,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["pictures"],
        output_names=["probabilities", "embedding"],
        dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
        verbose=False,
    )
    return program.model_proto


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
