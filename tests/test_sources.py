"""Sources: a folder, a CSV, or the embedded digits by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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
