"""The examples of docs/server.md do what the page says, against a running server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from server_process import Server, started
from tiny_model import plain

pytest.importorskip("prometheus_client", reason="needs the 'server' extra")

PAGE = (Path(__file__).parents[1] / "docs" / "server.md").read_text("utf-8")
EXAMPLES = re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.DOTALL)
LIBRARIES = ("httpx", "tritonclient.http")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started("--no-access-log", told_before=True) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("photo.jpg", (200, 80, 20)), ("other.png", (20, 80, 200))):
        Image.fromarray(plain(colour, (60, 80))).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(EXAMPLES)])
def test_an_example_of_the_page_works(server: Server, folder: Path, language: str, code: str) -> None:
    for library in LIBRARIES:
        if re.search(rf"^import {re.escape(library)}\b", code, re.MULTILINE):
            pytest.importorskip(library, reason=f"{library} is not installed")
    if language == "bash" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    code = code.replace("127.0.0.1:7860", f"127.0.0.1:{server.port}")
    fails = "What can go wrong" in PAGE[: PAGE.index(code.replace(str(server.port), "7860"))].rpartition("\n## ")[2]
    command = ["bash", "-euc", code.replace("curl ", "curl -sS " if fails else "curl -sSf ")]
    done = subprocess.run(
        command if language == "bash" else [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert ("not a picture" in done.stdout) == fails


def test_every_address_has_an_example_in_both_languages(server: Server) -> None:
    import json
    import urllib.request

    document = json.load(urllib.request.urlopen(f"{server.address}/openapi.json"))
    bash = "".join(code for language, code in EXAMPLES if language == "bash")
    python = "".join(code for language, code in EXAMPLES if language == "python")
    by_method = {
        "/v2": "get_server_metadata",
        "/v2/health/live": "is_server_live",
        "/v2/health/ready": "is_server_ready",
        "/v2/models/{model}": "get_model_metadata",
        "/v2/models/{model}/ready": "is_model_ready",
        "/v2/models/{model}/infer": ".infer(",
    }
    for path in document["paths"]:
        address = path.replace("{model}", "everyday")
        assert f":7860{address}" in bash, path
        assert address in python or by_method.get(path, "nowhere") in python, path
