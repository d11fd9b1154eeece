"""POST /predict, and POST /predictions/NAME as TorchServe has it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from whatsit.apps.server import bodies, exchange, problems, schemas
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.problems import Problem, sendable
from whatsit.apps.server.work import Answer, Hosted, Work

Top = Annotated[int, Query(ge=1, le=10_000, description="How many labels to name, best first.")]

_PICTURE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": _PICTURE},
            "application/octet-stream": {"schema": _PICTURE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _PICTURE, "minItems": 1}},
                    "required": ["file"],
                }
            },
        },
    }
}
_REFUSALS = schemas.problems(400, 401, 404, 408, 413, 415, 422, 429, 503)


def router(hosted: Mapping[str, Hosted], work: Work, metrics: Metrics) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/predict",
        summary="What is in these pictures?",
        response_model=schemas.OnePrediction | schemas.Predictions,
        responses=_REFUSALS,
        openapi_extra=_BODY,
    )
    async def predict(
        request: Request,
        top: Top = 5,
        model: Annotated[str | None, Query(description="The model to ask; by default the first.")] = None,
    ) -> Response:
        """Send one picture as the body, or several as files of a form. One picture gets its answer; several get
        `predictions`, in order, where a picture that cannot be read fails alone."""
        chosen = named(hosted, model)
        answers, seconds = await _answers(request, chosen, top)
        if len(answers) == 1:
            return _json({"model": chosen.name, **as_json(answers[0])})
        return _json(
            {
                "model": chosen.name,
                "predictions": [as_json(answer) for answer in answers],
                "timing": {"total_ms": _ms(seconds)},
            }
        )

    @routes.put("/predictions/{model}", include_in_schema=False)  # curl -T, as TorchServe's own examples have it
    @routes.post(
        "/predictions/{model}",
        summary="What is in this picture? (TorchServe)",
        response_model=dict[str, float | str] | list[dict[str, float | str]],
        responses=_REFUSALS,
        openapi_extra=_BODY,
    )
    async def predictions(
        request: Request, model: Annotated[str, Path(description="The model's name.")], top: Top = 5
    ) -> Response:
        """For clients of TorchServe: the labels of one picture with their scores, or a list of them for several."""
        answers, _ = await _answers(request, named(hosted, model), top)
        said: list[dict[str, Any]] = [
            {"error": answer.prediction.error} if answer.refused else dict(answer.prediction.top) for answer in answers
        ]
        return _json(said[0] if len(said) == 1 else said)

    async def _answers(request: Request, chosen: Hosted, top: int) -> tuple[list[Answer], float]:
        start = time.perf_counter()
        sent = await bodies.pictures(request, work.limits)
        metrics.seconds.labels("receive").observe(time.perf_counter() - start)
        exchange.of(request.scope).pictures = len(sent)
        answers = await work.classify(chosen, sent, top)
        if len(answers) == 1 and answers[0].refused is not None:
            raise problems.of_picture(answers[0].refused)
        return answers, time.perf_counter() - start

    return routes


def named(hosted: Mapping[str, Hosted], name: str | None) -> Hosted:
    """The model of this name, by default the first. Raises Problem (404)."""
    found = next(iter(hosted.values())) if name is None else hosted.get(name)
    if found is None:
        raise Problem(
            404,
            "no such model",
            "cannot find this model",
            value=repr(name)[:100],
            accepted=", ".join(hosted),
            hint="The models that are open are listed at /labels.",
        )
    return found


def as_json(answer: Answer) -> dict[str, Any]:
    prediction = answer.prediction
    return {
        "name": prediction.path,
        "label": prediction.label,
        "score": prediction.score,
        "top": list(prediction),
        "unsure": prediction.unsure,
        "reason": prediction.reason,
        "error": prediction.error,
        "timing": {
            "queue_ms": _ms(answer.queued),
            "decode_ms": _ms(answer.decoding),
            "inference_ms": _ms(answer.inference),
        },
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _json(body: Any) -> Response:
    return Response(sendable(body), media_type="application/json")
