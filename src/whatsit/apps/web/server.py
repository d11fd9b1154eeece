"""The page on an address: listen, answer, wait for Ctrl-C, close."""

from __future__ import annotations

import contextlib
import http.client
import io
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from gradio import networking, tunneling

from whatsit.errors import ServerError

_VISIT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # every address of this machine -> one to visit from here
_SECONDS_TO_START, _SECONDS_TO_CLOSE = 30, 1


class OpenPage:
    """A page that answers at `addresses`."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._stop = threading.Event()

    def __str__(self) -> str:
        return " and ".join(self.addresses)

    def wait(self) -> None:
        """Return at the first Ctrl-C or SIGTERM."""
        while not self._stop.wait(0.5):  # in slices: a wait without end cannot be interrupted on every system
            pass

    @contextmanager
    def ended_by_signals(self) -> Iterator[OpenPage]:
        """The first signal ends `wait`; a second one does what it would have done without us."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def stop(_number: int, _frame: object) -> None:
            restore()
            self._stop.set()

        for number in before:
            signal.signal(number, stop)
        try:
            yield self
        finally:
            restore()


@contextmanager
def open_page(app: Any, host: str, port: int, share: bool, folder: Path) -> Iterator[OpenPage]:
    """Answer with the ASGI `app` on this address (port 0: any free one); with `share` on a public one too.

    `folder` takes what the public link needs. Raises ServerError.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        port = listener.getsockname()[1]
        visit = _VISIT.get(host, host)
        stack.enter_context(_running(app, listener))
        _check_answer(visit, port)
        names = [visit, socket.gethostname()] if host in _VISIT else [host]
        addresses = [f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names]
        if share:
            addresses.append(stack.enter_context(_public_link(visit, port, folder)))
        yield stack.enter_context(OpenPage(addresses).ended_by_signals())


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{port}",
            value=(error.strerror or str(error)).partition(" (while")[0].lower(),
            accepted="a free port and an address of this machine",
            hint="Name another port, or --port 0 for any free one.",
        ) from None


@contextmanager
def _running(app: Any, listener: socket.socket) -> Iterator[None]:
    """A server in a thread, where it leaves the signals to us. It says nothing of its own."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=_SECONDS_TO_CLOSE,  # open pages hold a connection for as long as they live
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), name="page", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


def _check_answer(host: str, port: int) -> None:
    """Nobody is told of a page that does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS_TO_START)
    try:
        connection.request("GET", "/")
        reason = f"status {connection.getresponse().status}"
    except OSError as error:
        reason = str(error)
    finally:
        connection.close()
    if reason != "status 200":
        raise ServerError(
            "the page does not answer",
            value=reason,
            accepted="a page",
            hint="Please report this with the output of 'pip list'.",
        )


@contextmanager
def _public_link(host: str, port: int, folder: Path) -> Iterator[str]:
    """Gradio's servers lead a public address to this one, for as long as its helper program runs."""
    networking.CERTIFICATE_PATH = str(folder / "certificate.pem")  # it would leave one in the current folder
    try:
        yield _link(host, port)
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            for tunnel in tunneling.CURRENT_TUNNELS:
                tunnel.kill()


def _link(host: str, port: int) -> str:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return str(networking.setup_tunnel(host, port, secrets.token_urlsafe(32), None, None))
    except Exception as error:  # they share no base class
        reasons = f"{error} {error.__cause__ or ''} {said.getvalue()}"
        raise ServerError(
            "cannot get a public link for the page",
            value=" ".join(reasons.split())[:300],
            accepted="a connection to Gradio's servers",
            hint="Check the connection, or leave out --share: the page works without it.",
        ) from None
