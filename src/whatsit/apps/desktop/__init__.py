"""The desktop window: choose a picture, see what it is. The only folder that imports tkinter.

Without a widget, and tested without a display:

    session   what is chosen, under way and answered, and what happens next; the window only shows it
    work      threads for all that takes time; the latest wish counts
    models    a name or file that was chosen -> an open model
    pictures  a dropped, pasted or chosen picture, its neighbours, and how it is scaled to be looked at
    recent    the pictures and models opened last, kept between two starts
    wording   the answer as it is written out

With widgets:

    window    puts the parts together: keys, buttons, what a person did -> the session
    menus     the menu bar and the list of models
    picture   the picture on a canvas, or the welcome
    answer    headline and bars
    footer    the line that says what is going on, with progress and cancel
    dialogs   errors, and what is worth reading about a model
    dropping  drag and drop, where tkinterdnd2 is installed
    looks     colours, fonts and sizes
"""

from __future__ import annotations

import gc
import os
import sys

from whatsit.errors import ServerError


def open_window(model: str | None = None, picture: str | os.PathLike[str] | None = None) -> None:
    """Open the window and return when it is closed.

    `model` is a model file or the name of a network, by default the built-in model; `picture` a picture or a folder to
    begin with. Both are opened while the window is already there, and what is wrong with them is said in it.
    Raises ServerError where there is no Tk or no display.
    """
    try:
        import tkinter
    except ImportError:
        raise _without_tk() from None
    from whatsit.apps.desktop.looks import sharpen

    sharpen()
    try:
        root = tkinter.Tk(className="Whatsit")
    except tkinter.TclError as error:
        raise _without_display(str(error)) from None
    from whatsit.apps.desktop.window import Window

    try:
        Window(root, model, picture).run()
    finally:
        del root
        gc.collect()  # while no other thread can: see Window._tidy


def _without_tk() -> ServerError:
    return ServerError(
        "cannot open a window",
        value="a Python without Tk: no module named 'tkinter'",
        accepted="a Python with Tk",
        hint="Debian, Ubuntu: apt install python3-tk. Fedora: dnf install python3-tkinter. Homebrew: brew install "
        "python-tk. Or use the page: whatsit serve",
    )


def _without_display(said: str) -> ServerError:
    named = os.environ.get("DISPLAY")
    missing = "no display: DISPLAY is not set" if sys.platform == "linux" and not named else said
    return ServerError(
        "cannot open a window",
        value=missing,
        accepted="a desktop, or DISPLAY set to one that can be reached",
        hint="Over ssh: ssh -X. Without a desktop use the page: whatsit serve",
    )
