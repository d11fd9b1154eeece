"""Right labels in a folder that `whatsit train` reads, with a journal, and nothing outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import plain

import whatsit
from whatsit import storage
from whatsit.apps.feedback import JOURNAL, Answered, Feedback
from whatsit.dataset import open_folder_or_csv, read
from whatsit.errors import OptionError, OutputError

SAID = Answered("m", "0" * 64, "dog", 0.6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "feedback"


@pytest.fixture
def feedback(folder: Path) -> Feedback:
    return Feedback(folder, ["cat", "dog"])


def photo(path: Path, red: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plain((red, 0, 0), (30, 40))).save(path, format="JPEG", comment=str(red))
    return path


def kept(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*"))


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# ---- what lies where


def test_a_picture_is_kept_byte_for_byte_under_its_label(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    file = photo(tmp_path / "a photo.JPG")
    entry = feedback.give(file, "cat", who="eva", answers=[SAID])
    assert entry.label == "cat"
    assert kept(folder) == [entry.file]
    assert entry.file.startswith("cat/")
    assert entry.file.endswith(".jpg")
    assert (folder / entry.file).read_bytes() == file.read_bytes()


def test_whatsit_train_reads_what_was_given(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    for number in range(5):
        feedback.give(photo(tmp_path / f"{number}.jpg", number), ("cat", "dog")[number % 2], who="eva")
    feedback.undo(feedback.give(photo(tmp_path / "x.jpg", 99), "dog", who="eva").id, who="eva")
    dataset = read(open_folder_or_csv(folder))
    assert dataset.classes == ("cat", "dog")
    assert [sample.label for sample in dataset.samples] == ["cat"] * 3 + ["dog"] * 2
    assert (dataset.unreadable, dataset.ignored, dataset.empty) == ((), (), ())


def test_a_file_without_a_pictures_name_gets_one(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    assert feedback.give(photo(tmp_path / "blob"), "cat", who="eva").file.endswith(".png")
    assert len(read(open_folder_or_csv(folder)).samples) == 1


def test_another_label_moves_the_picture_and_undoing_moves_it_back(
    feedback: Feedback, folder: Path, tmp_path: Path
) -> None:
    file = photo(tmp_path / "a.jpg")
    first = feedback.give(file, "cat", who="eva")
    second = feedback.give(file, "dog", who="ben")
    assert kept(folder) == [second.file]
    assert feedback.journal()[-1]["before"] == first.file
    feedback.undo(second.id, who="ben")
    assert kept(folder) == [first.file]
    feedback.undo(first.id, who="eva")
    assert kept(folder) == []
    assert not (folder / "cat").exists()


def test_undoing_leaves_what_another_person_said(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    first, second = (feedback.give(file, "cat", who=who) for who in ("eva", "ben"))
    feedback.undo(first.id, who="eva")
    assert kept(folder) == [second.file]
    third = feedback.give(file, "dog", who="eva")
    feedback.undo(second.id, who="ben")
    assert kept(folder) == [third.file]
    feedback.undo(third.id, who="eva")
    assert kept(folder) == []


def test_undoing_leaves_what_a_person_has_moved_by_hand(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    entry = feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva")
    (folder / "dog").mkdir()
    (folder / entry.file).rename(folder / "dog" / Path(entry.file).name)
    feedback.undo(entry.id, who="eva")
    assert [file.partition("/")[0] for file in kept(folder)] == ["dog"]


def test_undoing_twice_is_refused(feedback: Feedback, tmp_path: Path) -> None:
    entry = feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva")
    feedback.undo(entry.id, who="eva")
    with pytest.raises(OptionError, match="undone already"):
        feedback.undo(entry.id, who="eva")


# ---- the journal


def test_the_journal_says_who_what_and_when(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    entry = feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva <script>\n", answers=[SAID])
    feedback.undo(entry.id, who="eva")
    given, undone = (json.loads(line) for line in (folder / JOURNAL).read_text().splitlines())
    assert datetime.fromisoformat(given["time"]).utcoffset().total_seconds() == 0
    assert (given["who"], given["action"], given["label"]) == ("eva <script>\n", "given", "cat")
    assert given["file"] == entry.file
    assert given["answers"] == [{"model": "m", "fingerprint": "0" * 64, "label": "dog", "score": 0.6}]
    assert (undone["action"], undone["id"], undone["now"]) == ("undone", given["id"], None)


def test_threads_and_processes_lose_nothing(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_feedback import photo
from whatsit.apps.feedback import Feedback
feedback = Feedback(Path({str(folder)!r}), ["cat", "dog"])
print("ready", flush=True)
for number in range(100, 130):
    feedback.give(photo(Path({str(tmp_path)!r}) / "other" / f"{{number}}.jpg", number), "dog", who="process")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    def give(first: int) -> None:
        for number in range(first, first + 10):
            feedback.give(photo(tmp_path / f"{number}.jpg", number), "cat", who="thread")

    threads = [threading.Thread(target=give, args=(first,)) for first in range(0, 40, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.communicate(timeout=120) == ("", None)
    assert process.returncode == 0
    assert len(kept(folder)) == 70
    lines = [line for line in (folder / JOURNAL).read_text().splitlines() if line]
    assert len(lines) == len(feedback.journal()) == 70


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    feedback.give(photo(tmp_path / "a.jpg", 1), "cat", who="eva")
    with (folder / JOURNAL).open("ab") as file:
        file.write(b'{"time": "20')
    entry = feedback.give(photo(tmp_path / "b.jpg", 2), "cat", who="eva")
    assert len(feedback.journal()) == 2
    feedback.undo(entry.id, who="eva")
    assert len(kept(folder)) == 1


def test_without_room_for_the_journal_nothing_is_given(
    feedback: Feedback, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva")
    monkeypatch.setattr(os, "write", lambda _handle, line: len(line) // 2)
    for label in ("dog", "cat"):
        with pytest.raises(OutputError) as refused:
            feedback.give(photo(tmp_path / "a.jpg"), label, who="eva")
        assert "--feedback" in refused.value.hint
    with pytest.raises(OutputError):
        feedback.give(photo(tmp_path / "b.jpg", 7), "dog", who="eva")
    assert kept(folder) == [first.file]


def test_without_room_for_the_journal_nothing_is_undone(
    feedback: Feedback, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = feedback.give(photo(tmp_path / "a.jpg", 7), "dog", who="eva")
    feedback.give(photo(tmp_path / "b.jpg"), "cat", who="eva")
    moved = feedback.give(photo(tmp_path / "b.jpg"), "dog", who="eva")
    before = kept(folder)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda _handle, line: len(line) // 2)
        for entry in (once, moved):
            with pytest.raises(OutputError, match="cannot write"):
                feedback.undo(entry.id, who="eva")
            assert kept(folder) == before
    for entry in (once, moved):
        feedback.undo(entry.id, who="eva")
    assert [Path(file).parent.name for file in kept(folder)] == ["cat"]


# ---- what is refused


@pytest.mark.parametrize(
    "label",
    [
        "../x", "..", ".", "/etc", "a/b", "a\\b", "<script>alert(1)</script>", "", " ", " cat", "cat ", "a\0b", "a\nb",
        ".hidden", "x" * 300, "é" * 150, "e\u0301", "con", "NUL.txt", "__MACOSX", "journal.jsonl", "\udcff", "cat.",
    ],
)  # fmt: skip
def test_a_label_that_is_no_folders_name_is_refused(folder: Path, tmp_path: Path, label: str) -> None:
    feedback = Feedback(folder, ["cat", label], new_labels=True)
    file = photo(tmp_path / "a.jpg")
    before = everything(tmp_path)
    with pytest.raises(OptionError) as refused:
        feedback.give(file, label, who="eva")
    assert "folder" in refused.value.what
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "label", ["<script>", "<b>a&amp;b</b>".replace("/", ""), "${1+1}", "{{x}}", "'\";--", "猫", "%2e"]
)
def test_odd_labels_that_are_folders_names_come_back_as_they_are(folder: Path, tmp_path: Path, label: str) -> None:
    Feedback(folder, [label]).give(photo(tmp_path / "a.jpg"), label, who="eva")
    assert open_folder_or_csv(folder).classes == (label,)


def test_an_unknown_label_needs_new_labels(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    with pytest.raises(OptionError) as refused:
        feedback.give(file, "cow", who="eva")
    assert "--new-labels" in refused.value.hint
    assert kept(folder) == []
    Feedback(folder, ["cat"], new_labels=True).give(file, "cow", who="eva")
    assert "cow" in feedback.labels  # there is a folder now
    feedback.give(photo(tmp_path / "b.jpg", 7), "cow", who="eva")


def test_a_link_out_of_the_folder_is_not_followed(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "cat").symlink_to(tmp_path / "outside")
    with pytest.raises(OptionError, match="elsewhere"):
        feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_folder_with_train_and_test_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(OptionError, match="train with class folders inside"):
        Feedback(tmp_path, ["cat"])


def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as refused:
        Feedback(tmp_path / "file", ["cat"])
    assert "--feedback" in refused.value.hint


def test_a_picture_that_is_gone_is_said(feedback: Feedback, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Drop it again"):
        feedback.give(tmp_path / "gone.jpg", "cat", who="eva")


def test_a_full_disk_leaves_no_half_picture(
    feedback: Feedback, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_part: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_flush", full)
    with pytest.raises(OutputError, match="no space left"):
        feedback.give(photo(tmp_path / "a.jpg"), "cat", who="eva")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_the_picture_is_not_encoded_anew(feedback: Feedback, folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.webp", quality=30)
    entry = feedback.give(tmp_path / "a.webp", "cat", who="eva")
    assert (folder / entry.file).read_bytes() == (tmp_path / "a.webp").read_bytes()
