"""Around every request: who may ask, what is noted, what the answer's headers say, and what happens at the end."""

from __future__ import annotations

import base64
import hmac
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from whatsit.apps.server import exchange, problems
from whatsit.apps.server.exchange import Exchange, State
from whatsit.apps.server.limits import Limits
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.problems import Problem
from whatsit.apps.server.status import ending

INTERFACE = {"predict", "predictions", "v2", "labels", "metrics", "health", "docs", "openapi.json"}
INTERFACE |= {"static-offline-docs"}
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
Record = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """Who may ask.

    token     asked for as `Authorization: Bearer TOKEN`
    password  (user, password), asked for as `Authorization: Basic ...`; with both, either will do
    cors      origins whose web pages may ask
    """

    token: str | None = None
    password: tuple[str, str] | None = None
    cors: Sequence[str] = ()

    @property
    def secrets(self) -> dict[str, bytes]:
        """Scheme -> the header that says it, the scheme in small letters."""
        accepted = {}
        if self.token is not None:
            accepted["Bearer"] = b"bearer " + self.token.encode()
        if self.password is not None:
            accepted["Basic"] = b"basic " + base64.b64encode(":".join(self.password).encode())
        return accepted


class Guard:
    """The ASGI application around the interface for programs and, at all other addresses, the page.

    log       takes a record for each request of a program
    mistakes  takes a record, with the trace, for each mistake of ours
    """

    def __init__(
        self,
        interface: Any,
        page: Any | None,
        limits: Limits,
        metrics: Metrics,
        state: State,
        access: Access,
        *,
        log: Callable[[Record], None] | None = None,
        mistakes: Callable[[Record], None] | None = None,
    ) -> None:
        self.interface, self.page = interface, page
        self.limits, self.metrics, self.state, self.log, self.mistakes = limits, metrics, state, log, mistakes
        self._accepted = access.secrets
        self._door = _with_cors(self._answer, access.cors) if access.cors else self._answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await (self.page or self.interface)(scope, receive, send)
        elif scope["type"] == "http" and (_first(scope) in INTERFACE or self.page is None):
            await self._door(scope, receive, send)
        elif scope["type"] == "http" and self.page is not None:
            await self.page(scope, self._until_the_end(receive), _with_headers(send, _HEADERS))

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """A request of a program."""
        start = time.perf_counter()
        this = scope[exchange.KEY] = Exchange(self.state)
        self.state.open_requests += 1
        sending = _Answer(this, scope["method"] == "HEAD", send)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            if problem := self._refusal(scope):
                await problems.response(problem, scope)(scope, receive, sending)
            else:
                await self.interface(scope, receive, sending)
        except Exception as error:  # the framework has answered already, or cannot any more
            self._tell(this.id, error)
        finally:
            this.release()
            self.state.open_requests -= 1
            self._note(scope, this, time.perf_counter() - start)

    def _refusal(self, scope: Any) -> Problem | None:
        first = _first(scope)
        if scope["path"] in _OPEN:
            return None
        if not self._admits(scope, first):
            return _who_are_you(list(self._accepted))
        if self.state.ending and first not in _UNTIL_THE_END:
            return ending()
        if self.state.open_requests > self.limits.open_requests:
            return _too_many_open(self.limits)
        return None

    def _admits(self, scope: Any, first: str) -> bool:
        if not self._accepted or first in _DESCRIPTION:
            return True
        said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, secret = said.partition(b" ")
        said = scheme.lower() + b" " + secret.strip()
        return any(hmac.compare_digest(said, accepted) for accepted in self._accepted.values())

    def _note(self, scope: Any, this: Exchange, seconds: float) -> None:
        first = _first(scope)
        route = getattr(scope.get("route"), "path", None)
        endpoint = route or (f"/{first}" if first in INTERFACE else "other")
        self.metrics.requests.labels(endpoint, scope["method"], this.status).inc()
        self.metrics.seconds.labels("total").observe(seconds)
        if this.kind is not None:
            self.metrics.errors.labels(this.kind).inc()
        if self.log is not None and scope["path"] not in _OPEN:
            self.log(
                {
                    "time": _now(),
                    "id": this.id,
                    "client": (scope.get("client") or ("?",))[0],
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": this.status,
                    "kind": this.kind,
                    "pictures": this.pictures,
                    "ms": round(seconds * 1000, 2),
                }
            )

    def _tell(self, identity: str, error: Exception) -> None:
        """A mistake of ours goes to the log whole, and to the client not at all."""
        if self.mistakes is not None:
            trace = "".join(traceback.format_exception(error))
            self.mistakes({"time": _now(), "id": identity, "mistake": str(error), "trace": trace})

    def _until_the_end(self, receive: Any) -> Any:
        """An open page holds a connection: at the end, tell the page that its reader is gone."""

        async def receiving() -> Any:
            return {"type": "http.disconnect"} if self.state.ended else await receive()

        return receiving


class _Answer:
    """One answer on its way out: the headers that every answer has, and no body where only the head was asked for."""

    def __init__(self, this: Exchange, head_only: bool, send: Any) -> None:
        self._this, self._head_only, self._send = this, head_only, send

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._this.status = message["status"]
            own = [*_HEADERS, (b"cache-control", b"no-store"), (b"x-request-id", self._this.id.encode())]
            message = {**message, "headers": [*message["headers"], *own]}
        elif self._head_only:
            message = {**message, "body": b""}
        await self._send(message)


def _first(scope: Any) -> str:
    """The first part of the path."""
    path: str = scope["path"]
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _with_cors(app: Any, origins: Sequence[str]) -> Any:
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT"],
        allow_headers=["Authorization", "Content-Type", "Inference-Header-Content-Length"],
        expose_headers=["Inference-Header-Content-Length", "Retry-After", "X-Request-ID"],
    )


def _with_headers(send: Any, headers: list[tuple[bytes, bytes]]) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sending


_SAID = {"Bearer": "Authorization: Bearer TOKEN", "Basic": "user and password (Basic authentication)"}
_WITH_CURL = {"Bearer": "-H 'Authorization: Bearer TOKEN'", "Basic": "-u USER:PASSWORD"}


def _who_are_you(schemes: Sequence[str]) -> Problem:
    return Problem(
        401,
        "not admitted",
        "cannot answer without knowing who asks",
        value="no valid Authorization header",
        accepted=" or ".join(_SAID[scheme] for scheme in schemes),
        hint=f"With curl: {_WITH_CURL[schemes[0]]}",
        headers={"WWW-Authenticate": ", ".join(f'{scheme} realm="whatsit"' for scheme in schemes)},
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
