"""The window: its parts, and what a person does in it. What comes of that is the session's."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import tkinter as tk
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tkinter import filedialog, ttk
from types import TracebackType
from typing import ParamSpec

from whatsit import images, named_models
from whatsit.apps import presenter
from whatsit.apps.desktop import dialogs, dropping, looks, wording
from whatsit.apps.desktop.answer import AnswerPanel
from whatsit.apps.desktop.footer import Footer
from whatsit.apps.desktop.menus import Commands, MenuBar, ModelButton, bind_keys, control_name
from whatsit.apps.desktop.picture import PictureCanvas
from whatsit.apps.desktop.recent import Recent, recent_file
from whatsit.apps.desktop.session import Session
from whatsit.apps.text import printable

P = ParamSpec("P")

_SIZE, _LEAST = (1080, 720), (680, 480)
_BUSY_TICK, _IDLE_TICK = 15, 100  # milliseconds between two looks at what the threads told
_LAG = 200  # milliseconds for which the former picture stays: most are read faster, and the window does not flicker


class Window:
    """`run` shows it and returns when it is closed."""

    def __init__(self, root: tk.Tk, model: str | None = None, picture: str | os.PathLike[str] | None = None) -> None:
        self.root = root
        self._begin_with = (model or named_models.BUILTIN, picture)
        self.session = Session(Recent(recent_file()), self._failed)
        self._errors: deque[BaseException] = deque()
        self._lagging: str | None = None
        self._late = False
        self._closed = self._signalled = False
        self._collected = gc.isenabled()
        root.withdraw()
        root.report_callback_exception = self._mistake
        root.protocol("WM_DELETE_WINDOW", self.close)
        self.looks = looks.dress(root)
        self._commands = self._what_can_be_done()
        self._lay_out()
        bind_keys(root, self._commands)
        self.refresh()
        root.deiconify()

    def run(self) -> None:
        try:
            with self._closed_by_signals():
                self.root.update()  # on the screen, before the threads ask for the processor
                self.begin()
                self.root.mainloop()
        finally:
            self.end()

    @contextlib.contextmanager
    def _closed_by_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM close the window at the next tick. An exception could be lost inside a dialog of Tk's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(*_: object) -> None:
            self._signalled = True

        former = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def begin(self) -> None:
        """Open the model, and hear from now on what the threads tell."""
        gc.disable()  # see _tidy
        model, picture = self._begin_with
        self.session.choose_model(model)
        if picture is not None:
            self.session.open(picture)
        self._poll()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for awaited in ("button", "selectFilePath"):  # a dialog of Tk's own that is open would wait for ever
            self.root.tk.call("set", f"::tk::Priv({awaited})", "")
        self.root.after_idle(self.root.destroy)  # when it has ended

    def end(self) -> None:
        """After it was closed."""
        with contextlib.suppress(tk.TclError):  # already destroyed
            self.root.destroy()
        self.session.close()
        if self._collected:
            gc.enable()

    # ---- the parts

    def _lay_out(self) -> None:
        root, px = self.root, self.looks.px
        root.title("whatsit")
        width, height = (min(px(side), room) for side, room in zip(_SIZE, _room(root), strict=True))
        root.geometry(f"{width}x{height}")
        root.minsize(*(min(px(side), room) for side, room in zip(_LEAST, _room(root), strict=True)))
        self.menu = MenuBar(root, self._commands, self.session.recent)
        whole = ttk.Frame(root, padding=(px(16), px(14), px(16), px(10)))
        self._drops = dropping.accept_files(whole, self._dropped)
        whole.pack(fill="both", expand=True)
        whole.columnconfigure(0, weight=3, uniform="halves")
        whole.columnconfigure(1, weight=2, uniform="halves")
        whole.rowconfigure(1, weight=1)
        self._header(whole).grid(row=0, column=0, columnspan=2, sticky="ew", pady=(0, px(12)))
        self._card(whole).grid(row=1, column=0, sticky="nsew", padx=(0, px(12)))
        self.answer = AnswerPanel(whole, self.looks)
        self.answer.grid(row=1, column=1, sticky="nsew")
        self._buttons(whole).grid(row=2, column=0, columnspan=2, sticky="ew", pady=(px(12), px(6)))
        self.footer = Footer(whole, self.looks, self._commands.cancel)
        self.footer.grid(row=3, column=0, columnspan=2, sticky="ew")

    def _header(self, parent: tk.Misc) -> ttk.Frame:
        frame, px = ttk.Frame(parent), self.looks.px
        frame.columnconfigure(0, weight=1)
        ttk.Label(frame, text="What is in the picture?", style="Title.TLabel").grid(row=0, column=0, sticky="w")
        ttk.Label(frame, text="Model", style="Quiet.TLabel").grid(row=0, column=1, padx=px(8))
        self.model = ModelButton(frame, self._commands, self.session.recent)
        self.model.grid(row=0, column=2)
        self.summary = ttk.Label(frame, style="Quiet.TLabel", justify="left")
        self.summary.grid(row=1, column=0, columnspan=3, sticky="ew", pady=(px(6), 0))
        frame.bind("<Configure>", lambda event: self.summary.configure(wraplength=max(1, event.width)))
        return frame

    def _card(self, parent: tk.Misc) -> ttk.Frame:
        frame, px = ttk.Frame(parent, style="Card.TFrame"), self.looks.px
        frame.columnconfigure(1, weight=1)
        frame.rowconfigure(0, weight=1)
        self.picture = PictureCanvas(frame, self.looks)
        self.picture.grid(row=0, column=0, columnspan=3, sticky="nsew")
        self.previous = ttk.Button(frame, text="‹ Previous", command=self._commands.previous, style="Step.TButton")
        self.place = ttk.Label(frame, style="Card.TLabel", anchor="center")
        self.next = ttk.Button(frame, text="Next ›", command=self._commands.next, style="Step.TButton")
        for column, part in enumerate((self.previous, self.place, self.next)):
            part.grid(row=1, column=column, sticky="ew", padx=px(10), pady=px(10))
        return frame

    def _buttons(self, parent: tk.Misc) -> ttk.Frame:
        frame, px, commands = ttk.Frame(parent), self.looks.px, self._commands
        self.open = ttk.Button(frame, text="Open picture…", command=commands.open_picture)
        self.analyse = ttk.Button(frame, text="Analyse", command=commands.analyse)
        self.analyse_folder = ttk.Button(frame, text="Analyse folder", command=commands.analyse_folder)
        self.copy = ttk.Button(frame, text="Copy results", command=commands.copy)
        self.save = ttk.Button(frame, text="Save results…", command=commands.save)
        frame.columnconfigure(3, weight=1)
        for column, button in zip((0, 1, 2, 4, 5), self._all_buttons(), strict=True):
            button.grid(row=0, column=column, padx=(0 if column == 0 else px(8), 0))
        return frame

    def _all_buttons(self) -> Sequence[ttk.Button]:
        return self.open, self.analyse, self.analyse_folder, self.copy, self.save

    # ---- what a person does

    def _what_can_be_done(self) -> Commands:
        session = self.session
        return Commands(
            open_picture=self._open_picture,
            open_folder=self._open_folder,
            open_model=self._open_model,
            paste=self._paste,
            save=self._save,
            close=self.close,
            copy=self._copy,
            previous=self._and_show(session.step, -1),
            next=self._and_show(session.step, 1),
            analyse=self._and_show(session.analyse),
            analyse_folder=self._and_show(session.analyse_folder),
            cancel=self._and_show(session.cancel),
            about=self._about,
            keys=self._keys,
            open_path=lambda path: self._and_show(session.open, path)(),
            choose_model=lambda choice: self._and_show(session.choose_model, choice)(),
        )

    def _and_show(self, act: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Callable[[], None]:
        def acted() -> None:
            act(*args, **kwargs)
            self.refresh()

        return acted

    def _open_picture(self) -> None:
        patterns = [pattern for suffix in sorted(images.PICTURE_SUFFIXES) for pattern in (suffix, suffix.upper())]
        chosen = filedialog.askopenfilename(
            parent=self.root,
            title="Choose a picture",
            initialdir=self._folder(),
            filetypes=[("Pictures", patterns), ("All files", "*")],
        )
        if chosen:
            self._commands.open_path(chosen)

    def _open_folder(self) -> None:
        chosen = filedialog.askdirectory(
            parent=self.root, title="Choose a folder of pictures", initialdir=self._folder(), mustexist=True
        )
        if chosen:
            self._commands.open_path(chosen)

    def _open_model(self) -> None:
        chosen = filedialog.askopenfilename(
            parent=self.root, title="Choose a model file", filetypes=[("Model files", ".onnx"), ("All files", "*")]
        )
        if chosen:
            self._commands.choose_model(os.path.abspath(chosen))

    def _folder(self) -> str | None:
        picture = self.session.picture
        return str(picture.folder) if picture and picture.folder else None

    def _dropped(self, files: Sequence[str]) -> None:
        if files:
            self._and_show(self.session.open, files[0], of=len(files))()

    def _paste(self) -> None:
        try:
            text = self.root.clipboard_get()
        except tk.TclError:  # no text in it: perhaps a picture
            text = ""
        self._and_show(self.session.paste, text)()

    def _copy(self) -> None:
        if self.session.answer is not None:
            self.root.clipboard_clear()
            self.root.clipboard_append(presenter.copied(self.session.answer))
            self.session.note = "Copied the answer."
            self.refresh()

    def _save(self) -> None:
        if not self.session.has_results:
            return
        folder = self._folder()
        chosen = filedialog.asksaveasfilename(
            parent=self.root,
            title="Save the results as CSV",
            initialdir=folder,
            initialfile=f"{printable(Path(folder).name) if folder else 'picture'}.csv",
            defaultextension=".csv",
            filetypes=[("CSV", ".csv")],
        )
        if chosen:
            self._and_show(self.session.save, Path(chosen))()

    def _about(self) -> None:
        if self.session.model is not None:
            facts = [*presenter.about(self.session.model.manifest), ("File", str(self.session.model.path))]
            dialogs.show_facts(self.root, self.looks, f"About {printable(self.session.model_name)}", facts)

    def _keys(self) -> None:
        dialogs.show_keys(self.root, self.looks, control_name(self.root))

    # ---- what comes of it

    def _poll(self) -> None:
        if self._signalled:
            self.close()
        if self._closed:
            return
        if self.session.deliver():
            self.refresh()
        self._tidy()
        self.root.after(_BUSY_TICK if self.session.busy else _IDLE_TICK, self._poll)

    def _tidy(self) -> None:
        """Collect garbage on this thread alone: what Tk made, another one may not take apart, or the program aborts."""
        counts, limits = gc.get_count(), gc.get_threshold()
        if counts[0] > limits[0]:
            gc.collect(2 if counts[2] > limits[2] else 1 if counts[1] > limits[1] else 0)

    def _failed(self, error: BaseException) -> None:
        self._errors.append(error)
        if len(self._errors) == 1:
            self.root.after_idle(self._show_errors)  # later: a dialog waits for a person, and the session must not

    def _show_errors(self) -> None:
        while self._errors and not self._closed:
            dialogs.show_error(self.root, self._errors[0])
            self._errors.popleft()

    def _mistake(self, _: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        """In Tk's place, which would print a traceback that nobody sees."""
        if not self._closed:  # afterwards, the dialog that was open fails
            self._failed(error)

    def refresh(self) -> None:
        """Show the session as it is now."""
        session = self.session
        name = wording.shortened_middle(session.picture.name, 80) if session.picture else ""
        self.root.title(f"{name} - whatsit" if name else "whatsit")
        self.place.configure(text=session.position)
        self.model.show(session.model_name or session.opening or "none")
        self.summary.configure(text=wording.summary(session.model.manifest) if session.model else " ")
        self.footer.show(session.status, session.busy, session.judged, session.to_judge)
        self._refresh_controls()
        waiting = self._is_waiting()
        self._refresh_picture(waiting)
        self._refresh_answer(waiting)

    def _is_waiting(self) -> bool:
        """Whether the former picture and answer may stay a little longer."""
        if not self.session.reading:
            if self._lagging is not None:
                self.root.after_cancel(self._lagging)
            self._lagging, self._late = None, False
        elif self._lagging is None and not self._late:
            self._lagging = self.root.after(_LAG, self._no_longer_wait)
        return self.session.reading and not self._late

    def _no_longer_wait(self) -> None:
        self._lagging, self._late = None, True
        self.refresh()

    def _refresh_picture(self, waiting: bool) -> None:
        session = self.session
        if session.look is not None:
            self.picture.show(session.look)
        elif waiting:
            return
        elif session.reading:
            self.picture.say("Reading the picture…")
        elif session.picture is None:
            self.picture.say("Welcome to whatsit", self._welcome(), numbered=True, dashed=self._drops)
        elif session.answer is not None:
            self.picture.say("This picture cannot be shown", [wording.shortened_middle(session.picture.name, 60)])
        else:
            self.picture.say("This picture was not read", ["Press Analyse to read it."])

    def _welcome(self) -> Sequence[str]:
        control = control_name(self.root)
        ways = [f"press Open picture… ({control}+O)", *(["drop one here"] if self._drops else [])]
        return (
            f"Choose a picture: {', '.join(ways)} or paste one ({control}+V).",
            "Read on the right what it shows.",
            "Go on through its folder with the arrow keys, or analyse the whole folder and save the results.",
        )

    def _refresh_answer(self, waiting: bool) -> None:
        session = self.session
        if session.answer is not None and session.picture is not None:
            manifest = session.model.manifest if session.model else None
            self.answer.show(wording.answer(session.answer, manifest, session.picture.name))
        elif not waiting:
            self.answer.show(wording.Shown("waiting", session.awaited))

    def _refresh_controls(self) -> None:
        session = self.session
        last = len(session.neighbours) - 1
        can = {
            "previous": bool(session.place),
            "next": session.place is not None and session.place < last,
            "analyse": session.picture is not None,
            "analyse_folder": session.model is not None and last > 0 and not session.to_judge,
            "copy": session.answer is not None,
            "save": session.has_results,
        }
        self.menu.enable(**can, about=session.model is not None)
        for name, possible in can.items():
            getattr(self, name).state(["!disabled" if possible else "disabled"])
        self.open.configure(style="TButton" if session.picture else "Accent.TButton")
        self.analyse.configure(style="Accent.TButton" if session.picture else "TButton")


def _room(root: tk.Tk) -> tuple[int, int]:
    """The screen, less what panels and a title take."""
    return root.winfo_screenwidth() - 40, root.winfo_screenheight() - 100
