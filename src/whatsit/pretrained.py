"""A pretrained network by name: its weights, from this machine or fetched, and a model file made from them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from whatsit import catalogue, downloads, storage
from whatsit import weights as weight_files
from whatsit.catalogue import IMAGENET, Framework, ModelSpec
from whatsit.errors import MissingExtraError, WeightsError
from whatsit.evaluation.calibration import softmax
from whatsit.events import Notice, OnEvent, ignore
from whatsit.importers import Brought, finish
from whatsit.preprocess import scaling_called
from whatsit.recipe import for_pretrained
from whatsit.training.engines import engine_of
from whatsit.weights import Wanted, WeightsFile

_IN_CACHE = storage.elsewhere("set WHATSIT_CACHE to a folder with room")


@_IN_CACHE
def locate(
    name: str,
    framework: Framework | None = None,
    offline: bool = False,
    on_event: OnEvent = ignore,
    *,
    weights: Path | None = None,
) -> WeightsFile:
    """The weights of a named network: those in the file `weights`, or from this machine, or downloaded into the cache.

    Raises OptionError for a name that nobody knows, WeightsError for weights that cannot be had or do not fit the name.
    """
    wanted = Wanted(name, framework, weights)
    return _complete(_found(wanted, offline, on_event, " Or learn without: --model small"), wanted)


@_IN_CACHE
def model_file(wanted: Wanted, offline: bool = False, on_event: OnEvent = ignore, golden: Path | None = None) -> Path:
    """The model file of a pretrained network, from the cache or made there: ImageNet's labels, published geometry.

    With a folder of `golden` pictures it is made anew, with these instead of the sample photos'. It is kept only if it
    answers as the network in its own framework does. Raises as `locate`, and WeightsError for a network without
    classes of its own.
    """
    found = _found(wanted, offline, on_event, with_classes=True)
    path = weight_files.model_path(wanted, found)
    if golden is not None or not path.exists():
        complete = _complete(found, wanted, with_classes=True)
        _refuse_classless(complete.classes, wanted.name)
        on_event(Notice(f"making a model file of '{wanted.name}' (once)"))
        finish.write(_brought(complete), path, golden, on_event)
    return path


@storage.elsewhere("choose another folder with --to")
def prepare(wanted: Wanted, into: Path, offline: bool = False, on_event: OnEvent = ignore) -> Path:
    """Put the weights and their description into a folder, for WHATSIT_WEIGHTS on a machine without a connection.

    Returns the path of the weights there. Raises as `locate`.
    """
    storage.make_folder(into)
    found = _found(wanted, offline, on_event, into=into)
    complete = _complete(found, wanted, with_classes=True)
    path = into / found.path.name
    if not (path.exists() and path.samefile(found.path)):
        with storage.beside(path) as part:
            shutil.copyfile(found.path, part)
    name = found.name or catalogue.full_name(wanted.name, wanted.framework)
    weight_files.write_description(replace(complete, path=path, name=name))
    return path


def spec_of(name: str, framework: Framework | None = None) -> ModelSpec:
    """What is known about a named network. Raises OptionError, with suggestions, for a name that nobody knows."""
    found = catalogue.find(name, framework)
    if found is not None:
        return found
    try:
        from whatsit.training.torch_engine import names
    except ImportError as error:
        raise MissingExtraError(f"look up '{name}'", module=error.name or "timm", extra="train") from None
    return names.spec(catalogue.full_name(name, framework))


def _found(
    wanted: Wanted,
    offline: bool,
    on_event: OnEvent,
    alternative: str = "",
    into: Path | None = None,
    with_classes: bool = False,
) -> WeightsFile:
    """The weights as their description has them; without one, by their hash alone.

    `with_classes`: a network without classes of its own is refused before it is fetched.
    """
    if wanted.weights is not None:
        return weight_files.describe(wanted.weights)
    found = weight_files.find(wanted.name, wanted.framework)
    if found is not None:
        return found
    spec = spec_of(wanted.name, wanted.framework)
    if with_classes:
        _refuse_classless(spec.classes, wanted.name)
    hint = (
        f"On a connected machine: whatsit fetch {spec.name} --to DIR; then set WHATSIT_WEIGHTS=DIR here.{alternative}"
    )
    if not downloads.may_connect(offline):
        raise WeightsError(
            f"cannot get the weights of '{wanted.name}'",
            value="none on this machine, and --offline or WHATSIT_OFFLINE",
            accepted="weights in the folder WHATSIT_WEIGHTS or in the cache",
            hint=hint,
        )
    folder = into or weight_files.folder()
    on_event(
        Notice(f"fetching the weights of '{spec.name}' from {_origin(spec)}, licence {spec.licence or 'not stated'}")
    )
    fetch = _from_keras if spec.framework == "keras" else _from_hub
    path = fetch(spec, folder, hint, on_event)
    weight_files.write_description(weight_files.of_spec(spec, path))
    return weight_files.describe(path)


def _origin(spec: ModelSpec) -> str:
    return "Keras's storage" if spec.framework == "keras" else f"the Hugging Face hub, {spec.source}"


def _from_hub(spec: ModelSpec, folder: Path, hint: str, on_event: OnEvent) -> Path:
    return weight_files.from_hub(spec.source, folder, hint=hint, on_event=on_event)


def _from_keras(spec: ModelSpec, folder: Path, hint: str, on_event: OnEvent) -> Path:
    """From Keras's storage, or from the mirror WHATSIT_KERAS_STORAGE with the same paths below it."""
    try:
        from whatsit.training.keras_engine import names
    except ImportError as error:
        raise MissingExtraError("fetch weights of Keras", module=error.name or "keras", extra="keras") from None
    url, file, digest = names.address(spec.network)
    if mirror := os.environ.get("WHATSIT_KERAS_STORAGE"):
        url = mirror.rstrip("/") + urlsplit(url).path
    kind = {"md5": digest} if digest and len(digest) == 32 else {"sha256": digest}
    return downloads.fetch(url, folder / file, **kind, on_event=on_event, hint=hint)


