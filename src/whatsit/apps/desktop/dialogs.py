"""Windows over the window: errors, and what is worth reading."""

from __future__ import annotations

import tkinter as tk
import traceback
from collections.abc import Sequence
from tkinter import messagebox, ttk

from whatsit.apps import presenter
from whatsit.apps.desktop.looks import Looks
from whatsit.apps.text import printable
from whatsit.errors import WhatsitError

KEYS = (
    ("Open a picture", "{Ctrl}+O"),
    ("Paste a picture, or a file copied elsewhere", "{Ctrl}+V"),
    ("Previous and next picture of the folder", "Left and Right"),
    ("Analyse the picture again", "Return"),
    ("Analyse the whole folder", "{Ctrl}+Return"),
    ("Stop what is under way", "Escape"),
    ("Copy the answer", "{Ctrl}+C"),
    ("Save all results of the folder as CSV", "{Ctrl}+S"),
    ("Open a model file", "{Ctrl}+M"),
    ("Close the window", "{Ctrl}+Q"),
)


def show_error(parent: tk.Misc, error: BaseException) -> None:
    """Any error in plain words, never as a traceback."""
    title, detail = in_words(error)
    messagebox.showerror("whatsit", title, detail=detail, parent=parent)


def in_words(error: BaseException) -> tuple[str, str]:
    """What failed, and the lines below it."""
    if isinstance(error, WhatsitError):
        what, detail = presenter.problem(error)
        return printable(what), "\n".join(map(printable, detail.splitlines()))
    frames = traceback.extract_tb(error.__traceback__)
    place = f", in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return (
        "This is a mistake in whatsit, not yours.",
        f"{type(error).__name__}{place}: {printable(str(error))}\n\n"
        "The window goes on. Please report it, with these two lines and what you did, where you got whatsit from.",
    )


def show_table(parent: tk.Misc, looks: Looks, title: str, rows: Sequence[tuple[str, str]]) -> tk.Toplevel:
    """Names and texts, to be read and copied from."""
    top = tk.Toplevel(parent, background=looks.ground)
    top.title(title)
    top.transient(parent.winfo_toplevel())
    px = looks.px
    text = tk.Text(
        top,
        wrap="word",
        width=68,
        height=20,
        font="TkDefaultFont",
        background=looks.card,
        foreground=looks.ink,
        relief="flat",
        highlightthickness=0,
        padx=px(18),
        pady=px(14),
        spacing1=px(2),
        cursor="arrow",
    )
    text.tag_configure("name", font="WhatsitStrong", spacing1=px(8))
    for name, told in rows:
        text.insert("end", f"{name}\n", "name", f"{printable(told)}\n")
    text.delete("end-2c", "end")
    text.configure(state="disabled")
    bar = ttk.Scrollbar(top, command=text.yview)
    text.configure(yscrollcommand=bar.set)
    close = ttk.Button(top, text="Close", command=top.destroy)
    top.rowconfigure(0, weight=1)
    top.columnconfigure(0, weight=1)
    text.grid(row=0, column=0, sticky="nsew")
    bar.grid(row=0, column=1, sticky="ns")
    close.grid(row=1, column=0, columnspan=2, pady=px(10))
    for key in ("<Escape>", "<Return>"):
        top.bind(key, lambda _: top.destroy())
    close.focus_set()
    return top
