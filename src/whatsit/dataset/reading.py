"""Read every picture once: is it whole, what is in it (hash), how large is it, what does it look like (thumbnail)."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whatsit import images
from whatsit.cache import ContentCache
from whatsit.dataset import near_duplicates
from whatsit.dataset.near_duplicates import THUMBNAIL
from whatsit.dataset.samples import Dataset, Sample, Unreadable
from whatsit.errors import DataError, ImageError
from whatsit.events import OnEvent, Progress, ignore

_ROOM = 512_000_000  # bytes of decoded pictures that stay in memory, so that training need not decode them again
_SMALL = 1 << 16  # bytes of an array that is read faster than it is handed to a thread
_FACTS = struct.Struct("<II?")  # height, width, grey

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Read:
    content: str
    size: tuple[int, int]
    thumbnail: NDArray[np.uint8]
    grey: bool
    picture: images.Picture | None = None  # where it was decoded just now, from a file

    def to_bytes(self) -> bytes:
        return _FACTS.pack(*self.size, self.grey) + self.thumbnail.tobytes()

    @classmethod
    def from_bytes(cls, content: str, data: bytes) -> _Read:
        height, width, grey = _FACTS.unpack_from(data)
        pixels = np.frombuffer(data, np.uint8, offset=_FACTS.size)
        return cls(content, (height, width), pixels.reshape(THUMBNAIL, THUMBNAIL, 3), grey)


def read(dataset: Dataset, on_event: OnEvent = ignore, cache: Path | None = None) -> Dataset:
    """Decode every picture; the unreadable ones move to `unreadable` with their reasons.

    With a `cache` file, pictures with contents known from there need not be decoded again. What is decoded stays in
    memory while there is room. Raises DataError if none can be read.
    """
    good: list[tuple[Sample, _Read]] = []
    bad = list(dataset.unreadable)
    decoded: dict[str, images.Picture] = {}
    room = _ROOM
    with ContentCache(cache) if cache else nullcontext() as kept:
        known = _known(dataset, kept) if kept and not kept.is_empty() else {}
        unknown = [sample for sample in dataset.samples if sample.name not in known]
        read_now = for_each(_read, unknown, "reading pictures", on_event)
        for sample in dataset.samples:
            result = known.get(sample.name) or next(read_now)
            if isinstance(result, ImageError):
                bad.append(Unreadable(sample.name, sample.label, str(result.value)))
                continue
            if result.picture is not None and result.picture.nbytes <= room and result.content not in decoded:
                decoded[result.content] = result.picture
                room -= result.picture.nbytes
            good.append((replace(sample, content=result.content), replace(result, picture=None)))
            if kept and sample.name not in known:
                kept.put({result.content: result.to_bytes()})
    if not good:
        raise DataError(
            f"cannot read any picture of '{dataset.name}'",
            value=f"{len(bad)} unreadable, the first: {bad[0].name}: {bad[0].reason}" if bad else "no pictures",
            accepted="JPEG, PNG, WebP and what else Pillow reads",
            hint="Check that the files are pictures and complete.",
        )
    thumbnails = np.stack([result.thumbnail for _, result in good])
    sizes = np.array([result.size for _, result in good], np.int32)
    return replace(
        dataset,
        samples=tuple(sample for sample, _ in good),
        unreadable=tuple(bad),
        thumbnails=thumbnails,
        copies=tuple(near_duplicates.copies([result.content for _, result in good], thumbnails, sizes)),
        sizes=sizes,
        grey=all(result.grey for _, result in good),
        decoded=decoded,
    )


def in_parallel(work: Callable[[T], R], items: Iterable[T], stage: str, on_event: OnEvent) -> Iterator[R]:
    """Results in order, computed on all cores; only a few wait at a time, so memory stays bounded.

    Threads suffice: the decoders release the interpreter's lock.
    """
    todo = list(items)
    told = _Told(stage, len(todo), on_event)
    workers = (os.cpu_count() or 1) + 1  # one is always waiting: for the disk, or for the interpreter
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(work, item) for item in todo[: 4 * workers])
        for done in range(len(todo)):
            following = done + 4 * workers
            result = waiting.popleft().result()
            if following < len(todo):
                waiting.append(pool.submit(work, todo[following]))
            told.one_more()
            yield result


def content_hash(source: Path | NDArray[np.generic]) -> str:
    """SHA-256 of a file's bytes, or of an array's shape, type and values."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    head = f"{source.dtype}{source.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(source).tobytes()).hexdigest()


class _Told:
    """Progress, two hundred times at most."""

    def __init__(self, stage: str, total: int, on_event: OnEvent) -> None:
        self._stage, self._total, self._on_event = stage, total, on_event
        self._done, self._step = 0, max(1, total // 200)

    def one_more(self) -> None:
        self._done += 1
        if self._done % self._step == 0 or self._done == self._total:
            self._on_event(Progress(self._stage, self._done, self._total))


def for_each(work: Callable[[Sample], R], samples: Sequence[Sample], stage: str, on_event: OnEvent) -> Iterator[R]:
    """As `in_parallel`, but without threads if all are small arrays: they would only wait for each other."""
    if all(isinstance(sample.source, np.ndarray) and sample.source.nbytes <= _SMALL for sample in samples):
        return _in_turn(work, samples, _Told(stage, len(samples), on_event))
    return in_parallel(work, samples, stage, on_event)


def _in_turn(work: Callable[[Sample], R], samples: Sequence[Sample], told: _Told) -> Iterator[R]:
    for sample in samples:
        result = work(sample)
        told.one_more()
        yield result


def _known(dataset: Dataset, kept: ContentCache) -> dict[str, _Read]:
    """What the cache knows about the pictures in this data set, by their names."""

    def content(sample: Sample) -> str:
        try:
            if isinstance(sample.source, Path) and not _worth_hashing(sample.source):
                return ""  # reading it will say why
            return content_hash(sample.source)
        except OSError:
            return ""

    contents = list(for_each(content, dataset.samples, "reading pictures", ignore))
    found = kept.get(contents)
    return {
        sample.name: _Read.from_bytes(content, found[content])
        for sample, content in zip(dataset.samples, contents, strict=True)
        if content in found
    }


def _worth_hashing(path: Path) -> bool:
    """Whether this may be a picture: not a pipe, which can be read once, nor a device, which need not end."""
    facts = path.stat()
    return stat.S_ISREG(facts.st_mode) and facts.st_size <= images.DEFAULT_LIMITS.max_bytes


def _read(sample: Sample) -> _Read | ImageError:
    from PIL import Image

    try:
        picture = images.load(sample.source, name=sample.name)
        content = content_hash(sample.source)
    except ImageError as error:
        return error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()  # it vanished meanwhile, say
        return ImageError(f"cannot read picture '{sample.name}'", value=reason, accepted="a file", hint="Check it.")
    thumbnail = Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    kept = picture if isinstance(sample.source, Path) else None
    return _Read(content, (picture.shape[0], picture.shape[1]), np.asarray(thumbnail), _is_grey(picture), kept)


def _is_grey(picture: images.Picture) -> bool:
    every_16th = picture[::16, ::16]  # tells of almost every coloured picture that it is coloured
    return all(bool((some == some[..., :1]).all()) for some in (every_16th, picture))
