from __future__ import annotations

import base64
import hashlib
import math
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from whatsit.dataset import Unreadable
from whatsit.doctor import Finding
from whatsit.errors import MissingExtraError
from whatsit.evaluation import Calibration, Report, judge
from whatsit.evaluation.page import (
    CAPS,
    RunFacts,
    class_rows,
    confusion_shapes,
    count_rows,
    data_uri,
    duration,
    flat,
    percent,
    promise,
    render,
    short,
    spread,
    verdict,
)
from whatsit.events import Decision, EpochEnded
from whatsit.training.engine import Stopped

JPEG, PNG = b"\xff\xd8\xff\xe0 jpeg", b"\x89PNG\r\n\x1a\n png"
VOID = {"meta", "img"}
BLOCKS = {"p", "div", "td", "th", "dt", "dd", "li", "h2", "h3", "button", "summary", "text"}
CALIBRATION = Calibration(temperature=1.25, ece_before=0.083, ece_after=0.021, threshold=0.6, coverage=0.9)
EVIL = '<script>alert("x")</script>&\'"'


def plain(text: str) -> str:
    """With every space, the unbreakable ones too, as one common space."""
    return " ".join(text.split())


class Page(HTMLParser):
    """The page as elements: (tag, attributes, text inside), and whether its tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element: tuple[str, dict[str, str], list[str]] = (tag, {key: value or "" for key, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        if tag in BLOCKS:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element[2].append(data)

    def all(self, tag: str, css: str | None = None, within: str | None = None) -> list[tuple[dict[str, str], str]]:
        """Attributes and text of each such element; of those in the section with the id `within`."""
        found = []
        section = ""
        for name, attributes, texts in self.elements:
            section = attributes.get("id", "") if name == "section" else section
            fits = name == tag and (css is None or css in attributes.get("class", "").split())
            if fits and within in (None, section):
                found.append((attributes, plain("".join(texts))))
        return found

    def section(self, name: str) -> str:
        return next(text for attributes, text in self.all("section") if attributes["id"] == name)


def measured(
    n: int = 120,
    classes: int = 3,
    *,
    labels: Sequence[str] | None = None,
    sure: float = 3.0,
    threshold: float | None = 0.6,
) -> Report:
    random = np.random.default_rng(3)
    labels = labels or [f"class {i}" for i in range(classes)]
    targets = random.integers(0, len(labels), n)
    logits = random.normal(size=(n, len(labels)))
    logits[np.arange(n), targets] += sure
    odds = np.exp(logits)
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    names = [f"{labels[target]}/{i}.jpg" for i, target in enumerate(targets)]
    return judge(probabilities, targets, names, labels, threshold)


def epoch(number: int, best: bool = False, loss: float = 0.5) -> EpochEnded:
    return EpochEnded(number, 5, loss, 0.8, loss, 0.7 + number / 100, 1e-3, 2.0, best)


FACTS = RunFacts(
    title="snacks",
    created="2026-01-31",
    command="whatsit train photos/",
    data_name="photos",
    fingerprint="0123abcd" * 8,
    counts={"train": {"beer": 1200, "wings": 80}, "validation": {"beer": 15, "wings": 9}, "test": {"wings": 10}},
    unreadable=[Unreadable("beer/broken.jpg", "beer", "cut off after 3,112 bytes")],
    findings=[Finding("copies", "note", "2 pairs of copies", "Delete them.", ("a.jpg = b.jpg",))],
    decisions=[Decision("20 epochs", "the set is small")],
    recipe={"model": "tiny_cnn", "optimizer": {"name": "adamw", "betas": (0.9, 0.999)}, "mixup": None, "flip": True},
    network_table="conv1  [32, 28, 28]  896",
    total_parameters=4_214_000,
    trainable_parameters=1_001,
    history=[epoch(1, best=True), epoch(2, best=True), epoch(3)],
    calibration=CALIBRATION,
    seconds=412.3,
    stopped="early stopping",
    software={"torch": "2.15.0"},
)


def made(
    report: Report | None = None, facts: RunFacts = FACTS, picture: Callable[[str], bytes | None] = lambda _: JPEG
) -> str:
    return render(report or measured(), facts, picture)


@pytest.fixture(scope="module")
def html() -> str:
    return made()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_headline_says_how_good_on_what_and_against_what(page: Page) -> None:
    report, headline = measured(), page.section("headline")
    assert headline.startswith(plain(percent(report.accuracy)))
    assert "120 test pictures never used in training" in headline
    assert f"({report.correct} of 120)" in headline
    assert plain(f"between {percent(report.interval.low)} and {percent(report.interval.high)}.") in headline
    assert f"Always answering “{report.baseline_label}”" in headline
    assert plain(f"would be right {percent(report.baseline)} of the time. {verdict(report)}") in headline
    assert plain(promise(report, CALIBRATION)) in headline
    assert f"test loss (nats) {report.loss:.3f}" in headline


def test_the_page_opens_offline(html: str, page: Page) -> None:
    for tag, attributes, _ in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "video", "audio", "source"}
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, name)
        assert not any(name.startswith("on") for name in attributes)
    assert re.findall(r"url\((?!#)", html) == []
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\"'<> ]*", html)) <= {"http://www.w3.org/2000/svg"}


def test_only_the_script_of_the_page_may_run(html: str, page: Page) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


@pytest.mark.browser
def test_columns_sort_in_a_browser_that_loads_nothing_and_complains_of_nothing(html: str, tmp_path: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("Chromium is absent")
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    with sync.sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium) as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
        page.goto((tmp_path / "report.html").as_uri())
        recalls = "rows => rows.map(row => Number(row.cells[2].dataset.value))"
        page.click("table.sortable th:nth-child(3) button")
        rising = page.eval_on_selector_all("table.sortable tbody tr", recalls)
        page.click("table.sortable th:nth-child(3) button")
        falling = page.eval_on_selector_all("table.sortable tbody tr", recalls)
        width = page.evaluate("document.documentElement.scrollWidth")
    assert rising == sorted(score.recall for score in measured().per_class)
    assert falling == rising[::-1]
    assert said == []
    assert asked.count("file") == 1
    assert set(asked) <= {"file", "data"}
    assert width == 400


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"].removeprefix("#") for attributes, _ in page.all("a")}
    assert len(targets) >= 8
    assert targets <= set(ids)


def test_the_data_are_counted_by_part_and_class(page: Page) -> None:
    totals, beer, wings = page.all("tr", within="data")[1], *page.all("tr", within="data")[3:5]
    assert totals[1] == "pictures 1,280 24 10 1,314"
    assert beer[1] == "beer 1,200 15 0 1,215"
    assert wings[1] == "wings 80 9 10 99"


def test_unreadable_pictures_findings_and_decisions_are_told_with_their_reasons(page: Page) -> None:
    data = page.section("data")
    assert "1 picture could not be read and was left out" in data
    assert "beer/broken.jpg (beer): cut off after 3,112 bytes" in data
    assert "Note: 2 pairs of copies. Delete them." in data
    assert "a.jpg = b.jpg" in data
    assert FACTS.fingerprint in data
    assert "20 epochs the set is small" in page.section("recipe")


def test_the_finding_about_unreadable_pictures_is_not_told_twice() -> None:
    facts = replace(FACTS, findings=[Finding("unreadable", "warning", "1 picture cannot be read", "Delete it.")])
    assert "1 picture cannot be read" not in Page(made(facts=facts)).section("data")
    assert "1 picture cannot be read" in Page(made(facts=replace(facts, unreadable=[]))).section("data")


def test_the_kept_epoch_is_named(page: Page) -> None:
    learning = page.section("learning")
    assert "The weights of epoch 2 were kept: validation accuracy 72.0 %, loss 0.500." in learning
    assert "3 epochs of 5 planned. It stopped early" in learning


@pytest.mark.parametrize(
    ("stopped", "words"),
    [("interrupted", "interrupted"), ("budget", "time was used up"), ("a cosmic ray", "It ended early: a cosmic ray.")],
)
def test_the_page_says_why_training_ended(stopped: str, words: str) -> None:
    assert words in Page(made(facts=replace(FACTS, stopped=stopped))).section("learning")


@pytest.mark.parametrize("stopped", get_args(Stopped))
def test_every_end_of_a_training_is_told_in_a_sentence(stopped: str) -> None:
    learning = Page(made(facts=replace(FACTS, stopped=stopped))).section("learning")
    assert "It ended early: " not in learning


@pytest.mark.parametrize("classes", [3, 8])
def test_the_confusion_matrix_holds_the_counts(classes: int) -> None:
    report = measured(classes=classes)
    cells = [text for _, text in Page(made(report)).all("td", within="confusion")][1 : classes * classes + 1]
    assert [int(text.split()[0]) for text in cells] == [count for row in report.confusion for count in row]


def test_shading_follows_the_share_of_the_row(page: Page) -> None:
    report = measured()
    cell = page.all("td", "right", within="confusion")[0]
    share = report.confusion[0][0] / sum(report.confusion[0])
    assert cell[0]["style"] == f"--share:{0.12 + 0.88 * share:.2f}"


@pytest.mark.parametrize(("classes", "kind"), [(2, "table"), (25, "table"), (26, "map"), (100, "map"), (101, "none")])
def test_the_confusion_matrix_suits_the_number_of_classes(classes: int, kind: str) -> None:
    page = Page(made(measured(4 * classes, classes)))
    assert len(page.all("table", "matrix")) == (kind == "table")
    assert len(page.all("svg", "map")) == (kind == "map")
    assert ("too many for a matrix" in page.section("confusion")) == (kind == "none")
    assert "Most confused" in page.section("confusion")


def test_the_map_draws_every_count_once_and_deeper_for_a_larger_share() -> None:
    report = measured(600, 30)
    shapes = confusion_shapes(report)
    drawn = sum(path.count("M") for path in shapes.values())
    assert drawn == sum(count > 0 for row in report.confusion for count in row)
    perfect = confusion_shapes(measured(60, 3, sure=50.0))
    assert perfect == {"right8": "M0 0h1v1h-1zM1 1h1v1h-1zM2 2h1v1h-1z"}


def test_the_most_confused_pairs_come_with_their_share() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2, 0]]
    report = judge(probabilities, np.array([0, 0, 0, 1, 2, 2]), list("abcdef"), ["x", "y", "z"])
    rows = [text for _, text in Page(made(report)).all("tr", within="confusion")]
    assert rows[-2:] == ["x y 2 67 %", "z x 1 50 %"]


def test_each_class_has_its_scores_for_reading_and_for_sorting(page: Page) -> None:
    report = measured()
    rows = page.all("tr", within="classes")[1:]
    assert len(rows) == 3
    for (_, text), score in zip(rows, report.per_class, strict=True):
        numbers = [percent(share) for share in (score.precision, score.recall, score.f1)]
        assert text == plain(" ".join([score.label, *numbers, str(score.support)]))
    values = [float(attributes["data-value"]) for attributes, _ in page.all("td", "number", within="classes")]
    assert values[:2] == [report.per_class[0].precision, report.per_class[0].recall]
    assert len(page.all("button", within="classes")) == 5


def test_a_class_without_test_pictures_has_no_recall() -> None:
    report = judge(np.eye(3, dtype=np.float32)[[0, 2]], np.array([0, 0]), ["a", "b"], ["x", "y", "z"])
    x, y, z = class_rows(report)
    assert (x.precision, x.recall) == (1.0, 0.5)
    assert (y.precision, y.recall, y.f1) == (None, None, None)
    assert (z.precision, z.recall, z.f1) == (0.0, None, 0.0)


def test_pictures_are_spread_over_the_classes_and_always_the_same() -> None:
    report = measured(400, 5)
    chosen = spread(report, 24)
    assert len({judged.name for judged in chosen}) == 24
    per_class = [sum(judged.actual == label for judged in chosen) for label in report.labels]
    assert sorted(per_class) == [4, 5, 5, 5, 5]
    backwards = replace(report, pictures=report.pictures[::-1])
    assert spread(backwards, 24) == chosen
    assert [judged.actual for judged in chosen] == sorted(judged.actual for judged in chosen)


def test_with_more_classes_than_places_every_place_has_its_own_class() -> None:
    chosen = spread(measured(2000, 100), 24)
    assert len({judged.actual for judged in chosen}) == 24
    assert max(int(judged.actual.split()[1]) for judged in chosen) > 90


def test_pictures_stand_in_the_page_with_said_and_actual_label(page: Page) -> None:
    tiles = page.all("figure", within="pictures")
    assert len(tiles) == CAPS["tiles"]
    report = measured()
    for (attributes, text), judged in zip(tiles, spread(report, 24), strict=True):
        assert ("right" in attributes["class"].split()) == judged.right
        assert ("✓ right" if judged.right else "✗ wrong") in text
        assert ("? not sure" in text) == judged.unsure
        assert plain(f"said {judged.predicted} {percent(judged.score)}") in text
        assert f"is {judged.actual}" in text
    images = page.all("img", within="pictures")
    assert {attributes["src"] for attributes, _ in images} == {data_uri(JPEG)}


def test_the_worst_mistakes_come_with_their_loss(page: Page) -> None:
    report = measured()
    tiles = page.all("figure", within="mistakes")
    assert 0 < len(tiles) == len(report.worst(CAPS["mistakes"]))
    for (_, text), judged in zip(tiles, report.worst(12), strict=True):
        assert f"loss {judged.loss:.2f}" in text
        assert judged.name in text


def test_each_picture_is_asked_for_once() -> None:
    asked: list[str] = []

    def picture(name: str) -> None:
        asked.append(name)

    made(measured(30), picture=picture)
    assert len(asked) == len(set(asked)) >= 24


def test_a_picture_is_embedded_only_if_it_is_a_thumbnail_of_a_known_kind() -> None:
    assert data_uri(JPEG) == "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    assert str(data_uri(PNG)).startswith("data:image/png;base64,")
    assert data_uri(None) is None
    assert data_uri(b"") is None
    assert data_uri(b"<svg onload=alert(1)>") is None
    assert data_uri(JPEG + bytes(1_000_000)) is None


def test_without_pictures_there_are_placeholders() -> None:
    page = Page(made(picture=lambda _: None))
    assert page.all("img") == []
    assert len(page.all("div", "nothing", within="pictures")) == CAPS["tiles"]


def test_calibration_tells_before_and_after(page: Page) -> None:
    calibration, report = page.section("calibration"), measured()
    assert "uncalibrated 8.3 %" in calibration
    assert "calibrated 2.1 %" in calibration
    assert plain(f"ECE on test, calibrated {percent(report.ece)}") in calibration
    assert "temperature 1.250" in calibration
    assert "threshold for “not sure” 60.0 %" in calibration


def test_the_run_can_be_repeated_from_the_page(page: Page) -> None:
    recipe = page.section("recipe")
    assert "whatsit train photos/" in recipe
    assert "optimizer.name adamw optimizer.betas 0.9, 0.999 mixup – flip yes" in recipe
    assert "4,214,000 parameters, 1,001 of them trained" in recipe
    assert "conv1 [32, 28, 28] 896" in recipe
    assert "torch 2.15.0" in recipe


def test_nothing_the_user_named_becomes_markup() -> None:
    facts = replace(
        FACTS,
        title=EVIL, command=EVIL, data_name=EVIL, fingerprint=EVIL, counts={EVIL: {EVIL: 1}},
        unreadable=[Unreadable(EVIL, EVIL, EVIL)], findings=[Finding(EVIL, "note", EVIL, EVIL, (EVIL,))],
        decisions=[Decision(EVIL, EVIL)], recipe={EVIL: EVIL}, network_table=EVIL, stopped=EVIL, software={EVIL: EVIL},
    )  # fmt: skip
    for classes in (3, 30):
        labels = [f"{EVIL}{i}" for i in range(classes)]
        html = made(measured(200, labels=labels), facts)
        page = Page(html)
        assert html.count("<script") == 1
        assert page.all("title")[0][1].startswith(EVIL)
        assert EVIL in page.section("recipe")
        assert all("alert" not in name for _, attributes, _ in page.elements for name in attributes)


def test_names_of_any_script_and_length_can_be_written_as_a_file() -> None:
    labels = ["日本語", "עברית", "very " * 400, "broken \udcff name"]
    html = made(measured(80, labels=labels))
    written = html.encode("utf-8").decode("utf-8")
    assert "日本語" in written
    assert "עברית" in written
    assert "very " * 60 not in written
    assert "broken ? name" in written


def test_a_run_without_epochs_test_mistakes_or_findings_has_a_page() -> None:
    report = measured(1, 2, sure=50.0, threshold=None)
    facts = replace(
        FACTS,
        history=[], unreadable=[], findings=[], decisions=[], recipe={}, software={}, stopped=None, network_table="",
        calibration=replace(CALIBRATION, threshold=None, coverage=1.0),
    )  # fmt: skip
    page = Page(made(report, facts))
    assert "1 test picture never used" in page.section("headline")
    assert "No threshold gives 95 % right answers" in page.section("headline")
    assert "That is wide" in page.section("headline")
    assert "No epoch was trained" in page.section("learning")
    assert "No mistakes on the test pictures" in page.section("mistakes")
    assert "No test picture was taken for something else" in page.section("confusion")
    assert page.all("svg", within="learning") == []


def test_numbers_that_are_none_leave_a_dash() -> None:
    lost = [replace(judged, score=math.nan, loss=math.nan) for judged in measured().pictures]
    report = replace(measured(), ece=math.nan, pictures=tuple(lost))
    facts = replace(
        FACTS,
        history=[epoch(1, best=True, loss=math.nan), epoch(2, loss=math.inf)],
        calibration=replace(CALIBRATION, ece_before=math.nan),
    )
    page = Page(made(report, facts))
    shown = " ".join(page.section(name) for name in ("learning", "pictures", "mistakes", "calibration"))
    assert not re.search(r"\b(nan|inf)\b", shown, re.IGNORECASE)
    assert "loss –" in page.section("mistakes")
    assert "uncalibrated –" in page.section("calibration")


def test_a_thousand_classes_give_a_small_page_that_says_what_is_left_out() -> None:
    labels = [f"class {i}" for i in range(1000)]
    facts = replace(
        FACTS,
        counts={"train": {label: i + 5 for i, label in enumerate(reversed(labels))}},
        unreadable=[Unreadable(f"{i}.jpg", "class 1", "empty") for i in range(3000)],
        findings=[Finding("copies", "note", "many", "Nothing.", tuple(f"{i}.jpg" for i in range(3000)))],
        history=[epoch(i) for i in range(1, 1001)],
        network_table="\n".join(f"layer {i}" for i in range(3000)),
    )
    report = measured(3000, labels=labels, sure=4.0)
    html = made(report, facts)
    page = Page(html)
    assert len(html.encode()) < 500_000
    assert len(page.all("tr", within="classes")) == CAPS["classes"] + 1
    assert "900 more classes, with a higher F1 or without test pictures, are not shown." in page.section("classes")
    assert "class 999 5 5" in page.section("data")  # the smallest classes are the ones that are shown
    assert "900 more classes, with as many pictures or more, are not shown." in page.section("data")
    assert "2,950 more unreadable pictures are not shown." in page.section("data")
    assert "2,980 more are not shown." in page.section("data")
    assert "900 more epochs, the earlier ones, are not shown." in page.section("learning")
    assert "2,600 more lines are not shown." in page.section("recipe")
    pairs = len(report.most_confused()) - CAPS["pairs"]
    assert f"{pairs:,} more pairs, as frequent or less, are not shown." in page.section("confusion")


def test_the_classes_with_the_lowest_scores_are_the_ones_shown() -> None:
    rows = class_rows(measured(3000, 200))
    scores = [row.f1 for row in rows if row.f1 is not None]
    assert scores == sorted(scores)
    assert [row.f1 for row in rows[: len(scores)]] == scores


def test_rows_of_counts_keep_their_order_where_all_are_shown() -> None:
    assert [row.label for row in count_rows({"train": {"b": 9, "a": 1}, "test": {"c": 2}})] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("low", "accuracy", "baseline", "words"),
    [
        (0.7, 0.8, 0.5, "clearly better"),
        (0.45, 0.6, 0.5, "may be luck"),
        (0.3, 0.5, 0.5, "no better"),
        (0.9, 1.0, 1.0, "says nothing"),
    ],
)
def test_the_verdict_weighs_accuracy_against_the_baseline(
    low: float, accuracy: float, baseline: float, words: str
) -> None:
    report = measured()
    report = replace(report, interval=replace(report.interval, low=low), accuracy=accuracy, baseline=baseline)
    assert words in verdict(report)


def test_the_promise_is_compared_with_what_was_measured() -> None:
    report = replace(measured(), threshold=0.625, coverage=0.8, answered_accuracy=0.97)
    kept = plain(promise(report, CALIBRATION))
    assert kept.startswith("Below a score of 62.5 % the answer is “not sure”.")
    assert "answered 80.0 % of the test pictures, and 97.0 % of these answers were right, as promised" in kept
    missed = plain(promise(replace(report, answered_accuracy=0.94), CALIBRATION))
    assert "less than the 95 % promised" in missed
    exact = plain(promise(replace(report, answered_accuracy=0.94), replace(CALIBRATION, promise=0.975)))
    assert "less than the 97.5 % promised" in exact
    assert "None of the test pictures" in promise(replace(report, coverage=0.0, answered_accuracy=None), CALIBRATION)
    assert "always answers" in promise(replace(report, threshold=None), CALIBRATION)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"), (0.5, "50.0 %"), (1.0, "100.0 %"), (None, "–"), (math.nan, "–"),
        (0.99996, "> 99.9 %"), (0.00001, "< 0.1 %"), (0.9994, "99.9 %"), (0.0006, "0.1 %"),
    ],
)  # fmt: skip
def test_shares_are_not_rounded_to_all_or_nothing(share: float | None, text: str) -> None:
    assert plain(percent(share)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.97, "1 min 0 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (7380, "2 h 3 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert plain(duration(seconds)) == text


def test_long_texts_keep_both_ends() -> None:
    assert short("abcdefghij", 10) == "abcdefghij"
    assert short("abcdefghijk", 10) == "abcde…hijk"
    assert len(short("x" * 500, 7)) == 7


def test_recipes_become_rows() -> None:
    assert flat({"a": {"b": {"c": 0.1 + 0.2}}, "d": [], "e": "", "f": False}) == [
        ("a.b.c", "0.3"), ("d", "–"), ("e", "–"), ("f", "no"),
    ]  # fmt: skip


def test_without_jinja2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'whatsit\[train\]'"):
        made()
