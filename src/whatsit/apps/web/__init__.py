"""The page: drop a picture, see what it is. The only folder that imports gradio.

    page      what stands on it, and what happens when a picture arrives
    examples  the pictures to click
    server    opening it on an address, and ending it

Gradio reads these variables when it is imported, so they are set here, before any module of this folder can do so.
Without the first it asks two hosts for news at start; without the second it keeps every picture in a browser store.
"""

from __future__ import annotations

import os

os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
