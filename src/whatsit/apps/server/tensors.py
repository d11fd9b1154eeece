"""Tensors of the Open Inference Protocol, version 2, in JSON and in its binary extension.

Sources: the protocol's `inference_rest.md` (github.com/kserve/open-inference-protocol) and Triton's
`extension_binary_data.md`. In the extension the JSON comes first, as long as the header
`Inference-Header-Content-Length` says, and the tensors' bytes follow in their order. An element of a BYTES tensor is
its length (4 bytes, little-endian) and its bytes; in plain JSON, where bytes cannot stand, it is base64.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from whatsit.apps.server.limits import Limits
from whatsit.apps.server.problems import Problem, sendable

DATATYPES = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4"), "BOOL": np.dtype(np.bool_)}
BINARY = "application/octet-stream"
HEADER = "inference-header-content-length"


@dataclass(frozen=True)
class Wanted:
    """An output that was asked for, and whether as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True)
class Inference:
    """A request: its id, its pictures (files, or pixels `uint8 [H, W, 3]`), and the outputs it asks for; none: all."""

    id: str | None
    pictures: Sequence[bytes | NDArray[np.uint8]]
    outputs: list[Wanted]
    binary: bool


@dataclass(frozen=True)
class Output:
    """An output tensor: numbers, flags, or texts (BYTES)."""

    name: str
    values: NDArray[Any] | list[str]

    @property
    def datatype(self) -> str:
        if isinstance(self.values, list):
            return "BYTES"
        return next(name for name, dtype in DATATYPES.items() if dtype == self.values.dtype)

    @property
    def shape(self) -> list[int]:
        return [len(self.values)] if isinstance(self.values, list) else list(self.values.shape)

    def as_bytes(self) -> bytes:
        if not isinstance(self.values, list):
            return np.ascontiguousarray(self.values).tobytes()
        texts = [text.encode("utf-8", "replace") for text in self.values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)

    def as_json(self) -> list[Any]:
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()


def refusal(
    value: object, accepted: str, hint: str = "The model's tensors are described at /v2/models/NAME."
) -> Problem:
    return Problem(400, "bad tensor", "cannot use this inference request", value=value, accepted=accepted, hint=hint)


def read(body: bytes, header_length: str | None, limits: Limits) -> Inference:
    """A request's body. Raises Problem."""
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or len(header_length) > 12 or int(header_length) > len(body):
            raise refusal(
                f"Inference-Header-Content-Length {header_length!r:.40}", "the length of the JSON in the body"
            )
        length = int(header_length)
    _refuse_many_values(body[:length], limits.values)
    try:
        request = orjson.loads(body[:length])
    except orjson.JSONDecodeError as error:
        raise refusal(f"broken JSON ({error})", "a JSON object with 'inputs'") from None
    tensor = _only_input(request)
    pictures = _pictures(tensor, body[length:], limits.pictures)
    parameters = request.get("parameters")
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise refusal(f"id {identity!r:.40}", "a text as the id")
    return Inference(identity, pictures, _wanted(request.get("outputs"), binary), binary)


def write(inference: Inference, head: dict[str, Any], outputs: Sequence[Output]) -> tuple[bytes, dict[str, str]]:
    """The body of the answer and its headers."""
    asked = {wanted.name: wanted.binary for wanted in inference.outputs}
    described, tail = [], []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if asked.get(output.name, inference.binary):
            tail.append(output.as_bytes())
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = output.as_json()
        described.append(entry)
    identity = {} if inference.id is None else {"id": inference.id}
    text = sendable({**head, **identity, "outputs": described})
    if not tail:
        return text, {"Content-Type": "application/json"}
    return b"".join((text, *tail)), {"Content-Type": BINARY, "Inference-Header-Content-Length": str(len(text))}


def _refuse_many_values(text: bytes, most: int) -> None:
    """Reading JSON holds up all threads, a second for twenty megabytes of brackets: count what makes it long first."""
    count = text.count(b",") + text.count(b"[") + text.count(b"{")
    if count > most:
        raise Problem(
            413,
            "too many values",
            "cannot take this request",
            value=f"{count:,} values in JSON",
            accepted=f"at most {most:,}",
            hint="Send pixels in the binary extension, or picture files.",
        )


