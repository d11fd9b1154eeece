"""Pictures -> answers, on as many threads as there are processors, with a queue that has an end."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from whatsit.apps.served import Served
from whatsit.apps.server.limits import Limits
from whatsit.apps.server.metrics import Metrics
from whatsit.apps.server.problems import Problem
from whatsit.errors import ImageError
from whatsit.runtime import Prediction
from whatsit.runtime.engine import Engine
from whatsit.runtime.open_model import refuse_no_number


@dataclass(frozen=True)
class Picture:
    """What a client sent: its name, and its file or its pixels."""

    name: str
    source: bytes | NDArray[Any]


@dataclass(frozen=True)
class Answer:
    """What came out for one picture, and the seconds of each stage.

    Where it could not be read, `refused` says why, and `probabilities` [K] and `embedding` [D] are None.
    """

    prediction: Prediction
    refused: ImageError | None
    probabilities: NDArray[np.float32] | None
    embedding: NDArray[np.float32] | None
    queued: float
    decoding: float
    inference: float


class Hosted:
    """A model with two open sessions: one that shares a lone picture among all processors, for the shortest answer,
    and one that keeps each picture to one thread, for the most answers when several are at work."""

    def __init__(self, served: Served) -> None:
        self.name = served.name
        self.model = served.model
        self.wide: Engine = served.model.engine
        self.narrow: Engine = served.model.engine_with(threads=1)
        height, width = self.model.manifest.preprocess.size
        blank = np.zeros((1, height, width, 3), np.uint8)
        self.wide.run(blank)  # the first run is slow
        self.embedding_width = int(self.narrow.run(blank)[1].shape[1])


class Work:
    """The threads and the queue that all models share. A context manager: at its end no thread is left."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.workers = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self.workers, "classify")
        self._requests = 0
        self._pictures = 0  # waiting or at work
        self._usual = 0.01  # seconds for a picture, a moving mean
        metrics.queue.set_function(lambda: self._pictures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def classify(self, hosted: Hosted, pictures: Sequence[Picture], top: int) -> list[Answer]:
        """One answer for each, in order. Raises Problem (429) when too many requests are waiting."""
        if self._requests >= self.limits.queue:
            raise self._busy()
        loop = asyncio.get_running_loop()
        self._requests += 1
        try:
            self._pictures += len(pictures)  # first: the threads look at it
            now = time.perf_counter()
            jobs = [loop.run_in_executor(self._threads, self._answer, hosted, one, top, now) for one in pictures]
            for job in jobs:
                job.add_done_callback(self._done)
            return await asyncio.gather(*jobs)
        finally:
            self._requests -= 1

    def _done(self, job: asyncio.Future[Answer]) -> None:
        self._pictures -= 1
        if not job.cancelled() and job.exception() is None:
            answer = job.result()
            self._usual += 0.05 * (answer.decoding + answer.inference - self._usual)

    def _busy(self) -> Problem:
        wait = max(1, math.ceil(self._pictures * self._usual / self.workers))
        return Problem(
            429,
            "queue full",
            "cannot answer now",
            value=f"{self._requests} requests in the queue",
            accepted=f"at most {self.limits.queue}",
            hint=f"Ask again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )

    def _answer(self, hosted: Hosted, picture: Picture, top: int, sent: float) -> Answer:
        """On a thread of the pool."""
        start = time.perf_counter()
        refused: ImageError | None = None
        row: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        try:
            prepared = hosted.model.prepare(picture.source, name=picture.name, limits=self.limits.picture)
        except ImageError as error:
            refused = error
        decoded = time.perf_counter()
        if refused is None:
            engine = hosted.wide if self._pictures <= 1 else hosted.narrow
            (probabilities,), (embedding,) = engine.run(prepared[None])
            refused = refuse_no_number(picture.name, probabilities)
            row = None if refused else (probabilities, embedding)
        end = time.perf_counter()
        prediction = hosted.model.prediction(picture.name, refused or probabilities, top=top, seconds=end - start)
        seconds = start - sent, decoded - start, end - decoded
        self._count(hosted, prediction, *seconds)
        return Answer(prediction, refused, row and row[0], row and row[1], *seconds)

    def _count(self, hosted: Hosted, prediction: Prediction, *seconds: float) -> None:
        for stage, spent in zip(("queue", "decode", "inference"), seconds, strict=True):
            self.metrics.seconds.labels(stage).observe(spent)
        outcome = "unreadable" if prediction.error else "unsure" if prediction.unsure else "answered"
        self.metrics.pictures.labels(hosted.name, outcome).inc()
