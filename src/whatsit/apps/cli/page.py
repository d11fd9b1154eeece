"""whatsit serve."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.cli.named_model import model_options, open_model
from whatsit.errors import MissingExtraError, ServerError

if TYPE_CHECKING:
    from whatsit.runtime import OpenModel


@click.command()
@model_options
@click.option(
    "--examples",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pictures or folders to click on the page (default: the golden pictures in the file). May be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--share", is_flag=True, help="Also open a public link through Gradio's servers. Off unless asked for.")
def serve(examples: tuple[Path, ...], host: str, port: int, share: bool, **model: Any) -> None:
    """Open a page on a model: drop a picture, see what it is. Ctrl-C ends it."""
    from whatsit.apps import serving

    serving.refuse_share_offline(share, model["offline"])
    refuse_missing_page()
    refuse_port_in_use(host, port)
    open_page(open_model(**model), examples, host, port, share)


def open_page(model: OpenModel, examples: tuple[Path, ...], host: str, port: int, share: bool) -> None:
    try:
        from whatsit.apps.web.page import Page
    except ImportError as error:
        raise MissingExtraError("open the page", module=error.name or "gradio", extra="web") from None
    with Page(model, examples) as page, page.open(host, port, share) as running:
        click.echo(f"The page is at {running} (Ctrl-C ends it)", err=True)
        running.wait()


def refuse_missing_page() -> None:
    """Raise MissingExtraError before a training that is to end in a page, not after it."""
    if find_spec("gradio") is None:
        raise MissingExtraError("open the page", module="gradio", extra="web")


def refuse_port_in_use(host: str, port: int) -> None:
    """Raise ServerError before any work is done if nothing can listen there."""
    if not 0 <= port <= 65_535:
        raise ServerError(
            "cannot listen on this port", value=port, accepted="0 to 65535", hint="For instance: --port 7860"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"cannot listen on {host}:{port}",
                value=(error.strerror or str(error)).lower(),
                accepted="a free port and an address of this machine",
                hint="Name another port, or --port 0 for any free one.",
            ) from None
