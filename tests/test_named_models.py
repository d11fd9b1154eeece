"""Named networks: what `whatsit fetch` is told in its own process."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from whatsit import named_models
from whatsit.errors import InterruptedEarlyError
from whatsit.named_models import NotFetchedError
from whatsit.weights import Wanted
from whatsit.wishes import network_arguments


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The commands that were run, with their environments; each fails."""
    found: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        found.append((command, env))
        return subprocess.CompletedProcess(command, 2, "", "")

    monkeypatch.setattr(named_models, "_run", run)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        {"drop_rate": 0.1, "img_size": 64},
        {"pad_type": "same"},
        {"x": "1"},
        {"x": [True, 2, "three"]},
        {"x": 'a "b" \\'},
    ],
    ids=str,
)
def test_arguments_arrive_as_they_were(
    arguments: dict[str, Any], asked: list[tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    with pytest.raises(NotFetchedError):
        named_models._fetch(
            Wanted("resnet18", None, tmp_path / "w.pth", arguments), offline=True, quiet=True, stopped=threading.Event()
        )
    ((command, _),) = asked
    words = tuple(after for word, after in pairwise(command) if word == "--network-arg")
    assert network_arguments(words) == arguments


@pytest.mark.parametrize("page", [False, True])
def test_the_hubs_switch_is_the_users_unless_a_page_set_it(
    page: bool, asked: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.delitem(sys.modules, "whatsit.apps.web", raising=False)
    if page:
        monkeypatch.setitem(sys.modules, "whatsit.apps.web", ModuleType("whatsit.apps.web"))
    with pytest.raises(NotFetchedError):
        named_models._fetch(Wanted("resnet18"), offline=False, quiet=True, stopped=threading.Event())
    ((_, environment),) = asked
    assert ("HF_HUB_OFFLINE" in environment) is not page
    assert "OPENBLAS_NUM_THREADS" not in environment


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
def test_a_fetch_that_nobody_waits_for_any_more_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    monkeypatch.setattr(sys, "executable", _instead_of_python(tmp_path, [sys.executable, "-c", script, str(begun)]))
    stopped = threading.Event()
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            named_models.path_of(Wanted("resnet18"), quiet=True, stopped=stopped)
        except InterruptedEarlyError as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not begun.exists():
        time.sleep(0.01)
    stopped.set()
    asking.join(50)  # the fetch would take 60 s
    assert not asking.is_alive()
    assert len(ended) == 1


def _instead_of_python(folder: Path, command: list[str]) -> str:
    script = folder / "python"
    script.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n")
    script.chmod(0o755)
    return str(script)
