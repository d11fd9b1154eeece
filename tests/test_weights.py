"""A weights file and the description beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from whatsit.errors import WeightsError
from whatsit.weights import describe


def weights(folder: Path, description: dict[str, Any] | str | None = None, name: str = "w.safetensors") -> Path:
    path = folder / name
    path.write_bytes(b"weights")
    if description is not None:
        text = description if isinstance(description, str) else json.dumps(description)
        path.with_name(f"{name}.json").write_text(text)
    return path


def test_a_bare_file_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    described = describe(weights(tmp_path))
    assert described.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert (described.network, described.preprocess, described.input_size) == (None, None, None)


def test_the_description_is_read(tmp_path: Path) -> None:
    described = describe(
        weights(tmp_path, {"network": "timm:resnet18", "arguments": {"a": 1}, "input_size": [96, 96], "licence": "MIT"})
    )
    assert described.network == "resnet18"
    assert described.arguments == {"a": 1}
    assert described.input_size == (96, 96)
    assert described.licence == "MIT"


def test_a_file_that_its_description_does_not_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot trust"):
        describe(weights(tmp_path, {"sha256": "0" * 64}))
    describe(weights(tmp_path, {"sha256": hashlib.sha256(b"weights").hexdigest()}))


@pytest.mark.parametrize("text", ["{", "[]", '{"input_size": 224}', '{"input_size": ["a", "b"]}', '{"arguments": 3}'])
def test_a_broken_description_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read the description"):
        describe(weights(tmp_path, text))


@pytest.mark.parametrize("name", ["w.zip", "w"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a state dict in"):
        describe(weights(tmp_path, name=name))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        describe(tmp_path / "w.pth")


def test_the_shared_weights_are_described(shared: Path) -> None:
    described = describe(shared / "weights" / "mobilenetv2_100_tf_same_padding.safetensors")
    assert described.network == "mobilenetv2_100"
    assert described.preprocess == "-1..1"
