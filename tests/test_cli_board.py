"""`whatsit tensorboard`: a real process, asked over a socket as a browser would."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard", reason="needs the 'train' extra")

from whatsit.apps.cli.main import main
from whatsit.events import EpochEnded
from whatsit.runs import Recorder, RunFolder

EPOCH = EpochEnded(1, 4, 0.5, 0.8, 0.6, 0.7, 0.001, 1.5, True)
PATIENCE = 60  # seconds; TensorBoard looks for news every five

# Runs the command line as the console script does, and says in the end which heavy modules it has loaded.
COMMAND = """
import sys
from whatsit.apps.cli.main import main
code = main(sys.argv[1:])
print("loaded:", *{name.split(".")[0] for name in sys.modules} & {"tensorflow", "torch", "keras"}, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A run that goes on: one epoch is there."""
    recorder = Recorder(RunFolder.create(tmp_path / "runs" / "photos", "photos"))
    recorder(EPOCH)
    yield recorder
    recorder.close()


@pytest.fixture
def started(recorder: Recorder, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, in the folder above runs, and the address it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "tensorboard", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # heeded also in the background
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        address = re.fullmatch(r"TensorBoard is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", said)
        assert address, said + process.stderr.read()
        yield process, address[1]
    finally:
        process.kill()
        process.communicate()


def fetched(address: str, path: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def within_patience(ask: Callable[[], Any], wanted: Any) -> None:
    """Ask until the answer is the wanted one."""
    deadline = time.monotonic() + PATIENCE
    while (answer := ask()) != wanted:
        assert time.monotonic() < deadline, answer
        time.sleep(0.5)


def test_it_shows_both_curves_of_both_parts_and_each_new_epoch(
    started: tuple[subprocess.Popen[str], str], recorder: Recorder
) -> None:
    process, address = started
    train, validation = "photos/tensorboard/train", "photos/tensorboard/validation"

    def tags() -> dict[str, list[str]]:
        return {run: sorted(tags) for run, tags in fetched(address, "data/plugin/scalars/tags").items()}

    def accuracies() -> list[tuple[int, float]]:
        scalars = fetched(address, "data/plugin/scalars/scalars", run=validation, tag="accuracy")
        return [(step, round(value, 4)) for _, step, value in scalars]

    within_patience(tags, {train: ["accuracy", "learning_rate", "loss"], validation: ["accuracy", "loss"]})
    assert sorted(fetched(address, "data/runs")) == [train, validation]
    within_patience(accuracies, [(1, 0.7)])
    recorder(replace(EPOCH, epoch=2, validation_accuracy=0.9))
    within_patience(accuracies, [(1, 0.7), (2, 0.9)])

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0
    assert (out, err.strip()) == ("", "loaded:")


def test_its_page_may_load_nothing_from_elsewhere(started: tuple[subprocess.Popen[str], str]) -> None:
    with urllib.request.urlopen(started[1], timeout=30) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    rules = {rule.split()[0]: rule for rule in policy.split(";")}
    assert rules["connect-src"] == "connect-src 'self'"
    assert not any("http" in rules[kind] for kind in ("default-src", "script-src", "font-src", "img-src"))
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//[^\"' >]*", page)


@pytest.mark.parametrize(
    ("folder", "says"),
    [("runs", "no such folder"), ("empty", "a folder without any"), ("file", "a file")],
)
def test_a_place_without_curves_is_refused(
    folder: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert main(["tensorboard", folder, "--port", "0"] if folder != "runs" else ["tensorboard", "--port", "0"]) == 2
    assert f"cannot find curves in '{folder}': got {says};" in capsys.readouterr().err


def test_a_port_in_use_is_refused(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["tensorboard", str(recorder.run.path), "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: got address already in use" in capsys.readouterr().err


def test_without_tensorboard_the_extra_is_named(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main(["tensorboard", str(recorder.run.path), "--port", "0"]) == 2
    err = capsys.readouterr().err
    assert "no module named 'tensorboard'" in err
    assert "whatsit[train]" in err
