"""The HTTP interface, asked over a socket: what it answers, and how it says what it cannot."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from server_process import SECONDS, Server, started
from tiny_model import plain, write_tiny_model

pytest.importorskip("prometheus_client", reason="needs the 'server' extra")

from whatsit import images
from whatsit.apps import serving
from whatsit.apps.served import named
from whatsit.apps.server.limits import Limits
from whatsit.runtime import OpenModel

httpx = pytest.importorskip("httpx", reason="httpx is not installed")

FORM = "multipart/form-data; boundary=b"
HOSTILE = "<script>alert(1)</script>"
PROBLEM = "application/problem+json"
PARTS = {"type", "title", "status", "kind", "detail", "what", "value", "accepted", "hint", "error"}


def encoded(rgb: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (30, 40)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(plain(rgb, size)).save(file, kind)
    return file.getvalue()


RED, GREEN, BLUE, GREY = (encoded(c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [
        write_tiny_model(folder / "colours.onnx", ("red", "green", HOSTILE), threshold=0.8),
        write_tiny_model(folder / "two.onnx", ("warm", "cold")),
    ]


@pytest.fixture(scope="module", params=["alone", "beside the page"])
def server(models: list[Path], request: pytest.FixtureRequest) -> Iterator[Server]:
    page = request.param == "beside the page"
    if page:
        pytest.importorskip("gradio", reason="needs the 'web' extra")
    with started("-m", models[0], "-m", models[1], "--no-access-log", page=page) as running:
        yield running


@pytest.fixture(scope="module")
def ask(server: Server) -> Iterator[Any]:
    with httpx.Client(base_url=server.address, timeout=SECONDS) as client:
        yield client


@pytest.fixture
def limited(models: list[Path]) -> Iterator[Any]:
    """A server with tight limits."""
    limits = Limits(request_bytes=20_000, picture=images.Limits(max_bytes=15_000, max_pixels=10_000), pictures=3)
    with (
        serving.opened(named([("c.onnx", OpenModel(models[0]))]), page=False, port=0, limits=limits) as running,
        httpx.Client(base_url=str(running), timeout=SECONDS) as client,
    ):
        yield client


def refused(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is a whole problem of this status and kind, and return it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    problem: dict[str, Any] = answer.json()
    assert set(problem) == PARTS
    assert (problem["status"], problem["kind"]) == (status, kind)
    assert problem["accepted"]
    assert problem["hint"]
    assert not re.search(r"/(home|root|work|tmp|usr|var)/|Traceback", answer.text)
    return problem


# ---- what it answers


def test_a_picture_as_the_body_gets_its_label(ask: Any) -> None:
    answer = ask.post("/predict?top=2", content=RED, headers={"Content-Type": "image/png"})
    said = answer.json()
    assert answer.status_code == 200
    assert (said["label"], said["unsure"], said["error"], said["model"]) == ("red", False, None, "colours")
    assert said["score"] == pytest.approx(0.965, abs=1e-3)
    assert [one["label"] for one in said["top"]] == ["red", "green"]
    assert set(said["timing"]) == {"queue_ms", "decode_ms", "inference_ms"}
    assert all(value >= 0 for value in said["timing"].values())


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded", "image/jpeg", None])
def test_a_body_of_any_usual_type_is_a_picture(ask: Any, kind: str | None) -> None:
    request = ask.build_request("POST", "/predict", content=GREEN)
    if kind is not None:
        request.headers["Content-Type"] = kind
    assert ask.send(request).json()["label"] == "green"


def test_a_low_score_is_not_sure(ask: Any) -> None:
    said = ask.post("/predict", content=GREY).json()
    assert (said["unsure"], said["reason"]) == (True, "low score")


def test_a_form_with_one_file_is_answered_like_a_body(ask: Any) -> None:
    said = ask.post("/predict", files={"file": ("mine.png", GREEN)}).json()
    assert (said["label"], said["name"]) == ("green", "mine.png")


def test_of_several_pictures_a_bad_one_fails_alone(ask: Any) -> None:
    files = [("file", ("a.png", RED)), ("file", ("b.png", b"no picture at all")), ("other", ("c.png", BLUE))]
    said = ask.post("/predict", files=files).json()
    assert said["model"] == "colours"
    assert [one["label"] for one in said["predictions"]] == ["red", None, HOSTILE]
    assert [one["name"] for one in said["predictions"]] == ["a.png", "b.png", "c.png"]
    assert said["predictions"][1]["error"].startswith("not a picture")
    assert said["timing"]["total_ms"] > 0


def test_another_model_is_asked_by_name(ask: Any) -> None:
    assert ask.post("/predict?model=two", content=RED).json()["model"] == "two"
    problem = refused(ask.post("/predict?model=nix", content=RED), 404, "no such model")
    assert problem["accepted"] == "colours, two"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_torchserve_clients_get_labels_with_scores(ask: Any, method: str) -> None:
    said = ask.request(method, "/predictions/colours?top=2", content=GREEN).json()
    assert list(said) == ["green", "red"]
    assert said["green"] == pytest.approx(0.965, abs=1e-3)
    two = ask.request(method, "/predictions/colours", files=[("data", ("a", GREEN)), ("data", ("b", b"x"))]).json()
    assert next(iter(two[0])) == "green"
    assert set(two[1]) == {"error"}


def test_labels_are_listed(ask: Any) -> None:
    said = ask.get("/labels").json()
    assert said == {"model": "colours", "labels": ["red", "green", HOSTILE], "models": ["colours", "two"]}
    assert ask.get("/labels?model=two").json()["labels"] == ["warm", "cold"]


def test_health_is_open_and_metrics_count(ask: Any) -> None:
    assert [ask.get(f"/health{path}").json()["status"] for path in ("/live", "/ready", "")] == [
        "alive",
        "ready",
        "ready",
    ]

    def count(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", ask.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    answered = 'whatsit_pictures_total{model="colours",outcome="answered"}'
    unreadable = 'whatsit_pictures_total{model="colours",outcome="unreadable"}'
    problems = 'whatsit_errors_total{kind="not a picture"}'
    requests = 'whatsit_requests_total{endpoint="/predict",method="POST",status="415"}'
    inference = 'whatsit_stage_seconds_count{stage="inference"}'
    names = (answered, unreadable, problems, requests, inference)
    before = [count(name) for name in names]
    ask.post("/predict", content=RED)
    ask.post("/predict", content=b"text")
    assert [count(name) - was for name, was in zip(names, before, strict=True)] == [1, 1, 1, 1, 2]
    assert count("whatsit_queue_length") == 0
    assert {
        stage
        for stage in ("receive", "queue", "decode", "total")
        if count(f'whatsit_stage_seconds_count{{stage="{stage}"}}')
    }


def test_an_answer_cannot_be_taken_for_a_page(ask: Any) -> None:
    answer = ask.post("/predict", content=BLUE)
    assert HOSTILE in answer.json()["label"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in ask.get("/labels", headers={"Origin": "https://example.org"}).headers


def test_the_description_loads_nothing_from_other_hosts(ask: Any) -> None:
    page = ask.get("/docs").text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    assert all(link.startswith("/") for link in links)
    assert all(ask.get(link).status_code == 200 for link in links)
    document = ask.get("/openapi.json").json()
    assert {"/predict", "/predictions/{model}", "/labels", "/metrics", "/v2/models/{model}/infer"} <= set(
        document["paths"]
    )


# ---- what it cannot


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels, and whose data are zeros, packed a thousand times."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.png", bytes(50_000_000))
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 422, "empty"),
        (b"hello, I am a text", 415, "not a picture"),
        (huge_png(20_000, 15_000), 422, "too many pixels"),
        (zip_bomb(), 415, "not a picture"),
        (RED[:60], 422, "unreadable"),
    ],
    ids=["empty", "text", "300 megapixels", "zip bomb", "cut off"],
)
def test_a_lone_picture_that_cannot_be_read_is_a_problem(ask: Any, body: bytes, status: int, kind: str) -> None:
    refused(ask.post("/predict", content=body), status, kind)
    refused(ask.post("/predict", files={"file": ("a.png", body)}), status, kind)
    assert ask.post("/predict", content=RED).json()["label"] == "red"


def test_the_limits_on_bytes_pixels_and_pictures_hold(limited: Any) -> None:
    refused(limited.post("/predict", content=bytes(20_001)), 413, "too many bytes")
    refused(limited.post("/predict", content=iter([bytes(15_000)] * 2)), 413, "too many bytes")  # no length told before
    refused(limited.post("/predict", content=encoded((1, 2, 3), "BMP", (80, 80))), 413, "too many bytes")
    refused(limited.post("/predict", content=encoded((1, 2, 3), size=(101, 100))), 422, "too many pixels")
    refused(limited.post("/predict", files=[("file", ("a.png", RED))] * 4), 413, "too many pictures")
    body = {"inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [4], "data": [""] * 4}]}
    refused(limited.post("/v2/models/c/infer", json=body), 413, "too many pictures")
    assert limited.post("/predict", content=RED).json()["label"] == "red"


@contextmanager
def with_limits(model: Path, **limits: float) -> Iterator[tuple[str, int]]:
    served = named([("c.onnx", OpenModel(model))])
    with serving.opened(served, page=False, port=0, limits=Limits(**limits)) as running:
        yield running.visit


def post(size: int) -> bytes:
    return f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()


def test_a_client_that_stops_in_the_middle_is_not_waited_for(models: list[Path]) -> None:
    with with_limits(models[0], seconds_of_quiet=0.4) as address:
        with socket.create_connection(address, timeout=SECONDS) as half:
            half.sendall(post(1000) + RED[:50])
            assert half.recv(65_536).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(address) as gone:
            gone.sendall(post(1000) + RED[:50])
        assert httpx.get(f"http://127.0.0.1:{address[1]}/labels", timeout=SECONDS).status_code == 200


def test_a_body_that_keeps_coming_is_waited_for(models: list[Path]) -> None:
    """For longer than a quiet client is."""
    with (
        with_limits(models[0], seconds_of_quiet=3, seconds_to_send=SECONDS) as address,
        socket.create_connection(address, timeout=SECONDS) as slow,
    ):
        slow.sendall(post(len(RED)))
        step = len(RED) // 16 + 1
        for start in range(0, len(RED), step):
            time.sleep(0.25)
            slow.sendall(RED[start : start + step])
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_keeps_coming_is_not_waited_for_for_ever(models: list[Path]) -> None:
    with (
        with_limits(models[0], seconds_of_quiet=10 * SECONDS, seconds_to_send=1) as address,
        socket.create_connection(address, timeout=SECONDS) as endless,
    ):
        endless.sendall(post(10_000))
        for _ in range(3):
            time.sleep(0.1)
            endless.sendall(b"x")
        assert endless.recv(65_536).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_never_finishes_its_first_line_is_dropped(
    models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.apps.server import listening

    with with_limits(models[0]) as address:
        monkeypatch.setattr(listening._Impatient, "seconds", 1.0)
        for sent in (b"", b"POST /predict HT"):
            with socket.create_connection(address, timeout=SECONDS) as silent:
                silent.sendall(sent)
                assert silent.recv(10) == b""
        # After an answer, also in a second request, and after the rest of a body that nobody reads.
        for left_over in (b"", b"GET /heal", b"\r\n", b"x"):
            monkeypatch.setattr(listening._Impatient, "seconds", SECONDS)
            with socket.create_connection(address, timeout=SECONDS) as kept:
                length = b"Content-Length: 100\r\n" if left_over == b"x" else b""
                kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")
                answer = kept.recv(65_536)
                while b"alive" not in answer:
                    answer += kept.recv(65_536)
                monkeypatch.setattr(listening._Impatient, "seconds", 1.0)
                kept.sendall(left_over)
                assert kept.recv(10) == b""


def test_bodies_that_cannot_be_understood_are_problems(ask: Any) -> None:
    refused(ask.post("/predict", json={"url": "http://127.0.0.1/secret"}), 415, "unsupported body")
    refused(ask.post("/predict", content=RED, headers={"Content-Encoding": "gzip"}), 415, "compressed body")
    refused(ask.post("/predict", data={"url": "http://127.0.0.1/"}, files={"f": ("a", RED)}), 422, "not a file")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    whole = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + RED + b"\r\n--b--\r\n"
    assert ask.post("/predict", content=whole, headers=form).json()["label"] == "red"
    for broken in (whole[:-8], b"", b"nothing of the kind", whole.replace(b"--b", b"--c")):
        refused(ask.post("/predict", content=broken, headers=form), 400, "broken form")
    refused(ask.post("/predict", content=whole, headers={"Content-Type": "multipart/form-data"}), 400, "broken form")
    refused(ask.post("/predict", content=b"--b--\r\n", headers=form), 422, "empty")


@pytest.mark.parametrize("top", ["0", "-1", "many", "10001"])
def test_a_top_that_is_no_number_of_labels_is_a_problem(ask: Any, top: str) -> None:
    problem = refused(ask.post(f"/predict?top={top}", content=RED), 422, "invalid parameter")
    assert problem["what"] == "cannot use query top"


def test_addresses_and_methods_that_are_none_are_problems(ask: Any) -> None:
    refused(ask.get("/v2/nothing"), 404, "no such address")
    assert refused(ask.get("/predict"), 405, "method not allowed")["status"] == 405


def test_file_names_that_are_no_text_and_names_with_paths_are_only_names(ask: Any) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="\xff\xfe.png"\r\n\r\n' + RED
    body += b'\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="../../etc/passwd"\r\n\r\nx\r\n--b--\r\n'
    said = ask.post("/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}).json()
    assert [one["label"] for one in said["predictions"]] == ["red", None]
    assert said["predictions"][0]["name"].endswith(".png")


def test_what_is_long_to_read_is_refused_and_others_are_answered_meanwhile(ask: Any, server: Server) -> None:
    """Reading JSON keeps all threads waiting, and so does multiplying a long shape: this one for half a minute."""
    shape = {"name": "pictures", "datatype": "BYTES", "shape": [1, *[2**31 - 1] * 200_000]}
    bodies = [
        (b"[" * 10_000_000, 413, "too many values"),
        (b'{"inputs": ' + b"[1," * 3_300_000, 413, "too many values"),
        (json.dumps({"inputs": [1] * 3_000_000}).encode(), 413, "too many values"),
        (b'{"x":[' + b"[]," * 400_000 + b"[]]}", 400, "bad tensor"),
        (json.dumps({"inputs": [shape]}).encode(), 400, "bad tensor"),
        (b'{"inputs": "' + b"a" * 10_000_000 + b'"}', 400, "bad tensor"),
    ]
    waits: list[float] = []
    done = threading.Event()

    def ask_all_the_time() -> None:
        with httpx.Client(base_url=server.address, timeout=SECONDS) as other:
            while not done.is_set():
                start = time.perf_counter()
                assert other.get("/health/live").status_code == 200
                waits.append(time.perf_counter() - start)

    thread = threading.Thread(target=ask_all_the_time)
    thread.start()
    try:
        for body, status, kind in bodies:
            answer = ask.post("/v2/models/colours/infer", content=body)
            refused(answer, status, kind)
            assert len(answer.content) < 2_000
    finally:
        done.set()
        thread.join()
    assert max(waits) < 10  # 0.2 s on an idle machine
    assert len(waits) >= 5


def test_binary_tensors_that_do_not_fit_are_refused(ask: Any) -> None:
    files = {"name": "pictures", "datatype": "BYTES", "shape": [1]}

    def infer(tail: bytes, size: Any, length: str | None = None) -> Any:
        text = json.dumps({"inputs": [{**files, "parameters": {"binary_data_size": size}}]}).encode()
        headers = {"Inference-Header-Content-Length": length or str(len(text))}
        return ask.post("/v2/models/colours/infer", content=text + tail, headers=headers)

    whole = len(RED).to_bytes(4, "little") + RED
    assert infer(whole, len(whole)).json()["outputs"][1]["data"] == ["red"]
    for tail, size in ((whole, len(whole) + 1), (whole[:-1], len(whole) - 1), (b"\1", 1), (whole * 2, 2 * len(whole))):
        refused(infer(tail, size), 400, "bad tensor")
    refused(infer(bytes(4_000_000), 4_000_000), 400, "bad tensor")  # a million empty elements
    for length in ("9" * 5_000, "-1", "x", "1000000"):
        refused(infer(whole, len(whole), length), 400, "bad tensor")


def test_bodies_in_memory_have_a_limit_together(models: list[Path]) -> None:
    limits = Limits(held_bytes=100_000)
    served = named([("c.onnx", OpenModel(models[0]))])
    with serving.opened(served, page=False, port=0, limits=limits) as running:
        port = running.visit[1]
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as holding:
            holding.sendall(head + bytes(80_000))
            answer = asked_until(429, f"{running}/predict", bytes(30_000))
            refused(answer, 429, "too many bytes at once")
            assert answer.headers["retry-after"]
            assert httpx.post(f"{running}/predict", content=RED).json()["label"] == "red"
        asked_until(415, f"{running}/predict", bytes(90_000))


def asked_until(status: int, address: str, body: bytes) -> Any:
    """The first answer with this status: a server hears of what other connections do in its own time."""
    end = time.monotonic() + SECONDS
    while (answer := httpx.post(address, content=body, timeout=SECONDS)).status_code != status:
        assert time.monotonic() < end, answer
        time.sleep(0.02)
    return answer


def test_a_client_that_asks_first_hears_at_once_that_its_body_is_too_large(limited: Any) -> None:
    address = limited.base_url
    with socket.create_connection((address.host, address.port), timeout=SECONDS) as asking:
        asking.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n")
        assert asking.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_head_is_an_answer_without_its_body(ask: Any) -> None:
    for path in ("/health/live", "/health/ready", "/labels", "/metrics", "/v2"):
        answer = ask.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


# ---- who may ask


def test_a_token_is_asked_for_and_probes_need_none(models: list[Path]) -> None:
    with started("-m", models[0], WHATSIT_TOKEN="s3cret") as server, httpx.Client(base_url=server.address) as ask:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer"},
        ):
            answer = ask.post("/predict", content=RED, headers=headers)
            refused(answer, 401, "not admitted")
            assert answer.headers["www-authenticate"] == 'Bearer realm="whatsit"'
            assert ask.get("/labels", headers=headers).status_code == 401
            assert ask.get("/metrics", headers=headers).status_code == 401
            assert ask.get("/v2/models/colours", headers=headers).status_code == 401
        for scheme in ("Bearer", "bearer"):
            answer = ask.post("/predict", content=RED, headers={"Authorization": f"{scheme} s3cret"})
            assert answer.json()["label"] == "red"
        assert [ask.get(path).status_code for path in ("/health/ready", "/v2/health/live", "/docs")] == [200, 200, 200]
        assert set(ask.get("/openapi.json").json()["components"]["securitySchemes"]) == {"bearer"}
        counted = 'whatsit_requests_total{endpoint="/labels",method="GET",status="401"} 4.0'
        assert counted in ask.get("/metrics", headers={"Authorization": "Bearer s3cret"}).text


def test_the_page_password_admits_programs_too(models: list[Path]) -> None:
    with started("-m", models[0], "--auth", "ada:x:y") as server, httpx.Client(base_url=server.address) as ask:
        problem = ask.post("/predict", content=RED)
        assert problem.headers["www-authenticate"] == 'Basic realm="whatsit"'
        assert "-u USER:PASSWORD" in refused(problem, 401, "not admitted")["hint"]
        assert ask.post("/predict", content=RED, auth=("ada", "x")).status_code == 401
        assert ask.post("/predict", content=RED, auth=("ada", "x:y")).json()["label"] == "red"


def test_other_origins_may_ask_only_where_they_are_named(models: list[Path]) -> None:
    origin = {"Origin": "https://example.org"}
    with (
        started("-m", models[0], "--cors", "https://example.org", WHATSIT_TOKEN="t") as server,
        httpx.Client(base_url=server.address) as ask,
    ):
        stranger = ask.get("/labels", headers=origin)
        assert (stranger.status_code, stranger.headers["access-control-allow-origin"]) == (401, "https://example.org")
        ask.headers["Authorization"] = "Bearer t"
        assert ask.get("/labels", headers=origin).headers["access-control-allow-origin"] == "https://example.org"
        other = ask.get("/labels", headers={"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in other.headers
        asked = {**origin, "Access-Control-Request-Method": "POST"}
        assert ask.options("/predict", headers=asked).status_code == 200
        refusal = ask.get("/labels?model=nix", headers=origin)
        assert (refusal.status_code, refusal.headers["access-control-allow-origin"]) == (404, "https://example.org")


# ---- the process


def test_the_access_log_is_one_line_of_json_for_each_request(models: list[Path]) -> None:
    with started("-m", models[0]) as server:
        with httpx.Client(base_url=server.address) as ask:
            identity = ask.post("/predict", content=RED).headers["x-request-id"]
            ask.post('/predictions/a"b%0A%C2%9B31m%F0%9F%98%80', content=RED, headers={"X-Forwarded-For": "evil"})
            ask.get("/health/live")
        server.process.terminate()
        out, err = server.process.communicate(timeout=SECONDS)
    assert out.isascii()
    assert "\x9b" not in out
    first, second = map(json.loads, out.splitlines())
    assert second["client"] == first["client"] == "127.0.0.1"
    assert first["id"] == identity
    assert (first["method"], first["path"], first["status"], first["pictures"]) == ("POST", "/predict", 200, 1)
    assert first["kind"] is None
    assert (second["status"], second["kind"]) == (404, "no such model")
    assert set(first) == {"time", "id", "client", "method", "path", "status", "kind", "pictures", "ms"}
    assert (err, server.process.returncode) == ("", 0)


def test_nobody_reading_the_log_holds_nothing_up(models: list[Path]) -> None:
    with started("-m", models[0]) as server, httpx.Client(base_url=server.address, timeout=SECONDS) as ask:
        long = "x" * 6_000  # a pipe holds 64 kB
        assert all(ask.get(f"/labels?model={long}").status_code == 404 for _ in range(40))
        assert ask.post("/predict", content=RED).json()["label"] == "red"


def test_broken_forms_are_no_lines_on_stderr(models: list[Path]) -> None:
    with started("-m", models[0], "--no-access-log") as server, httpx.Client(base_url=server.address) as ask:
        for _ in range(20):
            ask.post("/predict", content=b"--b\r\nContent-Dis\x1bposition: x", headers={"Content-Type": FORM})
        server.process.terminate()
        assert server.process.communicate(timeout=SECONDS) == ("", "")


def test_a_mistake_of_ours_is_told_to_the_log_and_not_to_the_client(
    models: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("a secret of this machine")

    monkeypatch.setattr(OpenModel, "prepare", mistaken)
    served = named([("c.onnx", OpenModel(models[0]))])
    with serving.opened(served, page=False, port=0) as running:
        answer = httpx.post(f"{running}/predict", content=RED)
        refused(answer, 500, "mistake of the server")
        assert "secret" not in answer.text
    told = json.loads(capfd.readouterr().err)
    assert told["id"] == answer.headers["x-request-id"]
    assert "RuntimeError: a secret of this machine" in told["trace"]


def test_a_server_may_be_opened_off_the_main_thread(models: list[Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def open_and_ask() -> str:
        with serving.opened(named([("c.onnx", OpenModel(models[0]))]), page=False, port=0) as running:
            return str(httpx.post(f"{running}/predict", content=RED).json()["label"])

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(open_and_ask).result(timeout=SECONDS) == "red"


def test_a_model_file_that_is_deleted_goes_on_answering(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.onnx")
    with started("-m", model) as server, httpx.Client(base_url=server.address) as ask:
        model.unlink()
        assert ask.post("/predict", content=RED).json()["label"] == "red"
        assert ask.get("/health/ready").status_code == 200


def test_a_second_server_on_the_port_is_one_error(server: Server, models: list[Path]) -> None:
    command = [sys.executable, "-m", "whatsit", "serve", "--no-page", "-m", str(models[0]), "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: cannot listen on 127\.0\.0\.1:\d+: got address already in use; .*\n", done.stderr)


def test_the_queue_has_an_end(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from whatsit.runtime import OpenModel as Model

    refused_all = threading.Event()

    def slow(*_arguments: Any, **_options: Any) -> Any:
        assert refused_all.wait(SECONDS)
        return plain((255, 0, 0))

    monkeypatch.setattr(Model, "prepare", slow)
    with serving.opened(
        named([("c.onnx", OpenModel(models[0]))]), page=False, port=0, limits=Limits(queue=2)
    ) as running:
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(6) as threads, httpx.Client(base_url=str(running), timeout=SECONDS) as ask:
            asked = as_completed([threads.submit(ask.post, "/predict", content=RED) for _ in range(6)])
            answers = [next(asked).result() for _ in range(4)]
            refused_all.set()
            answers += [one.result() for one in asked]
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
    full = next(answer for answer in answers if answer.status_code == 429)
    refused(full, 429, "queue full")
    assert int(full.headers["retry-after"]) >= 1


def test_sigterm_finishes_what_was_begun_and_refuses_what_comes(models: list[Path], tmp_path: Path) -> None:
    """A request whose body is on its way when the signal comes gets its answer; a new one gets 503."""
    with started("-m", models[0], "--grace", "10") as server:
        begun = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
        begun.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(RED)}\r\n\r\n".encode() + RED[:40])
        with httpx.Client(base_url=server.address) as ask:
            while ask.get("/health/ready").status_code != 200:
                time.sleep(0.01)
            server.process.terminate()
            while ask.get("/health/ready").status_code == 200:
                time.sleep(0.01)
            refused(ask.get("/health/ready"), 503, "ending")
            assert ask.get("/health/live").status_code == 200
            late = ask.post("/predict", content=RED)
            refused(late, 503, "ending")
            assert late.headers["retry-after"]
            time.sleep(2.5)  # longer than uvicorn by itself would wait for it
            assert server.process.poll() is None
        begun.sendall(RED[40:])
        said = b"".join(iter(lambda: begun.recv(65_536), b""))  # until the server closes
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b'"label":"red"' in said
        begun.close()
        assert server.process.wait(SECONDS) == 0


def test_grace_ends_a_wait_for_a_client_that_hangs(models: list[Path]) -> None:
    with (
        started("-m", models[0], "--grace", "1") as server,
        socket.create_connection(("127.0.0.1", server.port)) as hanging,
    ):
        hanging.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        time.sleep(0.3)
        start = time.monotonic()
        server.process.terminate()
        server.process.communicate(timeout=SECONDS)
        assert time.monotonic() - start < 12  # without --grace, 15 s of quiet are waited for


def test_nothing_is_left_on_the_disk(models: list[Path], tmp_path: Path) -> None:
    with started("-m", models[0], TMPDIR=str(tmp_path)) as server, httpx.Client(base_url=server.address) as ask:
        large = encoded((255, 0, 0), "BMP", (1500, 1500))
        for _ in range(5):
            assert ask.post("/predict", files={"file": ("a.bmp", large)}).json()["label"] == "red"
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--examples", "x"], "cannot leave out the page: got --no-page with --examples"),
        (["--auth", "ada"], "cannot ask for this user and password"),
        (["--new-labels"], "cannot take new labels"),
        (["-m", "a.onnx", "-m", "b.onnx", "--preprocess", "imagenet"], "cannot tell which model is meant"),
        (["--queue", "0"], "cannot run 'whatsit serve'"),
        (["--token", ""], "cannot ask for this token"),
        (["--token", " x"], "cannot ask for this token"),
        (["--cors", "example.org"], "cannot let this origin ask"),
        (["--cors", "https://example.org/"], "cannot let this origin ask"),
    ],
)
def test_options_that_contradict_are_refused_at_once(options: list[str], told: str) -> None:
    command = [sys.executable, "-m", "whatsit", "serve", "--no-page", "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("variable", ["WHATSIT_TOKEN", "WHATSIT_AUTH"])
def test_an_empty_secret_in_a_variable_does_not_open_the_server(variable: str) -> None:
    command = [sys.executable, "-m", "whatsit", "serve", "--no-page", "--port", "0"]
    environment = {**os.environ, variable: ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment, check=False)
    assert done.returncode == 2
    assert variable in done.stderr


def test_base64_pictures_and_pixels_get_the_same_answers_in_json(ask: Any) -> None:
    files = [base64.b64encode(one).decode() for one in (RED, GREEN)]
    body = {"id": "x", "inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [2], "data": files}]}
    said = ask.post("/v2/models/colours/infer", json=body).json()
    assert (said["id"], said["model_name"]) == ("x", "colours")
    outputs = {one["name"]: one for one in said["outputs"]}
    assert set(outputs) == {"probabilities", "label", "score", "unsure", "error"}
    assert outputs["label"]["data"] == ["red", "green"]
    assert outputs["probabilities"]["shape"] == [2, 3]
    pixels = np.stack([plain((255, 0, 0), (3, 4)), plain((0, 255, 0), (3, 4))])
    tensor = {"name": "pictures", "datatype": "UINT8", "shape": [2, 3, 4, 3], "data": pixels.tolist()}
    asked = {"inputs": [tensor], "outputs": [{"name": "probabilities"}, {"name": "embedding"}]}
    other = ask.post("/v2/models/colours/versions/1/infer", json=asked).json()["outputs"]
    assert [one["name"] for one in other] == ["probabilities", "embedding"]
    assert other[0]["data"] == pytest.approx(outputs["probabilities"]["data"], abs=1e-6)
