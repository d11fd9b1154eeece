"""The second tab: a folder's worth of pictures or a zip, a table of answers, a CSV."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from whatsit.apps.served import Served
from whatsit.apps.web import pictures
from whatsit.apps.web.answer import message, text
from whatsit.apps.web.batch import MOST_PICTURES, Batch, Upload, chunks
from whatsit.apps.web.guard import uploaded
from whatsit.apps.web.table import SCRIPT, Row, table
from whatsit.apps.web.uploads import Uploads
from whatsit.apps.web.work import Work
from whatsit.dataset import in_parallel
from whatsit.errors import ImageError
from whatsit.events import ignore
from whatsit.runtime.prediction import Prediction

_AT_ONCE = 16  # pictures between two signs of progress
_TOP = 5  # labels in the CSV, as many as `whatsit predict` writes

_EVENT = {"api_visibility": "private"}
_WORK = {**_EVENT, "concurrency_limit": 2, "concurrency_id": "many", "preprocess": False, "postprocess": False}


class Many:
    """The tab's parts, and what happens when pictures arrive."""

    def __init__(self, models: Sequence[Served], uploads: Uploads, work: Work) -> None:
        self._work = work
        self._models = {served.name: served for served in models}
        self._uploads = uploads
        self._running: set[tuple[str | None, threading.Event]] = set()  # session, set once somebody wants no more

    # ---- what happens

    def run(self, sent: Any, model: str, request: gr.Request) -> Iterator[list[Any]]:
        """Progress, then the table: what becomes of [status, table, drop zone, folder button]."""
        uploads = [Upload(*uploaded(one, self._uploads)) for one in _listed(sent)]
        enough = threading.Event()
        running = (request.session_hash, enough)
        self._running.add(running)
        rows: list[Row] = []
        with ExitStack() as stack:
            stack.callback(self._running.discard, running)
            stack.enter_context(self._uploads.using([upload.path for upload in uploads]))
            batch = stack.enter_context(Batch(uploads))
            started = time.monotonic()
            yield [_progress(0, len(batch.found), 0.0), "", None, None]
            for chunk in chunks(batch, _AT_ONCE):
                with self._work.going_on():
                    rows += self._rows(self._models[model], chunk)
                yield [_progress(len(rows), len(batch.found), time.monotonic() - started), "", None, None]
                if enough.is_set():
                    break
            notes = batch.notes()
            seconds = time.monotonic() - started
        yield [_summary(rows, len(batch.found), seconds, notes), table(rows), None, None]

    def stop(self, request: gr.Request) -> None:
        """All that goes on in this window: a drop and a folder may at once."""
        for session, enough in tuple(self._running):
            if session == request.session_hash:
                enough.set()

    def _rows(self, served: Served, chunk: Sequence[tuple[str, Path | bytes | ImageError]]) -> list[Row]:
        readable = [source for _, source in chunk if not isinstance(source, ImageError)]
        answered = iter(served.model.predict(readable, top=_TOP))
        thumbnails = iter(list(in_parallel(pictures.thumbnail, readable, "making thumbnails", ignore)))
        rows = []
        for name, source in chunk:
            if isinstance(source, ImageError):
                rows.append(Row(Prediction(name, None, None, (), error=str(source.value)), ""))
            else:
                rows.append(Row(replace(next(answered), path=name), next(thumbnails)))
        return rows

    # ---- what stands there

    def build(self) -> None:
        """Inside a tab."""
        names = list(self._models)
        model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model")
        dropped = gr.File(
            file_count="multiple",
            label="Drop pictures or a zip here, or click to choose them",
            show_label=False,
            height=150,
            elem_id="dropped",
        )
        with gr.Row(elem_id="choose"):
            folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm", scale=0, min_width=160)
            stop = gr.Button("Stop", size="sm", scale=0, min_width=80, elem_id="stop")
        gr.HTML(f"<p class='quiet'>Up to {MOST_PICTURES:,} pictures at a time. None of them is kept.</p>")
        status = gr.HTML("", elem_id="status")
        answers = gr.HTML("", js_on_load=SCRIPT, elem_id="many")
        for source in (dropped, folder):
            source.upload(
                self.run,
                [source, model],
                [status, answers, dropped, folder],
                show_progress="minimal",  # tells somebody whose turn it is not yet
                show_progress_on=status,
                **_WORK,
            )
        stop.click(
            self.stop, None, None, show_progress="hidden", concurrency_limit=None, concurrency_id="stop", **_EVENT
        )


def _listed(sent: Any) -> list[Mapping[str, Any]]:
    return [] if sent is None else sent if isinstance(sent, list) else [sent]


def _progress(done: int, total: int, seconds: float) -> str:
    left = seconds / done * (total - done) if done else 0.0
    words = f"{done:,} of {total:,}" + (f", about {_rough(left)} left" if done and left >= 1 else "")
    share = done / total if total else 1.0
    return f"<div class='progress running'><div style='width:{share:.1%}'></div></div><p class='quiet'>{words}</p>"


def _summary(rows: Sequence[Row], total: int, seconds: float, notes: Sequence[str]) -> str:
    if not rows:
        said = message("There is no picture among them.", "error")
    elif len(rows) < total:
        said = message(f"Stopped after {len(rows):,} of {total:,} pictures.")
    else:
        said = message(f"{len(rows):,} picture{'' if len(rows) == 1 else 's'} in {_rough(seconds)}.")
    return said + "".join(f"<p class='quiet'>{text(note)}</p>" for note in notes)


def _rough(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
