"""A web server on this machine that plays the Hugging Face hub, or Keras's storage, and misbehaves on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Behaviour = Literal["well", "404", "429", "500", "breaks off", "corrupt", "plain", "untagged"]


class FileServer:
    """`files` by path. Each GET takes the next of `behaviours`, and the last one for ever after.

    HEAD answers as the hub does, with the right SHA-256, and takes the next of `asked` in the same way. "plain" knows
    nothing of ranges and sends the whole file. "untagged" names no version of the file.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.behaviours: list[Behaviour] = ["well"]
        self.asked: list[Behaviour] = ["well"]
        self.seen: list[str] = []  # "GET /path", "GET /path bytes=100-"
        self.headers: list[Message] = []  # of each of `seen`
        self.retry_after = "0"
        self.address = ""

    def next(self, method: str) -> Behaviour:
        queue = self.asked if method == "HEAD" else self.behaviours
        return queue.pop(0) if len(queue) > 1 else queue[0]


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    served = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("GET")

        def do_HEAD(self) -> None:
            self.answer("HEAD")

        def answer(self, method: str) -> None:
            wanted = self.headers.get("Range", "")
            served.seen.append(f"{method} {self.path} {wanted}".strip())
            served.headers.append(self.headers)
            behaviour = served.next(method)
            data = served.files.get(self.path)
            if data is None or behaviour == "404":
                self.refuse(404)
            elif behaviour in ("429", "500"):
                self.refuse(int(behaviour))
            else:
                self.send(method, data, wanted, behaviour)

        def refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Retry-After", served.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, method: str, data: bytes, wanted: str, behaviour: Behaviour) -> None:
            digest = hashlib.sha256(data).hexdigest()
            if behaviour == "plain" or self.headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
                wanted = ""
            begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if wanted and begin >= len(data):
                self.refuse(416)
                return
            body = data[begin:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            if behaviour != "untagged":
                self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            if wanted:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if method == "HEAD":
                return
            if behaviour == "corrupt":
                body = bytes(len(body))
            self.wfile.write(body[: len(body) // 2] if behaviour == "breaks off" else body)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
