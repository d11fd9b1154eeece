"""The page in a real browser, served by the real command."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from page_visitor import png
from PIL import Image
from tiny_model import plain, write_tiny_model

import whatsit
from whatsit import named_models

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
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
HOSTILE = "<script>document.title='broken out'</script> {{value}} ${1+1}"
LABELS = ("red", "green", HOSTILE)
SECONDS = 60  # far more than anything takes: what waits that long has failed


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
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = tuple(f"colour {n}" for n in range(20))
    return write_tiny_model(tmp_path_factory.mktemp("second") / "other.onnx", labels, golden=False)


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("given")


@pytest.fixture(scope="module")
def address(model: Path, feedback: Path) -> Iterator[str]:
    with serving(model, "--feedback", str(feedback)) as (_, told):
        yield told


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        playwright.expect.set_options(timeout=SECONDS * 1000)
        yield chromium
        chromium.close()


@contextmanager
def visiting(browser: Any, address: str, width: int = 1200, height: int = 900) -> Iterator[Any]:
    """The page in a window. No request may go to another host, and no script of the page may fail."""
    context = browser.new_context(viewport={"width": width, "height": height})
    view = context.new_page()
    view.set_default_timeout(SECONDS * 1000)
    asked: list[str] = []
    failed: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: failed.append(str(error)))
    view.goto(address)
    try:
        yield view
    finally:
        context.close()
    assert {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob")} == {
        urlsplit(address).netloc
    }
    assert failed == []


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    with visiting(browser, address) as view:
        view.locator("#examples button").first.wait_for()
        yield view


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
    playwright.expect(view.locator(".headline")).to_contain_text(text)


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
    playwright.expect(visit.locator("#answer")).to_contain_text("the answer appears here")


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


def test_a_picture_can_be_taken_with_the_webcam(visit: Any) -> None:
    """The browser's make-believe camera shows a green ground."""
    visit.get_by_label("Capture from camera").click()
    visit.locator("#picture").get_by_text("Click to Access Webcam").click()
    # Gradio's button is there before the camera runs, and until then does nothing.
    visit.wait_for_function("document.querySelector('#picture video')?.videoWidth > 0")
    visit.locator("#picture").get_by_label("capture photo").click()
    visit.locator(".headline").wait_for()
    assert "image.png, " in visit.locator("#answer").inner_text()
    assert shown_size(visit)[0] >= 320


def test_another_number_of_labels_is_shown_at_once(visit: Any, pictures: Path) -> None:
    assert not visit.locator("#top").is_visible()
    upload(visit, pictures / "red.png")
    headline(visit, "red")
    for number in (1, 2, 3):
        visit.locator("#top input[type=number]").fill(str(number))
        visit.locator("#top input[type=number]").press("Enter")
        playwright.expect(visit.locator("table.bars tr")).to_have_count(number)


def test_a_right_label_is_saved_with_one_click_and_undone(visit: Any, pictures: Path, feedback: Path) -> None:
    assert not visit.locator("#feedback").is_visible()
    upload(visit, pictures / "red.png")
    headline(visit, "red")
    visit.locator("#feedback").get_by_label("green").click()
    message(visit, "Saved as “green”")
    (kept,) = feedback.glob("*/*")
    assert kept.parent.name == "green"
    assert kept.read_bytes() == (pictures / "red.png").read_bytes()
    visit.locator("#undo").click()
    message(visit, "no longer saved")
    assert list(feedback.glob("*/*")) == []
    assert [json.loads(line)["action"] for line in (feedback / "journal.jsonl").read_text().splitlines()] == [
        "given",
        "undone",
    ]
    playwright.expect(visit.locator("#undo")).to_be_hidden()
    visit.locator("#feedback label").last.click()  # the hostile one, which is no folder's name
    message(visit, "cannot make a folder for the label")
    assert HOSTILE[:20] in visit.locator(".message").inner_text()
    assert list(feedback.glob("*/*")) == []
    visit.locator("#examples button").first.click()
    playwright.expect(visit.locator("#answer")).to_contain_text("colours/0, labelled")
    playwright.expect(visit.locator("#feedback")).to_be_hidden()  # an example has its label


def message(view: Any, text: str) -> None:
    playwright.expect(view.locator(".message").last).to_contain_text(text)


def many(view: Any, *files: Path) -> None:
    view.get_by_role("tab", name="Many pictures").click()
    view.locator("#dropped input[type=file]").set_input_files(files)
    view.locator("table.many").wait_for()


def names(view: Any) -> list[str]:
    return [str(cell) for cell in view.locator("table.many tbody tr:visible td:nth-child(2)").all_inner_texts()]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as made:
        for number, rgb in enumerate([(255, 0, 0), (250, 0, 9), (0, 255, 0), (0, 0, 255), (128, 128, 128)]):
            made.writestr(f"../{number}.png", png(rgb))
        made.writestr("<img src=x onerror=alert(1)>.png", b"hello")
        made.writestr("notes.txt", b"x")
    return tmp_path / "some.zip"


