"""Splits: no leak, then stability, then the minimum; and every picture that had to move is said."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from whatsit.dataset import SPLITS, Dataset, Sample, Split, by_counts, complete, splits
from whatsit.dataset.splits import check_share, fewest, small_classes
from whatsit.errors import DataError, OptionError


def picture(key: object, label: str = "a", split: Split | None = None, group: str | None = None) -> Sample:
    """A sample whose content follows from its key."""
    return Sample(f"{key}.jpg", None, label, split, group, hashlib.sha256(str(key).encode()).hexdigest())  # type: ignore[arg-type]


def pictures(n: int, label: str, first: int = 0) -> list[Sample]:
    return [picture(f"{label}{number}", label) for number in range(first, first + n)]


def data(samples: Iterable[Sample], copies: Sequence[tuple[str, str]] = (), **given: object) -> Dataset:
    """copies are pairs of keys; equal contents are copies anyway."""
    samples = tuple(samples)
    index = {sample.name.removesuffix(".jpg"): i for i, sample in enumerate(samples)}
    pairs = {(index[a], index[b]) for a, b in copies}
    pairs |= {(i, j) for i, j in same_contents(samples)}
    return Dataset("data", samples, tuple(sorted({s.label for s in samples})), copies=tuple(sorted(pairs)), **given)  # type: ignore[arg-type]


def same_contents(samples: Sequence[Sample]) -> Iterable[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first[s.content], i) for i, s in enumerate(samples) if first.setdefault(s.content, i) != i]


def parts(dataset: Dataset) -> dict[str, str | None]:
    return {sample.name.removesuffix(".jpg"): sample.split for sample in dataset.samples}


def counts(dataset: Dataset, label: str) -> tuple[int, ...]:
    found = Counter(sample.split for sample in dataset.samples if sample.label == label)
    return tuple(found[split] for split in SPLITS)


def key_in(part: Split, label: str = "a", start: int = 0) -> str:
    """A key whose content alone puts it into this part."""
    for number in range(start, start + 1000):
        key = f"{label}{number}"
        alone = complete(data([*pictures(40, "filling"), picture(key, "filling")]))
        if parts(alone)[key] == part:
            return key
    raise AssertionError


class TestShares:
    def test_on_average_every_class_gets_its_shares(self) -> None:
        done = complete(data([*pictures(2000, "a"), *pictures(1000, "b")]))
        for label, n in (("a", 2000), ("b", 1000)):
            train, validation, test = (count / n for count in counts(done, label))
            assert train == pytest.approx(0.7, abs=0.04)
            assert validation == pytest.approx(0.15, abs=0.03)
            assert test == pytest.approx(0.15, abs=0.03)
        assert done.moved == ()

    def test_other_shares(self) -> None:
        done = complete(data(pictures(2000, "a")), validation=0.3, test=0.05)
        assert counts(done, "a")[1] / 2000 == pytest.approx(0.3, abs=0.04)
        assert counts(done, "a")[2] / 2000 == pytest.approx(0.05, abs=0.02)

    def test_a_data_set_can_have_a_share_of_its_own(self) -> None:
        own = replace(data(pictures(2000, "a"), share=0.04), name="again")
        done = complete(own)
        assert counts(done, "a")[1] / 2000 == pytest.approx(0.04, abs=0.015)
        assert counts(done, "a")[2] / 2000 == pytest.approx(0.04, abs=0.015)
        assert counts(complete(own, validation=0.3), "a")[1] / 2000 == pytest.approx(0.3, abs=0.04)

    def test_copies_do_not_draw_towards_a_part(self) -> None:
        """A burst of ten goes to test as seldom as a single picture does."""
        samples = [picture(f"{burst}-{n}") for burst in range(400) for n in range(10)]
        pairs = [(f"{burst}-0", f"{burst}-{n}") for burst in range(400) for n in range(1, 10)]
        done = complete(data(samples, pairs))
        assert counts(done, "a")[2] / 4000 == pytest.approx(0.15, abs=0.06)
        assert counts(done, "a")[1] / 4000 == pytest.approx(0.15, abs=0.06)

    def test_neither_do_groups_that_copies_tie_together(self) -> None:
        samples = [picture(n, group=f"g{n // 2}") for n in range(4000)]
        pairs = [(str(20 * n + 2 * k), str(20 * n + 2 * k + 2)) for n in range(200) for k in range(9)]
        assert counts(complete(data(samples, pairs)), "a")[2] / 4000 == pytest.approx(0.15, abs=0.08)

    def test_the_hash_is_fixed_for_good(self) -> None:
        """Whoever changes the rule moves everybody's pictures: these parts may never change."""
        done = complete(data([*pictures(40, "a"), *(picture(n, "b", group=f"g{n}") for n in range(40))]))
        assert [sample.name[:-4] for sample in done.samples if sample.split == "test"] == TEST
        assert [sample.name[:-4] for sample in done.samples if sample.split == "validation"] == VALIDATION


