"""Layouts: what a person laid out is recognised without flags, and whatever is left out is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whatsit.dataset import Dataset, from_pairs, open_folder_or_csv
from whatsit.dataset.layouts import files_below, is_hidden, visible_folders, with_classes
from whatsit.errors import DataError


def lay(root: Path, *names: str) -> Path:
    """Empty files; a name that ends in a slash is an empty folder."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def labels(dataset: Dataset) -> dict[str, str]:
    return {sample.name: sample.label for sample in dataset.samples}


def splits(dataset: Dataset) -> dict[str, str | None]:
    return {sample.name: sample.split for sample in dataset.samples}


def refusal(path: Path, classes: list[str] | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        open_folder_or_csv(path, classes)
    error = caught.value
    assert all(str(part).strip() for part in (error.what, error.value, error.accepted, error.hint))
    return error


class TestClassFolders:
    def test_each_folder_is_a_class_and_subfolders_belong_to_it(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "wings/a.jpg", "beer/b.PNG", "beer/day 1/deep/c.jpeg"))
        assert labels(data) == {"wings/a.jpg": "wings", "beer/b.PNG": "beer", "beer/day 1/deep/c.jpeg": "beer"}
        assert data.classes == ("beer", "wings")
        assert data.given_splits == frozenset()
        assert data.name == tmp_path.name

    def test_order_does_not_depend_on_the_file_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lay(tmp_path, "b/2.jpg", "b/1.jpg", "b/sub/0.jpg", "a/9.jpg")
        before = [sample.name for sample in open_folder_or_csv(tmp_path).samples]
        monkeypatch.setattr(os, "scandir", reversed_scandir(os.scandir))
        assert [sample.name for sample in open_folder_or_csv(tmp_path).samples] == before
        assert before == ["a/9.jpg", "b/1.jpg", "b/2.jpg", "b/sub/0.jpg"]

    def test_litter_is_neither_a_class_nor_a_picture(self, tmp_path: Path) -> None:
        litter = ["Thumbs.db", ".DS_Store", ".ipynb_checkpoints/x.jpg", "__MACOSX/beer/x.jpg", "desktop.ini"]
        litter += ["lost+found/x.jpg", ".git/x.jpg", "@eaDir/x.jpg"]
        lay(tmp_path, "beer/a.jpg", "wings/b.jpg", *litter, *(f"beer/{name}" for name in litter), "beer/._a.jpg")
        data = open_folder_or_csv(tmp_path)
        assert list(labels(data)) == ["beer/a.jpg", "wings/b.jpg"]
        assert (data.ignored, data.empty) == ((), ())

    def test_files_that_are_no_pictures_by_name_are_listed(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "beer/a.jpg", "beer/notes.txt", "wings/b.jpg", "README.md"))
        assert data.ignored == ("beer/notes.txt",)

    def test_pictures_outside_class_folders_are_listed(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "beer/a.jpg", "wings/b.jpg", "loose.jpg"))
        assert data.ignored == ("loose.jpg",)

    def test_empty_class_folders_are_listed_and_are_no_classes(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "beer/a.jpg", "wings/b.jpg", "salad/", "soup/notes.txt", "tea/deep/"))
        assert data.classes == ("beer", "wings")
        assert data.empty == ("salad", "soup", "tea")

    def test_vehicles_called_train_and_bus_are_classes(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/a.jpg", "bus/b.jpg", "test/c.jpg"))
        assert data.classes == ("bus", "test", "train")
        assert data.given_splits == frozenset()

    def test_the_same_class_however_its_accent_is_composed(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/cafe\u0301/a.jpg", "test/caf\u00e9/b.jpg", "train/x/c.jpg"))
        assert data.classes == ("caf\u00e9", "x")
        assert "train/cafe\u0301/a.jpg" in labels(data)  # a file keeps the name it has

    def test_names_that_are_no_text_can_be_printed_and_opened(self, tmp_path: Path) -> None:
        lay(tmp_path, "beer/a.jpg")
        try:
            folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
            os.mkdir(folder)
            with open(os.path.join(folder, b"\xff.jpg"), "wb"):
                pass
        except OSError:
            pytest.skip("this file system takes no such names")
        data = open_folder_or_csv(tmp_path)
        assert data.classes == ("beer", "caf\\udce9")
        sample = data.samples[1]
        assert sample.name.encode("utf-8") == b"caf\\udce9/\\udcff.jpg"
        assert isinstance(sample.source, Path)
        assert sample.source.exists()

    def test_a_thousand_classes(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, *(f"c{number:03d}/a.jpg" for number in range(1000))))
        assert len(data.classes) == len(data) == 1000

    def test_a_folder_that_may_not_be_read_is_said_not_skipped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lay(tmp_path, "beer/a.jpg", "wings/secret/b.jpg")
        listed = os.scandir

        def scandir(path: Path) -> object:
            if Path(path).name == "secret":
                raise PermissionError(13, "Permission denied", str(path))
            return listed(path)

        monkeypatch.setattr(os, "scandir", scandir)
        error = refusal(tmp_path)
        assert "secret" in error.what
        assert error.value == "permission denied"

    def test_a_folder_without_read_permission(self, unprivileged: Path) -> None:
        lay(unprivileged, "beer/a.jpg", "wings/b.jpg")
        (unprivileged / "wings").chmod(0)
        assert refusal(unprivileged).value == "permission denied"
        (unprivileged / "wings").chmod(0o755)


class TestLinks:
    def test_linked_class_folders_and_linked_subfolders_are_followed(self, tmp_path: Path) -> None:
        lay(tmp_path, "disk/many/a.jpg", "disk/deep/b.jpg", "data/beer/c.jpg")
        (tmp_path / "data" / "wings").symlink_to(tmp_path / "disk" / "many")
        (tmp_path / "data" / "beer" / "more").symlink_to(tmp_path / "disk" / "deep")
        data = open_folder_or_csv(tmp_path / "data")
        assert labels(data) == {"beer/c.jpg": "beer", "beer/more/b.jpg": "beer", "wings/a.jpg": "wings"}

    @pytest.mark.parametrize("target", [".", "..", "../.."])
    def test_a_link_upwards_adds_nothing(self, tmp_path: Path, target: str) -> None:
        lay(tmp_path, "data/beer/a.jpg", "data/wings/b.jpg", "elsewhere/x.jpg")
        (tmp_path / "data" / "beer" / "loop").symlink_to(target)
        data = open_folder_or_csv(tmp_path / "data")
        assert labels(data) == {"beer/a.jpg": "beer", "wings/b.jpg": "wings"}

    def test_a_class_folder_linked_upwards_is_an_empty_class(self, tmp_path: Path) -> None:
        lay(tmp_path, "beer/a.jpg", "wings/b.jpg")
        (tmp_path / "all").symlink_to(".")
        data = open_folder_or_csv(tmp_path)
        assert data.classes == ("beer", "wings")
        assert data.empty == ("all",)

    def test_links_in_a_circle_end(self, tmp_path: Path) -> None:
        lay(tmp_path, "data/beer/a.jpg", "disk/x/b.jpg")
        (tmp_path / "data" / "beer" / "out").symlink_to(tmp_path / "disk")
        (tmp_path / "disk" / "x" / "back").symlink_to(tmp_path / "data" / "beer")
        assert list(labels(open_folder_or_csv(tmp_path / "data"))) == ["beer/a.jpg", "beer/out/x/b.jpg"]

    def test_a_link_to_nothing_stays_listed_so_that_reading_says_it(self, tmp_path: Path) -> None:
        lay(tmp_path, "beer/a.jpg")
        (tmp_path / "beer" / "gone.jpg").symlink_to("nowhere")
        (tmp_path / "beer" / "self.jpg").symlink_to("self.jpg")
        assert list(labels(open_folder_or_csv(tmp_path))) == ["beer/a.jpg", "beer/gone.jpg", "beer/self.jpg"]

    def test_the_data_folder_may_be_a_link_and_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lay(tmp_path, "real/beer/a.jpg", "real/wings/b.jpg", "work/")
        (tmp_path / "work" / "photos").symlink_to("../real")
        monkeypatch.chdir(tmp_path / "work")
        assert len(open_folder_or_csv(Path("photos"))) == 2
        assert len(open_folder_or_csv(Path("../real"))) == 2
        monkeypatch.chdir(tmp_path / "real")
        assert len(open_folder_or_csv(Path("."))) == 2
        assert len(list(files_below(Path("..")))) == 2 + 2  # through work/photos too


class TestSplitFolders:
    def test_every_usual_name_in_any_case(self, tmp_path: Path) -> None:
        for number, name in enumerate(["val", "valid", "validation", "Valid", "VAL"]):
            root = lay(tmp_path / str(number), "Train/beer/a.jpg", f"{name}/beer/b.jpg", "TEST/beer/c.jpg")
            data = open_folder_or_csv(root)
            assert data.given_splits == {"train", "validation", "test"}
            assert sorted(map(str, splits(data).values())) == ["test", "train", "validation"]

    def test_classes_are_matched_by_name_though_missing_here_and_there(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/b/3.jpg", "test/c/4.jpg"))
        assert data.classes == ("a", "b", "c")
        assert [data.classes[index] for index in data.part("validation").targets()] == ["b"]
        assert data.part("test").counts() == {"a": 0, "b": 0, "c": 1}

    def test_only_what_is_there_is_given(self, tmp_path: Path) -> None:
        assert open_folder_or_csv(lay(tmp_path / "1", "train/a/1.jpg")).given_splits == {"train"}
        assert open_folder_or_csv(lay(tmp_path / "2", "train/a/1.jpg", "val/")).given_splits == {"train"}
        assert open_folder_or_csv(lay(tmp_path / "3", "test/a/1.jpg")).given_splits == {"test"}

    def test_an_empty_part_and_empty_classes_are_listed(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/a/1.jpg", "train/soup/", "test/a/", "test/soup/", "val/"))
        assert data.empty == ("val", "soup")  # that a is missing from test, the counts say

    def test_pictures_loose_in_a_part_are_listed(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/a/1.jpg", "train/2.jpg", "test/a/3.jpg", "4.jpg"))
        assert data.ignored == ("4.jpg", "train/2.jpg")

    def test_folders_without_pictures_may_lie_beside_the_parts(self, tmp_path: Path) -> None:
        data = open_folder_or_csv(lay(tmp_path, "train/a/1.jpg", "test/a/2.jpg", "docs/read.me", "empty/"))
        assert data.given_splits == {"train", "test"}

    @pytest.mark.parametrize(
        ("names", "odd"),
        [
            (["train/a/1.jpg", "val/a/2.jpg", "valid/a/3.jpg"], "val, valid"),
            (["train/a/1.jpg", "Train/a/2.jpg"], "Train, train"),
            (["train/a/1.jpg", "more/a/2.jpg"], "train, more"),
            (["train/a/1.jpg", "test/2.jpg"], "train, test"),  # a test part without labels
            (["train/steam/1.jpg", "bus/2.jpg"], "train, bus"),  # a part beside a class, or two classes?
        ],
    )
    def test_what_cannot_be_told_is_refused(self, tmp_path: Path, names: list[str], odd: str) -> None:
        error = refusal(lay(tmp_path, *names))
        assert "cannot tell the parts" in error.what
        assert odd in str(error.value)


class TestNoDataSet:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert "cannot find" in refusal(tmp_path / "photoz").what
        assert "cannot find" in refusal(tmp_path / ("x" * 300)).what

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert refusal(tmp_path).value == "no pictures"
        assert refusal(lay(tmp_path, "beer/", "wings/notes.txt")).value == "no pictures"

    def test_pictures_without_class_folders(self, tmp_path: Path) -> None:
        assert refusal(lay(tmp_path, "a.jpg", "b.JPG")).value == "2 pictures outside class folders"

    def test_a_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        assert refusal(lay(tmp_path, "a.jpg") / "a.jpg").value == "a single file (.jpg)"
        assert refusal(lay(tmp_path, "data") / "data").value == "a single file (no suffix)"


class TestOrderOfClasses:
    def test_as_given(self, tmp_path: Path) -> None:
        lay(tmp_path, "beer/a.jpg", "wings/b.jpg")
        data = open_folder_or_csv(tmp_path, ["wings", " beer "])
        assert data.classes == ("wings", "beer")
        assert data.targets().tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("classes", "hint"),
        [
            (["beer", "wing"], "Did you mean 'wings'?"),
            (["beer", "wings", "xyzzy"], "no pictures of 'xyzzy'"),
            (["wings"], "Add 'beer'"),
            (["beer", "wings", "beer"], "Name 'beer' once"),
            ([], "Add 'beer'"),
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, classes: list[str], hint: str) -> None:
        assert hint in refusal(lay(tmp_path, "beer/a.jpg", "wings/b.jpg"), classes).hint


class TestCsv:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return lay(tmp_path, "p/a.jpg", "p/b.jpg", "p/c, d.jpg", "p/e f.jpg")

    def test_the_whole_of_it(self, folder: Path) -> None:
        data = open_folder_or_csv(
            table(
                folder / "my.csv",
                "path,label,split,group\np/a.jpg,beer,train,g1\np/b.jpg,wings,Valid,\np/e f.jpg,beer,test,g2\n",
            )
        )
        assert data.name == "my"
        assert [(s.name, s.label, s.split, s.group) for s in data.samples] == [
            ("p/a.jpg", "beer", "train", "g1"),
            ("p/b.jpg", "wings", "validation", None),
            ("p/e f.jpg", "beer", "test", "g2"),
        ]
        assert data.given_splits == {"train", "validation", "test"}
        assert all(isinstance(sample.source, Path) and sample.source.exists() for sample in data.samples)

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeffpath,label\np/a.jpg,beer\np/b.jpg,wings\n",
            "path,label\r\np/a.jpg,beer\r\np/b.jpg,wings\r\n",
            "path,label\n\np/a.jpg,beer\n\n\np/b.jpg,wings\n\n,\n",
            "label,path\nbeer,p/a.jpg\nwings,p/b.jpg",
            "Path, LABEL ,note\np/a.jpg, beer ,x\np/b.jpg,wings\n",
            'path,label\n"p/a.jpg","beer"\n"p/b.jpg", "wings"\n',
            "path,label,split,group\np/a.jpg,beer,,\np/b.jpg,wings, ,\n",
            "path,label,,\np/a.jpg,beer,,\np/b.jpg,wings,,,,\n",
        ],
        ids=["BOM", "CRLF", "blank rows", "other order", "spaces", "quotes", "empty split", "empty columns"],
    )
    def test_the_same_two_pictures(self, folder: Path, text: str) -> None:
        data = open_folder_or_csv(table(folder / "x.CSV", text))
        assert labels(data) == {"p/a.jpg": "beer", "p/b.jpg": "wings"}
        assert data.given_splits == frozenset()
        assert {sample.group for sample in data.samples} == {None}

    def test_commas_spaces_and_accents_in_names(self, folder: Path) -> None:
        data = open_folder_or_csv(
            table(folder / "x.csv", 'path,label\n"p/c, d.jpg","cafe\u0301, noir"\np/e f.jpg,a b\n')
        )
        assert labels(data) == {"p/c, d.jpg": "caf\u00e9, noir", "p/e f.jpg": "a b"}

    def test_absolute_paths_and_paths_upwards(self, folder: Path) -> None:
        (folder / "csv").mkdir()
        data = open_folder_or_csv(
            table(folder / "csv" / "x.csv", f"path,label\n{folder}/p/a.jpg,beer\n../p/b.jpg,wings\n")
        )
        assert [Path(str(sample.source)).resolve().name for sample in data.samples] == ["a.jpg", "b.jpg"]

    def test_a_picture_listed_twice_is_two_samples(self, folder: Path) -> None:
        assert len(open_folder_or_csv(table(folder / "x.csv", "path,label\np/a.jpg,beer\np/a.jpg,wings\n"))) == 2

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("", "an empty file"),
            ("\n\n", "an empty file"),
            ("path,label\n", "no rows below"),
            ("path;label\np/a.jpg;beer\n", "the columns path;label"),
            ("file,class\np/a.jpg,beer\n", "the columns file, class"),
            ("p/a.jpg,beer\n", "the columns p/a.jpg, beer"),
            ("path,path,label\np/a.jpg,p/b.jpg,beer\n", "the columns path, path, label"),
            ("path,label\np/a.jpg,\n", "no label in line 2"),
            ("path,label\np/b.jpg,x\n\np/a.jpg\n", "no label in line 4"),
            ("path,label\n,beer\n", "no path in line 2"),
            ("path,label\np/c, d.jpg,beer\n", "too many fields in line 2"),
            ("path,label,split\np/a.jpg,beer,dev\n", "split 'dev' in line 2"),
            ("path,label,split\np/a.jpg,x,train\np/b.jpg,x,\n", "none in others, the first in line 3"),
            ('path,label\n"p/a.jpg,beer\np/b.jpg,wings\n', "unexpected end of data"),
        ],
    )
    def test_odd_files_are_refused_with_the_line(self, folder: Path, text: str, value: str) -> None:
        assert value in str(refusal(table(folder / "x.csv", text)).value)

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_other_encodings_are_refused(self, folder: Path, encoding: str) -> None:
        error = refusal(table(folder / "x.csv", "path,label\np/a.jpg,caf\u00e9\n", encoding))
        assert error.value == "bytes that are not UTF-8"

    def test_missing_files_are_counted_and_the_first_is_named_with_its_line(self, folder: Path) -> None:
        error = refusal(table(folder / "x.csv", "path,label\np/a.jpg,x\n\np/no.jpg,x\np/nor\0this.jpg,x\n"))
        assert error.value == "2 missing, the first in line 4: 'p/no.jpg'"

    def test_a_csv_that_is_a_folder_is_one(self, tmp_path: Path) -> None:
        assert len(open_folder_or_csv(lay(tmp_path / "x.csv", "beer/a.jpg", "wings/b.jpg"))) == 2


