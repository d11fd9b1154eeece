"""`-m FILE|NAME`: a model file, or a pretrained network by name, with what may be said of it by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from whatsit.apps.cli.data import offline_option
from whatsit.errors import OptionError

if TYPE_CHECKING:
    from whatsit.runtime import OpenModel

F = TypeVar("F", bound=Callable[..., Any])


def model_options(command: F) -> F:
    """-m and what may be said about a named network by hand."""
    command = click.option(
        "-m",
        "--model",
        metavar="FILE|NAME",
        help="A model file, such as runs/photos/model.onnx, or a pretrained network, such as mobilenet_v2. Default: "
        "the built-in model, everyday, which knows ten things.",
    )(command)
    return network_options(command)


def network_options(command: F) -> F:
    """What may be said by hand about a named network and its weights."""
    for option in (
        offline_option,
        click.option("--framework", type=click.Choice(["torch", "keras"]), help="Take the network from this one."),
        click.option("--preprocess", metavar="imagenet|-1..1|...", help="How pictures are scaled for the network."),
        click.option("--network-arg", multiple=True, metavar="NAME=VALUE", help="Argument for the network."),
        click.option("--weights", type=click.Path(path_type=Path), help="Take the network's weights from this file."),
    ):
        command = option(command)
    return command


def open_model(
    model: str | None,
    weights: Path | None,
    network_arg: tuple[str, ...],
    preprocess: str | None,
    framework: Any,
    offline: bool,
    *,
    spinning: bool = False,
) -> OpenModel:
    """Open the model file that -m means: itself, that of a named network, which is fetched if need be, or without -m
    the built-in one, which is said.

    Ends the command with the exit code of `whatsit fetch` where that fails; it has said why.
    """
    from whatsit import named_models
    from whatsit.runtime import OpenModel

    name = named_models.BUILTIN if model is None else model
    file = named_models.BUILTIN_FILE if model is None else named_models.file_called(model)
    if file is None:
        fetched = _fetched(name, weights, network_arg, preprocess, framework, offline)
        return OpenModel(fetched, spinning=spinning)
    said = {"weights": weights, "network-arg": network_arg, "preprocess": preprocess, "framework": framework}
    given = [f"--{option}" for option, value in said.items() if value not in (None, ())]
    if given:
        raise OptionError(
            f"cannot change the model file '{name}'",
            value=" and ".join(given),
            accepted="these options beside the name of a network",
            hint="Leave them out, or name the network with -m: whatsit models",
        )
    opened = OpenModel(file, spinning=spinning)
    if model is None:
        click.echo(_introduction(name, opened.labels), err=True)
    return opened


def _introduction(name: str, labels: tuple[str, ...]) -> str:
    from whatsit.apps.presenter import listed

    return (
        f"No -m, so the built-in model '{name}' answers. It knows {listed(labels, len(labels))}; "
        "for ImageNet's 1,000 labels: -m mobilenet_v2"
    )


def _fetched(
    name: str, weights: Path | None, network_arg: tuple[str, ...], preprocess: str | None, framework: Any, offline: bool
) -> Path:
    from whatsit import named_models
    from whatsit.weights import Wanted

    try:
        return named_models.path_of(Wanted(name, framework, weights, _arguments(network_arg), preprocess), offline)
    except named_models.NotFetchedError as error:
        click.get_current_context().exit(error.code)


def _arguments(network_arg: tuple[str, ...]) -> dict[str, Any]:
    if not network_arg:
        return {}
    from whatsit.wishes import network_arguments

    return network_arguments(network_arg)
