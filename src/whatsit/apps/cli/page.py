"""whatsit serve."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.cli.named_model import network_options, open_model
from whatsit.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from whatsit.apps.feedback import Feedback
    from whatsit.apps.served import Served
    from whatsit.runtime import OpenModel


@click.command()
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="FILE|NAME",
    help="A model file, such as runs/photos/model.onnx, or a pretrained network, such as mobilenet_v2. May be "
    "repeated: the page shows the answers side by side. Default: the built-in model, everyday.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--no-page", is_flag=True, help="Only the interface for programs, described at /docs.")
@click.option(
    "--examples",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pictures or folders to click on the page (default: the golden pictures in the file). May be repeated.",
)
@click.option(
    "--feedback",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Let visitors of the page give wrong answers their right label, and keep those pictures in this folder, in "
    "the layout that 'whatsit train' reads.",
)
@click.option("--new-labels", is_flag=True, help="Feedback may also give labels that no model knows.")
@click.option("--share", is_flag=True, help="Also open a public link through Gradio's servers. Off unless asked for.")
@click.option(
    "--auth",
    metavar="USER:PASSWORD",
    envvar="WHATSIT_AUTH",
    help="Ask visitors for these; programs may send them too. In the variable WHATSIT_AUTH, others on this machine "
    "cannot see them.",
)
@click.option(
    "--token",
    envvar="WHATSIT_TOKEN",
    help="Ask programs for this bearer token. Or set WHATSIT_TOKEN, which others cannot see.",
)
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages from there ask, or from everywhere: *. May be repeated.",
)
@click.option(
    "--max-mb", type=click.FloatRange(0.001), default=64.0, show_default=True, help="Most megabytes in a request."
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0.001),
    default=100.0,
    show_default=True,
    help="Most of them in a picture.",
)
@click.option(
    "--max-pictures", type=click.IntRange(1), default=64, show_default=True, help="Most pictures in a request."
)
@click.option(
    "--queue", type=click.IntRange(1), default=64, show_default=True, help="Most requests that may wait for an answer."
)
@click.option(
    "--grace", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to finish requests at the end."
)
@click.option("--no-access-log", is_flag=True, help="Write no line of JSON to stdout for each request of a program.")
@network_options
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    no_page: bool,
    feedback: Path | None,
    new_labels: bool,
    auth: str | None,
    token: str | None,
    **options: Any,
) -> None:
    """Open models to people and programs: a page to drop pictures on, and an interface over HTTP. Ctrl-C ends it."""
    from whatsit.apps import ports, serving

    serving.refuse_share_offline(options["share"], options["offline"])
    _refuse_contradictions(no_page, options["share"], options["examples"], feedback, new_labels)
    if not no_page:
        refuse_missing_page()
    ports.refuse_in_use(host, port)
    # Click takes an empty variable for one that is not set; here it would open the server to everyone.
    token = os.environ.get("WHATSIT_TOKEN") if token is None else token
    password = _password(os.environ.get("WHATSIT_AUTH") if auth is None else auth)
    _refuse_blank_token(token)
    _refuse_no_origins(options["cors"])
    served = _open_all(models, options)
    with serving.opened(
        served,
        page=not no_page,
        examples=options["examples"],
        feedback=_feedback(feedback, new_labels, served),
        host=host,
        port=port,
        share=options["share"],
        token=token,
        auth=password,
        cors=options["cors"],
        limits=_limits(options),
        grace=options["grace"],
        log=not options["no_access_log"],
    ) as running:
        if token and not auth and not no_page:
            click.echo(
                "The page asks for no token: --auth asks for a password there, --no-page leaves it out", err=True
            )
        what = f"The server is at {running}/docs" if no_page else f"The page is at {running}"
        click.echo(f"{what} (Ctrl-C ends it)", err=True)
        running.wait()


def open_page(model: OpenModel, host: str, port: int) -> None:
    """The page on one model, as the end of `whatsit demo` and `whatsit train --serve`."""
    from whatsit.apps import serving
    from whatsit.apps.served import named

    with serving.opened(named([(str(model.path), model)]), host=host, port=port) as running:
        click.echo(f"The page is at {running} (Ctrl-C ends it)", err=True)
        running.wait()


def _open_all(models: tuple[str, ...], options: dict[str, Any]) -> list[Served]:
    from whatsit.apps.served import named

    words = ("weights", "network_arg", "preprocess", "framework", "offline")
    network = {name: options[name] for name in words}
    said = [f"--{name.replace('_', '-')}" for name in words[:-1] if network[name] not in (None, ())]
    if len(models) > 1 and said:
        raise OptionError(
            "cannot tell which model is meant",
            value=f"{' and '.join(said)} with {len(models)} models",
            accepted="these options beside one -m",
            hint="Fetch the network first (whatsit fetch), and name it with -m.",
        )
    opened = [(name or "everyday", open_model(name, **network, spinning=True)) for name in (models or (None,))]
    return named(opened)


def _limits(options: dict[str, Any]) -> Any:
    from whatsit import images
    from whatsit.apps.server.limits import Limits

    most = round(options["max_mb"] * 1e6)
    picture = images.Limits(max_bytes=most, max_pixels=round(options["max_megapixels"] * 1e6))
    return Limits(request_bytes=most, picture=picture, pictures=options["max_pictures"], queue=options["queue"])


def _password(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    user, _, password = auth.partition(":")  # a password may hold colons
    if not user.strip() or not password:
        raise OptionError(
            "cannot ask for this user and password",
            value="--auth or WHATSIT_AUTH without a user, a colon or a password",  # not the value: it may be a secret
            accepted="USER:PASSWORD",
            hint="For instance: --auth ada:a-long-password",
        )
    return user.strip(), password


def _refuse_blank_token(token: str | None) -> None:
    """A variable that is not set, as in --token "$TOKEN", must not open the server to everyone."""
    if token is not None and (not token or token != token.strip()):
        raise OptionError(
            "cannot ask for this token",
            value="--token or WHATSIT_TOKEN that is empty, or begins or ends with a blank",
            accepted="a text without blanks around it",
            hint="For instance: --token $(openssl rand -hex 16)",
        )


def _refuse_no_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        if not re.fullmatch(r"\*|https?://[^/\s]+", origin):
            raise OptionError(
                "cannot let this origin ask",
                value=f"--cors {origin}",
                accepted="http:// or https://, a host and no path, or *",
                hint="For instance: --cors https://example.org",
            )


def _feedback(folder: Path | None, new_labels: bool, served: list[Served]) -> Feedback | None:
    if folder is None:
        return None
    from whatsit.apps.feedback import Feedback

    return Feedback(folder, (label for one in served for label in one.model.labels), new_labels)


def _refuse_contradictions(
    no_page: bool, share: bool, examples: tuple[Path, ...], feedback: Path | None, new_labels: bool
) -> None:
    for_the_page = {"--share": share, "--examples": bool(examples), "--feedback": feedback is not None}
    given = [name for name, said in for_the_page.items() if said]
    if no_page and given:
        raise OptionError(
            "cannot leave out the page",
            value=f"--no-page with {' and '.join(given)}",
            accepted="these options with the page",
            hint="Leave one of them out.",
        )
    if new_labels and feedback is None:
        raise OptionError(
            "cannot take new labels",
            value="--new-labels without --feedback",
            accepted="--new-labels beside --feedback DIR",
            hint="For instance: --feedback feedback/ --new-labels",
        )


def refuse_missing_page() -> None:
    """Raise MissingExtraError before a training that is to end in a page, not after it."""
    if find_spec("gradio") is None:
        raise MissingExtraError("open the page", module="gradio", extra="web")