class TestPairs:
    def test_arrays_and_paths(self, tmp_path: Path) -> None:
        array = np.zeros((4, 4, 3), np.uint8)
        data = from_pairs([array, str(tmp_path / "a.jpg"), tmp_path / "b.jpg"], ["x", 1, " x "])
        assert [sample.label for sample in data.samples] == ["x", "1", "x"]
        assert [s.name for s in data.samples] == ["pictures/00000", str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
        assert data.samples[0].source is array
        assert data.classes == ("1", "x")

    def test_pil_images_become_the_colours_that_are_seen(self) -> None:
        red = Image.new("RGB", (4, 2), (255, 0, 0)).quantize(8)  # a palette: its numbers are no colours
        turned = Image.new("L", (4, 2), 9)
        turned.getexif()[0x0112] = 6
        data = from_pairs([red, turned], ["a", "b"])
        first, second = (np.asarray(sample.source) for sample in data.samples)
        assert first.tolist() == [[[255, 0, 0]] * 4] * 2
        assert second.shape == (4, 2, 3)

    def test_what_is_no_picture_is_unreadable_with_its_reason(self) -> None:
        data = from_pairs([np.zeros((4, 4), np.uint8), b"not a picture", 7], ["a", "b", "c"])
        assert [(picture.name, picture.label) for picture in data.unreadable] == [
            ("pictures/00001", "b"),
            ("pictures/00002", "c"),
        ]
        assert "int" in data.unreadable[1].reason
        assert data.classes == ("a", "b", "c")

    @pytest.mark.parametrize(("x", "y"), [([1, 2], ["a"]), ([], [])])
    def test_lengths_must_agree(self, x: list[int], y: list[str]) -> None:
        with pytest.raises(DataError, match=f"got {len(x)} pictures and {len(y)} labels"):
            from_pairs(x, y)


def test_with_classes_keeps_a_class_whose_pictures_are_all_unreadable() -> None:
    data = from_pairs([np.zeros((4, 4), np.uint8), b""], ["a", "b"])
    assert with_classes(data, ["b", "a"]).classes == ("b", "a")


def test_hidden_names() -> None:
    assert all(map(is_hidden, [".x", "THUMBS.DB", "__MACOSX", "$RECYCLE.BIN"]))
    assert not any(map(is_hidden, ["x", "_x", "thumbs", "train"]))


def test_visible_folders_are_sorted(tmp_path: Path) -> None:
    lay(tmp_path, "b/", "a/", ".c/", "d.jpg")
    assert visible_folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]


def reversed_scandir(scandir):  # type: ignore[no-untyped-def]
    class Reversed:
        def __init__(self, path: Path) -> None:
            with scandir(path) as found:
                self.found = sorted(found, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.found

        def __exit__(self, *_: object) -> None: ...

    return Reversed
