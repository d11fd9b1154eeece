"""The first tab: one picture, what each model says about it, and what it really shows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from whatsit.apps.feedback import Answered, Feedback
from whatsit.apps.served import Served
from whatsit.apps.text import sendable
from whatsit.apps.web import answer, pictures
from whatsit.apps.web.examples import Example
from whatsit.apps.web.guard import uploaded
from whatsit.apps.web.uploads import Uploads
from whatsit.apps.web.work import Work
from whatsit.dataset import content_hash
from whatsit.errors import OutputError, WhatsitError
from whatsit.runtime.prediction import Prediction

_MOST, _FIRST = 10, 3  # labels with bars: at most, and before anybody asks for more or fewer
_BUTTONS = 12  # labels that get a button each; more of them are looked for in a list

_EVENT = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
_CLASSIFYING = {
    **_EVENT,
    "show_progress": "minimal",
    "concurrency_limit": os.cpu_count() or 1,  # a model answers several at a time
    "concurrency_id": "classify",
}
_QUICK = {**_EVENT, "concurrency_limit": None, "concurrency_id": "quick"}


@dataclass(frozen=True)
class Kept:
    """What the server remembers about the picture somebody is looking at.

    file    the upload as it came, if it may get its right label
    given   the ids of what was said about it, the last one last
    """

    name: str
    predictions: tuple[Prediction, ...]
    file: Path | None = None
    given: tuple[tuple[str, str], ...] = ()


class Classify:
    """The tab's parts, and what happens when a picture arrives."""

    def __init__(
        self,
        models: Sequence[Served],
        examples: Sequence[Example],
        uploads: Uploads,
        work: Work,
        feedback: Feedback | None = None,
    ) -> None:
        self._models = models
        self._work = work
        self._examples = examples
        self._uploads = uploads
        self._feedback = feedback
        self._fingerprints = {served.name: content_hash(served.model.path) for served in models if feedback}
        self._most = min(_MOST, max(len(served.model.labels) for served in models))

    # ---- what happens

    def classify(self, file: Path, name: str) -> Kept:
        """Any file, as it is."""
        return Kept(name, tuple(served.model.predict(file, top=_MOST) for served in self._models))

    def upload(self, upload: Mapping[str, Any] | None, top: int, before: Kept | None) -> list[Any]:
        """`upload` is what Gradio says about an uploaded file: its path, and the name it had."""
        if upload is None:
            return [answer.WAITING, None, None, *self._no_feedback()]
        file, name = uploaded(upload, self._uploads)
        with self._work.going_on(), self._uploads.using([file]):
            kept = self.classify(file, name)
            if before is not None:
                self._uploads.forget(before.file)
            if self._feedback and kept.predictions[0].error is None:
                kept = replace(kept, file=self._uploads.keep(file))
            return [self.statement(kept, top), pictures.shown(file), kept, *self._no_feedback()]

    def example(self, number: int, top: int, before: Kept | None) -> list[Any]:
        if before is not None:
            self._uploads.forget(before.file)
        example = self._examples[number]
        with self._work.going_on():
            kept = self.classify(example.file, example.name)
            return [self.statement(kept, top), pictures.shown(example.shown), kept, *self._no_feedback()]

    def statement(self, kept: Kept, top: int) -> str:
        return answer.answers(self._models, kept.predictions, kept.name, top, teachable=kept.file is not None)

    def show(self, top: int, kept: Kept | None) -> Any:
        """The same answer with another number of labels."""
        return gr.skip() if kept is None else self.statement(kept, top)

    def give(self, label: Any, kept: Kept | None, request: gr.Request) -> list[Any]:
        """What the picture really shows, as somebody says."""
        if not isinstance(label, str) or not label:
            return [gr.skip(), gr.skip()]
        if self._feedback is None or kept is None or kept.file is None:
            return [answer.message("The picture is no longer here. Drop it again.", "error"), kept]
        try:
            entry = self._feedback.give(kept.file, label.strip(), who=_who(request), answers=self._answered(kept))
        except WhatsitError as error:
            return [answer.message(f"{error}", "error"), kept]
        kept = replace(kept, given=(*kept.given, (entry.id, entry.label)))
        return [answer.message(f"Saved as “{entry.label}”. Thank you.", "given"), kept]

    def undo(self, kept: Kept | None, request: gr.Request) -> list[Any]:
        """Take back what was said last about this picture, in this window."""
        if self._feedback is None or kept is None or not kept.given:
            return [*self._no_feedback(), kept]
        *earlier, (entry, label) = kept.given
        before, kept = kept, replace(kept, given=tuple(earlier))
        try:
            self._feedback.undo(entry, who=_who(request))
        except OutputError as error:  # it still stands, and may be undone later
            return [label, answer.message(f"{error}", "error"), before]
        except WhatsitError as error:
            return [None, answer.message(f"{error}", "error"), kept]
        if not earlier:
            return [None, answer.message(f"Undone: the picture is no longer saved as “{label}”."), kept]
        return [earlier[-1][1], answer.message(f"Saved as “{earlier[-1][1]}” again.", "given"), kept]

    def _answered(self, kept: Kept) -> list[Answered]:
        return [
            Answered(served.name, self._fingerprints[served.name], said.label, said.score)
            for served, said in zip(self._models, kept.predictions, strict=True)
        ]

    def _no_feedback(self) -> list[Any]:
        """The feedback's parts as they are before anybody says anything: nothing chosen, nothing said."""
        return [None, ""] if self._feedback else []

    # ---- what stands there

    def build(self, found: int) -> None:
        """Inside a tab. `found` is the number of pictures from which the examples are taken."""
        kept = gr.State()
        with gr.Row():
            with gr.Column(scale=2):
                picture = _drop_zone()
            with gr.Column(scale=3 if len(self._models) > 1 else 2, elem_id="answer"):
                said = gr.HTML(answer.WAITING)
                top = gr.Slider(
                    1,
                    max(2, self._most),
                    value=min(_FIRST, self._most),
                    step=1,
                    label="Labels shown",
                    buttons=[],
                    elem_id="top",
                    visible=self._most > 1,
                )
                feedback = self._feedback_parts(kept) if self._feedback else []
        shown = [said, picture, kept, *feedback]
        if self._examples:
            gallery = self._gallery(found)
            gallery.click(self.example, [gallery, top, kept], shown, postprocess=False, **_CLASSIFYING)
            self._uploads.lasting.update(Path(sample[0]["path"]) for sample in gallery.samples)
        # Gradio would open the file itself, and fail in its own words; and store anew what it is to show.
        picture.upload(self.upload, [picture, top, kept], shown, preprocess=False, postprocess=False, **_CLASSIFYING)
        top.change(self.show, [top, kept], said, **_QUICK)
        # In the browser alone: pasting clears first, and on its way to the server that could come in second.
        picture.clear(None, None, said, js=f"() => {json.dumps(answer.WAITING)}")

    def _feedback_parts(self, kept: Any) -> list[Any]:
        """Shown by the style sheet only below an answer that may be corrected. Returns the choice and what is said."""
        assert self._feedback is not None
        labels = [(sendable(label), label) for label in self._feedback.labels]
        with gr.Column(elem_id="feedback"):
            gr.HTML("<p>Wrong answer? Say what it is: the picture is saved for the next training.</p>")
            if len(labels) <= _BUTTONS:
                choice = gr.Radio(labels, label="Right label", show_label=False, container=False, elem_id="right")
            else:
                choice = gr.Dropdown(
                    labels, value=None, label=f"One of {len(labels):,} labels: type to find it", elem_id="right"
                )
            other = gr.Textbox(
                placeholder="Another label, then Enter",
                show_label=False,
                container=False,
                visible=self._feedback.new_labels,
                elem_id="other",
            )
            with gr.Row(elem_id="said"):
                said = gr.HTML("")
                undo = gr.Button("Undo", size="sm", min_width=60, scale=0, elem_id="undo")
        quick = {**_QUICK, "preprocess": False}
        choice.input(self.give, [choice, kept], [said, kept], **quick)
        other.submit(self.give, [other, kept], [said, kept], **quick)
        undo.click(self.undo, kept, [choice, said, kept], **_QUICK)
        return [choice, said]

    def _gallery(self, found: int) -> Any:
        some = f" ({len(self._examples)} of {found:,})" if len(self._examples) < found else ""
        return gr.Dataset(
            label=f"Examples{some}",
            components=["image"],
            samples=[[str(example.shown)] for example in self._examples],
            type="index",
            samples_per_page=20,
            elem_id="examples",
        )


def _drop_zone() -> Any:
    return gr.Image(
        label="Picture",
        show_label=False,
        type="filepath",
        format="png",
        sources=["upload", "webcam", "clipboard"],
        buttons=[],
        placeholder="Drop a picture here\nor click to choose one",
        height="min(24rem, 75vw)",
        elem_id="picture",
    )


def _who(request: gr.Request) -> str:
    """The name behind --auth, or else where the question came from."""
    return str(request.username or (request.client.host if request.client else "unknown"))
