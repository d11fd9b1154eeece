"""ONNX files, and what every other importer makes of an ONNX graph."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from whatsit.errors import WhatsitError
from whatsit.importers.brought import Brought
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable
from whatsit.importers.wrapping import TYPES, Ends, Layout, Run, real_inputs, scores_of, wrap
from whatsit.preprocess import Preprocess, Scaling
from whatsit.runtime.onnxruntime_engine import ForeignGraph
from whatsit.sources.photos import sample_photos

_ACCEPTED = "a whole ONNX file of an image classifier, with its weights inside"
_LARGEST = 2_000_000_000  # bytes, what protobuf holds
_INTEGER_OPERATORS = ("QLinear", "ConvInteger", "MatMulInteger", "QuantizeLinear", "DynamicQuantizeLinear")
_DEQUANTISING = ("DequantizeLinear", "QLinearConv")  # scale and zero point are their second and third inputs
_STEP = 1 / 256  # of answers in eight bits
_PIXELS = (TensorProto.UINT8, TensorProto.INT8)


def bring(
    path: Path, said: Said, known_scaling: Scaling | None = None, known_geometry: Preprocess | None = None
) -> Brought:
    """Read an ONNX file. Raises ModelFileError for what is no image classifier, OptionError for what is missing.

    `known_scaling` and `known_geometry` are what the surroundings of the file tell, where the user says nothing.
    """
    model = _read(path)
    layout, dtype, size = picture_input(path, model.graph)
    if known_geometry is not None and size in ((None, None), known_geometry.size) and said.image_size is None:
        preprocess = said.framed(known_geometry)
    else:
        preprocess = said.geometry(path, size)
    if dtype in _PIXELS:
        name, scaling = "0..255", None
        said.refuse_other_scaling(path, _input_scale(model.graph), offset=128 if dtype == TensorProto.INT8 else 0)
    else:
        name, scaling = said.scaling_for(path, known_scaling)
    output = _output(path, model, preprocess, Ends(layout, dtype, scaling, "logits"), said)
    return bring_graph(
        path,
        model,
        output,
        None,
        Ends(layout, dtype, scaling, "logits"),
        said,
        preprocess,
        {"model": path.stem, "scaling": name, "format": "onnx"},
        quantised=_STEP if _computes_in_integers(model.graph) else None,
    )


def bring_graph(
    path: Path,
    model: onnx.ModelProto,
    output: str,
    run: Run | None,
    ends: Ends,
    said: Said,
    preprocess: Preprocess,
    recipe: dict[str, Any],
    quantised: float | None = None,
    licence: str | None = None,
) -> Brought:
    """Wrap a foreign graph. `run` is the original: values of the graph's input for N pictures -> its answers [N, ...];
    None where it is the graph itself.

    What `ends` says about the scores is found here, from the graph and a few answers.
    """
    photos = sample_pictures(preprocess)
    values = Ends(ends.layout, ends.dtype, ends.scaling, "logits").values(photos)
    many = _takes_many(model, output, values)
    run = run or _itself(path, model, output, many)
    raw = run(values)
    if len(raw) != len(photos):
        value = f"{len(raw)} answers to {len(photos)} pictures"
        raise unusable(path, value, "one row of scores for each picture", "Export the classifier alone.")
    answers = ends.scale * (raw - np.float32(ends.zero))
    scores = scores_of(path, model.graph, output, answers)
    labels = said.labels_for(path, answers[0].size)
    ends = Ends(ends.layout, ends.dtype, ends.scaling, scores, ends.scale, ends.zero)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)

    def original(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return ends.probabilities(run(ends.values(pictures)))

    return Brought(
        graph=wrap(model, output, ends, preprocess.size, None if many else 1),
        original=original,
        labels=labels,
        preprocess=preprocess,
        recipe=recipe,
        weights={
            "pretrained": path.name,
            "sha256": sha256(path),
            "licence": licence,
            "source": None,
            "parameters": parameters,
        },
        quantised=quantised,
    )


def sample_pictures(preprocess: Preprocess) -> NDArray[np.uint8]:
    """The two sample photos in the input's geometry, uint8 [2, h, w, 3]."""
    return np.stack([preprocess.apply(photo) for photo in sample_photos().values()])


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def picture_input(path: Path, graph: onnx.GraphProto) -> tuple[Layout, int, tuple[int | None, int | None]]:
    """Layout, ONNX type, height and width (None where any will do) of the one input. Raises ModelFileError."""
    inputs = real_inputs(graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs[:5]) or "none"
        raise unusable(path, f"{len(inputs)} inputs: {names}", "one input, a picture", "Export the classifier alone.")
    tensor = inputs[0].type.tensor_type
    sides = [dim.dim_value or None for dim in tensor.shape.dim]
    shape = "x".join(str(side or "any") for side in sides)
    if len(sides) != 4 or tensor.elem_type not in TYPES or 3 not in (sides[1], sides[3]):
        raise unusable(
            path,
            f"an input of shape {shape or '?'}",
            "an input of numbers [N, 3, height, width] or [N, height, width, 3], a colour picture",
            "Networks for anything but colour pictures cannot be imported.",
        )
    if sides[0] not in (None, 1):
        raise unusable(
            path, f"a graph for {sides[0]} pictures at a time", "a graph for 1 or any number", "Export it again."
        )
    if sides[3] == 3:
        return "NHWC", tensor.elem_type, (sides[1], sides[2])
    return "NCHW", tensor.elem_type, (sides[2], sides[3])


