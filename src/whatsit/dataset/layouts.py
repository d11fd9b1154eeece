"""Recognise how a person laid out a data set: class folders, split folders, a CSV, or arrays in memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.dataset.samples import SPLITS, Dataset, Sample, Split
from whatsit.errors import DataError, did_you_mean
from whatsit.images import PICTURE_SUFFIXES

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
# What desktops and archives leave behind; never a class, never a picture.
_LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "__pycache__"}

_LAYOUTS = (
    "a folder of class folders, train/val/test folders of class folders, or a CSV with path,label[,split][,group]"
)


def open_folder_or_csv(path: Path, classes: Sequence[str] | None = None) -> Dataset:
    """List the labelled pictures at `path`, without reading any of them.

    `classes` fixes their order (alphabetical otherwise) and must name every class found. Raises DataError.
    """
    if not path.exists():
        raise DataError(
            f"cannot find the data '{path}'",
            value="no such file or folder",
            accepted=_LAYOUTS,
            hint="Check the spelling; a relative path starts from the current folder.",
        )
    if path.is_dir():
        dataset = _from_folder(path)
    elif path.suffix.lower() == ".csv":
        dataset = _from_csv(path)
    else:
        raise DataError(
            f"cannot read '{path}' as a data set",
            value=f"a single file ({path.suffix or 'no suffix'})",
            accepted=_LAYOUTS,
            hint="Pass the folder that holds one folder per class.",
        )
    return with_classes(dataset, classes)


def from_pairs(pictures: Sequence[Any], labels: Sequence[Any], name: str = "pictures") -> Dataset:
    """A data set from pictures (paths, arrays or PIL images) and their labels, scikit-learn's X and y."""
    if len(pictures) != len(labels):
        raise DataError(
            "cannot pair pictures with labels",
            value=f"{len(pictures)} pictures and {len(labels)} labels",
            accepted="one label for each picture",
            hint="Pass X and y of the same length.",
        )
    samples = [_paired(f"{name}/{i:05d}", x, str(y)) for i, (x, y) in enumerate(zip(pictures, labels, strict=True))]
    return with_classes(Dataset(name, tuple(samples), ()), None)


