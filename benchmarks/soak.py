"""whatsit's server under clients that never stop, one request in five of them hostile, and then under SIGTERM.

    python benchmarks/soak.py [--minutes 10] [--clients 32] [-m everyday] [--no-page]

Starts `whatsit serve`, page included, in a process of its own, and fails (exit code 1) when an answer is a server error
other than 503, when memory at the end is over 1.1 times what it was after a tenth of the time (a minute of ten), when a
temporary file is left, or when SIGTERM, sent while all clients are at work, loses a request that the server had taken:
one that was sent whole, and got no answer. One more client drops pictures on the page all the while. Needs Linux's
/proc for the memory.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HOSTILE_SHARE = 0.2
MOST_GROWTH = 1.1
_ON_THE_PAGE = 30  # files: what was dropped there in the last seconds, until it is deleted
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
Reply = tuple[str, int]


def photos() -> list[bytes]:
    """JPEGs and PNGs of several sizes."""
    import numpy as np
    from PIL import Image

    made = []
    for number, (width, height) in enumerate([(64, 64), (320, 240), (500, 375), (1600, 1200)]):
        noise = np.random.default_rng(number).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        image = Image.fromarray(noise).resize((width, height))
        for kind in ("JPEG", "PNG"):
            file = io.BytesIO()
            image.save(file, kind)
            made.append(file.getvalue())
    return made


def huge_png() -> bytes:
    """300 megapixels, in ten kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 15_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9_000_000)))
        + chunk(b"IEND", b"")
    )


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.png", bytes(20_000_000))
    return file.getvalue()


