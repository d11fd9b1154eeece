"""The picture on a canvas, scaled to the window; before there is one, the welcome."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from typing import TYPE_CHECKING

from whatsit.apps.desktop.looks import Looks

if TYPE_CHECKING:
    from PIL import Image


class PictureCanvas(tk.Canvas):
    """One picture, as large as the canvas allows, or a text in its place."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent, background=looks.card, highlightthickness=0, width=looks.px(320), height=looks.px(240))
        self._looks = looks
        self._image: Image.Image | None = None
        self._shown: tk.PhotoImage | None = None  # Tk forgets a picture that Python does not hold
        self._title, self._numbered, self._dashed = "", False, False
        self._lines: tuple[str, ...] = ()
        self.bind("<Configure>", lambda _: self._draw())

    def show(self, image: Image.Image) -> None:
        if image is not self._image:
            self._image = image
            self._draw()

    def say(self, title: str, lines: Sequence[str] = (), numbered: bool = False, dashed: bool = False) -> None:
        """Text in the picture's place; `dashed` draws the edge of a place to drop something at."""
        said = (title, tuple(lines), numbered, dashed)
        if self._image is not None or said != (self._title, self._lines, self._numbered, self._dashed):
            self._image = None
            self._title, self._lines, self._numbered, self._dashed = said
            self._draw()

    @property
    def shown_size(self) -> tuple[int, int] | None:
        """The picture's width and height on the screen."""
        return (self._shown.width(), self._shown.height()) if self._shown else None

    def _draw(self) -> None:
        self.delete("all")
        width, height = self.winfo_width(), self.winfo_height()
        if self._image is None:
            self._shown = None
            self._draw_text(width, height)
            return
        edge = 2 * self._looks.px(12)
        self._shown = photo(self._image, max(1, width - edge), max(1, height - edge), self)
        self.create_image(width // 2, height // 2, image=self._shown)

    def _draw_text(self, width: int, height: int) -> None:
        px = self._looks.px
        if self._dashed:
            edge = px(14)
            self.create_rectangle(
                edge, edge, width - edge, height - edge, outline=self._looks.line, width=px(2), dash=(6, 5)
            )
        inside = max(1, min(width - px(64), px(440)))
        self._write(0, 0, self._title, inside, "WhatsitTitle", self._looks.ink)
        for number, line in enumerate(self._lines, start=1):
            indent = px(24) if self._numbered else 0
            top = self.bbox("text")[3] + px(12)
            if self._numbered:
                self._write(0, top, f"{number}.", indent, "WhatsitStrong", self._looks.accent)
            self._write(indent, top, line, inside - indent, "TkDefaultFont", self._looks.quiet)
        _, _, right, bottom = self.bbox("text")
        self.move("text", (width - right) // 2, max(px(20), (height - bottom) // 2))

    def _write(self, left: int, top: int, text: str, width: int, font: str, colour: str) -> None:
        self.create_text(left, top, text=text, width=width, anchor="nw", font=font, fill=colour, tags="text")


def photo(image: Image.Image, width: int, height: int, master: tk.Misc) -> tk.PhotoImage:
    """The picture for Tk, fitted into a place. By way of PPM: ImageTk is a package of its own on some systems."""
    from whatsit.apps.desktop.pictures import fitted

    scaled = fitted(image, width, height)
    head = f"P6 {scaled.width} {scaled.height} 255\n".encode()
    return tk.PhotoImage(master=master, data=head + scaled.convert("RGB").tobytes(), format="ppm")
