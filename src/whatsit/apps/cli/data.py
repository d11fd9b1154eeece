"""whatsit check, whatsit split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whatsit.apps.cli.terminal import reporter
from whatsit.errors import DataError

if TYPE_CHECKING:  # their modules are imported when a command runs
    from whatsit.dataset import Dataset
    from whatsit.doctor import Finding

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder with the files of a named data set, such as cifar10; nothing is fetched.",
)
offline_option = click.option("--offline", is_flag=True, help="Fetch nothing.")
_SHOWN = 5  # pictures of each finding


@click.command()
@click.argument("data")
@click.option("--verbose", "-v", is_flag=True, help="Name every picture of every finding.")
@data_dir_option
@offline_option
@click.pass_context
def check(ctx: click.Context, data: str, verbose: bool, data_dir: Path | None, offline: bool) -> None:
    """Say what is worth knowing about DATA before training: broken, copied, leaking, unbalanced.

    Exit code 1 if there are warnings.
    """
    from whatsit import dataset, doctor, sources

    with reporter() as report:
        opened = sources.open_data(data, data_dir=data_dir, offline=offline, on_event=report)
        samples = _split_as_for_training(dataset.read(opened, report))
    for label, n in samples.counts().items():
        click.echo(f"{label}: {_pictures(n)}")
    findings = doctor.examine(samples)
    for finding in findings:
        _say(finding, shown=len(finding.pictures) if verbose else _SHOWN)
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
    from whatsit import doctor, split_folders

    with reporter() as report:
        samples = split_folders.write(source, destination, val, test, link, report)
    for part in ("train", "validation", "test"):
        counts = samples.part(part).counts()
        each = ", ".join(f"{label}: {n:,}" for label, n in counts.items())
        click.echo(f"{part}: {_pictures(sum(counts.values()))} ({each})")
    for finding in doctor.examine(samples):
        _say(finding, shown=_SHOWN, err=True)
    click.echo(f"Train on it: whatsit train {destination}")


def _split_as_for_training(samples: Dataset) -> Dataset:
    from whatsit.dataset import complete

    try:
        return complete(samples)
    except DataError:  # too little of a class, or data to judge a model on: what there is to say, the findings do
        return samples


def _say(finding: Finding, shown: int, err: bool = False) -> None:
    click.echo(f"{finding.severity}: {finding.text}. {finding.hint}", err=err)
    for name in finding.pictures[:shown]:
        click.echo(f"    {name}", err=err)
    if shown < len(finding.pictures):
        click.echo(f"    and {len(finding.pictures) - shown:,} more (whatsit check --verbose names them)", err=err)


def _pictures(n: int) -> str:
    return f"{n:,} picture{'' if n == 1 else 's'}"
