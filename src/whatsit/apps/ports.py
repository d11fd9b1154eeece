"""An address to listen on: whether it is free, and what is said where it is not."""

from __future__ import annotations

import os
import socket

from whatsit.errors import ServerError


def refuse_in_use(host: str, port: int) -> None:
    """Raise ServerError before any work is done if nothing can listen there."""
    if not 0 <= port <= 65_535:
        raise ServerError(
            "cannot listen on this port", value=port, accepted="0 to 65535", hint="For instance: --port 7860"
        )
    with socket.socket(family(host), socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # there it would succeed on a port in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise cannot_listen(host, port, error) from None


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def cannot_listen(host: str, port: int, error: OSError) -> ServerError:
    return ServerError(
        f"cannot listen on {host}:{port}",
        value=(error.strerror or str(error)).partition(" (while")[0].lower(),
        accepted="a free port and an address of this machine",
        hint="Name another port, or --port 0 for any free one.",
    )
