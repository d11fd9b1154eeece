"""`whatsit serve --no-page` in a process of its own, and requests to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import whatsit

SECONDS = 20


class Server:
    """A running command: its process and its address."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address
        self.port = int(address.rsplit(":", 1)[1])


@contextmanager
def started(
    *options: str | Path, page: bool = False, told_before: bool = False, **environment: str
) -> Iterator[Server]:
    """The server with these options, on a free port; ended at the end. `told_before`: without -m, it says so first."""
    command = [sys.executable, "-m", "whatsit", "serve", "--port", "0", *map(str, options)]
    command += [] if page else ["--no-page"]
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parents[1]), **environment}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            line = process.stderr.readline() if told_before else line
            told = re.fullmatch(
                r"The (?:server|page) is at (http://127\.0\.0\.1:\d+)(?:/docs)? \(Ctrl-C ends it\)\n", line
            )
            assert told, line + process.stderr.read()
            yield Server(process, told[1])
        finally:
            process.kill()
