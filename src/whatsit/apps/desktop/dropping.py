"""Drag and drop, where tkinterdnd2 is installed: Tk itself cannot."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from typing import Any


def accept_files(root: tk.Tk, dropped: Callable[[Sequence[str]], None]) -> bool:
    """Call `dropped` with the files that are dropped on the window. Whether that is possible here."""
    try:
        from tkinterdnd2 import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            DND_FILES,
            TkinterDnD,
        )

        TkinterDnD._require(root)  # loads the extension into a root that exists
    except (ImportError, RuntimeError, tk.TclError):  # not installed, or not made for this system
        return False

    def heard(event: Any) -> str:
        dropped(root.tk.splitlist(event.data))
        return str(event.action)

    root.drop_target_register(DND_FILES)  # type: ignore[attr-defined]
    root.dnd_bind("<<Drop>>", heard)  # type: ignore[attr-defined]
    return True
