"""What stands on the page, and what happens when a picture arrives."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import gradio as gr
from fastapi import FastAPI

from whatsit import images
from whatsit.apps import presenter
from whatsit.apps.web import examples as clickable
from whatsit.apps.web.server import OpenPage, open_page
from whatsit.errors import ImageError
from whatsit.evaluation.report import percent
from whatsit.runtime.open_model import OpenModel
from whatsit.runtime.prediction import Prediction

_STYLE = Path(__file__).with_name("page.css")
_CLEAN_UP = (30, 180)  # seconds: how often uploads are looked through, and how old they may get
_TOP = 3
_SMALL_FILE = 20_000  # bytes; such a picture may be tiny, and is enlarged for looking at
_SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"}
_WAITING = "<p class='quiet'>Drop a picture or click an example: the answer appears here.</p>"

_EVENT = {
    "api_visibility": "private",
    "concurrency_limit": os.cpu_count() or 1,  # a model answers several at a time
    "concurrency_id": "classify",
    "show_progress": "minimal",
    "trigger_mode": "always_last",
}

Shown = tuple[str, Any]
"""What a picture changes on the page: the statement (HTML), and the picture itself."""


class Page:
    """The page for an open model. A context manager: afterwards its temporary files are gone."""

    def __init__(self, model: OpenModel, examples: Sequence[Path] = ()) -> None:
        self.model = model
        self._temporary = TemporaryDirectory(prefix="whatsit-page-")
        self._folder = Path(self._temporary.name).resolve()
        self._uploads = self._folder / "uploads"
        self._kept_variable = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = str(self._uploads)  # where Gradio puts uploads, read again and again
        gr.routes.DEFAULT_TEMP_DIR = str(self._uploads)  # read from the variable at import; it makes a folder there
        try:
            self.examples, self._found = self._gather(examples)
            self.blocks = self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._kept_variable is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = self._kept_variable
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def open(self, host: str = "127.0.0.1", port: int = 7860, share: bool = False) -> Iterator[OpenPage]:
        """Open it on an address (port 0: any free one), with `share` on a public one too. Raises ServerError."""
        with open_page(_without_addresses(self._app()), host, port, share, self._folder) as opened:
            yield opened

    # ---- what happens

    def classify(self, file: Path, name: str, shown: Path | None = None) -> Shown:
        """Any file, as it is; `shown` is a picture to look at in its place."""
        prediction = self.model.predict(file, top=_TOP)
        why = presenter.why_unsure(self.model.manifest) if prediction.unsure else ""
        return statement(prediction, name, why), str(shown) if shown else _for_browsers(file, prediction)

    def classify_upload(self, upload: Mapping[str, Any] | None) -> Shown:
        """`upload` is what Gradio says about an uploaded file: its path, and the name it had."""
        if upload is None:
            return _WAITING, None
        file = Path(upload["path"])
        return self.classify(file, upload.get("orig_name") or file.name)

    def classify_example(self, number: int) -> Shown:
        example = self.examples[number]
        return self.classify(example.file, example.name, example.shown)

    # ---- what stands there

    def _gather(self, paths: Sequence[Path]) -> tuple[list[clickable.Example], int]:
        folder = self._folder / "examples"
        folder.mkdir()
        if paths:
            return clickable.from_paths(paths, folder)
        golden = clickable.from_manifest(self.model.manifest, folder)
        return golden, len(golden)

    def _build(self) -> Any:
        manifest = self.model.manifest
        title = f"whatsit: {_sendable(str(manifest.data.get('name') or self.model.path.name))}"
        with gr.Blocks(title=title, analytics_enabled=False, delete_cache=_CLEAN_UP) as blocks:
            gr.HTML(_heading(presenter.summary(manifest)))
            with gr.Row():
                with gr.Column():
                    picture = self._drop_zone()
                with gr.Column(elem_id="answer"):
                    answer = gr.HTML(_WAITING)
            shown = [answer, picture]
            if self.examples:
                gallery = self._gallery()
                gallery.click(self.classify_example, gallery, shown, **_EVENT)
                picture.keep_in_cache.update(sample[0]["path"] for sample in gallery.samples)
            with gr.Accordion("About this classifier", open=False):
                gr.HTML(_table(presenter.about(manifest)))
            # Gradio would open the file itself, and fail in its own words.
            picture.upload(self.classify_upload, picture, shown, preprocess=False, **_EVENT)
            # In the browser alone: pasting clears first, and on its way to the server that could come in second.
            picture.clear(None, None, answer, js=f"() => {json.dumps(_WAITING)}")
        return blocks

    def _drop_zone(self) -> Any:
        picture = gr.Image(
            label="Picture",
            show_label=False,
            type="filepath",
            format="png",
            sources=["upload", "clipboard"],
            buttons=[],
            placeholder="Drop a picture here\nor click to choose one",
            height="min(24rem, 75vw)",
            elem_id="picture",
        )
        picture.async_move_resource_to_block_cache = _only_inside(
            self._folder, picture.async_move_resource_to_block_cache
        )
        return picture

    def _gallery(self) -> Any:
        some = f" ({len(self.examples)} of {self._found:,})" if len(self.examples) < self._found else ""
        return gr.Dataset(
            label=f"Examples{some}",
            components=["image"],
            samples=[[str(example.shown)] for example in self.examples],
            type="index",
            samples_per_page=20,
            elem_id="examples",
        )

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        self.blocks.has_launched = True  # for Gradio's check that only uploads are read, which mounting leaves off
        return gr.mount_gradio_app(  # type: ignore[no-any-return]
            app,
            self.blocks,
            path="/",
            footer_links=[],
            show_error=False,
            max_file_size=images.DEFAULT_LIMITS.max_bytes,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            favicon_path=str(_favicon(self._folder)),
            theme=gr.themes.Default(
                primary_hue="teal", font=[gr.themes.Font("system-ui")], font_mono=[gr.themes.Font("ui-monospace")]
            ),
            css_paths=[_STYLE],
        )


def statement(prediction: Prediction, name: str, why: str = "") -> str:
    """The answer as HTML; whatever labels and file names hold, they stand there literally."""
    why = f"<p>{_text(why)}</p>" if why else ""
    if prediction.error is not None:
        return f"{_headline('error', prediction)}<p class='quiet'>{_text(name)}</p>"
    headline = _headline("unsure" if prediction.unsure else "sure", prediction)
    caption = f"<p class='quiet'>{_text(name)}, {presenter.duration(prediction.seconds)}</p>"
    return headline + why + _bars(prediction) + caption


def _headline(kind: str, prediction: Prediction) -> str:
    words = presenter.headline(prediction)
    if kind == "sure":  # the score stands back, so that it does not run into a label that ends in a number
        score = percent(prediction.score or 0.0)
        text = f"{_text(words.removesuffix(score))}<span>{_text(score)}</span>"
    else:
        text = _text(words[:1].upper() + words[1:])
    return f"<p class='headline {kind}'>{text}</p>"


def _bars(prediction: Prediction) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{_text(label)}</th>"
        f"<td><div style='width:{score:.2%}'></div></td><td>{_text(percent(score))}</td></tr>"
        for label, score in presenter.bars(prediction, _TOP)
    )
    return f"<table class='bars'>{rows}</table>"


def _text(text: str) -> str:
    """Escaped, and without line breaks between a number and its unit."""
    return escape(_sendable(text)).replace(" %", "\u00a0%")


def _sendable(text: str) -> str:
    """File names that are not valid UTF-8 reach Python as lone surrogates, which cannot be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _for_browsers(file: Path, prediction: Prediction) -> Any:
    """The picture as every browser can show it: the file itself, or its pixels; None if it cannot be read."""
    if prediction.error is not None:
        return None
    if file.suffix.lower() in _SHOWN_BY_BROWSERS and file.stat().st_size > _SMALL_FILE:
        return str(file)
    try:
        return clickable.viewable(images.load(file))
    except ImageError:
        return None


def _heading(summary: str) -> str:
    return f"<h1>What is in the picture?</h1><p>{_text(summary)}</p>"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th scope='row'>{_text(name)}</th><td>{_text(text)}</td></tr>" for name, text in rows)
    return f"<table class='about'>{cells}</table>"


def _favicon(folder: Path) -> Path:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, 63, 63), 14, fill="#0d9488")
    draw.text((32, 31), "?", "white", ImageFont.load_default(52), anchor="mm")
    path = folder / "favicon.png"
    image.save(path)
    return path


def _only_inside(folder: Path, move: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Gradio copies to its cache whatever a client names, other files and internet addresses too. Not here."""

    async def checked(source: Any) -> Any:
        if source is not None and not Path(source).resolve().is_relative_to(folder):
            raise gr.Error("This is not an uploaded picture.", print_exception=False)
        return await move(source)

    return checked


def _without_addresses(app: Any) -> Any:
    """Gradio would also fetch any internet address that a client asks for."""

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if "://" in scope.get("path", ""):
            scope = {**scope, "path": "/not-found", "raw_path": b"/not-found"}
        await app(scope, receive, send)

    return refusing