TEST = ["a16", "a27", "a34", "a38", "7", "19", "27"]
VALIDATION = ["a15", "0", "10", "12", "14", "21", "24", "37"]


class TestStability:
    @pytest.mark.parametrize("seed", range(60))
    def test_adding_pictures_moves_nobody_in_a_class_that_had_its_minimum(self, seed: int) -> None:
        rng = random.Random(seed)
        old, copies = random_set(rng, "old")
        before = complete(data(old, copies))
        new, more = random_set(rng, "new")
        mixed = [*old, *new]
        rng.shuffle(mixed)
        after = parts(complete(data(mixed, [*copies, *more])))
        satisfied = classes_with_minimum(before)
        for sample in before.samples:
            if sample.label in satisfied:
                assert after[sample.name.removesuffix(".jpg")] == sample.split

    def test_that_property_is_not_empty(self) -> None:
        """Many of the classes above have their minimum of their own, some do not."""
        sets = [data(*random_set(random.Random(seed), "old")) for seed in range(60)]
        satisfied = sum(len(classes_with_minimum(one)) for one in sets)
        assert 60 < satisfied < sum(len(one.classes) for one in sets) - 20

    @pytest.mark.parametrize("seed", range(20))
    def test_parts_follow_from_contents_not_from_names_or_order(self, seed: int) -> None:
        rng = random.Random(seed)
        samples, copies = random_set(rng, "x")
        first = complete(data(samples, copies))
        pairs = [(samples[i].content, samples[j].content) for i, j in data(samples, copies).copies]
        shuffled = [replace(sample, name=f"{rng.random()}") for sample in samples]
        rng.shuffle(shuffled)
        index = {sample.content: i for i, sample in enumerate(shuffled)}
        again = Dataset(
            "other", tuple(shuffled), first.classes[::-1], copies=tuple((index[b], index[a]) for a, b in pairs)
        )
        assert by_content(complete(again)) == by_content(first)

    def test_a_group_stays_where_it_is_when_members_join(self) -> None:
        old = [picture(n, group=f"g{n % 50}") for n in range(200)]
        new = [picture(n, group=f"g{n % 50}") for n in range(200, 400)]
        before, after = parts(complete(data(old))), parts(complete(data(old + new)))
        assert {key: after[key] for key in before} == before

    def test_doing_it_twice_changes_nothing(self) -> None:
        samples, copies = random_set(random.Random(1), "x")
        once = complete(data(samples, copies))
        assert parts(complete(once)) == parts(once)
        assert complete(once).moved == once.moved


class TestNoLeak:
    @pytest.mark.parametrize("seed", range(30))
    def test_copies_and_groups_lie_on_one_side(self, seed: int) -> None:
        rng = random.Random(seed)
        samples = [picture(n, rng.choice("abc"), group=rng.choice([None, f"g{rng.randrange(30)}"])) for n in range(150)]
        copies = [(str(rng.randrange(150)), str(rng.randrange(150))) for _ in range(15)]
        done = complete(data(samples, [(a, b) for a, b in copies if a != b]))
        part = parts(done)
        assert all(part[a] == part[b] for a, b in copies)
        sides = defaultdict(set)
        for sample in done.samples:
            sides[sample.group].add(sample.split)
        assert all(len(found) == 1 for group, found in sides.items() if group)

    def test_a_chain_of_copies_and_groups_is_one_unit(self) -> None:
        samples = [picture("p", "a"), picture("q", "b", group="g"), picture("r", "c", group="g"), picture("s", "a")]
        chain = [("p", "q"), ("r", "s")]
        for extra in range(20):
            filling = [sample for label in "abc" for sample in pictures(30, label, first=extra * 30)]
            part = parts(complete(data(samples + filling, chain)))
            assert len({part[key] for key in "pqrs"}) == 1

    def test_copies_go_where_the_lowest_content_says(self) -> None:
        train, test = key_in("train"), key_in("test")
        low, high = sorted([train, test], key=lambda key: picture(key).content)
        others = [*pictures(40, "filling"), picture(f"{low}+")]
        done = complete(data([*others, picture(low), picture(high)], [(high, low)]))
        home = "train" if low == train else "test"
        assert parts(done)[low] == parts(done)[high] == home
        moved = [(m.name, m.home, m.part) for m in done.moved if m.name == f"{high}.jpg"]
        assert moved == [(f"{high}.jpg", "test" if home == "train" else "train", home)]
        assert f"with its copy '{low}.jpg'" in [m.why for m in done.moved if m.name == f"{high}.jpg"]

    def test_members_of_a_group_that_went_elsewhere_are_said(self) -> None:
        done = complete(data([*pictures(100, "b"), *(picture(n, group="family") for n in range(50))]))
        assert len({part for key, part in parts(done).items() if not key.startswith("b")}) == 1
        assert 5 < len(done.moved) < 50
        assert {m.why for m in done.moved} == {"with its group 'family'"}


