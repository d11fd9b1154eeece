"""What is noted about one request while it is answered."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

KEY = "whatsit.exchange"  # where a request's scope holds its exchange


@dataclass
class State:
    """What the guard, the bodies and whoever ends the server share.

    open_requests  requests of programs that are not answered yet
    held           bytes of their bodies in memory
    ending         new requests are refused
    ended          nothing is waited for any more
    """

    open_requests: int = 0
    held: int = 0
    ending: bool = False
    ended: bool = False


@dataclass
class Exchange:
    """One request of a program, and its answer.

    id        also in the answer's X-Request-ID
    status    of the answer; 499 where nobody was there to get one
    kind      of the problem, if the answer is one
    pictures  how many were sent
    held      bytes of the body in memory
    """

    state: State
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: int = 499
    kind: str | None = None
    pictures: int = 0
    held: int = 0

    def hold(self, count: int) -> None:
        self.held += count
        self.state.held += count

    def release(self) -> None:
        self.state.held -= self.held
        self.held = 0


def of(scope: Any) -> Exchange:
    exchange: Exchange = scope[KEY]
    return exchange
