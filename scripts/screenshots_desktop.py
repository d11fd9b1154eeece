"""Write docs/pictures/desktop.png: the window with a photo and its answer, on a display that nobody sees (Xvfb)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import tkinter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageGrab

from whatsit.apps.desktop.window import Window
from whatsit.sources.photos import sample_photos

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "desktop.png"
_SIZE = (1000, 720)
_MENU = 30  # the height of the menu bar, which is above what the geometry counts
_COLOURS = 230  # a photo and a few plain colours: enough, and a third of the bytes


@contextmanager
def display(size: tuple[int, int]) -> Iterator[str]:
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size[0]}x{size[1]}x24", "-dpi", "96", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f":{int(server.stdout.readline())}"
        finally:
            server.terminate()


def screenshot(picture: Path, size: tuple[int, int] = _SIZE) -> Image.Image:
    """The window with this picture, as it stands when the answer is there."""
    with display(size) as name:
        os.environ["DISPLAY"] = name
        window = Window(tkinter.Tk(className="Whatsit"), picture=picture)
        window.root.geometry(f"{size[0]}x{size[1] - _MENU}+0+0")
        window.root.update()
        window.begin()
        end = time.monotonic() + 1.5  # for the answer, and for the last notes to go
        while window.session.answer is None or window.session.place is None or time.monotonic() < end:
            window.root.update()
            time.sleep(0.01)
        seen = ImageGrab.grab(xdisplay=name).convert("RGB")
        window.close()
        window.end()
        return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        for name, photo in sample_photos().items():
            Image.fromarray(photo).save(Path(folder, name), quality=95)
        PICTURE.parent.mkdir(exist_ok=True)
        seen = screenshot(Path(folder, "china.jpg"))
    seen.quantize(_COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
