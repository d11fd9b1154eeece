"""What a client sends, within limits: how much, how slowly, and how much of it there may be on the disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse, Response

from whatsit.apps.web.uploads import Uploads

MOST_AT_ONCE = 600_000_000  # bytes of one upload, which may hold several files
_MOST_ASKED = 10_000_000  # bytes of any other question: Gradio reads it whole, into memory
_SILENCE = 15.0  # seconds without a byte
_LOOK_AGAIN = 64_000_000  # bytes of an upload between two looks at the disk: several may arrive at once
_LEFT_TO_SEND = 2.0  # seconds for a refused client to send the rest: until then it does not read the answer
_LATER = "60"  # seconds


async def take(app: Any, scope: Any, receive: Any, send: Any, uploads: Uploads | None) -> None:
    """Let the app answer a POST, or refuse it while it arrives. `uploads` if it brings files."""
    body = _Body(receive, send, uploads)
    try:
        await app(scope, body.receive, body.send)
    except Exception:
        if body.refusal is None:
            raise
    if body.refusal is None or body.answered:
        return
    if body.whole:  # nothing more comes that could be waited for
        await body.refusal(scope, receive, send)
    else:
        await refuse(body.refusal, scope, receive, send)


async def refuse(answer: Response, scope: Any, receive: Any, send: Any) -> None:
    """Answer a question that is not read, and close the connection."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEFT_TO_SEND):
            while (await receive()).get("more_body"):
                pass
    await answer(scope, receive, send)


def refusal(status: int, words: str, **headers: str) -> Response:
    return JSONResponse({"detail": words}, status, {"Connection": "close", **headers})


async def no_room(uploads: Uploads) -> Response | None:
    if await asyncio.to_thread(uploads.are_full):
        return refusal(503, "There is no room for more uploads. Try again in a minute.", **{"Retry-After": _LATER})
    return None


class _Body:
    """What the app hears and says. Once there is a `refusal`, nothing more of either."""

    def __init__(self, receive: Any, send: Any, uploads: Uploads | None) -> None:
        self.refusal: Response | None = None
        self.answered = self.whole = False
        self._receive, self._send, self._uploads = receive, send, uploads
        self._most = _MOST_ASKED if uploads is None else MOST_AT_ONCE
        self._size = self._looked_at = 0

    async def receive(self) -> Any:
        if self.whole:
            return await self._receive()
        message: Any = {}
        with suppress(TimeoutError):
            message = await asyncio.wait_for(self._receive(), _SILENCE)
        self._size += len(message.get("body", b""))
        self.whole = message.get("type") == "http.request" and not message.get("more_body")
        self.refusal = await self._reason_against(message)
        if self.refusal is not None:
            raise MultiPartException("refused")  # upon this one, Gradio deletes the files that it has begun
        return message

    async def send(self, message: Any) -> None:
        if self.refusal is None:
            self.answered = True
            await self._send(message)

    async def _reason_against(self, message: Any) -> Response | None:
        if message.get("type") != "http.request":
            return refusal(408, "The rest did not arrive.")
        if self._size > self._most:
            return refusal(413, f"This is too large: at most {self._most / 1e6:g} MB at a time.")
        if self._uploads is not None and self._size - self._looked_at > _LOOK_AGAIN:
            self._looked_at = self._size
            return await no_room(self._uploads)
        return None
