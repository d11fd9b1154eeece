"""whatsit serve."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.cli.named_model import network_options, open_model
from whatsit.errors import MissingExtraError, OptionError, ServerError

if TYPE_CHECKING:
    from whatsit.apps.feedback import Feedback
    from whatsit.apps.served import Served


@click.command()
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="FILE|NAME",
    help="A model file, such as runs/photos/model.onnx, or a pretrained network, such as mobilenet_v2. May be "
    "repeated: their answers stand side by side. Default: the built-in model, everyday, which knows ten things.",
)
@network_options
@click.option(
    "--examples",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pictures or folders to click on the page (default: the golden pictures in the file). May be repeated.",
)
@click.option(
    "--feedback",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Let visitors give wrong answers their right label, and keep those pictures in this folder, in the layout "
    "that 'whatsit train' reads. Off unless given.",
)
@click.option("--new-labels", is_flag=True, help="Feedback may also give labels that no model knows.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--share", is_flag=True, help="Also open a public link through Gradio's servers. Off unless asked for.")
@click.option(
    "--auth",
    metavar="USER:PASSWORD",
    envvar="WHATSIT_AUTH",
    help="Ask visitors for this name and password. Others on this machine can see them in the list of processes, "
    "but not in the variable WHATSIT_AUTH.",
)
def serve(
    models: tuple[str, ...],
    examples: tuple[Path, ...],
    feedback: Path | None,
    new_labels: bool,
    host: str,
    port: int,
    share: bool,
    auth: str | None,
    **network: Any,
) -> None:
    """Open a page on a model: drop a picture, see what it is. Ctrl-C ends it."""
    from whatsit.apps import serving
    from whatsit.apps.served import named

    serving.refuse_share_offline(share, network["offline"])
    user = _user_and_password(auth)
    if new_labels and feedback is None:
        raise OptionError(
            "cannot take new labels without feedback",
            value="--new-labels without --feedback",
            accepted="both, or neither",
            hint="For instance: --feedback feedback/ --new-labels",
        )
    refuse_missing_page()
    refuse_port_in_use(host, port)
    opened = [(name, open_model(name, **network)) for name in models or (None,)]
    served = named([(name or str(model.path), model) for name, model in opened])
    kept = _feedback(feedback, served, new_labels) if feedback else None
    open_page(served, host, port, examples, share, user, kept)


def open_page(
    models: Sequence[Served],
    host: str,
    port: int,
    examples: tuple[Path, ...] = (),
    share: bool = False,
    auth: tuple[str, str] | None = None,
    feedback: Feedback | None = None,
) -> None:
    try:
        from whatsit.apps.web.page import Page
    except ImportError as error:
        raise MissingExtraError("open the page", module=error.name or "gradio", extra="web") from None
    with Page(models, examples, feedback=feedback) as page, page.open(host, port, share, auth) as running:
        click.echo(f"The page is at {running} (Ctrl-C ends it)", err=True)
        running.wait()


def _feedback(folder: Path, models: Sequence[Served], new_labels: bool) -> Feedback:
    from whatsit.apps.feedback import Feedback

    return Feedback(folder, (label for served in models for label in served.model.labels), new_labels)


def _user_and_password(auth: str | None) -> tuple[str, str] | None:
    """Both halves; a password may hold colons. What was given is not repeated: it may be the password alone."""
    if auth is None:
        return None
    user, _, password = auth.partition(":")
    if not user.strip() or not password:
        raise OptionError(
            "cannot ask visitors for a password",
            value="--auth or WHATSIT_AUTH without a name, a colon or a password",
            accepted="USER:PASSWORD",
            hint="For instance: --auth eva:a-long-password",
        )
    return user.strip(), password


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
