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


def show_facts(parent: tk.Misc, looks: Looks, title: str, facts: Sequence[tuple[str, str]]) -> None:
    """Names, with a text below each."""
    text = _page(parent, looks, title, lines=24)
    text.tag_configure("name", font="WhatsitStrong", spacing1=looks.px(8))
    for name, told in facts:
        text.insert("end", f"{name}\n", "name", f"{printable(told)}\n")
    _finish(text)


def show_keys(parent: tk.Misc, looks: Looks, control: str) -> None:
    text = _page(parent, looks, "Keys", lines=len(KEYS) + 4)
    text.configure(tabs=(looks.px(400),), spacing1=looks.px(6))
    for what, key in KEYS:
        text.insert("end", f"{what}\t{key.format(Ctrl=control)}\n")
    _finish(text)


def _page(parent: tk.Misc, looks: Looks, title: str, lines: int) -> tk.Text:
    """A window of its own to read and copy from. It scrolls where it must."""
    px, over = looks.px, parent.winfo_toplevel()
    top = tk.Toplevel(parent, background=looks.ground)
    top.title(title)
    top.transient(over)
    top.geometry(f"+{over.winfo_rootx() + px(60)}+{over.winfo_rooty() + px(40)}")
    text = tk.Text(
        top,
        wrap="word",
        width=72,
        height=lines,
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
    bar = ttk.Scrollbar(top, command=text.yview)

    def scrolled(first: float, last: float) -> None:
        bar.set(first, last)
        bar.grid_remove() if (float(first), float(last)) == (0, 1) else bar.grid()

    text.configure(yscrollcommand=scrolled)
    close = ttk.Button(top, text="Close", command=top.destroy)
    top.rowconfigure(0, weight=1)
    top.columnconfigure(0, weight=1)
    text.grid(row=0, column=0, sticky="nsew")
    bar.grid(row=0, column=1, sticky="ns")
    close.grid(row=1, column=0, columnspan=2, pady=px(10))
    for key in ("<Escape>", "<Return>"):
        top.bind(key, lambda _: top.destroy())
    close.focus_set()
    return text


def _finish(text: tk.Text) -> None:
    text.delete("end-2c", "end")
    text.configure(state="disabled")
