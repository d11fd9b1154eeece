"""A public address through Gradio's servers, which lead it to this machine for as long as their helper program runs."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gradio import networking, tunneling

from whatsit.errors import ServerError


@contextmanager
def public_link(host: str, port: int) -> Iterator[str]:
    """The public address of what answers here. Raises ServerError."""
    with TemporaryDirectory(prefix="whatsit-link-") as folder:
        networking.CERTIFICATE_PATH = str(Path(folder, "certificate.pem"))  # it would leave one in the current folder
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
