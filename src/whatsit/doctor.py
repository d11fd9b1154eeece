"""What is worth knowing about a data set before training on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from whatsit.dataset import SPLITS, Dataset, Sample, Split
from whatsit.dataset.layouts import is_picture_name
from whatsit.dataset.near_duplicates import connected
from whatsit.dataset.splits import fewest, small_classes

Severity = Literal["note", "warning"]
_UNBALANCED = 5  # the largest class holds so many times the pictures of the smallest
_FEW = 20
_NAMED = 5  # names in one sentence


@dataclass(frozen=True)
class Finding:
    """One thing found: what kind, how bad, in words, which pictures, and what to do."""

    kind: str
    severity: Severity
    text: str
    hint: str
    pictures: tuple[str, ...] = ()


def examine(dataset: Dataset) -> list[Finding]:
    """All findings on a data set whose pictures have been read, the warnings first."""
    findings = [
        *_unreadable(dataset),
        *_too_little(dataset),
        *_leaks(dataset),
        *_torn_groups(dataset),
        *_two_labels(dataset),
        *_missing_classes(dataset),
        *_left_alone(dataset),
        *_copies(dataset),
        *_moved(dataset),
        *_balance(dataset),
    ]
    return sorted(findings, key=lambda finding: finding.severity != "warning")


def _unreadable(dataset: Dataset) -> Iterable[Finding]:
    if dataset.unreadable:
        rows = tuple(f"{picture.name}: {picture.reason}" for picture in dataset.unreadable)
        text = f"{_count(rows, 'picture')} cannot be read and {'is' if len(rows) == 1 else 'are'} left out"
        yield Finding("unreadable", "warning", text, "Replace or delete them.", rows)


def _too_little(dataset: Dataset) -> Iterable[Finding]:
    """What training will refuse."""
    if len(dataset.classes) == 1:
        text = f"one class only, '{dataset.classes[0]}'; training needs two"
        yield Finding("one_class", "warning", text, "Add a folder with pictures of what it is not.")
    small = tuple(f"{label} ({n})" for label, n in small_classes(dataset).items())
    if small:
        text = f"{_count(small, 'class')} too small to be split: {_first(small)}"
        yield Finding("too_few", "warning", text, f"Training needs {fewest(dataset)} readable pictures of each.", small)


def _leaks(dataset: Dataset) -> Iterable[Finding]:
    """Copies that lie in two parts. Possible only between parts the user gave."""
    sets = [tied for tied in connected(len(dataset), dataset.copies) if len(tied) > 1]
    for sooner, later in combinations(SPLITS, 2):
        rows = tuple(row for tied in sets for row in _copied([dataset.samples[index] for index in tied], sooner, later))
        if rows:
            text = f"{_count(rows, 'picture')} in {later} with a copy in {sooner}: accuracy will look too good"
            yield Finding("leak", "warning", text, "Delete one of each two, or let whatsit make the split.", rows)


def _copied(tied: list[Sample], sooner: Split, later: Split) -> list[str]:
    originals = [sample.name for sample in tied if sample.split == sooner]
    return [f"{sample.name} = {originals[0]}" for sample in tied if originals and sample.split == later]


def _torn_groups(dataset: Dataset) -> Iterable[Finding]:
    """Groups that lie in two parts; likewise."""
    parts: dict[str, set[Split]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.group and sample.split:
            parts[sample.group].add(sample.split)
    torn = tuple(sorted(group for group, found in parts.items() if len(found) > 1))
    if torn:
        text = f"{_count(torn, 'group')} with members in more than one part: accuracy will look too good"
        yield Finding("leak", "warning", text, "Keep each group in one part, or leave the split to whatsit.", torn)


def _two_labels(dataset: Dataset) -> Iterable[Finding]:
    rows = _pairs(dataset, same_label=False)
    if rows:
        text = f"{_count(rows, 'picture')} with a copy under another label"
        yield Finding("two_labels", "warning", text, "Keep each picture in the right folder only.", rows)


def _missing_classes(dataset: Dataset) -> Iterable[Finding]:
    present = {(sample.label, sample.split) for sample in dataset.samples}
    for part in SPLITS:
        if part in dataset.given_splits or any(split == part for _, split in present):
            absent = tuple(label for label in dataset.classes if (label, part) not in present)
            if absent:
                text = f"{_count(absent, 'class')} without pictures in {part}: {_first(absent)}"
                given = part in dataset.given_splits
                hint = f"Add pictures to {part}." if given else "Add pictures that are no copies, or of more groups."
                yield Finding("missing_class", "warning", text, hint, absent)


def _left_alone(dataset: Dataset) -> Iterable[Finding]:
    loose = tuple(name for name in dataset.ignored if is_picture_name(Path(name)))
    others = tuple(name for name in dataset.ignored if not is_picture_name(Path(name)))
    if loose:
        text = f"{_count(loose, 'picture')} outside class folders left out"
        yield Finding("no_label", "warning", text, "Move each into the folder of its class.", loose)
    if dataset.empty:
        text = f"{_count(dataset.empty, 'folder')} without pictures left out: {_first(dataset.empty)}"
        yield Finding("empty_folder", "warning", text, "Add pictures, or delete the folder.", dataset.empty)
    if others:
        text = f"{_count(others, 'file')} in class folders left alone: no pictures by their names"
        yield Finding("not_pictures", "note", text, "Rename those that are pictures.", others)


def _copies(dataset: Dataset) -> Iterable[Finding]:
    rows = _pairs(dataset, same_label=True)
    if rows:
        text = f"{_count(rows, 'picture')} with an earlier copy or near-copy; carved parts keep them on one side"
        yield Finding("copies", "note", text, "Delete those that add nothing.", rows)


def _pairs(dataset: Dataset, same_label: bool) -> tuple[str, ...]:
    pairs = ((dataset.samples[i], dataset.samples[j]) for i, j in dataset.copies)
    return tuple(f"{b.name} = {a.name}" for a, b in pairs if (a.label == b.label) == same_label)


def _moved(dataset: Dataset) -> Iterable[Finding]:
    if dataset.moved:
        rows = tuple(f"{m.name}: {m.home} -> {m.part}, {m.why}" for m in dataset.moved)
        text = (
            f"{_count(rows, 'picture')} moved to another part than {'its' if len(rows) == 1 else 'their'} own hash says"
        )
        yield Finding("moved", "note", text, "Nothing to do; adding pictures may move these again.", rows)


def _balance(dataset: Dataset) -> Iterable[Finding]:
    counts = Counter(sample.label for sample in dataset.samples)
    (most, n_most), (least, n_least) = counts.most_common()[0], counts.most_common()[-1]
    if n_most >= _UNBALANCED * n_least:
        text = f"unbalanced classes: {n_most} of '{most}', {n_least} of '{least}'"
        yield Finding("unbalanced", "note", text, f"More pictures of '{least}' would help most.")
    few = tuple(f"{label} ({n})" for label, n in sorted(counts.items()) if n < _FEW)
    if few:
        hint = f"Aim for {_FEW} or more of each class; the interval shows what it costs."
        yield Finding("few", "note", f"few pictures of {_first(few)}", hint, few)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def _count(things: Sized, noun: str) -> str:
    n = len(things)
    plural = "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{'' if n == 1 else plural}"
