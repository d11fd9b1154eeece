"""Programs of `torch.export.save`, with everything taken out or refused that PyTorch would run on opening them.

The archive holds a graph as JSON and the weights as plain bytes, which is harmless, but `torch.export.load` also
unpickles sample inputs and constants, executes guards (lines of Python), evaluates symbolic sizes and looks up any
function by its name. So the graph is looked over first and a copy with the harmless parts alone is opened.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from whatsit.importers.archives import open_zip
from whatsit.importers.configurations import parts
from whatsit.importers.unusable import unusable

_ACCEPTED = "a program of torch.export.save (PyTorch 2.8 or later) that holds operators of PyTorch and plain tensors"
_GRAPH = "models/model.json"
_KEPT = re.compile(
    r"data/weights/(model_weights_config\.json|weight_\d+)|data/constants/(model_constants_config\.json|tensor_\d+)"
    r"|archive_format|archive_version|byteorder|\.data/version"
)
_OPERATOR = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.(getitem|add|sub|mul|floordiv|mod|neg|eq|ge|le|gt|lt)")
_WITH_FILES = re.compile(r"torch\.ops\.aten\.(from_file|save|load|open|_save|_load)\b")
_SYMBOL = re.compile(r"Symbol\('[su]\d+'(, (positive|nonnegative|integer)=(True|False))*\)")
_ARITHMETIC = re.compile(r"(Add|Mul|Pow|Integer|Rational|Max|Min|Mod|FloorDiv|[su]\d+|[\d\s+\-*/(),])*")
_WORD = re.compile(r"[\w ,>-]{0,64}")
_SPEC_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def cleaned(path: Path) -> tuple[bytes, list[int | None]]:
    """A harmless copy of the archive, and the shape of the program's one input, None where any size will do.

    Raises ModelFileError for programs that hold anything but PyTorch's operators and plain tensors.
    """
    copy = io.BytesIO()
    with open_zip(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as kept:
        names = archive.namelist()
        root = names[0].split("/")[0] if names else ""
        if f"{root}/{_GRAPH}" not in names:
            raise unusable(path, "an archive without an exported program", _ACCEPTED)
        try:
            program = json.loads(archive.read(f"{root}/{_GRAPH}"))
            _refuse_code(path, program)
            shape = _input_shape(path, program)
            members = [name for name in names if _KEPT.fullmatch(name.removeprefix(f"{root}/"))]
            for name in members:
                if name.endswith("config.json"):
                    _refuse_pickles(path, json.loads(archive.read(name)))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise unusable(path, f"a program that cannot be read ({error!r})", _ACCEPTED) from None
        kept.writestr(f"{root}/{_GRAPH}", json.dumps(program))
        kept.writestr(f"{root}/data/sample_inputs/model.pt", b"")
        for name in members:
            kept.writestr(name, archive.read(name))
    return copy.getvalue(), shape


def _refuse_code(path: Path, program: dict[str, Any]) -> None:
    """Look at every name and text in the graph that PyTorch would look up or evaluate; drop what is not needed."""
    program["guards_code"] = []
    for part in parts(program):
        target, size, text = part.get("target"), part.get("expr_str"), part.get("as_string")
        if target is not None and "inputs" in part and not _harmless(str(target)):
            raise _code(path, f"the operator '{target}'")
        if size is not None and not _ARITHMETIC.fullmatch(_SYMBOL.sub("", str(size))):
            raise _code(path, f"the size '{size}'")
        if text is not None and not _WORD.fullmatch(str(text)):
            raise _code(path, f"the text '{text}'")
        if "as_custom_obj" in part or "as_operator" in part:
            raise _code(path, "an object of its own")
        for key in ("in_spec", "out_spec"):
            if part.get(key):
                _refuse_strange_spec(path, str(part[key]))
        if "metadata" in part:
            part["metadata"] = {}


def _harmless(target: str) -> bool:
    return bool(_OPERATOR.fullmatch(target)) and not _WITH_FILES.match(target)


def _refuse_strange_spec(path: Path, text: str) -> None:
    for part in parts(json.loads(text)):
        context = part.get("context")
        if part.get("type") not in _SPEC_TYPES or (context and "{" in str(context)):
            raise _code(path, f"arguments of type '{part.get('type')}'")


def _refuse_pickles(path: Path, config: dict[str, Any]) -> None:
    for name, entry in config["config"].items():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            raise _code(path, f"the pickled tensor '{name}'")


def _input_shape(path: Path, program: dict[str, Any]) -> list[int | None]:
    signature = program["graph_module"]["signature"]
    names = [item["user_input"]["arg"] for item in signature["input_specs"] if "user_input" in item]
    if len(names) != 1 or "as_tensor" not in names[0]:
        raise unusable(path, f"{len(names)} inputs", "one input, a picture", "Export the classifier alone.")
    tensor = program["graph_module"]["graph"]["tensor_values"][names[0]["as_tensor"]["name"]]
    return [size.get("as_int") for size in tensor["sizes"]]


def _code(path: Path, what: str) -> Exception:
    return unusable(path, what, _ACCEPTED, "Export it again, or export it as ONNX: torch.onnx.export.")
