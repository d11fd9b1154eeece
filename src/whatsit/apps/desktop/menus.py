"""The menu bar, its keys, and the list of models."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from tkinter import ttk

from whatsit import named_models
from whatsit.apps.desktop import models
from whatsit.apps.desktop.recent import Recent
from whatsit.apps.desktop.wording import shortened_middle

Command = Callable[[], None]


@dataclass(frozen=True)
class Commands:
    """What a person can do in the window."""

    open_picture: Command
    open_folder: Command
    open_model: Command
    paste: Command
    save: Command
    close: Command
    copy: Command
    previous: Command
    next: Command
    analyse: Command
    analyse_folder: Command
    cancel: Command
    about: Command
    keys: Command
    open_path: Callable[[str], None]
    choose_model: Callable[[str], None]


def bind_keys(root: tk.Tk, commands: Commands) -> None:
    """Each key does what its menu entry does."""

    def bind(key: str, command: Command) -> None:
        root.bind(key, lambda _: command())

    control = control_key(root)
    for letter, command in {
        "o": commands.open_picture,
        "m": commands.open_model,
        "v": commands.paste,
        "s": commands.save,
        "q": commands.close,
        "c": commands.copy,
    }.items():
        for case in (letter, letter.upper()):  # also while Caps Lock is on
            bind(f"<{control}-{case}>", command)
    for key in ("Return", "KP_Enter"):
        bind(f"<{key}>", commands.analyse)
        bind(f"<{control}-{key}>", commands.analyse_folder)
    bind("<Left>", commands.previous)
    bind("<Right>", commands.next)
    bind("<Escape>", commands.cancel)
    bind("<F1>", commands.keys)
    root.bind_class("TButton", "<Return>", _press)  # not Analyse, where another button has the focus


def control_key(root: tk.Misc) -> str:
    return "Command" if root.tk.call("tk", "windowingsystem") == "aqua" else "Control"


def control_name(root: tk.Misc) -> str:
    return "Cmd" if control_key(root) == "Command" else "Ctrl"


def _press(event: tk.Event[tk.Misc]) -> str:
    assert isinstance(event.widget, ttk.Button)
    event.widget.invoke()
    return "break"


class MenuBar:
    def __init__(self, root: tk.Tk, commands: Commands, recent: Recent) -> None:
        self._commands, self._recent = commands, recent
        self._control = control_name(root)
        root.option_add("*tearOff", False)
        bar = tk.Menu(root)
        self._file = self._add(bar, "File")
        self._entry(self._file, "Open picture…", commands.open_picture, "O")
        self._entry(self._file, "Open folder…", commands.open_folder)
        self._pictures = tk.Menu(self._file, postcommand=self._list_pictures)
        self._file.add_cascade(label="Recent pictures", menu=self._pictures)
        self._entry(self._file, "Paste", commands.paste, "V")
        self._file.add_separator()
        self._entry(self._file, "Open model…", commands.open_model, "M")
        self._file.add_separator()
        self._entry(self._file, "Save results…", commands.save, "S")
        self._file.add_separator()
        self._entry(self._file, "Quit", commands.close, "Q")
        self._edit = self._add(bar, "Edit")
        self._entry(self._edit, "Copy results", commands.copy, "C")
        self._view = self._add(bar, "View")
        self._view.add_command(label="Previous picture", command=commands.previous, accelerator="Left")
        self._view.add_command(label="Next picture", command=commands.next, accelerator="Right")
        self._view.add_separator()
        self._view.add_command(label="Analyse", command=commands.analyse, accelerator="Return")
        self._entry(self._view, "Analyse folder", commands.analyse_folder, "Return")
        self._help = self._add(bar, "Help")
        self._entry(self._help, "About this model", commands.about)
        self._help.add_command(label="Keys", command=commands.keys, accelerator="F1")
        root.configure(menu=bar)

    def enable(self, **entries: bool) -> None:
        """Which of save, copy, previous, next, analyse, analyse_folder and about make sense now."""
        for name, (menu, label) in {
            "save": (self._file, "Save results…"),
            "copy": (self._edit, "Copy results"),
            "previous": (self._view, "Previous picture"),
            "next": (self._view, "Next picture"),
            "analyse": (self._view, "Analyse"),
            "analyse_folder": (self._view, "Analyse folder"),
            "about": (self._help, "About this model"),
        }.items():
            menu.entryconfigure(label, state="normal" if entries[name] else "disabled")

    def _add(self, bar: tk.Menu, label: str) -> tk.Menu:
        menu = tk.Menu(bar)
        bar.add_cascade(label=label, menu=menu)
        return menu

    def _entry(self, menu: tk.Menu, label: str, command: Command, key: str = "") -> None:
        menu.add_command(label=label, command=command, accelerator=f"{self._control}+{key}" if key else "")

    def _list_pictures(self) -> None:
        self._pictures.delete(0, "end")
        for path in self._recent.pictures:
            self._pictures.add_command(
                label=shortened_middle(path, 80),
                command=lambda path=path: self._commands.open_path(path),  # type: ignore[misc]
            )
        if not self._recent.pictures:
            self._pictures.add_command(label="None yet", state="disabled")


class ModelButton(ttk.Menubutton):
    """Shows which model answers, and lists the others."""

    def __init__(self, parent: tk.Misc, commands: Commands, recent: Recent) -> None:
        super().__init__(parent)
        self._commands, self._recent = commands, recent
        self._chosen = tk.StringVar(self)
        self.menu = tk.Menu(self, postcommand=self.fill)
        self.configure(menu=self.menu)

    def show(self, name: str) -> None:
        self.configure(text=shortened_middle(name, 28))
        self._chosen.set(name)

    def fill(self) -> None:
        self.menu.delete(0, "end")
        self._heading("Comes with whatsit")
        self._choice(f"{named_models.BUILTIN}: ten everyday things", named_models.BUILTIN)
        if self._recent.models:
            self._heading("Opened before")
            for path in self._recent.models:
                self._choice(shortened_middle(path, 60), path)
        self._heading("With ImageNet's 1,000 labels (the first time takes minutes)")
        for name in models.by_name():
            self._choice(name, name)
        self.menu.add_separator()
        self.menu.add_command(label="Open a model file…", command=self._commands.open_model)

    def _heading(self, text: str) -> None:
        if self.menu.index("end") is not None:
            self.menu.add_separator()
        self.menu.add_command(label=text, state="disabled")

    def _choice(self, label: str, choice: str) -> None:
        self.menu.add_radiobutton(
            label=label,
            variable=self._chosen,
            value=models.shown(choice),
            command=lambda: self._commands.choose_model(choice),
        )
