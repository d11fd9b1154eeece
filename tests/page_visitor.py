"""What the page's own script does over HTTP, by hand, and what a hostile client might do in its place."""

from __future__ import annotations

import http.client
import io
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_model import plain

if TYPE_CHECKING:
    from whatsit.apps.server.listening import Running
    from whatsit.apps.web.page import Page


@contextmanager
def open_page(page: Page, auth: tuple[str, str] | None = None) -> Iterator[Running]:
    """The page alone on a free port."""
    from fastapi import FastAPI

    from whatsit.apps.server.exchange import State
    from whatsit.apps.server.guard import Access, Guard
    from whatsit.apps.server.limits import Limits
    from whatsit.apps.server.listening import running
    from whatsit.apps.server.metrics import Metrics

    state = State()
    app = Guard(FastAPI(openapi_url=None), page.app(auth), Limits(), Metrics(), state, Access())
    with running(app, "127.0.0.1", 0, state, probe="/") as server:
        yield server


def png(rgb: tuple[int, int, int] | NDArray[np.uint8], size: tuple[int, int] = (30, 40), kind: str = "PNG") -> bytes:
    """A file with a picture of one colour."""
    file = io.BytesIO()
    Image.fromarray(plain(rgb, size)).save(file, kind)
    return file.getvalue()


class Visitor:
    """One window on the page. `cookies` hold what a login gave."""

    def __init__(self, address: str, session: str | None = None) -> None:
        self.host = address.removeprefix("http://")
        self.session = session or secrets.token_hex(8)
        self.cookies = ""
        self._config: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        self._config = self._config or json.loads(self.get("/config")[1])
        return self._config

    def get(self, path: str) -> tuple[int, bytes]:
        return self.ask("GET", path)

    def ask(
        self, verb: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        status, data, _ = self.ask_all(verb, path, body, headers)
        return status, data

    def ask_all(
        self, verb: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(verb, path, body, {"Cookie": self.cookies, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def login(self, user: str, password: str) -> int:
        body = f"username={user}&password={password}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, _, headers = self.ask_all("POST", "/login", body, kind)
        self.cookies = "; ".join(line.partition(";")[0] for line in headers.get_all("Set-Cookie") or [])
        return status

    def send(self, name: str | bytes, data: bytes) -> tuple[int, bytes]:
        """Upload a file; the answer as it comes."""
        name = name.encode() if isinstance(name, str) else name
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name + b'"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.ask("POST", "/gradio_api/upload", head + data + b"\r\n--x--\r\n", kind)

    def upload(self, name: str, data: bytes) -> str:
        status, answer = self.send(name, data)
        assert status == 200, answer
        return str(json.loads(answer)[0])

    def file(self, path: str, name: str = "a.png") -> dict[str, Any]:
        """What the page's script says about an uploaded file."""
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def call(self, part: str, event: str, *data: Any) -> dict[str, Any]:
        """Trigger an event of a part of the page, by its id; the last message about it: its output, or its error."""
        event_id = self.join(part, event, *data)
        said = self.get(f"/gradio_api/queue/data?session_hash={self.session}")[1].decode()
        messages = [json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line]
        about = [message for message in messages if message.get("event_id") == event_id]
        return dict(next(message for message in about if message["msg"] == "process_completed"))

    def join(self, part: str, event: str, *data: Any) -> str:
        """Trigger an event without waiting for what becomes of it; its id."""
        body = {"data": list(data), "fn_index": self.number(part, event), "session_hash": self.session}
        kind = {"Content-Type": "application/json"}
        status, answer = self.ask("POST", "/gradio_api/queue/join", json.dumps(body).encode(), kind)
        assert status == 200, answer
        return str(json.loads(answer)["event_id"])

    def classify(self, path: str, top: int = 3, name: str = "a.png") -> dict[str, Any]:
        return self.call("picture", "upload", self.file(path, name), top, None)

    def answer(self, data: bytes, name: str = "a.png", top: int = 3) -> list[Any]:
        """Upload and classify: [statement, picture, ...]."""
        said = self.classify(self.upload(name, data), top, name)
        assert said["success"], said
        return list(said["output"]["data"])

    def number(self, part: str, event: str) -> int:
        ids = {c["id"] for c in self.config["components"] if c["props"].get("elem_id") == part}
        events = self.config["dependencies"]
        return next(int(e["id"]) for e in events if any(t[0] in ids and t[1] == event for t in e["targets"]))
