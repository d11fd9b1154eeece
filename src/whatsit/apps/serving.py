"""Open models to others: the page and the HTTP interface, in one process on one address."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.apps.served import Served, named
from whatsit.errors import MissingExtraError, OptionError
from whatsit.runtime.open_model import OpenModel

if TYPE_CHECKING:
    from whatsit.apps.feedback import Feedback
    from whatsit.apps.server.limits import Limits
    from whatsit.apps.server.listening import Running
    from whatsit.apps.web.page import Page


def serve(
    model: OpenModel,
    examples: Sequence[str | os.PathLike[str]] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
) -> None:
    """Open a page on a model, with pictures or folders to click, until Ctrl-C.

    Raises ServerError, MissingExtraError, and OptionError for `share` where WHATSIT_OFFLINE is set.
    """
    refuse_share_offline(share)
    models = named([(str(model.path), model)])
    with opened(models, examples=[Path(example) for example in examples], host=host, port=port, share=share) as running:
        print(f"The page is at {running} (Ctrl-C ends it)", flush=True)
        running.wait()


@contextmanager
def opened(
    models: Sequence[Served],
    *,
    page: bool = True,
    examples: Sequence[Path] = (),
    feedback: Feedback | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    token: str | None = None,
    auth: tuple[str, str] | None = None,
    cors: Sequence[str] = (),
    limits: Limits | None = None,
    grace: float = 10.0,
    log: bool = False,
) -> Iterator[Running]:
    """Answer on an address (port 0: any free one), with `page` for people too, with `share` on a public one too.

    examples   pictures and folders to click on the page
    feedback   where right labels that people give on the page are kept
    token      what programs must send; None: nothing
    auth       (user, password) that the page asks for, and that programs may send instead of the token
    cors       origins whose web pages may ask
    grace      seconds that requests get at the end to be answered
    log        write a line of JSON to stdout for each request of a program

    Raises ServerError, MissingExtraError, OptionError.
    """
    _refuse_missing_server()
    from whatsit.apps.server import app
    from whatsit.apps.server.access_log import AccessLog
    from whatsit.apps.server.exchange import State
    from whatsit.apps.server.guard import Access, Guard
    from whatsit.apps.server.limits import Limits
    from whatsit.apps.server.listening import running
    from whatsit.apps.server.metrics import Metrics
    from whatsit.apps.server.work import Work

    state, metrics, limits, access = State(), Metrics(), limits or Limits(), Access(token, auth, cors)
    with ExitStack() as stack:
        work = stack.enter_context(Work(limits, metrics))
        shown = stack.enter_context(_page(models, examples, feedback)) if page else None
        guard = Guard(
            app.build(models, work, metrics, state, access),
            shown.app(auth) if shown else None,
            limits,
            metrics,
            state,
            access,
            log=stack.enter_context(AccessLog(sys.stdout)) if log else None,
            mistakes=stack.enter_context(AccessLog(sys.stderr)),
        )
        probe = "/" if shown else "/health/ready"
        is_busy = (lambda: shown.work.busy) if shown else lambda: False
        server = stack.enter_context(running(guard, host, port, state, probe=probe, grace=grace, is_busy=is_busy))
        if share:
            from whatsit.apps.web.public_link import public_link

            server.addresses.append(stack.enter_context(public_link(*server.visit)))
        yield server


def _refuse_missing_server() -> None:
    try:
        import whatsit.apps.server.app  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("open a server", module=error.name or "fastapi", extra="server") from None


def _page(models: Sequence[Served], examples: Sequence[Path], feedback: Feedback | None) -> Page:
    try:
        from whatsit.apps.web.page import Page
    except ImportError as error:
        raise MissingExtraError("open the page", module=error.name or "gradio", extra="web") from None
    return Page(models, examples, feedback=feedback)


def refuse_share_offline(share: bool, offline: bool = False) -> None:
    from whatsit import downloads

    if share and not downloads.may_connect(offline):
        raise OptionError(
            "cannot open a public link without a connection",
            value="--share with --offline or WHATSIT_OFFLINE",
            accepted="one of the two",
            hint="Leave one of them out.",
        )
