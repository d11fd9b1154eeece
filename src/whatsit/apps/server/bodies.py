"""A request's body -> the pictures in it. Everything stays in memory, and within limits while it arrives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from whatsit.apps.server import exchange
from whatsit.apps.server.limits import Limits
from whatsit.apps.server.problems import Problem
from whatsit.apps.server.work import Picture

logging.getLogger("python_multipart").disabled = True  # it would tell stderr of every broken form
logging.getLogger("python_multipart.multipart").disabled = True

_FORM = "multipart/form-data"
# curl --data-binary says the third of itself, curl -T says nothing.
_RAW = {"", "application/octet-stream", "application/x-www-form-urlencoded"}
_READ_ON = 64_000_000  # bytes, after the limit
_ACCEPTED = "a picture as the body, or several as files of a form (multipart/form-data)"


async def pictures(request: Request, limits: Limits) -> list[Picture]:
    """The pictures that a request brings, one or more. Raises Problem."""
    header = request.headers.get("content-type", "")
    kind = header.partition(";")[0].strip().lower()
    if kind == _FORM:
        found = await _from_form(request, header, limits)
    elif kind in _RAW or kind.startswith("image/"):
        found = [Picture("picture", await whole(request, limits))]
    else:
        raise Problem(
            415,
            "unsupported body",
            "cannot read this body",
            value=f"Content-Type {kind!r}",
            accepted=_ACCEPTED,
            hint="For instance: curl --data-binary @photo.jpg, or curl -F file=@photo.jpg",
        )
    return found


async def whole(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises Problem: too large (413), too slow (408), compressed (415)."""
    chunks: list[bytes] = []
    await _read(request, limits, chunks.append)
    return b"".join(chunks)


async def _read(request: Request, limits: Limits, take: Callable[[bytes], object]) -> None:
    """Hand the body to `take` as it arrives, never more of it than the limit. Raises Problem (408) when it does not."""
    loop = asyncio.get_running_loop()
    last = loop.time() + limits.seconds_to_send

    def wait_on() -> None:
        patience.reschedule(min(last, loop.time() + limits.seconds_of_quiet))

    try:
        async with asyncio.timeout(min(limits.seconds_of_quiet, limits.seconds_to_send)) as patience:
            await _receive(request, limits, take, wait_on)
    except TimeoutError:
        raise _too_slow(limits) from None


async def _receive(
    request: Request, limits: Limits, take: Callable[[bytes], object], wait_on: Callable[[], None]
) -> None:
    """The same without patience of its own; each part that comes is a reason to wait on."""
    _refuse_compressed(request)
    this = exchange.of(request.scope)
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    refusal = _too_large(size, limits) if size > limits.request_bytes else None
    if refusal and "expect" in request.headers:  # the client waits to hear whether it may send
        raise refusal
    received = 0
    async for chunk in request.stream():
        wait_on()
        received += len(chunk)
        if received > limits.request_bytes:
            refusal = refusal or _too_large(received, limits)
        elif this.state.held + len(chunk) > limits.held_bytes:
            refusal = refusal or _too_much_held(limits)
        if refusal is None:
            this.hold(len(chunk))
            take(chunk)
        # Read on for a while: a client that still sends when the connection closes never sees the answer.
        elif received > limits.request_bytes + _READ_ON:
            break
    if refusal:
        raise refusal


def _too_much_held(limits: Limits) -> Problem:
    return Problem(
        429,
        "too many bytes at once",
        "cannot take this request now",
        value=f"{limits.held_bytes / 1e6:.4g} MB of other requests",
        accepted="this request, when they are answered",
        hint="Ask again in 1 s.",
        headers={"Retry-After": "1", "Connection": "close"},
    )


def _too_slow(limits: Limits) -> Problem:
    return Problem(
        408,
        "too slow",
        "cannot wait for the rest of the request",
        value=f"no byte for {limits.seconds_of_quiet:g} s, or not all within {limits.seconds_to_send:g} s",
        accepted="a body that keeps coming",
        hint="Send it again.",
        headers={"Connection": "close"},
    )


def _too_large(size: int, limits: Limits) -> Problem:
    return Problem(
        413,
        "too many bytes",
        "cannot take this request",
        value=f"{size / 1e6:,.6g} MB or more",
        accepted=f"at most {limits.request_bytes / 1e6:.4g} MB in one request",
        hint="Send fewer or smaller pictures.",
        headers={"Connection": "close"},
    )


def _refuse_compressed(request: Request) -> None:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Problem(
            415,
            "compressed body",
            "cannot read this body",
            value=f"Content-Encoding {coding!r}",
            accepted="a body as it is",
            hint="Send it without compression: pictures are compressed already.",
        )


@dataclass
class _Form:
    """What the parser of multipart bodies reports, put together (RFC 7578)."""

    limits: Limits
    files: list[tuple[str, bytearray]] = field(default_factory=list)
    ended: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _into: bytearray | None = None

    def callbacks(self) -> Any:
        names = ("part_begin", "part_data", "header_field", "header_value", "header_end", "headers_finished", "end")
        return {f"on_{name}": getattr(self, f"on_{name}") for name in names}

    def on_part_begin(self) -> None:
        self._disposition, self._into = b"", None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            raise _not_a_file(options.get(b"name", b"").decode("utf-8", "replace"))
        if len(self.files) == self.limits.pictures:
            raise _too_many(self.limits)
        self._into = bytearray()
        self.files.append((options[b"filename"].decode("utf-8", "replace"), self._into))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._into is not None:
            self._into += data[start:end]

    def on_end(self) -> None:
        self.ended = True


async def _from_form(request: Request, header: str, limits: Limits) -> list[Picture]:
    form = _Form(limits)
    try:
        parser = MultipartParser(_boundary(header), form.callbacks())
        await _read(request, limits, parser.write)
    except FormParserError as error:
        raise _no_form(str(error)) from None
    if not form.ended:
        raise _no_form("the form ends in the middle")
    if not form.files:
        raise Problem(
            422,
            "empty",
            "cannot find a picture in the form",
            value="no file",
            accepted=f"1 to {limits.pictures} files",
            hint="With curl: -F file=@photo.jpg (mind the @).",
        )
    return [Picture(name or "picture", bytes(data)) for name, data in form.files]


def _not_a_file(name: str) -> Problem:
    return Problem(
        422,
        "not a file",
        "cannot use a field of the form",
        value=f"{name[:60]!r} without a file name",
        accepted="files only; options belong into the address, as in /predict?top=3",
        hint="With curl: -F file=@photo.jpg (mind the @).",
    )


def _boundary(header: str) -> bytes:
    boundary = parse_options_header(header)[1].get(b"boundary")
    if not boundary:
        raise _no_form("no boundary in the Content-Type")
    return boundary


def _no_form(reason: str) -> Problem:
    return Problem(
        400,
        "broken form",
        "cannot read this form",
        value=reason[:200],
        accepted="a whole body of type multipart/form-data",
        hint="Let a library put the form together, or send one picture as the body.",
    )


def _too_many(limits: Limits) -> Problem:
    return Problem(
        413,
        "too many pictures",
        "cannot take this request",
        value=f"more than {limits.pictures} pictures",
        accepted=f"at most {limits.pictures} in one request",
        hint="Send them in several requests.",
    )
