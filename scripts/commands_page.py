"""Write docs/commands.md from the commands' own --help. tests/test_docs.py fails when the page and they differ."""

from __future__ import annotations

from pathlib import Path

import click

from whatsit.apps.cli.main import whatsit

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


def text() -> str:
    context = click.Context(whatsit, info_name="whatsit", terminal_width=100, **whatsit.context_settings)
    parts = ["# Commands", "", "Made by `scripts/commands_page.py` from the commands' own help.", ""]
    parts += ["```text", whatsit.get_help(context), "```", ""]
    for name in whatsit.list_commands(context):
        command = whatsit.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
        parts += [f"## whatsit {name}", "", "```text", command.get_help(inner), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
