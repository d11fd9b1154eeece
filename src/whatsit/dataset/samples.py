"""What a data set is: samples, classes, and the pictures that had to be left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whatsit import images

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SHARE = 0.15  # of the pictures, for validation and for test each


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture.

    name    how it is shown: its path inside the data set
    source  where it is: a path, or the picture itself as an array
    group   samples of one group (a person, a burst, a scene) stay on one side of every split
    content SHA-256 of the file's bytes (or of the array), once it has been read
    """

    name: str
    source: Path | NDArray[np.generic]
    label: str
    split: Split | None = None
    group: str | None = None
    content: str = ""


@dataclass(frozen=True)
class Unreadable:
    """A picture that was left out, and why."""

    name: str
    label: str
    reason: str


@dataclass(frozen=True)
class Moved:
    """A picture that went to another part than its own content says, and why."""

    name: str
    home: Split
    part: Split
    why: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures in a fixed order.

    classes       in the order of the network's outputs
    given_splits  the parts the user laid out; parts that are not among them are carved from "train"
    unreadable    pictures left out, with their reasons
    ignored       files left alone: pictures that lie in no class folder, and what is no picture by its name
    empty         folders of classes (or parts) without a single picture, left out
    thumbnails    uint8 [N, 16, 16, 3], in the order of samples, once the pictures have been read
    sizes         int32 [N, 2], heights and widths, likewise
    grey          whether every picture is grey, likewise
    copies        index pairs that tie each set of equal or nearly equal pictures together, likewise
    moved         pictures that are not in the part their own content would have put them in
    decoded       pictures that reading left in memory, by content: as many as there was room for
    share         of the pictures to carve from, for each part that is to be carved: a fraction
    """

    name: str
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    given_splits: frozenset[Split] = frozenset()
    unreadable: tuple[Unreadable, ...] = ()
    ignored: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    thumbnails: NDArray[np.uint8] | None = None
    sizes: NDArray[np.int32] | None = None
    grey: bool = False
    copies: tuple[tuple[int, int], ...] = ()
    moved: tuple[Moved, ...] = ()
    decoded: Mapping[str, images.Picture] = field(default_factory=dict, repr=False)
    share: float = SHARE

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, split: Split) -> Dataset:
        """The samples of one part, in order. What was seen on reading stays behind."""
        chosen = tuple(sample for sample in self.samples if sample.split == split)
        return replace(self, samples=chosen, unreadable=(), thumbnails=None, sizes=None, copies=(), moved=())

    def picture(self, sample: Sample) -> images.Picture:
        """uint8 [H, W, 3]: one of the samples, from memory if reading left it there. Raises ImageError."""
        kept = self.decoded.get(sample.content)
        return images.load(sample.source, name=sample.name) if kept is None else kept

    def targets(self) -> NDArray[np.int64]:
        """int64 [N]: each sample's index in `classes`."""
        index = {label: position for position, label in enumerate(self.classes)}
        return np.array([index[sample.label] for sample in self.samples], np.int64)

    def counts(self) -> dict[str, int]:
        """Pictures per class, in the order of `classes`, zeros included."""
        found = Counter(sample.label for sample in self.samples)
        return {label: found[label] for label in self.classes}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over contents and labels, whatever the order and the file names."""
        rows = sorted(f"{sample.content}\t{sample.label}" for sample in self.samples)
        return hashlib.sha256("\n".join(rows).encode("utf-8", "backslashreplace")).hexdigest()
