"""PyTorch state dicts and exported programs. Nothing pickled beyond tensors and plain values is ever read."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from whatsit import weights
from whatsit.importers import exported_programs
from whatsit.importers.archives import open_zip
from whatsit.importers.brought import Brought
from whatsit.importers.onnx_files import bring_graph
from whatsit.importers.quiet import quiet
from whatsit.importers.said import Said, missing
from whatsit.importers.unusable import unusable
from whatsit.importers.wrapping import Ends
from whatsit.preprocess import Preprocess, Scaling
from whatsit.weights import WeightsFile

_OPSET = 18
_ACCEPTED = "a PyTorch state dict (torch.save(model.state_dict(), FILE)), safetensors, or torch.export.save's .pt2"
_PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile
_INSIDE = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put it in a checkpoint


def bring(path: Path, said: Said) -> Brought:
    """Read PyTorch weights or an exported program.

    Raises ModelFileError for what is neither, WeightsError for weights of another network, OptionError for what is
    missing.
    """
    if path.suffix.lower() == ".pt2":
        return _bring_program(path, said)
    state = read_state(path)
    described = weights.describe(path) if path.suffix in weights.SUFFIXES else WeightsFile(path, "")
    network = said.network or (described.network if described.framework in (None, "torch", "timm") else None)
    if network is None:
        raise missing(path, "the network, only weights", "--network with its name: timm's, or cifar_resnet20 to 110")
    arguments = said.network_args or described.arguments
    return bring_state(path, said, network, arguments, state, described.preprocess, described=described)


def bring_state(
    path: Path,
    said: Said,
    network: str,
    arguments: dict[str, Any],
    state: dict[str, Tensor],
    scaling: str | Scaling | None = None,
    geometry: Preprocess | None = None,
    described: WeightsFile | None = None,
) -> Brought:
    """A network by name with these weights. `scaling` and `geometry` are what else is known about it."""
    from whatsit.training.torch_engine import brought_networks

    built = brought_networks.build(network, arguments, state, path.name)
    known = geometry if said.image_size is None else None
    preprocess = said.framed(known) if known else said.geometry(path, (None, None), built.size, described)
    return bring_module(
        path,
        said,
        built.network,
        preprocess,
        scaling,
        {"model": network.removeprefix("timm:"), "network_args": arguments, "format": "pytorch"},
        described.licence if described else None,
    )


def bring_module(
    path: Path,
    said: Said,
    module: nn.Module,
    preprocess: Preprocess,
    known_scaling: str | Scaling | None,
    recipe: dict[str, Any],
    licence: str | None = None,
    batch: int | None = None,
) -> Brought:
    """Float [N, 3, h, w] -> scores [N, K], compared with itself in PyTorch; `batch` is the N it is fixed to."""
    name, scaling = said.scaling_for(path, known_scaling)
    graph = _exported(path, module, preprocess.size, batch)

    def run(values: NDArray[np.generic]) -> NDArray[np.float32]:
        pieces = torch.split(torch.from_numpy(values), batch or len(values))
        with torch.no_grad():
            return np.concatenate([module(piece).numpy() for piece in pieces]).astype(np.float32)

    ends = Ends("NCHW", TensorProto.FLOAT, scaling, "logits")
    output = graph.graph.output[0].name
    return bring_graph(path, graph, output, run, ends, said, preprocess, {**recipe, "scaling": name}, licence=licence)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name. Raises ModelFileError for anything else, without executing any of it."""
    if path.suffix.lower() == ".safetensors":
        return _own_names(_read_safetensors(path))
    if zipfile.is_zipfile(path):
        with open_zip(path) as archive:
            names = archive.namelist()
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise unusable(path, "a TorchScript program, which holds code", _ACCEPTED)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle may raise any error at all
        raise unusable(path, _why_not(error), _ACCEPTED + "; pickled objects are never loaded") from None
    for key in _INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise unusable(path, f"a pickled {type(loaded).__name__}", _ACCEPTED)
    state = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not state:
        raise unusable(path, "a dictionary without tensors", _ACCEPTED)
    return _own_names(state)


def concatenate(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from whatsit.errors import WeightsError
    from whatsit.training.torch_engine.networks import read_state as read

    try:
        return read(path)
    except WeightsError as error:
        raise unusable(path, error.value, "a whole safetensors file") from None


def _own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _why_not(error: Exception) -> str:
    text = str(error)
    if "Unsupported" in text or "GLOBAL" in text:
        name = text.split("GLOBAL ")[1].split()[0] if "GLOBAL " in text else "one"
        return f"pickled objects of Python ({name}), which could run any code"
    return "a damaged or cut-off file" if "central directory" in text or "EOF" in text or not text else text


def _exported(path: Path, module: nn.Module, size: tuple[int, int], batch: int | None) -> onnx.ModelProto:
    if "tensorflow" in sys.modules:  # its LLVM and Triton's cannot share a process, and Triton is not needed here
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    example = torch.zeros(batch or 2, 3, *size)
    try:
        with quiet():
            program: Any = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=["x"],
                output_names=["scores"],
                dynamic_shapes=None if batch else ({0: torch.export.Dim("N", min=1)},),
                verbose=False,
            )
    except Exception as error:  # whatever the exporter raises
        raise unusable(path, error, "networks that PyTorch exports as ONNX") from None
    model = program.model_proto
    assert isinstance(model, onnx.ModelProto)
    return model


def _bring_program(path: Path, said: Said) -> Brought:
    """A program of torch.export.save, read after everything in it that could run code was refused or left out."""
    cleaned, shape = exported_programs.cleaned(path)
    if len(shape) != 4 or shape[1] != 3 or shape[0] not in (None, 1):
        value = f"an input of shape {'x'.join(str(side or 'any') for side in shape)}"
        raise unusable(path, value, "one colour picture [1, 3, height, width], or any number", "Export it again.")
    preprocess = said.geometry(path, (shape[2], shape[3]))
    try:
        with quiet():
            module = torch.export.load(io.BytesIO(cleaned)).module()
    except Exception as error:  # whatever a broken program makes it do
        raise unusable(path, error, "a whole program of torch.export.save") from None
    return bring_module(
        path, said, module, preprocess, None, {"model": path.stem, "format": "torch.export"}, batch=shape[0]
    )
