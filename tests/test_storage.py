"""Storage: a file is whole or not there, and what cannot be written is said in four parts."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from whatsit.errors import OutputError
from whatsit.storage import beside, cannot_write, check_writable, make_folder, write_whole


def refusal(caught: pytest.ExceptionInfo[OutputError]) -> OutputError:
    error = caught.value
    assert all(str(part).strip() for part in (error.what, error.value, error.accepted, error.hint))
    assert error.exit_code == 2
    return error


class TestWriteWhole:
    def test_text_and_bytes_into_folders_made_on_the_way(self, tmp_path: Path) -> None:
        write_whole(tmp_path / "a" / "b" / "text.txt", "caf\u00e9\n")
        write_whole(tmp_path / "a" / "bytes", b"\0\1")
        assert (tmp_path / "a" / "b" / "text.txt").read_bytes() == b"caf\xc3\xa9\n"
        assert (tmp_path / "a" / "bytes").read_bytes() == b"\0\1"

    def test_what_was_there_is_replaced_and_nothing_else_is_left(self, tmp_path: Path) -> None:
        write_whole(tmp_path / "file", "old")
        write_whole(tmp_path / "file", "new")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_text() == "new"

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path, umask: int, mode: int) -> None:
        before = os.umask(umask)
        try:
            write_whole(tmp_path / "file", "x")
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        (tmp_path / "link").symlink_to("target")
        write_whole(tmp_path / "link", "new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text() == "new"

    def test_a_pipe_is_written_to_not_replaced(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        got: list[str] = []
        reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()), daemon=True)
        reader.start()
        write_whole(tmp_path / "pipe", "through")
        reader.join(60)
        assert got == ["through"]
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(OutputError) as caught:
            write_whole(tmp_path / "folder", "x")
        assert "is a directory" in str(refusal(caught).value)
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError) as caught:
            write_whole(tmp_path / "file" / "x", "x")
        refusal(caught)


class TestBeside:
    def test_nothing_is_seen_before_the_end(self, tmp_path: Path) -> None:
        with beside(tmp_path / "file") as part:
            part.write_text("half")
            assert not (tmp_path / "file").exists()
            assert part.name.startswith(".file.")
        assert (tmp_path / "file").read_text() == "half"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_error_leaves_what_was_there(self, tmp_path: Path, error: type[BaseException]) -> None:
        write_whole(tmp_path / "file", "old")

        def write_half() -> None:
            with beside(tmp_path / "file") as part:
                part.write_text("half")
                raise error

        with pytest.raises(error):
            write_half()
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_text() == "old"

    def test_a_full_disk(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError) as caught, beside(tmp_path / "file"):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert refusal(caught).value == "no space left on device"
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_is_full_only_when_it_is_flushed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError):
            write_whole(tmp_path / "file", "x")
        assert list(tmp_path.iterdir()) == []


class TestCheckWritable:
    def test_new_and_existing_places_are_fine_and_nothing_is_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for place in (tmp_path, tmp_path / "a" / "b" / "c", Path("a/b"), Path("."), Path("x" * 300)):
            check_writable(place)
        assert list(tmp_path.iterdir()) == []

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for place in (tmp_path / "file", tmp_path / "file" / "x" / "y"):
            with pytest.raises(OutputError) as caught:
                check_writable(place)
            assert refusal(caught).value == "not a folder"

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(OutputError):
            check_writable(tmp_path / "link")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        with pytest.raises(OutputError) as caught:
            check_writable(tmp_path / "a" / "b")
        assert refusal(caught).value == "permission denied"

    def test_a_folder_without_write_permission(self, unprivileged: Path) -> None:
        unprivileged.chmod(0o500)
        with pytest.raises(OutputError):
            check_writable(unprivileged / "a")
        with pytest.raises(OutputError):
            write_whole(unprivileged / "a", "x")
        with pytest.raises(OutputError):
            make_folder(unprivileged / "a" / "b")
        unprivileged.chmod(0o700)


def test_make_folder(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        make_folder(tmp_path / "file")
    assert refusal(caught).value == "file exists"


def test_the_hint_names_the_way_out() -> None:
    error = OSError(errno.EROFS, "Read-only file system")
    assert cannot_write(Path("x"), error).hint == "Free some space, or choose another place with --out."
    assert "DESTINATION" in cannot_write(Path("x"), error, "choose another DESTINATION").hint
    assert cannot_write(Path("x"), OSError("odd")).value == "odd"
