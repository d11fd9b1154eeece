"""What the server counts, for Prometheus to fetch from /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16)


class Metrics:
    """One server's counters: `requests`, `errors`, `seconds`, `queue`, `pictures`."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "whatsit_requests", "Requests answered.", ["endpoint", "method", "status"], registry=registry
        )
        self.errors = Counter("whatsit_errors", "Answers that are problems, by kind.", ["kind"], registry=registry)
        self.seconds = Histogram(
            "whatsit_stage_seconds",
            "Time by stage: receive (the body), queue, decode, inference (for each picture), total (the request).",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge("whatsit_queue_length", "Pictures that wait or are being answered.", registry=registry)
        self.pictures = Counter(
            "whatsit_pictures", "Pictures, by what came out.", ["model", "outcome"], registry=registry
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
