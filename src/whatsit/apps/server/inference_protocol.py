"""The Open Inference Protocol, version 2, as Triton, KServe and their clients speak it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from whatsit.apps.server import bodies, exchange, problems, schemas, tensors
from whatsit.apps.server.predictions import named
from whatsit.apps.server.status import ending
from whatsit.apps.server.tensors import Output
from whatsit.apps.server.work import Answer, Hosted, Picture, Work
from whatsit.version import __version__

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                        "parameters": {"type": "object"},
                    },
                },
                "example": {
                    "inputs": [
                        {"name": "pictures", "datatype": "BYTES", "shape": [1], "data": ["(a picture in base64)"]}
                    ]
                },
            },
            tensors.BINARY: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def router(hosted: Mapping[str, Hosted], work: Work, is_ending: Callable[[], bool]) -> APIRouter:
    routes = APIRouter(prefix="/v2")

    @routes.get("", summary="The server (Open Inference Protocol)", responses=schemas.problems(401))
    async def server() -> dict[str, Any]:
        return {"name": "whatsit", "version": __version__, "extensions": ["binary_tensor_data"]}

    @routes.get("/health/live", summary="Is the process alive?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", summary="Will it answer?", responses=schemas.problems(503))
    async def ready() -> dict[str, bool]:
        if is_ending():
            raise ending()
        return {"ready": True}

    @routes.get("/models/{model}", summary="A model's tensors", responses=schemas.problems(401, 404, 503))
    async def metadata(model: str) -> dict[str, Any]:
        return _metadata(named(hosted, model))

    @routes.get("/models/{model}/ready", summary="Will this model answer?", responses=schemas.problems(401, 404, 503))
    async def model_ready(model: str) -> dict[str, Any]:
        return {"name": named(hosted, model).name, "ready": True}

    @routes.post(
        "/models/{model}/infer",
        summary="Ask a model",
        response_model=dict[str, Any],
        responses=schemas.problems(400, 401, 404, 408, 413, 415, 422, 429, 503),
        openapi_extra=_BODY,
    )
    async def infer(model: str, request: Request) -> Response:
        """Pictures in, tensors out. A picture that cannot be read fails alone: its probabilities are NaN (null in
        JSON), its label is empty, and `error` says why."""
        chosen = named(hosted, model)
        body = await bodies.whole(request, work.limits)
        length = request.headers.get(tensors.HEADER)
        inference = await asyncio.to_thread(tensors.read, body, length, work.limits)
        wanted = _wanted(inference, chosen)
        sent = [Picture(f"picture {n}", source) for n, source in enumerate(inference.pictures, start=1)]
        exchange.of(request.scope).pictures = len(sent)
        answers = await work.classify(chosen, sent, top=1)
        refused = [answer.refused for answer in answers if answer.refused is not None]
        if len(refused) == len(answers):
            raise problems.of_picture(refused[0])
        outputs = [output for output in _outputs(chosen, answers) if output.name in wanted]
        text, headers = await asyncio.to_thread(
            tensors.write, inference, {"model_name": chosen.name, "model_version": "1"}, outputs
        )
        return Response(text, headers=headers)

    # The protocol has every address of a model with a version too; a file has one.
    for path, method, handler in (
        ("/models/{model}/versions/1", "GET", metadata),
        ("/models/{model}/versions/1/ready", "GET", model_ready),
        ("/models/{model}/versions/1/infer", "POST", infer),
    ):
        routes.add_api_route(path, handler, methods=[method], include_in_schema=False, response_model=None)
    return routes


def _metadata(hosted: Hosted) -> dict[str, Any]:
    labels = len(hosted.model.labels)
    outputs = [
        ("probabilities", "FP32", [-1, labels]),
        ("label", "BYTES", [-1]),
        ("score", "FP32", [-1]),
        ("unsure", "BOOL", [-1]),
        ("error", "BYTES", [-1]),
        ("embedding", "FP32", [-1, hosted.embedding_width]),
    ]
    return {
        "name": hosted.name,
        "versions": ["1"],
        "platform": "whatsit",
        "inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in outputs],
    }


def _wanted(inference: tensors.Inference, hosted: Hosted) -> list[str]:
    """The names of the outputs to give: those asked for, or all but the long embedding. Raises Problem."""
    known = [output["name"] for output in _metadata(hosted)["outputs"]]
    asked = [wanted.name for wanted in inference.outputs]
    if unknown := set(asked) - set(known):
        raise tensors.refusal(f"an output named {min(unknown)!r:.40}", ", ".join(known))
    return asked or known[:-1]


def _outputs(hosted: Hosted, answers: list[Answer]) -> list[Output]:
    rows = np.full((len(answers), len(hosted.model.labels)), np.nan, np.float32)
    embeddings = np.full((len(answers), hosted.embedding_width), np.nan, np.float32)
    for number, answer in enumerate(answers):
        if answer.probabilities is not None and answer.embedding is not None:
            rows[number], embeddings[number] = answer.probabilities, answer.embedding
    predictions = [answer.prediction for answer in answers]
    scores = [np.nan if one.score is None else one.score for one in predictions]
    return [
        Output("probabilities", rows),
        Output("label", [one.label or "" for one in predictions]),
        Output("score", np.array(scores, np.float32)),
        Output("unsure", np.array([one.unsure for one in predictions])),
        Output("error", [one.error or "" for one in predictions]),
        Output("embedding", embeddings),
    ]
