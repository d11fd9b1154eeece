"""whatsit models, whatsit fetch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.cli.named_model import network_options
from whatsit.apps.cli.terminal import reporter
from whatsit.errors import MissingExtraError, OptionError, did_you_mean

if TYPE_CHECKING:
    from whatsit.catalogue import ModelSpec


@click.command()
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="The pretrained networks as one JSON array.")
def models(pattern: str | None, as_json: bool) -> None:
    """List pretrained networks: the dozen that everybody should know, or all that match PATTERN; and what is built in.

    \b
    whatsit models                    the dozen
    whatsit models 'res*'             those of the dozen, of timm and of Keras that match
    whatsit models 'timm:*mobilenet*' those of timm
    whatsit models 'keras:*'          all of Keras
    """
    from whatsit import catalogue, named_models

    found = _matching(pattern)
    built_in = pattern is None or fnmatchcase(named_models.BUILTIN, pattern.lower())
    if not found and not built_in:
        raise OptionError(
            "cannot find a network of this name",
            value=repr(pattern),
            accepted="a name or a pattern with *",
            hint=did_you_mean(str(pattern), catalogue.curated()) or "For instance: whatsit models 'timm:*mobilenet*'",
        )
    rows = [_row(spec) for spec in found]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if rows:
        _print(rows)
    if built_in:
        click.echo(f"\n{_built_in()}" if rows else _built_in())


@click.command()
@click.argument("name")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Only put the weights and their description into this folder, for WHATSIT_WEIGHTS on another machine.",
)
@click.option(
    "--golden",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Make the model file anew and keep these pictures in it, for 'whatsit verify', instead of two sample photos'.",
)
@network_options
def fetch(
    name: str,
    to: Path | None,
    golden: Path | None,
    weights: Path | None,
    network_arg: tuple[str, ...],
    preprocess: str | None,
    framework: Any,
    offline: bool,
) -> None:
    """Fetch the pretrained network NAME and make a model file of it, in the cache; print the file's path.

    What is there already is not fetched again.
    """
    from whatsit import named_models, pretrained
    from whatsit.weights import Wanted
    from whatsit.wishes import network_arguments

    if to is not None and golden is not None:
        raise OptionError(
            "cannot keep golden pictures in a folder of weights",
            value="--golden with --to",
            accepted="one of the two",
            hint="Leave --golden out here, and fetch with it on the other machine.",
        )
    if name == named_models.BUILTIN:
        if to or golden or weights or network_arg or preprocess or framework:
            raise OptionError(
                f"cannot change the built-in model '{name}'",
                value="an option beside its name",
                accepted="nothing: it is here, and is what it is",
                hint=f"Leave the options out, or copy the file: {named_models.BUILTIN_FILE}",
            )
        click.echo(named_models.BUILTIN_FILE)
        return
    wanted = Wanted(name, framework, weights, network_arguments(network_arg), preprocess)
    with reporter() as report:
        if to is None:
            path = pretrained.model_file(wanted, offline, report, golden)
        else:
            path = pretrained.prepare(wanted, to, offline, report)
    click.echo(path)


def _built_in() -> str:
    """What `predict` and `serve` answer with where no model is named."""
    from whatsit import modelfile, named_models
    from whatsit.apps.presenter import listed

    manifest = modelfile.read_manifest(named_models.BUILTIN_FILE)
    measured = manifest.measured
    return (
        f"Built in: {named_models.BUILTIN}, {manifest.weights['parameters'] / 1e6:.1f} M parameters, "
        f"{measured['accuracy']:.1%} right on the {measured['n']:,} test pictures of {manifest.data['name']}. "
        f"It knows {listed(manifest.labels, len(manifest.labels))}."
    )


def _matching(pattern: str | None) -> list[ModelSpec]:
    from whatsit import catalogue

    curated = list(catalogue.curated().values())
    if pattern is None:
        return curated
    keras = list(catalogue.keras_applications().values())
    if pattern.startswith(catalogue.KERAS):
        return [spec for spec in keras if fnmatchcase(spec.name.lower(), pattern.lower())]
    if pattern.startswith(catalogue.TIMM):
        return list(_timm(pattern.removeprefix(catalogue.TIMM), required=True))
    short = pattern.lower()
    return [
        *(spec for spec in curated if fnmatchcase(spec.name, short)),
        *(spec for spec in keras if fnmatchcase(spec.network.lower(), short)),
        *_timm(pattern, required=False),
    ]


def _timm(pattern: str, required: bool) -> Iterable[ModelSpec]:
    try:
        from whatsit.training.torch_engine import names
    except ImportError as error:
        if not required:
            return ()
        raise MissingExtraError("list timm's networks", module=error.name or "timm", extra="train") from None
    return (replace(spec, name=f"timm:{spec.network}") for spec in names.published(pattern))


def _row(spec: ModelSpec) -> dict[str, Any]:
    from whatsit import weights
    from whatsit.errors import WeightsError

    try:
        here = weights.find(spec.name, verify=False) is not None
    except WeightsError:  # a damaged description; whoever wants these weights is told
        here = False
    return {
        "name": spec.name,
        "framework": spec.framework,
        "network": spec.network,
        "parameters": spec.parameters,
        "accuracy": spec.accuracy,
        "input": list(spec.input_size),
        "classifies": spec.classes is not None,
        "licence": spec.licence or None,
        "here": here,
        "keras": spec.keras,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    head = ("name", "framework", "parameters", "ImageNet top-1", "input", "licence", "here")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        padded = [
            f"{cell:>{width}}" if column in (2, 3) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(padded).rstrip())


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    height, width = row["input"]
    accuracy = f"{row['accuracy']:.1%}" if row["accuracy"] is not None else "-"
    return (
        row["name"],
        "torch, keras" if row["keras"] else row["framework"],
        f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "-",
        accuracy if row["classifies"] else "features only",
        f"{height}x{width}",
        row["licence"] or "-",
        "yes" if row["here"] else "",
    )
