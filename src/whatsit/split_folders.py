"""Write a data set as train, val and test folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from whatsit import dataset, modelfile, sources, storage
from whatsit.dataset import Dataset, Sample, Split
from whatsit.dataset.splits import check_share
from whatsit.errors import DataError, OptionError, OutputError
from whatsit.events import OnEvent, Progress, ignore
from whatsit.images import load

_FOLDERS: dict[Split | None, str] = {"train": "train", "validation": "val", "test": "test"}


def write(
    source: str | Path, destination: Path, val: str, test: str, link: bool = False, on_event: OnEvent = ignore
) -> Dataset:
    """Split `source` and write it to `destination`, whole or not at all; returns the data with its parts.

    `val` and `test` are both numbers of pictures per class ("6") or both fractions ("0.15"). Originals are copied,
    or hard-linked (symlinked across disks), never moved. Unreadable pictures are left out and listed in the result.
    """
    shares: dict[Split, int | float] = {"validation": _amount("--val", val), "test": _amount("--test", test)}
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise OutputError(
            f"cannot write the split to '{destination}'",
            value="it exists and is not empty",
            accepted="a new or empty folder",
            hint="Choose another DESTINATION, or delete that one.",
        )
    opened = dataset.read(sources.open_data(source), on_event)
    _refuse_odd_labels(opened)
    samples = _split(opened, shares)
    try:
        _write(samples, destination, link, on_event)
    except OSError as error:
        raise storage.cannot_write(destination, error) from None
    return samples


def _split(opened: Dataset, shares: dict[Split, int | float]) -> Dataset:
    if opened.given_splits:
        raise DataError(
            f"cannot split '{opened.name}'",
            value=f"data that already has the parts {', '.join(sorted(opened.given_splits))}",
            accepted="a folder of class folders, or a CSV without a split column",
            hint="Train on it as it is: whatsit train carves what is missing from train.",
        )
    validation, test = shares["validation"], shares["test"]
    if isinstance(validation, int) and isinstance(test, int):
        return dataset.by_counts(opened, {"validation": validation, "test": test})
    if isinstance(validation, int) or isinstance(test, int):
        raise OptionError(
            "cannot mix a number and a fraction",
            value=f"--val {validation} --test {test}",
            accepted="two whole numbers, or two fractions",
            hint="For instance: --val 6 --test 6, or --val 0.15 --test 0.15",
        )
    return dataset.complete(opened, validation, test)


def _amount(option: str, text: str) -> int | float:
    try:
        value: int | float = int(text) if text.isdecimal() else float(text)
    except ValueError:
        value = 0.0
    if not isinstance(value, int) or value == 0:
        check_share(option, value)
    return value


def _refuse_odd_labels(samples: Dataset) -> None:
    for label in samples.classes:
        if "/" in label or "\\" in label or label.startswith("."):
            raise DataError(
                f"cannot make a folder for the class '{label}'",
                value=repr(label),
                accepted="labels without slashes that do not start with a dot",
                hint="Rename the label in the CSV.",
            )


def _write(samples: Dataset, destination: Path, link: bool, on_event: OnEvent) -> None:
    """Fill a folder beside the destination, then rename it, so that a half-written split is never left."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as folder:
        filling = Path(folder) / "split"
        taken: set[Path] = set()
        for part in _FOLDERS.values():
            for label in samples.classes:
                (filling / part / label).mkdir(parents=True)
        for number, sample in enumerate(samples.samples, start=1):
            target = _free_name(filling / _FOLDERS[sample.split] / sample.label, sample, taken)
            _place(sample, target, link)
            on_event(Progress("writing pictures", number, len(samples)))
        if destination.exists():
            destination.rmdir()
        os.replace(filling, destination)


def _free_name(folder: Path, sample: Sample, taken: set[Path]) -> Path:
    name = Path(sample.name)
    suffix = name.suffix if isinstance(sample.source, Path) else ".png"
    target, number = folder / f"{name.stem}{suffix}", 1
    while target in taken:
        number += 1
        target = folder / f"{name.stem}-{number}{suffix}"
    taken.add(target)
    return target


def _place(sample: Sample, target: Path, link: bool) -> None:
    if not isinstance(sample.source, Path):
        target.write_bytes(modelfile.encode_png(load(sample.source)))
        return
    if not link:
        shutil.copy2(sample.source, target)
        return
    original = sample.source.resolve()
    try:
        os.link(original, target)
    except OSError:  # another disk, or one without hard links
        target.symlink_to(original)
