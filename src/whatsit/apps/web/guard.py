"""What may be asked of the page. Gradio would do more than this one needs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from whatsit.apps.web import arriving
from whatsit.apps.web.uploads import Uploads

# What the page's own script asks for. Others would fetch addresses for a client, or write its session to the disk.
_NEEDED = {"app_id", "cancel", "info", "queue/data", "queue/join", "reset", "upload", "upload_progress"}
_GRADIO = "/gradio_api/"
_FILE = "file="
_UPLOAD = f"{_GRADIO}upload"
# Outside of that. Among the others are figures about visitors, and what the model was trained on.
_OUTER = {"", "/config", "/favicon.ico", "/login", "/logout", "/theme.css"}
_FILES = ("/assets/", "/static/", "/svelte/")


def guarded(app: Any, uploads: Uploads) -> Any:
    """Gradio's app without the addresses that the page does not need, and within limits."""

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if not _is_needed(path):
            await app({**scope, "path": "/not-found", "raw_path": b"/not-found"}, receive, send)
        elif path.startswith(_GRADIO) and not _is_logged_in(app, scope):
            await arriving.refuse(arriving.refusal(401, "Not authenticated"), scope, receive, send)
        elif path.rstrip("/") == _UPLOAD and (full := await arriving.no_room(uploads)):
            await arriving.refuse(full, scope, receive, send)
        elif scope.get("method") == "POST":
            await arriving.take(app, scope, receive, send, uploads if path.rstrip("/") == _UPLOAD else None)
        else:
            await app(scope, receive, send)

    return checked


def only_uploads(component: Any, uploads: Uploads) -> None:
    """Gradio copies to its cache whatever file or internet address a client names, in any component. Not here."""
    move: Callable[[Any], Awaitable[Any]] = component.async_move_resource_to_block_cache

    async def checked(source: Any) -> Any:
        if source is not None and not uploads.holds(source):
            raise gr.Error("This is not an uploaded picture.", print_exception=False)
        return await move(source)

    component.async_move_resource_to_block_cache = checked


def uploaded(sent: Mapping[str, Any], uploads: Uploads) -> tuple[Path, str]:
    """Where an uploaded file is, and the name it had, from what Gradio says about it: a client may have made it up."""
    path = Path(str(sent.get("path", "")))
    if not uploads.holds(path):
        raise gr.Error("This is not an uploaded picture.", print_exception=False)
    return path, str(sent.get("orig_name") or path.name)


def password_check(auth: tuple[str, str]) -> Callable[[str, str], bool]:
    """Whether user and password are these; it takes equally long whatever is wrong."""

    def check(user: str, password: str) -> bool:
        same = [hmac.compare_digest(_digest(a), _digest(b)) for a, b in zip((user, password), auth, strict=True)]
        return all(same)

    return check


def _digest(words: str) -> bytes:
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()


def _is_logged_in(app: Any, scope: Any) -> bool:
    """As Gradio finds it out, which asks at some of its addresses only."""
    if app.auth is None:
        return True
    cookies = HTTPConnection(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)


def _is_needed(path: str) -> bool:
    if not path.startswith(_GRADIO):
        return "://" not in path and (path.rstrip("/") in _OUTER or path.startswith(_FILES))
    asked = path.removeprefix(_GRADIO)
    if asked.startswith(_FILE):
        return "://" not in asked
    return asked.rstrip("/") in _NEEDED or asked.startswith("heartbeat/")
