"""whatsit tensorboard."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import click


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", type=int, default=6006, show_default=True, help="Port to listen on; 0 takes any free one.")
def tensorboard(folder: Path, host: str, port: int) -> None:
    """Open TensorBoard on the learning curves in FOLDER: one run, or all runs below it (default: runs).

    Loss and accuracy of training and validation, epoch by epoch, also while a run goes on. Ctrl-C ends it.
    """
    from whatsit import runs
    from whatsit.apps import ports

    ports.refuse_in_use(host, port)
    click.echo(f"TensorBoard is at {runs.serve_curves(folder, host, port)} (Ctrl-C ends it)", err=True)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)  # in slices: a wait without end cannot be interrupted on every system
