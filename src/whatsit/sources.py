"""Named data sets: `digits`, which comes with scikit-learn and needs no download."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit.dataset import Dataset, Sample, open_folder_or_csv
from whatsit.dataset.layouts import with_classes
from whatsit.errors import DataError, MissingExtraError, did_you_mean


def open_data(data: str | Path, classes: Sequence[str] | None = None, data_dir: Path | None = None) -> Dataset:  # noqa: ARG001
    """A folder, a CSV, or one of the names in NAMED (a folder of that name in the current folder comes first)."""
    name, path = str(data), Path(data)
    if not name:  # an unset variable in a shell; Path("") would be the current folder
        raise DataError("cannot open data without a name", value="''", accepted=_ACCEPTED, hint="Name the folder.")
    exists = os.path.exists(path)
    if name in NAMED and not exists:
        return with_classes(NAMED[name](), classes)
    try:
        return open_folder_or_csv(path, classes)
    except DataError as error:
        if not exists:
            error.hint = did_you_mean(name, NAMED) or error.hint
        raise


def digits() -> Dataset:
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


def sample_photos() -> dict[str, NDArray[np.uint8]]:
    """The two photos that come with scikit-learn, by name, uint8 [427, 640, 3]: a Chinese temple and a flower."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise MissingExtraError("take sample photos", module="sklearn", extra="train") from None
    bunch = load_sample_images()
    names = [Path(name).name for name in bunch.filenames]
    return {name: np.asarray(photo, np.uint8) for name, photo in zip(names, bunch.images, strict=True)}


NAMED: dict[str, Callable[[], Dataset]] = {"digits": digits}
_ACCEPTED = f"a folder of class folders, a CSV, or one of: {', '.join(NAMED)}"
