"""The page over HTTP: what its script does, what a hostile client might do, and what is left on the disk."""

from __future__ import annotations

import base64
import gc
import http.client
import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_visitor import Visitor, open_page, png
from PIL import Image
from tiny_model import colour, write_tiny_model

import whatsit.apps.web  # noqa: F401  first: what it sets, Gradio reads when it is imported
from whatsit.images import load
from whatsit.runtime import OpenModel

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio as gr

from whatsit.apps.feedback import Feedback
from whatsit.apps.served import Served, named
from whatsit.apps.web import arriving, uploads
from whatsit.apps.web.page import Page

LABELS = ("red", "green", "<script>alert(1)</script>")
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def dropped_loops_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Served]:
    path = write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", LABELS, threshold=0.8)
    return named([("m.onnx", OpenModel(path))])


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "feedback", LABELS)


@pytest.fixture
def page(models: list[Served], feedback: Feedback) -> Iterator[Page]:
    with Page(models, feedback=feedback) as made:
        yield made


@pytest.fixture
def visitor(page: Page) -> Iterator[Visitor]:
    with open_page(page) as running:
        yield Visitor(str(running))


def files_in(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def text_of(answer: dict[str, Any]) -> str:
    assert answer["success"], answer
    return str(answer["output"]["data"][0])


# ---- answers


def test_an_upload_reaches_the_model_byte_for_byte(visitor: Visitor) -> None:
    """Re-encoded or stripped of its EXIF, a phone's photo would get another answer than on the command line."""
    file = io.BytesIO()
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    Image.new("RGB", (60, 40), RED).save(file, "JPEG", quality=60, exif=turned)
    path = visitor.upload("photo.jpg", file.getvalue())
    assert Path(path).read_bytes() == file.getvalue()
    answer = visitor.classify(path)
    assert "red <span>" in text_of(answer)
    _, _, data = answer["output"]["data"][1]["url"].partition("base64,")
    assert load(base64.b64decode(data)).shape[:2] == (420, 280)  # upright, and enlarged for looking at


def test_an_unreadable_picture_gets_its_reason_and_clears_the_drop_zone(visitor: Visitor) -> None:
    text, shown, *_ = visitor.answer(b"hello", "holiday.png")
    assert "This picture cannot be read (not a picture: it starts with b&#x27;hello&#x27;)" in text
    assert "holiday.png" in text
    assert shown is None
    assert "there is nothing in it: 0 bytes" in visitor.answer(b"", "empty.png")[0]


def test_no_picture_is_no_answer(visitor: Visitor) -> None:
    assert "Drop a picture" in text_of(visitor.call("picture", "upload", None, 3, None))


def test_300_megapixels_are_refused_before_they_are_decoded(visitor: Visitor) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 15_000)).save(file, "PNG")
    assert "cannot be read (300 megapixels)" in visitor.answer(file.getvalue())[0]
    assert "red <span>" in visitor.answer(png(RED))[0]


def test_names_that_are_no_text_are_shown_as_far_as_they_are(visitor: Visitor) -> None:
    status, answer = visitor.send(b"caf\xe9 <b>.png", png(RED))
    assert status == 200
    text = text_of(visitor.classify(json.loads(answer)[0], name="caf\ufffd <b>.png"))
    assert "&lt;b&gt;.png" in text


def test_another_number_of_labels_needs_no_picture(visitor: Visitor, page: Page) -> None:
    visitor.answer(png(RED), top=1)
    for upload in files_in(page.uploads.folder):
        upload.unlink()
    for top in (1, 2, 3):
        assert text_of(visitor.call("top", "change", top, None)).count("<tr>") == top
    assert visitor.call("top", "change", 99, None)["success"] is False


def test_pictures_of_several_visitors_are_answered_at_once(visitor: Visitor) -> None:
    colours = [colour(number, 3) for number in range(3)] * 4
    answers: dict[int, str] = {}

    def visit(number: int) -> None:
        data = png(colours[number], (30 + number, 30))
        answers[number] = Visitor(visitor.host).answer(data, f"{number}.png")[0]

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(len(colours))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ("red", "green", "&lt;script&gt;")
    assert all(f"headline sure'>{names[number % 3]}" in answers[number] for number in range(len(colours)))


