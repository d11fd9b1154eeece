"""whatsit models and whatsit fetch, and the name of a pretrained network wherever a model file may stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import coloured
from PIL import Image
from tiny_model import write_tiny_model
from tiny_weights import NETWORK, write_tiny_weights

import whatsit
from whatsit import named_models
from whatsit.apps.cli.main import main
from whatsit.errors import OptionError
from whatsit.weights import Wanted, describe, find, model_path

pytest.importorskip("timm")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, tiny weights, and nothing to be had from elsewhere."""
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(write_tiny_weights(tmp_path / "weights").parent))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("WHATSIT_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.fromarray(coloured("red", 1, 80)).save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


def put_into_the_cache(name: str = "tiny") -> Path:
    """A model file where that of `name` would lie."""
    found = find(name)
    assert found is not None
    path = model_path(Wanted(name), found)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tiny_model(path)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["models", *arguments, "--json"]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_the_dozen_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 + 2  # an empty line, and what is built in
    assert lines[0].split() == ["name", "framework", "parameters", "ImageNet", "top-1", "input", "licence", "here"]
    assert lines[3].split() == ["resnet18", "torch", "11.7", "M", "69.8%", "224x224", "BSD-3-Clause"]
    assert lines[1].split()[:3] == ["mobilenet_v2", "torch,", "keras"]
    assert "features only" in next(line for line in lines if line.startswith("dinov2"))


def test_weights_on_this_machine_are_marked(capsys: pytest.CaptureFixture[str], places: Path) -> None:
    write_tiny_weights(places / "weights", "resnet50")
    assert [row["name"] for row in listed(capsys) if row["here"]] == ["resnet50"]


@pytest.mark.parametrize(
    ("pattern", "some", "others"),
    [
        ("keras:*Mobile*", ["keras:MobileNetV2", "keras:NASNetMobile"], ["mobilenet_v2", "keras:VGG16"]),
        ("timm:*mobilenetv2*", ["timm:mobilenetv2_100.ra_in1k"], ["mobilenet_v2"]),
        ("resnet1*", ["resnet18", "keras:ResNet101", "timm:resnet18.a1_in1k"], ["resnet50", "keras:ResNet50"]),
        ("vgg16", ["vgg16", "keras:VGG16"], ["keras:VGG19"]),
    ],
)
def test_patterns_reach_every_network(
    capsys: pytest.CaptureFixture[str], pattern: str, some: list[str], others: list[str]
) -> None:
    names = [row["name"] for row in listed(capsys, pattern)]
    assert set(some) <= set(names)
    assert not set(others) & set(names)
    assert len(set(names)) == len(names)


def test_timms_own_facts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = listed(capsys, "timm:resnet18.fb_swsl_ig1b_ft_in1k")
    assert (row["licence"], row["input"], row["accuracy"]) == ("cc-by-nc-4.0", [224, 224], None)


def test_a_pattern_that_matches_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "keras:nope*"]) == 2
    assert "cannot find a network of this name: got 'keras:nope*'" in capsys.readouterr().err


