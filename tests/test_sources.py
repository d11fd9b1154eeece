"""Sources: a folder, a CSV, or a data set by name: the embedded digits, and published ones, fetched or there."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import re
import socket
import struct
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, serving
from numpy.typing import NDArray

from whatsit import downloads
from whatsit.dataset import SPLITS, read
from whatsit.errors import DataError, MissingExtraError, OutputError
from whatsit.events import Event, Progress
from whatsit.sources import NAMED, files, open_data
from whatsit.sources.files import Archive
from whatsit.sources.photos import sample_photos
from whatsit.sources.published import PUBLISHED


def test_digits_are_the_whole_set_as_pictures() -> None:
    pytest.importorskip("sklearn")
    data = open_data("digits")
    assert (data.name, len(data), data.classes) == ("digits", 1797, tuple("0123456789"))
    assert data.samples[0].name == "digits/0000"
    assert data.samples[0].label == "0"
    picture = data.samples[0].source
    assert isinstance(picture, np.ndarray)
    assert (picture.shape, picture.dtype, picture.max()) == ((8, 8), np.uint8, 239)
    assert max(int(np.asarray(sample.source).max()) for sample in data.samples) == 255


def test_digits_keep_their_fingerprint() -> None:
    pytest.importorskip("sklearn")
    assert read(open_data("digits")).fingerprint.startswith("b2b330c2a5bb3eaa231529d42beb3846")


def test_classes_can_be_ordered() -> None:
    pytest.importorskip("sklearn")
    assert open_data("digits", list("9876543210")).classes == tuple("9876543210")


def test_without_scikit_learn_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'whatsit\[train\]'"):
        open_data("digits")


def test_a_folder_or_csv_by_text_or_path(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_photos(red=2, green=2)
    (tmp_path / "x.csv").write_text("path,label\nphotos/red/000.png,a\n")
    assert len(open_data(folder)) == len(open_data(str(folder))) == 4
    assert len(open_data(tmp_path / "x.csv")) == 1
    assert open_data(folder, ["red", "green"]).classes == ("red", "green")


def test_a_folder_called_digits_comes_first(make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_photos("digits", red=2, green=2)
    monkeypatch.chdir(folder.parent)
    assert open_data("digits").classes == ("green", "red")


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(DataError) as caught:
        open_data("digit")
    assert caught.value.hint == "Did you mean 'digits'?"


def test_what_is_wrong_with_a_folder_keeps_its_own_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "data_batch_1.bin").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_data("cifar10")
    assert "one folder per class" in caught.value.hint
    assert "with its files in that folder: --data-dir cifar10" in caught.value.hint


def test_no_name_is_not_the_current_folder(make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_photos(red=2, green=2))
    assert len(open_data(".")) == 4
    with pytest.raises(DataError, match="without a name"):
        open_data("")


def test_every_name_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data_sets.md").read_text("utf-8")
    assert [name for name in NAMED if f"| `{name}` |" not in page] == []


# ---- published data sets, small ones of the true form


def record(labels: list[int], colour: tuple[int, int, int]) -> bytes:
    """One picture of one colour, but for a white pixel in row 1, column 2."""
    planes = np.repeat(np.array(colour, np.uint8), 1024).reshape(3, 32, 32)
    planes[:, 1, 2] = 255
    return bytes(labels) + planes.tobytes()


def idx(values: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def cifar10_files() -> dict[str, bytes]:
    """Two pictures in each file: of the file's own number as class and blue, and a black truck."""
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    return {name: record([i], (10, 20, i)) + record([9], (0, 0, 0)) for i, name in enumerate(names)}


def cifar100_files() -> dict[str, bytes]:
    """Seven pictures to learn from and two for testing, of coarse class 4 and fine classes 93 to 99, and 0 and 1."""
    return {
        "train.bin": b"".join(record([4, 93 + i], (i, 20, 30)) for i in range(7)),
        "test.bin": b"".join(record([4, i], (i, 20, 30)) for i in range(2)),
    }