def _read(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > _LARGEST:
            raise unusable(path, f"{path.stat().st_size:,} bytes", f"at most {_LARGEST:,} bytes")
        model = onnx.load(str(path), load_external_data=False)
    except WhatsitError:
        raise
    except Exception as error:  # protobuf's errors share no base class with ours
        raise unusable(path, error if isinstance(error, OSError) else "not an ONNX file", _ACCEPTED) from None
    if not model.graph.node:
        raise unusable(path, "an ONNX file without a graph, or a cut-off one", _ACCEPTED)
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise unusable(
            path, "weights kept in other files", _ACCEPTED, "Save it as one file: onnx.save(onnx.load(FILE), NEW)."
        )
    if any(entry.key == "whatsit" for entry in model.metadata_props):
        raise unusable(path, "a model file of whatsit already", "models from elsewhere", "Use it as it is.")
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _output(path: Path, model: onnx.ModelProto, preprocess: Preprocess, ends: Ends, said: Said) -> str:
    """The output with the scores: the only one, or the only one with as many scores as there are labels."""
    names = [str(value.name) for value in model.graph.output]
    if len(names) == 1:
        return names[0]
    values = ends.values(sample_pictures(preprocess)[:1])
    sizes = {name: _size(path, _runnable(path, model, name), values) for name in names}
    fitting = [name for name in names if said.labels is not None and sizes[name] == len(said.labels)]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(f"{name} ({size})" for name, size in list(sizes.items())[:5])
    raise unusable(path, f"{len(names)} outputs: {shown}", "one output, a score for each class", "Export one output.")


def _size(path: Path, graph: ForeignGraph, values: NDArray[np.generic]) -> int:
    """How many scores a picture has in the graph's output; none in one of words, maps or a single number for all."""
    try:
        return int(graph.run(values)[0].size)
    except (ValueError, TypeError, IndexError):
        return 0
    except Exception as error:
        raise _no_answer(path, values, error) from None


def _itself(path: Path, model: onnx.ModelProto, output: str, many: bool) -> Run:
    """The graph as its own original, asked one picture at a time where it does not take `many`."""
    graph = _runnable(path, model, output)

    def run(values: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            return graph.run(values) if many else np.concatenate([graph.run(value[None]) for value in values])
        except Exception as error:
            raise _no_answer(path, values, error) from None

    return run


def _no_answer(path: Path, values: NDArray[np.generic], error: Exception) -> WhatsitError:
    """For whatever ONNX Runtime raises, and for answers that are no numbers."""
    shape = "x".join(str(side) for side in values.shape[1:])
    hint = "Check --image-size if you gave it; else export the classifier again."
    return unusable(path, error, f"a graph that answers a picture of {shape} with numbers", hint)


def _input_scale(graph: onnx.GraphProto) -> tuple[float, float]:
    """Scale and zero point of an input of integers, (1, 0) where its first operator does not tell."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    source = real_inputs(graph)[0].name
    for node in graph.node:
        if node.op_type in _DEQUANTISING and node.input[0] == source and constants.keys() >= set(node.input[1:3]):
            told = [numpy_helper.to_array(constants[name]) for name in node.input[1:3]]
            if all(value.size == 1 for value in told):
                return told[0].item(), told[1].item() if len(told) == 2 else 0.0
    return 1.0, 0.0


def _runnable(path: Path, model: onnx.ModelProto, output: str) -> ForeignGraph:
    try:
        return ForeignGraph(model.SerializeToString(), output)
    except Exception as error:  # its errors share no base class
        raise unusable(path, error, "a graph that ONNX Runtime can run", "Export it again, in a newer opset.") from None


def _takes_many(model: onnx.ModelProto, output: str, values: NDArray[np.generic]) -> bool:
    """Whether several pictures at once are answered, each: some exporters fix the number deep inside the graph."""
    first = real_inputs(model.graph)[0].type.tensor_type.shape.dim[0]
    if first.dim_value == 1:
        return False
    try:
        return len(ForeignGraph(model.SerializeToString(), output).run(values)) == len(values)
    except Exception:  # its errors share no base class
        return False


def _computes_in_integers(graph: onnx.GraphProto) -> bool:
    return any(node.op_type.startswith(_INTEGER_OPERATORS) for node in graph.node)
