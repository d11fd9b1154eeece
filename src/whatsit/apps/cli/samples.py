"""whatsit show-sample."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whatsit.apps.cli.answers import refuse_unwritable
from whatsit.apps.cli.data import data_dir_option
from whatsit.apps.cli.named_model import model_options, open_model
from whatsit.apps.cli.terminal import reporter
from whatsit.apps.text import printable
from whatsit.errors import DataError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from whatsit.dataset import Sample
    from whatsit.evaluation.plots import Shown
    from whatsit.runtime import OpenModel

_MOST = 100  # pictures in one file that can still be looked at


@click.command("show-sample")
@model_options
@click.argument("data")
@click.option("--n", type=click.IntRange(1, _MOST), default=12, show_default=True, help="How many pictures to show.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="A number for one draw: the same pictures each time (default: others each time).",
)
@click.option(
    "--split", type=click.Choice(["train", "validation", "val", "test"]), help="Draw from this part of the data."
)
@data_dir_option
@click.option(
    "--out", type=click.Path(path_type=Path), default="sample.png", show_default=True, help="The PNG file to write."
)
def show_sample(
    data: str, n: int, seed: int | None, split: str | None, data_dir: Path | None, out: Path, **model: Any
) -> None:
    """Draw random pictures of labelled DATA with what the model says of them, into a PNG file.

    They come from its test part where it has parts, from all of it otherwise. Each is shown with the predicted label,
    its score and the right label: green where they agree, red where they do not.
    """
    import numpy as np

    from whatsit import sources, storage
    from whatsit.evaluation import plots
    from whatsit.runtime import judging

    _refuse_missing_plots()
    _refuse_other_format(out)
    refuse_unwritable(out)
    opened = open_model(**model)
    wanted: Any = {"val": "validation"}.get(split or "", split)
    with reporter() as report:
        dataset = sources.open_data(data, data_dir=data_dir, offline=model["offline"], on_event=report)
        part = judging.part_to_judge(opened, dataset, wanted, report)
    order = [part.samples[place] for place in np.random.default_rng(seed).permutation(len(part.samples))]
    shown = list(islice(_answered(opened, order), n))
    if not shown:
        raise _nothing_readable(data)
    with storage.beside(out) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that matplotlib's font lacks is drawn as boxes
        plots.picture_grid(shown).savefig(file, format="png")
    right = sum(bool(one.right) for one in shown)
    click.echo(printable(f"{out} shows {len(shown):,} of {len(order):,} pictures, {right:,} of them answered rightly"))


def _answered(model: OpenModel, samples: Iterable[Sample]) -> Iterator[Shown]:
    """Each picture with the model's answer; those that cannot be read are left out, and told."""
    from whatsit import images
    from whatsit.evaluation import plots

    for sample in samples:
        prediction = model.predict(sample.source, top=1)
        if prediction.label is None or prediction.score is None:
            click.echo(printable(f"unreadable: {sample.name}: {prediction.error}"), err=True)
            continue
        yield plots.answered(images.load(sample.source), prediction.label, prediction.score, sample.label)


def _refuse_missing_plots() -> None:
    """Raise MissingExtraError before anything is fetched and answered, not after it."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("draw pictures", module="matplotlib", extra="train")


def _refuse_other_format(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise OptionError(
            f"cannot draw pictures into '{out}'",
            value=f"a file name ending in '{out.suffix}'" if out.suffix else "a file name without an ending",
            accepted="one that ends in .png",
            hint="For instance: --out sample.png",
        )


def _nothing_readable(data: str) -> DataError:
    return DataError(
        f"cannot show pictures of '{data}'",
        value="not one that can be read",
        accepted="at least one readable picture",
        hint="See what is wrong with them: whatsit check " + data,
    )
