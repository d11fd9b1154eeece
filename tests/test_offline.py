"""Done-when: with local weights, train, predict, evaluate and serve connect to nothing beyond this machine.

Each command runs in a process of its own with an audit hook, which Python calls before every connection and name
lookup, from whatever library. The hook writes down those that leave the machine, and refuses them. Processes that the
command starts have it too. (The browser's side of the page is watched in test_web_browser.py.)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_weights import write_tiny_weights

import whatsit

GUARD = '''
import os, sys

def _leaves(event, arguments):
    """The host that would be reached, or None."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return None
    host = host.decode() if isinstance(host, bytes) else host
    local = host is None or host in ("", "localhost", "::1", "0.0.0.0", "::") or str(host).startswith("127.")
    return None if local else host

def _guard(event, arguments):
    if event.startswith("socket."):
        host = _leaves(event, arguments)
        with open(os.environ["GUARD_LOG"], "a") as log:
            log.write(f"{event} {host}\\n" if host else "")
        if host:
            raise PermissionError(f"blocked by the test: {event} {host}")

sys.addaudithook(_guard)
open(os.environ["GUARD_LOG"], "a").write(f"guarding {' '.join(sys.argv[1:3])}\\n")
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own, with local weights and a guard for every Python process."""
    pytest.importorskip("timm")
    folder = tmp_path_factory.mktemp("offline")
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
    write_tiny_weights(folder / "weights")
    return folder


def guarded(place: Path) -> dict[str, str]:
    """The environment of a guarded process, without anything that keeps it offline of itself."""
    unwanted = ("HF_", "WHATSIT_", "GRADIO_", "DO_NOT_TRACK", "TRANSFORMERS_", "ORT_", "KERAS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    source = Path(whatsit.__file__).parents[1]
    return environment | {
        "PYTHONPATH": f"{place / 'guard'}{os.pathsep}{source}",
        "GUARD_LOG": str(place / "log.txt"),
        "HOME": str(place / "home"),
        "XDG_CACHE_HOME": str(place / "home" / ".cache"),
        "WHATSIT_WEIGHTS": str(place / "weights"),
        "WHATSIT_CACHE": str(place / "cache"),
    }


def attempts(place: Path) -> list[str]:
    """What the guard has written down since the last call."""
    log = place / "log.txt"
    lines = log.read_text().splitlines()
    log.unlink()
    assert any(line.startswith("guarding") for line in lines)
    return [line for line in lines if not line.startswith("guarding")]


def run(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=guarded(place),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def photos(make_photos: Callable[..., Path]) -> Path:
    return make_photos(red=12, green=12)


PLANTED = [
    ("import urllib.request; urllib.request.urlopen('http://example.com/')", "example.com"),
    ("import socket; socket.socket().connect(('192.0.2.1', 80))", "192.0.2.1"),
    ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "192.0.2.1"),
    ("import asyncio; asyncio.run(asyncio.open_connection('192.0.2.1', 80))", "192.0.2.1"),
    (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', "
        "'import socket; socket.gethostbyname(\"example.com\")'], check=True)",
        "example.com",
    ),
    (
        "import huggingface_hub as h; h.get_hf_file_metadata(h.hf_hub_url('timm/resnet18.tv_in1k', 'x'))",
        "huggingface.co",
    ),
]


@pytest.mark.parametrize(("code", "host"), PLANTED, ids=["urllib", "socket", "udp", "asyncio", "child", "hub"])
def test_a_planted_connection_is_noticed_and_blocked(place: Path, code: str, host: str) -> None:
    done = run(place, "-W", "ignore", "-c", code)
    assert done.returncode != 0
    assert any(line.endswith(f" {host}") for line in attempts(place)), done.stderr


def test_this_machine_may_be_reached(place: Path) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); "
        "socket.getaddrinfo('localhost', 80)"
    )
    assert run(place, "-W", "ignore", "-c", code).returncode == 0
    assert attempts(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("offline", [["--offline"], []], ids=["offline", "as it is"])
def test_training_on_a_named_network_stays_here(place: Path, photos: Path, tmp_path: Path, offline: list[str]) -> None:
    command = ["-m", "whatsit", "train", photos, "--model", "tiny", "--out", tmp_path / "run", "--json", *offline]
    done = run(place, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["n"] > 0
    assert attempts(place) == []


@pytest.mark.parametrize("offline", [["--offline"], []], ids=["offline", "as it is"])
def test_predicting_with_a_named_network_stays_here(place: Path, photos: Path, offline: list[str]) -> None:
    """The first time, its file is made by `whatsit fetch`, in a second process."""
    done = run(place, "-m", "whatsit", "predict", "-m", "tiny", photos / "red", *offline)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 12
    assert attempts(place) == []


def test_evaluating_a_named_network_stays_here(place: Path, photos: Path) -> None:
    for colour, label in (("red", "tabby"), ("green", "banana")):
        (photos / colour).rename(photos / label)
    done = run(place, "-m", "whatsit", "evaluate", "-m", "tiny", photos, "--offline")
    assert done.returncode == 0, done.stderr
    assert "Accuracy" in done.stdout
    assert attempts(place) == []


@pytest.fixture
def address(place: Path) -> Iterator[str]:
    """Where `whatsit serve -m tiny` says that its page is."""
    command = [sys.executable, "-m", "whatsit", "serve", "-m", "tiny", "--port", "0", "--offline"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=guarded(place)) as process:
        try:
            assert process.stderr is not None
            said = ""
            while (told := re.search(r"The page is at (http://127\.0\.0\.1:\d+)", said)) is None:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield told[1]
        finally:
            process.terminate()
            process.wait(20)


def test_the_page_stays_here(place: Path, address: str) -> None:
    pytest.importorskip("gradio")
    for path in ("/", "/config", "/gradio_api/info"):
        with urllib.request.urlopen(address + path, timeout=30) as answer:
            assert answer.status == 200
            assert answer.read()
    assert attempts(place) == []


def test_without_weights_offline_says_so_and_looks_nothing_up(place: Path, photos: Path) -> None:
    done = run(place, "-m", "whatsit", "predict", "-m", "resnet18", photos, "--offline")
    assert done.returncode == 2
    assert "none on this machine, and --offline" in done.stderr
    assert attempts(place) == []
