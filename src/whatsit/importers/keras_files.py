"""Keras models in `.keras` and `.h5` files, with no code in them ever run."""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from whatsit import weights
from whatsit.errors import OptionError, WeightsError, did_you_mean
from whatsit.importers.archives import LARGEST, open_zip
from whatsit.importers.brought import Brought
from whatsit.importers.configurations import parts
from whatsit.importers.onnx_files import bring_graph
from whatsit.importers.quiet import before_tensorflow, quiet
from whatsit.importers.said import Said, missing
from whatsit.importers.unusable import unusable
from whatsit.importers.wrapping import Ends
from whatsit.weights import WeightsFile

_ACCEPTED = "a whole Keras model of layers that come with Keras"
# What Keras would resolve to a function or class in another package, or rebuild from bytes of Python.
_CODE = {"Lambda", "function", "__lambda__", "__lambda_value__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"}
_CODE |= {"FlaxLayer", "TFOpLambda", "SlicingOpLambda"}
_OWN = ("keras", "builtins")
_ARRAYS = "model.weights.h5"  # inside a `.keras` file
_SMALL_SCALE = 0.05  # whoever multiplies by less takes pixels of 0..255 for small numbers


def bring(path: Path, said: Said, known_scaling: str | None = None) -> Brought:
    """Read a Keras file. Raises ModelFileError for what is no classifier of pictures, OptionError for what is missing.

    `known_scaling` is what the surroundings of the file tell, where the user says nothing.
    """
    before_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    described = weights.describe(path) if path.suffix in weights.SUFFIXES else WeightsFile(path, "")
    if path.suffix.lower() == ".keras":
        _check_keras(path)
        whole = True
    else:
        whole = _check_hdf5(path, path)
    model = _load(path) if whole else _application(path, said, described)
    shape = _input_shape(path, model)
    preprocess = said.geometry(path, (shape[1], shape[2]), described=described)
    scales = any(_scales_pixels(layer) for layer in model.layers[:3])
    name, scaling = said.scaling_for(path, "0..255" if scales else known_scaling or described.preprocess)
    graph = _exported(path, model, preprocess.size)
    return bring_graph(
        path,
        graph,
        graph.graph.output[0].name,
        lambda values: _run(model, values),
        Ends("NHWC", TensorProto.FLOAT, scaling, "logits"),
        said,
        preprocess,
        {"model": path.stem if whole else str(model.name), "scaling": name, "format": "keras"},
        licence=described.licence,
    )


def _scales_pixels(layer: Any) -> bool:
    """Whether a layer is for pixels of 0..255, told by its numbers: others make 0..1 into -1..1 and the like."""
    kind = type(layer).__name__
    if kind == "Rescaling":
        return bool(np.abs(layer.scale).max() < _SMALL_SCALE)
    return kind == "Normalization" and layer.mean is not None and bool(np.asarray(layer.mean).max() > 1)


def _check_keras(path: Path) -> None:
    """Look over a `.keras` file before Keras opens it: its configuration, and the HDF5 file inside with its arrays."""
    with open_zip(path) as archive:
        try:
            _refuse_code(path, json.loads(archive.read("config.json")))
            if _ARRAYS in archive.namelist():
                _check_hdf5(path, io.BytesIO(archive.read(_ARRAYS)))
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise unusable(path, error, _ACCEPTED) from None


def _check_hdf5(path: Path, content: Path | io.BytesIO) -> bool:
    """Look over an HDF5 file before Keras opens it: no code, no links to other files, no endless arrays.

    Whether it holds the network too, or weights only.
    """
    import h5py

    try:
        with h5py.File(content) as file:
            config = file.attrs.get("model_config")
            largest = sum(_sizes(path, file))
    except (OSError, KeyError, RuntimeError) as error:  # whatever is damaged
        raise unusable(path, error, _ACCEPTED) from None
    if largest > LARGEST:
        raise unusable(path, f"{largest:,} bytes of arrays", f"at most {LARGEST:,}")
    if config is None:
        return False
    try:
        _refuse_code(path, json.loads(config))
    except ValueError as error:
        raise unusable(path, error, _ACCEPTED) from None
    return True


