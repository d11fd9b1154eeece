"""whatsit train, whatsit demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from whatsit.apps.cli.data import data_dir_option
from whatsit.apps.cli.main import STARTED
from whatsit.apps.cli.terminal import Lines, reporter
from whatsit.errors import OptionError, TargetMissedError
from whatsit.wishes import Kept, Optimizer, Preset, network_arguments

if TYPE_CHECKING:
    from whatsit.pipeline import Trained


class _Rate(click.ParamType[Any]):
    """A number, or 'auto'."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto":
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'auto'", param, ctx)


_CURRENT = "."  # what a bare --resume means: the run named by --out


@click.command()
@click.argument("data", required=False)
@click.option(
    "--model",
    help="A pretrained network by name ('whatsit models' lists them), or one of our own, which learn from scratch: "
    "compact, small, tutorial_cnn. Default: mobilenet_v2; for pictures up to 64 pixels compact, or small with "
    "options that compact has no use for, such as --framework keras, --lr and --augment.",
)
@click.option(
    "--recipe",
    type=click.Choice(get_args(Preset)),
    help="A whole set of choices: fast (the default for pictures up to 64 pixels; minutes) and accurate (a larger "
    "network; hours without a GPU) learn small pictures from scratch; tutorial and tutorial_vgg16 have the network, "
    "optimiser, rate and epochs of the CIFAR-10 and the VGG16 tutorial.",
)
@click.option("--framework", type=click.Choice(["torch", "keras"]), help="What trains: PyTorch (default) or Keras.")
@click.option("--network-arg", "network_arg", multiple=True, metavar="NAME=VALUE", help="Argument for the network.")
@click.option(
    "--weights",
    metavar="FILE|none",
    help="Pretrained weights from a file instead of the published ones; 'none' for random ones.",
)
@click.option(
    "--preprocess",
    metavar="imagenet|-1..1|0..1|0..255",
    help="How pictures were scaled for those weights, where no description beside the file says so.",
)
@click.option("--fit", type=click.Choice(["pad", "crop", "squash"]), help="How a picture is brought to a square.")
@click.option("--image-size", "--imgsz", type=int, help="Pixels a side that the network sees.")
@click.option("--epochs", type=int, help="Passes over the training pictures.")
@click.option("--batch-size", "-b", type=int, help="Pictures per step.")
@click.option("--lr", metavar="RATE|auto", type=_Rate(), help="Largest learning rate; 'auto' tests for a good one.")
@click.option(
    "--optimizer",
    type=click.Choice(get_args(Optimizer)),
    help="AdamW (default), Adam, SGD with momentum, RMSprop. The compact network's recipes bring their own.",
)
@click.option(
    "--finetune",
    metavar="no|last|all|N",
    help="How much of a pretrained network learns once a last layer was fitted: nothing (default), its last quarter, "
    "all of it, or its last N layers.",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "light", "medium", "strong"]),
    help="How much training pictures are varied (default medium; the recipes for small pictures have their own way).",
)
@click.option("--mirror/--no-mirror", default=None, help="Mirror training pictures at random.")
@click.option(
    "--mixup", type=float, metavar="ALPHA", help="Blend pairs of training pictures, 0.2 for instance; 0 is off."
)
@click.option(
    "--ema",
    type=float,
    metavar="DECAY",
    help="Decay of the weights' running average (default 0.99, in the recipes by name 0); 0 is off.",
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Time for training, such as 90s, 5m or 1.5h; sets the number of epochs, at least one from scratch, and of "
    "fine-tuning as many as fit. Reading and judging come on top.",
)
@click.option(
    "--target",
    type=float,
    metavar="ACCURACY",
    help="Accuracy to reach, such as 0.9: fast chooses its length by it, training ends once "
    "validation is a standard error above it, and the exit code is 3 if the test pictures miss it.",
)
@click.option("--seed", type=int, help="Same seed, same machine, same result (default 0).")
@click.option("--device", help="cpu, cuda or auto (default).")
@click.option("--offline", is_flag=True, help="Connect to nothing: take weights and data sets only from this machine.")
@data_dir_option
@click.option("--classes", metavar="A,B,...", help="The classes in this order, instead of alphabetically.")
@click.option(
    "--promise",
    type=float,
    metavar="ACCURACY",
    help="Share of answers on validation that must be right, such as 0.99 (default 0.95): scores too low for that are "
    "answered 'not sure'.",
)
@click.option(
    "--golden",
    type=click.Choice(get_args(Kept)),
    help="Pictures kept in the file, for 'whatsit verify': a test picture of each class, ten at most (default), parts "
    "of two photos that come with scikit-learn instead, or none.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the run (default runs/NAME, or runs/NAME-2 and so on where that is taken).",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value=_CURRENT,
    metavar="[RUN]",
    help="Go on with the run in this folder, or in --out, after Ctrl-C or a crash, to the same result.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the result on the last line of stdout.")
def train(data: str | None, **options: Any) -> None:
    """Train a classifier on DATA and leave it, judged, in one file.

    DATA is a folder with one folder of pictures per class; or such folders inside train, val and test; or a CSV with
    path,label[,split][,group]; or a data set by name: 'digits', 1,797 handwritten digits to try things on; 'cifar10',
    'cifar100', 'mnist' or 'fashion_mnist', fetched once from their authors, or taken from --data-dir.

    Ctrl-C ends the training with the best network so far, saved and judged.
    """
    as_json = options.pop("as_json")
    data, out, resume = _what_to_resume(data, options.pop("out"), options.pop("resume"))
    with reporter() as report:
        trained = _train(data, out, resume, options, report)
    _print_result(trained)
    if as_json:
        click.echo(json.dumps(result(trained)))
    _refuse_missed_target(trained)