def test_fetch_to_a_folder_prepares_it_and_prints_the_path(capsys: pytest.CaptureFixture[str], places: Path) -> None:
    assert main(["fetch", "tiny", "--to", str(places / "usb")]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == places / "usb" / "tiny.safetensors"
    assert describe(path).network == NETWORK


def test_fetch_to_a_folder_stays_offline(capsys: pytest.CaptureFixture[str], places: Path) -> None:
    assert main(["fetch", "resnet18", "--to", str(places / "usb"), "--offline"]) == 2
    assert "none on this machine, and --offline" in capsys.readouterr().err


def test_a_named_network_in_the_cache_is_opened_at_once(
    capsys: pytest.CaptureFixture[str], picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_into_the_cache()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("something was fetched"))
    assert main(["predict", "-m", "tiny", picture]) == 0
    assert "red" in capsys.readouterr().out


def test_a_model_file_serves_though_its_weights_are_gone(
    capsys: pytest.CaptureFixture[str], picture: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_into_the_cache()
    monkeypatch.delenv("WHATSIT_WEIGHTS")
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("something was fetched"))
    assert main(["predict", "-m", "tiny", picture]) == 0


def test_opening_a_named_network_loads_no_training_library(picture: str) -> None:
    from test_light_import import COMMAND, HEAVY, loaded_by

    put_into_the_cache()
    loaded = loaded_by(COMMAND, "predict", "-m", "tiny", picture)
    assert not loaded & {*HEAVY, "huggingface_hub", "ssl"}


def test_the_first_use_makes_the_file_in_another_process_and_the_next_opens_it(places: Path, picture: str) -> None:
    command = [sys.executable, "-m", "whatsit", "predict", "-m", "tiny", picture, "--top", "1"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "making a model file of 'tiny'" in first.stderr
    (made,) = (places / "cache" / "models").iterdir()
    assert find("tiny") is not None
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (second.stdout, second.stderr) == (first.stdout, "")
    by_file = [made if word == "tiny" else word for word in command]
    assert subprocess.run(by_file, capture_output=True, text=True, check=True).stdout == first.stdout


@pytest.mark.parametrize("command", [["predict"], ["evaluate"], ["serve", "--port", "0"]])
def test_what_fetching_says_and_its_code_are_passed_on(command: list[str], places: Path, picture: str) -> None:
    arguments = [*command, "-m", "resnet18", *([] if command[0] == "serve" else [picture])]
    done = subprocess.run(
        [sys.executable, "-m", "whatsit", *arguments, "--offline"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: cannot get the weights of 'resnet18': got none on this machine, and --offline or WHATSIT_OFFLINE; "
        "accepted: weights in the folder WHATSIT_WEIGHTS or in the cache. On a connected machine: whatsit fetch "
        "resnet18 --to DIR; then set WHATSIT_WEIGHTS=DIR here."
    ]
    assert not (places / "cache").exists()


@pytest.mark.parametrize("variable", ["", "1"])
def test_without_a_connection_there_is_no_public_link(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHATSIT_OFFLINE", variable)
    assert main(["serve", "--share", *([] if variable else ["--offline"])]) == 2
    assert "--share with --offline or WHATSIT_OFFLINE" in capsys.readouterr().err


def test_python_opens_no_public_link_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_OFFLINE", "1")
    with pytest.raises(OptionError, match="public link"):
        whatsit.serve(whatsit.load(), share=True)


def test_what_is_said_by_hand_reaches_fetch(
    picture: str, places: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 3, "", "")

    monkeypatch.setattr(named_models, "_run", run)
    file = str(places / "weights" / "tiny.safetensors")
    by_hand = ["--weights", file, "--network-arg", "a=1", "--network-arg", "b=x", "--preprocess", "0..1"]
    by_hand += ["--framework", "torch", "--offline"]
    assert main(["predict", "-m", "tiny", picture, *by_hand]) == 3
    the_same = ['b="x"' if word == "b=x" else word for word in by_hand]
    assert asked == [[sys.executable, "-m", "whatsit", "fetch", "tiny", *the_same]]


@pytest.mark.parametrize("model", ["missing.onnx", f"folder{os.sep}missing", "./resnet18"])
def test_what_looks_like_a_file_is_one(model: str, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "-m", model, picture]) == 2
    assert f"cannot find the model file '{Path(model)}'" in capsys.readouterr().err


def test_a_folder_of_a_networks_name_does_not_hide_it(
    picture: str, places: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(places)
    (places / "resnet18").mkdir()
    (places / "other").mkdir()
    assert main(["predict", "-m", "resnet18", picture, "--offline"]) == 2
    assert "cannot get the weights of 'resnet18'" in capfd.readouterr().err
    assert main(["predict", "-m", "other", picture, "--offline"]) == 2
    assert "a folder" in capfd.readouterr().err


def test_a_model_file_cannot_be_changed_by_hand(picture: str, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(places / "m.onnx")
    assert main(["predict", "-m", str(model), picture, "--preprocess", "0..1"]) == 2
    assert "cannot change the model file" in capsys.readouterr().err
