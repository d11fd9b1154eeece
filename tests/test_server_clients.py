"""The HTTP interface and programs of others: a client of the Open Inference Protocol, a tester of descriptions."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from server_process import SECONDS, Server, started
from tiny_model import expected_probabilities, plain, write_tiny_model

pytest.importorskip("prometheus_client", reason="needs the 'server' extra")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "colours.onnx", threshold=0.8)
    with started("-m", model, "--no-access-log") as running:
        yield running


@pytest.fixture
def triton(server: Server) -> Iterator[Any]:
    """Triton's own client, which is also KServe's."""
    client = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    with client.InferenceServerClient(server.address.removeprefix("http://"), network_timeout=SECONDS) as opened:
        yield opened


def encoded(*rgb: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(plain(rgb, (20, 30))).save(file, "PNG")
    return file.getvalue()


def files_tensor(files: list[bytes], binary: bool) -> Any:
    from tritonclient.http import InferInput

    tensor = InferInput("pictures", [len(files)], "BYTES")
    data = files if binary else [base64.b64encode(file) for file in files]
    tensor.set_data_from_numpy(np.array(data, dtype=object), binary_data=binary)
    return tensor


def test_triton_sees_that_it_is_ready_and_what_its_tensors_are(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("colours")
    assert not triton.is_model_ready("nothing")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    described = triton.get_model_metadata("colours")
    assert described["inputs"] == [{"name": "pictures", "datatype": "BYTES", "shape": [-1]}]
    assert {one["name"]: (one["datatype"], one["shape"]) for one in described["outputs"]} == {
        "probabilities": ("FP32", [-1, 3]),
        "label": ("BYTES", [-1]),
        "score": ("FP32", [-1]),
        "unsure": ("BOOL", [-1]),
        "error": ("BYTES", [-1]),
        "embedding": ("FP32", [-1, 3]),
    }


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_infers_in_json_and_in_bytes(triton: Any, binary_in: bool, binary_out: bool) -> None:
    from tritonclient.http import InferRequestedOutput

    names = ("probabilities", "label", "score", "unsure", "error", "embedding")
    asked = [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    files = [encoded(255, 0, 0), b"no picture", encoded(128, 128, 128)]
    answer = triton.infer("colours", [files_tensor(files, binary_in)], outputs=asked, request_id="a7")
    assert answer.get_response()["id"] == "a7"
    out = {name: answer.as_numpy(name) for name in names}
    expected = [expected_probabilities(plain(rgb), 3) for rgb in ((255, 0, 0), (128, 128, 128))]
    np.testing.assert_allclose(out["probabilities"][[0, 2]], expected, atol=1e-5)
    assert np.isnan(out["probabilities"][1]).all()
    assert np.isnan(out["embedding"][1]).all()
    texts = [text.decode() if isinstance(text, bytes) else text for text in out["label"]]
    assert texts[:2] == ["red", ""]
    assert out["score"][0] == pytest.approx(out["probabilities"][0].max())
    assert out["unsure"].tolist() == [False, False, True]
    errors = [text.decode() if isinstance(text, bytes) else text for text in out["error"]]
    assert errors[0] == errors[2] == ""
    assert errors[1].startswith("not a picture")


def test_triton_sends_pixels(triton: Any) -> None:
    from tritonclient.http import InferInput

    pixels = np.stack([plain((0, 255, 0), (9, 7)), plain((0, 0, 255), (9, 7))])
    for binary in (True, False):
        tensor = InferInput("pictures", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        labels = triton.infer("colours", [tensor]).as_numpy("label")
        assert [label.decode() for label in labels] == ["green", "blue"]


def test_triton_is_told_what_was_wrong(triton: Any) -> None:
    from tritonclient.http import InferInput, InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    bad = InferInput("pixels", [1], "BYTES")
    bad.set_data_from_numpy(np.array([b"x"], dtype=object))
    four_channels = InferInput("pictures", [1, 2, 2, 4], "UINT8")
    four_channels.set_data_from_numpy(np.zeros((1, 2, 2, 4), np.uint8))
    good = files_tensor([encoded(1, 2, 3)], True)
    for inputs, outputs, told in (
        ([bad], None, "an input named 'pixels'"),
        ([four_channels], None, "datatype 'UINT8' with shape [1, 2, 2, 4]"),
        ([good, good], None, "no list with one input"),
        ([good], [InferRequestedOutput("nothing")], "an output named 'nothing'"),
        ([files_tensor([b"text"], True)], None, "not a picture"),
    ):
        with pytest.raises(InferenceServerException, match=re.escape(told)):
            triton.infer("colours", inputs, outputs=outputs)


def test_a_tester_of_interfaces_finds_no_server_error(server: Server, tmp_path: Path) -> None:
    """Schemathesis makes requests from /openapi.json, valid ones and others, and looks at what comes back."""
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists() and shutil.which("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            *(str(command), "run", f"{server.address}/openapi.json", "--checks", checks),
            *("--max-examples", "25", "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"Tested: 1[0-9]", done.stdout), done.stdout
