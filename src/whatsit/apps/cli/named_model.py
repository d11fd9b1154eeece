"""`-m FILE|NAME`: a model file, or a pretrained network whose model file lies in the cache or is fetched into it.

Fetching and converting need PyTorch or Keras, so they run in a process of their own; this one only reads the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from whatsit.errors import OptionError

if TYPE_CHECKING:
    from whatsit.weights import Wanted

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
    if _is_file(model):
        if by_hand:
            raise OptionError(
                f"cannot change the model file '{model}'",
                value="--weights, --network-arg, --preprocess or --framework",
                accepted="these options beside the name of a network",
                hint="Leave them out, or name the network: whatsit models",
            )
        return Path(model)
    from whatsit.weights import Wanted

    wanted = Wanted(model, framework, weights, _arguments(network_arg), preprocess)
    return _in_the_cache(wanted) or _fetch(wanted, network_arg, offline)


def _arguments(network_arg: tuple[str, ...]) -> dict[str, Any]:
    if not network_arg:
        return {}
    from whatsit.wishes import network_arguments

    return network_arguments(network_arg)


def _is_file(model: str) -> bool:
    path = Path(model)
    looks_like_one = path.suffix == ".onnx" or "/" in model or os.sep in model
    return looks_like_one or path.is_file() or (path.is_dir() and not _is_curated(model))


def _is_curated(name: str) -> bool:
    from whatsit import catalogue

    return name in catalogue.curated()


def _in_the_cache(wanted: Wanted) -> Path | None:
    from whatsit import weights

    found = weights.describe(wanted.weights) if wanted.weights else None
    found = found or weights.find(wanted.name, wanted.framework, verify=False)
    if found is not None:
        path = weights.model_path(wanted, found)
        return path if path.is_file() else None
    return weights.made_before(wanted) if wanted.by_name_alone else None


def _fetch(wanted: Wanted, network_arg: tuple[str, ...], offline: bool) -> Path:
    command = [sys.executable, "-m", "whatsit", "fetch", wanted.name]
    command += ["--weights", str(wanted.weights)] if wanted.weights else []
    command += [word for pair in network_arg for word in ("--network-arg", pair)]
    command += ["--preprocess", wanted.preprocess] if wanted.preprocess else []
    command += ["--framework", wanted.framework] if wanted.framework else []
    command += ["--offline"] if offline else []
    import subprocess

    # Without the thread limit that suits this process only.
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        click.get_current_context().exit(done.returncode)
    return Path(done.stdout.splitlines()[-1])
