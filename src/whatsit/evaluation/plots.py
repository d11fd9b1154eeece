"""Learning curves and the reliability diagram: the only home of matplotlib.

The SVG strings are meant to stand inside a page: text and axes take the colour and the font of what surrounds them,
so that they can be read on a light and on a dark ground.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from whatsit.errors import MissingExtraError
from whatsit.evaluation.report import Judged, Report, percent, wilson_interval
from whatsit.events import EpochEnded

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_INK = "#5b5d5f"  # stands for the surrounding text colour in SVG
_TRAIN, _VALIDATION = "#d9730d", "#2f86d6"  # told apart by colour-blind eyes, on light and on dark
_RIGHT, _WRONG = "#1a7f37", "#c62828"
_MOST_POINTS = 200  # more cannot be told apart at this size
_SMALL = 200  # pixels; a picture takes about 250 in a grid
_TITLE = 26  # letters that fit above one
_BINS = 15  # as in the expected calibration error


class Bin(NamedTuple):
    """The pictures whose scores fall into one stretch: where, how sure on average, how many, how many right."""

    low: float
    high: float
    score: float
    n: int
    right: int


def learning_curves(history: Sequence[EpochEnded]) -> str:
    """Loss, accuracy and learning rate per epoch as one SVG element."""
    with _style("curves"):
        return _svg(_curves(history), "Loss, accuracy and learning rate of every epoch")


def learning_curves_png(history: Sequence[EpochEnded], path: Path) -> None:
    """The same as a PNG file on white."""
    with _style("curves"):
        _curves(history).savefig(path, format="png", dpi=150, facecolor="white")


class Shown(NamedTuple):
    """A picture `uint8 [H, W, 3]` with what is said about it; `right` is None where the truth is not known."""

    picture: NDArray[np.uint8]
    title: str
    right: bool | None = None


def answered(picture: NDArray[np.uint8], label: str, score: float, actual: str) -> Shown:
    """A picture with the label and score that a model gives it, and the right label below."""
    return Shown(picture, f"{label} ({percent(score, 0)})\nis {actual}", label == actual)


def picture_grid(shown: Sequence[Shown], columns: int = 4) -> Figure:
    """Pictures with their titles, green where the answer is right and red where it is wrong, as a figure on white."""
    with _style("pictures"):
        from matplotlib.figure import Figure

        columns = min(columns, len(shown))
        rows = math.ceil(len(shown) / columns)
        figure = Figure(figsize=(2.6 * columns, 2.9 * rows), facecolor="white")
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)  # inches
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (picture, title, right) in zip(grid.flat, shown, strict=False):
            # What is enlarged is smoothed: squares hide what a picture of 32x32 shows.
            axes.imshow(picture, interpolation="lanczos" if max(picture.shape[:2]) < _SMALL else None)
            ink = _INK if right is None else _RIGHT if right else _WRONG
            axes.set_title(_wrapped(title), color=ink, parse_math=False)  # a label may hold dollar signs
        return figure


def _wrapped(title: str) -> str:
    """Lines no longer than the picture below is wide."""
    return "\n".join(textwrap.fill(line, _TITLE) for line in title.splitlines())


def rate_test_png(rates: Sequence[float], losses: Sequence[float], chosen: float, path: Path) -> None:
    """The training loss at each learning rate of a range test, with the rate that was chosen, as a PNG on white."""
    with _style("rates"):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(rates, losses, color=_TRAIN)
        axes.axvline(chosen, color=_VALIDATION, linestyle="--", label=f"chosen: {chosen:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.legend()
        figure.savefig(path, format="png", dpi=150, facecolor="white")


def reliability(report: Report) -> str:
    """How often the model is right against how sure it is, as one SVG element."""
    with _style("reliability"):
        return _svg(
            _diagram(score_bins(report.pictures)), "Share of right answers against the score they were given with"
        )


def best_epoch(history: Sequence[EpochEnded]) -> EpochEnded | None:
    """The epoch whose weights were kept. Each epoch that beat all before it is marked, so it is the last of those."""
    return next((epoch for epoch in reversed(history) if epoch.best), None)


def score_bins(pictures: Sequence[Judged], bins: int = _BINS) -> list[Bin]:
    """The equal-width stretches of the score that hold pictures, lowest first; scores that are no numbers left out."""
    places: dict[int, list[Judged]] = {}
    for picture in pictures:
        if math.isfinite(picture.score):
            place = min(max(math.ceil(picture.score * bins) - 1, 0), bins - 1)
            places.setdefault(place, []).append(picture)
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            sum(p.score for p in held) / len(held),
            len(held),
            sum(p.right for p in held),
        )
        for place, held in sorted(places.items())
    ]


def _curves(history: Sequence[EpochEnded]) -> Figure:
    figure = _figure(5.0, 5.6)
    if not history:
        figure.text(0.5, 0.5, "no epochs", ha="center")
        return figure
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [3, 3, 1]})
    epochs = _thinned(history)
    x = [epoch.epoch for epoch in epochs]
    marker = "o" if len(x) <= 15 else ""
    for axes, train, validation in (
        (loss, [e.train_loss for e in epochs], [e.validation_loss for e in epochs]),
        (accuracy, [e.train_accuracy for e in epochs], [e.validation_accuracy for e in epochs]),
    ):
        axes.plot(x, _finite(train), color=_TRAIN, linestyle="--", marker=marker, label="training")
        axes.plot(x, _finite(validation), color=_VALIDATION, marker=marker, label="validation")
        if not any(map(math.isfinite, [*train, *validation])):
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no finite numbers", ha="center", transform=axes.transAxes)
    _draw_rate(rate, x, [e.learning_rate for e in epochs], marker)
    _label_curves(loss, accuracy, rate, x)
    _mark_best(best_epoch(history), loss, accuracy)
    return figure


def _label_curves(loss: Axes, accuracy: Axes, rate: Axes, x: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    loss.set_ylabel("loss (nats)")
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    rate.set_ylabel("learning\nrate")
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    loss.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    if len(x) == 1:
        rate.set_xlim(x[0] - 1, x[0] + 1)
        rate.set_xticks(x)


def _draw_rate(axes: Axes, x: Sequence[int], rates: Sequence[float], marker: str) -> None:
    """With nothing on its low axis but zero and the highest rate."""
    axes.plot(x, _finite(rates), color=_INK, linewidth=1.2, marker=marker)
    ticks = sorted({0.0, max((rate for rate in rates if math.isfinite(rate)), default=0.0)})
    axes.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.set_ylim(bottom=0)


def _mark_best(best: EpochEnded | None, loss: Axes, accuracy: Axes) -> None:
    if best is None:
        return
    for axes, value in ((loss, best.validation_loss), (accuracy, best.validation_accuracy)):
        axes.axvline(best.epoch, color=_INK, linewidth=0.9, linestyle=":")
        if math.isfinite(value):
            axes.plot([best.epoch], [value], color=_VALIDATION, marker="D", markersize=6, markeredgecolor=_INK)
    loss.set_title(f"◆ best: epoch {best.epoch}", loc="left")


def _diagram(bins: Sequence[Bin]) -> Figure:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = _figure(5.0, 5.0)
    accuracy, count = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    accuracy.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", label="as sure as right")
    if bins:
        _draw_bins(accuracy, bins)
        count.bar(
            [b.low for b in bins], [b.n for b in bins], [b.high - b.low for b in bins],
            align="edge", color=_VALIDATION, alpha=0.65, edgecolor=_INK, linewidth=0.5,
        )  # fmt: skip
    accuracy.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that was right")
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    accuracy.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    count.set(xlabel="score the answer was given with", ylabel="pictures")
    count.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    count.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def _draw_bins(axes: Axes, bins: Sequence[Bin]) -> None:
    shares = [b.right / b.n for b in bins]
    intervals = [wilson_interval(b.right, b.n) for b in bins]
    below = [max(share - interval.low, 0.0) for share, interval in zip(shares, intervals, strict=True)]
    above = [max(interval.high - share, 0.0) for share, interval in zip(shares, intervals, strict=True)]
    axes.errorbar(
        [b.score for b in bins], shares, yerr=[below, above], color=_VALIDATION, ecolor=_VALIDATION,
        marker="o", markersize=5, linestyle="", elinewidth=1, capsize=2.5, clip_on=False,
        label="test pictures, 95 % interval",
    )  # fmt: skip


def _thinned(history: Sequence[EpochEnded]) -> list[EpochEnded]:
    """At most `_MOST_POINTS` epochs, evenly spread, the first and the last among them."""
    if len(history) <= _MOST_POINTS:
        return list(history)
    step = (len(history) - 1) / (_MOST_POINTS - 1)
    return [history[round(i * step)] for i in range(_MOST_POINTS)]


def _finite(values: Sequence[float]) -> list[float]:
    """Infinite losses become gaps, as NaN ones are; they would leave the axis without limits."""
    return [value if math.isfinite(value) else math.nan for value in values]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """Matplotlib's settings while one figure is drawn. The salt makes the ids in the SVG the same on every run."""
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingExtraError("draw plots", module="matplotlib", extra="train") from error

    with rc_context({
        "svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
        "text.color": _INK, "xtick.color": _INK, "ytick.color": _INK,
        "figure.facecolor": "none", "axes.facecolor": "none", "axes.edgecolor": _INK, "axes.labelcolor": _INK,
        "axes.grid": True, "grid.color": _INK, "grid.alpha": 0.2,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
        "legend.frameon": False, "lines.linewidth": 1.7, "lines.markersize": 3.5,
    }):  # fmt: skip
        yield


def _svg(figure: Figure, label: str) -> str:
    """The figure as an element that can stand in a page beside others."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # two plots of a page would share these ids
    svg = re.sub(r'font-family: [^;"]*', "font-family: system-ui, sans-serif", svg)
    svg = svg.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace(_INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" stroke-linejoin="round"', 1)
