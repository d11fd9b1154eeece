"""An open model file: pictures in, predictions out, in order, one each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, overload

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


class OpenModel:
    """Classify pictures with a model file. Needs neither PyTorch nor TensorFlow; safe to share between threads."""

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        self.path = Path(path)
        self.manifest = modelfile.read_manifest(self.path)
        self.engine: Engine = OnnxRuntimeEngine(self.path, threads)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels in the order of `predict_proba`'s columns (scikit-learn's name for them)."""
        return np.array(self.labels)

    @overload
    def predict(self, pictures: list[Any] | tuple[Any, ...], *, top: int = 5) -> list[Prediction]: ...
    @overload
    def predict(self, pictures: images.Source, *, top: int = 5) -> Prediction: ...
    def predict(self, pictures: Any, *, top: int = 5) -> Prediction | list[Prediction]:
        """Classify one picture or a list of them (paths, bytes, file objects, PIL images or arrays).

        An unreadable picture gives a Prediction with `error` set; the others are still answered.
        """
        if isinstance(pictures, list | tuple) or _is_stack(pictures):
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
        batch: list[tuple[str, NDArray[np.uint8] | ImageError, float]] = []
        full = max(1, _PIXELS_A_BATCH // (self.manifest.preprocess.size[0] * self.manifest.preprocess.size[1]))
        for prepared in in_parallel(self._prepare, enumerate(pictures), "classifying", on_event):
            batch.append(prepared)
            if len(batch) == full:
                yield from self._answer(batch, top)
                batch = []
        yield from self._answer(batch, top)

    def predict_proba(self, pictures: Any) -> NDArray[np.float32]:
        """float32 [N, K], columns in the order of `classes_`. Raises ImageError at the first unreadable picture."""
        return self._run_all(pictures)[0]

    def embed(self, pictures: Any) -> NDArray[np.float32]:
        """float32 [N, D]: what the network sees in each picture, before its last layer."""
        return self._run_all(pictures)[1]

    def answers(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities `[N, K]` for pictures that already have the input's geometry, `uint8 [N, h, w, 3]`."""
        return self.engine.run(prepared)[0]

    def _run_all(self, pictures: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        sources = pictures if isinstance(pictures, list | tuple) or _is_stack(pictures) else [pictures]
        results = []
        for _, picture, _ in in_parallel(self._prepare, enumerate(sources), "classifying", ignore):
            if isinstance(picture, ImageError):
                raise picture
            results.append(self.engine.run(picture[None]))
        if not results:
            return np.empty((0, len(self.labels)), np.float32), np.empty((0, 0), np.float32)
        return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])

    def _prepare(self, item: tuple[int, images.Source]) -> tuple[str, NDArray[np.uint8] | ImageError, float]:
        number, source = item
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else f"picture {number + 1}"
        start = time.perf_counter()
        try:
            picture: NDArray[np.uint8] | ImageError = self.manifest.preprocess.apply(images.load(source, name=name))
        except ImageError as error:
            picture = error
        return name, picture, time.perf_counter() - start

    def _answer(self, batch: list[tuple[str, NDArray[np.uint8] | ImageError, float]], top: int) -> Iterator[Prediction]:
        readable = [picture for _, picture, _ in batch if not isinstance(picture, ImageError)]
        start = time.perf_counter()
        rows = iter(self.engine.run(np.stack(readable))[0] if readable else ())
        share = (time.perf_counter() - start) / max(1, len(readable))
        for name, picture, seconds in batch:
            if isinstance(picture, ImageError):
                yield Prediction(name, None, None, (), error=str(picture.value), seconds=seconds)
            else:
                yield self._prediction(name, next(rows), top, seconds + share)

    def _prediction(self, name: str, probabilities: NDArray[np.float32], top: int, seconds: float) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")[:top]
        best = tuple((self.labels[i], float(probabilities[i])) for i in order)
        threshold = self.manifest.threshold
        unsure = threshold is not None and best[0][1] < threshold
        return Prediction(name, best[0][0], best[0][1], best, unsure, "low score" if unsure else None, seconds=seconds)


def _is_stack(pictures: Any) -> bool:
    """uint8 [N, H, W, C]: an array of pictures rather than one."""
    return isinstance(pictures, np.ndarray) and pictures.ndim == 4
