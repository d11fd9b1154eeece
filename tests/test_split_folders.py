"""Splitting into folders: whole or not at all, and never a change to the originals."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import coloured
from PIL import Image

import whatsit
from whatsit import downloads, split_folders
from whatsit.dataset import Dataset, complete, open_folder_or_csv, read
from whatsit.errors import DataError, OptionError, OutputError, WhatsitError
from whatsit.events import Event, Progress
from whatsit.split_folders import write

Photos = Callable[..., Path]


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder below, hidden ones too, with the hash of its contents."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


def counts(destination: Path) -> dict[str, int]:
    return {
        f"{part.name}/{label.name}": len(list(label.iterdir()))
        for part in sorted(destination.iterdir())
        for label in sorted(part.iterdir())
    }


def parts(dataset: Dataset) -> dict[str, str | None]:
    return {sample.content: sample.split for sample in dataset.samples}


class TestWhatIsWritten:
    def test_counts_per_class(self, make_photos: Photos, tmp_path: Path) -> None:
        write(make_photos(red=20, green=15), tmp_path / "out", "6", "4")
        assert counts(tmp_path / "out") == {
            "test/green": 4,
            "test/red": 4,
            "train/green": 5,
            "train/red": 10,
            "val/green": 6,
            "val/red": 6,
        }

    def test_fractions_are_the_parts_that_train_would_carve(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=25, green=12)
        returned = write(folder, tmp_path / "out", "0.15", "0.15")
        carved = complete(read(open_folder_or_csv(folder)))
        written = read(open_folder_or_csv(tmp_path / "out"))
        assert parts(written) == parts(carved) == parts(returned)
        assert parts(complete(written)) == parts(carved)
        assert written.fingerprint == carved.fingerprint

    def test_other_fractions(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=25, green=12)
        write(folder, tmp_path / "out", "0.3", "0.2")
        assert parts(read(open_folder_or_csv(tmp_path / "out"))) == parts(
            complete(read(open_folder_or_csv(folder)), validation=0.3, test=0.2)
        )

    def test_copies_are_whole_and_the_originals_untouched(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=8, green=8)
        before, times = tree(folder), {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        write(folder, tmp_path / "out", "2", "2")
        assert tree(folder) == before
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
        assert sorted(h for h in tree(tmp_path / "out").values() if h != "folder") == sorted(
            h for h in before.values() if h != "folder"
        )
        copy = next((tmp_path / "out" / "train" / "red").iterdir())
        copy.write_text("changed")
        assert tree(folder) == before

    def test_links_share_the_originals(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=8, green=8)
        before = tree(folder)
        write(folder, tmp_path / "out", "2", "2", link=True)
        assert tree(folder) == before
        for path in (tmp_path / "out").rglob("*.png"):
            assert path.samefile(folder / path.parent.name / path.name)
            assert not path.is_symlink()
        shutil.rmtree(tmp_path / "out")
        assert tree(folder) == before

    def test_links_across_disks_point_to_the_originals_from_anywhere(
        self, make_photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def other_disk(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        folder = make_photos(red=8, green=8)
        monkeypatch.setattr(os, "link", other_disk)
        monkeypatch.chdir(tmp_path)
        write("photos", Path("out"), "2", "2", link=True)
        monkeypatch.chdir("/")
        for path in (tmp_path / "out").rglob("*.png"):
            assert path.is_symlink()
            assert path.samefile(folder / path.parent.name / path.name)

    def test_the_same_again_is_the_same(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=20, green=20)
        for name in ("one", "two"):
            write(folder, tmp_path / name, "0.2", "0.2")
        assert tree(tmp_path / "one") == tree(tmp_path / "two")

    def test_pictures_of_the_same_name_are_numbered(self, tmp_path: Path) -> None:
        for number in range(9):
            folder = tmp_path / "in" / "red" / str(number)
            folder.mkdir(parents=True)
            name = "IMG.png" if number % 2 else "img.png"  # one name to disks that ignore case
            Image.fromarray(coloured("red", number)).save(folder / name)
            if number == 8:
                Image.fromarray(coloured("red", 100)).save(folder / "img-2.png")
        write(tmp_path / "in", tmp_path / "out", "1", "1")
        files = list((tmp_path / "out").rglob("*.png"))
        assert len(files) == 10
        assert len({str(path).casefold() for path in files}) == 10

    def test_thousands_of_pictures_of_one_name_are_named_quickly(self, tmp_path: Path) -> None:
        taken: dict[str, int] = {}
        sample = split_folders.Sample("x.png", tmp_path / "x.png", "a")
        names = [split_folders._free_name(tmp_path, sample, taken) for _ in range(20_000)]
        assert len(set(names)) == 20_000

    def test_arrays_become_png_files(self, tmp_path: Path) -> None:
        pytest.importorskip("sklearn")
        done = write("digits", tmp_path / "out", "3", "3")
        first = done.samples[0]
        folder = tmp_path / "out" / {"validation": "val"}.get(str(first.split), str(first.split)) / first.label
        with Image.open(folder / "0000.png") as picture:
            assert (np.asarray(picture.convert("L")) == first.source).all()
        assert sum(counts(tmp_path / "out").values()) == 1797

    def test_from_a_csv_with_groups(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=24, green=24)
        rows = [f"{label}/{n:03d}.png,{label},{label}{n // 3}" for label in ("red", "green") for n in range(24)]
        (folder / "x.csv").write_text("\n".join(["path,label,group", *rows]))
        write(folder / "x.csv", tmp_path / "out", "6", "6")
        where = {(p.parent.name, p.stem): p.parent.parent.name for p in (tmp_path / "out").rglob("*.png")}
        assert all(
            where[label, f"{n:03d}"] == where[label, f"{n // 3 * 3:03d}"]
            for label, n in [(label, n) for label in ("red", "green") for n in range(24)]
        )

    def test_the_unreadable_are_left_out_and_listed(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=5, green=5)
        (folder / "red" / "text.jpg").write_text("text")
        done = write(folder, tmp_path / "out", "1", "1")
        assert [picture.name for picture in done.unreadable] == ["red/text.jpg"]
        assert not list((tmp_path / "out").rglob("text.jpg"))

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o027, 0o750)])
    @pytest.mark.parametrize("exists", [False, True])
    def test_folders_have_the_usual_permissions(
        self, make_photos: Photos, tmp_path: Path, umask: int, mode: int, exists: bool
    ) -> None:
        folder = make_photos(red=3, green=3)
        before = os.umask(umask)
        try:
            if exists:
                (tmp_path / "out").mkdir()
            write(folder, tmp_path / "out", "1", "1")
        finally:
            os.umask(before)
        for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
            if path.is_dir():
                assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_progress_reaches_the_end(self, make_photos: Photos, tmp_path: Path) -> None:
        seen: list[Event] = []
        write(make_photos(red=3, green=3), tmp_path / "out", "1", "1", on_event=seen.append)
        assert seen[-1] == Progress("writing pictures", 6, 6)


class TestDestination:
    def test_parents_are_made(self, make_photos: Photos, tmp_path: Path) -> None:
        write(make_photos(red=3, green=3), tmp_path / "a" / "b" / "out", "1", "1")
        assert len(counts(tmp_path / "a" / "b" / "out")) == 6

    def test_an_empty_folder_is_filled_and_stays_the_same_folder(
        self, make_photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be the current folder, or a disk of its own, which nothing can be renamed to."""
        make_photos(red=3, green=3)
        (tmp_path / "out").mkdir()
        inode = (tmp_path / "out").stat().st_ino
        monkeypatch.chdir(tmp_path / "out")
        write("../photos", Path("."), "1", "1")
        assert (tmp_path / "out").stat().st_ino == inode
        assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["test", "train", "val"]

    def test_beside_an_empty_folder_nothing_is_written(self, make_photos: Photos, tmp_path: Path) -> None:
        """The folder around it may be another disk, or not to be written to."""
        seen: set[str] = set()
        (tmp_path / "out").mkdir()
        look: Callable[[Event], None] = lambda _: seen.update(path.name for path in tmp_path.iterdir())  # noqa: E731
        write(make_photos(red=3, green=3), tmp_path / "out", "1", "1", on_event=look)
        assert seen == {"photos", "out"}

    def test_a_link_to_an_empty_folder_is_followed(self, make_photos: Photos, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "out").symlink_to("real")
        write(make_photos(red=3, green=3), tmp_path / "out", "1", "1")
        assert len(counts(tmp_path / "real")) == 6

    def test_a_folder_with_something_in_it_is_refused_and_kept(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos(red=3, green=3)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").touch()
        assert refused(OutputError, folder, tmp_path / "out").value == "a folder that is not empty"
        assert list(tree(tmp_path / "out")) == ["mine.txt"]
        assert refused(OutputError, folder, folder).value == "a folder that is not empty"

    def test_a_file_is_refused(self, make_photos: Photos, tmp_path: Path) -> None:
        (tmp_path / "out").touch()
        error = refused(OutputError, make_photos(red=3, green=3), tmp_path / "out")
        assert error.value == "not a folder"
        assert "DESTINATION" in error.hint

    @pytest.mark.parametrize("place", ["out", ".out", "red/out", "a/b/c"])
    def test_a_place_inside_the_data_is_refused(self, make_photos: Photos, place: str) -> None:
        folder = make_photos(red=3, green=3)
        before = tree(folder)
        assert "inside" in str(refused(OutputError, folder, folder / place).value)
        (folder.parent / "link").symlink_to(folder)
        assert "inside" in str(refused(OutputError, folder, folder.parent / "link" / place).value)
        assert tree(folder) == before

    def test_no_permission(self, make_photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = make_photos(red=3, green=3)
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        assert refused(OutputError, folder, tmp_path / "a" / "b").value == "permission denied"


class TestHalfWay:
    """Whatever happens while it writes, nothing is left: no destination, no parents, no hidden folder."""

    @pytest.fixture
    def folder(self, make_photos: Photos) -> Path:
        return make_photos(red=10, green=10)

    @pytest.fixture(params=["out", "new/parents/out", "empty"])
    def destination(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        (tmp_path / "empty").mkdir()
        return tmp_path / str(request.param)

    def test_a_full_disk(self, folder: Path, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = tree(folder.parent)
        monkeypatch.setattr(shutil, "copy2", failing_after(5, shutil.copy2, OSError(errno.ENOSPC, "No space left")))
        error = refused(OutputError, folder, destination)
        assert error.value == "no space left"
        assert tree(folder.parent) == before

    def test_ctrl_c(self, folder: Path, destination: Path) -> None:
        before = tree(folder.parent)

        def interrupt(event: Event) -> None:
            if isinstance(event, Progress) and event.stage == "writing pictures" and event.done == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(folder, destination, "2", "2", on_event=interrupt)
        assert tree(folder.parent) == before

    def test_a_picture_that_vanishes(self, folder: Path, destination: Path) -> None:
        def lose(event: Event) -> None:
            if isinstance(event, Progress) and event.stage == "writing pictures" and event.done == 7:
                for path in (folder / "red").iterdir():
                    path.unlink()

        with pytest.raises(DataError, match=r"cannot copy the picture 'red/00\d.png': got a file that vanished"):
            write(folder, destination, "2", "2", on_event=lose)
        left = [name for name in tree(folder.parent) if not name.startswith("photos")]
        assert left == ["empty"]

    def test_a_disk_that_fails_when_the_parts_are_put_in_place(
        self, folder: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = tree(folder.parent)
        after = 2 if destination.name == "empty" else 0
        monkeypatch.setattr(Path, "rename", failing_after(after, Path.rename, OSError(errno.EIO, "Input/output error")))
        assert refused(OutputError, folder, destination).value == "input/output error"
        assert tree(folder.parent) == before


class TestRefusals:
    @pytest.mark.parametrize(
        ("val", "test"),
        [
            ("0", "6"),
            ("6", "0"),
            ("-1", "-1"),
            ("0.5", "0.1"),
            ("0.1", "1.0"),
            ("many", "0.1"),
            ("nan", "0.1"),
            ("", "1"),
        ],
    )
    def test_odd_amounts(self, make_photos: Photos, tmp_path: Path, val: str, test: str) -> None:
        refused(OptionError, make_photos(red=3, green=3), tmp_path / "out", val, test)

    def test_a_number_with_a_fraction(self, make_photos: Photos, tmp_path: Path) -> None:
        error = refused(OptionError, make_photos(red=3, green=3), tmp_path / "out", "6", "0.15")
        assert error.value == "--val 6 --test 0.15"

    def test_more_than_there_are(self, make_photos: Photos, tmp_path: Path) -> None:
        error = refused(DataError, make_photos(red=20, green=12), tmp_path / "out", "6", "6")
        assert "'green'" in error.what

    def test_classes_too_small(self, make_photos: Photos, tmp_path: Path) -> None:
        error = refused(DataError, make_photos(red=20, green=2), tmp_path / "out", "0.15", "0.15")
        assert "'green'" in error.what

    def test_data_that_has_parts(self, make_photos: Photos, tmp_path: Path) -> None:
        folder = make_photos("data/train", red=3, green=3).parent
        assert "already has the parts train" in str(refused(DataError, folder, tmp_path / "out").value)

    def test_a_published_set_is_refused_before_it_is_fetched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "data"))
        monkeypatch.setattr(downloads, "fetch_on", lambda *_, **__: pytest.fail("it connected"))
        with pytest.raises(DataError, match="already has the parts test, train"):
            whatsit.split("cifar10", tmp_path / "out")

    def test_no_data(self, tmp_path: Path) -> None:
        refused(DataError, tmp_path / "none", tmp_path / "out")

    @pytest.mark.parametrize("label", ["a/b", "a\\b", "..", ".hidden", "Thumbs.db"])
    def test_labels_that_are_no_folders(self, make_photos: Photos, tmp_path: Path, label: str) -> None:
        folder = make_photos(red=3)
        (folder / "x.csv").write_text(f"path,label\nred/000.png,{label}\n")
        assert "cannot make a folder" in refused(DataError, folder / "x.csv", tmp_path / "out").what

    @pytest.mark.parametrize("name", ["blob", "picture.data", ".hidden.png"])
    def test_files_that_would_not_be_found_again(self, make_photos: Photos, tmp_path: Path, name: str) -> None:
        folder = make_photos(red=3)
        (folder / "red" / "000.png").rename(folder / "red" / name)
        (folder / "x.csv").write_text(f"path,label\nred/{name},a\n")
        assert name in str(refused(DataError, folder / "x.csv", tmp_path / "out").value)


def refused(kind: type[WhatsitError], source: Path, destination: Path, val: str = "1", test: str = "1") -> WhatsitError:
    existed = destination.exists()
    with pytest.raises(kind) as caught:
        write(source, destination, val, test)
    error = caught.value
    assert all(str(part).strip() for part in (error.what, error.value, error.accepted, error.hint))
    assert destination.exists() == existed
    return error


def failing_after(successes: int, function: Callable[..., object], error: OSError) -> Callable[..., object]:
    left = [successes]

    def call(*args: object) -> object:
        if left[0] == 0:
            raise error
        left[0] -= 1
        return function(*args)

    return call
