"""The answer: headline, what stands behind a "not sure", and a bar for each of the ten best labels."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import font, ttk

from whatsit.apps.desktop.looks import Looks
from whatsit.apps.desktop.wording import Shown

_LABELS = 0.42  # of the width, at most
_TWO_LINES = 1.8  # times the width; words do not fill the lines


class AnswerPanel(ttk.Frame):
    """What a picture shows, on a card of its own. Where there is little room, the bars have it."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        self._pad, self._gap = looks.px(16), looks.px(8)
        super().__init__(parent, style="Card.TFrame", padding=self._pad)
        self.headline = ttk.Label(self, style="Headline.TLabel", anchor="w", justify="left")
        self.why = ttk.Label(self, style="Card.TLabel", anchor="w", justify="left")
        self.bars = Bars(self, looks)
        self.caption = ttk.Label(self, style="Card.TLabel", anchor="w", justify="left")
        self._fonts = [font.nametofont(name, self) for name in ("WhatsitHeadline", "WhatsitTitle", "WhatsitStrong")]
        self.columnconfigure(0, weight=1)
        self.rowconfigure(2, weight=1)
        for row, part in enumerate((self.headline, self.why, self.bars, self.caption)):
            part.grid(row=row, column=0, sticky="nsew", pady=(0, self._gap))
        self.grid_propagate(False)  # a long answer must not change how the window is divided
        self.bind("<Configure>", lambda _: self._arrange())

    def show(self, shown: Shown) -> None:
        style = {"error": "Error", "waiting": "Waiting"}.get(shown.kind, "Headline")
        self.headline.configure(text=shown.headline, style=f"{style}.TLabel")
        self.why.configure(text=shown.why)
        self.caption.configure(text=shown.caption)
        self.bars.show(shown.rows)
        self._arrange()

    def _arrange(self) -> None:
        """The headline as large as fits into two lines; what is said besides, where there is room for it."""
        inside = max(1, self.winfo_width() - 2 * self._pad)
        for label in (self.headline, self.why, self.caption):
            label.configure(wraplength=inside)
        text = str(self.headline["text"])
        if str(self.headline["style"]) != "Waiting.TLabel":
            fitting = [size for size in self._fonts if size.measure(text) <= _TWO_LINES * inside]
            self.headline.configure(font=(fitting or self._fonts[-1:])[0])
        else:
            self.headline.configure(font="TkDefaultFont")
        room = self.winfo_height() - 2 * self._pad - self.headline.winfo_reqheight() - 2 * self._gap - self.bars.least
        for label in (self.why, self.caption):
            needed = label.winfo_reqheight() + self._gap
            if label["text"] and needed <= room:
                label.grid()
                room -= needed
            else:
                label.grid_remove()


class Bars(tk.Canvas):
    """Rows of label, bar and share; they grow and shrink with the place there is."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent, background=looks.card, highlightthickness=0, width=looks.px(240), height=looks.px(200))
        self._looks = looks
        self._font = font.nametofont("TkDefaultFont", self)
        self._least_row = self._font.metrics("linespace") + 1
        self._rows: Sequence[tuple[str, str, float]] = ()
        self.bind("<Configure>", lambda _: self._draw())

    def show(self, rows: Sequence[tuple[str, str, float]]) -> None:
        if rows != self._rows:
            self._rows = rows
            self._draw()

    @property
    def least(self) -> int:
        """The height below which rows are cut off."""
        return self._least_row * len(self._rows)

    def _draw(self) -> None:
        self.delete("all")
        px = self._looks.px
        step = min(px(32), max(self._least_row, self.winfo_height() // max(1, len(self._rows))))
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
