"""Train, validation and test parts that stay put.

A picture's part follows from its content hash, so adding pictures never moves old ones. Three wishes can collide,
and then the first of these wins:

1. no leak: copies of a picture, and the members of a group, lie on one side. They form one unit, which goes where
   its group (or else its lowest content hash) says;
2. stability: nothing else decides, as long as every class has something in each part;
3. the minimum: a class without pictures in some part lends it its nearest unit.

Every picture that is not where its own content would have put it is listed in `Dataset.moved`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from whatsit.dataset.samples import SPLITS, Dataset, Moved, Sample, Split
from whatsit.errors import DataError, OptionError

SHARE = 0.15  # of the pictures, for validation and for test each
FEWEST = 3  # pictures a class needs to have one in each part


@dataclass(eq=False)
class _Unit:
    """Samples that must not be parted; `place` in [0, 1) decides where they go, `home` is where that is."""

    members: list[int]
    place: float
    why: str
    part: Split = "train"

    def count(self, labels: list[str], label: str) -> int:
        return sum(labels[member] == label for member in self.members)


def complete(dataset: Dataset, validation: float = SHARE, test: float = SHARE) -> Dataset:
    """Carve the parts that are not given from "train", never from the others.

    Shares are fractions of the pictures to carve from. Raises DataError where a class is too small to be split.
    """
    carvable: tuple[Split, ...] = ("test", "validation")
    missing = [split for split in carvable if split not in dataset.given_splits]
    if dataset.given_splits and "train" not in dataset.given_splits:
        raise DataError(
            f"cannot train on '{dataset.name}'",
            value=f"only the parts {', '.join(sorted(dataset.given_splits))}",
            accepted="a train part",
            hint="Add a 'train' folder, or remove the part folders so that whatsit splits the pictures itself.",
        )
    if not missing:
        return dataset
    _refuse_small_classes(dataset, len(missing) + 1)
    shares: dict[Split, float] = {"test": test, "validation": validation}
    return _carve(dataset, {split: shares[split] for split in missing})


def by_counts(dataset: Dataset, counts: Mapping[Split, int]) -> Dataset:
    """Carve so many pictures of every class for each part, lowest hashes first, copies and groups kept together."""
    labels = [sample.label for sample in dataset.samples]
    units = sorted(_units(dataset), key=lambda unit: unit.place)
    for split in counts:
        for label in dataset.classes:
            _fill(units, labels, label, split, counts[split])
    return _with_parts(dataset, units, moved=())


def check_share(option: str, value: float) -> None:
    if not 0 < value < 0.5:
        raise OptionError(
            f"cannot use this {option}",
            value=value,
            accepted="a fraction between 0 and 0.5, or a whole number of pictures per class",
            hint=f"For instance: {option} 0.15",
        )


def _fill(units: list[_Unit], labels: list[str], label: str, split: Split, wanted: int) -> None:
    free = wanted - sum(unit.count(labels, label) for unit in units if unit.part == split)
    for unit in units:
        size = unit.count(labels, label)
        if unit.part == "train" and 0 < size <= free:
            unit.part, free = split, free - size
    left = sum(unit.count(labels, label) for unit in units if unit.part == "train")
    if free > 0 or left == 0:
        raise DataError(
            f"cannot take {wanted} pictures of '{label}' for {split}",
            value=f"{labels.count(label)} pictures in all, copies and groups kept together",
            accepted="fewer, so that some are left for training",
            hint="Ask for fewer pictures, or for a fraction such as 0.15.",
        )


def _carve(dataset: Dataset, shares: dict[Split, float]) -> Dataset:
    units = _units(dataset)
    for unit in units:
        unit.part = _part_at(unit.place, shares)
    movable: dict[str, list[_Unit]] = defaultdict(list)
    for unit in units:
        if _is_fixed(dataset, unit):
            unit.part = "train"
            continue
        for label in sorted({dataset.samples[member].label for member in unit.members}):
            movable[label].append(unit)
    for label in dataset.classes:
        _give_minimum(movable[label], shares)
    moved = tuple(_moves(dataset, units, shares))
    return _with_parts(dataset, units, moved)


def _is_fixed(dataset: Dataset, unit: _Unit) -> bool:
    """Units with a member in a given part stay out of the carved ones: their training members may not be tested."""
    return any(dataset.samples[member].split not in (None, "train") for member in unit.members)


def _give_minimum(units: list[_Unit], shares: dict[Split, float]) -> None:
    """One class's units: every part gets one if there are enough of them."""
    parts: list[Split] = [*shares, "train"]
    if len(units) < len(parts):
        return
    for part in parts:
        if any(unit.part == part for unit in units):
            continue
        spare = [unit for unit in units if sum(other.part == unit.part for other in units) > 1]
        # Small units and those nearest in place first: that moves the fewest pictures, and mostly the same ones later.
        ascending = 1 if part != "train" else -1
        chosen = min(spare, key=lambda unit: (len(unit.members), ascending * unit.place))
        chosen.part, chosen.why = part, f"so that its class has a picture for {part}"


