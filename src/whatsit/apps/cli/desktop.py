"""whatsit desktop."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("picture", required=False, type=click.Path(path_type=Path), metavar="[PICTURE|FOLDER]")
@click.option(
    "-m",
    "--model",
    metavar="FILE|NAME",
    help="A model file, such as runs/photos/model.onnx, or a pretrained network, such as mobilenet_v2. Default: the "
    "built-in model, everyday, which knows ten things.",
)
def desktop(picture: Path | None, model: str | None) -> None:
    """Open a window: choose a picture, see what it is. Another model can be chosen there."""
    from whatsit.apps.desktop import open_window

    open_window(model, picture)
