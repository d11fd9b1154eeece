"""The command line, the page, the desktop window, /predict and the Open Inference Protocol give the same answers."""

from __future__ import annotations

import base64
import csv
import gc
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from page_visitor import Visitor
from PIL import Image
from server_process import SECONDS

pytest.importorskip("gradio", reason="gradio is not installed")


from whatsit import named_models
from whatsit.apps import serving
from whatsit.apps.cli.main import main
from whatsit.apps.served import named
from whatsit.runtime import OpenModel

httpx = pytest.importorskip("httpx", reason="httpx is not installed")

TOLERANCE = 1e-4
COUNT = 50
ORIENTATION = 0x0112
Answers = dict[str, dict[str, float]]
"""Name of the picture -> label -> probability."""


def scene(number: int) -> Image.Image:
    """A picture whose answer depends on which way up it is: a gradient, a disc in a corner, some noise."""
    random = np.random.default_rng(number)
    height, width = int(random.integers(20, 400)), int(random.integers(20, 400))
    down, across = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    ends = random.integers(0, 256, (3, 3))
    values = ends[0] * (1 - down[..., None]) + ends[1] * down[..., None]
    disc = (down - 0.2) ** 2 + (across - 0.3) ** 2 < 0.04
    values[disc] = ends[2]
    return Image.fromarray((values + random.normal(0, 8, values.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty pictures: JPEG, PNG, TIFF and WebP, each in every orientation of EXIF, and other modes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    modes = [("png", "L"), ("png", "RGBA"), ("png", "P"), ("png", "1"), ("png", "I;16"), ("jpg", "CMYK"), ("jpg", "L")]
    modes += [("gif", "P"), ("bmp", "RGB"), ("webp", "RGBA"), ("tiff", "L"), ("ppm", "RGB")]
    turned = [(kind, orientation) for orientation in range(1, 9) for kind in ("jpg", "png", "tiff", "webp")]
    for number, (kind, orientation) in enumerate(turned):
        image = scene(number)
        exif = image.getexif()
        exif[ORIENTATION] = orientation
        image.save(folder / f"{number:02d}-{orientation}.{kind}", exif=exif)
    for number, (kind, mode) in enumerate(modes, start=len(turned)):
        image = scene(number)
        image = (
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
            if mode == "I;16"
            else image.convert(mode)
        )
        image.save(folder / f"{number:02d}.{kind}")
    for number in range(len(turned) + len(modes), COUNT):
        scene(number).save(folder / f"{number:02d}.jpg", quality=60 + number % 30)
    assert len(list(folder.iterdir())) == COUNT
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What `whatsit predict` says."""
    out = tmp_path_factory.mktemp("answers") / "answers.json"
    assert main(["predict", "-m", "everyday", str(folder), "--top", "10", "--format", "json", "--out", str(out)]) == 0
    answers = {Path(row["path"]).name: scores(row["top"]) for row in json.loads(out.read_text())}
    assert len(answers) == COUNT
    assert len({next(iter(answer)) for answer in answers.values()}) > 3  # not all the same label
    return answers


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page and the HTTP interface, as `whatsit serve` opens them."""
    with serving.opened(named([("everyday", OpenModel(named_models.BUILTIN_FILE))]), port=0) as running:
        yield str(running)
    gc.collect()  # the dropped loops, while their warnings are expected


def scores(top: list[dict[str, float]]) -> dict[str, float]:
    return {str(one["label"]): one["score"] for one in top}


def by_predict(address: str, folder: Path) -> Answers:
    with httpx.Client(base_url=address, timeout=SECONDS) as ask:
        return {
            file.name: scores(ask.post("/predict?top=10", content=file.read_bytes()).json()["top"])
            for file in sorted(folder.iterdir())
        }


def by_a_form_with_all(address: str, folder: Path) -> Answers:
    files = [("file", (file.name, file.read_bytes())) for file in sorted(folder.iterdir())]
    said = httpx.post(f"{address}/predict?top=10", files=files, timeout=SECONDS).json()
    return {one["name"]: scores(one["top"]) for one in said["predictions"]}


def by_inference_protocol(address: str, folder: Path) -> Answers:
    files = sorted(folder.iterdir())
    labels = httpx.get(f"{address}/labels", timeout=SECONDS).json()["labels"]
    data = [base64.b64encode(file.read_bytes()).decode() for file in files]
    tensor = {"name": "pictures", "datatype": "BYTES", "shape": [len(files)], "data": data}
    said = httpx.post(f"{address}/v2/models/everyday/infer", json={"inputs": [tensor]}, timeout=SECONDS).json()
    output = next(one for one in said["outputs"] if one["name"] == "probabilities")
    rows = np.array(output["data"], np.float32).reshape(output["shape"])
    return {file.name: dict(zip(labels, map(float, row), strict=True)) for file, row in zip(files, rows, strict=True)}


def by_torchserve(address: str, folder: Path) -> Answers:
    with httpx.Client(base_url=address, timeout=SECONDS) as ask:
        return {
            file.name: ask.post("/predictions/everyday?top=10", content=file.read_bytes()).json()
            for file in sorted(folder.iterdir())
        }


def by_page(address: str, folder: Path) -> Answers:
    """The table of many pictures, as the CSV that the page offers."""
    visitor = Visitor(address)
    sent = [visitor.file(visitor.upload(file.name, file.read_bytes()), file.name) for file in sorted(folder.iterdir())]
    _, table, *_ = visitor.call("dropped", "upload", sent, "everyday")["output"]["data"]
    found = re.search(r"data:text/csv;charset=utf-8;base64,([A-Za-z0-9+/=]+)", table)
    assert found
    rows = csv.DictReader(io.StringIO(base64.b64decode(found[1]).decode()))
    return {row["path"]: scores(json.loads(row["top"])) for row in rows}


@pytest.mark.parametrize("ask", [by_predict, by_a_form_with_all, by_inference_protocol, by_torchserve, by_page])
def test_every_door_gives_the_answers_of_the_command_line(
    ask: Callable[[str, Path], Answers], address: str, folder: Path, expected: Answers
) -> None:
    compare(ask(address, folder), expected)


def test_the_desktop_window_gives_the_answers_of_the_command_line(
    folder: Path, expected: Answers, tmp_path: Path
) -> None:
    """What the window shows, picture by picture: its session, which needs no display."""
    from whatsit.apps.desktop.recent import Recent
    from whatsit.apps.desktop.session import Session

    errors: list[Exception] = []
    session = Session(Recent(tmp_path / "recent.json"), errors.append)

    def settle(file: Path | None) -> None:
        end = time.monotonic() + SECONDS
        while session.busy or (file is not None and (session.answer is None or session.place is None)):
            assert time.monotonic() < end
            session.deliver()
            time.sleep(0.001)

    session.choose_model("everyday")
    settle(None)
    answers: Answers = {}
    for file in sorted(folder.iterdir()):
        session.open(file)
        settle(file)
        assert session.answer is not None
        assert Path(session.answer.path) == file
        answers[file.name] = dict(session.answer.top)
    session.close()
    assert errors == []
    compare(answers, expected)


def compare(answers: Answers, expected: Answers) -> None:
    assert set(answers) == set(expected)
    for name, answer in answers.items():
        assert len(answer) >= 5  # the table of many pictures holds the best five
        worst = max(abs(score - expected[name][label]) for label, score in answer.items())
        assert worst <= TOLERANCE, (name, worst)
