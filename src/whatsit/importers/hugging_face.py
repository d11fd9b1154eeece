"""Folders of image classifiers as the Hugging Face hub holds them: config.json, weights, preprocessor_config.json."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from whatsit.importers import onnx_files, pytorch, transformers_names
from whatsit.importers.brought import Brought
from whatsit.importers.labels import distinct
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable
from whatsit.preprocess import Fit, Preprocess, Scaling
from whatsit.resizing import Interpolation

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LARGEST = 50_000_000  # bytes of JSON
_ACCEPTED = "a folder with config.json and model.safetensors, pytorch_model.bin or model.onnx"
_RESAMPLING: dict[object, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
_NAMED: dict[object, Interpolation] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
_NAMED |= {"lanczos": "lanczos", "box": "box", "random": "bilinear"}


def bring(path: Path, said: Said) -> Brought:
    """Read a folder. Raises ModelFileError for one that holds no image classifier that can be read without code."""
    config = _json(path, "config.json")
    said = replace(said, labels=said.labels or _labels(path, config))
    try:
        timm = isinstance(config.get("architecture"), str)
        geometry, scaling = _timm_input(config) if timm else _transformers_input(path)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise unusable(path, f"a preprocessing that cannot be read ({error})", _ACCEPTED) from None
    brought = _bring(path, said, config, geometry, scaling)
    file = path / str(brought.weights["pretrained"])
    pretrained = f"{path.resolve().name}/{file.name}"
    weights = {**brought.weights, "pretrained": pretrained, "licence": config.get("license")}
    return replace(brought, recipe={**brought.recipe, "format": "hugging face"}, weights=weights)


def _bring(
    path: Path, said: Said, config: dict[str, Any], geometry: Preprocess | None, scaling: Scaling | None
) -> Brought:
    graph = path / "model.onnx"
    file = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if file is None and graph.is_file():
        return onnx_files.bring(graph, said, scaling, geometry)
    if file is None:
        raise unusable(path, "no weights in the folder, or weights in several parts", _ACCEPTED)
    state = pytorch.read_state(file)
    if isinstance(config.get("architecture"), str):
        state = {name.removeprefix("timm_model."): value for name, value in state.items()}
        network, arguments = str(config["architecture"]), dict(config.get("model_args") or {})
    else:
        network, arguments, state = transformers_names.as_timm(path, config, state, pytorch.concatenate)
    return pytorch.bring_state(file, said, network, arguments, state, scaling, geometry)


def _json(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    if not file.is_file():
        raise unusable(path, f"a folder without {name}", _ACCEPTED, "Check the path.")
    try:
        data = json.loads(file.read_text("utf-8")) if file.stat().st_size <= _LARGEST else None
    except (OSError, ValueError) as error:
        raise unusable(path, f"{name}: {error}", _ACCEPTED) from None
    if not isinstance(data, dict):
        raise unusable(path, f"{name} without names and values", _ACCEPTED)
    return data


def _labels(path: Path, config: dict[str, Any]) -> tuple[str, ...] | None:
    """Names in the order of the answers; None where there are none, or none but "LABEL_0", "LABEL_1"."""
    names = config.get("label_names")
    numbered = config.get("id2label")
    if isinstance(numbered, dict):
        try:
            ordered = {int(number): str(name) for number, name in numbered.items()}
            names = [ordered[number] for number in range(len(ordered))]
        except (KeyError, ValueError):
            raise unusable(path, "an id2label that does not count from 0", _ACCEPTED) from None
    if not isinstance(names, list) or all(name == f"LABEL_{number}" for number, name in enumerate(names)):
        return None
    described = config.get("label_descriptions")
    if isinstance(described, dict):
        names = [described.get(name, name) for name in names]
    return distinct([str(name) for name in names])


def _timm_input(config: dict[str, Any]) -> tuple[Preprocess | None, Scaling | None]:
    known = config.get("pretrained_cfg") or {}
    if "input_size" not in known or "mean" not in known:
        return None, None
    _, height, width = known["input_size"]
    squash = known.get("crop_mode") == "squash"
    fit: Fit = "squash" if squash else "crop"
    shorter = None if squash else math.floor(height / float(known.get("crop_pct") or 1))
    interpolation = _NAMED.get(known.get("interpolation"), "bicubic")
    geometry = Preprocess(fit, (int(height), int(width)), interpolation, shorter)
    return geometry, Scaling(_three(known["mean"]), _three(known["std"]))


def _transformers_input(path: Path) -> tuple[Preprocess | None, Scaling | None]:
    """What preprocessor_config.json says, where it is there."""
    if not (path / "preprocessor_config.json").is_file():
        return None, None
    said = _json(path, "preprocessor_config.json")
    return _geometry(said), _scaling(said)


def _geometry(said: dict[str, Any]) -> Preprocess:
    interpolation = _RESAMPLING.get(said.get("resample", 2), "bilinear")
    size, crop = said.get("size", 224), said.get("crop_size")
    shorter = size.get("shortest_edge") if isinstance(size, dict) else None
    if said.get("do_center_crop") and crop is not None:
        height, width = _sides(crop)
        if shorter is not None:
            return Preprocess("crop", (height, width), interpolation, int(shorter))
        resized = _sides(size)
        if resized[0] == resized[1] and height == width:  # squashed first, then cropped: nearly the same
            return Preprocess("crop", (height, width), interpolation, resized[0])
    if shorter is not None and int(shorter) >= 384:  # ConvNeXt's way
        return Preprocess("squash", _sides(shorter), interpolation)
    if shorter is not None:
        share = float(said.get("crop_pct") or 224 / 256)
        return Preprocess("crop", _sides(shorter), interpolation, int(int(shorter) / share))
    return Preprocess("squash", _sides(size), interpolation)


def _sides(size: Any) -> tuple[int, int]:
    return (int(size["height"]), int(size["width"])) if isinstance(size, dict) else (int(size), int(size))


def _scaling(said: dict[str, Any]) -> Scaling:
    factor = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if said.get("do_normalize", True) and said.get("image_mean") is not None:
        mean, std = _three(said["image_mean"]), _three(said["image_std"])
    unit = 255 * factor  # (pixel * factor - mean) / std = (pixel / 255 - mean / unit) / (std / unit)
    red, green, blue = (value / unit for value in mean)
    across = [value / unit for value in std]
    return Scaling((red, green, blue), (across[0], across[1], across[2]))


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in (values if isinstance(values, list) else [values] * 3))
    return red, green, blue
