"""A server on an address: listen, answer, and at the end finish what was begun."""

from __future__ import annotations

import asyncio
import http.client
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from whatsit.apps import ports
from whatsit.apps.server.exchange import State
from whatsit.errors import ServerError

_VISIT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # every address of this machine -> one to visit from here
_SECONDS_TO_START = 30
_SECONDS_TO_PART = 0.1  # in which open pages let their connections go
_SECONDS_TO_TELL = 0.5  # in which clients that keep their connection learn that it ends


class Running:
    """A server that answers at `addresses`; `visit` is the host and port to reach it from this machine."""

    def __init__(self, addresses: list[str], visit: tuple[str, int]) -> None:
        self.addresses = addresses
        self.visit = visit
        self._ended = False
        # A handler of signals runs in the midst of the thread that waits, which may hold an Event's lock just then;
        # SimpleQueue.put may be called all the same.
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __str__(self) -> str:
        return " and ".join(self.addresses)

    def wait(self) -> None:
        """Return at the first Ctrl-C or SIGTERM."""
        while not self._ended:
            with suppress(queue.Empty):
                self._woken.get(timeout=0.5)  # in slices: a wait without end cannot be interrupted on every system

    @contextmanager
    def ended_by_signals(self) -> Iterator[Running]:
        """The first signal ends `wait`; a second one does what it would have done without us.

        Off the main thread, where Python lets nobody hear signals, nothing happens.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def stop(_number: int, _frame: object) -> None:
            restore()
            self._ended = True
            self._woken.put(None)

        for number in before:
            signal.signal(number, stop)
        try:
            yield self
        finally:
            restore()


@contextmanager
def running(
    app: Any,
    host: str,
    port: int,
    state: State,
    *,
    probe: str,
    grace: float = 10.0,
    is_busy: Callable[[], bool] = lambda: False,
) -> Iterator[Running]:
    """Answer with the ASGI `app` on this address (port 0: any free one), for as long as the context lasts.

    `probe` is the path that must answer before anybody is told. At the end, `state.ending` is set, and what came
    before is answered, for at most `grace` seconds: requests of programs, and as long as `is_busy`, the page's. Raises
    ServerError.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        port = listener.getsockname()[1]
        visit = _VISIT.get(host, host)
        stack.enter_context(_answering(app, listener, state, grace, is_busy))
        _check_answer(visit, port, probe)
        names = [visit, socket.gethostname()] if host in _VISIT else [host]
        addresses = [f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names]
        yield stack.enter_context(Running(addresses, (visit, port)).ended_by_signals())


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=ports.family(host), backlog=1024)
    except OSError as error:
        raise ports.cannot_listen(host, port, error) from None


class _Impatient(HttpToolsProtocol):
    """Uvicorn waits for ever for a request's head, and for the rest of a body that nobody reads; this does not, so that
    silent clients do not pile up."""

    seconds = 15.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        between = self.cycle is None or self.cycle.response_complete
        if between and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def on_headers_complete(self) -> None:
        self._in_time()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@contextmanager
def _answering(
    app: Any, listener: socket.socket, state: State, grace: float, is_busy: Callable[[], bool]
) -> Iterator[None]:
    """A server in a thread, where it leaves the signals to us. It says nothing of its own."""
    config = uvicorn.Config(
        app,
        http=_Impatient,
        log_config=None,
        log_level="critical",
        access_log=False,
        ws="none",
        server_header=False,
        # Anybody could say in a header that he is somebody else; uvicorn's variable names the proxy to be believed.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        timeout_graceful_shutdown=1,  # pages hold a connection for as long as they are open
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="server", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield
    finally:
        _finish(state, grace, is_busy)
        server.should_exit = True
        thread.join()


def _finish(state: State, grace: float, is_busy: Callable[[], bool]) -> None:
    """From now on new requests are refused; wait for those that came before."""
    state.ending = True
    now = time.monotonic()
    told, last = now + min(grace, _SECONDS_TO_TELL), now + grace
    while (now := time.monotonic()) < last and (now < told or state.open_requests or is_busy()):
        time.sleep(0.02)
    state.ended = True
    time.sleep(_SECONDS_TO_PART)


def _check_answer(host: str, port: int, probe: str) -> None:
    """Nobody is told of a server that does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS_TO_START)
    try:
        connection.request("GET", probe)
        reason = f"status {connection.getresponse().status}"
    except OSError as error:
        reason = str(error)
    finally:
        connection.close()
    if reason not in ("status 200", "status 401"):
        raise ServerError(
            "the server does not answer",
            value=reason,
            accepted="an answer",
            hint="Please report this with the output of 'pip list'.",
        )
