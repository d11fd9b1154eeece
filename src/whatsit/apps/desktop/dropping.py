"""Drag and drop, where tkinterdnd2 is installed: Tk itself cannot."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk
from typing import Any


def accept_files(place: ttk.Frame, dropped: Callable[[Sequence[str]], None]) -> bool:
    """Call `dropped` with the files that are dropped on a part of the window. Whether that is possible here."""
    try:
        from tkinterdnd2 import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            DND_FILES,
            TkinterDnD,
        )

        TkinterDnD._require(place.winfo_toplevel())  # loads the extension into the Tk that is there
    except (ImportError, RuntimeError, tk.TclError):  # not installed, or not made for this system
        return False

    def heard(event: Any) -> str:
        dropped(place.tk.splitlist(event.data))
        return str(event.action)

    widget: Any = place  # the import gave every widget these methods
    widget.drop_target_register(DND_FILES)
    widget.dnd_bind("<<Drop>>", heard)
    return True
