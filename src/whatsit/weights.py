"""Pretrained weights: files, the descriptions beside them, and the places they are looked for.

A weights file may have a description beside it, `FILE.json`: name, framework, network, arguments, classes, input_size,
preprocess, fit, resize_shorter, interpolation, sha256, licence, source. What it says need not be said on the command
line, and through it a name finds the file: first in the folder WHATSIT_WEIGHTS, then in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit import catalogue, storage
from whatsit.catalogue import Framework, ModelSpec
from whatsit.errors import MissingExtraError, WeightsError
from whatsit.events import OnEvent, ignore

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".bin", ".h5", ".keras")
_CONVERSION = 1  # raised when model files made from the same weights come out differently
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights and what is known about it; empty fields are not known.

    name            the catalogue name it stands for
    network         the framework's own name of the network: timm's, or that of a Keras application
    classes         "imagenet-1k" where its last layer answers with ImageNet's 1,000 labels
    fit, resize_shorter, interpolation, input_size: the geometry it was published with
    """

    path: Path
    sha256: str
    name: str | None = None
    framework: str | None = None
    network: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    preprocess: str | None = None
    fit: str | None = None
    resize_shorter: int | None = None
    interpolation: str | None = None
    classes: str | None = None
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Wanted:
    """A pretrained network as it was asked for: by name, and what was said by hand besides."""

    name: str
    framework: Framework | None = None
    weights: Path | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    preprocess: str | None = None

    @property
    def by_name_alone(self) -> bool:
        return not (self.weights or self.arguments or self.preprocess)


def describe(path: Path) -> WeightsFile:
    """Hash a weights file and read the description beside it, if there is one. Raises WeightsError."""
    if path.suffix not in SUFFIXES or not path.is_file():
        raise WeightsError(
            f"cannot use the weights '{path}'",
            value="no such file" if not path.exists() else f"a file of type '{path.suffix}'",
            accepted=f"a state dict in {', '.join(SUFFIXES)}",
            hint="Check the path after --weights.",
        )
    sha256 = _hash(path)
    description = _description(path)
    if not description.exists():
        return WeightsFile(path, sha256)
    described = _read(description)
    _check_hash(described, sha256)
    return replace(described, sha256=sha256)


def find(name: str, framework: Framework | None = None, *, verify: bool = True) -> WeightsFile | None:
    """The weights of this name in the folder WHATSIT_WEIGHTS or in the cache; None if neither has them.

    Without `verify`, the hash that the description tells is believed. Raises WeightsError for a description that
    cannot be read, whose file is missing, or, with `verify`, whose hash is another.
    """
    full = catalogue.full_name(name, framework)
    names = (full, name) if framework is None else (full,)
    damaged: WeightsError | None = None
    for place in _folders():
        found: list[WeightsFile] = []
        for description in sorted(place.glob("*.json")):
            if Path(description.stem).suffix not in SUFFIXES:
                continue
            try:
                found.append(_read(description))
            except WeightsError as error:  # it may be the one, but another may be found all the same
                damaged = damaged or error
        if framework is not None:
            found = [described for described in found if described.framework in (None, framework)]
        for described in (*(w for w in found if w.name in names), *(w for w in found if _is_network(w, full))):
            if place == folder() and not described.path.is_file():
                continue  # somebody made room; it can be fetched again
            return _there(described, verify)
    if damaged is not None:
        raise damaged
    return None


def model_path(wanted: Wanted, weights: WeightsFile) -> Path:
    """Where the cache keeps the model file made from these weights: another one for everything that changes it."""
    facts = {key: value for key, value in asdict(weights).items() if key not in ("path", "name", "licence", "source")}
    key = json.dumps([_CONVERSION, facts, wanted.arguments, wanted.preprocess], sort_keys=True, default=str).encode()
    return _models() / f"{_stem(wanted)}-{hashlib.sha256(key).hexdigest()[:16]}.onnx"


def made_before(wanted: Wanted) -> Path | None:
    """The newest model file of this name in the cache, whatever weights it was made from: they may be gone by now."""
    files = list(_models().glob(f"{_stem(wanted)}-{'[0-9a-f]' * 16}.onnx"))
    return max(files, key=lambda path: path.stat().st_mtime) if files else None


def folder() -> Path:
    """Where downloaded weights are kept."""
    return storage.cache_folder() / "weights"


def of_spec(spec: ModelSpec, path: Path) -> WeightsFile:
    """What the catalogue knows about a file that holds these published weights; its hash is not worked out."""
    return WeightsFile(
        path=path,
        sha256="",
        name=spec.name,
        framework=spec.framework,
        network=spec.network,
        arguments=spec.arguments,
        input_size=spec.input_size,
        preprocess=spec.preprocess,
        fit=spec.fit,
        resize_shorter=spec.resize_shorter,
        interpolation=spec.interpolation,
        classes=spec.classes,
        licence=spec.licence or None,
        source=spec.source,
    )


def write_description(weights: WeightsFile) -> None:
    """Write `FILE.json` beside a weights file, with the file's hash."""
    data = {key: value for key, value in asdict(weights).items() if key != "path"}
    prefix = catalogue.KERAS if weights.framework == "keras" else catalogue.TIMM
    data |= {"network": f"{prefix}{weights.network}", "sha256": _hash(weights.path)}
    storage.write_whole(_description(weights.path), json.dumps(data, indent=2) + "\n")


