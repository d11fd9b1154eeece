"""What goes wrong, as HTTP says it: a status and a JSON body (RFC 9457, Problem Details for HTTP APIs)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from whatsit.apps import text
from whatsit.apps.server import exchange
from whatsit.errors import ImageError, UnreadableKind, WhatsitError

MEDIA_TYPE = "application/problem+json"

_STATUS_OF: dict[UnreadableKind, int] = {
    "empty": 422,
    "not a picture": 415,
    "too many bytes": 413,
    "too many pixels": 422,
    "unreadable": 422,
}


class Problem(Exception):
    """An answer that is none. `what`, `value`, `accepted` and `hint` are the four parts of every error of whatsit."""

    def __init__(
        self,
        status: int,
        kind: str,
        what: str,
        *,
        value: object,
        accepted: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what)
        self.status, self.kind, self.headers = status, kind, dict(headers or {})
        self.error = WhatsitError(what, value=value, accepted=accepted, hint=hint)


def of_picture(error: ImageError) -> Problem:
    """The problem for a request whose only picture cannot be read."""
    status = _STATUS_OF[error.kind]
    return Problem(status, error.kind, error.what, value=error.value, accepted=error.accepted, hint=error.hint)


def response(problem: Problem, scope: Any) -> Response:
    exchange.of(scope).kind = problem.kind
    error = problem.error
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "kind": problem.kind,
        "detail": str(error),
        "what": error.what,
        "value": str(error.value),
        "accepted": error.accepted,
        "hint": error.hint,
        "error": str(error),  # where clients of the Open Inference Protocol look
    }
    return Response(sendable(body), problem.status, problem.headers, MEDIA_TYPE)


def sendable(body: Any) -> bytes:
    """JSON. File names may hold bytes that are no text; Python has them as lone surrogates, which JSON cannot hold."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return orjson.dumps(_without_surrogates(body), option=orjson.OPT_SERIALIZE_NUMPY)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return text.sendable(value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list | tuple) else value


def install(app: FastAPI) -> None:
    """Every error of this application is a problem, those of the framework too."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _mistake)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error, request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = " ".join(str(part) for part in first["loc"])
    return response(
        Problem(
            422,
            "invalid parameter",
            f"cannot use {name}",
            value=repr(first.get("input"))[:100],
            accepted=first["msg"],
            hint="The parameters are described at /docs.",
        ),
        request.scope,
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return response(
        Problem(
            error.status_code,
            "no such address" if error.status_code == 404 else HTTPStatus(error.status_code).phrase.lower(),
            "cannot answer this request",
            value=str(error.detail).lower(),
            accepted="the addresses and methods described at /docs",
            hint="Check the address and the method.",
            headers=error.headers,
        ),
        request.scope,
    )


async def _gone(request: Request, _error: Exception) -> Response:
    exchange.of(request.scope).kind = "client gone"
    return Response(status_code=499)  # nobody reads it; the log and the metrics do


async def _mistake(request: Request, _error: Exception) -> Response:
    return response(
        Problem(
            500,
            "mistake of the server",
            "cannot answer this request",
            value="a mistake in whatsit",
            accepted="this request, by a server without that mistake",
            hint="The server's log holds the details, under this answer's X-Request-ID.",
        ),
        request.scope,
    )
