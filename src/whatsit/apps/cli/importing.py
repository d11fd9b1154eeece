"""whatsit import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whatsit.apps.cli.data import data_dir_option, offline_option
from whatsit.apps.cli.terminal import reporter
from whatsit.errors import OptionError

if TYPE_CHECKING:
    from whatsit.dataset import Dataset
    from whatsit.events import OnEvent
    from whatsit.importers.said import Said


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes: one a line, or a JSON list.")
@click.option(
    "--preprocess",
    metavar="imagenet|-1..1|0..1|0..255|...",
    help="How pixel values were scaled in training; also the name of a Keras application, such as mobilenet_v2.",
)
@click.option("--network", help="For weights alone: a timm network, cifar_resnet20 to 110, or a Keras application.")
@click.option("--network-arg", "network_arg", multiple=True, metavar="NAME=VALUE", help="Argument for that network.")
@click.option("--image-size", "--imgsz", type=int, help="Pixels a side, where the file does not tell.")
@click.option(
    "--fit", type=click.Choice(["pad", "crop", "squash"]), help="How a picture is brought to its size (default crop)."
)
@click.option("--out", type=click.Path(path_type=Path), help="The model file to write (default NAME.onnx here).")
@click.option("--calibrate", metavar="DATA", help="Labelled pictures to fit the temperature and the threshold on.")
@data_dir_option
@offline_option
@click.option(
    "--golden", type=click.Path(path_type=Path), help="Folder of pictures to keep in the file, to replay anywhere."
)
def import_(
    file: Path,
    labels: Path | None,
    preprocess: str | None,
    network: str | None,
    network_arg: tuple[str, ...],
    image_size: int | None,
    fit: str | None,
    out: Path | None,
    calibrate: str | None,
    data_dir: Path | None,
    offline: bool,
    golden: Path | None,
) -> None:
    """Make a model file of FILE, a classifier from elsewhere: the same answers, checked on pictures.

    FILE is a Keras .keras or .h5, a TensorFlow Lite .tflite, an .onnx, PyTorch weights (.pt, .pth, .safetensors) with
    --network, a program of torch.export (.pt2), a Teachable Machine .zip, or a Hugging Face folder. Nothing in it is
    ever executed.
    """
    from whatsit import sources
    from whatsit.importers.said import Said
    from whatsit.wishes import network_arguments

    out = _place(file, out)
    with reporter() as report:
        said = Said(
            labels=_labels(labels, report),
            preprocess=preprocess,
            network=network,
            network_args=network_arguments(network_arg),
            image_size=image_size,
            fit=fit,  # type: ignore[arg-type]  # click has checked it
        )
        said.check()
        labelled = None
        if calibrate is not None:
            labelled = sources.open_data(calibrate, data_dir=data_dir, offline=offline, on_event=report)
        _import(file, said, out, labelled, golden, report)


def _import(
    file: Path,
    said: Said,
    out: Path,
    labelled: Dataset | None,
    golden: Path | None,
    report: OnEvent,
) -> None:
    from whatsit.events import Finished
    from whatsit.importers import choosing

    brought = choosing.bring(file, said, report)
    from whatsit.importers import calibrating, finish

    if labelled is not None:
        brought = calibrating.calibrated(brought, labelled, report)
    finish.write(brought, out, golden, report)
    report(Finished(f"{out} holds the model; try it: whatsit predict -m {out} PICTURES"))


def _labels(path: Path | None, report: OnEvent) -> tuple[str, ...] | None:
    if path is None:
        return None
    from whatsit.importers.labels import read_labels

    return read_labels(path, report)


def _place(file: Path, out: Path | None) -> Path:
    """Where the model file goes. Refuses, before any work, what cannot or should not be written to."""
    from whatsit import storage

    place = Path(f"{file.resolve().stem}.onnx") if out is None else out
    if place.is_dir():
        raise storage.cannot_write(place, IsADirectoryError(21, "it is a folder", str(place)))
    if place.exists() and (out is None or (file.exists() and place.samefile(file))):
        raise OptionError(
            f"cannot write '{place}'",
            value="the file to import" if file.exists() and place.samefile(file) else "a file that is there already",
            accepted="another place",
            hint="Say where with --out, for instance --out imported.onnx.",
        )
    storage.check_writable(place.parent)
    return place
