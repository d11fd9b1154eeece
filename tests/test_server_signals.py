"""A signal that comes in the midst of waiting for it."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs the 'server' extra")

from whatsit.apps.server.listening import Running


@pytest.mark.timeout(30)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("line", range(1, 13))
def test_a_signal_at_any_line_of_the_wait_ends_it(number: signal.Signals, line: int) -> None:
    """Handlers run between two instructions of the thread that waits, whatever locks it holds."""
    passed = 0

    def trace(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if event == "line":
            passed += 1
            if passed == line:
                signal.raise_signal(number)
        return trace

    former = sys.gettrace()
    with Running([], ("127.0.0.1", 0)).ended_by_signals() as running:
        sys.settrace(trace)
        try:
            running.wait()
        finally:
            sys.settrace(former)
    assert passed >= line
