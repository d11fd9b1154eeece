from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from whatsit.errors import MissingExtraError
from whatsit.evaluation import Judged, Report, judge, plots
from whatsit.evaluation.plots import best_epoch, learning_curves, learning_curves_png, reliability, score_bins
from whatsit.events import EpochEnded

SIZE_LIMIT = 60_000


def epoch(number: int, *, of: int = 20, best: bool = False, loss: float | None = None) -> EpochEnded:
    value = 2 / number if loss is None else loss
    return EpochEnded(
        number, of, value, 1 - 1 / (number + 1), value * 1.1, 1 - 1 / (number + 2), 1e-3 / number, 3.0, best
    )


def report(n: int = 300, classes: int = 4) -> Report:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.4] * classes, n).astype(np.float32)
    targets = random.integers(0, classes, n)
    return judge(probabilities, targets, [f"{i}.jpg" for i in range(n)], [f"class {i}" for i in range(classes)])


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.fixture
def history() -> list[EpochEnded]:
    return [epoch(number, best=number in (1, 2, 14)) for number in range(1, 21)]


def test_the_curves_name_what_they_show(history: list[EpochEnded]) -> None:
    shown = " ".join(words(learning_curves(history)))
    for word in ("loss (nats)", "accuracy", "rate", "epoch", "training", "validation", "best: epoch 14"):
        assert word in shown


def test_the_best_epoch_is_the_last_one_marked(history: list[EpochEnded]) -> None:
    assert best_epoch(history) is history[13]
    assert best_epoch([epoch(1)]) is None
    assert best_epoch([]) is None


def test_without_a_best_epoch_none_is_marked() -> None:
    assert not any("best" in word for word in words(learning_curves([epoch(1), epoch(2)])))


def test_every_svg_is_one_element_that_refers_to_nothing_outside(history: list[EpochEnded]) -> None:
    for svg in (learning_curves(history), reliability(report())):
        assert svg.startswith("<svg ")
        assert ET.fromstring(svg).get("role") == "img"
        addresses = re.findall(r"https?://[^\"' )]*", svg)
        assert addresses == ["http://www.w3.org/2000/svg"]  # the name of the language, not a place to load from
        assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', svg))


def test_ink_is_the_colour_of_the_surrounding_text(history: list[EpochEnded]) -> None:
    for svg in (learning_curves(history), reliability(report())):
        assert "currentColor" in svg
        assert not re.search(r"#(000000|ffffff|5b5d5f)", svg)
        texts = [element for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]
        assert texts
        assert all("fill: currentColor" in element.get("style", "") for element in texts)


def test_plots_of_one_page_share_no_id(history: list[EpochEnded]) -> None:
    ids = re.findall(r' id="([^"]*)"', learning_curves(history) + reliability(report()))
    assert ids
    assert len(ids) == len(set(ids))


def test_the_same_numbers_give_the_same_svg(history: list[EpochEnded]) -> None:
    assert learning_curves(history) == learning_curves(list(history))
    assert reliability(report()) == reliability(report())


def test_settings_of_matplotlib_stay_as_they_were(history: list[EpochEnded]) -> None:
    names = set(matplotlib.rcParams) - {"backend"}  # asking for the backend would load pyplot
    before = {name: matplotlib.rcParams[name] for name in names}
    learning_curves(history)
    assert {name: matplotlib.rcParams[name] for name in names} == before