def test_it_goes_on_without_the_model_file(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx")
    kept = Feedback(tmp_path / "feedback", ["red"])
    with Page(named([("m", OpenModel(path))]), feedback=kept) as page, open_page(page) as running:
        path.unlink()
        visitor = Visitor(str(running))
        assert "red <span>" in visitor.answer(png(RED))[0]
        assert "Saved as" in text_of(visitor.call("right", "input", "red", None))
        assert "1 picture in" in text_of(
            visitor.call("dropped", "upload", [visitor.file(visitor.upload("b.png", png(RED)))], "m")
        )
        assert visitor.get("/")[0] == 200


# ---- feedback


def test_one_click_saves_the_very_bytes_and_another_undoes_it(visitor: Visitor, feedback: Feedback) -> None:
    data = png(RED)
    assert "teachable" in visitor.answer(data)[0]
    assert "Saved as “green”" in text_of(visitor.call("right", "input", "green", None))
    (kept,) = feedback.folder.glob("*/*")
    assert (kept.parent.name, kept.read_bytes()) == ("green", data)
    (row,) = feedback.journal()
    assert row["who"] == "127.0.0.1"
    assert row["answers"][0]["model"] == "m"
    assert row["answers"][0]["label"] == "red"
    assert row["answers"][0]["score"] == pytest.approx(0.965, abs=1e-3)
    assert len(row["answers"][0]["fingerprint"]) == 64
    choice, said, _ = visitor.call("undo", "click", None)["output"]["data"]
    assert choice is None
    assert "no longer saved as “green”" in said
    assert list(feedback.folder.glob("*/*")) == []
    assert visitor.call("undo", "click", None)["output"]["data"][1] == ""


def test_undoing_a_change_of_mind_goes_back_one_step(visitor: Visitor, feedback: Feedback) -> None:
    visitor.answer(png(RED))
    for label in ("green", "red"):
        visitor.call("right", "input", label, None)
    choice, said, _ = visitor.call("undo", "click", None)["output"]["data"]
    assert (choice, "Saved as “green” again" in said) == ("green", True)
    assert [kept.parent.name for kept in feedback.folder.glob("*/*")] == ["green"]


def test_what_could_not_be_undone_can_be_undone_later(
    visitor: Visitor, feedback: Feedback, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.answer(png(RED))
    visitor.call("right", "input", "green", None)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda _handle, line: len(line) // 2)
        choice, said, _ = visitor.call("undo", "click", None)["output"]["data"]
    assert (choice, "message error" in said) == ("green", True)
    assert len(list(feedback.folder.glob("*/*"))) == 1
    assert "no longer saved" in visitor.call("undo", "click", None)["output"]["data"][1]
    assert list(feedback.folder.glob("*/*")) == []


def test_one_window_cannot_undo_what_another_said(visitor: Visitor, feedback: Feedback) -> None:
    visitor.answer(png(RED))
    visitor.call("right", "input", "green", None)
    other = Visitor(visitor.host)
    other.call("undo", "click", None)
    other.call("undo", "click", {"given": [[feedback.journal()[0]["id"], "green"]]})  # a state of its own making
    other.answer(png(RED))
    other.call("undo", "click", None)
    assert len(list(feedback.folder.glob("*/*"))) == 1


def test_labels_that_are_not_allowed_are_refused_with_a_reason(
    visitor: Visitor, feedback: Feedback, tmp_path: Path
) -> None:
    visitor.answer(png(RED))
    before = set(tmp_path.rglob("*"))
    for label in ("../x", "/etc/x", LABELS[2], "cow", ".", "a\0b"):
        said = text_of(visitor.call("right", "input", label, None))
        assert "message error" in said
        assert "accepted:" in said
        assert "<script>" not in said
    assert set(tmp_path.rglob("*")) == before
    assert feedback.journal() == []


def test_what_is_no_label_changes_nothing(visitor: Visitor, feedback: Feedback) -> None:
    visitor.answer(png(RED))
    for label in (None, 7, ["green"], {"path": "/etc/hostname"}, ""):
        visitor.call("right", "input", label, None)
    assert feedback.journal() == []


def test_only_an_uploaded_readable_picture_may_be_corrected(visitor: Visitor, feedback: Feedback) -> None:
    state = {"name": "x", "file": "/etc/hostname", "predictions": [], "given": []}
    assert "Drop it again" in text_of(visitor.call("right", "input", "green", state))
    assert "teachable" not in visitor.answer(b"hello")[0]
    assert "Drop it again" in text_of(visitor.call("right", "input", "green", None))
    assert "teachable" not in text_of(visitor.call("examples", "click", 0, 3, None))
    assert "Drop it again" in text_of(visitor.call("right", "input", "green", None))
    assert feedback.journal() == []


def test_without_feedback_there_is_none(models: list[Served]) -> None:
    with Page(models) as page, open_page(page) as running:
        visitor = Visitor(str(running))
        assert "teachable" not in visitor.answer(png(RED))[0]
        assert not any(c["props"].get("elem_id") == "feedback" for c in visitor.config["components"])
        assert list((page.uploads.folder.parent / "kept").iterdir()) == []


def test_new_labels_when_they_are_allowed(models: list[Served], tmp_path: Path) -> None:
    kept = Feedback(tmp_path / "feedback", LABELS, new_labels=True)
    with Page(models, feedback=kept) as page, open_page(page) as running:
        visitor = Visitor(str(running))
        visitor.answer(png(RED))
        assert "Saved as “&lt;b&gt; cow”" in text_of(visitor.call("other", "submit", " <b> cow ", None))
        assert (tmp_path / "feedback" / "<b> cow").is_dir()


# ---- what a hostile client might do


def test_only_uploads_are_read(page: Page, visitor: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever part of the page is told about a file, and however it is told."""
    own = str(page.examples[0].file)
    outside = str(page.uploads.folder / ".." / "examples" / "golden-0.png")
    for path in ("/etc/hostname", own, outside, "http://localhost/a.png", "https://example.org/a.png", ""):
        for sent in (visitor.file(path), {"path": path}, {"path": path, "url": path, "orig_name": "a.png"}):
            assert not visitor.call("picture", "upload", sent, 3, None)["success"], sent
            assert not visitor.call("top", "change", sent, None)["success"], sent
            assert not visitor.call("dropped", "upload", [sent], "m")["success"], sent
            assert not visitor.call("examples", "click", sent, 3, None)["success"], sent
            said = visitor.call("right", "input", sent, None)
            assert not said["success"] or "given" not in said["output"]["data"][0], sent
    assert len(files_in(page.uploads.folder)) == len(page.examples)
    capfd.readouterr()  # Gradio tells the terminal about such attempts


def test_no_address_is_fetched_for_a_client(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []

    async def fetch(url: str, **_: object) -> str:
        fetched.append(url)
        return "/dev/null"

    monkeypatch.setattr(gr.processing_utils, "async_ssrf_protected_download", fetch)
    sent = visitor.file("https://example.org/a.png")
    for part, event, data in (
        ("picture", "upload", [sent, 3, None]),
        ("picture", "upload", [None, sent, None]),
        ("top", "change", [sent, None]),
        ("examples", "click", [sent, sent, None]),
        ("dropped", "upload", [[sent], "m"]),
        ("dropped", "upload", [None, sent]),
        ("right", "input", [sent, None]),
        ("other", "submit", [sent, None]),
    ):
        visitor.call(part, event, *data)
    assert fetched == []
    capfd.readouterr()
    assert visitor.get("/gradio_api/file=https://example.org/a.png")[0] == 404
    assert visitor.get("/gradio_api/proxy=https://example.hf.space/a.png")[0] == 404
    assert visitor.get("/gradio_api/file=/etc/hostname")[0] == 403


def test_files_outside_the_uploads_are_not_given_away(page: Page, visitor: Visitor, feedback: Feedback) -> None:
    visitor.answer(png(RED))
    visitor.call("right", "input", "green", None)
    (kept,) = (page.uploads.folder.parent / "kept").iterdir()
    (given,) = feedback.folder.glob("*/*")
    for path in (kept, given, page.examples[0].file, "/etc/passwd", f"{page.uploads.folder}/../favicon.png"):
        assert visitor.get(f"/gradio_api/file={path}")[0] in (403, 404), path
    assert visitor.get(f"/gradio_api/file={page.uploads.folder}")[0] in (403, 404)


NOT_NEEDED = [
    "deep_link?session_hash=x", "run/predict", "api/predict", "call/classify", "component_server", "runs",
    "process_recording", "vibe-code", "vibe-edit", "dev/reload", "openapi.json", "profiling/traces", "queue/status",
    "stream/x/y/1/playlist.m3u8", "custom_component/1/client/component/x.js", "run-history/buckets", "proxy=x",
    "file/etc/passwd", "token", "user", "login_check", "startup-events",
]  # fmt: skip


def test_what_the_page_does_not_need_is_not_there(visitor: Visitor) -> None:
    for path in NOT_NEEDED:
        for verb in ("GET", "POST"):
            status, _ = visitor.ask(verb, f"/gradio_api/{path}", b"{}", {"Content-Type": "application/json"})
            assert status in (404, 405), (verb, path)


def test_of_the_outer_addresses_only_those_are_there_that_the_page_asks_for(visitor: Visitor) -> None:
    for path in (
        "/monitoring", "/monitoring/summary", "/manifest.json", "/robots.txt", "/pwa_icon", "/pwa_icon/64", "/x",
        "/monitoring/../config", "/docs", "/openapi.json", "/configs", "//manifest.json", "/gradio_api",
    ):  # fmt: skip
        assert visitor.get(path)[0] == 404, path
    for path in ("/", "/config", "/theme.css", "/favicon.ico"):
        assert visitor.get(path)[0] == 200, path
    source = visitor.get("/")[1].decode()
    asked = set(re.findall(r'(?:src|href)="\.?(/(?:assets|static|svelte)/[^"]+)"', source))
    assert asked
    for path in asked:
        assert visitor.get(path)[0] == 200, path


def test_uploaded_scripts_are_not_run_in_the_pages_name(visitor: Visitor) -> None:
    for name in ("a.html", "a.svg"):
        path = visitor.upload(name, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
        _, _, headers = visitor.ask_all("GET", f"/gradio_api/file={path}")
        assert headers["Content-Disposition"].startswith("attachment"), name


def test_names_lead_nowhere(page: Page, visitor: Visitor) -> None:
    for name in ("../../x.png", "/etc/x.png", "..", "a/../../../x.png"):
        status, answer = visitor.send(name, png(RED))
        if status == 200:
            assert page.uploads.holds(json.loads(answer)[0])


def test_uploads_that_are_too_large_are_refused_and_leave_nothing(
    models: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whatsit.apps.web.page.MOST_UPLOADED", 100_000)
    with Page(models) as page, open_page(page) as running:
        status, answer = Visitor(str(running)).send("a.png", bytes(200_000))
        assert (status, b"exceeded" in answer) == (413, True)
        assert len(files_in(page.uploads.folder)) == len(page.examples)


def test_the_page_has_its_icon_and_no_extras(visitor: Visitor) -> None:
    status, icon = visitor.get("/favicon.ico")
    assert status == 200
    assert load(icon).shape == (64, 64, 3)
    assert visitor.config["footer_links"] == []
    assert visitor.config["title"] == "whatsit: colours"
    assert json.loads(visitor.get("/gradio_api/info")[1])["named_endpoints"] == {}


def test_no_account_is_kept_of_what_was_asked(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a page of figures that is switched off, Gradio would make a table of them with pandas at every event."""
    tables: list[object] = []
    monkeypatch.setattr(type(page.blocks._queue), "_get_df", lambda _, records: tables.append(records))
    visitor.answer(png(RED))
    visitor.answer(png(GREEN))
    assert tables == []
    assert len(page.blocks._queue.event_analytics) <= 1


def test_labels_cannot_break_out_of_the_page_source(visitor: Visitor) -> None:
    status, source = visitor.get("/")
    assert status == 200
    assert b"<script>alert(1)" not in source


# ---- who may come in


def test_nothing_is_told_before_the_password(models: list[Served], feedback: Feedback) -> None:
    with Page(models, feedback=feedback) as page, open_page(page, ("eva", "secret:pässword")) as running:
        visitor = Visitor(str(running))
        source = visitor.get("/")[1]
        assert b"green" not in source
        for path in ("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/gradio_api/file=x"):
            status, answer = visitor.get(path)
            assert status in (401, 404), path
            assert b"secret" not in answer
        assert visitor.send("a.png", png(RED))[0] == 401
        assert (
            visitor.ask(
                "POST",
                "/gradio_api/queue/join",
                b'{"data":[],"fn_index":0,"session_hash":"x"}',
                {"Content-Type": "application/json"},
            )[0]
            == 401
        )
        for user, password in (("eva", "secret"), ("eva", ""), ("ben", "secret:p%C3%A4ssword"), ("", "")):
            assert visitor.login(user, password) in (400, 422)
        assert visitor.login("eva", "secret:p%C3%A4ssword") == 200
        assert "red <span>" in visitor.answer(png(RED))[0]
        assert b"secret" not in visitor.get("/config")[1]
        visitor.call("right", "input", "green", None)
    assert feedback.journal()[0]["who"] == "eva"


SESSION = b'{"session_hash": "x", "fn_index": 0, "event_id": "x"}'
UNASKED = [("GET", "heartbeat/x"), ("POST", "cancel"), ("POST", "reset"), ("GET", "app_id")]


def begun(visitor: Visitor, verb: str, path: str) -> int:
    """The status of an answer that need not end."""
    connection = http.client.HTTPConnection(visitor.host, timeout=60)
    headers = {"Cookie": visitor.cookies, "Content-Type": "application/json"}
    connection.request(verb, f"/gradio_api/{path}", SESSION if verb == "POST" else None, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_what_gradio_leaves_open_asks_for_the_login_too(models: list[Served]) -> None:
    with Page(models) as page, open_page(page, ("eva", "a-long-password")) as running:
        visitor = Visitor(str(running))
        assert [begun(visitor, *asked) for asked in UNASKED] == [401] * len(UNASKED)
        assert visitor.login("eva", "a-long-password") == 200
        assert [begun(visitor, *asked) for asked in UNASKED] == [200] * len(UNASKED)
        visitor.cookies = re.sub("=[^;]+", "=made-up", visitor.cookies)
        assert [begun(visitor, *asked) for asked in UNASKED] == [401] * len(UNASKED)


def test_without_a_login_they_are_open(visitor: Visitor) -> None:
    assert [begun(visitor, *asked) for asked in UNASKED] == [200] * len(UNASKED)


# ---- how much is sent


def test_a_full_disk_is_said_before_an_upload(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sum(file.stat().st_size for file in files_in(page.uploads.folder))
    monkeypatch.setattr(uploads, "_MOST", there + 100_000)
    visitor.upload("a.png", bytes(60_000))
    visitor.upload("b.png", bytes(60_001))
    before = files_in(page.uploads.folder)
    monkeypatch.setattr(arriving, "_LEFT_TO_SEND", 90)
    for data in (b"x", bytes(3_000_000)):
        connection = http.client.HTTPConnection(visitor.host, timeout=60)
        connection.request("POST", "/gradio_api/upload", data, {"Content-Type": "multipart/form-data; boundary=x"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
        assert "no room" in json.loads(answer.read())["detail"]
        connection.close()
    assert files_in(page.uploads.folder) == before
    assert visitor.get("/")[0] == 200


def test_another_name_of_a_kept_picture_takes_no_room(
    page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(visitor.upload("a.png", bytes(50_000)))
    there = sum(file.stat().st_size for file in files_in(page.uploads.folder))
    monkeypatch.setattr(uploads, "_MOST", there + 1)
    kept = page.uploads.keep(path)
    assert not page.uploads.are_full()
    path.unlink()
    kept.write_bytes(bytes(60_000))
    assert page.uploads.are_full()


def test_an_upload_that_fills_the_disk_is_ended(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sum(file.stat().st_size for file in files_in(page.uploads.folder))
    monkeypatch.setattr(uploads, "_MOST", there + 100_000)
    monkeypatch.setattr(arriving, "_LOOK_AGAIN", 10_000)
    monkeypatch.setattr(arriving, "_LEFT_TO_SEND", 90)
    status, _ = visitor.send("a.png", bytes(5_000_000))
    assert status == 503
    assert len(files_in(page.uploads.folder)) == len(page.examples)


def test_only_so_much_is_sent_at_a_time(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "_LEFT_TO_SEND", 90)  # nobody is waited for who has sent all
    monkeypatch.setattr(arriving, "MOST_AT_ONCE", 100_000)
    monkeypatch.setattr(arriving, "_MOST_ASKED", 1_000)
    assert "0.1 MB at a time" in json.loads(visitor.send("a.png", bytes(200_000))[1])["detail"]
    assert visitor.send("a.png", bytes(5_000_000))[0] == 413
    assert len(files_in(page.uploads.folder)) == len(page.examples)
    json_kind = {"Content-Type": "application/json"}
    assert visitor.ask("POST", "/gradio_api/queue/join", b" " * 2_000, json_kind)[0] == 413
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.ask("POST", "/login", b"username=eva&password=" + b"x" * 2_000, form)[0] == 413
    assert visitor.send("a.png", bytes(90_000))[0] == 200


@pytest.mark.parametrize("ended", ["silent", "gone"])
def test_half_an_upload_is_dropped_with_what_it_brought(
    ended: str, page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arriving, "_LEFT_TO_SEND", 0.2)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    with closing(http.client.HTTPConnection(visitor.host, timeout=60)) as connection:
        connection.putrequest("POST", "/gradio_api/upload")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        connection.send(head)
        monkeypatch.setattr(arriving, "_SILENCE", 3)
        for _ in range(8):  # slowly, and in all for longer than silence is waited for
            connection.send(bytes(5_000))
            time.sleep(0.5)
        wait_until(lambda: len(files_in(page.uploads.folder)) == len(page.examples) + 1)
        assert len(files_in(page.uploads.folder)) == len(page.examples) + 1
        if ended == "silent":
            assert connection.getresponse().status == 408
    wait_until(lambda: len(files_in(page.uploads.folder)) == len(page.examples))
    assert len(files_in(page.uploads.folder)) == len(page.examples)
    assert "red <span>" in visitor.answer(png(RED))[0]


# ---- the disk


def wait_until(true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def open_impatient(models: list[Served], feedback: Feedback | None = None) -> Iterator[tuple[Page, Any]]:
    """A page that soon deletes what it was asked about; not while Gradio makes its folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "_SWEEP", 0.1)
        with Page(models, feedback=feedback) as page, open_page(page) as running:
            patch.setattr(uploads, "_ANSWERED", 0.2)
            yield page, running


def test_two_hundred_uploads_leave_next_to_nothing(models: list[Served], feedback: Feedback) -> None:
    with open_impatient(models, feedback) as (page, running):
        folder = page.uploads.folder.parent
        before = len(files_in(folder))
        visitor = Visitor(str(running))
        most = 0
        for number in range(200):
            visitor.answer(png((number, 0, 0), (20, 20)), f"{number}.png")
            most = max(most, len(files_in(folder)) - before)
        assert most < 100
        wait_until(lambda: len(files_in(folder)) <= before + 1)
        assert len(files_in(folder)) == before + 1  # the last one may still get its right label
        wait_until(lambda: len(list(page.uploads.folder.iterdir())) <= len(page.examples))
        assert "green <span>" in text_of(visitor.call("examples", "click", 1, 3, None))
        assert len(files_in(folder)) == before
    assert not folder.exists()


def test_many_pictures_are_deleted_when_they_are_answered(models: list[Served]) -> None:
    with open_impatient(models) as (page, running):
        visitor = Visitor(str(running))
        sent = [visitor.file(visitor.upload(f"{n}.png", png((n, 9, 9)))) for n in range(5)]
        assert "5 pictures in" in text_of(visitor.call("dropped", "upload", sent, "m"))
        wait_until(lambda: len(files_in(page.uploads.folder)) == len(page.examples))
        assert len(files_in(page.uploads.folder)) == len(page.examples)


def test_what_nobody_asks_about_goes_by_its_age(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what a broken connection leaves: Gradio keeps no account of it."""
    path = Path(visitor.upload("a.png", png(RED)))
    (page.uploads.folder / "tmp_half_an_upload").write_bytes(b"half")
    page.uploads.sweep()
    assert len(files_in(page.uploads.folder)) == len(page.examples) + 2
    monkeypatch.setattr(uploads, "_FORGOTTEN", -1.0)
    page.uploads.sweep()
    assert not path.exists()
    assert len(files_in(page.uploads.folder)) == len(page.examples)


def test_an_upload_that_is_being_looked_at_stays(page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(visitor.upload("a.png", png(RED)))
    with page.uploads.using([path]):
        monkeypatch.setattr(uploads, "_FORGOTTEN", -1.0)
        monkeypatch.setattr(uploads, "_ANSWERED", -1.0)
        with page.uploads.using([path]):
            pass
        page.uploads.sweep()
        assert path.exists()
    page.uploads.sweep()
    assert not path.exists()


def test_the_same_picture_sent_again_outlives_its_first_answer(
    page: Page, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(visitor.upload("a.png", png(RED)))
    visitor.classify(str(path))
    time.sleep(0.05)
    assert Path(visitor.upload("a.png", png(RED))) == path
    monkeypatch.setattr(uploads, "_ANSWERED", -1.0)
    page.uploads.sweep()
    assert path.exists()
    assert "red <span>" in text_of(visitor.classify(str(path)))


def test_closing_leaves_no_variable_behind(models: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/as/it/was")
    with Page(models) as page:
        folder = page.uploads.folder
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert os.environ["GRADIO_TEMP_DIR"] == "/as/it/was"
    assert not folder.exists()


def test_the_page_ends_after_the_work_in_hand(models: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that leaves while a thread is inside ONNX Runtime may be aborted."""
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        begun.set()
        assert go_on.wait(60)
        done.set()

    with Page(models) as page, open_page(page) as running:
        assert not page.work.busy
        visitor = Visitor(str(running))
        path = visitor.upload("a.png", png(RED))
        monkeypatch.setattr(page.classify, "classify", slowly)
        visitor.join("picture", "upload", visitor.file(path), 3, None)
        assert begun.wait(60)
        assert page.work.busy
        threading.Timer(0.5, go_on.set).start()
    assert not page.work.busy
    assert done.is_set()
    with pytest.raises(gr.Error, match="being closed"), page.work.going_on():
        pass


def test_a_large_picture_is_shown_small(visitor: Visitor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    _, shown, *_ = visitor.answer(file.getvalue(), "a.jpg")
    assert len(shown["url"]) < 600_000


@pytest.fixture
def believed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that uvicorn's variable names, if any; before the server is opened."""
    if request.param is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", request.param)


@pytest.mark.parametrize(
    ("believed", "told", "who"),
    [
        (None, "203.0.113.7", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "x, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7", "127.0.0.1"),
    ],
    indirect=["believed"],
)
def test_a_proxy_that_is_named_tells_who_it_was(
    believed: None, told: str, who: str, visitor: Visitor, feedback: Feedback
) -> None:
    visitor.answer(png(RED))
    body = {"data": ["green", None], "fn_index": visitor.number("right", "input"), "session_hash": visitor.session}
    kind = {"Content-Type": "application/json", **({"X-Forwarded-For": told} if told else {})}
    assert visitor.ask("POST", "/gradio_api/queue/join", json.dumps(body).encode(), kind)[0] == 200
    wait_until(feedback.journal)
    assert [row["who"] for row in feedback.journal()] == [who]


def test_a_question_that_is_being_answered_when_the_server_ends_gets_its_answer(
    models: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from whatsit.apps import serving

    begun = threading.Event()
    predict = OpenModel.predict

    def slowly(self: OpenModel, *pictures: Any, **options: Any) -> Any:
        begun.set()
        time.sleep(2)
        return predict(self, *pictures, **options)

    monkeypatch.setattr(OpenModel, "predict", slowly)
    with ThreadPoolExecutor(1) as threads:
        with serving.opened(models, port=0, grace=60) as running:
            visitor = Visitor(str(running))
            sent = visitor.file(visitor.upload("a.png", png(RED)))
            asked = threads.submit(visitor.call, "picture", "upload", sent, 3, None)
            assert begun.wait(60)
            start = time.monotonic()
        assert time.monotonic() - start < 40  # an open page is not waited for
        said = asked.result(timeout=60)
    assert said["success"]
    assert "red" in text_of(said)