def _sizes(path: Path, file: Any) -> Iterator[int]:
    """The bytes of every array, however deep; a group is looked into once, since groups may hold each other."""
    import h5py

    todo = [file["/"]]
    seen = set(todo)
    while todo:
        group = todo.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise unusable(path, f"a link to elsewhere, '{name}'", _ACCEPTED)
            member = group[name]
            if isinstance(member, h5py.Group) and member not in seen:
                seen.add(member)
                todo.append(member)
            elif isinstance(member, h5py.Dataset):
                if member.external or member.is_virtual:
                    raise unusable(path, f"an array in another file, '{name}'", _ACCEPTED)
                yield member.size * member.dtype.itemsize


def _refuse_code(path: Path, config: Any) -> None:
    for part in parts(config):
        kind, module = part.get("class_name"), part.get("module")
        own = module is None or str(module).split(".")[0] in _OWN
        if kind in _CODE or not own or "function_type" in part:
            what = "Lambda layer, which holds Python code" if kind == "Lambda" else f"'{kind}' of {module or 'Python'}"
            raise unusable(
                path,
                f"a {what}" if kind == "Lambda" else f"code: {what}",
                _ACCEPTED + "; code in a model file is never run",
                "Build the model again with layers of Keras, such as Rescaling, instead of it.",
            )


def _load(path: Path) -> Any:
    with quiet():
        import keras

        try:
            own = {"DepthwiseConv2D": _depthwise(keras)} if path.suffix != ".keras" else None
            return keras.saving.load_model(str(path), own, compile=False, safe_mode=True)
        except Exception as error:  # whatever a broken configuration makes Keras do
            reason = error
    raise unusable(path, reason, _ACCEPTED)


def _application(path: Path, said: Said, described: WeightsFile) -> Any:
    """A network of keras.applications with the weights of a file that holds nothing else."""
    name = said.network or (described.network if described.framework in (None, "keras") else None)
    if name is None:
        raise missing(path, "the network, only weights", "--network with the name of a Keras application: MobileNetV2")
    if said.labels is None:
        raise missing(path, "the names of its classes", "--labels with a file of names, one a line")
    name = name.removeprefix("keras:")
    with quiet():
        import keras

        known = [each for each in dir(keras.applications) if each[0].isupper()]
        if name in known:
            try:
                arguments = said.network_args or described.arguments
                build = getattr(keras.applications, name)
                sides = (said.image_size, said.image_size) if said.image_size else described.input_size
                size = {"input_shape": (*sides, 3)} if sides else {}
                model = build(weights=None, **{"classes": len(said.labels), **size, **arguments})
                model.load_weights(str(path))
                return model
            except Exception as error:  # whatever weights of another network make Keras do
                reason = error
    if name not in known:
        raise OptionError(
            f"cannot find a network called '{name}'",
            value=repr(name),
            accepted="a function of keras.applications, such as MobileNetV2 or ResNet50",
            hint=did_you_mean(name, known) or "For instance: --network MobileNetV2",
        )
    raise WeightsError(
        f"cannot load '{path.name}' into the network '{name}' with {len(said.labels)} classes",
        value=" ".join(str(reason).split())[:160],
        accepted="weights saved from the same network with the same arguments and classes",
        hint="Check --network, --network-arg and --labels.",
    )


def _depthwise(keras: Any) -> Any:
    """Keras 2 wrote an argument that Keras 3 does not know, and that has one value only; so do Teachable Machine's."""

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        def __init__(self, *arguments: Any, groups: int = 1, **options: Any) -> None:
            if groups != 1:
                raise ValueError(f"DepthwiseConv2D with groups={groups}")
            super().__init__(*arguments, **options)

    return DepthwiseConv2D


def _input_shape(path: Path, model: Any) -> tuple[int | None, ...]:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3:
        raise unusable(
            path,
            f"an input of shape {shape}",
            "one colour picture [height, width, 3]",
            "Networks for anything but colour pictures cannot be imported.",
        )
    return shape


def _exported(path: Path, model: Any, size: tuple[int, int]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        try:
            with quiet():
                import keras

                signature = [keras.InputSpec(shape=(None, *size, 3), dtype="float32")]
                _run(model, np.zeros((1, *size, 3), np.float32))
                model.export(str(out), format="onnx", verbose=False, input_signature=signature)
            return onnx.load(str(out))
        except Exception as error:  # whatever the converters raise
            raise unusable(path, error, "layers that Keras exports as ONNX") from None


def _run(model: Any, values: NDArray[np.generic]) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files name their input otherwise than Keras 3 does
        return np.asarray(model(values, training=False), np.float32)