class TestMinimum:
    @pytest.mark.parametrize("n", [3, 4, 5, 8])
    def test_small_classes_have_something_in_each_part(self, n: int) -> None:
        for seed in range(50):
            samples = [picture(f"{seed}-{i}") for i in range(n)]
            done = complete(data(samples))
            assert min(counts(done, "a")) >= 1
            home = parts(complete(data([*pictures(100, "a"), *samples])))
            expected = [(s.name, home[s.name[:-4]], s.split) for s in done.samples if home[s.name[:-4]] != s.split]
            assert [(m.name, m.home, m.part) for m in done.moved] == expected
            assert all(m.why == f"so that its class has a picture for {m.part}" for m in done.moved)

    def test_no_more_move_than_must(self) -> None:
        for seed in range(100):
            done = complete(data([picture(f"{seed}-{i}") for i in range(6)]))
            assert len(done.moved) <= 2

    @pytest.mark.parametrize("n", [1, 2])
    def test_fewer_than_three_are_refused(self, n: int) -> None:
        with pytest.raises(DataError, match=f"cannot split class 'few': got {n} readable picture") as caught:
            complete(data([*pictures(10, "many"), *pictures(n, "few")]))
        assert "at least 3" in caught.value.accepted

    def test_a_class_without_a_readable_picture_is_refused(self) -> None:
        with pytest.raises(DataError, match="cannot split class 'none': got 0 readable pictures"):
            complete(replace(data(pictures(10, "a")), classes=("a", "none")))

    def test_a_class_of_nothing_but_copies_is_taught_and_not_tested(self) -> None:
        samples = [*pictures(20, "many"), picture("x", "one"), picture("y", "one"), picture("z", "one")]
        for names in (("x", "y", "z"), ("p", "q", "r"), ("u", "v", "w"), ("k", "l", "m")):
            samples[-3:] = [picture(name, "one") for name in names]
            done = complete(data(samples, [(names[0], names[1]), (names[1], names[2])]))
            assert counts(done, "one") == (3, 0, 0)

    def test_two_units_leave_something_for_train(self) -> None:
        for seed in range(50):
            samples = [picture(f"{seed}-{i}") for i in range(4)]
            done = complete(data(samples, [(f"{seed}-0", f"{seed}-1"), (f"{seed}-2", f"{seed}-3")]))
            assert sorted(counts(done, "a")) in ([0, 2, 2], [0, 0, 4])
            assert counts(done, "a")[0] > 0

    def test_lending_takes_no_other_class_its_last(self) -> None:
        """Groups that hold two classes: what one of them needs may not cost the other its minimum."""
        for seed in range(300):
            some = data(mixed_groups(random.Random(seed)))
            done = complete(some)
            for label in classes_with_minimum(some):
                assert min(counts(done, label)) >= 1

    def test_what_is_lent_does_not_depend_on_the_order_either(self) -> None:
        for seed in range(100):
            samples = mixed_groups(random.Random(seed))
            assert by_content(complete(data(samples[::-1]))) == by_content(complete(data(samples)))


