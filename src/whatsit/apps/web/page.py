"""The page as a whole: its tabs, its temporary files, and how it is put on a server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import gradio as gr
from fastapi import FastAPI

from whatsit.apps.feedback import Feedback
from whatsit.apps.served import Served
from whatsit.apps.text import sendable
from whatsit.apps.web import about, answer, guard
from whatsit.apps.web import examples as clickable
from whatsit.apps.web.batch import MOST_UPLOADED
from whatsit.apps.web.classify import Classify
from whatsit.apps.web.many import Many
from whatsit.apps.web.uploads import Uploads
from whatsit.apps.web.work import Work

_STYLE = Path(__file__).with_name("page.css")
_SESSIONS = 200  # windows whose answers are remembered; a table of many pictures takes megabytes


class Page:
    """The page for open models. A context manager: afterwards its temporary files are gone."""

    def __init__(
        self, models: Sequence[Served], examples: Sequence[Path] = (), *, feedback: Feedback | None = None
    ) -> None:
        self.models = models
        self.work = Work()
        self._temporary = TemporaryDirectory(prefix="whatsit-page-")
        self._folder = Path(self._temporary.name).resolve()
        self.uploads = Uploads(self._folder)
        self._kept_variable = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = str(self.uploads.folder)  # where Gradio puts uploads, read again and again
        gr.routes.DEFAULT_TEMP_DIR = str(self.uploads.folder)  # read from the variable at import
        try:
            self.examples, self._found = self._gather(examples)
            self.classify = Classify(models, self.examples, self.uploads, self.work, feedback)
            self.many = Many(models, self.uploads, self.work)
            self.blocks = self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._kept_variable is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = self._kept_variable
        self.work.end()
        self.uploads.close()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def app(self, auth: tuple[str, str] | None = None) -> Any:
        """The page as an ASGI application, for the root of a server. With `auth`, it asks for them first."""
        app = FastAPI(openapi_url=None)
        self.blocks.has_launched = True  # for Gradio's check that only uploads are read, which mounting leaves off
        gr.mount_gradio_app(
            app,
            self.blocks,
            path="/",
            auth=guard.password_check(auth) if auth else None,
            footer_links=[],
            show_error=False,
            max_file_size=MOST_UPLOADED,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            favicon_path=str(_favicon(self._folder)),
            theme=gr.themes.Default(
                primary_hue="teal", font=[gr.themes.Font("system-ui")], font_mono=[gr.themes.Font("ui-monospace")]
            ),
            css_paths=[_STYLE],
        )
        mounted: Any = app.routes[-1]
        mounted.app = guard.guarded(mounted.app, self.uploads)
        return app

    def _gather(self, paths: Sequence[Path]) -> tuple[list[clickable.Example], int]:
        folder = self._folder / "examples"
        folder.mkdir()
        if paths:
            return clickable.from_paths(paths, folder)
        golden = clickable.from_manifest(self.models[0].model.manifest, folder)
        return golden, len(golden)

    def _build(self) -> Any:
        with gr.Blocks(title=f"whatsit: {self._title()}", analytics_enabled=False) as blocks:
            gr.HTML(answer.heading(self.models))
            with gr.Tabs(elem_id="tabs"):
                with gr.Tab("Classify"):
                    self.classify.build(self._found)
                with gr.Tab("Many pictures"):
                    self.many.build()
                with gr.Tab("About"):
                    gr.HTML(about.about(self.models), elem_id="about")
        for component in blocks.blocks.values():
            if hasattr(component, "async_move_resource_to_block_cache"):
                guard.only_uploads(component, self.uploads)
        blocks.state_session_capacity = _SESSIONS
        return blocks

    def _title(self) -> str:
        if len(self.models) > 1:
            return " and ".join(served.name for served in self.models)
        manifest = self.models[0].model.manifest
        return sendable(str(manifest.data.get("name") or self.models[0].name))


def _favicon(folder: Path) -> Path:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, 63, 63), 14, fill="#0d9488")
    draw.text((32, 31), "?", "white", ImageFont.load_default(52), anchor="mm")
    path = folder / "favicon.png"
    image.save(path)
    return path
