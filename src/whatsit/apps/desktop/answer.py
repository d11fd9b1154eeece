"""The answer: headline, what stands behind a "not sure", and a bar for each of the ten best labels."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import font, ttk

from whatsit.apps.desktop.looks import Looks

_LABELS = 0.42  # of the width, at most
_HEADLINE = 90  # letters of it that are shown


class AnswerPanel(ttk.Frame):
    """What a picture shows, on a card of its own."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent, style="Card.TFrame", padding=looks.px(16))
        self._looks = looks
        self.headline = ttk.Label(self, style="Headline.TLabel", anchor="w", justify="left")
        self.why = ttk.Label(self, style="Card.TLabel", anchor="w", justify="left")
        self.bars = Bars(self, looks)
        self.caption = ttk.Label(self, style="Card.TLabel", anchor="w", justify="left")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(2, weight=1)
        for row, part in enumerate((self.headline, self.why, self.bars, self.caption)):
            part.grid(row=row, column=0, sticky="nsew", pady=(0, looks.px(8)))
        self.bind("<Configure>", self._wrap)

    def show(self, headline: str, why: str, bars: Sequence[tuple[str, str, float]], caption: str, kind: str) -> None:
        """`bars` are label, share as text, and share in [0, 1]; `kind` is sure, unsure, error or waiting."""
        style = {"error": "Error", "waiting": "Waiting"}.get(kind, "Headline")
        self.headline.configure(text=_shortened(headline), style=f"{style}.TLabel")
        for label, text in ((self.why, why), (self.caption, caption)):
            label.configure(text=text)
            label.grid() if text else label.grid_remove()
        self.bars.show(bars)

    def _wrap(self, event: tk.Event[tk.Misc]) -> None:
        inside = max(1, event.width - 2 * self._looks.px(16))
        for label in (self.headline, self.why, self.caption):
            label.configure(wraplength=inside)


class Bars(tk.Canvas):
    """Rows of label, bar and share; they grow and shrink with the place there is."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent, background=looks.card, highlightthickness=0, width=looks.px(240), height=looks.px(200))
        self._looks = looks
        self._font = font.nametofont("TkDefaultFont", self)
        self._rows: Sequence[tuple[str, str, float]] = ()
        self.bind("<Configure>", lambda _: self._draw())

    def show(self, rows: Sequence[tuple[str, str, float]]) -> None:
        if rows != self._rows:
            self._rows = rows
            self._draw()

    def _draw(self) -> None:
        self.delete("all")
        px = self._looks.px
        least = self._font.metrics("linespace") + px(2)
        step = min(px(32), max(least, self.winfo_height() // max(1, len(self._rows))))
        labels = self._width_for_labels()
        shares = max((self._font.measure(share) for _, share, _ in self._rows), default=0)
        left, right = px(14) + labels, self.winfo_width() - shares - px(10)
        for number, (label, share, part) in enumerate(self._rows):
            middle, half = step * number + step // 2, min(px(6), step // 4)
            self.create_text(
                px(2), middle, text=self._elided(label, labels), anchor="w", font=self._font, fill=self._looks.ink
            )
            if right > left:
                self.create_rectangle(left, middle - half, right, middle + half, width=0, fill=self._looks.faint)
                end = left + max(px(2), round((right - left) * part))
                fill = self._looks.pale if number else self._looks.accent
                self.create_rectangle(left, middle - half, end, middle + half, width=0, fill=fill)
            self.create_text(
                self.winfo_width(), middle, text=share, anchor="e", font=self._font, fill=self._looks.quiet
            )

    def _width_for_labels(self) -> int:
        widest = max((self._font.measure(label) for label, _, _ in self._rows), default=0)
        return min(widest, int(_LABELS * self.winfo_width()))

    def _elided(self, text: str, width: int) -> str:
        """As much of the text as fits, with an ellipsis for the rest."""
        if self._font.measure(text) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._font.measure(text[:middle] + "…") <= width else (low, middle - 1)
        return text[:low].rstrip() + "…"


def _shortened(text: str) -> str:
    """Without line breaks between a number and its unit."""
    text = text if len(text) <= _HEADLINE else text[: _HEADLINE - 1].rstrip() + "…"
    return text.replace(" %", "\u00a0%")