class TestGivenParts:
    def given(self, *present: Split, n: int = 20) -> list[Sample]:
        return [picture(f"{split}-{label}{i}", label, split) for split in present for label in "ab" for i in range(n)]

    @pytest.mark.parametrize("present", [("train",), ("train", "validation"), ("train", "test"), SPLITS])
    def test_what_is_missing_is_carved_from_train_and_nothing_else(self, present: tuple[Split, ...]) -> None:
        before = data(self.given(*present), given_splits=frozenset(present))
        after = complete(before)
        for old, new in zip(before.samples, after.samples, strict=True):
            assert new.split == old.split or (old.split == "train" and new.split not in present)
        for label in "ab":
            assert min(counts(after, label)) >= 1

    def test_without_train_there_is_nothing_to_carve_from(self) -> None:
        with pytest.raises(DataError, match="only the parts test, validation"):
            complete(data(self.given("validation", "test"), given_splits=frozenset({"validation", "test"})))

    @pytest.mark.parametrize(("given", "carved"), [("validation", "test"), ("test", "validation")])
    def test_a_carved_part_never_holds_a_copy_of_a_given_picture(self, given: Split, carved: Split) -> None:
        for seed in range(20):
            train = [picture(f"{seed}-{i}", "a", "train") for i in range(30)]
            held = [picture(f"held {seed}-{i}", "a", given) for i in range(30)]
            copies = [(f"{seed}-{i}", f"held {seed}-{i}") for i in range(25)]
            done = complete(data(train + held, copies, given_splits=frozenset({"train", given})))
            part = parts(done)
            assert {part[key] for key, _ in copies} == {"train"}
            assert {part[key] for _, key in copies} == {given}
            assert carved in part.values()
            said = {m.name: m.why for m in done.moved if "because" in m.why}
            for name, why in said.items():
                assert why == f"because 'held {name[:-4]}.jpg' in {given} is its copy or of its group"
            assert said

    def test_nor_a_member_of_a_given_pictures_group(self) -> None:
        for seed in range(20):
            train = [picture(f"{seed}-{i}", "a", "train", group=f"g{i % 10}") for i in range(60)]
            held = [picture(f"held {seed}", "a", "test", group="g3")]
            part = parts(complete(data(train + held, given_splits=frozenset({"train", "test"}))))
            assert {part[f"{seed}-{i}"] for i in range(3, 60, 10)} == {"train"}

    def test_a_class_only_in_test_does_not_keep_validation_from_being_carved(self) -> None:
        samples = [*self.given("train", "test"), picture("odd", "odd", "test")]
        done = complete(data(samples, given_splits=frozenset({"train", "test"})))
        assert counts(done, "odd") == (0, 0, 1)

    def test_one_given_part_needs_one_picture_less(self) -> None:
        samples = self.given("train", "test", n=2)
        done = complete(data(samples, given_splits=frozenset({"train", "test"})))
        assert counts(done, "a") == (1, 1, 2)
        with pytest.raises(DataError, match="at least 2"):
            complete(data(self.given("train", "test", n=1), given_splits=frozenset({"train", "test"})))

    def test_carving_twice_changes_nothing(self) -> None:
        once = complete(data(self.given("train", "test"), given_splits=frozenset({"train", "test"})))
        assert parts(complete(once)) == parts(once)

    def test_small_classes_and_what_they_need(self) -> None:
        some = data(self.given("train", n=2), given_splits=frozenset({"train"}))
        assert fewest(some) == 3
        assert small_classes(some) == {"a": 2, "b": 2}
        assert small_classes(complete(data(pictures(3, "a")))) == {}
        assert fewest(replace(some, given_splits=frozenset(SPLITS))) == 1


