"""whatsit show, whatsit verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_file = click.argument("model", type=click.Path(path_type=Path))


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
        click.echo(f"{name:<12}{text}")


@click.command()
@_file
def verify(model: Path) -> None:
    """Replay the golden pictures in a MODEL file: does it answer here as it did where it was made?"""
    from whatsit import modelfile
    from whatsit.runtime import OpenModel

    opened = OpenModel(model)
    if not opened.manifest.golden:
        click.echo(f"{model} is whole; it holds no golden pictures to replay (it was made with --golden none).")
        return
    difference = modelfile.verify(opened.manifest, opened.answers)
    n = len(opened.manifest.golden)
    click.echo(
        f"{model} is whole and answers as it did: {n} golden pictures, largest difference {difference:.1e} "
        f"(allowed {modelfile.GOLDEN_TOLERANCE:g})."
    )


def _contents(manifest: Any) -> dict[str, Any]:
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


def _lines(m: Any, path: Path) -> list[tuple[str, str]]:
    height, width = m.preprocess.size
    shown = ", ".join(m.labels[:12]) + (f" and {len(m.labels) - 12} more" if len(m.labels) > 12 else "")
    rows = [
        ("file", f"{path}, {path.stat().st_size / 1e6:.1f} MB, made by whatsit {m.whatsit} on {m.created}"),
        ("answers", f"{len(m.labels)} labels: {shown}"),
        ("sees", f"{height}x{width} pixels, {m.preprocess.fit}, {m.preprocess.interpolation}"),
        ("network", f"{m.recipe.get('model', '?')}, {m.weights.get('parameters') or 0:,} parameters"),
    ]
    if m.measured:
        low, high = m.measured["interval"]
        accuracy = f"{m.measured['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        rows.append(
            ("accuracy", f"{accuracy} on {m.measured['n']:,} test pictures; baseline {m.measured['baseline']:.1%}")
        )
    if m.threshold is None:
        rows.append(("not sure", "never: no threshold kept the promised accuracy"))
    else:
        rows.append(
            ("not sure", f"below {m.threshold:.2f}, which keeps {m.calibration['promise']:.0%} of the answers right")
        )
    if m.data:
        counts = {split: sum(per.values()) for split, per in m.data["counts"].items()}
        parts = ", ".join(f"{n:,} {split}" for split, n in counts.items())
        rows.append(("data", f"{m.data['name']} ({parts}), fingerprint {m.data['fingerprint'][:16]}"))
    if m.weights.get("pretrained"):
        rows.append(("weights", f"{m.weights['pretrained']}, licence {m.weights['licence'] or 'not stated'}"))
    rows.append(("golden", f"{len(m.golden)} pictures with their expected answers; replay them: whatsit verify {path}"))
    return rows