class Client:
    """Asks until told to stop, and counts what comes back."""

    def __init__(self, port: int, number: int, pictures: list[bytes], stop: threading.Event) -> None:
        self.port, self.pictures, self.stop = port, pictures, stop
        self.random = random.Random(number)
        self.statuses: Counter[Reply] = Counter()
        self.lost: list[str] = []
        self._connection: http.client.HTTPConnection | None = None
        good, large = pictures[0], bytes(65_000_000)
        bomb, huge, listing = zip_bomb(), huge_png(), json.dumps({"inputs": [1] * 3_000_000}).encode()
        part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="\xff\xfe/../a.png"\r\n\r\n'
        self.hostile: list[Callable[[], Reply]] = [
            lambda: self.post("/predict", b""),
            lambda: self.post("/predict", b"I am no picture", {"Content-Type": "image/png"}),
            lambda: self.post("/predict", huge),
            lambda: self.post("/predict", bomb),
            lambda: self.post("/predict", good[: len(good) // 2]),
            lambda: self.post("/predict", good, {"Content-Encoding": "gzip"}),
            lambda: self.post("/predict?top=-1", good),
            lambda: self.post("/predictions/nothing", good),
            lambda: self.post("/predict", part + good, FORM),
            lambda: self.post("/predict", part + good + b"\r\n--b--\r\n", FORM),
            lambda: self.post("/v2/models/everyday/infer", b"[" * 100_000),
            lambda: self.post("/v2/models/everyday/infer", listing) if self.random.random() < 0.2 else self.half(True),
            lambda: self.post("/predict", large) if self.random.random() < 0.05 else self.half(False),
            lambda: self.half(wait=True),
            lambda: self.half(wait=False),
            lambda: self.garbage(),
        ]

    def run(self) -> None:
        while not self.stop.is_set():
            if self.random.random() < HOSTILE_SHARE:
                self.statuses[self.random.choice(self.hostile)()] += 1
            else:
                self.statuses[self.ordinary()] += 1

    def ordinary(self) -> Reply:
        picture = self.random.choice(self.pictures)
        if self.random.random() < 0.2:
            body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + picture + b"\r\n"
            return self.post("/predict", body * 3 + b"--b--\r\n", FORM)
        return self.post("/predict", picture)

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        """One request on the kept connection; what the server took and did not answer is noted as lost."""
        kept = self._connection is not None
        connection = self._connection = self._connection or http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60
        )
        try:
            connection.request("POST", path, body, headers or {"Content-Type": "application/octet-stream"})
        except OSError as error:  # not sent whole: refused, or closed before
            self.drop()
            return (type(error).__name__, 0)
        try:
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{path} {len(body)} bytes, {'kept' if kept else 'new'} connection: {error!r}")
            self.drop()
            return ("lost", 0)
        if answer.will_close:
            self.drop()
        return ("answered", answer.status)

    def half(self, wait: bool) -> Reply:
        """Promise more than comes, and go, at once or after a while."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sending:
                sending.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + bytes(40_000))
                if wait:
                    self.stop.wait(1)
        except OSError as error:
            return (type(error).__name__, 0)
        return ("half sent", 0)

    def garbage(self) -> Reply:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sending:
                sending.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                first = sending.recv(100)
        except OSError as error:
            return (type(error).__name__, 0)
        return ("garbage answered", int(first[9:12] or 0))

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def visit_page(port: int, pictures: list[bytes], stop: threading.Event) -> None:
    """Drop a picture on the page every second, as its script does."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from page_visitor import Visitor

    visitor = Visitor(f"http://127.0.0.1:{port}")
    with contextlib.suppress(OSError, http.client.HTTPException, StopIteration):  # the server ends
        while not stop.wait(1):
            sent = visitor.file(visitor.upload("a.jpg", random.choice(pictures)))
            said = visitor.call("picture", "upload", sent, 3, None)
            assert said["success"], said


def megabytes(process: int) -> float:
    """Resident memory."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def soak(seconds: float, clients: int, model: str, page: bool = True) -> list[str]:
    """Run it; returns what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        return _soak(Path(folder), seconds, clients, model, page)


def _soak(folder: Path, seconds: float, clients: int, model: str, page: bool) -> list[str]:
    command = [sys.executable, "-m", "whatsit", "serve", "-m", model, "--port", "0", "--grace", "20"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    said = folder.with_suffix(".said")
    with said.open("w") as stderr:
        command += [] if page else ["--no-page"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
    while not (port := re.search(r"http://[^:]+:(\d+)", said.read_text())):
        time.sleep(0.1)
        assert process.poll() is None, said.read_text()
    before = files_in(folder)
    stop = threading.Event()
    pictures = photos()
    working = [Client(int(port[1]), number, pictures, stop) for number in range(clients)]
    threads = [threading.Thread(target=client.run) for client in working]
    threads += [threading.Thread(target=visit_page, args=(int(port[1]), pictures, stop))] if page else []
    for thread in threads:
        thread.start()
    time.sleep(seconds / 10)
    early = megabytes(process.pid)
    time.sleep(seconds * 9 / 10)
    late = megabytes(process.pid)
    during = files_in(folder)
    lost_before = sum(len(client.lost) for client in working)
    process.send_signal(signal.SIGTERM)
    ended = process.wait(60)
    stop.set()
    for thread in threads:
        thread.join()
    errors = "".join(line for line in said.read_text().splitlines(True) if "Ctrl-C ends it" not in line)
    said.unlink()
    statuses = sum((client.statuses for client in working), Counter[Reply]())
    lost = [line for client in working for line in client.lost]
    for (kind, status), count in sorted(statuses.items(), key=str):
        print(f"{count:8,} {kind} {status or ''}".rstrip())
    growth = f"{late / early:.2f} times"
    print(f"memory {early:.0f} MB after {seconds / 10:.0f} s, {late:.0f} MB at the end: {growth}")
    print(f"temporary files: {len(before)} at the start, {len(during)} at the end, {len(files_in(folder))} afterwards")
    print(f"requests lost: {lost_before} before SIGTERM, {len(lost) - lost_before} at it; exit code {ended}")
    server_errors = [status for (_, status) in statuses if status >= 500 and status != 503]
    return [
        *(f"status {status}" for status in server_errors),
        *lost[:5],
        *([f"memory grew {late / early:.2f} times"] if late > MOST_GROWTH * early else []),
        *([f"files left: {during[:5]}"] if len(during) > len(before) + _ON_THE_PAGE else []),
        *([f"files left at the end: {files_in(folder)[:5]}"] if files_in(folder) else []),
        *([f"exit code {ended}"] if ended else []),
        *([f"it said: {errors[-500:]}"] if errors else []),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="everyday")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--no-page", action="store_true")
    options = parser.parse_args()
    wrong = soak(60 * options.minutes, options.clients, options.model, not options.no_page)
    print("\n".join(wrong) or "nothing went wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