def with_classes(dataset: Dataset, classes: Sequence[str] | None) -> Dataset:
    """Fix the order of the classes: as given, or alphabetical."""
    found = sorted({sample.label for sample in dataset.samples})
    if classes is None:
        return replace(dataset, classes=tuple(found))
    wanted = [label.strip() for label in classes]
    unknown = [label for label in wanted if label not in found]
    missing = [label for label in found if label not in wanted]
    if unknown or missing or len(set(wanted)) != len(wanted):
        odd = (unknown or missing or wanted)[0]
        raise DataError(
            "cannot use this order of classes",
            value=",".join(wanted),
            accepted=f"each of these once: {', '.join(found)}",
            hint=did_you_mean(odd, found) if unknown else f"Add {odd!r} to --classes, or move its pictures away.",
        )
    return replace(dataset, classes=tuple(wanted))


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def visible_folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def files_below(folder: Path) -> Iterator[Path]:
    """Every visible file below `folder`, sorted, so that the order never depends on the file system."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(root, name)


def is_picture_name(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _from_folder(root: Path) -> Dataset:
    folders = visible_folders(root)
    parts = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES and visible_folders(folder)]
    if parts:
        dataset = _from_split_folders(root, parts, [folder for folder in folders if folder not in parts])
    else:
        dataset = _from_class_folders(root, folders, None)
    if not dataset.samples:
        loose = sum(1 for file in root.iterdir() if file.is_file() and is_picture_name(file))
        raise DataError(
            f"cannot find labelled pictures in '{root}'",
            value=f"{loose} pictures outside class folders" if loose else "no pictures",
            accepted=_LAYOUTS,
            hint="Make one folder per class, name it after the class, and put its pictures inside.",
        )
    return dataset


def _from_split_folders(root: Path, parts: list[Path], others: list[Path]) -> Dataset:
    given = [SPLIT_NAMES[folder.name.lower()] for folder in parts]
    if len(set(given)) != len(given) or any(True for folder in others for _ in files_below(folder)):
        names = ", ".join(folder.name for folder in [*parts, *others])
        raise DataError(
            f"cannot tell the parts of '{root}'",
            value=f"folders {names}",
            accepted="one each of train, val (or valid, validation) and test, and nothing beside them",
            hint="Merge or rename the folders, or move those that are no part elsewhere.",
        )
    loaded = [
        _from_class_folders(root, visible_folders(folder), split) for folder, split in zip(parts, given, strict=True)
    ]
    return Dataset(
        name=root.resolve().name,
        samples=tuple(sample for dataset in loaded for sample in dataset.samples),
        classes=(),
        given_splits=frozenset(given),
        ignored=tuple(name for dataset in loaded for name in dataset.ignored),
    )


def _from_class_folders(root: Path, folders: Iterable[Path], split: Split | None) -> Dataset:
    samples, ignored = [], []
    for folder in folders:
        for file in files_below(folder):
            name = file.relative_to(root).as_posix()
            if is_picture_name(file):
                samples.append(Sample(name, file, folder.name, split))
            else:
                ignored.append(name)
    return Dataset(root.resolve().name, tuple(samples), (), ignored=tuple(ignored))


def _from_csv(path: Path) -> Dataset:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
            header = list(rows[0]) if rows else []
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _csv_error(path, str(error)) from None
    if not {"path", "label"} <= set(header):
        raise _csv_error(path, f"the columns {', '.join(map(str, header))}" if header else "no rows")
    samples = [_csv_sample(path, number, row) for number, row in enumerate(rows, start=2)]
    _refuse_missing_files(path, samples)
    given = frozenset(sample.split for sample in samples if sample.split)
    if given and any(sample.split is None for sample in samples):
        raise _csv_error(path, "a 'split' column that is empty in some rows")
    return Dataset(path.stem, tuple(samples), (), given_splits=given)


def _csv_sample(path: Path, number: int, row: dict[str, str | None]) -> Sample:
    label, name = (row.get("label") or "").strip(), (row.get("path") or "").strip()
    if not label or not name or None in row:
        raise _csv_error(path, f"row {number} without a path or a label, or with too many fields")
    split = (row.get("split") or "").strip().lower()
    if split and split not in SPLIT_NAMES:
        raise _csv_error(path, f"split {split!r} in row {number}")
    source = Path(os.path.normpath(path.parent / name))
    return Sample(name, source, label, SPLIT_NAMES.get(split), (row.get("group") or "").strip() or None)


def _refuse_missing_files(path: Path, samples: list[Sample]) -> None:
    missing = [
        number for number, s in enumerate(samples, start=2) if isinstance(s.source, Path) and not s.source.exists()
    ]
    if missing:
        first = samples[missing[0] - 2]
        raise DataError(
            f"cannot find pictures named in '{path}'",
            value=f"{len(missing)} missing, the first in row {missing[0]}: '{first.name}'",
            accepted="paths of existing files, relative to the CSV's own folder",
            hint="Correct the path or remove the row.",
        )


def _csv_error(path: Path, value: str) -> DataError:
    return DataError(
        f"cannot read '{path}' as a data set",
        value=value,
        accepted=f"UTF-8, columns path,label[,split][,group]; split is one of {', '.join(SPLIT_NAMES)} in every row",
        hint="Correct the file; the first line names the columns.",
    )


def _paired(name: str, picture: Any, label: str) -> Sample:
    if isinstance(picture, str | os.PathLike):
        return Sample(str(picture), Path(picture), label)
    return Sample(name, np.asarray(picture), label)


__all__ = [
    "SPLITS",
    "SPLIT_NAMES",
    "files_below",
    "from_pairs",
    "is_picture_name",
    "open_folder_or_csv",
    "with_classes",
]