def idx_files() -> dict[str, bytes]:
    """Seven pictures to learn from and two for testing, of classes 3 to 9, and 0 and 1, black but for one pixel."""
    pictures = np.zeros((9, 28, 28), np.uint8)
    pictures[:, 5, 20] = 100 + np.arange(9)
    labels = np.array([3, 4, 5, 6, 7, 8, 9, 0, 1], np.uint8)
    return {
        "train-images-idx3-ubyte": idx(pictures[:7]),
        "train-labels-idx1-ubyte": idx(labels[:7]),
        "t10k-images-idx3-ubyte": idx(pictures[7:]),
        "t10k-labels-idx1-ubyte": idx(labels[7:]),
    }


def tarred(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {"readme.html": b"hello", **files}.items():
            facts = tarfile.TarInfo(f"{folder}/{name}")
            facts.size = len(content)
            tar.addfile(facts, io.BytesIO(content))
    return buffer.getvalue()


FILES = {"cifar10": cifar10_files(), "cifar100": cifar100_files(), "mnist": idx_files(), "fashion_mnist": idx_files()}
ARCHIVES = {
    "cifar10": {"cifar-10-binary.tar.gz": tarred("cifar-10-batches-bin", FILES["cifar10"])},
    "cifar100": {"cifar-100-binary.tar.gz": tarred("cifar-100-binary", FILES["cifar100"])},
    "mnist": {f"{name}.gz": gzip.compress(content) for name, content in FILES["mnist"].items()},
    "fashion_mnist": {f"{name}.gz": gzip.compress(content) for name, content in FILES["fashion_mnist"].items()},
}
PUBLISHED_SETS = list(FILES)
ARCHIVE = "cifar-10-binary.tar.gz"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The four sets on a server of our own, under their names, and checksums to fit; every pause is short."""
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    with serving({f"/{name}/{file}": data for name in FILES for file, data in ARCHIVES[name].items()}) as running:
        for name, described in PUBLISHED.items():
            small = replace(
                described,
                homes=(f"{running.address}/{name}/",),
                archives=tuple(with_own_checksums(name, archive) for archive in described.archives),
                parts=tuple(replace(part, pictures=pictures(name, part.split)) for part in described.parts),
            )
            monkeypatch.setitem(PUBLISHED, name, small)
        yield running


def pictures(name: str, split: str) -> int:
    return 2 if name == "cifar10" or split == "test" else 7


def with_own_checksums(name: str, archive: Archive) -> Archive:
    members = {member: known and md5(FILES[name][member]) for member, known in archive.members.items()}
    return replace(archive, md5=md5(ARCHIVES[name][archive.name]), members=members)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fetched files go."""
    monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def unpack(name: str, folder: Path, only: int | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in list(FILES[name].items())[:only]:
        (folder / file).write_bytes(content)
    return folder


def refused(name: str = "cifar10", data_dir: Path | None = None, offline: bool = False) -> DataError:
    with pytest.raises(DataError) as caught:
        open_data(name, data_dir=data_dir, offline=offline)
    return caught.value


def test_the_table_names_what_the_authors_published() -> None:
    for name, n, classes in (("cifar10", 50_000, 10), ("cifar100", 50_000, 100), ("mnist", 60_000, 10)):
        described = PUBLISHED[name]
        counts = {split: sum(part.pictures for part in described.parts if part.split == split) for split in SPLITS}
        assert counts == {"train": n, "validation": 0, "test": 10_000}
        assert len(described.classes) == classes
        assert list(described.classes) == sorted(described.classes)
    sums = [archive.md5 for described in PUBLISHED.values() for archive in described.archives]
    assert len(set(sums)) == 10
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in sums)
    assert not any("/" in label for described in PUBLISHED.values() for label in described.classes)


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_a_published_set_is_fetched_once_and_read_from_what_came(name: str, server: FileServer, place: Path) -> None:
    events: list[Event] = []
    first = open_data(name, on_event=events.append)
    assert sorted(path.name for path in (place / name).iterdir()) == sorted(ARCHIVES[name])
    assert {event.stage for event in events if isinstance(event, Progress)} == {
        f"fetching {file} (kB)" for file in ARCHIVES[name]
    }
    asked = list(server.seen)
    again = open_data(name)
    assert server.seen == asked
    assert [sample.name for sample in again.samples] == [sample.name for sample in first.samples]
    assert read(again).fingerprint == read(first).fingerprint
    assert len({sample.name for sample in first.samples}) == len(first)


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_a_set_unpacked_by_hand_is_the_same(name: str, server: FileServer, place: Path, tmp_path: Path) -> None:
    fetched = open_data(name)
    for folder in (tmp_path / "by hand", tmp_path / "in a folder" / PUBLISHED[name].folder):
        unpacked = open_data(name, data_dir=unpack(name, folder))
        assert [(s.name, s.label, s.split) for s in unpacked.samples] == [
            (s.name, s.label, s.split) for s in fetched.samples
        ]
        assert read(unpacked).fingerprint == read(fetched).fingerprint
    if PUBLISHED[name].folder:
        assert len(open_data(name, data_dir=tmp_path / "in a folder")) == len(fetched)


def test_cifar10_is_read_from_its_binary_files(server: FileServer, tmp_path: Path) -> None:
    data = open_data("cifar10", data_dir=unpack("cifar10", tmp_path))
    assert data.classes[:2] + data.classes[-1:] == ("airplane", "automobile", "truck")
    assert [len(data.part(split)) for split in SPLITS] == [10, 0, 2]
    assert data.given_splits == {"train", "test"}
    first, last = data.samples[2], data.samples[-1]
    assert (first.name, first.label) == ("cifar10/data_batch_2/0000", "automobile")
    assert (last.name, last.label, last.split) == ("cifar10/test_batch/0001", "truck", "test")
    picture = np.asarray(first.source)
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert tuple(picture[0, 0]) == (10, 20, 1)
    assert tuple(picture[1, 2]) == (255, 255, 255)
    assert tuple(picture[2, 1]) == (10, 20, 1)


def test_cifar100_has_the_fine_classes(server: FileServer, place: Path) -> None:
    data = open_data("cifar100")
    assert [len(data.part(split)) for split in SPLITS] == [7, 0, 2]
    assert [sample.label for sample in data.samples][:2] == ["turtle", "wardrobe"]
    assert [sample.label for sample in data.samples][6:] == ["worm", "apple", "aquarium_fish"]
    assert [data.samples[i].name for i in (1, 8)] == ["cifar100/train/0001", "cifar100/test/0001"]
    picture = np.asarray(data.samples[1].source)
    assert tuple(picture[0, 0]) == (1, 20, 30)
    assert tuple(picture[1, 2]) == (255, 255, 255)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_pictures_of_mnist_and_its_like_are_grey(name: str, server: FileServer, place: Path) -> None:
    data = open_data(name)
    assert [len(data.part(split)) for split in SPLITS] == [7, 0, 2]
    labels = [sample.label for sample in data.samples]
    assert labels[:1] + labels[-2:] == (["3", "0", "1"] if name == "mnist" else ["Dress", "T-shirt or top", "Trouser"])
    picture = np.asarray(data.samples[2].source)
    assert (picture.shape, picture.dtype, picture[5, 20], picture.sum()) == ((28, 28), np.uint8, 102, 102)
    shown = data.picture(data.samples[2])
    assert shown.shape == (28, 28, 3)
    assert tuple(shown[5, 20]) == (102, 102, 102)
    assert read(data).grey


def test_a_published_set_keeps_its_order_of_classes_unless_another_is_wished(server: FileServer, place: Path) -> None:
    assert open_data("fashion_mnist").classes[:2] == ("T-shirt or top", "Trouser")
    found = sorted({sample.label for sample in open_data("cifar10").samples}, reverse=True)
    assert open_data("cifar10", found).classes == tuple(found)


def test_a_small_share_is_carved_for_validation(server: FileServer, place: Path) -> None:
    for name in PUBLISHED_SETS:
        data = read(open_data(name))
        assert data.share == data.part("train").share == 0.04


# ---- where the files lie


def test_fetched_files_go_to_the_cache_unless_told_otherwise(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHATSIT_DATA", raising=False)
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path))
    open_data("cifar10")
    assert (tmp_path / "data" / "cifar10" / ARCHIVE).is_file()