def from_hub(repository: str, into: Path, *, hint: str, on_event: OnEvent = ignore) -> Path:
    """Fetch a repository's weights from the Hugging Face hub (or HF_ENDPOINT) into the folder `into`.

    Checked against the SHA-256 that the hub names. Raises WeightsError.
    """
    from whatsit import downloads  # here, so that those who only look for weights load nothing of the network's

    for key in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[key] = "1"  # before the hub's client is imported, which reads them then
    try:
        from huggingface_hub import hf_hub_url
    except ImportError:
        raise MissingExtraError("fetch weights", module="huggingface_hub", extra="train") from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    for file in _HUB_FILES:
        url = hf_hub_url(repository, file, endpoint=endpoint)
        told = _ask_hub(url, repository, hint)
        if told is not None:
            sha256 = told.etag if told.etag and re.fullmatch("[0-9a-f]{64}", told.etag) else None
            path = into / (repository.rpartition("/")[2] + Path(file).suffix)
            return downloads.fetch(told.location, path, sha256=sha256, on_event=on_event, hint=hint)
    raise _hub_failed(repository, "HTTP 404: it has no such file", hint)


def _ask_hub(url: str, repository: str, hint: str) -> HfFileMetadata | None:
    """Where the hub keeps a file, and its hash; None if there is no such file."""
    from huggingface_hub import get_hf_file_metadata

    from whatsit import downloads

    pause = downloads.PAUSE
    for attempt in range(1, downloads.ATTEMPTS + 1):
        try:
            return get_hf_file_metadata(url, token=False)
        except Exception as error:  # each release of the hub's client raises another HTTP library's errors
            response = getattr(error, "response", None)
            status = getattr(response, "status_code", None)
            if status == 404:
                return None
            value = f"HTTP {status}" if status else downloads.reason(error)
            if attempt == downloads.ATTEMPTS or status is None or not (status == 429 or status >= 500):
                raise _hub_failed(repository, value, hint) from None
            asked = downloads.retry_after(getattr(response, "headers", {}).get("Retry-After"))
            time.sleep(min(downloads.LONGEST_PAUSE, pause if asked is None else asked))
            pause *= 2
    raise AssertionError("every attempt returns or raises")


def _hub_failed(repository: str, value: str, hint: str) -> WeightsError:
    endpoint = os.environ.get("HF_ENDPOINT") or "huggingface.co"
    return WeightsError(
        f"cannot fetch the weights '{repository}' from {endpoint}",
        value=value,
        accepted="a connection to the Hugging Face hub, or the weights in a folder WHATSIT_WEIGHTS",
        hint=hint,
    )


def _folders() -> Iterator[Path]:
    if chosen := os.environ.get("WHATSIT_WEIGHTS"):
        if not Path(chosen).is_dir():
            raise WeightsError(
                "cannot look for weights in WHATSIT_WEIGHTS",
                value=repr(chosen),
                accepted="a folder of weights with a description beside each",
                hint="Prepare one on a connected machine: whatsit fetch NAME --to DIR",
            )
        yield Path(chosen)
    yield folder()


def _is_network(weights: WeightsFile, full: str) -> bool:
    """Whether these are weights of the network, though they were described under another name."""
    if full.startswith(catalogue.KERAS):
        return weights.framework == "keras" and weights.network == full.removeprefix(catalogue.KERAS)
    spec = catalogue.curated().get(full)
    return weights.framework == "torch" and weights.network == (
        spec.network if spec else full.removeprefix(catalogue.TIMM)
    )


def _there(described: WeightsFile, verify: bool) -> WeightsFile:
    if not described.path.is_file():
        raise WeightsError(
            f"cannot find the weights of '{described.name}'",
            value=f"no file '{described.path}'",
            accepted=f"the file that '{described.path.name}.json' describes, beside it",
            hint="Copy it there too, or remove the description.",
        )
    return describe(described.path) if verify or not described.sha256 else described


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _description(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _models() -> Path:
    return storage.cache_folder() / "models"


def _stem(wanted: Wanted) -> str:
    name = re.sub(r"[^\w.-]+", "-", catalogue.full_name(wanted.name, wanted.framework))
    return f"{name}-{'' if wanted.by_name_alone else 'by-hand-'}{_CONVERSION}"


def _read(description: Path) -> WeightsFile:
    """What a description says, its hash included. Raises WeightsError."""
    try:
        data = json.loads(description.read_text("utf-8"))
        size = data.get("input_size")
        return WeightsFile(
            path=description.with_name(description.stem),
            sha256=str(data.get("sha256") or "").lower(),
            name=data.get("name"),
            framework=data.get("framework"),
            network=str(data["network"]).removeprefix("timm:").removeprefix("keras:") if data.get("network") else None,
            arguments=dict(data.get("arguments") or {}),
            input_size=(int(size[0]), int(size[1])) if size else None,
            preprocess=data.get("preprocess"),
            fit=data.get("fit"),
            resize_shorter=int(data["resize_shorter"]) if data.get("resize_shorter") else None,
            classes=data.get("classes"),
            interpolation=data.get("interpolation"),
            licence=data.get("licence"),
            source=data.get("source"),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WeightsError(
            f"cannot read the description '{description}'",
            value=str(error),
            accepted="JSON with network, preprocess, input_size, sha256 and so on",
            hint="Correct it, or remove it and say everything on the command line.",
        ) from None


def _check_hash(weights: WeightsFile, sha256: str) -> None:
    if weights.sha256 and weights.sha256 != sha256:
        raise WeightsError(
            f"cannot trust the weights '{weights.path}'",
            value=f"SHA-256 {sha256[:16]}…",
            accepted=f"{weights.sha256[:16]}…, as its description says",
            hint="Copy the file again; it is damaged or another one.",
        )