def _complete(found: WeightsFile, wanted: Wanted, with_classes: bool = False) -> WeightsFile:
    """With what the name tells where the file does not, and with what was said by hand in place of both."""
    if wanted.weights is not None and found.network:
        _refuse_another(found, wanted)
    missing = None in (found.network, found.input_size, found.preprocess, found.framework)
    if missing or (with_classes and found.classes is None and found.name is None):
        found = _filled(found, spec_of(wanted.name, wanted.framework))
    return replace(
        found,
        arguments={**found.arguments, **wanted.arguments},
        preprocess=scaling_called(wanted.preprocess) if wanted.preprocess else found.preprocess,
    )


def _filled(found: WeightsFile, spec: ModelSpec) -> WeightsFile:
    known = weight_files.of_spec(spec, found.path)
    geometry = found if found.input_size else known
    return replace(
        found,
        framework=found.framework or known.framework,
        network=found.network or known.network,
        arguments=found.arguments if found.network else known.arguments,
        preprocess=found.preprocess or known.preprocess,
        classes=found.classes or known.classes,
        input_size=geometry.input_size,
        fit=geometry.fit,
        resize_shorter=geometry.resize_shorter,
        interpolation=geometry.interpolation,
    )


def _refuse_another(found: WeightsFile, wanted: Wanted) -> None:
    """The description of a file given by hand may contradict the name given with it."""
    if wanted.name == found.name:
        return
    spec = catalogue.find(wanted.name, wanted.framework)
    full = catalogue.full_name(wanted.name, wanted.framework)
    network = spec.network if spec else full.removeprefix(catalogue.TIMM)
    if str(found.network).partition(".")[0] != network.partition(".")[0]:
        raise WeightsError(
            f"cannot use the weights '{found.path}' as '{wanted.name}'",
            value=f"weights of the network '{found.network}'",
            accepted=f"weights of '{network}'",
            hint=f"Name the network of the file: {found.name or found.network}",
        )


def _refuse_classless(classes: str | None, name: str) -> None:
    if classes != IMAGENET:
        raise WeightsError(
            f"cannot classify with '{name}'",
            value="a network without labels of its own, or with labels that whatsit does not have",
            accepted="a network trained for ImageNet's 1,000 labels",
            hint=f"Teach it yours: whatsit train PHOTOS/ --model {name}",
        )


def _brought(found: WeightsFile) -> Brought:
    recipe = for_pretrained(found)
    labels = catalogue.imagenet_labels()
    fitted = engine_of(recipe.framework, "make a model file").pretrained(recipe, len(labels))
    told: dict[str, Any] = {**recipe.to_dict(), "weights": found.path.name}  # other machines have other folders

    def original(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return softmax(fitted.logits(pictures))

    return Brought(
        graph=fitted.onnx(1.0),
        original=original,
        labels=labels,
        preprocess=recipe.preprocess,
        recipe=told,
        weights={
            "pretrained": found.path.name,
            "sha256": found.sha256,
            "licence": found.licence,
            "source": found.source,
            "parameters": fitted.network.total_parameters,
        },
    )
