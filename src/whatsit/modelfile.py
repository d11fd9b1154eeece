"""The one file: an ONNX graph with a JSON manifest at its end.

An ONNX file is a protobuf message (`ModelProto` in onnx.proto), and its field 14, `metadata_props`, is a list of
key and value strings. Protobuf lets a field be appended to a finished message, so the manifest is written after the
graph and read by walking over the top-level fields, without any inference library. The manifest ends with the SHA-256
of everything before it, the rest of the manifest included: a file that was damaged or altered is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import ImageError, ModelFileError, OptionError, ParityError
from whatsit.images import load
from whatsit.preprocess import Preprocess

FORMAT = 1
PARITY_TOLERANCE = 1e-4  # largest difference of a probability between the trained network and the saved file
GOLDEN_TOLERANCE = 1e-3  # the same between the machine that wrote a file and one that verifies it
_KEY = b"whatsit"
_METADATA_PROPS = 14
_LARGEST_MANIFEST = 256_000_000  # bytes
_SEAL = len("0" * 64 + '"}')  # the checksum is the manifest's last value, and all that it does not cover

Answers = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Golden:
    """A picture `uint8 [h, w, 3]`, as the graph takes it, with the probabilities it must answer."""

    name: str
    label: str
    picture: NDArray[np.uint8]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """What a model file says about itself.

    labels       in the order of the graph's outputs
    preprocess   the geometry of its input
    threshold    scores below it mean "not sure"; None where the promised accuracy could not be reached
    calibration  temperature, calibration error before and after, promise and coverage, from validation
    measured     the test report's numbers (n, accuracy, interval, baseline, per class, confusion), or empty
    data         name, fingerprint and counts of the data it was trained on
    known        the first 8 bytes of the content hashes of training and validation pictures, sorted
    recipe       every choice of the run
    weights      origin and licence of pretrained weights, number of parameters
    """

    labels: tuple[str, ...]
    preprocess: Preprocess
    threshold: float | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    known: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    recipe: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    golden: Sequence[Golden] = ()
    whatsit: str = ""
    created: str = ""

    def knows(self, content: str) -> bool:
        """Whether a picture with this SHA-256 was used to train the model or to choose anything about it."""
        key = np.uint64(int(content[:16], 16))
        place = int(np.searchsorted(self.known, key))
        return place < len(self.known) and bool(self.known[place] == key)


def known_contents(contents: Iterable[str]) -> NDArray[np.uint64]:
    return np.array(sorted({int(content[:16], 16) for content in contents}), np.uint64)


def write(path: Path, graph: bytes, manifest: Manifest, check: Callable[[Path], None]) -> None:
    """Write graph and manifest to `path`, whole or not at all.

    `check` gets the finished file under its temporary name and raises (ParityError) if it must not be kept.
    """
    from whatsit import storage  # here, so that those who only read load none of it

    text = json.dumps({**_to_json(manifest), "sha256": "0" * 64})
    entry = _metadata_entry(text.encode())[:-_SEAL]
    digest = hashlib.sha256(graph)
    digest.update(entry)
    with storage.beside(path) as part:
        with part.open("wb") as file:
            file.writelines((graph, entry, digest.hexdigest().encode(), b'"}'))
        check(part)


def read_manifest(path: Path) -> Manifest:
    """Read and check a model file's manifest. Raises ModelFileError for what is not a whole model file of ours."""
    text, digest = _manifest_text(path)
    try:
        data = json.loads(text)
        version = int(data["format"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(path, "its manifest is not readable") from None
    if version > FORMAT:
        raise ModelFileError(
            f"cannot open '{path}'",
            value=f"model file format {version}, written by whatsit {data.get('whatsit', '?')}",
            accepted=f"format {FORMAT} or older",
            hint="Update whatsit: pip install --upgrade whatsit",
        )
    if data.get("sha256") != digest:
        raise _damaged(path, "its contents do not match the checksum in its manifest")
    try:
        return _from_json(data)
    except (KeyError, TypeError, ValueError, OptionError) as error:
        raise _damaged(path, f"its manifest lacks something ({error})") from None


def verify(manifest: Manifest, answers: Answers) -> float:
    """Replay the golden pictures; the largest difference of a probability. Raises ParityError beyond the tolerance."""
    if not manifest.golden:
        return 0.0
    pictures = np.stack([golden.picture for golden in manifest.golden])
    expected = np.array([golden.probabilities for golden in manifest.golden], np.float32)
    difference = _largest_difference(answers(pictures), expected)
    if not difference <= GOLDEN_TOLERANCE:
        raise ParityError(
            "the model file does not answer here as it did where it was made",
            value=f"probabilities that differ by {difference:.3g} on its golden pictures",
            accepted=f"at most {GOLDEN_TOLERANCE:g}",
            hint="Do not use it here. Update the library that runs it: pip install --upgrade onnxruntime",
        )
    return difference


def golden_of(
    pictures: Iterable[tuple[str, NDArray[np.uint8]]], answered: NDArray[np.float32], labels: Sequence[str]
) -> tuple[Golden, ...]:
    """Pictures by name, in the input's geometry, with the file's answers `[N or more, K]`, of which the first is also
    the label: nobody may know what is in them."""
    return tuple(
        Golden(name, labels[int(row.argmax())], np.asarray(picture), tuple(float(p) for p in row))
        for (name, picture), row in zip(pictures, answered, strict=False)
    )


def check_parity(
    answered: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float = PARITY_TOLERANCE
) -> float:
    """The largest absolute difference. Raises ParityError if it exceeds the tolerance or is no number."""
    difference = _largest_difference(answered, expected)
    if not difference <= tolerance:
        raise ParityError(
            "the model file does not answer as the trained network did",
            value=f"probabilities that differ by {difference:.3g}",
            accepted=f"at most {tolerance:g}",
            hint="The file was not kept. Please report this with the output of 'pip list'.",
        )
    return difference


def _largest_difference(answered: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if answered.shape != expected.shape:
        return float("inf")  # other labels or another number of pictures: nothing to compare
    return float(np.abs(answered - expected).max(initial=0.0))


def _to_json(manifest: Manifest) -> dict[str, Any]:
    data = {key: value for key, value in vars(manifest).items() if key not in ("preprocess", "known", "golden")}
    data["format"] = FORMAT
    data["preprocess"] = manifest.preprocess.to_json()
    data["known"] = base64.b64encode(manifest.known.astype("<u8").tobytes()).decode()
    data["golden"] = [
        {**asdict(golden), "picture": base64.b64encode(encode_png(golden.picture)).decode()}
        for golden in manifest.golden
    ]
    return data


def _from_json(data: dict[str, Any]) -> Manifest:
    return Manifest(
        labels=tuple(str(label) for label in data["labels"]),
        preprocess=Preprocess.from_json(data["preprocess"]),
        threshold=data["threshold"],
        calibration=data["calibration"],
        measured=data["measured"],
        data=data["data"],
        known=np.frombuffer(base64.b64decode(data["known"]), "<u8").astype(np.uint64),
        recipe=data["recipe"],
        weights=data["weights"],
        golden=_StoredGolden(data["golden"]) or (),
        whatsit=data["whatsit"],
        created=data["created"],
    )


class _StoredGolden(Sequence[Golden]):
    """The golden pictures in a file, decoded when asked for: most who open one never look at them."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = [(r["name"], r["label"], str(r["picture"]), tuple(r["probabilities"])) for r in rows]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Golden: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Golden, ...]: ...
    def __getitem__(self, index: int | slice) -> Golden | tuple[Golden, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(len(self))[index])
        name, label, picture, probabilities = self._rows[index]
        return Golden(name, label, _decode_png(name, picture), probabilities)


def _decode_png(name: str, text: str) -> NDArray[np.uint8]:
    try:
        return load(base64.b64decode(text))
    except (ImageError, ValueError) as error:
        raise ModelFileError(
            f"cannot read the golden picture '{name}'",
            value=error.value if isinstance(error, ImageError) else error,
            accepted="a PNG picture in base64",
            hint="Use the file without it, or train it again.",
        ) from None


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """PNG keeps every pixel as it is, so a golden picture gives the same answer after the round trip."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _metadata_entry(value: bytes) -> bytes:
    pair = _length_delimited(1, _KEY) + _length_delimited(2, value)
    return _length_delimited(_METADATA_PROPS, pair)


def _length_delimited(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _manifest_text(path: Path) -> tuple[bytes, str]:
    """The manifest's JSON and the SHA-256 of the file up to the seal."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            pair = _find_manifest(file, size, path)
            digest = _digest(file, size - _SEAL)
    except FileNotFoundError:
        raise ModelFileError(
            f"cannot find the model file '{path}'",
            value="no such file",
            accepted="the .onnx file of a run",
            hint="Train one with: whatsit train PHOTOS/",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _not_ours(path, "a folder" if isinstance(error, IsADirectoryError) else reason) from None
    return _value_of(pair, path), digest


def _digest(file: IO[bytes], length: int) -> str:
    """The SHA-256 of the first `length` bytes, read in pieces: a model need not fit into memory twice."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(length, 1 << 20))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()


def _find_manifest(file: IO[bytes], size: int, path: Path) -> bytes:
    """Walk over the top-level fields to ours, which must be the last; its payload after the key."""
    head = _length_delimited(1, _KEY)
    while file.tell() < size:
        tag = _read_varint(file, path)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _read_varint(file, path)
            continue
        if kind != 2 or number == 0:
            raise _not_ours(path, "not an ONNX file")
        length = _read_varint(file, path)
        if file.tell() + length > size:
            raise _not_ours(path, "not an ONNX file, or one that is cut off")
        if number == _METADATA_PROPS and length < _LARGEST_MANIFEST:
            payload = file.read(length)
            if payload.startswith(head):
                if file.tell() != size:
                    raise _damaged(path, "something was appended to it")
                return payload[len(head) :]
        else:
            file.seek(length, 1)
    raise _not_ours(path, "an ONNX file without a whatsit manifest, or a cut-off one" if size else "an empty file")


def _read_varint(file: IO[bytes], path: Path) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _not_ours(path, "not an ONNX file, or one that is cut off")


def _value_of(pair: bytes, path: Path) -> bytes:
    """The value of a key-value pair whose key has been taken off: its tag, its length, the rest."""
    for end in range(2, min(len(pair), 12)):
        if pair[end - 1] < 0x80:
            return pair[end:]
    raise _damaged(path, "its manifest is not readable")


def _not_ours(path: Path, value: str) -> ModelFileError:
    return ModelFileError(
        f"cannot open '{path}' as a model file",
        value=value,
        accepted="an .onnx file made by whatsit",
        hint="Pass the model.onnx of a run folder; 'whatsit train' makes one.",
    )


def _damaged(path: Path, value: str) -> ModelFileError:
    return ModelFileError(
        f"cannot trust the model file '{path}'",
        value=value,
        accepted="the file as whatsit wrote it",
        hint="Copy it again from where it came, or train it again.",
    )


__all__ = [
    "FORMAT",
    "GOLDEN_TOLERANCE",
    "PARITY_TOLERANCE",
    "Golden",
    "Manifest",
    "check_parity",
    "encode_png",
    "golden_of",
    "known_contents",
    "read_manifest",
    "verify",
    "write",
]
