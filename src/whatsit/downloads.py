"""One file from the network: resumed where it breaks off, tried again where it is worth it, and checked."""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

from whatsit import storage
from whatsit.errors import WeightsError, WhatsitError
from whatsit.events import OnEvent, Progress, ignore
from whatsit.version import __version__

ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
LONGEST_PAUSE = 60.0  # seconds, whatever Retry-After says
_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 18  # bytes


_NO = ("", "0", "false", "f", "no", "n", "off")  # as the command line reads variables


def may_connect(offline: bool) -> bool:
    """Whether fetching is allowed: neither `offline` nor the variable WHATSIT_OFFLINE forbids it."""
    return not offline and os.environ.get("WHATSIT_OFFLINE", "").lower() in _NO


class _FailedError(Exception):
    """An attempt that failed. `again`: for a reason that may pass. `wait`: the seconds the server asks for."""

    def __init__(self, reason: str, again: bool = True, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    on_event: OnEvent = ignore,
    error: type[WhatsitError] = WeightsError,
    hint: str = "Try again later.",
) -> Path:
    """Fetch `url` into `path`, which appears whole and with the right hash (hexadecimal), or not at all.

    Follows redirects. A server that is busy (429, 5xx) is asked again when it says, a transfer that breaks off goes on
    where it stopped; four attempts in all. Raises `error`, with `hint`, for everything that remains wrong, and
    OutputError where `path` cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise error(f"cannot fetch '{url}'", value="no web address", accepted="http:// or https://", hint=hint)
    with storage.beside(path) as part:
        _attempts(url, part, path.name, on_event, error, hint)
        _check(url, part, "sha256", sha256, error, hint)
        _check(url, part, "md5", md5, error, hint)
    return path


def fetch_on(
    url: str,
    path: Path,
    *,
    md5: str,
    on_event: OnEvent,
    error: type[WhatsitError],
    hint: str,
    elsewhere: str,
) -> Path:
    """As `fetch`, but what has arrived when it fails or is interrupted stays, and the next call goes on there.

    Only the MD5 of the whole tells whether an old part belongs to the file: if it does not, everything is fetched anew.
    `elsewhere` says, after "Free some space, or", what to do where `path` cannot be written.
    """
    with storage.continued(path, elsewhere) as part:
        old = part.stat().st_size > 0
        if not old or _digest(part, "md5") != md5:  # else it was complete, but for its name
            _attempts(url, part, path.name, on_event, error, hint, proven=True)
        if old and _digest(part, "md5") != md5:
            _empty(part)
            _attempts(url, part, path.name, on_event, error, hint)
        try:
            _check(url, part, "md5", md5, error, hint)
        except error:
            _empty(part)  # nobody should go on with it
            raise
    return path


def reason(failure: BaseException) -> str:
    """Why a connection failed, in a few words."""
    inner = getattr(failure, "reason", None) or failure.__cause__ or failure.__context__
    if isinstance(inner, BaseException):
        return reason(inner)
    if isinstance(failure, socket.gaierror):
        return "no connection: the host's name cannot be looked up"
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(getattr(failure, "strerror", None) or failure or type(failure).__name__).lower()


def _attempts(
    url: str, part: Path, name: str, on_event: OnEvent, error: type[WhatsitError], hint: str, proven: bool = False
) -> None:
    """`proven`: a hash will tell whether old and new bytes fit together, so it goes on also where no tag is known."""
    tag: str | None = None
    pause = PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        os.utime(part)  # while others may wonder whether anybody is still at it
        try:
            with _answer(url, part.stat().st_size, tag, proven) as answer:
                tag = answer.tag
                _receive(answer, part, name, on_event)
            return
        except _FailedError as failure:
            if not failure.again or attempt == ATTEMPTS:
                tried = f" ({attempt} attempts)" if attempt > 1 else ""
                raise error(
                    f"cannot fetch '{url}'",
                    value=f"{failure}{tried}",
                    accepted="a server that can be reached and sends the whole file",
                    hint=hint,
                ) from None
            time.sleep(min(LONGEST_PAUSE, pause if failure.wait is None else failure.wait))
            pause *= 2


@dataclass(frozen=True)
class _Answer:
    """An open answer: its body, where in the file the body begins, the whole file's size and version, if known."""

    body: IO[bytes]
    begins: int
    size: int | None
    tag: str | None


@contextmanager
def _answer(url: str, have: int, tag: str | None, proven: bool) -> Iterator[_Answer]:
    headers = {"User-Agent": f"whatsit/{__version__}", "Accept-Encoding": "identity"}
    if have and (tag or proven):
        headers["Range"] = f"bytes={have}-"
    if have and tag:
        headers["If-Range"] = tag  # a file that has changed since is sent from its start
    with _response(url, headers) as response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _FailedError("another part of the file than was asked for")
        begins = have if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        size = begins + int(length) if length.isdigit() else None
        etag = response.headers.get("ETag", "")
        yield _Answer(response, begins, size, etag if etag and not etag.startswith("W/") else None)


def _response(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    try:
        return cast(
            http.client.HTTPResponse,
            urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT),
        )
    except urllib.error.HTTPError as failure:
        failure.close()
        if failure.code == 416 and "Range" in headers:  # more is there than the file has: it is another file's
            return _response(url, {key: value for key, value in headers.items() if "Range" not in key})
        busy = failure.code == 429 or failure.code >= 500
        wait = retry_after(failure.headers.get("Retry-After"))
        raise _FailedError(f"HTTP {failure.code} {failure.reason}".strip(), busy, wait) from None
    except (ConnectionResetError, http.client.RemoteDisconnected) as failure:
        raise _FailedError(reason(failure)) from None
    except (OSError, http.client.HTTPException) as failure:  # no such host, nobody listening, no certificate, ...
        raise _FailedError(reason(failure), again=False) from None


def _receive(answer: _Answer, part: Path, name: str, on_event: OnEvent) -> None:
    os.utime(part)  # to look the host up and be answered may have taken minutes
    with part.open("r+b") as file:
        file.seek(answer.begins)
        file.truncate()
        while piece := _read(answer.body, file.tell()):
            file.write(piece)
            if answer.size:
                on_event(Progress(f"fetching {name} (kB)", file.tell() // 1000, answer.size // 1000))
        if answer.size is not None and file.tell() != answer.size:
            raise _FailedError(f"it broke off after {file.tell():,} of {answer.size:,} bytes")


def _read(body: IO[bytes], have: int) -> bytes:
    try:
        return body.read(_PIECE)
    except (OSError, http.client.HTTPException) as failure:
        raise _FailedError(f"it broke off after {have:,} bytes: {reason(failure)}") from None


def retry_after(text: str | None) -> float | None:
    """`Retry-After` in seconds: a number, or a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _check(url: str, part: Path, algorithm: str, expected: str | None, error: type[WhatsitError], hint: str) -> None:
    if expected is None:
        return
    digest = _digest(part, algorithm)
    if digest != expected.lower():
        raise error(
            f"cannot trust what came from '{url}'",
            value=f"{algorithm.upper()} {digest[:16]}…",
            accepted=f"{expected[:16].lower()}…",
            hint=f"Nothing was kept. {hint}",
        )


def _digest(part: Path, algorithm: str) -> str:
    with part.open("rb") as file:  # MD5 finds damage here, no attackers: some systems want that said
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _empty(part: Path) -> None:
    part.write_bytes(b"")
