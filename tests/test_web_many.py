"""Many pictures at a time: what archives may hold, and the table of answers. Without a browser."""

from __future__ import annotations

import base64
import csv
import gc
import io
import json
import re
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from page_visitor import Visitor, open_page, png
from tiny_model import write_tiny_model

import whatsit.apps.web  # noqa: F401  first: what it sets, Gradio reads when it is imported
from whatsit import images
from whatsit.errors import ImageError
from whatsit.images import Limits
from whatsit.runtime import OpenModel, Prediction

pytest.importorskip("gradio", reason="gradio is not installed")

from whatsit.apps.served import Served, named
from whatsit.apps.web import batch, many
from whatsit.apps.web.batch import Batch, Upload, chunks
from whatsit.apps.web.page import Page
from whatsit.apps.web.table import Row, csv_text, table

LABELS = ("red", "green", "<script>alert(1)</script>")
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


@pytest.fixture(autouse=True)
def dropped_loops_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Served]:
    path = write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", LABELS, threshold=0.8)
    return named([("m.onnx", OpenModel(path))])


def zipped(path: Path, members: dict[str, bytes], **options: Any) -> Upload:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return Upload(path, path.name)


def contents(uploads: list[Upload]) -> tuple[dict[str, object], Batch]:
    """What a batch reads: bytes, a path, or the reason why neither."""
    with Batch(uploads) as read:
        found = {name: source for chunk in chunks(read, 4) for name, source in chunk}
    return {name: str(s.value) if isinstance(s, ImageError) else s for name, s in found.items()}, read


# ---- what is in archives


def test_pictures_come_from_files_and_archives_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(RED))
    members = {"b/c.png": png(GREEN), "b/notes.txt": b"x", "__MACOSX/b/._c.png": b"x", "b/.DS_Store": b"x"}
    archive = zipped(tmp_path / "z.zip", {"empty/": b"", **members, "inner.zip": b"PK"})
    found, read = contents([Upload(tmp_path / "a.png", "holiday.png"), archive])
    assert found == {"holiday.png": tmp_path / "a.png", "z.zip/b/c.png": png(GREEN)}
    assert read.notes() == [
        "4 files are no pictures by name: z.zip/b/notes.txt, z.zip/__MACOSX/b/._c.png, z.zip/b/.DS_Store and "
        "z.zip/inner.zip."
    ]


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    names = ["../../evil.png", "/etc/evil.png", "a/../../evil.png", "a\\..\\evil.png", "<b>.png"]
    before = set(tmp_path.parent.rglob("*"))
    found, _ = contents([zipped(tmp_path / "z.zip", dict.fromkeys(names, png(RED)))])
    assert list(found) == [f"z.zip/{name}" for name in names]
    assert set(found.values()) == {png(RED)}
    assert set(tmp_path.parent.rglob("*")) - before == {tmp_path / "z.zip"}


