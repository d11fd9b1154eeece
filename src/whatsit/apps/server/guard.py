"""Around every request: who may ask, what is noted, what the answer's headers say, and what happens at the end."""

from __future__ import annotations

import base64
import hmac
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from whatsit.apps.server import problems
from whatsit.apps.server.limits import Limits
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.problems import Problem
from whatsit.apps.server.status import ending

API = {"predict", "predictions", "v2", "labels", "metrics", "health", "docs", "openapi.json", "static-offline-docs"}
_OPEN = {"/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}  # probes carry no token
_DESCRIPTION = {"docs", "openapi.json", "static-offline-docs"}  # says nothing of the models
_UNTIL_THE_END = {"health", "metrics"}  # answered while the server is ending
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        b"connect-src 'self' data: blob:; frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    ),
]
_NOT_KEPT = (b"cache-control", b"no-store")


@dataclass
class State:
    """What the guard and whoever ends the server share: requests of the interface that are not answered yet."""

    open_requests: int = 0
    ending: bool = False


class Guard:
    """The ASGI application around the application.

    token     asked for as `Authorization: Bearer TOKEN`
    password  (user, password), asked for as `Authorization: Basic ...`; with both, either will do
    log       takes a record for each request
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        metrics: Metrics,
        state: State,
        *,
        token: str | None = None,
        password: tuple[str, str] | None = None,
        log: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.app, self.limits, self.metrics, self.state, self.log = app, limits, metrics, state, log
        self._accepted = [f"bearer {token}".encode()] if token else []
        if password:
            self._accepted.append(b"basic " + base64.b64encode(":".join(password).encode()))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].split("/", 2)[1:2] and scope["path"].split("/", 2)[1] in API:
            await self._interface(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send, _HEADERS))

    async def _interface(self, scope: Any, receive: Any, send: Any) -> None:
        start = time.perf_counter()
        exchange = _Exchange(send)
        self.state.open_requests += 1
        try:
            if problem := self._refusal(scope):
                await problems.response(problem, scope)(scope, receive, exchange.send)
            else:
                await self.app(scope, receive, exchange.send)
        except Exception as error:  # the framework has answered already, or cannot any more
            _tell(exchange.id, error)
        finally:
            self.state.open_requests -= 1
            self._note(scope, exchange, time.perf_counter() - start)

    def _refusal(self, scope: Any) -> Problem | None:
        head = scope["path"].split("/", 2)[1]
        if scope["path"] in _OPEN:
            return None
        if not self._admits(scope, head):
            return _who_are_you()
        if self.state.ending and head not in _UNTIL_THE_END:
            return ending()
        if self.state.open_requests > self.limits.open_requests:
            return _too_many_open(self.limits)
        return None

    def _admits(self, scope: Any, head: str) -> bool:
        if not self._accepted or head in _DESCRIPTION or scope["method"] == "OPTIONS":
            return True
        said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, secret = said.partition(b" ")
        said = scheme.lower() + b" " + secret.strip()
        return any(hmac.compare_digest(said, accepted) for accepted in self._accepted)

    def _note(self, scope: Any, exchange: _Exchange, seconds: float) -> None:
        endpoint = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(endpoint, scope["method"], exchange.status).inc()
        self.metrics.seconds.labels("total").observe(seconds)
        kind = scope.get(problems.KIND)
        if kind is not None:
            self.metrics.errors.labels(kind).inc()
        if self.log is not None and scope["path"] not in _OPEN:
            self.log(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "id": exchange.id,
                    "client": (scope.get("client") or ("?",))[0],
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": exchange.status,
                    "kind": kind,
                    "pictures": scope.get("whatsit.pictures", 0),
                    "ms": round(seconds * 1000, 2),
                }
            )


class _Exchange:
    """One request's answer on its way out: its number, its status, and the headers that every answer has."""

    def __init__(self, send: Any) -> None:
        self.id = uuid.uuid4().hex
        self.status = 499  # nobody was there to get an answer
        self._headers = [*_HEADERS, _NOT_KEPT, (b"x-request-id", self.id.encode())]
        self._send = send

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers]}
        await self._send(message)


def _with_headers(send: Any, headers: list[tuple[bytes, bytes]]) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sending


def _tell(identity: str, error: Exception) -> None:
    """A mistake of ours goes to the log whole, and to the client not at all."""
    trace = "".join(traceback.format_exception(error))
    print(f"mistake while answering {identity}:\n{trace}", file=sys.stderr, flush=True)


def _who_are_you() -> Problem:
    return Problem(
        401,
        "not admitted",
        "cannot answer without knowing who asks",
        value="no valid Authorization header",
        accepted="Authorization: Bearer TOKEN, or the page's user and password",
        hint="With curl: -H 'Authorization: Bearer TOKEN'",
        headers={"WWW-Authenticate": 'Bearer realm="whatsit"'},
    )


def _too_many_open(limits: Limits) -> Problem:
    return Problem(
        429,
        "too many requests",
        "cannot answer now",
        value=f"more than {limits.open_requests} requests at the same time",
        accepted=f"at most {limits.open_requests}",
        hint="Ask again in 1 s.",
        headers={"Retry-After": "1", "Connection": "close"},
    )
