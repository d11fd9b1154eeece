"""`-m FILE|NAME`: a model file, or a pretrained network by name, with what may be said of it by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from whatsit.errors import OptionError

F = TypeVar("F", bound=Callable[..., Any])


def model_options(command: F) -> F:
    """-m and what may be said about a named network by hand."""
    command = click.option(
        "-m",
        "--model",
        required=True,
        metavar="FILE|NAME",
        help="A model file, such as runs/photos/model.onnx, or a pretrained network, such as mobilenet_v2.",
    )(command)
    return network_options(command)


def network_options(command: F) -> F:
    """What may be said by hand about a named network and its weights."""
    for option in (
        click.option("--offline", is_flag=True, envvar="WHATSIT_OFFLINE", help="Fetch nothing."),
        click.option("--framework", type=click.Choice(["torch", "keras"]), help="Take the network from this one."),
        click.option("--preprocess", metavar="imagenet|-1..1|...", help="How pictures are scaled for the network."),
        click.option("--network-arg", multiple=True, metavar="NAME=VALUE", help="Argument for the network."),
        click.option("--weights", type=click.Path(path_type=Path), help="Take the network's weights from this file."),
    ):
        command = option(command)
    return command


def model_path(
    model: str,
    weights: Path | None,
    network_arg: tuple[str, ...],
    preprocess: str | None,
    framework: Any,
    offline: bool,
) -> Path:
    """The model file that -m means: itself, or that of a named network, which is fetched if need be.

    Ends the command with the exit code of `whatsit fetch` where that fails; it has said why.
    """
    by_hand = weights is not None or network_arg or preprocess is not None or framework is not None
    from whatsit import named_models

    if named_models.is_file(model):
        if by_hand:
            raise OptionError(
                f"cannot change the model file '{model}'",
                value="--weights, --network-arg, --preprocess or --framework",
                accepted="these options beside the name of a network",
                hint="Leave them out, or name the network: whatsit models",
            )
        return Path(model)
    from whatsit.weights import Wanted

    try:
        return named_models.path_of(Wanted(model, framework, weights, _arguments(network_arg), preprocess), offline)
    except named_models.NotFetchedError as error:
        click.get_current_context().exit(error.code)


def _arguments(network_arg: tuple[str, ...]) -> dict[str, Any]:
    if not network_arg:
        return {}
    from whatsit.wishes import network_arguments

    return network_arguments(network_arg)
