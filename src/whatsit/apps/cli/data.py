"""whatsit check, whatsit split."""

from __future__ import annotations

from pathlib import Path

import click

from whatsit.apps.cli.terminal import reporter


@click.command()
@click.argument("data")
@click.option("--verbose", "-v", is_flag=True, help="Name every picture of every finding.")
@click.pass_context
def check(ctx: click.Context, data: str, verbose: bool) -> None:
    """Say what is worth knowing about DATA before training: broken, copied, leaking, unbalanced.

    Exit code 1 if there are warnings.
    """
    from whatsit import dataset, doctor, sources

    with reporter() as report:
        samples = dataset.read(sources.open_data(data), report)
    findings = doctor.examine(samples)
    for label, n in samples.counts().items():
        click.echo(f"{label}: {n:,} pictures")
    for finding in findings:
        click.echo(f"{finding.severity}: {finding.text}. {finding.hint}")
        shown = finding.pictures if verbose else finding.pictures[:5]
        for name in shown:
            click.echo(f"    {name}")
        if len(shown) < len(finding.pictures):
            click.echo(f"    and {len(finding.pictures) - len(shown):,} more (--verbose names them)")
    click.echo(f"fingerprint {samples.fingerprint}")
    if any(finding.severity == "warning" for finding in findings):
        ctx.exit(1)


@click.command()
@click.argument("source")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--val", default="0.15", show_default=True, help="Validation: pictures per class, or a fraction.")
@click.option("--test", default="0.15", show_default=True, help="Test: pictures per class, or a fraction.")
@click.option("--link", is_flag=True, help="Link the pictures instead of copying them.")
def split(source: str, destination: Path, val: str, test: str, link: bool) -> None:
    """Write train, val and test folders for SOURCE into DESTINATION, by copy or link.

    The originals stay where they are. Copies of a picture, and members of a group, stay on one side.
    """
    from whatsit import split_folders

    with reporter() as report:
        samples = split_folders.write(source, destination, val, test, link, report)
    for part in ("train", "validation", "test"):
        counts = samples.part(part).counts()
        click.echo(f"{part}: {sum(counts.values()):,} pictures ({', '.join(f'{n} {c}' for c, n in counts.items())})")
    for moved in samples.moved[:20]:
        click.echo(f"{moved.name} went to {moved.part} instead of {moved.home}, {moved.why}", err=True)
    for picture in samples.unreadable:
        click.echo(f"left out: {picture.name}: {picture.reason}", err=True)
    click.echo(f"Train on it: whatsit train {destination}")
