"""Open the page from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from whatsit.apps.served import named
from whatsit.errors import MissingExtraError, OptionError
from whatsit.runtime.open_model import OpenModel


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
    try:
        from whatsit.apps.web.page import Page
    except ImportError as error:
        raise MissingExtraError("open the page", module=error.name or "gradio", extra="web") from None
    models = named([(str(model.path), model)])
    with Page(models, [Path(example) for example in examples]) as page, page.open(host, port, share) as running:
        print(f"The page is at {running} (Ctrl-C ends it)", flush=True)
        running.wait()


def refuse_share_offline(share: bool, offline: bool = False) -> None:
    from whatsit import downloads

    if share and not downloads.may_connect(offline):
        raise OptionError(
            "cannot open a public link without a connection",
            value="--share with --offline or WHATSIT_OFFLINE",
            accepted="one of the two",
            hint="Leave one of them out.",
        )
