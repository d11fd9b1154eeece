"""A weights file, the description beside it, and how a name finds it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whatsit.catalogue import curated
from whatsit.errors import WeightsError
from whatsit.weights import (
    Wanted,
    WeightsFile,
    describe,
    find,
    made_before,
    model_path,
    of_spec,
    write_description,
)


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


def described(folder: Path, file: str, **facts: Any) -> Path:
    """A file and a description that lets names find it."""
    folder.mkdir(exist_ok=True)
    return weights(folder, {"framework": "torch", "preprocess": "imagenet", "input_size": [96, 96], **facts}, file)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's folder and the cache's."""
    user, cache = tmp_path / "user", tmp_path / "cache" / "weights"
    user.mkdir()
    cache.mkdir(parents=True)
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(user))
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    return user, cache


def test_a_name_finds_the_users_file_first_and_then_the_caches(places: tuple[Path, Path]) -> None:
    user, cache = places
    assert find("resnet18") is None
    described(cache, "a.pth", name="resnet18", network="timm:resnet18.tv_in1k")
    assert (found := find("resnet18")) is not None
    assert found.path == cache / "a.pth"
    described(user, "b.pth", name="resnet18", network="timm:resnet18.tv_in1k")
    assert (found := find("resnet18")) is not None
    assert (found.path, found.network) == (user / "b.pth", "resnet18.tv_in1k")


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18.tv_in1k", "resnet18.tv_in1k", "mine"])
def test_a_file_goes_by_its_name_and_by_its_network(name: str, places: tuple[Path, Path]) -> None:
    described(places[0], "a.pth", name="mine", network="timm:resnet18.tv_in1k")
    assert find(name) is not None
    assert find("timm:resnet18") is None
    assert find("keras:ResNet50") is None


def test_a_framework_has_its_own_files(places: tuple[Path, Path]) -> None:
    described(places[0], "a.h5", name="keras:MobileNetV2", network="keras:MobileNetV2", framework="keras")
    assert find("mobilenet_v2") is None
    for name, framework in (("mobilenet_v2", "keras"), ("keras:MobileNetV2", None)):
        assert (found := find(name, framework)) is not None  # type: ignore[arg-type]
        assert found.framework == "keras"


def test_the_hash_is_checked_unless_the_description_is_believed(places: tuple[Path, Path]) -> None:
    described(places[0], "a.pth", name="resnet18", network="timm:resnet18", sha256="0" * 64)
    with pytest.raises(WeightsError, match="cannot trust"):
        find("resnet18")
    assert (found := find("resnet18", verify=False)) is not None
    assert found.sha256 == "0" * 64


def test_a_description_without_its_file_is_refused(places: tuple[Path, Path]) -> None:
    described(places[0], "a.pth", name="resnet18", network="timm:resnet18").unlink()
    with pytest.raises(WeightsError, match=r"cannot find the weights of 'resnet18'.*beside it"):
        find("resnet18")
    assert find("resnet50") is None


def test_a_damaged_description_is_named_unless_another_fits(places: tuple[Path, Path]) -> None:
    user, cache = places
    weights(user, "{", "damaged.pth")
    (user / "notes.json").write_text("{")  # describes no weights
    with pytest.raises(WeightsError, match=r"cannot read the description '.*damaged.pth.json'"):
        find("resnet18")
    described(cache, "a.pth", name="resnet18", network="timm:resnet18")
    assert find("resnet18") is not None


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(WeightsError, match=r"WHATSIT_WEIGHTS.*gone"):
        find("resnet18")


def test_every_fact_leads_to_a_model_file_of_its_own(places: tuple[Path, Path]) -> None:
    plain = WeightsFile(Path("a.pth"), "1" * 64, name="resnet18", network="resnet18", input_size=(96, 96))
    wanted = Wanted("resnet18")
    paths = [
        model_path(wanted, plain),
        model_path(wanted, replace(plain, sha256="2" * 64)),
        model_path(wanted, replace(plain, input_size=(128, 128))),
        model_path(wanted, replace(plain, arguments={"a": 1})),
        model_path(replace(wanted, arguments={"a": 1}), plain),
        model_path(replace(wanted, preprocess="0..1"), plain),
        model_path(replace(wanted, name="resnet50"), plain),
    ]
    assert len(set(paths)) == len(paths)
    assert model_path(wanted, replace(plain, path=Path("moved.pth"), licence="MIT")) == paths[0]
    assert all(path.parent == places[1].parent / "models" for path in paths)


def test_a_model_file_is_found_when_its_weights_are_gone(places: tuple[Path, Path]) -> None:
    wanted = Wanted("timm:resnet18")
    assert made_before(wanted) is None
    paths = [model_path(wanted, WeightsFile(Path("a.pth"), number * 64)) for number in "12"]
    paths[0].parent.mkdir()
    for age, path in enumerate(paths):
        path.touch()
        os.utime(path, (1_000_000 - age,) * 2)
    assert made_before(wanted) == paths[0]
    assert made_before(Wanted("timm:resnet1")) is None


def test_a_written_description_is_read_back(tmp_path: Path) -> None:
    spec = curated()["vit"]
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    write_description(of_spec(spec, path))
    told = describe(path)
    assert told == replace(of_spec(spec, path), sha256=hashlib.sha256(b"weights").hexdigest())
    assert json.loads((tmp_path / "w.safetensors.json").read_text())["network"] == f"timm:{spec.network}"


def test_the_shared_weights_are_found_by_name(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(shared / "weights"))
    timm, keras = find("mobilenet_v2"), find("mobilenet_v2", "keras")
    assert timm is not None
    assert keras is not None
    assert (timm.network, timm.arguments) == ("mobilenetv2_100", {"pad_type": "same"})
    assert (keras.name, keras.path.suffix) == ("keras:MobileNetV2", ".h5")
