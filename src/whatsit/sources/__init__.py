"""Data sets by name: `digits`, which comes with scikit-learn, and what others have published as files.

photos     scikit-learn's two sample photos, and parts of them
published  the published sets: their files, where they come from, what is in them
files      one of their files: found in a folder or fetched, and read once its hash is right
formats    the bytes in them -> labels and pictures
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from whatsit.dataset import Dataset, Sample, open_folder_or_csv
from whatsit.dataset.layouts import with_classes
from whatsit.errors import DataError, MissingExtraError, did_you_mean
from whatsit.events import OnEvent, ignore
from whatsit.sources import published

Loader = Callable[[Path | None, bool, OnEvent], Dataset]


def open_data(
    data: str | Path,
    classes: Sequence[str] | None = None,
    data_dir: Path | None = None,
    *,
    offline: bool = False,
    on_event: OnEvent = ignore,
) -> Dataset:
    """A folder, a CSV, or one of the names in NAMED (a folder of that name in the current folder comes first).

    The files of a named data set are fetched once, unless `offline`, into WHATSIT_DATA/NAME or the cache. `data_dir`
    is where they lie otherwise: with it nothing is fetched, and only names are looked for. Raises DataError, and
    OutputError where fetched files cannot be kept.
    """
    name, path = str(data), Path(data)
    if not name:  # an unset variable in a shell; Path("") would be the current folder
        raise DataError("cannot open data without a name", value="''", accepted=_ACCEPTED, hint="Name the folder.")
    exists = os.path.exists(path)
    if name in NAMED and (data_dir is not None or not exists):
        return open_named(name, classes, data_dir, offline, on_event)
    if data_dir is not None:
        raise DataError(
            f"cannot look for '{name}' in '{data_dir}'",
            value="a folder or file of your own" if exists else "no data set that is known by this name",
            accepted=f"--data-dir with one of: {', '.join(NAMED)}",
            hint=did_you_mean(name, NAMED) or "Name the folder or CSV itself, and leave --data-dir out.",
        )
    try:
        return open_folder_or_csv(path, classes)
    except DataError as error:
        if not exists:
            error.hint = did_you_mean(name, NAMED) or error.hint
        elif name in NAMED:
            error.hint = f"{error.hint} Or, for the data set '{name}' with its files in that folder: --data-dir {name}"
        raise


def open_named(
    name: str, classes: Sequence[str] | None, data_dir: Path | None, offline: bool, on_event: OnEvent
) -> Dataset:
    """One of the names in NAMED, whatever folders there are. Otherwise as `open_data`."""
    dataset = NAMED[name](data_dir, offline, on_event)
    return dataset if dataset.classes and classes is None else with_classes(dataset, classes)


def digits(data_dir: Path | None = None, offline: bool = False, on_event: OnEvent = ignore) -> Dataset:  # noqa: ARG001
    """1,797 handwritten digits of 8x8 pixels, ten classes (E. Alpaydin and C. Kaynak, UCI, 1998; in scikit-learn)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("open the data set 'digits'", module="sklearn", extra="train") from None
    bunch = load_digits()
    pictures = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # [N, 8, 8], ink 0..16 -> 0..255
    samples = tuple(
        Sample(f"digits/{number:04d}", picture, str(label))
        for number, (picture, label) in enumerate(zip(pictures, bunch.target, strict=True))
    )
    return Dataset("digits", samples, ())


NAMED: dict[str, Loader] = {
    "digits": digits,
    **{name: partial(published.load, name) for name in published.PUBLISHED},
}
_ACCEPTED = f"a folder of class folders, a CSV, or one of: {', '.join(NAMED)}"
