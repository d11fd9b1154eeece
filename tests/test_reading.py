"""Reading: every picture once; the unreadable are rows with reasons, never skipped and never fatal."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import coloured
from PIL import Image

from whatsit import dataset, images
from whatsit.dataset import Dataset, Sample, content_hash, from_pairs, in_parallel, open_folder_or_csv, read
from whatsit.errors import DataError
from whatsit.events import Event, Progress, ignore


def test_everything_seen_is_kept_in_the_order_of_the_samples(make_photos: Callable[..., Path]) -> None:
    folder = make_photos(red=3, green=2)
    Image.fromarray(np.full((10, 30), 9, np.uint8)).save(folder / "red" / "grey.png")
    data = read(open_folder_or_csv(folder))
    assert [sample.name for sample in data.samples][-2:] == ["red/002.png", "red/grey.png"]
    assert data.sizes is not None
    assert data.sizes.tolist() == [[24, 24]] * 5 + [[10, 30]]
    assert data.thumbnails is not None
    assert data.thumbnails.shape == (6, 16, 16, 3)
    assert (data.thumbnails[5] == 9).all()
    for sample in data.samples:
        assert isinstance(sample.source, Path)
        assert sample.content == hashlib.sha256(sample.source.read_bytes()).hexdigest()
    assert not data.grey


def test_grey_only_if_every_picture_is() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert read(from_pairs([grey, np.stack([grey] * 3, axis=2)], ["a", "b"])).grey
    assert not read(from_pairs([grey, coloured("red", 1)], ["a", "b"])).grey


def test_one_coloured_pixel_is_enough_not_to_be_grey() -> None:
    picture = np.full((40, 40, 3), 7, np.uint8)
    picture[33, 21, 2] = 8  # none of those that are looked at first
    assert not read(from_pairs([picture], ["a"])).grey


def test_what_was_decoded_need_not_be_decoded_again(make_photos: Callable[..., Path]) -> None:
    folder = make_photos(red=2)
    (folder / "red" / "002.png").write_bytes((folder / "red" / "000.png").read_bytes())
    data = read(open_folder_or_csv(folder))
    expected = [images.load(folder / sample.name) for sample in data.samples]
    assert len(data.decoded) == 2  # equal files once
    for sample in data.samples:
        (folder / sample.name).unlink()
    for sample, picture in zip(data.samples, expected, strict=True):
        np.testing.assert_array_equal(data.picture(sample), picture)


def test_what_there_is_no_room_for_is_decoded_again(
    make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset.reading, "_ROOM", 24 * 24 * 3)
    data = read(open_folder_or_csv(make_photos(red=3)))
    assert len(data.decoded) == 1
    for sample in data.samples:
        np.testing.assert_array_equal(data.picture(sample), images.load(sample.source))


def test_the_unreadable_are_listed_with_reasons_and_left_out(make_photos: Callable[..., Path]) -> None:
    folder = make_photos(red=3, green=3)
    (folder / "red" / "text.jpg").write_text("this is a text file")
    (folder / "red" / "empty.jpg").touch()
    whole = (folder / "green" / "000.png").read_bytes()
    (folder / "green" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "green" / "gone.png").symlink_to("nowhere.png")
    (folder / "green" / "folder.csv").touch()
    data = read(open_folder_or_csv(folder))
    assert len(data) == 6
    reasons = {picture.name: picture.reason for picture in data.unreadable}
    assert list(reasons) == ["green/cut.png", "green/gone.png", "red/empty.jpg", "red/text.jpg"]
    assert "cut off" in reasons["green/cut.png"]
    assert "no such file" in reasons["green/gone.png"]
    assert "0 bytes" in reasons["red/empty.jpg"]
    assert "not a picture" in reasons["red/text.jpg"]
    assert {picture.label for picture in data.unreadable} == {"green", "red"}


def test_hostile_files_end_as_pictures_or_as_rows(shared: Path) -> None:
    files = sorted((shared / "data" / "hostile").iterdir())
    data = read(from_pairs(files, ["x"] * len(files)))
    assert len(data) + len(data.unreadable) == len(files)
    assert all(picture.reason for picture in data.unreadable)


def test_a_picture_that_vanishes_after_listing_is_unreadable(make_photos: Callable[..., Path]) -> None:
    folder = make_photos(red=2, green=2)
    data = open_folder_or_csv(folder)
    (folder / "red" / "001.png").unlink()
    read_data = read(data)
    assert [(one.name, one.reason) for one in read_data.unreadable] == [("red/001.png", "there is no such file")]


def test_a_picture_that_vanishes_between_decoding_and_hashing(
    make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_photos(red=2, green=2)
    decode = images.load

    def load_and_lose(source: Path, *, name: str) -> images.Picture:
        picture = decode(source, name=name)
        if name == "red/001.png":
            source.unlink()
        return picture

    monkeypatch.setattr(images, "load", load_and_lose)
    data = read(open_folder_or_csv(folder))
    assert [(one.name, one.reason) for one in data.unreadable] == [("red/001.png", "no such file or directory")]


def test_nothing_readable_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "beer").mkdir()
    (tmp_path / "beer" / "a.jpg").write_text("text")
    with pytest.raises(DataError, match=r"1 unreadable, the first: beer/a\.jpg: not a picture"):
        read(open_folder_or_csv(tmp_path))
    with pytest.raises(DataError, match="got no pictures"):
        read(Dataset("nothing", (), ()))


def test_what_was_unreadable_before_stays_listed() -> None:
    data = read(from_pairs([coloured("red", 1), b"no picture", np.zeros((2, 2, 7))], ["a", "b", "c"]))
    assert [picture.label for picture in data.unreadable] == ["b", "c"]
    assert len(data) == 1


def test_copies_are_found_by_content_and_by_looks(make_photos: Callable[..., Path]) -> None:
    folder = make_photos(red=3, green=3)
    (folder / "red" / "copy.png").write_bytes((folder / "green" / "001.png").read_bytes())
    with Image.open(folder / "red" / "002.png") as picture:
        picture.save(folder / "red" / "again.bmp")
    data = read(open_folder_or_csv(folder))
    pairs = {tuple(sorted((data.samples[i].name, data.samples[j].name))) for i, j in data.copies}
    assert pairs == {("green/001.png", "red/copy.png"), ("red/002.png", "red/again.bmp")}


def test_progress_reaches_the_end(make_photos: Callable[..., Path]) -> None:
    seen: list[Event] = []
    read(open_folder_or_csv(make_photos(red=3, green=3)), seen.append)
    assert seen[-1] == Progress("reading pictures", 6, 6)


@pytest.mark.parametrize("small", [0, 1 << 16])
def test_small_arrays_are_read_alike_with_threads_and_without(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape, np.uint8) for shape in [(32, 32, 3), (28, 28), (40, 20, 3)] * 5]
    arrays[4] = np.zeros((3, 3, 7), np.uint8)
    events: list[Event] = []
    monkeypatch.setattr(dataset.reading, "_SMALL", small)
    pools: list[int] = []
    pool = dataset.reading.ThreadPoolExecutor
    monkeypatch.setattr(dataset.reading, "ThreadPoolExecutor", lambda n: pools.append(n) or pool(n))
    data = read(from_pairs(arrays, ["a"] * 15), events.append)
    assert bool(pools) == (small == 0)
    assert [one.name for one in data.unreadable] == ["pictures/00004"]
    good = [array for array in arrays if array.shape != (3, 3, 7)]
    assert [sample.content for sample in data.samples] == [content_hash(array) for array in good]
    assert data.sizes is not None
    assert data.sizes.tolist() == [list(array.shape[:2]) for array in good]
    assert data.thumbnails is not None
    for array, thumbnail in zip(good, data.thumbnails, strict=True):
        whole = Image.fromarray(images.load(array))
        np.testing.assert_array_equal(thumbnail, np.asarray(whole.resize((16, 16), Image.Resampling.BOX)))
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(1, 16))


class TestFingerprint:
    def test_same_contents_and_labels_whatever_names_and_order(self, make_photos: Callable[..., Path]) -> None:
        folder = make_photos(red=3, green=3)
        first = read(open_folder_or_csv(folder))
        (folder / "red" / "000.png").rename(folder / "red" / "zzz.png")
        (folder / "green" / "deep").mkdir()
        (folder / "green" / "001.png").rename(folder / "green" / "deep" / "001.png")
        assert read(open_folder_or_csv(folder)).fingerprint == first.fingerprint
        assert replace(first, samples=first.samples[::-1]).fingerprint == first.fingerprint

    def test_another_label_content_or_number_changes_it(self) -> None:
        a, b, c = Sample("", Path(), "x", content="1"), Sample("", Path(), "x", content="2"), Sample("", Path(), "y")
        c = replace(c, content="2")
        fingerprints = {Dataset("", s, ("x", "y")).fingerprint for s in [(a,), (a, a), (a, b), (a, c), (b,), ()]}
        assert len(fingerprints) == 6

    def test_labels_need_not_be_valid_text(self) -> None:
        assert Dataset("", (Sample("", Path(), "\udcff", content="1"),), ("\udcff",)).fingerprint


class TestContentHash:
    def test_of_a_file_is_its_sha256(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        assert content_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()

    def test_of_arrays_tells_shape_type_and_values_but_not_layout(self) -> None:
        array = np.arange(12, dtype=np.uint8).reshape(3, 4)
        others = [array.reshape(4, 3), array.astype(np.int8), array + 1]
        assert len({content_hash(one) for one in [array, *others]}) == 4
        assert content_hash(np.asfortranarray(array)) == content_hash(array)


class TestInParallel:
    def test_results_come_in_order(self) -> None:
        assert list(in_parallel(lambda x: x * x, range(100), "", ignore)) == [x * x for x in range(100)]
        assert list(in_parallel(str, [], "", ignore)) == []

    def test_only_a_few_wait_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dataset.reading.os, "cpu_count", lambda: 2)
        started: list[int] = []
        results = in_parallel(started.append, range(1000), "", ignore)
        next(results)
        assert len(started) <= 13  # 4 for each of 3 workers, and 1 in the place of the first
        results.close()  # type: ignore[attr-defined]

    def test_an_error_stops_it_and_no_thread_stays(self) -> None:
        before = threading.active_count()
        with pytest.raises(ZeroDivisionError):
            list(in_parallel(lambda x: 1 // (50 - x), range(1000), "", ignore))
        assert threading.active_count() <= before
