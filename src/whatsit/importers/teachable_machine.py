"""Teachable Machine's exports: a zip with a Keras or TensorFlow Lite model and labels.txt, lines of "0 name"."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from whatsit.errors import WhatsitError
from whatsit.importers import labels
from whatsit.importers.archives import open_zip
from whatsit.importers.brought import Brought
from whatsit.importers.extras import require
from whatsit.importers.onnx_files import sha256
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable

_LABELS = "labels.txt"
_MODELS = ("keras_model.h5", "model_unquant.tflite", "model.tflite")
_SCALING = "-1..1"  # in all of them, as its own scripts do it
_ACCEPTED = f"a zip from Teachable Machine (image project) with {_LABELS} and {' or '.join(_MODELS)}"


def bring(path: Path, said: Said) -> Brought:
    """Read a Teachable Machine export. Raises ModelFileError for any other zip."""
    with tempfile.TemporaryDirectory() as folder:
        name, content, text = _unpacked(path)
        model = Path(folder) / name
        model.write_bytes(content)
        if said.labels is None:
            said = replace(said, labels=labels.distinct(_names(path, text)))
        try:
            brought = _bring(model, said)
        except WhatsitError as error:
            error.what = error.what.replace(str(model), f"{path}: {model.name}")  # nobody knows the temporary folder
            raise
    origin = {**brought.weights, "pretrained": path.name, "sha256": sha256(path)}
    return replace(brought, recipe={**brought.recipe, "format": "teachable machine"}, weights=origin)


def _unpacked(path: Path) -> tuple[str, bytes, str]:
    """The model's own plain name and content, and the text of labels.txt."""
    with open_zip(path) as archive:
        inside = {Path(name).name: name for name in archive.namelist()}
        model = next((name for name in _MODELS if name in inside), None)
        if model is None or _LABELS not in inside:
            found = ", ".join(sorted(inside)[:5]) or "nothing"
            raise unusable(path, f"a zip that holds {found}", _ACCEPTED, "Unpack it and import the model file inside.")
        try:
            return model, archive.read(inside[model]), archive.read(inside[_LABELS]).decode("utf-8-sig")
        except (ValueError, zipfile.BadZipFile) as error:
            raise unusable(path, error, _ACCEPTED) from None


def _names(path: Path, text: str) -> list[str]:
    """The names without their numbers."""
    lines = labels.from_lines(path / _LABELS, text)
    numbered = all(line.split(maxsplit=1)[0] == str(n) and " " in line for n, line in enumerate(lines))
    return [line.split(maxsplit=1)[1] if numbered else line for line in lines]


def _bring(model: Path, said: Said) -> Brought:
    if model.suffix == ".h5":
        require("keras_files", model)
        from whatsit.importers import keras_files

        return keras_files.bring(model, said, _SCALING)
    require("tflite", model)
    from whatsit.importers import tflite

    return tflite.bring(model, said, _SCALING)
