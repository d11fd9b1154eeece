"""Data sets by name: `digits`, which comes with scikit-learn, and `cifar10`, from its official binary files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit.dataset import Dataset, Sample, Split, open_folder_or_csv
from whatsit.dataset.layouts import with_classes
from whatsit.errors import DataError, MissingExtraError, did_you_mean


def open_data(data: str | Path, classes: Sequence[str] | None = None, data_dir: Path | None = None) -> Dataset:
    """A folder, a CSV, or one of the names in NAMED (a folder of that name in the current folder comes first).

    `data_dir` is where the files of a named data set lie; with it, only names are looked for. Raises DataError.
    """
    name, path = str(data), Path(data)
    if not name:  # an unset variable in a shell; Path("") would be the current folder
        raise DataError("cannot open data without a name", value="''", accepted=_ACCEPTED, hint="Name the folder.")
    exists = os.path.exists(path)
    if name in NAMED and (data_dir is not None or not exists):
        return with_classes(NAMED[name](data_dir), classes)
    if data_dir is not None:
        raise DataError(
            f"cannot look for '{name}' in '{data_dir}'",
            value="data without files there",
            accepted=f"--data-dir with one of: {', '.join(NAMED)}",
            hint=did_you_mean(name, NAMED) or "Name the folder or CSV itself, and leave --data-dir out.",
        )
    try:
        return open_folder_or_csv(path, classes)
    except DataError as error:
        if not exists:
            error.hint = did_you_mean(name, NAMED) or error.hint
        raise


def digits(data_dir: Path | None = None) -> Dataset:  # noqa: ARG001  it comes with scikit-learn
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


_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_CIFAR10_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes, row by row


def cifar10(data_dir: Path | None = None) -> Dataset:
    """60,000 photos of 32x32 pixels, ten classes, 10,000 of them for testing (A. Krizhevsky, 2009).

    Reads the official binary files in `data_dir`, its subfolder cifar-10-batches-bin, or WHATSIT_DATA/cifar10.
    """
    folder = _cifar10_folder(data_dir)
    samples = [sample for file, md5 in _CIFAR10_MD5.items() for sample in _cifar10_batch(folder / file, md5)]
    return Dataset("cifar10", tuple(samples), _CIFAR10_CLASSES, given_splits=frozenset({"train", "test"}))


def _cifar10_folder(data_dir: Path | None) -> Path:
    place = Path(os.environ.get("WHATSIT_DATA", "data")) / "cifar10" if data_dir is None else data_dir
    for folder in (place, place / "cifar-10-batches-bin"):
        if all((folder / file).is_file() for file in _CIFAR10_MD5):
            return folder
    missing = [file for file in _CIFAR10_MD5 if not (place / file).is_file()]
    raise DataError(
        f"cannot find CIFAR-10 in '{place}'",
        value=f"no {missing[0]}" + (f", nor {len(missing) - 1} others" if len(missing) > 1 else ""),
        accepted=f"the official binary files: {', '.join(_CIFAR10_MD5)}",
        hint="whatsit does not download them yet: unpack the authors' cifar-10-binary.tar.gz and name its folder with "
        "--data-dir.",
    )


def _cifar10_batch(file: Path, md5: str) -> Iterator[Sample]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _damaged(file, (error.strerror or str(error)).lower()) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise _damaged(file, f"MD5 {found}", f"the authors' file, MD5 {md5}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR10_RECORD)
    pictures = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    split: Split = "test" if file.name.startswith("test") else "train"
    for number, (record, picture) in enumerate(zip(records, pictures, strict=True)):
        yield Sample(f"cifar10/{file.stem}/{number:04d}", picture, _CIFAR10_CLASSES[record[0]], split)


def _damaged(file: Path, value: str, accepted: str = "a file that can be read") -> DataError:
    return DataError(f"cannot use '{file}'", value=value, accepted=accepted, hint="Unpack the archive again.")


NAMED: dict[str, Callable[[Path | None], Dataset]] = {"digits": digits, "cifar10": cifar10}
_ACCEPTED = f"a folder of class folders, a CSV, or one of: {', '.join(NAMED)}"
