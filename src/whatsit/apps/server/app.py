"""The application: every address of the interface, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

from whatsit.apps.served import Served
from whatsit.apps.server import inference_protocol, predictions, problems, schemas, status
from whatsit.apps.server.exchange import State
from whatsit.apps.server.guard import Access
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.work import Hosted, Work
from whatsit.version import __version__

_ABOUT = """Which of these is it? Send pictures, get labels with calibrated scores, or an honest "not sure".

`/predict` is the plain way; `/v2` speaks the Open Inference Protocol, `/predictions` as TorchServe does."""


def build(models: Sequence[Served], work: Work, metrics: Metrics, state: State, access: Access) -> FastAPI:
    """The interface for these models, the first of which answers where none is named."""
    hosted = {served.name: Hosted(served) for served in models}
    app = FastAPI(title="whatsit", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    problems.install(app)
    app.include_router(predictions.router(hosted, work, metrics))
    app.include_router(status.router(hosted, metrics, lambda: state.ending))
    app.include_router(inference_protocol.router(hosted, work, lambda: state.ending))
    _describe(app, [scheme.lower() for scheme in access.secrets])
    return app


def _describe(app: FastAPI, schemes: Sequence[str]) -> None:
    """The page at /docs, without the scripts from other hosts that FastAPI's own one loads."""
    static = "/static-offline-docs"
    app.mount(static, StaticFiles(directory=Path(fastapi_offline.__file__).with_name("static")), name="docs")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title="whatsit",
            swagger_js_url=f"{root}{static}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{static}/swagger-ui.css",
            swagger_favicon_url=f"{root}{static}/favicon.png",
        )

    described = app.openapi

    def with_problems() -> dict[str, object]:
        document = described()
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {})["ProblemBody"] = schemas.ProblemBody.model_json_schema()
        if schemes:
            parts["securitySchemes"] = {scheme: {"type": "http", "scheme": scheme} for scheme in schemes}
            document["security"] = [{scheme: []} for scheme in schemes]
        return document

    app.openapi = with_problems  # type: ignore[method-assign]