def test_matplotlib_is_loaded_late_and_pyplot_never() -> None:
    code = """
import sys
from whatsit.evaluation import plots
assert "matplotlib" not in sys.modules
plots.learning_curves([])
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    source = Path(plots.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(source)})


@pytest.mark.parametrize("epochs", [0, 1, 2, 15, 200, 3000])
def test_curves_stay_small_for_any_number_of_epochs(epochs: int) -> None:
    random = np.random.default_rng(1)
    history = [epoch(i, of=epochs, best=i == 7, loss=float(random.uniform(0.1, 2))) for i in range(1, epochs + 1)]
    assert 300 < len(learning_curves(history).encode()) < SIZE_LIMIT


def test_no_epochs_say_so() -> None:
    assert words(learning_curves([])) == ["no epochs"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_losses_that_are_no_numbers_are_gaps(loss: float) -> None:
    lost = [epoch(1, loss=loss), epoch(2, loss=loss, best=True)]
    assert "no finite numbers" in words(learning_curves(lost))
    assert "no finite numbers" not in words(learning_curves([epoch(1), *lost]))


def test_the_png_is_white_and_large_enough_to_read(history: list[EpochEnded], tmp_path: Path) -> None:
    from PIL import Image

    learning_curves_png(history, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert min(image.size) >= 600
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_the_rate_is_read_off_its_highest_value(history: list[EpochEnded]) -> None:
    assert "0.001" in words(learning_curves(history))
    assert "3e-05" in words(learning_curves([replace(epoch(1), learning_rate=3e-5)]))


def test_epochs_are_counted_in_round_steps(history: list[EpochEnded]) -> None:
    many = [epoch(number, of=50) for number in range(1, 51)]
    assert {"10", "20", "30", "40", "50"} <= set(words(learning_curves(many)))


def shown(title: str, side: int = 32) -> plots.Shown:
    return plots.Shown(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8), title, True)


def test_an_answer_is_shown_with_its_score_and_the_truth() -> None:
    picture = shown("").picture
    assert plots.answered(picture, "cat", 0.93, "dog")[1:] == ("cat (93 %)\nis dog", False)
    assert plots.answered(picture, "cat", 0.9999, "cat")[1:] == ("cat (> 99 %)\nis cat", True)


def test_small_pictures_are_smoothed_when_they_are_enlarged_and_large_ones_left_to_matplotlib() -> None:
    small, large = plots.picture_grid([shown("a"), shown("b", side=400)]).axes
    assert small.images[0].get_interpolation() == "lanczos"
    assert large.images[0].get_interpolation() != "lanczos"


def test_long_titles_stay_above_their_picture_and_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    figure = plots.picture_grid([shown("one $x \\frac{ $ and " + "many words " * 6), shown("long" * 20)])
    figure.savefig(tmp_path / "grid.png")
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    first, second = (axes.title.get_window_extent(renderer) for axes in figure.axes)
    assert first.x1 < second.x0
    assert first.x0 >= 0
    assert second.x1 <= figure.bbox.width


@pytest.mark.parametrize(("number", "columns"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_pictures_fill_the_width_of_the_figure(number: int, columns: int, tmp_path: Path) -> None:
    figure = plots.picture_grid([shown("a")] * number)
    figure.savefig(tmp_path / "grid.png")
    assert figure.axes[0].get_window_extent().width > 0.85 * figure.bbox.width / columns


def judged(score: float, right: bool) -> Judged:
    return Judged("a.jpg", "cat", "cat" if right else "dog", score, 0.1, unsure=False)


def test_bins_hold_each_picture_once_and_tell_how_many_were_right() -> None:
    bins = score_bins([judged(0.0, False), judged(0.95, True), judged(0.97, False), judged(1.0, True)], bins=10)
    assert [(b.low, b.high, b.n, b.right) for b in bins] == [(0.0, 0.1, 1, 0), (0.9, 1.0, 3, 2)]
    assert bins[1].score == pytest.approx((0.95 + 0.97 + 1.0) / 3)


def test_bins_add_up_to_the_calibration_error_of_the_report() -> None:
    measured = report()
    gaps = sum(abs(b.right - b.score * b.n) for b in score_bins(measured.pictures))
    assert gaps / measured.n == pytest.approx(measured.ece, abs=1e-6)


def test_scores_that_are_no_numbers_are_left_out() -> None:
    assert score_bins([judged(math.nan, True)]) == []


def test_the_diagram_stays_small_and_names_its_axes() -> None:
    svg = reliability(report(5000))
    assert len(svg.encode()) < SIZE_LIMIT
    shown = words(svg)
    assert {"share that was right", "score the answer was given with", "pictures"} <= set(shown)


def test_one_picture_is_enough_for_a_diagram() -> None:
    assert "test pictures, 95 % interval" in words(reliability(report(1)))


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: learning_curves([]), lambda: reliability(report()), lambda: learning_curves_png([], tmp_path)):
        with pytest.raises(MissingExtraError, match=r"pip install 'whatsit\[train\]'"):
            draw()
