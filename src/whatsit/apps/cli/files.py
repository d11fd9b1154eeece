"""whatsit show, whatsit verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.text import printable

if TYPE_CHECKING:
    from whatsit.modelfile import Manifest


def _called(_ctx: click.Context, _parameter: click.Parameter, model: str) -> Path:
    from whatsit import named_models

    return named_models.file_called(model) or Path(model)


_file = click.argument("model", callback=_called)


@click.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def show(model: Path, as_json: bool) -> None:
    """Say what is in a MODEL file: labels, geometry, measured accuracy, training data, recipe."""
    from whatsit import modelfile

    manifest = modelfile.read_manifest(model)
    if as_json:
        click.echo(json.dumps(_contents(manifest)))
        return
    for name, text in _lines(manifest, model):
        click.echo(printable(f"{name:<12}{text}"))


@click.command()
@_file
def verify(model: Path) -> None:
    """Replay the golden pictures in a MODEL file: does it answer here as it did where it was made?"""
    from whatsit import modelfile
    from whatsit.runtime import OpenModel

    opened = OpenModel(model)
    if not opened.manifest.golden:
        click.echo(f"{model} is whole; it holds no golden pictures to replay, so its answers were not checked.")
        return
    difference = modelfile.verify(opened.manifest, opened.answers)
    n = len(opened.manifest.golden)
    click.echo(
        f"{model} is whole and answers as it did: {n} golden pictures, largest difference {difference:.1e} "
        f"(allowed {modelfile.GOLDEN_TOLERANCE:g})."
    )


def _contents(manifest: Manifest) -> dict[str, Any]:
    return {
        "labels": list(manifest.labels),
        "preprocess": manifest.preprocess.to_json(),
        "threshold": manifest.threshold,
        "calibration": manifest.calibration,
        "measured": manifest.measured,
        "data": manifest.data,
        "known_pictures": len(manifest.known),
        "recipe": manifest.recipe,
        "weights": manifest.weights,
        "golden": [{"name": g.name, "label": g.label, "probabilities": g.probabilities} for g in manifest.golden],
        "whatsit": manifest.whatsit,
        "created": manifest.created,
    }


def _lines(m: Manifest, path: Path) -> list[tuple[str, str]]:
    height, width = m.preprocess.size
    shown = ", ".join(m.labels[:12]) + (f" and {len(m.labels) - 12} more" if len(m.labels) > 12 else "")
    parameters = m.weights.get("parameters")
    rows = [
        ("file", f"{path}, {path.stat().st_size / 1e6:.1f} MB, made by whatsit {m.whatsit} on {m.created}"),
        ("answers", f"{len(m.labels)} labels: {shown}"),
        ("sees", f"{height}x{width} pixels, {m.preprocess.fit}, {m.preprocess.interpolation}"),
        ("network", f"{m.recipe.get('model', '?')}, {f'{parameters:,}' if parameters else '?'} parameters"),
        ("accuracy", _accuracy(m.measured)),
        ("not sure", _not_sure(m)),
        ("data", _data(m.data)),
    ]
    if m.weights.get("pretrained"):
        rows.append(("weights", f"{m.weights['pretrained']}, licence {m.weights.get('licence') or 'not stated'}"))
    golden = f"{len(m.golden)} pictures with their expected answers; replay them: whatsit verify {path}"
    return [*rows, ("golden", golden if m.golden else "none")]


def _accuracy(measured: dict[str, Any]) -> str:
    if not measured:
        return "not measured"
    low, high = measured["interval"]
    return (
        f"{measured['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"on {measured['n']:,} test pictures; baseline {measured['baseline']:.1%}"
    )


def _not_sure(m: Manifest) -> str:
    if m.threshold is None:
        return "never: no threshold kept the promised accuracy" if m.calibration else "never: it was not calibrated"
    promise, right = m.calibration.get("promise"), m.measured.get("answered_accuracy")
    chosen = f", chosen so that {100 * promise:g}% of the answers on validation were right" if promise else ""
    seen = (
        f"; {m.measured['coverage']:.1%} of the test pictures got an answer, {right:.1%} of these right"
        if right
        else ""
    )
    return f"below {m.threshold:.2f}{chosen}{seen}"


def _data(data: dict[str, Any]) -> str:
    if not data:
        return "not known"
    parts = ", ".join(f"{sum(per.values()):,} {split}" for split, per in data.get("counts", {}).items())
    return f"{data.get('name', '?')} ({parts}), fingerprint {data.get('fingerprint', '?')[:16]}"
