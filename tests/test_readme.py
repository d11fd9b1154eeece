"""The README's commands and Python blocks, run as they stand, in a folder such as a reader would have."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import coloured
from PIL import Image

pytest.importorskip("torch", reason="needs the 'train' extra")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/ of two classes, more_photos/ of the same, and new.jpg."""
    folder = tmp_path_factory.mktemp("reader")
    for root, first, n in (("photos", 0, 40), ("more_photos", 100, 5)):
        for label, colour in (("beer", "red"), ("wings", "blue")):
            (folder / root / label).mkdir(parents=True)
            for number in range(first, first + n):
                Image.fromarray(coloured(colour, number)).save(folder / root / label / f"{number}.png")
    Image.fromarray(coloured("red", 500)).save(folder / "new.jpg")
    return folder


def run(command: str, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(1200)
def test_the_commands_work_in_their_order_and_then_the_python(reader: Path) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("whatsit ")]
    assert {command.split()[1] for command in commands} >= {"train", "predict", "evaluate", "show", "verify", "split"}
    for command in commands:
        if not command.startswith("whatsit serve"):  # it runs until it is stopped; test_web_browser.py does that
            run(command, reader)
    for block in blocks("python"):
        script = reader / "block.py"
        script.write_text(block)
        run(f"{sys.executable} -W error {script}", reader)


def test_every_other_command_it_shows_has_these_options() -> None:
    """Some fetch or train for hours: only whether whatsit understands them is tried."""
    from whatsit.apps.cli.main import whatsit as cli

    shown = re.findall(r"^    whatsit (.*?)(?:\s{2,}.*)?$", README, re.MULTILINE)
    assert len(shown) > 10
    # With its settings: click keeps the help option that a command is first made with.
    context = click.Context(cli, **cli.context_settings)
    for line in shown:
        name, *arguments = shlex.split(line)
        command = cli.get_command(context, name)
        assert command is not None, line
        command.make_context(name, arguments, parent=context)  # raises a UsageError


def test_every_file_it_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
