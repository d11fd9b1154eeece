"""What each importer needs to be installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from whatsit.errors import MissingExtraError

# module -> the extra that brings it
_EXTRAS = {
    **dict.fromkeys(("onnx", "sklearn", "torch", "timm", "safetensors", "onnxscript"), "train"),
    **dict.fromkeys(("keras", "tensorflow", "h5py"), "keras"),
    **dict.fromkeys(("tf2onnx", "ai_edge_litert"), "import"),
}
_EVERY = ("onnx", "sklearn")
_NEEDS = {
    "onnx_files": (),
    "pytorch": ("torch", "timm", "safetensors", "onnxscript"),
    "hugging_face": ("torch", "timm", "safetensors", "onnxscript"),
    "keras_files": ("keras", "tensorflow", "h5py", "tf2onnx"),
    "tflite": ("tf2onnx", "tensorflow", "ai_edge_litert"),
    "teachable_machine": (),  # it depends on what is inside
}


def require(importer: str, path: Path) -> None:
    """Raise MissingExtraError for the first module that an importer would miss, before any work."""
    for module in (*_EVERY, *_NEEDS[importer]):
        if find_spec(module) is None:
            raise MissingExtraError(f"import '{path}'", module=module, extra=_EXTRAS[module])
