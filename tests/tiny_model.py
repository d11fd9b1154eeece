"""A whole model file without training: the mean colour of a picture decides its label.

Each label has a pure colour, evenly spaced around the colour circle: red, green and blue for three labels. The nearer
the mean colour, the more probable the label. A grey picture is equally near to all of two, three or six labels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from whatsit import modelfile
from whatsit.modelfile import Golden, Manifest
from whatsit.preprocess import Preprocess
from whatsit.version import __version__

_SHARPNESS = 2.0  # of the softmax: 0.97 for a picture in one of three colours


def write_tiny_model(
    path: Path,
    labels: Sequence[str] = ("red", "green", "blue"),
    size: tuple[int, int] = (16, 16),
    threshold: float | None = None,
    golden: bool = True,
    **facts: Any,
) -> Path:
    """Write the file and return its path; `facts` replace fields of the manifest."""
    manifest = Manifest(
        labels=tuple(labels),
        **{
            "preprocess": Preprocess("squash", size),
            "threshold": threshold,
            "calibration": {"temperature": 1.0, "threshold": threshold, "coverage": 0.9, "promise": 0.95},
            "data": {
                "name": "colours",
                "fingerprint": "c0105" * 12 + "c010",
                "counts": _counts(labels),
                "unreadable": 0,
            },
            "recipe": {"model": "mean colour", "golden": "test"},
            "weights": {"pretrained": None, "licence": None, "source": None, "parameters": 4 * len(labels)},
            "golden": tuple(golden_pictures(labels, size)) if golden else (),
            "whatsit": __version__,
            "created": "2026-01-31T12:00:00+00:00",
            **facts,
        },
    )
    modelfile.write(path, _graph(len(labels), size), manifest, check=lambda part: None)
    return path


def colour(number: int, labels: int) -> NDArray[np.uint8]:
    """The colour of a label, `uint8 [3]`."""
    return np.array([round(255 * channel) for channel in colorsys.hsv_to_rgb(number / labels, 1, 1)], np.uint8)


def plain(rgb: Sequence[int] | NDArray[np.uint8], size: tuple[int, int] = (16, 16)) -> NDArray[np.uint8]:
    """A picture of one colour, `uint8 [h, w, 3]`."""
    return np.broadcast_to(np.asarray(rgb, np.uint8), (*size, 3)).copy()


def expected_probabilities(picture: NDArray[np.uint8], labels: int) -> NDArray[np.float32]:
    """What the file must answer for a picture `uint8 [h, w, 3]`, worked out without ONNX."""
    weights, bias = _layer(labels)
    logits = (picture.astype(np.float32) / 255).mean(axis=(0, 1)) @ weights + bias
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def golden_pictures(labels: Sequence[str], size: tuple[int, int]) -> list[Golden]:
    pictures = [plain(colour(number, len(labels)), size) for number in range(len(labels))]
    answers = [tuple(map(float, expected_probabilities(picture, len(labels)))) for picture in pictures]
    return [Golden(f"colours/{n}", label, pictures[n], answers[n]) for n, label in enumerate(labels)]


def _counts(labels: Sequence[str]) -> dict[str, dict[str, int]]:
    return {split: dict.fromkeys(labels, n) for split, n in (("train", 60), ("validation", 20), ("test", 20))}


def _layer(labels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights `[3, K]` and bias `[K]` that give minus the squared distance to each label's colour (plus a constant)."""
    colours = np.stack([colour(number, labels) for number in range(labels)]).astype(np.float32) / 255
    return 2 * _SHARPNESS * colours.T, -_SHARPNESS * (colours**2).sum(axis=1)


def _graph(labels: int, size: tuple[int, int]) -> bytes:
    weights, bias = _layer(labels)
    constants = {"white": np.float32(255), "places": np.array([1, 2]), "weights": weights, "bias": bias}
    nodes = [
        helper.make_node("Cast", ["pictures"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "white"], ["shares"]),
        helper.make_node("ReduceMean", ["shares", "places"], ["embedding"], keepdims=0),
        helper.make_node("MatMul", ["embedding", "weights"], ["nearness"]),
        helper.make_node("Add", ["nearness", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["N", *size, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", labels]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