def test_many_pictures_are_sorted_filtered_and_downloaded(visit: Any, archive: Path, pictures: Path) -> None:
    many(visit, archive, pictures / "red.png")
    assert "7 pictures in" in visit.locator("#status").inner_text()
    assert "1 file is no picture by name: some.zip/notes.txt" in visit.locator("#status").inner_text()
    in_order = [f"some.zip/../{n}.png" for n in range(5)] + ["some.zip/<img src=x onerror=alert(1)>.png", "red.png"]
    assert names(visit) == in_order
    assert visit.locator("table.many tbody img").count() == 6
    button = visit.locator("table.many th button")
    button.nth(0).click()
    assert names(visit) == sorted(in_order)
    button.nth(0).click()
    assert names(visit) == sorted(in_order)[::-1]
    button.nth(2).click()
    assert names(visit)[-1] == in_order[5]
    assert names(visit)[-2] == in_order[4]
    kinds = visit.locator("#many select")
    kinds.select_option("=red")
    assert set(names(visit)) == {in_order[0], in_order[1], "red.png"}
    visit.locator("#many input").fill("RED.png")
    assert names(visit) == ["red.png"]
    assert visit.locator("#many .count").inner_text() == "1"
    visit.locator("#many input").fill("")
    kinds.select_option("not sure")
    assert names(visit) == [in_order[4]]
    kinds.select_option("unreadable")
    assert "not a picture: it starts with b'hello'" in visit.locator("table.many").inner_text()
    with visit.expect_download() as saved:
        visit.locator("#many .download").click()
    with Path(saved.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert saved.value.suggested_filename == "answers.csv"
    assert [row["path"] for row in rows] == in_order
    assert [row["label"] for row in rows[:4]] == ["red", "red", "green", HOSTILE]
    assert rows[4]["unsure"] == "True"


def test_a_folder_can_be_chosen(visit: Any, pictures: Path) -> None:
    visit.get_by_role("tab", name="Many pictures").click()
    (pictures / "deep").mkdir()
    (pictures / "noise.jpg").rename(pictures / "deep" / "noise.jpg")
    with visit.expect_file_chooser() as chooser:
        visit.get_by_text("Choose a folder").click()
    chooser.value.set_files(pictures)
    visit.locator("table.many").wait_for()
    assert sorted(names(visit)) == ["blue.tif", "broken.jpg", "noise.jpg", "red.png"]


def test_about_says_what_the_file_says(visit: Any) -> None:
    visit.get_by_role("tab", name="About").click()
    about = visit.locator("table.facts")
    playwright.expect(about).to_be_visible()
    assert "180 train, 60 validation and 60 test pictures" in about.inner_text()
    assert visit.locator("footer a, footer button").count() == 0


def test_two_models_answer_side_by_side(
    browser: Any, model: Path, second: Path, pictures: Path, archive: Path, tmp_path: Path
) -> None:
    options = ("-m", str(second), "--feedback", str(tmp_path / "given"), "--new-labels")
    with serving(model, *options) as (_, told), visiting(browser, told) as view:
        upload(view, pictures / "red.png")
        playwright.expect(view.locator(".card")).to_have_count(2)
        first, other = view.locator(".card").all()
        assert first.inner_text().split("\n\n")[:2] == ["m", "red 96.5\u00a0%"]
        assert other.inner_text().startswith("other\n\ncolour 0 ")
        left, right = first.bounding_box(), other.bounding_box()
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"]
        view.get_by_label("One of 23 labels").fill("colour 17")
        view.get_by_role("option", name="colour 17").click()
        message(view, "Saved as “colour 17”")
        view.locator("#other textarea, #other input").fill("brick")
        view.locator("#other textarea, #other input").press("Enter")
        message(view, "Saved as “brick”")
        assert [kept.parent.name for kept in (tmp_path / "given").glob("*/*")] == ["brick"]
        view.get_by_role("tab", name="Many pictures").click()
        view.get_by_label("Model").click()
        view.get_by_role("option", name="other").click()
        many(view, archive)
        assert "colour 0" in view.locator("table.many").inner_text()
        view.set_viewport_size({"width": 390, "height": 844})
        fits(view, "table.many", ".tools")
        view.get_by_role("tab", name="Classify").click()
        fits(view, "#picture", ".card >> nth=0", ".card >> nth=1", "#feedback", "#top")
        assert view.locator(".card").all()[0].bounding_box()["y"] < view.locator(".card").all()[1].bounding_box()["y"]


def fits(view: Any, *parts: str) -> None:
    """Nothing has to be scrolled sideways on a phone."""
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    for part in parts:
        box = view.locator(part).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390, part


def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Any, address: str, pictures: Path, archive: Path
) -> None:
    with visiting(browser, address, 390, 844) as view:
        upload(view, pictures / "noise.jpg")
        headline(view, "Not sure")
        fits(view, "#picture", "#answer", "table.bars", "#examples", "#feedback", "#top")
        many(view, archive)
        fits(view, "#dropped", "table.many", ".tools", "#status")
        view.get_by_role("tab", name="About").click()
        playwright.expect(view.locator("table.facts")).to_be_visible()
        fits(view, "table.facts")


def test_a_measured_model_shows_its_confusion_matrix_on_a_phone(browser: Any) -> None:
    with serving(named_models.BUILTIN_FILE) as (_, told), visiting(browser, told, 390, 844) as view:
        view.get_by_role("tab", name="About").click()
        playwright.expect(view.locator("table.matrix td.right")).to_have_count(10)
        fits(view, "table.facts", ".scroll")
        view.get_by_text("Each class").click()
        playwright.expect(view.locator("details table")).to_be_visible()
        fits(view, "details table")


def test_a_password_is_asked_for(browser: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_AUTH", "eva:secret")
    with serving(model) as (_, told), visiting(browser, told) as view:
        view.get_by_label("username").fill("eva")
        view.get_by_label("password").fill("wrong")
        view.get_by_role("button", name="Login").click()
        view.get_by_text("Incorrect Credentials").wait_for()
        view.get_by_label("username").fill("eva")
        view.get_by_label("password").fill("secret")
        view.get_by_role("button", name="Login").click()
        view.locator("#examples button").first.click()
        headline(view, "red")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_while_someone_is_looking(
    browser: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(model) as (process, told):
        view = browser.new_page()
        view.set_default_timeout(SECONDS * 1000)
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
