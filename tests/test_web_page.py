"""The page without a browser: what it answers, what it lets in, what it leaves behind."""

from __future__ import annotations

import gc
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_model import colour, golden_pictures, plain, write_tiny_model

import whatsit
import whatsit.apps.web  # first: what it sets, Gradio reads when it is imported
from whatsit.errors import OptionError, ServerError
from whatsit.images import load
from whatsit.preprocess import Preprocess
from whatsit.runtime import OpenModel

pytest.importorskip("gradio", reason="gradio is not installed")

from whatsit.apps.web import examples, page, server
from whatsit.apps.web.page import Page

pytestmark = [
    # Gradio makes event loops and drops them, and uses an option that pandas is about to drop.
    pytest.mark.filterwarnings("ignore:unclosed (event loop|<socket):ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*future.no_silent_downcasting:DeprecationWarning"),
]
LABELS = ("red", "green", "<script>alert(1)</script>")
ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def dropped_loops_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    return OpenModel(write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", LABELS, threshold=0.8))


@pytest.fixture
def opened_page(model: OpenModel) -> Iterator[Page]:
    with Page(model) as made:
        yield made


def saved(path: Path, picture: np.ndarray, **options: Any) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


# ---- what it answers


def test_a_picture_gets_its_label_with_the_score(opened_page: Page, tmp_path: Path) -> None:
    text, shown = opened_page.classify(saved(tmp_path / "a.png", plain((0, 255, 0), (50, 50))), "a.png")
    assert "<p class='headline sure'>green <span>96.5\u00a0%</span></p>" in text
    assert text.count("<tr>") == 3
    assert "a.png, " in text
    assert shown is not None


def test_a_low_score_is_said_to_be_not_sure(opened_page: Page, tmp_path: Path) -> None:
    text, _ = opened_page.classify(saved(tmp_path / "a.png", plain((128, 128, 128))), "a.png")
    assert "<p class='headline unsure'>Not sure - perhaps red (33\u00a0%) or green (33\u00a0%)</p>" in text
    assert "Answers need a score of 80.0\u00a0% here" in text


def test_an_unreadable_picture_gets_its_reason_and_clears_the_drop_zone(opened_page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "a.jpg"
    broken.write_text("hello")
    text, shown = opened_page.classify_upload({"path": str(broken), "orig_name": "holiday.jpg"})
    assert "This picture cannot be read (not a picture: it starts with b&#x27;hello&#x27;)" in text
    assert "holiday.jpg" in text
    assert shown is None


def test_no_picture_is_no_answer(opened_page: Page) -> None:
    text, shown = opened_page.classify_upload(None)
    assert "Drop a picture" in text
    assert shown is None


def test_labels_and_file_names_stand_there_literally(opened_page: Page, tmp_path: Path) -> None:
    text, _ = opened_page.classify(saved(tmp_path / "a.png", plain((0, 0, 255))), "<b>\udcff.png")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; <span>96.5" in text
    assert "&lt;b&gt;?.png" in text
    assert "<script>" not in text


def test_what_browsers_cannot_show_is_shown_as_pixels(opened_page: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 1000, 3), np.uint8)
    _, shown = opened_page.classify(saved(tmp_path / "a.tif", noise), "a.tif")
    assert shown.shape == (240, 800, 3)
    jpeg = saved(tmp_path / "a.jpg", noise)
    assert opened_page.classify(jpeg, "a.jpg")[1] == str(jpeg)


def test_tiny_pictures_are_enlarged_with_sharp_squares() -> None:
    tiny = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    seen = examples.viewable(tiny)
    assert seen.shape == (400, 200, 3)
    assert (seen[12::25, 12::25] == tiny).all()
    assert (seen[:25, :25] == tiny[0, 0]).all()


# ---- examples


@pytest.mark.parametrize(
    "geometry",
    [
        Preprocess("squash", (16, 16)),
        Preprocess("pad", (20, 12)),
        Preprocess("crop", (16, 16), resize_shorter=23),
        Preprocess("crop", (20, 12)),
    ],
)
def test_golden_pictures_are_the_examples_and_get_their_golden_answers(geometry: Preprocess, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (*geometry.size, 3), np.uint8)
    path = write_tiny_model(tmp_path / "m.onnx", size=geometry.size, preprocess=geometry)
    model = OpenModel(path)
    with Page(model) as made:
        assert made.examples[1].name == "colours/1, labelled “green”"
        assert len(made.examples) == 3
        for example, golden in zip(made.examples, golden_pictures(model.labels, geometry.size), strict=True):
            assert model.predict_proba(example.file)[0] == pytest.approx(golden.probabilities, abs=1e-6)
            text, shown = made.classify_example(made.examples.index(example))
            assert f">{golden.label} <span>" in text
            assert max(load(shown).shape) >= 400
    before = examples._before(noisy, geometry)
    assert (geometry.apply(before) == noisy).all()


def test_a_label_that_is_only_the_models_own_answer_is_not_shown_as_one(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", recipe={"model": "mean colour", "golden": "samples"})
    with Page(OpenModel(path)) as made:
        assert [example.name for example in made.examples] == ["colours/0", "colours/1", "colours/2"]


def test_examples_come_from_files_and_folders(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    first = saved(tmp_path / "b.png", plain((255, 0, 0), (90, 90)))
    second = saved(tmp_path / "more" / "deep" / "a.jpg", plain((0, 255, 0), (90, 90)))
    (tmp_path / "more" / "notes.txt").write_text("no picture by its name")
    with Page(model, [first, tmp_path / "more"]) as made:
        assert [example.file for example in made.examples] == [first, second]
        assert "green" in made.classify_example(1)[0]


def test_of_many_examples_some_are_shown_evenly_spread(model: OpenModel, tmp_path: Path) -> None:
    for number in range(100):
        saved(tmp_path / f"{number:03}.png", plain((number, 0, 0)))
    with Page(model, [tmp_path]) as made:
        names = [example.name for example in made.examples]
        assert len(names) == examples.MOST
        assert names[:3] == ["000.png", "002.png", "005.png"]
        assert names[-1] == "097.png"
        assert f"Examples ({examples.MOST} of 100)" in json.dumps(made.blocks.get_config_file())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.png", "no such file"), ("empty", "a folder without pictures"), ("text.jpg", "not a picture")],
)
def test_bad_examples_are_refused_before_the_page_opens(
    model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(OptionError) as refused:
        Page(model, [tmp_path / name])
    assert name in refused.value.what
    assert reason in str(refused.value.value)
    assert "--examples" in refused.value.hint
    assert "GRADIO_TEMP_DIR" not in os.environ


# ---- over HTTP


class Visitor:
    """What the page's own script does, by hand."""

    def __init__(self, address: str) -> None:
        self.host = address.removeprefix("http://")
        self.config = json.loads(self.get("/config")[1])

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path)

    def upload(self, name: str, data: bytes) -> str:
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        status, answer = self._ask("POST", "/gradio_api/upload", head + data + b"\r\n--x--\r\n", kind)
        assert status == 200, answer
        return str(json.loads(answer)[0])

    def classify(self, path: str) -> dict[str, Any]:
        """The last message about the event: its output, or its error."""
        events = self.config["dependencies"]
        number = next(event["id"] for event in events if event["targets"][0][1] == "upload")
        data = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        body = {"data": [data], "fn_index": number, "session_hash": path}
        self._ask("POST", "/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"})
        said = self.get(f"/gradio_api/queue/data?session_hash={path}")[1].decode()
        messages = [json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line]
        return dict(next(message for message in messages if message["msg"] == "process_completed"))

    def _ask(
        self, verb: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(verb, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def visitor(opened_page: Page) -> Iterator[Visitor]:
    with opened_page.open(port=0) as running:
        yield Visitor(str(running))


def test_an_upload_reaches_the_model_byte_for_byte(opened_page: Page, visitor: Visitor) -> None:
    """Re-encoded or stripped of its EXIF, a phone's photo would get another answer than on the command line."""
    file = io.BytesIO()
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    Image.fromarray(plain((255, 0, 0), (40, 60))).save(file, "JPEG", quality=60, exif=turned)
    path = visitor.upload("photo.jpg", file.getvalue())
    assert Path(path).read_bytes() == file.getvalue()
    answer = visitor.classify(path)
    assert answer["success"]
    assert "red <span>" in answer["output"]["data"][0]
    assert load(visitor_file(visitor, answer)).shape[:2] == (420, 280)  # upright, and enlarged for looking at


def visitor_file(visitor: Visitor, answer: dict[str, Any]) -> bytes:
    status, data = visitor.get(answer["output"]["data"][1]["url"].partition(visitor.host)[2])
    assert status == 200
    return data


def test_only_uploads_are_read(opened_page: Page, visitor: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    own = str(opened_page.examples[0].file)
    for path in ("/etc/hostname", own, "http://localhost/a.png", "https://example.org/a.png"):
        answer = visitor.classify(path)
        assert not answer["success"], path
    capfd.readouterr()  # Gradio tells the terminal about such attempts


def test_no_address_is_fetched_for_a_client(visitor: Visitor) -> None:
    assert visitor.get("/gradio_api/file=https://example.org/a.png")[0] == 404
    assert visitor.get("/gradio_api/proxy=https://example.hf.space/a.png")[0] == 404
    assert visitor.get("/gradio_api/file=/etc/hostname")[0] == 403


def test_the_page_has_its_icon_and_no_extras(visitor: Visitor) -> None:
    status, icon = visitor.get("/favicon.ico")
    assert status == 200
    assert load(icon).shape == (64, 64, 3)
    assert visitor.config["footer_links"] == []
    assert visitor.config["title"] == "whatsit: colours"
    assert json.loads(visitor.get("/gradio_api/info")[1])["named_endpoints"] == {}
    assert visitor.get("/gradio_api/runs")[0] == 404
    assert visitor.get("/monitoring")[0] == 403


def test_labels_cannot_break_out_of_the_page_source(visitor: Visitor) -> None:
    status, source = visitor.get("/")
    assert status == 200
    assert b"<script>alert(1)" not in source


def test_uploads_vanish_after_a_while_and_examples_stay(
    model: OpenModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "_CLEAN_UP", (0.2, 0.2))
    with Page(model) as made, made.open(port=0) as running:
        visitor = Visitor(str(running))
        path = Path(visitor.upload("a.png", saved(tmp_path / "a.png", plain((9, 9, 9))).read_bytes()))
        assert visitor.classify(str(path))["success"]
        uploads = path.parents[1]
        kept = len(made.examples)
        deadline = time.monotonic() + 10
        while len(files_in(uploads)) > kept and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not path.exists()
        assert len(files_in(uploads)) == kept
    assert not uploads.exists()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_pictures_of_several_visitors_are_answered_at_once(opened_page: Page, visitor: Visitor) -> None:
    colours = [colour(number, 3) for number in range(3)] * 4
    answers: dict[int, str] = {}

    def visit(number: int) -> None:
        file = io.BytesIO()
        Image.fromarray(plain(colours[number], (30 + number, 30))).save(file, "PNG")
        answers[number] = visitor.classify(visitor.upload(f"{number}.png", file.getvalue()))["output"]["data"][0]

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(len(colours))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ("red", "green", "&lt;script&gt;")
    assert all(f"headline sure'>{names[number % 3]}" in answers[number] for number in range(len(colours)))


# ---- opening and closing


def test_an_address_in_use_is_said(opened_page: Page) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError) as refused, opened_page.open(port=port):
            pass
    assert refused.value.what == f"cannot listen on 127.0.0.1:{port}"
    assert refused.value.value == "address already in use"


def test_every_address_is_told_as_one_to_visit(opened_page: Page) -> None:
    with opened_page.open("0.0.0.0", 0) as running:
        assert running.addresses[0].startswith("http://127.0.0.1:")
        assert socket.gethostname() in running.addresses[1]
        assert Visitor(running.addresses[0]).config["title"]


def test_a_public_link_that_cannot_be_had_is_an_error_and_closes_the_page(
    opened_page: Page, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def offline(host: str, port: int, *_: object) -> str:
        asked.append(port)
        print("chatter")
        raise RuntimeError("Could not get share link.") from OSError("no route to host")

    monkeypatch.setattr(server.networking, "setup_tunnel", offline)
    with pytest.raises(ServerError) as refused, opened_page.open(port=0, share=True):
        pass
    assert refused.value.value == "Could not get share link. no route to host chatter"
    assert "--share" in refused.value.hint
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", asked[0])).close()


def test_a_public_link_is_told_beside_the_address(opened_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.networking, "setup_tunnel", lambda *_: "https://public.example")
    with opened_page.open(port=0, share=True) as running:
        assert str(running).endswith(" and https://public.example")


def test_the_server_asks_nobody(tmp_path: Path) -> None:
    """Neither for news at start, nor while it is answering, nor at its end; and it prints nothing of its own."""
    path = write_tiny_model(tmp_path / "m.onnx")
    script = f"""
import sys
asked = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen")
sys.addaudithook(lambda event, args: asked.append((event, args)) if event in WATCHED else None)
from whatsit.apps.web.page import Page
from whatsit.runtime import OpenModel
from pathlib import Path
with Page(OpenModel(Path({str(path)!r}))) as page, page.open(port=0) as running:
    page.classify_example(0)
local = ("127.0.0.1", "localhost")
print([call for call in asked if not any(repr(host) in repr(call) for host in local)])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)
