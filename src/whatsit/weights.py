"""Pretrained weights from a local file, and what the description beside it says.

A weights file may have a description beside it, `FILE.json`: name, framework, network, arguments, input_size,
preprocess, interpolation, sha256, licence, source. What it says need not be said on the command line.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whatsit.errors import WeightsError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights and what is known about it; empty fields are not known."""

    path: Path
    sha256: str
    network: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    preprocess: str | None = None
    interpolation: str | None = None
    licence: str | None = None
    source: str | None = None


def describe(path: Path) -> WeightsFile:
    """Hash a weights file and read the description beside it, if there is one. Raises WeightsError."""
    if path.suffix not in SUFFIXES or not path.is_file():
        raise WeightsError(
            f"cannot use the weights '{path}'",
            value="no such file" if not path.exists() else f"a file of type '{path.suffix}'",
            accepted=f"a state dict in {', '.join(SUFFIXES)}",
            hint="Check the path after --weights.",
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    description = path.with_name(path.name + ".json")
    if not description.exists():
        return WeightsFile(path, sha256)
    try:
        data = json.loads(description.read_text("utf-8"))
        size = data.get("input_size")
        described = WeightsFile(
            path=path,
            sha256=sha256,
            network=str(data["network"]).removeprefix("timm:") if data.get("network") else None,
            arguments=dict(data.get("arguments") or {}),
            input_size=(int(size[0]), int(size[1])) if size else None,
            preprocess=data.get("preprocess"),
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
    _check_hash(described, data.get("sha256"))
    return described


def _check_hash(weights: WeightsFile, expected: str | None) -> None:
    if expected and expected != weights.sha256:
        raise WeightsError(
            f"cannot trust the weights '{weights.path}'",
            value=f"SHA-256 {weights.sha256[:16]}…",
            accepted=f"{expected[:16]}…, as its description says",
            hint="Copy the file again; it is damaged or another one.",
        )
