"""Recognise how a person laid out a data set: class folders, split folders, a CSV, or arrays in memory."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whatsit import images
from whatsit.dataset.samples import Dataset, Sample, Split, Unreadable
from whatsit.errors import DataError, ImageError, did_you_mean

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
# What desktops, disks and archives leave behind; never a class, never a picture.
_LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found", "__pycache__"}
_COLUMNS = ("path", "label", "split", "group")

_LAYOUTS = (
    "a folder of class folders, train/val/test folders of class folders, or a CSV with path,label[,split][,group]"
)


def open_folder_or_csv(path: Path, classes: Sequence[str] | None = None) -> Dataset:
    """List the labelled pictures at `path`, without reading any of them.

    `classes` fixes their order (alphabetical otherwise) and must name every class found. Raises DataError.
    """
    if not os.path.exists(path):  # Path.exists raises for names that are too long
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
    if len(pictures) != len(labels) or not len(pictures):
        raise DataError(
            "cannot pair pictures with labels",
            value=f"{len(pictures)} pictures and {len(labels)} labels",
            accepted="one label for each picture, and at least one of them",
            hint="Pass X and y of the same length.",
        )
    pairs = zip(pictures, labels, strict=True)
    paired = [_paired(f"{name}/{number:05d}", x, _label(str(y))) for number, (x, y) in enumerate(pairs)]
    samples = tuple(one for one in paired if isinstance(one, Sample))
    unreadable = tuple(one for one in paired if isinstance(one, Unreadable))
    return with_classes(Dataset(name, samples, (), unreadable=unreadable), None)


def with_classes(dataset: Dataset, classes: Sequence[str] | None) -> Dataset:
    """Fix the order of the classes: as given, or alphabetical."""
    found = sorted({sample.label for sample in dataset.samples} | {picture.label for picture in dataset.unreadable})
    if classes is None:
        return replace(dataset, classes=tuple(found))
    wanted = [_label(label) for label in classes]
    unknown = [label for label in wanted if label not in found]
    missing = [label for label in found if label not in wanted]
    twice = [label for label, n in Counter(wanted).items() if n > 1]
    if unknown:
        hint = did_you_mean(unknown[0], found) or f"There are no pictures of {unknown[0]!r}: leave it out."
    elif missing:
        hint = f"Add {missing[0]!r} to --classes, or move its pictures away."
    else:
        hint = f"Name {twice[0]!r} once." if twice else ""
    if hint:
        raise DataError(
            "cannot use this order of classes",
            value=",".join(wanted) or "no names",
            accepted=f"each of these once: {', '.join(found)}",
            hint=hint,
        )
    return replace(dataset, classes=tuple(wanted))


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def visible_folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if _is_folder(entry)]


def files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every visible file below `folder`, sorted, so that the order never depends on the file system.

    Linked folders are followed, except to a folder that holds the link (`above`). Raises DataError for a folder
    that cannot be read.
    """
    if os.path.realpath(folder) in above:
        return
    entries = _entries(folder)
    yield from (Path(entry.path) for entry in entries if not _is_folder(entry))
    for entry in entries:
        if _is_folder(entry):
            yield from files_below(Path(entry.path), above | _way_to(folder))


def is_picture_name(path: Path) -> bool:
    return path.suffix.lower() in images.PICTURE_SUFFIXES


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"cannot look into the folder '{folder}'",
            value=(error.strerror or str(error)).lower(),
            accepted="folders that may be read",
            hint="Change its permissions, or move it away.",
        ) from None