class TestByCounts:
    def test_exactly_so_many_of_each_class(self) -> None:
        done = by_counts(data([*pictures(20, "a"), *pictures(13, "b")]), {"validation": 6, "test": 6})
        assert counts(done, "a") == (8, 6, 6)
        assert counts(done, "b") == (1, 6, 6)

    def test_with_copies_and_groups_on_one_side(self) -> None:
        samples = [picture(n, "ab"[n % 2], group=f"g{n // 3}" if n < 60 else None) for n in range(120)]
        copies = [(str(n), str(n + 2)) for n in range(60, 90, 4)]
        done = by_counts(data(samples, copies), {"test": 7, "validation": 5})
        assert counts(done, "a") == counts(done, "b") == (48, 5, 7)
        part = parts(done)
        assert all(part[a] == part[b] for a, b in copies)
        assert all(part[str(n)] == part[str(n // 3 * 3)] for n in range(60))

    def test_no_order_or_name_matters(self) -> None:
        samples = [picture(n, "ab"[n % 2], group=f"g{n // 4}") for n in range(90)]
        done = by_counts(data(samples), {"test": 6, "validation": 6})
        assert by_content(by_counts(data(samples[::-1]), {"test": 6, "validation": 6})) == by_content(done)

    @pytest.mark.parametrize(("n", "wanted"), [(12, 6), (5, 6), (2, 1)])
    def test_too_many_are_refused(self, n: int, wanted: int) -> None:
        with pytest.raises(DataError, match=rf"got {n} pictures in all") as caught:
            by_counts(data([*pictures(40, "many"), *pictures(n, "few")]), {"validation": wanted, "test": wanted})
        assert "'few'" in caught.value.what

    def test_copies_that_cannot_be_parted_are_refused_not_overfilled(self) -> None:
        samples = pictures(9, "a")
        threes = [(f"a{n - n % 3}", f"a{n}") for n in range(9) if n % 3]
        with pytest.raises(DataError, match="copies and groups kept together"):
            by_counts(data(samples, threes), {"test": 2})
        assert counts(by_counts(data(samples, threes), {"test": 3, "validation": 3}), "a") == (3, 3, 3)

    def test_a_group_with_much_of_another_class_does_not_overfill_that(self) -> None:
        samples = [picture(f"a{n}", "a", group="g") for n in range(1)]
        samples += [picture(f"b{n}", "b", group="g") for n in range(9)]
        samples += [*pictures(10, "a", first=100), *pictures(10, "b", first=100)]
        for shift in range(10):
            more = [*pictures(3, "a", first=200 + shift), *pictures(3, "b", first=200 + shift)]
            done = by_counts(data(samples + more), {"test": 3})
            assert counts(done, "a")[2] == counts(done, "b")[2] == 3


@pytest.mark.parametrize("value", [0.0, 0.5, -1.0, 7.0, float("nan")])
def test_odd_shares_are_refused(value: float) -> None:
    with pytest.raises(OptionError, match="--val"):
        check_share("--val", value)


def test_unread_pictures_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="read the pictures first"):
        complete(data([replace(sample, content="") for sample in pictures(5, "a")]))


def test_twenty_thousand_pictures_of_five_hundred_classes_take_seconds_at_most() -> None:
    samples = [picture(n, f"c{n % 500}", group=f"g{n // 3}" if n % 2 else None) for n in range(20_000)]
    large = data(samples, [(str(n), str(n + 500)) for n in range(0, 10_000, 7)])
    began = time.process_time()
    complete(large)
    by_counts(large, {"test": 3, "validation": 3})
    assert time.process_time() - began < 10  # takes about one


def random_set(rng: random.Random, name: str) -> tuple[list[Sample], list[tuple[str, str]]]:
    """Up to four classes of 3 to 40 pictures, a third of them in groups of their class, and a few copies."""
    samples: list[Sample] = []
    copies: list[tuple[str, str]] = []
    for label in "abcd"[: rng.randint(2, 4)]:
        keys = [f"{label}-{name}-{rng.random()}" for _ in range(rng.choice([3, 4, 6, 12, 40]))]
        samples += [
            picture(k, label, group=f"{name}-{label}-{rng.randrange(6)}" if rng.random() < 0.3 else None) for k in keys
        ]
        copies += [pair for pair in combinations(keys[:12], 2) if rng.random() < 0.01]
    return samples, copies


def mixed_groups(rng: random.Random) -> list[Sample]:
    """Three classes, every picture in a small group with one of another class."""
    pairs = [*("ab", "bc", "ca") * 2, *(rng.sample("abc", 2) for _ in range(rng.randint(1, 6)))]
    keyed = [(rng.random(), pair) for pair in pairs]
    return [picture(f"{key} {label}", label, group=f"g{key}") for key, pair in keyed for label in pair]


def classes_with_minimum(dataset: Dataset) -> set[str]:
    """Classes that have something in each part before anything is lent."""
    shares: dict[Split, float] = {"test": 0.15, "validation": 0.15}
    found = {(label, splits._part_at(unit.place, shares)) for unit in splits._units(dataset) for label in unit.labels}
    return {label for label in dataset.classes if all((label, part) in found for part in SPLITS)}


def by_content(dataset: Dataset) -> dict[str, str | None]:
    return {sample.content: sample.split for sample in dataset.samples}