@click.command()
@click.option("--page/--no-page", default=True, help="Open a page on the classifier afterwards (default).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the page listens on.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port of the page; 0 takes any free one.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the run (default runs/digits).")
def demo(page: bool, host: str, port: int, out: Path | None) -> None:
    """Train on 1,797 handwritten digits, say how good it is, and open a page to try it on."""
    from whatsit.apps import ports
    from whatsit.apps.cli.page import open_page, refuse_missing_page
    from whatsit.runtime import OpenModel

    if page:
        refuse_missing_page()
        ports.refuse_in_use(host, port)
    click.echo("Training on scikit-learn's handwritten digits, 8x8 pixels each.", err=True)
    with reporter(verbose=False) as report:
        trained = _train("digits", out, False, {}, report)
    _print_result(trained)
    if page:
        open_page(OpenModel(trained.model), host, port)


def result(trained: Trained) -> dict[str, Any]:
    """What --json prints."""
    report = trained.report
    return {
        "test_accuracy": report.accuracy,
        "interval": [report.interval.low, report.interval.high],
        "n": report.n,
        "baseline": report.baseline,
        "seconds": round(trained.seconds, 3),
        "model": str(trained.model),
        "report": str(trained.folder / "report.html"),
        "classes": list(report.labels),
        "unreadable": trained.unreadable,
        "epochs": trained.epochs,
        "stopped": trained.stopped,
        "target": trained.target,
        "temperature": trained.calibration.temperature,
        "ece_before": trained.calibration.ece_before,
        "ece_after": trained.calibration.ece_after,
        "threshold": trained.calibration.threshold,
        "coverage": trained.calibration.coverage,
    }


def _refuse_missed_target(trained: Trained) -> None:
    """A script that asked for an accuracy must be able to tell."""
    if trained.missed_by:
        raise TargetMissedError(
            "the target was not reached",
            value=f"a test accuracy of {trained.report.accuracy:.2%}, {100 * trained.missed_by:.2f} points below it",
            accepted=f"at least {trained.target:.2%}",
            hint=f"The model is kept. {_more(trained)}",
        )


def _more(trained: Trained) -> str:
    if trained.stopped == "interrupted":
        return f"Go on with it: whatsit train --resume {trained.folder}"
    if trained.stopped == "target":
        return "Validation had it: ask for a little more than you need."
    if not trained.epochs:
        return "Let the whole network learn: --finetune all, or for some time: --budget 10m"
    if trained.stopped is None:
        return f"A longer training may get there: --epochs {2 * trained.epochs}, without --budget"
    return "More pictures, or a longer training, may get there."


def _train(data: str | None, out: Path | None, resume: bool, options: dict[str, Any], report: Lines) -> Trained:
    from whatsit.estimator import train as run

    classes = options.pop("classes", None)
    arguments = network_arguments(options.pop("network_arg", ()))
    return run(
        data,
        **options,
        network_args=arguments,
        classes=classes.split(",") if classes else None,
        out=out,
        resume=resume,
        on_event=report,
        started=STARTED,
    )


def _what_to_resume(data: str | None, out: Path | None, resume: str | None) -> tuple[str | None, Path | None, bool]:
    """--resume takes the run's folder, or stands alone beside --out: `train DATA --out RUN --resume`."""
    if resume is None:
        return data, out, False
    if out is not None and resume != _CURRENT and data is None:
        data, resume = resume, _CURRENT  # `train --resume DATA --out RUN`: the option took the argument's place
    folder = out if resume == _CURRENT else Path(resume)
    if folder is None:
        raise OptionError(
            "cannot tell which run to resume",
            value="--resume without a folder",
            accepted="the folder of a run",
            hint="For instance: whatsit train --resume runs/digits",
        )
    if data is None and not (folder / "recipe.toml").exists():
        raise OptionError(
            f"cannot resume '{folder}'",
            value="a folder without recipe.toml" if folder.exists() else "no such folder",
            accepted="the folder of a run",
            hint="List the runs with 'ls runs', or start one: whatsit train PHOTOS/",
        )
    return data, folder, True


def _print_result(trained: Trained) -> None:
    report, calibration = trained.report, trained.calibration
    click.echo(
        f"Test accuracy {report.accuracy:.1%} (95 % interval {report.interval.low:.1%} to {report.interval.high:.1%}) "
        f"on {report.n:,} pictures it had never seen; always answering '{report.baseline_label}' gives "
        f"{report.baseline:.1%}."
    )
    click.echo(f"Calibration error {calibration.ece_before:.3f} before, {calibration.ece_after:.3f} after.")
    if trained.stopped == "target":
        click.echo(f"Training ended after {trained.epochs} epochs, with the target reached on validation.")
    elif trained.stopped:
        click.echo(
            f"Training ended early ({trained.stopped}) after {trained.epochs} epochs; the best network was kept."
        )
    if trained.unreadable:
        pictures = (
            "1 unreadable picture was" if trained.unreadable == 1 else f"{trained.unreadable} unreadable pictures were"
        )
        click.echo(f"{pictures} left out; the report names them.")
    click.echo(f"Model   {trained.model}")
    click.echo(f"Report  {trained.folder / 'report.html'}")
    click.echo(f"Try it  whatsit serve -m {trained.model}")
