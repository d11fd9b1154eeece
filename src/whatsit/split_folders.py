"""Write a data set as train, val and test folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from whatsit import dataset, modelfile, sources, storage
from whatsit.dataset import Dataset, Sample, Split
from whatsit.dataset.layouts import is_hidden, is_picture_name
from whatsit.dataset.splits import check_share
from whatsit.errors import DataError, OptionError, OutputError
from whatsit.events import OnEvent, Progress, ignore
from whatsit.images import load
from whatsit.sources.published import PUBLISHED

_FOLDERS: dict[Split | None, str] = {"train": "train", "validation": "val", "test": "test"}
_ELSEWHERE = "choose another DESTINATION"


def split(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    val: float = 0.15,
    test: float = 0.15,
    link: bool = False,
    on_event: OnEvent = ignore,
) -> Dataset:
    """`whatsit split` as a function: `val` and `test` are both numbers of pictures per class, or both fractions."""
    return write(os.fspath(source), Path(destination), str(val), str(test), link, on_event)


def write(
    source: str | Path, destination: Path, val: str, test: str, link: bool = False, on_event: OnEvent = ignore
) -> Dataset:
    """Split `source` and write it to `destination`, whole or not at all; returns the data with its parts.

    `val` and `test` are both numbers of pictures per class ("6") or both fractions ("0.15"). Originals are copied,
    or hard-linked (symlinked across disks), never moved. Unreadable pictures are left out and listed in the result.
    """
    shares = _amount("--val", val), _amount("--test", test)
    _refuse_mixture(*shares)
    _refuse_destination(Path(source), destination)
    if str(source) in PUBLISHED and not Path(source).exists():
        raise _has_parts(str(source), ("test", "train"))  # before it is fetched
    opened = sources.open_data(source, on_event=on_event)
    _refuse_given_parts(opened)
    _refuse_odd_names(opened)
    samples = _split(dataset.read(opened, on_event), *shares)
    try:
        with _folder_beside(destination) as filling:
            _fill(filling, samples, link, on_event)
            _put_in_place(filling, destination)
    except OSError as error:
        raise storage.cannot_write(destination, error, _ELSEWHERE) from None
    return samples


def _split(samples: Dataset, validation: float, test: float) -> Dataset:
    if isinstance(validation, int) and isinstance(test, int):
        return dataset.by_counts(samples, {"test": test, "validation": validation})
    return dataset.complete(samples, validation, test)


def _amount(option: str, text: str) -> float:
    """A whole number of pictures as int, a fraction as float."""
    try:
        value = int(text) if text.isdecimal() else float(text)
    except ValueError:
        value = 0.0
    if not isinstance(value, int) or value == 0:
        check_share(option, value)
    return value


# ---- what is refused


def _refuse_mixture(validation: float, test: float) -> None:
    if isinstance(validation, int) != isinstance(test, int):
        raise OptionError(
            "cannot mix a number and a fraction",
            value=f"--val {validation} --test {test}",
            accepted="two whole numbers, or two fractions",
            hint="For instance: --val 6 --test 6, or --val 0.15 --test 0.15",
        )


def _refuse_destination(source: Path, destination: Path) -> None:
    storage.check_writable(destination, _ELSEWHERE)
    what = f"cannot write the split to '{destination}'"
    if destination.exists() and any(destination.iterdir()):
        raise OutputError(
            what,
            value="a folder that is not empty",
            accepted="a new or empty folder",
            hint="Choose another DESTINATION, or delete that one.",
        )
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise OutputError(
            what,
            value=f"a place inside '{source}', where it would become a class",
            accepted="a new or empty folder outside the data",
            hint="Choose a DESTINATION beside it.",
        )


def _refuse_given_parts(opened: Dataset) -> None:
    if opened.given_splits:
        raise _has_parts(opened.name, sorted(opened.given_splits))


def _has_parts(name: str, parts: Sequence[str]) -> DataError:
    return DataError(
        f"cannot split '{name}'",
        value=f"data that already has the parts {', '.join(parts)}",
        accepted="a folder of class folders, or a CSV without a split column",
        hint="Train on it as it is: whatsit train carves what is missing from train.",
    )


def _refuse_odd_names(opened: Dataset) -> None:
    """What cannot be a folder or file, or would not be found again in it. Mostly from a CSV."""
    for label in opened.classes:
        if "/" in label or "\\" in label or is_hidden(label):
            raise DataError(
                f"cannot make a folder for the class '{label}'",
                value=repr(label),
                accepted="labels without slashes that do not start with a dot",
                hint="Rename the class.",
            )
    for sample in opened.samples:
        if isinstance(sample.source, Path) and (is_hidden(sample.source.name) or not is_picture_name(sample.source)):
            raise DataError(
                f"cannot write the picture '{sample.name}' into a class folder",
                value=f"a file called '{sample.source.name}'",
                accepted="names that end as pictures do (.jpg, .png, ...) and do not start with a dot",
                hint="Rename the file, and its row in the CSV.",
            )


# ---- writing


@contextmanager
def _folder_beside(destination: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, to be filled; whatever was made vanishes if that fails."""
    home = destination if destination.exists() else destination.parent
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    home.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".whatsit-split-", dir=home) as folder:
            yield Path(folder, "split")  # inside, because the folder itself is for its owner alone
    except BaseException:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise


def _fill(folder: Path, samples: Dataset, link: bool, on_event: OnEvent) -> None:
    for part in _FOLDERS.values():
        for label in samples.classes:
            (folder / part / label).mkdir(parents=True)
    taken: dict[str, int] = {}
    for number, sample in enumerate(samples.samples, start=1):
        target = _free_name(folder / _FOLDERS[sample.split] / sample.label, sample, taken)
        _place(sample, target, link)
        on_event(Progress("writing pictures", number, len(samples)))


def _put_in_place(filled: Path, destination: Path) -> None:
    if not destination.exists():
        filled.rename(destination)
        return
    done: list[Path] = []  # an existing folder may be a mounted disk, which nothing can be renamed to
    try:
        for part in sorted(filled.iterdir()):
            done.append(part.rename(destination / part.name))
    except BaseException:
        for part in done:
            shutil.rmtree(part, ignore_errors=True)
        raise


def _free_name(folder: Path, sample: Sample, taken: dict[str, int]) -> Path:
    """The picture's own name, numbered if it is taken; `taken` counts, without case, as some disks do."""
    name = Path(sample.source.name if isinstance(sample.source, Path) else f"{Path(sample.name).name}.png")
    target, first = folder / name, str(folder / name).casefold()
    while str(target).casefold() in taken:
        taken[first] += 1
        target = folder / f"{name.stem}-{taken[first]}{name.suffix}"
    taken[str(target).casefold()] = 1
    return target


def _place(sample: Sample, target: Path, link: bool) -> None:
    if not isinstance(sample.source, Path):
        target.write_bytes(modelfile.encode_png(load(sample.source)))
        return
    original = sample.source.resolve()
    if not original.exists():
        raise DataError(
            f"cannot copy the picture '{sample.name}'",
            value="a file that vanished while the split was made",
            accepted="data that stays as it is",
            hint="Try again.",
        )
    if not link:
        shutil.copy2(original, target)
        return
    try:
        os.link(original, target)
    except OSError:  # another disk, or one without hard links
        target.symlink_to(original)
