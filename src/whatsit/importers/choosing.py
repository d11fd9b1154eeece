"""Which importer reads a file: by its suffix, or a folder's contents."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from whatsit.errors import ModelFileError
from whatsit.events import Notice, OnEvent, ignore
from whatsit.importers.brought import Brought
from whatsit.importers.extras import require
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable

# suffix -> module of this package
_IMPORTERS = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "keras_files"),
    **dict.fromkeys((".tflite", ".lite"), "tflite"),
    ".onnx": "onnx_files",
    **dict.fromkeys((".pt", ".pth", ".th", ".bin", ".safetensors", ".pt2"), "pytorch"),
    ".zip": "teachable_machine",
}
_ACCEPTED = f"{', '.join(_IMPORTERS)}, or a Hugging Face folder with config.json"


def bring(path: Path, said: Said, on_event: OnEvent = ignore) -> Brought:
    """Read a model from elsewhere. Raises a WhatsitError for every file that cannot be imported."""
    if not path.exists():
        raise ModelFileError(
            f"cannot find '{path}'", value="no such file or folder", accepted=_ACCEPTED, hint="Check the path."
        )
    if not path.is_dir() and path.suffix.lower() not in _IMPORTERS:
        raise unusable(path, f"a file of type '{path.suffix}'", _ACCEPTED, "Rename it if its suffix is wrong.")
    name = "hugging_face" if path.is_dir() else _IMPORTERS[path.suffix.lower()]
    require(name, path)
    on_event(Notice(f"reading {path}"))
    brought = import_module(f"whatsit.importers.{name}").bring(path, said)
    assert isinstance(brought, Brought)
    return brought
