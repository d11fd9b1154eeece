"""TensorFlow Lite files: converted by tf2onnx, compared with LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from whatsit.importers.brought import Brought
from whatsit.importers.onnx_files import bring_graph, picture_input
from whatsit.importers.quiet import before_tensorflow, quiet
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable
from whatsit.importers.wrapping import Ends

_OPSET = 13
_STEP = 1 / 256  # of answers in eight bits
_MAGIC = b"TFL3"
_LARGEST = 2_000_000_000  # bytes
_ACCEPTED = "a whole TensorFlow Lite file of an image classifier"


def bring(path: Path, said: Said, known_scaling: str | None = None) -> Brought:
    """Read a TFLite file. Raises ModelFileError for what is no classifier of pictures, OptionError for what is missing.

    `known_scaling` is what the surroundings of the file tell, where the user says nothing.
    """
    original = _Original(path)
    model = _converted(path)
    layout, dtype, size = picture_input(path, model.graph)
    preprocess = said.geometry(path, size)
    scale, zero = original.output_scale
    if dtype == TensorProto.FLOAT:
        name, scaling = said.scaling_for(path, known_scaling)
    else:
        name, scaling = "0..255", None
        said.refuse_other_scaling(path, original.input_scale, offset=128 if dtype == TensorProto.INT8 else 0)
    return bring_graph(
        path,
        model,
        model.graph.output[0].name,
        original.run,
        Ends(layout, dtype, scaling, "logits", scale, zero),
        said,
        preprocess,
        {"model": path.stem, "scaling": name, "format": "tflite"},
        quantised=_STEP if original.computes_in_integers else None,
    )


class _Original:
    """The file in LiteRT, one picture at a time."""

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
        except OSError as error:
            raise unusable(path, error.strerror or error, _ACCEPTED) from None
        if content[4:8] != _MAGIC:
            raise unusable(path, "no TensorFlow Lite file", _ACCEPTED)
        try:
            with quiet():
                from ai_edge_litert.interpreter import Interpreter

                self._interpreter: Any = Interpreter(model_content=content)
                inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
                if len(inputs) == 1:
                    shape = [1, *inputs[0]["shape"][1:]]
                    self._interpreter.resize_tensor_input(inputs[0]["index"], shape)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise unusable(path, error, _ACCEPTED) from None
        if len(inputs) != 1 or len(outputs) != 1:
            value = f"{len(inputs)} inputs and {len(outputs)} outputs"
            raise unusable(path, value, "one picture in, one score for each class out", "Export the classifier alone.")
        self._input, self._output = inputs[0], outputs[0]
        types = {detail["dtype"] for detail in self._interpreter.get_tensor_details()}
        self.computes_in_integers = bool(types & {np.int8, np.uint8})

    @property
    def input_scale(self) -> tuple[float, float]:
        return _quantisation(self._input)

    @property
    def output_scale(self) -> tuple[float, float]:
        return _quantisation(self._output)

    def run(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        rows = []
        for value in values:
            self._interpreter.set_tensor(self._input["index"], value[None])
            self._interpreter.invoke()
            rows.append(np.array(self._interpreter.get_tensor(self._output["index"]), np.float32))
        return np.concatenate(rows)


def _quantisation(detail: dict[str, Any]) -> tuple[float, float]:
    """Scale and zero point; (1, 0) for floats."""
    scale, zero = detail["quantization"]
    return (float(scale), float(zero)) if scale else (1.0, 0.0)


def _converted(path: Path) -> Any:
    before_tensorflow()
    with quiet():
        from tf2onnx import convert

        try:
            return convert.from_tflite(str(path), opset=_OPSET)[0]
        except Exception as error:  # its errors share no base class
            reason = error
    raise unusable(
        path, reason, "operators that tf2onnx converts", "Export the model as ONNX, or bring the Keras file."
    )
