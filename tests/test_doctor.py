"""The doctor: what is worth knowing is found, and what is fine is left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from whatsit.dataset import SPLITS, Dataset, Moved, Sample, Unreadable, complete, from_pairs, open_folder_or_csv, read
from whatsit.doctor import Finding, examine


def data(counts: dict[str, int], **more: object) -> Dataset:
    """counts: "label" or "split/label" -> pictures, called 0, 1, 2, ... within each."""
    samples = []
    for place, n in counts.items():
        split, _, label = place.rpartition("/")
        for number in range(n):
            name = f"{place}/{number}"
            content = hashlib.sha256(name.encode()).hexdigest()
            samples.append(Sample(name, Path(name), label, split or None, content=content))  # type: ignore[arg-type]
    given = frozenset(sample.split for sample in samples if sample.split)
    classes = tuple(sorted({sample.label for sample in samples}))
    return replace(Dataset("data", tuple(samples), classes, given_splits=given), **more)  # type: ignore[arg-type]


def tied(dataset: Dataset, *pairs: tuple[str, str]) -> Dataset:
    index = {sample.name: number for number, sample in enumerate(dataset.samples)}
    return replace(dataset, copies=tuple((index[a], index[b]) for a, b in pairs))


def kinds(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def only(dataset: Dataset, kind: str) -> Finding:
    found = [finding for finding in examine(dataset) if finding.kind == kind]
    assert len(found) == 1, [finding.text for finding in examine(dataset)]
    assert found[0].text
    assert found[0].hint
    return found[0]


def test_nothing_is_found_in_good_data() -> None:
    assert examine(data({"a": 30, "b": 30})) == []
    assert examine(data({f"{split}/{label}": 30 for split in SPLITS for label in "ab"})) == []


def test_warnings_come_first() -> None:
    found = examine(data({"a": 5, "b": 30}, unreadable=(Unreadable("a/x.jpg", "a", "0 bytes"),)))
    assert kinds(found) == ["unreadable", "unbalanced", "few"]
    assert [finding.severity for finding in found] == ["warning", "note", "note"]


def test_unreadable_pictures_with_their_reasons() -> None:
    bad = tuple(Unreadable(f"a/{i}.jpg", "a", f"reason {i}") for i in range(2))
    assert only(data({"a": 30, "b": 30}, unreadable=bad), "unreadable").pictures == (
        "a/0.jpg: reason 0",
        "a/1.jpg: reason 1",
    )
    assert "1 picture cannot be read and is" in only(data({"a": 9}, unreadable=bad[:1]), "unreadable").text


class TestWhatTrainingWillRefuse:
    def test_one_class(self) -> None:
        finding = only(data({"a": 30}), "one_class")
        assert finding.severity == "warning"
        assert "'a'" in finding.text

    def test_classes_too_small_to_be_split(self) -> None:
        finding = only(data({"a": 30, "b": 2, "c": 3}), "too_few")
        assert finding.severity == "warning"
        assert finding.pictures == ("b (2)",)
        assert "needs 3" in finding.hint

    def test_classes_whose_pictures_are_all_unreadable(self) -> None:
        assert only(data({"a": 30, "b": 30}, classes=("a", "b", "c")), "too_few").pictures == ("c (0)",)

    def test_not_once_the_parts_are_carved(self) -> None:
        assert "too_few" not in kinds(examine(complete(data({"a": 30, "b": 3}))))

    def test_with_given_parts_less_is_enough(self) -> None:
        assert "needs 2" in only(data({"train/a": 9, "train/b": 1, "test/a": 9, "test/b": 9}), "too_few").hint
        whole = {f"{split}/{label}": 1 for split in SPLITS for label in "ab"}
        assert kinds(examine(data(whole))) == ["few"]

    def test_data_to_judge_a_model_on_needs_no_train_part(self) -> None:
        assert examine(data({"test/a": 30, "test/b": 30})) == []


class TestLeaks:
    def test_copies_between_given_parts(self) -> None:
        some = data({f"{split}/{label}": 30 for split in SPLITS for label in "ab"})
        finding = only(tied(some, ("train/a/1", "test/a/7"), ("train/a/2", "train/a/3")), "leak")
        assert finding.severity == "warning"
        assert finding.text.startswith("1 picture in test with a copy in train")
        assert finding.pictures == ("test/a/7 = train/a/1",)

    def test_every_copied_picture_is_named_though_pairs_only_tie_them(self) -> None:
        """One picture in all three parts, once, twice and three times, tied as a star and as a chain."""
        some = data({f"{split}/{label}": 30 for split in SPLITS for label in "ab"})
        names = ["test/a/0", "train/a/0", "train/a/1", "validation/a/0", "validation/a/1", "validation/a/2"]
        star = [(names[0], other) for other in names[1:]]
        chain = list(pairwise(names))
        for pairs in (star, chain):
            leaks = [finding for finding in examine(tied(some, *pairs)) if finding.kind == "leak"]
            assert [(leak.text.split(":")[0], len(leak.pictures)) for leak in leaks] == [
                ("3 pictures in validation with a copy in train", 3),
                ("1 picture in test with a copy in train", 1),
                ("1 picture in test with a copy in validation", 1),
            ]

    def test_groups_in_two_given_parts(self) -> None:
        some = data({f"{split}/{label}": 30 for split in SPLITS for label in "ab"})
        groups = {0: "Ann", 70: "Ann", 1: "Ben", 2: "Ben"}
        samples = [replace(s, group=groups.get(i)) for i, s in enumerate(some.samples)]
        assert only(replace(some, samples=tuple(samples)), "leak").pictures == ("Ann",)

    def test_none_without_parts(self) -> None:
        assert kinds(examine(tied(data({"a": 30, "b": 30}), ("a/0", "a/1")))) == ["copies"]

    def test_none_after_carving(self) -> None:
        some = data({"a": 60, "b": 60})
        pairs = [(f"a/{i}", f"a/{i + 1}") for i in range(0, 60, 2)]
        assert kinds(examine(complete(tied(some, *pairs)))) == ["copies", "moved"]


def test_copies_under_two_labels() -> None:
    finding = only(tied(data({"a": 30, "b": 30}), ("a/1", "b/2")), "two_labels")
    assert finding.severity == "warning"
    assert finding.pictures == ("b/2 = a/1",)
    assert "copies" not in kinds(examine(tied(data({"a": 30, "b": 30}), ("a/1", "b/2"))))


def test_copies_under_one_label_are_only_a_note() -> None:
    finding = only(tied(data({"a": 30, "b": 30}), ("a/1", "a/2"), ("a/1", "a/9")), "copies")
    assert finding.severity == "note"
    assert finding.pictures == ("a/2 = a/1", "a/9 = a/1")


class TestMissingClasses:
    def test_a_class_missing_from_one_part(self) -> None:
        counts = {f"{split}/{label}": 30 for split in SPLITS for label in "abc"}
        del counts["validation/b"]
        finding = only(data(counts), "missing_class")
        assert finding.severity == "warning"
        assert finding.text == "1 class without pictures in validation: b"
        assert finding.pictures == ("b",)

    def test_a_class_only_in_test(self) -> None:
        some = data({"train/a": 30, "test/a": 30, "train/b": 30, "test/b": 30, "test/c": 30})
        assert only(some, "missing_class").text == "1 class without pictures in train: c"

    def test_a_given_part_without_a_readable_picture(self) -> None:
        some = data({"train/a": 30, "train/b": 30}, given_splits=frozenset({"train", "test"}))
        assert only(some, "missing_class").text == "2 classes without pictures in test: a, b"

    def test_hundreds_are_not_all_named_in_one_sentence(self) -> None:
        some = data({f"train/{i:03d}": 30 for i in range(300)} | {"test/000": 30})
        finding = only(some, "missing_class")
        assert finding.text.endswith("001, 002, 003, 004, 005 and 294 more")
        assert len(finding.pictures) == 299

    def test_a_class_of_copies_cannot_be_tested(self) -> None:
        some = tied(data({"a": 30, "b": 3}), ("b/0", "b/1"), ("b/1", "b/2"))
        texts = [finding.text for finding in examine(complete(some)) if finding.kind == "missing_class"]
        assert texts == ["1 class without pictures in validation: b", "1 class without pictures in test: b"]


class TestWhatWasLeftAlone:
    def test_loose_pictures_empty_folders_and_other_files(self, make_photos: Callable[..., Path]) -> None:
        folder = make_photos(red=20, green=20)
        (folder / "loose.jpg").touch()
        (folder / "red" / "notes.txt").touch()
        (folder / "blue").mkdir()
        found = examine(read(open_folder_or_csv(folder)))
        assert [(finding.kind, finding.severity, finding.pictures) for finding in found] == [
            ("no_label", "warning", ("loose.jpg",)),
            ("empty_folder", "warning", ("blue",)),
            ("not_pictures", "note", ("red/notes.txt",)),
        ]


def test_moved_pictures_with_where_and_why() -> None:
    moved = (Moved("a/1", "test", "train", "with its copy 'a/0'"),)
    finding = only(data({"a": 30, "b": 30}, moved=moved), "moved")
    assert finding.severity == "note"
    assert finding.pictures == ("a/1: test -> train, with its copy 'a/0'",)


class TestBalance:
    def test_unbalanced(self) -> None:
        assert only(data({"a": 150, "b": 30}), "unbalanced").text == "unbalanced classes: 150 of 'a', 30 of 'b'"
        assert examine(data({"a": 149, "b": 30})) == []

    def test_few(self) -> None:
        assert only(data(dict.fromkeys("abcdefg", 10)), "few").text.endswith("e (10) and 2 more")
        assert examine(data({"a": 20, "b": 20})) == []


def test_real_photos_hold_one_picture_filed_twice(shared: Path) -> None:
    folders = [shared / "data" / "clothing" / "train" / label for label in ("shorts", "skirt")]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    rows = only(read(from_pairs(files, [file.parent.name for file in files])), "two_labels").pictures
    assert [row.split(" = ")[0].rpartition("/")[2][:8] for row in rows] == ["637a56e4"]
