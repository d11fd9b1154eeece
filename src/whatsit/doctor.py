"""What is worth knowing about a data set before training on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Literal

from whatsit.dataset import Dataset, Split

Severity = Literal["note", "warning"]
_UNBALANCED = 5  # the largest class holds so many times the pictures of the smallest
_FEW = 20


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
        *_leaks(dataset),
        *_two_labels(dataset),
        *_missing_classes(dataset),
        *_copies(dataset),
        *_moved(dataset),
        *_ignored(dataset),
        *_balance(dataset),
    ]
    return sorted(findings, key=lambda finding: finding.severity != "warning")


def _unreadable(dataset: Dataset) -> Iterable[Finding]:
    if dataset.unreadable:
        rows = tuple(f"{picture.name}: {picture.reason}" for picture in dataset.unreadable)
        text = f"{_count(rows, 'picture')} cannot be read and {'is' if len(rows) == 1 else 'are'} left out"
        yield Finding("unreadable", "warning", text, "Replace or delete them.", rows)


def _leaks(dataset: Dataset) -> Iterable[Finding]:
    """Copies and groups that lie in two parts. Possible only between parts the user gave."""
    pairs = defaultdict(list)
    for first, second in dataset.copies:
        a, b = dataset.samples[first], dataset.samples[second]
        if a.split and b.split and a.split != b.split:
            pairs[frozenset((a.split, b.split))].append(f"{a.name} = {b.name}")
    for parts, names in pairs.items():
        text = (
            f"{_count(names, 'pair')} of copies between {' and '.join(sorted(parts))}: its accuracy will look too good"
        )
        yield Finding("leak", "warning", text, "Delete one of each pair, or let whatsit make the split.", tuple(names))
    groups: dict[str, set[Split]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.group and sample.split:
            groups[sample.group].add(sample.split)
    torn = tuple(sorted(group for group, parts in groups.items() if len(parts) > 1))
    if torn:
        text = f"{_count(torn, 'group')} with members in more than one part: accuracy will look too good"
        yield Finding("leak", "warning", text, "Keep each group in one part, or leave the split to whatsit.", torn)


def _two_labels(dataset: Dataset) -> Iterable[Finding]:
    samples = dataset.samples
    rows = tuple(
        f"{samples[i].name} = {samples[j].name}" for i, j in dataset.copies if samples[i].label != samples[j].label
    )
    if rows:
        text = f"{_count(rows, 'pair')} of copies under two different labels"
        yield Finding("two_labels", "warning", text, "Keep each picture in the right folder only.", rows)


def _missing_classes(dataset: Dataset) -> Iterable[Finding]:
    parts = sorted({sample.split for sample in dataset.samples if sample.split})
    for part in parts:
        absent = [label for label, n in dataset.part(part).counts().items() if n == 0]
        if absent:
            text = f"{_count(absent, 'class')} without pictures in {part}: {', '.join(absent)}"
            yield Finding("missing_class", "warning", text, f"Add pictures of it to {part}.", tuple(absent))


def _copies(dataset: Dataset) -> Iterable[Finding]:
    same = [(i, j) for i, j in dataset.copies if dataset.samples[i].label == dataset.samples[j].label]
    if same:
        rows = tuple(f"{dataset.samples[i].name} = {dataset.samples[j].name}" for i, j in same)
        text = f"{_count(rows, 'pair')} of copies or near-copies; carved parts keep them on one side"
        yield Finding("copies", "note", text, "Delete those that add nothing.", rows)


def _moved(dataset: Dataset) -> Iterable[Finding]:
    if dataset.moved:
        rows = tuple(f"{m.name}: {m.home} -> {m.part}, {m.why}" for m in dataset.moved)
        text = (
            f"{_count(rows, 'picture')} moved to another part than {'its' if len(rows) == 1 else 'their'} own hash says"
        )
        yield Finding("moved", "note", text, "Nothing to do; adding pictures may move these again.", rows)


def _ignored(dataset: Dataset) -> Iterable[Finding]:
    if dataset.ignored:
        text = f"{_count(dataset.ignored, 'file')} in class folders left alone: no pictures by their names"
        yield Finding("not_pictures", "note", text, "Rename those that are pictures.", dataset.ignored)


def _balance(dataset: Dataset) -> Iterable[Finding]:
    counts = Counter(sample.label for sample in dataset.samples)
    (most, n_most), (least, n_least) = counts.most_common()[0], counts.most_common()[-1]
    if n_most >= _UNBALANCED * n_least:
        text = f"unbalanced classes: {n_most} of '{most}', {n_least} of '{least}'"
        yield Finding("unbalanced", "note", text, f"More pictures of '{least}' would help most.")
    few = tuple(f"{label} ({n})" for label, n in sorted(counts.items()) if n < _FEW)
    if few:
        text = f"few pictures of {', '.join(few[:5])}{' and more' if len(few) > 5 else ''}"
        yield Finding(
            "few", "note", text, f"Aim for {_FEW} or more of each class; the interval shows what it costs.", few
        )


def _count(things: Sized, noun: str) -> str:
    n = len(things)
    plural = "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{'' if n == 1 else plural}"
