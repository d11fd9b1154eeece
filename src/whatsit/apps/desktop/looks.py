"""Colours, fonts and sizes: native on Windows and macOS, a calm theme of our own elsewhere, readable on any screen."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tkinter as tk
from dataclasses import dataclass
from tkinter import font, ttk

_POINT = 72.0  # points in an inch
_USUAL = 96.0  # dots in an inch for which sizes in pixels are meant


@dataclass(frozen=True)
class Looks:
    """What the parts that draw for themselves need. Colours as Tk takes them, `scale` in screen dots a pixel."""

    scale: float
    ground: str  # behind everything
    card: str  # behind picture and answer
    ink: str
    quiet: str  # of what is said besides
    line: str
    accent: str
    pale: str  # the accent, standing back
    faint: str  # the part of a bar that is not filled
    alarm: str

    def px(self, pixels: float) -> int:
        return max(1, round(pixels * self.scale))


def sharpen() -> None:
    """Tell Windows that we scale for ourselves; it would enlarge the finished window, blurred. Before the first one."""
    if sys.platform == "win32":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # older than 8.1
            ctypes.windll.shcore.SetProcessDpiAwareness(1)


def dress(root: tk.Tk) -> Looks:
    """Set theme, fonts and sizes for a window and all in it."""
    dots = _dots_in_an_inch(root)
    root.tk.call("tk", "scaling", dots / _POINT)
    _fonts(root)
    style = ttk.Style(root)
    if root.tk.call("tk", "windowingsystem") == "x11":
        looks = Looks(
            scale=max(1.0, dots / _USUAL),
            ground="#f4f6f7",
            card="#ffffff",
            ink="#16232b",
            quiet="#5b6b75",
            line="#d3dbdf",
            accent="#0d9488",
            pale="#86cdc6",
            faint="#e6ecee",
            alarm="#b42318",
        )
        _calm(root, style, looks)
        _hide_hidden_files(root)
    else:
        looks = _native(style, max(1.0, dots / _USUAL) if sys.platform == "win32" else 1.0)
    style.configure("Title.TLabel", font="WhatsitTitle")
    style.configure("Headline.TLabel", font="WhatsitHeadline", background=looks.card, foreground=looks.ink)
    style.configure("Waiting.TLabel", font="TkDefaultFont", background=looks.card, foreground=looks.quiet)
    style.configure("Error.TLabel", font="WhatsitHeadline", background=looks.card, foreground=looks.alarm)
    style.configure("Quiet.TLabel", foreground=looks.quiet)
    style.configure("Card.TLabel", background=looks.card, foreground=looks.quiet)
    style.configure("Card.TFrame", background=looks.card)
    return looks


def _dots_in_an_inch(root: tk.Tk) -> float:
    """As the user set it for all programs, where the desktop tells; else as the screen says."""
    told = float(root.winfo_fpixels("1i"))
    if root.tk.call("tk", "windowingsystem") == "x11" and shutil.which("xrdb"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(["xrdb", "-query"], capture_output=True, text=True, timeout=1, check=False).stdout
            if found := re.search(r"^Xft\.dpi:\s*([\d.]+)", said, re.MULTILINE):
                told = float(found[1])
    return told if 50 <= told <= 600 else _USUAL


def _fonts(root: tk.Tk) -> None:
    """Named fonts in points; those of Tk are set anew, because it measured them before it knew the scaling."""
    usual = font.nametofont("TkDefaultFont", root)
    points = max(10, abs(int(usual.cget("size")))) if root.tk.call("tk", "windowingsystem") == "x11" else None
    if points is not None:
        for name in ("TkDefaultFont", "TkTextFont", "TkMenuFont", "TkHeadingFont", "TkCaptionFont"):
            font.nametofont(name, root).configure(size=points)
    size = points or abs(int(usual.cget("size"))) or 10
    family = usual.actual("family")
    for name, larger, weight in (("Title", 1.5, "bold"), ("Headline", 1.7, "bold"), ("Strong", 1.0, "bold")):
        root.tk.call(
            "font", "create", f"Whatsit{name}", "-family", family, "-size", round(size * larger), "-weight", weight
        )


def _hide_hidden_files(root: tk.Tk) -> None:
    """Tk's own file dialog lists them unless told otherwise, and can be told once it was called, even wrongly."""
    with contextlib.suppress(tk.TclError):
        root.tk.call("tk_getOpenFile", "-unknown")
    root.tk.call("set", "::tk::dialog::file::showHiddenBtn", 1)
    root.tk.call("set", "::tk::dialog::file::showHiddenVar", 0)


def _native(style: ttk.Style, scale: float) -> Looks:
    ground = str(style.lookup("TFrame", "background")) or "SystemButtonFace"
    ink = str(style.lookup("TLabel", "foreground")) or "SystemWindowText"
    grey, line = (
        ("#5b6b75", "#d3dbdf") if sys.platform == "win32" else ("systemSecondaryLabelColor", "systemSeparatorColor")
    )
    return Looks(
        scale=scale,
        ground=ground,
        card=ground,
        ink=ink,
        quiet=grey,
        line=line,
        accent="#0d9488",
        pale="#86cdc6",
        faint=line,
        alarm="#c0362c",
    )


def _calm(root: tk.Tk, style: ttk.Style, looks: Looks) -> None:
    px = looks.px
    style.theme_use("clam")
    root.configure(background=looks.ground)
    for option, value in {
        "*Menu.background": looks.card,
        "*Menu.foreground": looks.ink,
        "*Menu.activeBackground": looks.accent,
        "*Menu.activeForeground": "#ffffff",
        "*Menu.relief": "flat",
        "*Menu.activeBorderWidth": "0",
        "*Menu.borderWidth": "1",
    }.items():
        root.option_add(option, value)
    style.configure(
        ".",
        background=looks.ground,
        foreground=looks.ink,
        bordercolor=looks.line,
        lightcolor=looks.ground,
        darkcolor=looks.ground,
        troughcolor=looks.faint,
        focuscolor=looks.accent,
        insertcolor=looks.ink,
        selectbackground=looks.accent,
        selectforeground="#ffffff",
    )
    shades = [("disabled", looks.ground), ("pressed", looks.line), ("active", looks.faint)]
    for name in ("TButton", "TMenubutton"):
        style.configure(
            name,
            background=looks.card,
            lightcolor=looks.card,
            darkcolor=looks.card,
            relief="raised",
            anchor="center",
            width=0,
            padding=(px(12), px(6)),
        )
        style.map(
            name,
            background=shades,
            lightcolor=shades,
            darkcolor=shades,
            foreground=[("disabled", "#9aa8b0")],
            bordercolor=[("focus", looks.accent)],
        )
    style.configure("TMenubutton", arrowcolor=looks.quiet, arrowsize=px(5))
    style.configure(
        "Accent.TButton",
        background=looks.accent,
        foreground="#ffffff",
        lightcolor=looks.accent,
        darkcolor=looks.accent,
        bordercolor=looks.accent,
    )
    accents = [("disabled", "#a9d4cf"), ("pressed", "#0b5f58"), ("active", "#0f766e")]
    style.map(
        "Accent.TButton",
        background=accents,
        lightcolor=accents,
        darkcolor=accents,
        foreground=[("disabled", "#ffffff")],
        bordercolor=[("focus", looks.ink), ("disabled", "#a9d4cf")],
    )
    style.configure("Step.TButton", padding=(px(8), px(4)))
    style.configure(
        "Horizontal.TProgressbar",
        background=looks.accent,
        lightcolor=looks.accent,
        darkcolor=looks.accent,
        bordercolor=looks.faint,
        thickness=px(8),
    )
