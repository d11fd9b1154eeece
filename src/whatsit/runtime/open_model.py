"""An open model file: pictures in, predictions out, in order, one each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from whatsit import images, modelfile
from whatsit.dataset import in_parallel
from whatsit.errors import ImageError, OptionError
from whatsit.events import OnEvent, ignore
from whatsit.runtime.engine import Engine
from whatsit.runtime.onnxruntime_engine import OnnxRuntimeEngine
from whatsit.runtime.prediction import Prediction

_PIXELS_A_BATCH = 65_536  # batches pay for tiny inputs only: 64 pictures of 32x32, one of 224x224
_TAKEN_AT_ONCE = 64  # pictures from a generator, whose end is not known


class _Prepared(NamedTuple):
    """One picture on its way: its name, its pixels or why there are none, and the seconds spent on it."""

    name: str
    picture: NDArray[np.uint8] | ImageError
    seconds: float


class _Answered(NamedTuple):
    """The same with the network's row for it: probabilities float32 [K] and embedding float32 [D]."""

    name: str
    row: tuple[NDArray[np.float32], NDArray[np.float32]] | ImageError
    seconds: float


class OpenModel:
    """Classify pictures with a model file. Needs neither PyTorch nor TensorFlow; safe to share between threads.

    threads   of the network, by default as many as there are processors
    spinning  they wait for each other awake: for pictures that come one at a time, while nothing else wants to compute
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, spinning: bool = False) -> None:
        self.path = Path(path)
        self.manifest = modelfile.read_manifest(self.path)
        self.engine: Engine = OnnxRuntimeEngine(self.path, threads, spinning=spinning)

    def engine_with(self, threads: int) -> Engine:
        """Another engine on the same file, with so many threads."""
        return OnnxRuntimeEngine(self.path, threads)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels in the order of `predict_proba`'s columns (scikit-learn's name for them)."""
        return np.array(self.labels)

    @overload
    def predict(self, pictures: list[Any] | tuple[Any, ...] | Iterator[Any], *, top: int = 5) -> list[Prediction]: ...
    @overload
    def predict(self, pictures: images.Source, *, top: int = 5) -> Prediction: ...
    def predict(self, pictures: Any, *, top: int = 5) -> Prediction | list[Prediction]:
        """Classify one picture or many: paths, bytes, file objects, PIL images or arrays.

        Many are a list, a tuple, a generator, an array of paths or an array of pictures `[N, H, W, C]`. An unreadable
        picture gives a Prediction with `error` set; the others are still answered.
        """
        if _are_many(pictures):
            return list(self.stream(pictures, top=top))
        return next(self.stream([pictures], top=top))

    def stream(
        self, pictures: Iterable[images.Source], *, top: int = 5, on_event: OnEvent = ignore
    ) -> Iterator[Prediction]:
        """The same for any number of pictures, one prediction at a time, in order, in bounded memory."""
        if top < 1:
            raise OptionError(
                "cannot show so many labels", value=top, accepted="1 or more", hint="Pass --top 5, for instance."
            )
        return (
            self.prediction(name, row if isinstance(row, ImageError) else row[0], top=top, seconds=seconds)
            for name, row, seconds in self._answered(pictures, on_event)
        )

    def predict_proba(self, pictures: Any) -> NDArray[np.float32]:
        """float32 [N, K], columns in the order of `classes_`. Raises ImageError at the first unreadable picture."""
        return np.stack(rows) if (rows := self._rows(pictures, 0)) else np.empty((0, len(self.labels)), np.float32)

    def embed(self, pictures: Any) -> NDArray[np.float32]:
        """float32 [N, D]: what the network sees in each picture, before its last layer."""
        return np.stack(rows) if (rows := self._rows(pictures, 1)) else np.empty((0, 0), np.float32)

    def answers(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities `[N, K]` for pictures that already have the input's geometry, `uint8 [N, h, w, 3]`."""
        starts = range(0, max(1, len(prepared)), self._full_batch())
        return np.concatenate([self.engine.run(prepared[i : i + self._full_batch()])[0] for i in starts])

    def prepare(
        self, source: images.Source, *, name: str | None = None, limits: images.Limits = images.DEFAULT_LIMITS
    ) -> NDArray[np.uint8]:
        """One picture as the graph takes it, `uint8 [h, w, 3]`. Raises ImageError."""
        return self.manifest.preprocess.apply(images.load(source, name=name, limits=limits))

    def prediction(
        self, name: str, row: NDArray[np.float32] | ImageError, *, top: int = 5, seconds: float = 0.0
    ) -> Prediction:
        """What the graph's probabilities `[K]` for a picture say, or why there are none.

        They are numbers: of those that are not, `refuse_no_number` makes an error first.
        """
        if isinstance(row, ImageError):
            return Prediction(name, None, None, (), error=str(row.value), seconds=seconds)
        order = np.argsort(-row, kind="stable")[:top]  # stable: of equal ones the first label, as argmax has it
        best = tuple((self.labels[i], float(row[i])) for i in order)
        threshold = self.manifest.threshold
        unsure = threshold is not None and best[0][1] < threshold
        return Prediction(name, best[0][0], best[0][1], best, unsure, "low score" if unsure else None, seconds=seconds)

    def _full_batch(self) -> int:
        height, width = self.manifest.preprocess.size
        return max(1, _PIXELS_A_BATCH // (height * width))

    def _rows(self, pictures: Any, output: int) -> list[NDArray[np.float32]]:
        rows = []
        for answered in self._answered(pictures if _are_many(pictures) else [pictures], ignore):
            if isinstance(answered.row, ImageError):
                raise answered.row
            rows.append(answered.row[output])
        return rows

    def _answered(self, pictures: Iterable[images.Source], on_event: OnEvent) -> Iterator[_Answered]:
        full = self._full_batch()
        batch: list[_Prepared] = []
        for prepared in self._prepared(pictures, on_event):
            batch.append(prepared)
            if len(batch) == full:
                yield from self._run(batch)
                batch = []
        yield from self._run(batch)

    def _prepared(self, pictures: Iterable[images.Source], on_event: OnEvent) -> Iterator[_Prepared]:
        numbered = enumerate(pictures, start=1)
        if isinstance(pictures, Sized):
            yield from in_parallel(self._prepare, numbered, "classifying", on_event)
            return
        while some := list(islice(numbered, _TAKEN_AT_ONCE)):
            yield from in_parallel(self._prepare, some, "classifying", ignore)

    def _prepare(self, item: tuple[int, images.Source]) -> _Prepared:
        number, source = item
        name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else f"picture {number}"
        start = time.perf_counter()
        try:
            picture: NDArray[np.uint8] | ImageError = self.prepare(source, name=name)
        except ImageError as error:
            picture = error
        return _Prepared(name, picture, time.perf_counter() - start)

    def _run(self, batch: list[_Prepared]) -> Iterator[_Answered]:
        readable = [prepared.picture for prepared in batch if not isinstance(prepared.picture, ImageError)]
        start = time.perf_counter()
        rows = zip(*self.engine.run(np.stack(readable)), strict=True) if readable else iter(())
        share = (time.perf_counter() - start) / max(1, len(readable))
        for name, picture, seconds in batch:
            if isinstance(picture, ImageError):
                yield _Answered(name, picture, seconds)
            else:
                row = next(rows)
                yield _Answered(name, refuse_no_number(name, row[0]) or row, seconds + share)


def refuse_no_number(name: str, probabilities: NDArray[np.float32]) -> ImageError | None:
    """An error for a picture on which the network's arithmetic broke down: any label would be a guess."""
    if np.isfinite(probabilities).all():
        return None
    return ImageError(
        f"cannot classify picture '{name}'",
        value="the network answers with values that are no numbers",
        accepted="probabilities",
        hint="Leave the picture out, or train the model again.",
    )


def _are_many(pictures: Any) -> bool:
    """Whether this is several pictures rather than one."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim == 4 or (pictures.ndim == 1 and pictures.dtype.kind in "OU")
    if isinstance(pictures, str | bytes | bytearray | memoryview) or hasattr(pictures, "read"):
        return False
    return isinstance(pictures, Iterable) and getattr(pictures, "ndim", 1) == 1  # a tensor has other dimensions
