"""The page: drop a picture, see what it is. The only folder that imports gradio.

    page      the page as a whole, and how it is put on a server
    classify  the tab for one picture, and feedback about its answer
    many      the tab for many pictures; batch reads them, table and table.js show the answers
    about     the tab about the models
    answer    answers as HTML
    examples  the pictures to click
    pictures  pictures for looking at
    uploads   what browsers send, and its end
    work      what goes on, so that the page ends after it
    guard     what may be asked of the page
    public_link  an address for everyone, through Gradio's servers

Gradio reads these variables when it is imported, so they are set here, before any module of this folder can do so.
Without the first it asks two hosts for news at start; without the second it keeps every picture in a browser store;
without the next two every event makes a table of the last 10,000 ones with pandas, for a page that is switched off.
"""

from __future__ import annotations

import os

os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
