"""How much a client may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

from whatsit import images


@dataclass(frozen=True)
class Limits:
    """What is refused, and when.

    request_bytes     of a request's body, all its pictures together (413)
    picture           of one picture: bytes (413), pixels (422)
    pictures          in one request (413)
    values            numbers, texts, lists and objects in a request's JSON (413)
    held_bytes        of all bodies that are being sent, waiting or being answered (429)
    queue             requests whose pictures wait or are being answered (429)
    open_requests     requests at all, those that are still being sent included (429)
    seconds_of_quiet  without a byte from the client, before or in a request (408)
    seconds_to_send   for a whole request (408)
    """

    request_bytes: int = 64_000_000
    picture: images.Limits = field(default_factory=lambda: images.Limits(max_bytes=32_000_000))
    pictures: int = 64
    values: int = 1_000_000
    held_bytes: int = 1_000_000_000
    queue: int = 64
    open_requests: int = 512
    seconds_of_quiet: float = 15.0
    seconds_to_send: float = 300.0
