"""What the window is about, without any widget: what is chosen, under way and answered.

The window calls the methods, hears what comes of them through `deliver`, and shows the attributes. All of that happens
on one thread; the work itself is done by three lanes, for pictures, models and whole folders.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit import named_models
from whatsit.apps.desktop import models, pictures
from whatsit.apps.desktop.pictures import Chosen
from whatsit.apps.desktop.recent import Recent
from whatsit.apps.desktop.wording import TOP, shortened_middle
from whatsit.apps.desktop.work import Inbox, Lane, Task
from whatsit.apps.text import printable
from whatsit.errors import ImageError, WhatsitError
from whatsit.events import Event, Progress

if TYPE_CHECKING:
    from PIL import Image

    from whatsit.runtime import OpenModel
    from whatsit.runtime.prediction import Prediction

_PATIENCE = 1.0  # seconds for what is under way when the window is closed


class Session:
    """One window's state.

    model, opening       the open model, and the name of the one that is being opened
    picture, look        the chosen picture, and its pixels to look at; None while they are read or cannot be
    answer, reading      the answer about it, and whether one is on its way
    neighbours, place    the pictures of its folder, in order, and which of them it is, from 0
    answers              what this model answered about them
    judged, to_judge     how many pictures of the whole folder are read, of how many; both 0 when it is not under way
    note                 what happened last, in one line
    """

    def __init__(self, recent: Recent, on_error: Callable[[Exception], None]) -> None:
        self.recent = recent
        self._on_error = on_error
        self.model: OpenModel | None = None
        self.model_name = ""
        self.opening: str | None = None
        self._by_name = False
        self.picture: Chosen | None = None
        self.look: Image.Image | None = None
        self.answer: Prediction | None = None
        self.reading = False
        self.neighbours: Sequence[Path] = ()
        self.place: int | None = None
        self.answers: dict[Path, Prediction] = {}
        self.judged = self.to_judge = 0
        self.note = ""
        self._inbox = Inbox()
        self._pictures, self._models, self._folder, self._files = (
            Lane(name, self._inbox) for name in ("pictures", "models", "folder", "files")
        )

    def deliver(self, seconds: float = 0.02) -> bool:
        """Hear what the lanes told. Whether anything changed."""
        return self._inbox.deliver(seconds)

    def close(self) -> None:
        lanes = (self._pictures, self._models, self._folder)
        for lane in lanes:
            lane.cancel()
        for lane in lanes:
            lane.close(_PATIENCE)
        self._files.close(_PATIENCE)  # not cancelled: what is being saved is saved

    # ---- the model

    def choose_model(self, choice: str) -> None:
        """Open a model file, or a network by name. Until it is open, the former model stays."""
        self.opening, self._by_name = models.shown(choice), models.file_of(choice) is None
        self._models.ask(partial(self._open_model, choice), self._model_failed)

    def _open_model(self, choice: str, task: Task) -> None:
        file = models.file_of(choice)
        try:
            model = models.opened(choice, task.stopped)
        except WhatsitError:
            if file is not None:
                self.recent.forget(file)
            raise
        if file not in (None, named_models.BUILTIN_FILE):
            self.recent.add_model(file)
        task.tell(self._model_opened, models.shown(choice), model)

    def _model_opened(self, name: str, model: OpenModel) -> None:
        if self.model is not None:
            self.note = f"{printable(name)} answers now."
        self.model, self.model_name, self.opening = model, name, None
        self._stop_judging()
        self.answers = {}
        if self.picture is not None and not self.reading:
            self._ask()

    def _model_failed(self, error: Exception) -> None:
        self.opening = None
        self._on_error(error)

    # ---- the picture

    def open(self, path: str | os.PathLike[str], of: int = 1) -> None:
        """Show and answer a picture, or the first one of a folder. What is wrong with it is told as an error.

        `of` is how many were dropped at once: the others are not opened, and the note says so.
        """
        self.reading, self.note = True, ""
        self._pictures.ask(partial(self._open, Path(os.path.abspath(path)), of, self.model), self._failed)

    def paste(self, text: str = "") -> None:
        """The same for the picture in the clipboard, or the file that the `text` in it names."""
        self.reading, self.note = True, ""
        self._pictures.ask(partial(self._paste, text, self.model), self._failed)

    def step(self, by: int) -> None:
        """Go on in the folder; at its ends nothing happens."""
        if self.place is not None and 0 <= self.place + by < len(self.neighbours):
            self._show(Chosen.file(self.neighbours[self.place + by]), self.place + by)
            self._ask()

    def analyse(self) -> None:
        """Read the picture again and ask again: it may have changed."""
        if self.picture is not None:
            if self.picture.path is not None:
                self.answers.pop(self.picture.path, None)
            self._ask()

    def _show(self, chosen: Chosen, place: int | None = None) -> None:
        former = self.picture.folder if self.picture else None
        if former is None or chosen.folder != former:
            self._stop_judging()
            self.answers = {}
        if place is None:  # until the folder is listed
            self.neighbours = ()
        self.picture, self.place, self.look, self.note = chosen, place, None, ""
        self.answer = self.answers.get(chosen.path) if chosen.path else None

    def _ask(self) -> None:
        assert self.picture is not None
        self.answer = self.answers.get(self.picture.path) if self.picture.path else None
        self.reading = True
        self._pictures.ask(
            partial(self._read, self.picture, self.model, self.answer, listed=bool(self.neighbours)), self._failed
        )

    def _open(self, path: Path, of: int, model: OpenModel | None, task: Task) -> None:
        path = pictures.as_on_disk(path)
        chosen = Chosen.file(pictures.first_in(path) if path.is_dir() else path)
        task.tell(self._show, chosen)
        if of > 1:
            task.tell(self._opened_one, chosen, of)
        self._read(chosen, model, None, task, by_hand=True)

    def _opened_one(self, chosen: Chosen, of: int) -> None:
        self.note = f"1 of {of:,} opened: {shortened_middle(chosen.name, 60)}. For all of them, put them in one folder."

    def _paste(self, text: str, model: OpenModel | None, task: Task) -> None:
        pasted = pictures.from_clipboard(text)
        if isinstance(pasted, list):
            self._open(Path(os.path.abspath(pasted[0])), len(pasted), model, task)
        else:
            chosen = Chosen(pasted, "pasted picture")
            task.tell(self._show, chosen)
            self._read(chosen, model, None, task, by_hand=True)

    def _read(
        self,
        chosen: Chosen,
        model: OpenModel | None,
        known: Prediction | None,
        task: Task,
        by_hand: bool = False,
        listed: bool = False,
    ) -> None:
        self._look_and_answer(chosen, model, known, task, by_hand)
        if not listed and chosen.path is not None:
            task.tell(self._listed, pictures.beside(chosen.path))

    def _look_and_answer(
        self, chosen: Chosen, model: OpenModel | None, known: Prediction | None, task: Task, by_hand: bool
    ) -> None:
        from whatsit import images

        began = time.perf_counter()
        try:
            picture = images.load(chosen.source, name=chosen.name)
        except ImageError as error:
            task.tell(self._unreadable, chosen, error, by_hand)
            return
        seconds = time.perf_counter() - began
        if by_hand and chosen.path is not None:
            self.recent.add_picture(chosen.path)
        task.check()
        task.tell(self._seen, pictures.to_look_at(picture))
        if known is None and model is not None:
            prediction = model.predict(picture, top=TOP)
            name = chosen.name if chosen.path is None else str(chosen.path)
            known = replace(prediction, path=name, seconds=seconds + prediction.seconds)
        task.tell(self._answered, chosen, known, model)

    def _seen(self, look: Image.Image) -> None:
        self.look = look

    def _answered(self, chosen: Chosen, prediction: Prediction | None, model: OpenModel | None) -> None:
        if model is not self.model:  # another one was opened meanwhile
            self._ask()
        else:
            self._keep(chosen, prediction)

    def _keep(self, chosen: Chosen, prediction: Prediction | None) -> None:
        self.answer, self.reading = prediction, False
        if chosen.path is not None and prediction is not None:
            self.answers[chosen.path] = prediction

    def _unreadable(self, chosen: Chosen, error: ImageError, by_hand: bool) -> None:
        from whatsit.runtime.prediction import Prediction

        name = chosen.name if chosen.path is None else str(chosen.path)
        self._keep(chosen, Prediction(name, None, None, (), error=str(error.value)))
        self.look = None
        if by_hand:
            self._on_error(error)

    def _listed(self, neighbours: Sequence[Path]) -> None:
        assert self.picture is not None
        assert self.picture.path is not None
        self.neighbours, self.place = neighbours, neighbours.index(self.picture.path)

    def _failed(self, error: Exception) -> None:
        self.reading = False
        self._on_error(error)

    # ---- the whole folder

    def analyse_folder(self) -> None:
        """Answer every picture of the folder; `judged` of `to_judge` are done."""
        if self.model is None or not self.neighbours:
            return
        self.judged, self.to_judge, self.note = 0, len(self.neighbours), ""
        self._folder.ask(partial(self._judge, self.model, self.neighbours), self._judging_failed)

    def _judge(self, model: OpenModel, paths: Sequence[Path], task: Task) -> None:
        def hear(event: Event) -> None:
            task.check()
            if isinstance(event, Progress):
                task.tell(self._judging, event.done)

        for path, prediction in zip(paths, model.stream(paths, top=TOP, on_event=hear), strict=True):
            task.tell(self._judged, path, prediction)
        task.tell(self._all_judged)

    def _judging(self, done: int) -> None:
        self.judged = done

    def _judged(self, path: Path, prediction: Prediction) -> None:
        self.answers[path] = prediction
        if self.picture is not None and path == self.picture.path and not self.reading:
            self.answer = prediction

    def _all_judged(self) -> None:
        unsure = sum(answer.unsure for answer in self.results)
        unread = sum(answer.error is not None for answer in self.results)
        self.note = f"{_pictures(self.to_judge)} analysed, {unsure:,} of them not sure"
        self.note += f", {unread:,} cannot be read." if unread else "."
        self.judged = self.to_judge = 0

    def _judging_failed(self, error: Exception) -> None:
        self._stop_judging()
        self._on_error(error)

    def _stop_judging(self) -> None:
        self._folder.cancel()
        self.judged = self.to_judge = 0

    # ---- in words

    @property
    def position(self) -> str:
        """Where in the folder the picture is: "3 of 17"."""
        return "" if self.place is None else f"{self.place + 1:,} of {len(self.neighbours):,}"

    @property
    def status(self) -> str:
        """What is going on, what happened last, or what to do first."""
        if self.to_judge:
            return f"Analysing the folder: {self.judged:,} of {self.to_judge:,}"
        if self.opening and self._by_name:
            return f"Getting {printable(self.opening)} ready. The first time, its weights are fetched: some minutes."
        if self.opening:
            return f"Opening {printable(self.opening)}…"
        if self.note or self.picture is not None or self.reading:
            return self.note
        return (
            "To begin, choose a picture. It stays on this computer."
            if self.model is not None
            else "To begin, choose a model."
        )

    @property
    def awaited(self) -> str:
        """What stands in the answer's place until there is one."""
        if self.reading:
            return "Looking…"
        if self.picture is None:
            return "The answer appears here."
        if self.model is None:
            return "Waiting for the model…" if self.opening else "Choose a model first."
        return "Press Analyse."

    # ---- stopping, saving

    def cancel(self) -> None:
        """Stop all that is under way. What has been answered stays."""
        if not self.busy:
            return
        of = f" {len(self.results):,} of {_pictures(self.to_judge)} answered." if self.to_judge else ""
        self.note = f"Stopped.{of}"
        for lane in (self._pictures, self._models):
            lane.cancel()
        self._stop_judging()
        self.opening, self.reading = None, False

    @property
    def busy(self) -> bool:
        return bool(self.opening or self.reading or self.to_judge)

    @property
    def has_results(self) -> bool:
        return bool(self.answers) or self.answer is not None

    @property
    def results(self) -> list[Prediction]:
        """All answers there are about this folder, in its order, or the one about a pasted picture."""
        if self.neighbours:
            return [self.answers[path] for path in self.neighbours if path in self.answers]
        return [self.answer] if self.answer is not None else []

    def save(self, file: Path) -> None:
        """Write the results as CSV."""
        self._files.ask(partial(self._save, file, self.results), self._on_error)

    def _save(self, file: Path, results: Sequence[Prediction], task: Task) -> None:
        from whatsit import storage
        from whatsit.apps import tables

        with (
            storage.elsewhere("save it in another place"),
            storage.beside(file) as part,
            part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out,
        ):
            tables.write_csv(results, out)
        task.tell(self._saved, f"Saved {len(results):,} answer{'s' * (len(results) != 1)} in {printable(file.name)}.")

    def _saved(self, note: str) -> None:
        self.note = note


def _pictures(n: int) -> str:
    return f"{n:,} picture{'s' * (n != 1)}"
