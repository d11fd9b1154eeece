"""The line at the bottom: what is going on or went on, with progress and a button to cancel."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from whatsit.apps.desktop.looks import Looks

_PATIENCE = 300  # milliseconds of work before a bar is worth showing
_STRIDE = 12  # milliseconds between two steps of a bar that knows no end


class Footer(ttk.Frame):
    def __init__(self, parent: tk.Misc, looks: Looks, cancel: Callable[[], None]) -> None:
        super().__init__(parent)
        self.text = ttk.Label(self, style="Quiet.TLabel", anchor="w")
        self.bar = ttk.Progressbar(self, length=looks.px(180))
        self.cancel = ttk.Button(self, text="Cancel", command=cancel, style="Step.TButton")
        self.columnconfigure(0, weight=1, minsize=looks.px(60))
        self.rowconfigure(0, minsize=self.cancel.winfo_reqheight())  # the window does not jump when it appears
        self.text.grid(row=0, column=0, sticky="ew")
        self._waiting: str | None = None

    def show(self, text: str, busy: bool, done: int = 0, total: int = 0) -> None:
        """`total` is 0 where nobody knows how long it takes."""
        self.text.configure(text=text)
        if not busy:
            self._rest()
        elif self._waiting is None:
            self._waiting = self.after(_PATIENCE, self._appear)
        if total:
            self.bar.stop()
            self.bar.configure(mode="determinate", maximum=total, value=done)
        elif str(self.bar["mode"]) != "indeterminate":
            self.bar.configure(mode="indeterminate", value=0)

    def _appear(self) -> None:
        self.bar.grid(row=0, column=1)
        self.cancel.grid(row=0, column=2, padx=(8, 0))
        if str(self.bar["mode"]) == "indeterminate":
            self.bar.start(_STRIDE)

    def _rest(self) -> None:
        if self._waiting is not None:
            self.after_cancel(self._waiting)
            self._waiting = None
        self.bar.stop()
        self.bar.grid_remove()
        self.cancel.grid_remove()