def test_cifar10_is_found_through_the_environment(server: FileServer, place: Path) -> None:
    unpack("cifar10", place / "cifar10")
    assert len(open_data("cifar10")) == 12
    assert server.seen == []


def test_missing_files_of_cifar10_are_named(server: FileServer, tmp_path: Path) -> None:
    unpack("cifar10", tmp_path / "some")
    (tmp_path / "some" / "data_batch_3.bin").unlink()
    error = refused(data_dir=tmp_path / "some")
    assert error.value == "no data_batch_3.bin"
    assert "test_batch.bin" in error.accepted
    assert ARCHIVE in error.accepted
    assert f"Fetch {ARCHIVE} from {server.address}/cifar10/" in error.hint
    with pytest.raises(DataError, match=r"no data_batch_1.bin, nor 5 others"):
        open_data("cifar10", data_dir=tmp_path / "nowhere")
    assert server.seen == []


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_offline_nothing_is_asked_and_the_way_out_is_said(name: str, server: FileServer, place: Path) -> None:
    error = refused(name, offline=True)
    assert server.seen == []
    for file in ARCHIVES[name]:
        assert file in error.hint
    assert str(place / name) in error.hint
    assert "--data-dir" in error.hint
    assert not place.exists()


@pytest.mark.parametrize(("value", "asked"), [("1", False), ("true", False), ("0", True), ("", True)])
def test_the_variable_forbids_fetching_too(
    value: str, asked: bool, server: FileServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_OFFLINE", value)
    if asked:
        assert len(open_data("mnist")) == 9
    else:
        refused("mnist")
    assert bool(server.seen) is asked


def test_offline_what_was_fetched_before_is_there(server: FileServer, place: Path) -> None:
    open_data("mnist")
    server.behaviours = ["404"]
    assert len(open_data("mnist", offline=True)) == 9


def test_only_what_is_missing_is_fetched(server: FileServer, place: Path) -> None:
    unpack("mnist", place / "mnist", only=2)
    assert len(open_data("mnist")) == 9
    assert server.seen == ["GET /mnist/t10k-images-idx3-ubyte.gz", "GET /mnist/t10k-labels-idx1-ubyte.gz"]


def test_half_a_set_unpacked_by_hand_does_not_hide_the_archive(server: FileServer, place: Path) -> None:
    unpack("cifar10", place / "cifar10", only=3)
    assert len(open_data("cifar10")) == 12
    assert server.seen == [f"GET /cifar10/{ARCHIVE}"]


# ---- the network


def test_what_the_first_home_does_not_have_comes_from_the_second(server: FileServer, place: Path) -> None:
    mnist = PUBLISHED["mnist"]
    PUBLISHED["mnist"] = replace(mnist, homes=(f"{server.address}/gone/", *mnist.homes))
    assert len(open_data("mnist")) == 9
    assert server.seen == [
        "GET /gone/train-images-idx3-ubyte.gz",
        *(f"GET /mnist/{file}" for file in ARCHIVES["mnist"]),
    ]


def test_what_the_first_home_sends_wrong_comes_from_the_second(server: FileServer, place: Path) -> None:
    server.files[f"/wrong/{ARCHIVE}"] = b"<html>We have moved</html>"
    cifar10 = PUBLISHED["cifar10"]
    PUBLISHED["cifar10"] = replace(cifar10, homes=(f"{server.address}/wrong/", *cifar10.homes))
    assert len(open_data("cifar10")) == 12


def test_a_transfer_that_breaks_off_goes_on_within_a_call_and_in_the_next(server: FileServer, place: Path) -> None:
    server.behaviours = ["breaks off", "well"]
    open_data("cifar10")
    size = len(ARCHIVES["cifar10"][ARCHIVE])
    assert server.seen == [f"GET /cifar10/{ARCHIVE}", f"GET /cifar10/{ARCHIVE} bytes={size // 2}-"]
    server.behaviours = ["breaks off", "404", "well"]
    assert refused("cifar100").value == "HTTP 404 Not Found (2 attempts)"
    assert len(open_data("cifar100")) == 9
    assert re.fullmatch(r"GET /cifar100/\S+ bytes=\d+-", server.seen[-1])
    assert len(list((place / "cifar100").iterdir())) == 1


def test_an_interrupted_transfer_goes_on_in_the_next_call(server: FileServer, place: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_data("cifar10", on_event=interrupt)
    (part,) = (place / "cifar10").iterdir()
    part.write_bytes(part.read_bytes()[:77])
    assert len(open_data("cifar10")) == 12
    assert server.seen[-1] == f"GET /cifar10/{ARCHIVE} bytes=77-"


def test_a_corrupted_transfer_is_refused_and_nothing_is_kept(server: FileServer, place: Path) -> None:
    server.behaviours = ["corrupt", "well"]
    error = refused()
    assert "cannot trust" in error.what
    assert list((place / "cifar10").iterdir()) == []
    assert len(open_data("cifar10")) == 12


def test_without_a_network_the_line_says_what_to_put_where(place: Path, server: FileServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    PUBLISHED["mnist"] = replace(PUBLISHED["mnist"], homes=(nobody, nobody))
    error = refused("mnist")
    assert error.value == "connection refused"
    assert "train-images-idx3-ubyte.gz" in error.hint
    assert str(place / "mnist") in error.hint
    assert "--data-dir" in error.hint


def test_where_nothing_can_be_written_nothing_is_asked(
    server: FileServer, unprivileged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_DATA", str(unprivileged))
    unprivileged.chmod(0o500)
    with pytest.raises(OutputError) as caught:
        open_data("cifar10")
    unprivileged.chmod(0o700)
    assert server.seen == []
    assert "WHATSIT_DATA" in caught.value.hint
    assert "--data-dir" in caught.value.hint
    assert "--out" not in caught.value.hint


def test_a_read_only_folder_that_has_the_files_will_do(
    server: FileServer, unprivileged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_DATA", str(unprivileged))
    unpack("cifar10", unprivileged / "cifar10").chmod(0o500)
    assert len(open_data("cifar10")) == 12
    (unprivileged / "cifar10").chmod(0o700)


def test_a_full_disk_is_said(server: FileServer, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left on device") as caught:
        open_data("cifar10")
    assert "WHATSIT_DATA" in caught.value.hint
    assert list((place / "cifar10").iterdir()) == []


def test_several_at_once_do_not_disturb_each_other(server: FileServer, place: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [len(data) for data in pool.map(lambda _: open_data("mnist"), range(4))] == [9] * 4
    assert sorted(path.name for path in (place / "mnist").iterdir()) == sorted(ARCHIVES["mnist"])


# ---- damaged files


def test_a_damaged_file_of_cifar10_is_refused(server: FileServer, tmp_path: Path) -> None:
    path = unpack("cifar10", tmp_path) / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    error = refused(data_dir=tmp_path)
    assert error.what == f"cannot use '{path}'"
    assert error.value == f"MD5 {md5(path.read_bytes())}"
    assert md5(FILES["cifar10"]["test_batch.bin"]) in error.accepted
    assert "Copy it again" in error.hint


def test_a_damaged_archive_is_neither_used_nor_deleted(server: FileServer, place: Path) -> None:
    open_data("cifar10")
    path = place / "cifar10" / ARCHIVE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    error = refused()
    assert error.value == f"MD5 {md5(path.read_bytes())}"
    assert error.hint == "Delete it, and it is fetched again."
    assert path.exists()
    path.unlink()
    assert len(open_data("cifar10")) == 12


@pytest.mark.parametrize(("name", "length"), [("cifar10", 60), ("cifar100", 300), ("mnist", 30), ("mnist", 0)])
def test_an_archive_that_was_cut_off_is_refused(name: str, length: int, server: FileServer, tmp_path: Path) -> None:
    """With the right checksum, so that it is opened."""
    for file, content in ARCHIVES[name].items():
        (tmp_path / file).write_bytes(content[:length])
    cut = tuple(replace(a, md5=md5(ARCHIVES[name][a.name][:length])) for a in PUBLISHED[name].archives)
    PUBLISHED[name] = replace(PUBLISHED[name], archives=cut)
    assert "cannot use" in refused(name, data_dir=tmp_path).what


def test_an_archive_without_its_files_is_refused(server: FileServer, tmp_path: Path) -> None:
    other = tarred("cifar-100-binary", {"train.bin": FILES["cifar100"]["train.bin"]})
    (tmp_path / "cifar-100-binary.tar.gz").write_bytes(other)
    described = PUBLISHED["cifar100"]
    PUBLISHED["cifar100"] = replace(described, archives=(replace(described.archives[0], md5=md5(other)),))
    assert refused("cifar100", data_dir=tmp_path).value == "no test.bin in it"


def test_an_archive_that_swells_is_refused(server: FileServer, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LARGEST", 5000)
    assert refused().value == "more than 5,000 bytes"
    assert refused("mnist").value == "more than 5,000 bytes"


@pytest.mark.parametrize(
    ("name", "file", "content", "reason"),
    [
        ("cifar100", "test.bin", FILES["cifar100"]["test.bin"][:-1], "6,147 bytes, no multiple of 3,074"),
        ("cifar100", "test.bin", FILES["cifar100"]["train.bin"], "7 pictures"),
        ("cifar100", "test.bin", record([0, 100], (0, 0, 0)) * 2, "the label 100"),
        ("cifar100", "test.bin", b"", "0 pictures"),
        ("mnist", "t10k-images-idx3-ubyte", b"", "a file that begins with nothing"),
        ("mnist", "t10k-images-idx3-ubyte", b"\x1f\x8b\x08\x08" * 9, "a file that begins with 1f 8b 08 08"),
        (
            "mnist",
            "t10k-images-idx3-ubyte",
            FILES["mnist"]["t10k-images-idx3-ubyte"][:-1],
            "1,567 values for 2 x 28 x 28",
        ),
        ("mnist", "t10k-labels-idx1-ubyte", idx(np.array([1, 10], np.uint8)), "the label 10"),
        ("mnist", "t10k-labels-idx1-ubyte", idx(np.array([1], np.uint8)), "1 labels"),
    ],
)
def test_a_file_of_another_form_is_refused(
    name: str, file: str, content: bytes, reason: str, server: FileServer, tmp_path: Path
) -> None:
    (unpack(name, tmp_path) / file).write_bytes(content)
    error = refused(name, data_dir=tmp_path)
    assert error.value == reason
    assert error.what == f"cannot use '{tmp_path / file}'"


def test_a_folder_of_data_goes_with_names_only(make_photos: Callable[..., Path]) -> None:
    photos = make_photos(red=2, green=2)
    with pytest.raises(DataError, match="leave --data-dir out"):
        open_data(photos, data_dir=photos)
    with pytest.raises(DataError, match="Did you mean 'cifar10'"):
        open_data("cifar-10", data_dir=photos)


def test_the_sample_photos_are_two() -> None:
    pytest.importorskip("sklearn")
    photos = sample_photos()
    assert {name: photo.shape for name, photo in photos.items()} == {
        "china.jpg": (427, 640, 3),
        "flower.jpg": (427, 640, 3),
    }
