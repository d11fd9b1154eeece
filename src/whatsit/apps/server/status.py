"""Is it alive, is it ready, what does it know, what has it counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response

from whatsit.apps.server import metrics as counted
from whatsit.apps.server import schemas
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.predictions import named
from whatsit.apps.server.problems import Problem
from whatsit.apps.server.work import Hosted


def router(hosted: Mapping[str, Hosted], metrics: Metrics, is_ending: Callable[[], bool]) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health/live", summary="Is the process alive?")
    async def live() -> schemas.Health:
        return schemas.Health(status="alive")

    @routes.get("/health", summary="Will it answer?", responses=schemas.problems(503))
    @routes.get("/health/ready", summary="Will it answer?", responses=schemas.problems(503))
    async def ready() -> schemas.Health:
        """From the moment the server is asked to end, it is alive and not ready."""
        if is_ending():
            raise ending()
        return schemas.Health(status="ready")

    @routes.get("/labels", summary="What can it tell apart?", responses=schemas.problems(401, 404, 422, 503))
    async def labels(
        model: Annotated[str | None, Query(description="The model to ask; by default the first.")] = None,
    ) -> schemas.Labels:
        chosen = named(hosted, model)
        return schemas.Labels(model=chosen.name, labels=list(chosen.model.labels), models=list(hosted))

    @routes.get(
        "/metrics",
        summary="What has been counted, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **schemas.problems(401)},
    )
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type=counted.MEDIA_TYPE)

    return routes


def ending() -> Problem:
    return Problem(
        503,
        "ending",
        "cannot answer any more",
        value="the server is ending",
        accepted="requests that came before",
        hint="Ask another server, or this one when it is back.",
        headers={"Retry-After": "5", "Connection": "close"},
    )
