"""Take the pictures of the page that docs/page.md shows, of the real command in a real Chromium.

They need nothing but the installation: the built-in model, a model of scikit-learn's digits that is trained here in
half a minute, and scikit-learn's sample photos. Takes about a minute.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from whatsit.sources.photos import sample_photos

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
MOST = 150_000  # bytes of a picture
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@contextmanager
def serving(*options: str | Path) -> Iterator[str]:
    """The address of the page that the command opens."""
    command = [sys.executable, "-m", "whatsit", "serve", "--port", "0", *map(str, options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield next(m[0] for line in process.stderr if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        finally:
            process.terminate()


def digits(folder: Path) -> tuple[Path, Path]:
    """A model that reads digits, and an archive of some, with one file that is no picture."""
    from sklearn.datasets import load_digits

    run = [sys.executable, "-m", "whatsit", "demo", "--no-page", "--out", str(folder / "digits")]
    subprocess.run(run, check=True, capture_output=True)
    archive = folder / "digits.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for number, picture in enumerate(load_digits().images[-60:]):
            file = io.BytesIO()
            Image.fromarray((picture * 15.9).astype(np.uint8)).save(file, "PNG")
            made.writestr(f"scans/{number:03}.png", file.getvalue())
            if number == 2:
                made.writestr("scans/damaged.png", file.getvalue()[:60])
    return folder / "digits" / "model.onnx", archive


def save(view: Any, name: str) -> None:
    """With as many colours as fit into the size."""
    view.wait_for_timeout(500)  # what glides has arrived
    image = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if len(file.getvalue()) < MOST:
            break
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).write_bytes(file.getvalue())
    print(name, len(file.getvalue()), "bytes")


def size(width: int, height: int) -> dict[str, int]:
    return {"width": width, "height": height}


def show(view: Any, file: Path) -> None:
    view.locator("#picture input[type=file]").set_input_files(file)
    view.locator(".headline").wait_for()
    view.wait_for_function("document.querySelector('#picture img')?.naturalWidth > 0")


def classify_and_about(browser: Any, folder: Path) -> None:
    china = folder / "temple.jpg"
    Image.fromarray(sample_photos()["china.jpg"]).save(china, quality=95)
    with serving("--feedback", folder / "feedback", "--new-labels") as address:
        view = browser.new_page(viewport=size(1040, 870))
        view.goto(address)
        show(view, china)
        other = view.locator("#other textarea, #other input")
        other.fill("temple")
        other.press("Enter")
        view.locator(".message.given").wait_for()
        other.blur()
        save(view, "page_classify.png")
        view.get_by_role("tab", name="About").click()
        view.locator("table.matrix").wait_for()
        save(view, "page_about.png")


def many_and_phone(browser: Any, folder: Path) -> None:
    model, archive = digits(folder)
    with serving("-m", model) as address:
        view = browser.new_page(viewport=size(1040, 760))
        view.goto(address)
        view.get_by_role("tab", name="Many pictures").click()
        view.locator("#dropped input[type=file]").set_input_files(archive)
        view.locator("table.many").wait_for()
        view.locator("table.many th button").nth(2).click()
        view.locator("table.many th button").nth(2).click()  # the least sure first
        save(view, "page_many.png")
        view = browser.new_page(viewport=size(390, 844))
        view.goto(address)
        view.locator("#examples button").nth(4).click()
        view.locator(".headline").wait_for()
        view.wait_for_function("document.querySelector('#picture img')?.naturalWidth > 0")
        save(view, "page_phone.png")


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with TemporaryDirectory() as folder, sync_playwright() as started:
        os.environ["WHATSIT_CACHE"] = folder
        browser = started.chromium.launch(executable_path=chromium, args=SWITCHES)
        classify_and_about(browser, Path(folder))
        many_and_phone(browser, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