def test_a_zip_bomb_is_unpacked_no_further_than_a_picture_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "DEFAULT_LIMITS", Limits(max_bytes=100_000))
    bomb = zipped(tmp_path / "z.zip", {"bomb.png": bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED)
    data = (tmp_path / "z.zip").read_bytes()
    for lie in (data, data.replace(struct.pack("<L", 50_000_000), struct.pack("<L", 1_000))):
        bomb.path.write_bytes(lie)
        (found,) = contents([bomb])[0].values()
        assert isinstance(found, (bytes, str))
        assert len(found) <= 100_001


def test_archives_hold_only_so_much_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_UNPACKED", 150_000)
    parts = {f"{n}.png": bytes(100_000) for n in range(5)}
    found, _ = contents([zipped(tmp_path / "z.zip", parts, compression=zipfile.ZIP_DEFLATED)])
    assert [len(source) for source in found.values() if isinstance(source, bytes)] == [100_000] * 2
    assert list(found.values())[2:] == ["the archives hold more than 0.00015 GB"] * 3


def test_only_so_many_pictures_at_a_time_and_the_rest_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_PICTURES", 3)
    found, read = contents([zipped(tmp_path / "z.zip", {f"{n}.png": b"x" for n in range(5)})])
    assert len(found) == 3
    assert read.notes() == ["2 more were left out: at most 3 pictures at a time. For more of them: whatsit predict"]


def test_locked_and_oddly_packed_members_are_rows_with_their_reason(tmp_path: Path) -> None:
    upload = zipped(tmp_path / "z.zip", {"a.png": png(RED)})
    data = bytearray(upload.path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # in the list of names: locked
    upload.path.write_bytes(data)
    assert contents([upload])[0] == {"z.zip/a.png": "it is locked with a password"}
    odd = zipped(tmp_path / "b.zip", {"a.png": png(RED)}, compression=zipfile.ZIP_BZIP2)
    assert contents([odd])[0] == {"b.zip/a.png": "packed in an unusual way (kind 12)"}


def test_damaged_archives_are_rows_with_their_reason(tmp_path: Path) -> None:
    upload = zipped(tmp_path / "z.zip", {"a.png": png(RED)})
    whole = upload.path.read_bytes()
    for damaged in (whole[:-30], whole[:60], b"PK\3\4", b"PK\5\6", whole[:-10]):
        upload.path.write_bytes(damaged)
        assert str(contents([upload])[0]["z.zip"]).startswith("no archive that can be opened")
    upload.path.write_bytes(whole.replace(png(RED)[20:40], bytes(20)))
    assert str(contents([upload])[0]["z.zip/a.png"]).startswith("damaged in the archive")


def test_an_archive_with_too_long_a_list_of_names_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_LARGEST_DIRECTORY", 1_000)
    found, _ = contents([zipped(tmp_path / "z.zip", {f"{n}.png": b"" for n in range(100)})])
    assert found == {"z.zip": "no archive that can be opened (it holds too many files)"}
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w") as archive:
        archive.writestr("a.png", b"x")
        archive.start_dir, archive._didModify = archive.fp.tell(), True  # type: ignore[union-attr]
        archive.fp.write(b"")  # type: ignore[union-attr]
    data = large.read_bytes()
    end = data.rindex(b"PK\5\6")
    large.write_bytes(data[:end] + b"PK\6\7" + bytes(16) + data[end:])
    assert contents([Upload(large, "large.zip")])[0] == {
        "large.zip": "no archive that can be opened (it holds too many files)"
    }


def test_an_archive_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_UPLOADED", 100)
    found, _ = contents([zipped(tmp_path / "z.zip", {"a.png": png(RED)})])
    assert "more than 0.0001 MB" in str(found["z.zip"])


def test_names_that_are_not_utf_8_are_shown_as_far_as_they_are(tmp_path: Path) -> None:
    upload = zipped(tmp_path / "z.zip", {"cafe.png": png(RED)})
    upload.path.write_bytes(upload.path.read_bytes().replace(b"cafe.png", b"caf\xe9.png"))
    (name,) = contents([upload])[0]
    assert name.startswith("z.zip/caf")


def test_chunks_stay_small_in_memory(tmp_path: Path) -> None:
    with Batch([zipped(tmp_path / "z.zip", {f"{n}.png": bytes(1000) for n in range(10)})]) as read:
        assert [len(chunk) for chunk in chunks(read, 4)] == [4, 4, 2]
        assert [len(chunk) for chunk in chunks(read, 100, most=2500)] == [3, 3, 3, 1]


# ---- the table


class Cells(HTMLParser):
    """Which elements and attributes there are; what is written between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[dict[str, str | None]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag == "tr" and attrs:
            self.rows.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words += data


HOSTILE = "'><script>alert(1)</script>\" onload=alert(1) \udcff {{x}} ${1}"
ROWS = [
    Row(Prediction("a.png", "red", 0.97, (("red", 0.97), ("green", 0.02))), "data:image/jpeg;base64,AA"),
    Row(Prediction(HOSTILE, HOSTILE, 0.9, ((HOSTILE, 0.9),)), "data:image/jpeg;base64,AA"),
    Row(Prediction("c.png", "red", 0.4, (("red", 0.4), ("green", 0.3)), True, "low score"), ""),
    Row(Prediction("d.png", None, None, (), error=HOSTILE), ""),
]


def test_the_table_holds_whatever_it_is_told_literally() -> None:
    cells = Cells(table(ROWS))
    assert "script" not in cells.tags
    assert not any(name.startswith("on") for name in cells.attributes)
    shown = HOSTILE.replace("\udcff", "?")
    assert [row["data-name"] for row in cells.rows] == ["a.png", shown, "c.png", "d.png"]
    assert [row["data-kind"] for row in cells.rows] == ["=red", f"={shown}", "not sure", "unreadable"]
    assert [row["data-score"] for row in cells.rows] == ["0.970000", "0.900000", "0.400000", "-1.000000"]
    assert cells.words.count(shown) == 4  # the name, the label, the reason, and the label to filter by
    assert "perhaps red or green" in cells.words


def test_no_pictures_make_no_table() -> None:
    assert table([]) == ""


def test_the_download_is_the_csv_of_predict() -> None:
    found = re.search(r"href='data:text/csv;charset=utf-8;base64,([^']+)'", table(ROWS))
    assert found
    text = base64.b64decode(found[1]).decode()
    assert text == csv_text([row.prediction for row in ROWS])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["path", "label", "score", "top", "unsure", "error"]
    assert [row["path"] for row in rows][::2] == ["a.png", "c.png"]
    assert json.loads(rows[0]["top"]) == [{"label": "red", "score": 0.97}, {"label": "green", "score": 0.02}]
    assert rows[3]["error"] == HOSTILE.replace("\udcff", "?")


# ---- over HTTP


@pytest.fixture
def visitor(models: list[Served]) -> Iterator[Visitor]:
    with Page(models) as page, open_page(page) as running:
        yield Visitor(str(running))


def run(visitor: Visitor, files: dict[str, bytes], model: str = "m") -> tuple[str, str]:
    """Status and table for these files."""
    sent = [visitor.file(visitor.upload(f"{n}.bin", data), name) for n, (name, data) in enumerate(files.items())]
    said = visitor.call("dropped", "upload", sent, model)
    assert said["success"], said
    status, answers, files_left, folder = said["output"]["data"]
    assert (files_left, folder) == (None, None)
    return status, answers


def test_many_pictures_get_the_answers_of_predict(visitor: Visitor, models: list[Served]) -> None:
    files = {"red.png": png(RED), "green.jpg": png(GREEN, kind="JPEG"), "grey.png": png(GREY), "bad.png": b"hello"}
    status, answers = run(visitor, files)
    assert "4 pictures in" in status
    rows = Cells(answers).rows
    assert [row["data-name"] for row in rows] == list(files)
    assert [row["data-kind"] for row in rows] == ["=red", "=green", "not sure", "unreadable"]
    expected = models[0].model.predict(list(files.values()))
    assert [float(str(row["data-score"])) for row in rows[:3]] == pytest.approx(
        [p.score for p in expected[:3]], abs=1e-6
    )
    assert answers.count("<img src='data:image/") == 3


def test_an_archive_over_http(visitor: Visitor) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n in range(40):
            archive.writestr(f"../{n}.png", png((n, 255, 0)))
        archive.writestr("notes.txt", "x")
    status, answers = run(visitor, {"holiday.zip": file.getvalue()})
    assert "40 pictures in" in status
    assert "1 file is no picture by name: holiday.zip/notes.txt." in status
    assert len(Cells(answers).rows) == 40


def test_nothing_to_look_at_is_said(visitor: Visitor) -> None:
    status, answers = run(visitor, {"notes.txt": b"x"})
    assert "There is no picture among them." in status
    assert "notes.txt" in status
    assert answers == ""
    assert "There is no picture among them." in visitor.call("dropped", "upload", None, "m")["output"]["data"][0]


def test_a_model_that_is_not_there_is_refused(visitor: Visitor) -> None:
    assert not visitor.call("dropped", "upload", [visitor.file(visitor.upload("a.png", png(RED)))], "x")["success"]
    assert run(visitor, {"a.png": png(RED)})[0]


def test_stopping_keeps_what_is_there_and_others_go_on(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile single pictures are answered: long work does not hold them up."""
    monkeypatch.setattr(many, "_AT_ONCE", 1)
    rows, begun, may_go_on = many.Many._rows, threading.Semaphore(0), threading.Event()
    seen: list[many.Many] = []

    def slowly(self: Any, *arguments: Any) -> Any:
        seen.append(self)
        begun.release()
        assert may_go_on.wait(60)
        return rows(self, *arguments)

    monkeypatch.setattr(many.Many, "_rows", slowly)
    done: list[tuple[str, str]] = []
    others = [Visitor(visitor.host) for _ in range(2)]
    files = {f"{n}.png": png((n, 0, 0)) for n in range(60)}
    threads = [threading.Thread(target=lambda v=v: done.append(run(v, files))) for v in others]
    for thread in threads:
        thread.start()
    for _ in others:
        assert begun.acquire(timeout=60)
    assert "red <span>" in visitor.answer(png(RED))[0]
    for other in others:
        other.join("stop", "click")
    end = time.monotonic() + 60
    while not all(enough.is_set() for _, enough in tuple(seen[0]._running)):
        assert time.monotonic() < end
        time.sleep(0.01)
    may_go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2
    for status, answers in done:
        stopped = re.search(r"Stopped after (\d+) of 60 pictures", status)
        assert stopped, status
        assert 0 < int(stopped[1]) < 60
        assert len(Cells(answers).rows) == int(stopped[1])


def test_stop_ends_all_that_goes_on_in_the_window_and_nothing_in_another(models: list[Served], tmp_path: Path) -> None:
    with Page(models) as page:
        picture = page.uploads.folder / "a.png"
        picture.write_bytes(png(RED))

        def begin(window: str) -> Iterator[list[Any]]:
            sent = [{"path": str(picture), "orig_name": f"{n}.png"} for n in range(40)]
            running = page.many.run(sent, "m", cast(Any, SimpleNamespace(session_hash=window)))
            next(running)
            return running

        ended, *others, elsewhere = begin("one"), begin("one"), begin("one"), begin("two")
        assert "40 pictures in" in list(ended)[-1][0]
        page.many.stop(cast(Any, SimpleNamespace(session_hash="one")))
        for running in others:
            assert "Stopped after 16 of 40" in list(running)[-1][0]
        assert "40 pictures in" in list(elsewhere)[-1][0]
        assert not page.many._running


def test_deflate_really_bounds_what_is_read() -> None:
    """The reason why other ways of packing are refused: only this one unpacks no more than it is asked to."""
    packed = zlib.compress(bytes(10_000_000))
    assert len(zlib.decompressobj().decompress(packed, 1_000)) == 1_000