def _only_input(request: Any) -> dict[str, Any]:
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise refusal("no list with one input", "one input: 'pictures'")
    tensor: dict[str, Any] = inputs[0]
    if tensor.get("name") != "pictures":
        raise refusal(f"an input named {tensor.get('name')!r:.40}", "one input: 'pictures'")
    return tensor


def _wanted(outputs: Any, binary: bool) -> list[Wanted]:
    if outputs is None:
        return []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise refusal("outputs that are no list of objects", "for instance [{'name': 'probabilities'}]")
    wanted = []
    for one in outputs:
        parameters = one.get("parameters")
        said = parameters.get("binary_data", binary) if isinstance(parameters, dict) else binary
        wanted.append(Wanted(str(one.get("name")), said is True))
    return wanted


def _pictures(tensor: dict[str, Any], tail: bytes, most: int) -> Sequence[bytes | NDArray[np.uint8]]:
    shape = _shape(tensor.get("shape"))
    if shape[0] > most:
        raise Problem(
            413,
            "too many pictures",
            "cannot take this request",
            value=f"{shape[0]} pictures",
            accepted=f"at most {most} in one request",
            hint="Send them in several requests.",
        )
    raw = _raw(tensor, tail)
    datatype = tensor.get("datatype")
    if datatype == "BYTES" and math.prod(shape) == shape[0]:
        files = _from_base64(tensor.get("data")) if raw is None else _files(raw, most)
        if len(files) != shape[0]:
            raise refusal(f"{len(files)} elements for shape {shape}", "as many elements as the shape says")
        return files
    if datatype == "UINT8" and len(shape) == 4 and shape[3] == 3:
        return list(_pixels(raw, tensor.get("data"), shape))
    raise refusal(
        f"datatype {datatype!r:.20} with shape {shape}",
        "BYTES [N] with picture files, or UINT8 [N, height, width, 3] with upright RGB pixels",
    )


def _shape(shape: Any) -> list[int]:
    if not isinstance(shape, list) or not shape or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise refusal(f"shape {shape!r:.60}", "a list of whole numbers from 1")
    if len(shape) > 4:
        raise refusal(f"a shape of {len(shape):,} numbers", "[N], or [N, height, width, 3]")
    return shape


def _raw(tensor: dict[str, Any], tail: bytes) -> bytes | None:
    """The tensor's bytes behind the JSON; None where its data stands in the JSON."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return None
    if size != len(tail) or type(size) is not int:
        raise refusal(f"binary_data_size {size!r:.40}, and {len(tail)} bytes behind the JSON", "the same number")
    return tail


def _files(raw: bytes, most: int) -> list[bytes]:
    files: list[bytes] = []
    at = 0
    while at < len(raw) and len(files) <= most:
        (size,) = struct.unpack_from("<I", raw, at) if at + 4 <= len(raw) else (len(raw),)
        if at + 4 + size > len(raw):
            raise refusal("a BYTES tensor that ends in the middle", "4 bytes of length before each element")
        files.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return files


def _from_base64(data: Any) -> list[bytes]:
    flat = [one for row in data for one in (row if isinstance(row, list) else [row])] if isinstance(data, list) else []
    if not all(isinstance(one, str) for one in flat):
        raise refusal("data that is no text", "a base64 text for each element")
    try:
        return [base64.b64decode(one, validate=True) for one in flat]
    except (binascii.Error, ValueError) as error:
        raise refusal(f"data that is no base64 ({error})", "a base64 text for each element") from None


def _pixels(raw: bytes | None, data: Any, shape: list[int]) -> NDArray[np.uint8]:
    count = math.prod(shape)
    if raw is not None:
        values: NDArray[Any] = np.frombuffer(raw, np.uint8)
    else:
        try:
            values = np.asarray(data).ravel()
        except ValueError:  # lists of different lengths
            values = np.empty(0)
    if values.size != count or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise refusal(f"{values.size:,} values for shape {shape}", f"{count:,} whole numbers from 0 to 255")
    return values.astype(np.uint8).reshape(shape)