def _moves(dataset: Dataset, units: list[_Unit], shares: dict[Split, float]) -> list[Moved]:
    moves = []
    for unit in units:
        for member in unit.members:
            sample = dataset.samples[member]
            home = _part_at(_place(sample.content), shares)
            if sample.split in (None, "train") and home != unit.part:
                moves.append(Moved(sample.name, home, unit.part, unit.why))
    return moves


def _with_parts(dataset: Dataset, units: list[_Unit], moved: tuple[Moved, ...]) -> Dataset:
    part = {member: unit.part for unit in units for member in unit.members}
    samples = tuple(
        sample if sample.split not in (None, "train") else replace(sample, split=part[index])
        for index, sample in enumerate(dataset.samples)
    )
    return replace(dataset, samples=samples, moved=moved)


def _part_at(place: float, shares: Mapping[Split, float]) -> Split:
    edge = 0.0
    for split, share in shares.items():
        edge += share
        if place < edge:
            return split
    return "train"


def _place(key: str) -> float:
    """A number in [0, 1) that depends on nothing but the key."""
    return int(hashlib.sha256(f"whatsit split {key}".encode()).hexdigest()[:13], 16) / 16**13


def _units(dataset: Dataset) -> list[_Unit]:
    leader = list(range(len(dataset)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for first, second in [*dataset.copies, *_group_pairs(dataset.samples)]:
        leader[find(second)] = find(first)
    together: dict[int, list[int]] = defaultdict(list)
    for index in range(len(dataset)):
        together[find(index)].append(index)
    return [_unit(dataset, members) for members in together.values()]


def _unit(dataset: Dataset, members: list[int]) -> _Unit:
    groups = sorted({sample.group for sample in (dataset.samples[m] for m in members) if sample.group})
    if groups:
        return _Unit(members, min(_place(f"group {group}") for group in groups), f"with its group '{groups[0]}'")
    places = {m: _place(dataset.samples[m].content) for m in members}
    first = min(places, key=lambda member: (places[member], member))
    return _Unit(members, places[first], f"with its copy '{dataset.samples[first].name}'")


def _group_pairs(samples: tuple[Sample, ...]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first.setdefault(s.group, i), i) for i, s in enumerate(samples) if s.group]


def _refuse_small_classes(dataset: Dataset, fewest: int) -> None:
    own = replace(dataset, samples=tuple(s for s in dataset.samples if s.split in (None, "train")))
    small = {label: n for label, n in own.counts().items() if 0 < n < fewest}
    if small:
        label, n = next(iter(small.items()))
        raise DataError(
            f"cannot split class '{label}'",
            value=f"{n} readable picture{'s' if n > 1 else ''}",
            accepted=f"at least {fewest} pictures of each class",
            hint="Add pictures of it, or move its folder away.",
        )


__all__ = ["FEWEST", "SHARE", "SPLITS", "by_counts", "check_share", "complete"]
