"""The documentation says what the program does."""

from __future__ import annotations

import runpy
from pathlib import Path

import whatsit
from whatsit import modelfile, named_models

ROOT = Path(__file__).parents[1]


def test_the_page_of_commands_is_what_help_prints() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "commands_page.py"))
    assert page["PAGE"].read_text("utf-8") == page["text"](), "run: .venv/bin/python scripts/commands_page.py"


def test_the_accuracy_of_the_built_in_model_is_the_measured_one() -> None:
    measured = modelfile.read_manifest(named_models.BUILTIN_FILE).measured
    accuracy, low, high = (f"{100 * value:.1f}" for value in (measured["accuracy"], *measured["interval"]))
    page = " ".join((ROOT / "docs" / "networks.md").read_text("utf-8").split())
    assert f"it names {accuracy} % rightly (95 % interval {low} to {high} %)" in page


def test_the_changelog_names_this_version() -> None:
    assert f"## {whatsit.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
