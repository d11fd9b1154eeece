"""Fetching a file from a server that may be gone, busy, unreliable or wrong."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from file_server import Behaviour, FileServer, serving

from whatsit import downloads, storage
from whatsit.downloads import fetch
from whatsit.errors import DataError, OutputError, WeightsError
from whatsit.events import Event, OnEvent, Progress, ignore

DATA = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    with serving({"/file.bin": DATA}) as running:
        yield running


def refused(server: FileServer, path: Path, **options: str) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        fetch(f"{server.address}/file.bin", path, sha256=SHA256, **options)  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []  # nothing half-written
    return caught.value


def test_a_file_arrives_whole_and_its_progress_is_told(server: FileServer, tmp_path: Path) -> None:
    told: list[Event] = []
    path = fetch(
        f"{server.address}/file.bin",
        tmp_path / "deep" / "file.bin",
        sha256=SHA256.upper(),
        md5=hashlib.md5(DATA).hexdigest(),
        on_event=told.append,
    )
    assert path.read_bytes() == DATA
    assert told[-1] == Progress("fetching file.bin (kB)", 1024, 1024)
    assert list(path.parent.iterdir()) == [path]


def test_what_is_not_there_is_said_at_once(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["404"]
    error = refused(server, tmp_path / "file.bin", hint="Ask elsewhere.")
    assert error.value == "HTTP 404 Not Found"
    assert error.hint == "Ask elsewhere."
    assert len(server.seen) == 1


@pytest.mark.parametrize("trouble", ["429", "500"])
def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path, trouble: Behaviour) -> None:
    server.behaviours = [trouble, trouble, "well"]
    assert fetch(f"{server.address}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA
    assert len(server.seen) == 3


def test_a_server_that_stays_busy_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["429"]
    assert refused(server, tmp_path / "file.bin").value == "HTTP 429 Too Many Requests (4 attempts)"
    assert len(server.seen) == downloads.ATTEMPTS


def test_retry_after_is_honoured(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(downloads, "PAUSE", 20.0)
    monkeypatch.setattr(downloads.time, "sleep", slept.append)
    server.behaviours = ["429", "breaks off", "well"]
    fetch(f"{server.address}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert slept == [0.0, 40.0]  # the server's word, then our own


def test_a_long_retry_after_is_not_slept_through(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", slept.append)
    server.retry_after, server.behaviours = "86400", ["429", "well"]
    fetch(f"{server.address}/file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert slept == [downloads.LONGEST_PAUSE]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), (None, None)],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert downloads.retry_after(text) == seconds


def test_a_broken_off_transfer_goes_on_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["breaks off", "breaks off", "well"]
    assert fetch(f"{server.address}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA
    half, three_quarters = len(DATA) // 2, len(DATA) * 3 // 4
    assert server.seen == [
        "GET /file.bin",
        f"GET /file.bin bytes={half}-",
        f"GET /file.bin bytes={three_quarters}-",
    ]


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["breaks off", "plain"]
    assert fetch(f"{server.address}/file.bin", tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen[1] == f"GET /file.bin bytes={len(DATA) // 2}-"


def test_a_file_that_changes_midway_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["breaks off", "well"]
    url, new = f"{server.address}/file.bin", DATA[::-1]
    path = fetch(url, tmp_path / "file.bin", on_event=lambda _: server.files.update({"/file.bin": new}))
    assert path.read_bytes() == new
    assert server.seen[1] == f"GET /file.bin bytes={len(DATA) // 2}-"


def test_a_transfer_that_always_breaks_off_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["breaks off"]
    assert "broke off after" in str(refused(server, tmp_path / "file.bin").value)


def test_corrupted_bytes_are_refused_and_a_good_attempt_succeeds_later(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["corrupt", "well"]
    error = refused(server, tmp_path / "file.bin")
    assert str(error.value).startswith("SHA256 ")
    assert SHA256[:16] in error.accepted
    assert fetch(f"{server.address}/file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA


def test_a_wrong_file_does_not_replace_the_one_that_is_there(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["corrupt"]
    path = tmp_path / "file.bin"
    path.write_bytes(b"good")
    with pytest.raises(WeightsError):
        fetch(f"{server.address}/file.bin", path, md5=hashlib.md5(DATA).hexdigest())
    assert path.read_bytes() == b"good"


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="connection refused"):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "x", error=DataError)


# ---- what has arrived stays for the next call

MD5 = hashlib.md5(DATA).hexdigest()
HALF = len(DATA) // 2


def fetch_on(server: FileServer, path: Path, on_event: OnEvent = ignore) -> Path:
    url = f"{server.address}/file.bin"
    return downloads.fetch_on(
        url, path, md5=MD5, on_event=on_event, error=DataError, hint="wait", elsewhere="go elsewhere"
    )


def left(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_later_call_goes_on_where_the_last_one_failed(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["breaks off", "404", "well"]
    with pytest.raises(DataError, match="HTTP 404"):
        fetch_on(server, tmp_path / "file.bin")
    assert left(tmp_path) == {".file.bin.part": DATA[:HALF]}
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen[-1] == f"GET /file.bin bytes={HALF}-"
    assert left(tmp_path) == {"file.bin": DATA}


def test_a_later_call_goes_on_where_the_last_one_was_interrupted(server: FileServer, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_on(server, tmp_path / "file.bin", interrupt)
    (part,) = left(tmp_path).values()
    assert 0 < len(part) < len(DATA)
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen[-1] == f"GET /file.bin bytes={len(part)}-"
    assert left(tmp_path) == {"file.bin": DATA}


@pytest.mark.parametrize("old", [b"another file's" * 10, DATA[::-1], DATA + b"more"], ids=["short", "as long", "long"])
def test_an_old_part_of_another_file_is_found_out(server: FileServer, tmp_path: Path, old: bytes) -> None:
    (tmp_path / ".file.bin.part").write_bytes(old)
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert left(tmp_path) == {"file.bin": DATA}


def test_a_part_that_was_complete_needs_no_network(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.part").write_bytes(DATA)
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen == []


def test_it_goes_on_also_where_the_server_names_no_version(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.part").write_bytes(DATA[:100])
    server.behaviours = ["untagged"]
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen == ["GET /file.bin bytes=100-"]


def test_wrong_bytes_are_not_kept_for_later(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["corrupt", "well"]
    with pytest.raises(DataError, match="cannot trust"):
        fetch_on(server, tmp_path / "file.bin")
    assert left(tmp_path) == {}
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA


def test_the_part_of_a_process_that_died_is_taken_over_and_that_of_a_living_one_is_not(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / ".file.bin.living.part").write_bytes(DATA[:500])
    dead = tmp_path / ".file.bin.dead.part"
    dead.write_bytes(DATA[:300])
    os.utime(dead, (time.time() - 630,) * 2)
    assert fetch_on(server, tmp_path / "file.bin").read_bytes() == DATA
    assert server.seen == ["GET /file.bin bytes=300-"]
    assert left(tmp_path) == {"file.bin": DATA, ".file.bin.living.part": DATA[:500]}


def test_a_part_that_lay_for_long_is_not_taken_from_the_one_who_took_it_over(tmp_path: Path) -> None:
    path, part = tmp_path / "file.bin", tmp_path / ".file.bin.part"
    part.write_bytes(b"some")
    os.utime(part, (time.time() - 10_000,) * 2)
    with storage.continued(path, "go") as first, storage.continued(path, "go") as second:
        assert first.read_bytes() == b"some"
        assert second.read_bytes() == b""
        second.write_bytes(b"second")
        first.write_bytes(b"first")
    assert left(tmp_path) == {"file.bin": b"first"}


def test_of_two_that_fail_the_larger_part_is_kept(tmp_path: Path) -> None:
    def fail(size: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        with storage.continued(tmp_path / "file.bin", "go") as part:
            part.write_bytes(bytes(size))
            meanwhile()
            raise ZeroDivisionError

    def fail_too() -> None:
        with pytest.raises(ZeroDivisionError):
            fail(9)

    with pytest.raises(ZeroDivisionError):
        fail(5, fail_too)
    assert left(tmp_path) == {".file.bin.part": bytes(9)}


def test_several_at_once_each_get_the_whole_file(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.part").write_bytes(DATA[:1000])
    with ThreadPoolExecutor(8) as pool:
        for path in pool.map(lambda _: fetch_on(server, tmp_path / "file.bin"), range(8)):
            assert path.read_bytes() == DATA
    assert server.seen.count("GET /file.bin bytes=1000-") == 1
    assert left(tmp_path) == {"file.bin": DATA}


def test_a_full_disk_is_not_left_full(server: FileServer, tmp_path: Path) -> None:
    def full(event: Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="no space left on device") as caught:
        fetch_on(server, tmp_path / "file.bin", full)
    assert caught.value.hint == "Free some space, or go elsewhere."
    assert left(tmp_path) == {}


def test_a_read_only_folder_is_said_before_anything_is_fetched(server: FileServer, unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied") as caught:
        fetch_on(server, unprivileged / "file.bin")
    assert "go elsewhere" in caught.value.hint
    assert server.seen == []
    unprivileged.chmod(0o700)


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with pytest.raises(WeightsError, match="no web address"):
        fetch(secret.as_uri(), tmp_path / "copy")


def test_a_place_that_cannot_be_written_is_said(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        fetch(f"{server.address}/file.bin", tmp_path / "file" / "file.bin")
    assert server.seen == []
