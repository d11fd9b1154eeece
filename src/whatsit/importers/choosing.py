"""Which importer reads a file: by its suffix, or a folder's contents."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from whatsit.errors import MissingExtraError, ModelFileError
from whatsit.events import Notice, OnEvent, ignore
from whatsit.importers.brought import Brought
from whatsit.importers.said import Said
from whatsit.importers.unusable import unusable

# suffix -> (module of this package, the extra that it needs)
_IMPORTERS = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), ("keras_files", "keras")),
    **dict.fromkeys((".tflite", ".lite"), ("tflite", "import")),
    ".onnx": ("onnx_files", "train"),
    **dict.fromkeys((".pt", ".pth", ".th", ".bin", ".safetensors", ".pt2"), ("pytorch", "train")),
    ".zip": ("teachable_machine", "train"),
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
    name, extra = ("hugging_face", "train") if path.is_dir() else _IMPORTERS[path.suffix.lower()]
    on_event(Notice(f"reading {path}"))
    try:
        importer = import_module(f"whatsit.importers.{name}")
        brought = importer.bring(path, said)
    except ImportError as error:
        raise MissingExtraError(f"import '{path}'", module=error.name or "onnx", extra=extra) from None
    assert isinstance(brought, Brought)
    return brought
