"""The answers' shapes, for the interface description at /openapi.json and the page at /docs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from whatsit.apps.server.problems import MEDIA_TYPE


class Scored(BaseModel):
    label: str
    score: float = Field(ge=0, le=1)


class Timing(BaseModel):
    """Milliseconds: until a thread was free, for reading the picture, for the network."""

    queue_ms: float
    decode_ms: float
    inference_ms: float


class PictureAnswer(BaseModel):
    """What is in one picture. Where it could not be read, `error` says why, and `label` and `score` are null."""

    name: str
    label: str | None
    score: float | None
    top: list[Scored]
    unsure: bool = Field(description="The honest answer is 'not sure'.")
    reason: str | None = Field(description="Why it is not sure.")
    error: str | None
    timing: Timing


class Predictions(BaseModel):
    """One answer for each picture, in order."""

    model: str
    predictions: list[PictureAnswer]
    timing: dict[str, float]


class OnePrediction(PictureAnswer):
    """The answer about a lone picture."""

    model: str


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    kind: str
    detail: str
    what: str
    value: str
    accepted: str
    hint: str
    error: str


class Labels(BaseModel):
    model: str
    labels: list[str]
    models: list[str] = Field(description="The names of all models that are open.")


class Health(BaseModel):
    status: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses, as an interface description has them."""
    reference = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    return {status: {"description": _WHY[status], "content": {MEDIA_TYPE: reference}} for status in statuses}


_WHY = {
    400: "The request cannot be understood.",
    401: "The request lacks the token or password.",
    404: "There is no such model.",
    408: "The client was too slow.",
    413: "Too many bytes or pictures.",
    415: "Not a picture, or a body of another type.",
    422: "A picture or parameter that cannot be used.",
    429: "The queue is full; Retry-After says when to ask again.",
    503: "The server is ending.",
}