def _way_to(folder: Path) -> frozenset[str]:
    """A folder and all that hold it, links resolved."""
    real = Path(os.path.realpath(folder))
    return frozenset(map(str, (real, *real.parents)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say: reading it as a picture will tell
        return False


def _shown(name: str) -> str:
    """A file's name as valid text: bytes that are none appear as escapes, so that it can be printed and stored."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _label(name: str) -> str:
    """The same name for the same class, however a system composes its accents."""
    return unicodedata.normalize("NFC", _shown(name)).strip()


# ---- folders


def _from_folder(root: Path) -> Dataset:
    folders = visible_folders(root)
    parts = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES and visible_folders(folder)]
    if parts:
        dataset = _from_split_folders(root, parts, [folder for folder in folders if folder not in parts])
    else:
        dataset = _from_class_folders(root, folders, None)
    loose = tuple(name for folder in (root, *parts) for name in _loose_pictures(root, folder))
    if not dataset.samples:
        raise DataError(
            f"cannot find labelled pictures in '{root}'",
            value=f"{len(loose)} pictures outside class folders" if loose else "no pictures",
            accepted=_LAYOUTS,
            hint="Make one folder per class, name it after the class, and put its pictures inside.",
        )
    return replace(dataset, ignored=(*loose, *dataset.ignored))


def _from_split_folders(root: Path, parts: list[Path], others: list[Path]) -> Dataset:
    given = [SPLIT_NAMES[folder.name.lower()] for folder in parts]
    strangers = [folder for folder in others if any(is_picture_name(file) for file in files_below(folder))]
    if len(set(given)) != len(given) or strangers:
        names = ", ".join(_shown(folder.name) for folder in [*parts, *strangers])
        raise DataError(
            f"cannot tell the parts of '{root}'",
            value=f"folders {names}",
            accepted="one each of train, val (or valid, validation) and test, each with class folders in it",
            hint="Merge or rename the folders, or move those that are no part elsewhere.",
        )
    loaded = [
        _from_class_folders(root, visible_folders(folder), split) for folder, split in zip(parts, given, strict=True)
    ]
    samples = tuple(sample for dataset in loaded for sample in dataset.samples)
    filled = {sample.label for sample in samples}
    empty = [name for dataset in loaded for name in dataset.empty if name not in filled]
    return Dataset(
        name=_shown(root.resolve().name),
        samples=samples,
        classes=(),
        given_splits=frozenset(given),
        ignored=tuple(name for dataset in loaded for name in dataset.ignored),
        empty=(*(folder.name for folder in others if folder.name.lower() in SPLIT_NAMES), *dict.fromkeys(empty)),
    )


def _from_class_folders(root: Path, folders: Iterable[Path], split: Split | None) -> Dataset:
    samples: list[Sample] = []
    ignored, empty = [], []
    for folder in folders:
        label, before = _label(folder.name), len(samples)
        for file in files_below(folder, _way_to(root) | _way_to(folder.parent)):
            name = _shown(file.relative_to(root).as_posix())
            if is_picture_name(file):
                samples.append(Sample(name, file, label, split))
            else:
                ignored.append(name)
        if len(samples) == before:
            empty.append(label)
    return Dataset(_shown(root.resolve().name), tuple(samples), (), ignored=tuple(ignored), empty=tuple(empty))


def _loose_pictures(root: Path, folder: Path) -> list[str]:
    files = (Path(entry.path) for entry in _entries(folder) if not _is_folder(entry))
    return [_shown(file.relative_to(root).as_posix()) for file in files if is_picture_name(file)]


# ---- CSV


def _from_csv(path: Path) -> Dataset:
    header, rows = _csv_rows(path)
    if not {"path", "label"} <= set(header) or any(header.count(name) > 1 for name in _COLUMNS):
        raise _csv_error(path, f"the columns {', '.join(header)}" if header else "an empty file")
    if not rows:
        raise _csv_error(path, "no rows below the first line")
    samples = [_csv_sample(path, line, header, cells) for line, cells in rows]
    _refuse_missing_files(path, rows, samples)
    given = frozenset(sample.split for sample in samples if sample.split)
    bare = [line for (line, _), sample in zip(rows, samples, strict=True) if sample.split is None]
    if given and bare:
        raise _csv_error(path, f"a split in some rows and none in others, the first in line {bare[0]}")
    return Dataset(_shown(path.stem), tuple(samples), (), given_splits=given)


def _csv_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the other rows with their line numbers; blank rows are none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # strict: or an opening quote that is never closed would swallow the rows after it
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeDecodeError:
        raise _csv_error(path, "bytes that are not UTF-8") from None
    except (csv.Error, OSError) as error:
        raise _csv_error(path, str(error)) from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    return ([name.lower() for name in rows[0][1]], rows[1:]) if rows else ([], [])


def _csv_sample(path: Path, line: int, header: list[str], cells: list[str]) -> Sample:
    if any(cells[len(header) :]):
        raise _csv_error(path, f"too many fields in line {line} (quote a name that holds a comma)")
    row = dict(zip(header, cells, strict=False))
    name, label, split = row.get("path", ""), _label(row.get("label", "")), row.get("split", "").lower()
    if not label or not name:
        raise _csv_error(path, f"no {'label' if name else 'path'} in line {line}")
    if split and split not in SPLIT_NAMES:
        raise _csv_error(path, f"split '{split}' in line {line}")
    return Sample(name, path.parent / name, label, SPLIT_NAMES.get(split), row.get("group") or None)


def _refuse_missing_files(path: Path, rows: list[tuple[int, list[str]]], samples: list[Sample]) -> None:
    missing = [
        (line, sample.name)
        for (line, _), sample in zip(rows, samples, strict=True)
        if isinstance(sample.source, Path) and not os.path.exists(sample.source)
    ]
    if missing:
        line, name = missing[0]
        raise DataError(
            f"cannot find pictures named in '{path}'",
            value=f"{len(missing)} missing, the first in line {line}: '{name}'",
            accepted="paths of existing files, relative to the CSV's own folder",
            hint="Correct the path or remove the row.",
        )


def _csv_error(path: Path, value: str) -> DataError:
    return DataError(
        f"cannot read '{path}' as a data set",
        value=value,
        accepted=f"UTF-8, commas, columns path,label[,split][,group]; split in every row: {', '.join(SPLIT_NAMES)}",
        hint="Correct the file; the first line names the columns.",
    )


# ---- arrays


def _paired(name: str, picture: Any, label: str) -> Sample | Unreadable:
    if isinstance(picture, str | os.PathLike):
        return Sample(_shown(str(picture)), Path(picture), label)
    if isinstance(picture, np.ndarray):
        return Sample(name, picture, label)
    try:  # now, because the numbers in a PIL image are not always colours, nor upright
        return Sample(name, images.load(picture, name=name), label)
    except ImageError as error:
        return Unreadable(name, label, str(error.value))


__all__ = [
    "SPLIT_NAMES",
    "files_below",
    "from_pairs",
    "is_picture_name",
    "open_folder_or_csv",
    "with_classes",
]
