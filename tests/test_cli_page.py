"""`whatsit serve`: what is refused before a page opens, and what is handed on to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

from whatsit import runtime
from whatsit.apps import serving
from whatsit.apps.cli.main import main
from whatsit.named_models import BUILTIN_FILE

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the pages that would have been opened were given."""
    calls: list[dict[str, Any]] = []

    class NotRunning:
        def wait(self) -> None:
            pass

    @contextmanager
    def note(models: Any, **options: Any) -> Iterator[NotRunning]:
        calls.append({"models": models, **options})
        yield NotRunning()

    monkeypatch.setattr(serving, "opened", note)
    monkeypatch.delenv("WHATSIT_AUTH", raising=False)
    return calls


def test_several_models_get_names(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    (tmp_path / "photos").mkdir()
    first = write_tiny_model(tmp_path / "photos" / "model.onnx")
    second = write_tiny_model(tmp_path / "birds.onnx")
    assert main(["serve", "-m", str(first), "-m", str(second), "--port", "0"]) == 0
    (call,) = opened
    assert [served.name for served in call["models"]] == ["photos", "birds"]
    assert (call["auth"], call["feedback"]) == (None, None)


def test_without_a_model_the_built_in_one_answers(opened: list[dict[str, Any]], capsys: Capture) -> None:
    assert main(["serve", "--port", "0"]) == 0
    assert [served.name for served in opened[0]["models"]] == ["everyday"]
    assert "the built-in model 'everyday' answers" in capsys.readouterr().err


def test_threads_for_a_lone_picture_stay_awake(opened: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer shows it: it is said to the engine, and `predict` of many pictures does without (benchmarks/LOG.md)."""
    said: list[bool] = []

    class Noted(runtime.OpenModel):
        def __init__(self, path: Path, *, spinning: bool = False) -> None:
            said.append(spinning)
            super().__init__(path, spinning=spinning)

    monkeypatch.setattr(runtime, "OpenModel", Noted)
    assert main(["serve", "--port", "0"]) == 0
    assert main(["serve", "-m", str(BUILTIN_FILE), "--port", "0"]) == 0
    assert said == [True, True]


def test_feedback_knows_the_labels_of_all_models(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    first = write_tiny_model(tmp_path / "a.onnx", ("cat", "dog"))
    second = write_tiny_model(tmp_path / "b.onnx", ("dog", "cow"))
    options = ["--feedback", str(tmp_path / "given"), "--new-labels", "--port", "0"]
    assert main(["serve", "-m", str(first), "-m", str(second), *options]) == 0
    feedback = opened[0]["feedback"]
    assert feedback.labels == ["cat", "dog", "cow"]
    assert feedback.new_labels
    assert (tmp_path / "given").is_dir()


def test_new_labels_need_feedback(opened: list[dict[str, Any]], capsys: Capture) -> None:
    assert main(["serve", "--new-labels"]) == 2
    assert "--feedback feedback/ --new-labels" in capsys.readouterr().err
    assert opened == []


@pytest.mark.parametrize("given", ["secretword", ":secretword", "eva:", " :secretword", ":"])
def test_a_malformed_password_is_refused_and_not_repeated(
    opened: list[dict[str, Any]], capsys: Capture, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    assert main(["serve", "--auth", given]) == 2
    monkeypatch.setenv("WHATSIT_AUTH", given)
    assert main(["serve"]) == 2
    said = capsys.readouterr()
    assert said.err.count("accepted: USER:PASSWORD") == 2
    assert "secretword" not in said.out + said.err
    assert opened == []


@pytest.mark.parametrize("variable", [True, False])
def test_name_and_password_come_from_the_option_or_the_variable(
    opened: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    if variable:
        monkeypatch.setenv("WHATSIT_AUTH", "eva:with:colons")
    assert main(["serve", "--port", "0", *([] if variable else ["--auth", "eva:with:colons"])]) == 0
    assert opened[0]["auth"] == ("eva", "with:colons")


def test_a_place_for_feedback_that_cannot_be_written_to_is_refused(
    tmp_path: Path, opened: list[dict[str, Any]], capsys: Capture
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["serve", "--port", "0", "--feedback", str(tmp_path / "file")]) == 2
    assert "--feedback" in capsys.readouterr().err
    assert opened == []


def test_what_is_said_of_a_network_does_not_go_with_a_model_file(tmp_path: Path, capsys: Capture) -> None:
    file = write_tiny_model(tmp_path / "m.onnx")
    assert main(["serve", "--port", "0", "-m", str(file), "--framework", "torch"]) == 2
    assert "cannot change the model file" in capsys.readouterr().err
