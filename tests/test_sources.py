"""Sources: a folder, a CSV, or a data set by name: the embedded digits, and CIFAR-10 from local files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whatsit import sources
from whatsit.dataset import read
from whatsit.errors import DataError, MissingExtraError
from whatsit.sources import NAMED, open_data


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
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_data("digits")
    assert "one folder per class" in caught.value.hint


def test_no_name_is_not_the_current_folder(make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_photos(red=2, green=2))
    assert len(open_data(".")) == 4
    with pytest.raises(DataError, match="without a name"):
        open_data("")


def test_every_name_is_documented() -> None:
    assert all(loader.__doc__ for loader in NAMED.values())


# ---- CIFAR-10 from its official binary files


def record(label: int, colour: tuple[int, int, int]) -> bytes:
    """One picture of one colour, but for a white pixel in row 1, column 2."""
    planes = np.repeat(np.array(colour, np.uint8), 1024).reshape(3, 32, 32)
    planes[:, 1, 2] = 255
    return bytes([label]) + planes.tobytes()


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The six files with two pictures each, and their own checksums in place of the official ones."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    sums = {}
    for number, name in enumerate(sources._CIFAR10_MD5):
        content = record(number, (10, 20, number)) + record(9, (0, 0, 0))
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(sources, "_CIFAR10_MD5", sums)
    return tmp_path


def test_cifar10_is_read_from_its_binary_files(small_cifar10: Path) -> None:
    for place in (small_cifar10, small_cifar10 / "cifar-10-batches-bin"):
        data = open_data("cifar10", data_dir=place)
        assert data.classes[:2] + data.classes[-1:] == ("airplane", "automobile", "truck")
        assert [len(data.part(split)) for split in ("train", "validation", "test")] == [10, 0, 2]
        assert data.given_splits == {"train", "test"}
    first, last = data.samples[2], data.samples[-1]
    assert (first.name, first.label) == ("cifar10/data_batch_2/0000", "automobile")
    assert (last.name, last.label, last.split) == ("cifar10/test_batch/0001", "truck", "test")
    picture = np.asarray(first.source)
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert tuple(picture[0, 0]) == (10, 20, 1)
    assert tuple(picture[1, 2]) == (255, 255, 255)
    assert tuple(picture[2, 1]) == (10, 20, 1)


def test_cifar10_is_found_through_the_environment(small_cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_cifar10 / "cifar-10-batches-bin").rename(small_cifar10 / "cifar10")
    monkeypatch.setenv("WHATSIT_DATA", str(small_cifar10))
    assert len(open_data("cifar10")) == 12


def test_missing_files_of_cifar10_are_named(small_cifar10: Path) -> None:
    (small_cifar10 / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError) as caught:
        open_data("cifar10", data_dir=small_cifar10 / "cifar-10-batches-bin")
    assert caught.value.value == "no data_batch_3.bin"
    assert "test_batch.bin" in caught.value.accepted
    assert "cifar-10-binary.tar.gz" in caught.value.hint
    with pytest.raises(DataError, match=r"no data_batch_1.bin, nor 5 others"):
        open_data("cifar10", data_dir=small_cifar10 / "nowhere")


def test_a_damaged_file_of_cifar10_is_refused(small_cifar10: Path) -> None:
    path = small_cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="MD5"):
        open_data("cifar10", data_dir=small_cifar10)


def test_a_folder_of_data_goes_with_names_only(make_photos: Callable[..., Path]) -> None:
    photos = make_photos(red=2, green=2)
    with pytest.raises(DataError, match="leave --data-dir out"):
        open_data(photos, data_dir=photos)
    with pytest.raises(DataError, match="Did you mean 'cifar10'"):
        open_data("cifar-10", data_dir=photos)


def test_the_sample_photos_are_two() -> None:
    pytest.importorskip("sklearn")
    photos = sources.sample_photos()
    assert {name: photo.shape for name, photo in photos.items()} == {
        "china.jpg": (427, 640, 3),
        "flower.jpg": (427, 640, 3),
    }
