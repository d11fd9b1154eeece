"""The page in a real browser, served by the real command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from tiny_model import plain, write_tiny_model

import whatsit

pytest.importorskip("gradio", reason="gradio is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = "<script>document.title='broken out'</script> {{value}} ${1+1}"
LABELS = ("red", "green", HOSTILE)
SECONDS = 20


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in its own process, and the address it tells."""
    command = [sys.executable, "-m", "whatsit", "serve", "-m", str(model), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parents[1])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            told = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", line)
            assert told, line
            yield process, told[1]
            process.terminate()
            process.wait(SECONDS)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", LABELS, threshold=0.8)


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with serving(model) as (_, told):
        yield told


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """The page at a desktop's width. No request may go to another host, and no script of the page may fail."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    view = context.new_page()
    view.set_default_timeout(SECONDS * 1000)
    asked: list[str] = []
    failed: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: failed.append(str(error)))
    view.goto(address)
    view.locator("#examples button").first.wait_for()
    yield view
    context.close()
    assert {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob")} == {
        urlsplit(address).netloc
    }
    assert failed == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    Image.fromarray(plain((255, 0, 0), (60, 90))).save(tmp_path / "red.png")
    Image.fromarray(plain((0, 0, 255), (60, 90))).save(tmp_path / "blue.tif")
    noise = np.random.default_rng(0).integers(0, 256, (2000, 1500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg")
    (tmp_path / "broken.jpg").write_text("hello")
    return tmp_path


def upload(view: Any, file: Path) -> None:
    chooser = view.locator("#picture input[type=file]")
    if not chooser.count():
        view.get_by_label("Upload file").click()
    chooser.set_input_files(file)


def headline(view: Any, text: str) -> None:
    playwright.expect(view.locator(".headline")).to_contain_text(text, timeout=SECONDS * 1000)


def shown_size(view: Any) -> list[int]:
    picture = view.locator("#picture img")
    picture.wait_for()
    view.wait_for_function("document.querySelector('#picture img')?.naturalWidth > 0")
    return [int(side) for side in picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")]


def test_an_uploaded_picture_gets_its_label(visit: Any, pictures: Path) -> None:
    upload(visit, pictures / "red.png")
    headline(visit, "red 96.5")
    assert visit.locator("table.bars tr").count() == 3
    assert "red.png, " in visit.locator("#answer").inner_text()
    assert shown_size(visit) == [90, 60]


def test_a_clicked_example_gets_its_golden_label_and_is_shown_large(visit: Any) -> None:
    assert visit.locator("#examples button").count() == 3
    visit.locator("#examples button").nth(1).click()
    headline(visit, "green 96.5")
    assert "colours/1, labelled “green”" in visit.locator("#answer").inner_text()
    assert shown_size(visit) == [400, 400]


def test_labels_stand_on_the_page_literally(visit: Any) -> None:
    visit.locator("#examples button").nth(2).click()
    headline(visit, HOSTILE)
    assert HOSTILE in visit.locator("h1 + p").inner_text()
    assert visit.title() == "whatsit: colours"


def test_an_unreadable_picture_gets_its_reason_and_the_page_lives_on(visit: Any, pictures: Path) -> None:
    upload(visit, pictures / "broken.jpg")
    headline(visit, "This picture cannot be read (not a picture: it starts with b'hello')")
    upload(visit, pictures / "red.png")
    headline(visit, "red")
    upload(visit, pictures / "noise.jpg")
    headline(visit, "Not sure - perhaps ")
    assert "Answers need a score of 80.0" in visit.locator("#answer").inner_text()


def test_a_picture_that_browsers_cannot_show_is_shown_all_the_same(visit: Any, pictures: Path) -> None:
    upload(visit, pictures / "blue.tif")
    headline(visit, HOSTILE)
    assert shown_size(visit) == [90, 60]


def test_clearing_the_picture_clears_the_answer(visit: Any) -> None:
    visit.locator("#examples button").first.click()
    headline(visit, "red")
    visit.get_by_label("Remove Image").click()
    playwright.expect(visit.locator("#answer")).to_contain_text("Drop a picture or click an example")


def test_a_picture_can_be_pasted(visit: Any, address: str) -> None:
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    visit.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 90, height: 60});
            const drawing = canvas.getContext("2d");
            drawing.fillStyle = "#0f0";
            drawing.fillRect(0, 0, 90, 60);
            const png = await new Promise(done => canvas.toBlob(done, "image/png"));
            await navigator.clipboard.write([new ClipboardItem({"image/png": png})]);
        }"""
    )
    visit.get_by_label("Paste from clipboard").click()
    headline(visit, "green")
    visit.wait_for_timeout(300)  # pasting clears the picture first; that must not come in late
    headline(visit, "green")


def test_about_says_what_the_file_says(visit: Any) -> None:
    visit.get_by_text("About this classifier").click()
    about = visit.locator("table.about")
    playwright.expect(about).to_be_visible()
    assert "180 train, 60 validation and 60 test pictures" in about.inner_text()
    assert visit.locator("footer a, footer button").count() == 0


def test_a_phone_shows_everything_without_scrolling_sideways(visit: Any, pictures: Path) -> None:
    visit.set_viewport_size({"width": 390, "height": 844})
    upload(visit, pictures / "noise.jpg")
    headline(visit, "Not sure")
    visit.get_by_text("About this classifier").click()
    playwright.expect(visit.locator("table.about")).to_be_visible()
    assert visit.evaluate("document.documentElement.scrollWidth") <= 390
    for part in ("#picture", "#answer", "table.bars", "#examples", "table.about"):
        box = visit.locator(part).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390, part


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_while_someone_is_looking(
    browser: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(model) as (process, told):
        view = browser.new_page()
        view.goto(told)
        view.locator("#examples button").first.click()
        headline(view, "red")
        assert [name.partition("-")[0] for name in left_in(tmp_path)] == ["whatsit"]
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
        view.close()
    assert (out, err, process.returncode) == ("", "", 0)
    assert left_in(tmp_path) == []


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
