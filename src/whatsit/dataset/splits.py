"""Train, validation and test parts that stay put.

A picture's part follows from its content hash, so adding pictures never moves old ones; each class gets its share
in each part on average, not to the picture. Three wishes can collide, and then the first of these wins:

1. no leak: copies of a picture, and the members of a group, lie on one side. They form one unit, which goes where
   its group (or else its lowest content hash) says;
2. stability: nothing else decides, as long as every class has something in each part;
3. the minimum: a class without pictures in some part lends it its nearest unit.

Every picture that is not where its own content would have put it is listed in `Dataset.moved`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from whatsit.dataset.near_duplicates import connected
from whatsit.dataset.samples import Dataset, Moved, Sample, Split
from whatsit.errors import DataError, OptionError

_CARVABLE: tuple[Split, ...] = ("test", "validation")


@dataclass(eq=False)
class _Unit:
    """Pictures to be placed that must not be parted.

    labels  how many of each class
    place   in [0, 1); decides where they go
    why     they are not where their own contents say, if they are not
    stuck   tied to a picture in a given part: they stay in train, because they must not be in a carved one
    """

    members: list[int]
    labels: Counter[str]
    place: float
    why: str
    stuck: bool
    part: Split = "train"


def complete(dataset: Dataset, validation: float | None = None, test: float | None = None) -> Dataset:
    """Carve the parts that are not given from "train", never from the others. The pictures must have been read.

    Shares are fractions of the pictures to carve from, by default the data set's own. Raises DataError where a class
    is too small to be split.
    """
    if dataset.given_splits and "train" not in dataset.given_splits:
        raise DataError(
            f"cannot train on '{dataset.name}'",
            value=f"only the parts {', '.join(sorted(dataset.given_splits))}",
            accepted="a train part",
            hint="Add a 'train' folder, or remove the part folders so that whatsit splits the pictures itself.",
        )
    wished: dict[Split, float | None] = {"test": test, "validation": validation}
    shares = {split: dataset.share if share is None else share for split, share in wished.items()}
    missing = {split: share for split, share in shares.items() if split not in dataset.given_splits}
    if not missing:
        return dataset
    _refuse_small_classes(dataset)
    return _carve(dataset, missing)


def by_counts(dataset: Dataset, counts: Mapping[Split, int]) -> Dataset:
    """Carve so many pictures of every class for each part, lowest hashes first, copies and groups kept together."""
    units = sorted(_units(dataset), key=lambda unit: unit.place)
    for split, wanted in counts.items():
        _fill(dataset, units, split, wanted)
    return _with_parts(dataset, units, moved=())


def fewest(dataset: Dataset) -> int:
    """Pictures a class needs to have one in train and in each part that is to be carved from it."""
    return 1 + sum(split not in dataset.given_splits for split in _CARVABLE)


def small_classes(dataset: Dataset) -> dict[str, int]:
    """Classes with fewer pictures to carve from than `fewest`, and how many they have.

    A class that lies in given parts only is not among them: it has nothing to carve.
    """
    own = Counter(sample.label for sample in dataset.samples if not _is_given(dataset, sample))
    given = {sample.label for sample in dataset.samples if _is_given(dataset, sample)}
    need = fewest(dataset)
    return {label: own[label] for label in dataset.classes if own[label] < need and (own[label] or label not in given)}


def check_share(option: str, value: float) -> None:
    if not 0 < value < 0.5:
        raise OptionError(
            f"cannot use this {option}",
            value=value,
            accepted="a fraction between 0 and 0.5, or a whole number of pictures per class",
            hint=f"For instance: {option} 0.15",
        )


# ---- units


def _units(dataset: Dataset) -> list[_Unit]:
    """What is tied together by copies and groups, without the pictures whose part is given."""
    assert all(sample.content for sample in dataset.samples), "read the pictures first"
    sets = connected(len(dataset), [*dataset.copies, *_group_pairs(dataset.samples)])
    units = (_unit(dataset, members) for members in sets)
    return [unit for unit in units if unit.members]


def _group_pairs(samples: tuple[Sample, ...]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first.setdefault(s.group, i), i) for i, s in enumerate(samples) if s.group]


def _unit(dataset: Dataset, tied: list[int]) -> _Unit:
    samples = [dataset.samples[index] for index in tied]
    free = [index for index in tied if not _is_given(dataset, dataset.samples[index])]
    given = next((sample for sample in samples if _is_given(dataset, sample)), None)
    group = min((sample.group for sample in samples if sample.group), default=None)
    first = min(samples, key=lambda sample: sample.content)
    if given is not None:
        why = f"because '{given.name}' in {given.split} is its copy or of its group"
    else:
        why = f"with its group '{group}'" if group else f"with its copy '{first.name}'"
    return _Unit(
        members=free,
        labels=Counter(dataset.samples[index].label for index in free),
        place=_place(f"group {group}" if group else first.content),
        why=why,
        stuck=given is not None,
    )


def _is_given(dataset: Dataset, sample: Sample) -> bool:
    """Whether the user put it into a part that nothing is carved from."""
    return sample.split != "train" and sample.split in dataset.given_splits


def _place(key: str) -> float:
    """A number in [0, 1) that depends on nothing but the key."""
    return int(hashlib.sha256(f"whatsit split {key}".encode()).hexdigest()[:13], 16) / 16**13


def _part_at(place: float, shares: Mapping[Split, float]) -> Split:
    edge = 0.0
    for split, share in shares.items():
        edge += share
        if place < edge:
            return split
    return "train"


# ---- by shares


def _carve(dataset: Dataset, shares: dict[Split, float]) -> Dataset:
    units = _units(dataset)
    for unit in units:
        unit.part = "train" if unit.stuck else _part_at(unit.place, shares)
    _give_minimum(units, ["train", *shares])
    return _with_parts(dataset, units, tuple(_moves(dataset, units, shares)))


def _give_minimum(units: list[_Unit], parts: list[Split]) -> None:
    """Every class gets a unit in every part, if it has enough of them; if not, then in train."""
    count = Counter((label, unit.part) for unit in units for label in unit.labels)
    movable: dict[str, list[_Unit]] = defaultdict(list)
    for unit in units:
        for label in () if unit.stuck else unit.labels:
            movable[label].append(unit)
    for label in sorted(movable):
        for part in parts:
            if count[label, part] > 0:
                continue
            spare = [u for u in movable[label] if all(count[other, u.part] > 1 for other in u.labels)]
            if part == "train":
                spare = spare or movable[label]
            if spare:
                _lend(_nearest(spare, part), part, count)


def _nearest(units: list[_Unit], part: Split) -> _Unit:
    """Small units and those nearest in place first: that moves the fewest pictures, and mostly the same ones later."""
    ascending = 1 if part != "train" else -1
    return min(units, key=lambda unit: (len(unit.labels), len(unit.members), ascending * unit.place))


def _lend(unit: _Unit, part: Split, count: Counter[tuple[str, Split]]) -> None:
    for label in unit.labels:
        count[label, unit.part] -= 1
        count[label, part] += 1
    unit.part, unit.why = part, f"so that its class has a picture for {part}"


def _moves(dataset: Dataset, units: list[_Unit], shares: Mapping[Split, float]) -> Iterator[Moved]:
    for unit in units:
        for sample in (dataset.samples[member] for member in unit.members):
            home = _part_at(_place(sample.content), shares)
            if home != unit.part:
                yield Moved(sample.name, home, unit.part, unit.why)


def _with_parts(dataset: Dataset, units: list[_Unit], moved: tuple[Moved, ...]) -> Dataset:
    samples = list(dataset.samples)
    for unit in units:
        for member in unit.members:
            samples[member] = replace(samples[member], split=unit.part)
    return replace(dataset, samples=tuple(samples), moved=moved)


def _refuse_small_classes(dataset: Dataset) -> None:
    for label, n in small_classes(dataset).items():
        raise DataError(
            f"cannot split class '{label}'",
            value=f"{n} readable picture{'' if n == 1 else 's'}",
            accepted=f"at least {fewest(dataset)} pictures of each class",
            hint="Add pictures of it, or move its folder away.",
        )


# ---- by counts


def _fill(dataset: Dataset, units: list[_Unit], split: Split, wanted: int) -> None:
    free = Counter(dict.fromkeys(dataset.classes, wanted))
    for unit in units:
        if unit.part == "train" and all(n <= free[label] for label, n in unit.labels.items()):
            unit.part = split
            free.subtract(unit.labels)
    left = Counter(label for unit in units if unit.part == "train" for label in unit.labels)
    total = dataset.counts()
    for label in dataset.classes:
        if free[label] > 0 or left[label] == 0:
            raise DataError(
                f"cannot take {wanted} pictures of '{label}' for {split}",
                value=f"{total[label]} pictures in all, {wanted - free[label]} taken, copies and groups kept together",
                accepted="a number that whole groups add up to, so that some are left for training",
                hint="Ask for fewer pictures, or for a fraction such as 0.15.",
            )


__all__ = ["by_counts", "check_share", "complete", "fewest", "small_classes"]
