"""The documentation says what the program does."""

from __future__ import annotations

import runpy
from pathlib import Path

import whatsit

ROOT = Path(__file__).parents[1]


def test_the_page_of_commands_is_what_help_prints() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "commands_page.py"))
    assert page["PAGE"].read_text("utf-8") == page["text"](), "run: .venv/bin/python scripts/commands_page.py"


def test_the_changelog_names_this_version() -> None:
    assert f"## {whatsit.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
