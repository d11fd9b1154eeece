"""whatsit's server against a plain one: answers a second with 8 clients, and the time of a lone request.

    python benchmarks/serving.py [-m mobilenet_v2 | -m model.onnx] [PICTURE.jpg] [--rounds 5] [--seconds 8]

The plain server (plain_server.py) is what people write: FastAPI, Pillow, NumPy, ONNX Runtime with its defaults, and a
function for the thread pool. Its network is cut out of the same model file, so both run the same weights in full
precision, and their answers are compared: they differ by as much as a grey level in a few values of the resized picture
does (docs/decisions/0010-resizing-with-simd.md). Both get the same request: a form with one JPEG (without PICTURE, a
photo of 500x375 pixels that comes with scikit-learn, as 66 kB). Each is a process of its own, and so are the clients,
which keep their connections. In each round the servers are started and measured in turn; given are the medians and the
range.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CLIENTS, WARM_UP, ALONE = 8, 1.0, 300
KILOBYTES = 66
BOUNDARY = "whatsit-benchmark"
SERVERS = ("plain", "whatsit")
AS_GOOD_AS_EQUAL = 0.005


def command(server: str, model: str, port: int) -> list[str]:
    if server == "plain":
        return [sys.executable, str(Path(__file__).with_name("plain_server.py")), model, str(port)]
    return [sys.executable, "-m", "whatsit", "serve", "--no-page", "-m", model, "--port", str(port)]


@contextmanager
def serving(server: str, model: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(command(server, model, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("a server did not start")


class Client:
    """One kept connection; written close to the socket, since its work is done on the same processors."""

    def __init__(self, port: int, picture: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = (
            (
                f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
                "Content-Type: image/jpeg\r\n\r\n"
            ).encode()
            + picture
            + f"\r\n--{BOUNDARY}--\r\n".encode()
        )
        self.request = (
            f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def ask(self) -> bytes:
        self.socket.sendall(self.request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.socket.recv(65_536)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), received
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self.socket.recv(65_536)
        return body


def many(port: int, picture: bytes, seconds: float) -> float:
    """Answers a second with several clients."""
    counts = [0] * CLIENTS
    begin = time.perf_counter() + WARM_UP
    end = begin + seconds

    def work(number: int) -> None:
        client = Client(port, picture)
        while (now := time.perf_counter()) < end:
            client.ask()
            counts[number] += now >= begin

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def alone(port: int, picture: bytes) -> float:
    """The median time of a request, in milliseconds, when there is no other."""
    client = Client(port, picture)
    spent = []
    for _ in range(ALONE):
        start = time.perf_counter()
        client.ask()
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent[ALONE // 10 :])


def measured(server: str, model: str, file: Path, seconds: float) -> dict[str, Any]:
    """One server, measured by a process of its own."""
    with serving(server, model) as port:
        clients = [sys.executable, __file__, "--clients", str(port), str(file), "--seconds", str(seconds)]
        done = subprocess.run(clients, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def run_clients(port: int, picture: bytes, seconds: float) -> None:
    answer = json.loads(Client(port, picture).ask())
    print(json.dumps({"top": answer["top"], "alone": alone(port, picture), "many": many(port, picture, seconds)}))


def photo(folder: Path) -> Path:
    """A photo of 500x375 pixels, compressed to KILOBYTES."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg")).resize((500, 375))
    for quality in range(100, 1, -1):
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=quality)
        if len(encoded.getvalue()) <= KILOBYTES * 1000:
            break
    path = folder / "photo.jpg"
    path.write_bytes(encoded.getvalue())
    return path


def model_file(named: str) -> str:
    """The file that -m means; fetched if it is a name."""
    from whatsit import named_models
    from whatsit.weights import Wanted

    file = named_models.file_called(named)
    return str(file if file is not None else named_models.path_of(Wanted(named)))


def write_plain(model: str, folder: Path) -> None:
    """The network alone, as an export gives it, with what its callers must then do to pictures themselves."""
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper

    from whatsit.modelfile import read_manifest

    manifest = read_manifest(Path(model))
    graph = onnx.load(model)
    tensor, consumers = "pictures", {node.input[0]: node for node in graph.graph.node if node.input}
    while consumers[tensor].op_type in ("Transpose", "Cast", "Mul", "Sub", "Div"):
        tensor = consumers[tensor].output[0]
    graph.graph.output.append(helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    scaling = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    height, width = manifest.preprocess.size
    extremes = np.stack([np.full((height, width, 3), value, np.uint8) for value in (0, 255)])
    black, white = scaling.run([tensor], {"pictures": extremes})[0][:, :, 0, 0]
    std = 1 / (white - black)
    facts = {**manifest.preprocess.to_json(), "mean": (-black * std).tolist(), "std": std.tolist()}
    (folder / "plain.json").write_text(json.dumps({**facts, "labels": manifest.labels}))
    with tempfile.TemporaryDirectory() as beside:
        whole = Path(beside, "whole.onnx")
        onnx.save(onnx.shape_inference.infer_shapes(graph), whole)
        onnx.utils.extract_model(whole, folder / "plain.onnx", [tensor], ["probabilities"])


def apart(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """The largest difference of a score."""
    scores = [{answer["label"]: answer["score"] for answer in top} for top in (one, other)]
    if set(scores[0]) != set(scores[1]):
        sys.exit("the two servers name other labels: not a comparison")
    return max(abs(score - scores[1][label]) for label, score in scores[0].items())


def compare(model: str, file: Path, folder: Path, rounds: int, seconds: float) -> None:
    write_plain(model, folder)
    files = {"plain": str(folder), "whatsit": model}
    results: dict[str, list[dict[str, Any]]] = {server: [] for server in SERVERS}
    for number in range(rounds):
        for server in SERVERS:
            result = measured(server, files[server], file, seconds)
            results[server].append(result)
            print(
                f"round {number + 1}: {server:8} {result['many']:6.1f}/s, alone {result['alone']:5.2f} ms", flush=True
            )
    difference = apart(*(results[server][-1]["top"] for server in SERVERS))
    if difference > AS_GOOD_AS_EQUAL:
        sys.exit(f"the two servers' scores differ by {difference:.4f}: not a comparison")
    print(f"{Path(model).name}, {file.stat().st_size / 1000:.0f} kB, {os.cpu_count()} processors, n {rounds}")
    print(f"their five best labels are the same, and the scores differ by at most {difference:.4f}")
    for server in SERVERS:
        rates = [result["many"] for result in results[server]]
        times = [result["alone"] for result in results[server]]
        print(
            f"{server:8} {told(rates, '.1f')} answers/s with {CLIENTS} clients; alone, median {told(times, '.2f')} ms"
        )
    ratios = [ours["many"] / theirs["many"] for theirs, ours in zip(results["plain"], results["whatsit"], strict=True)]
    print(f"whatsit to plain, pair by pair: {told(ratios, '.2f')} times")


def told(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("-m", "--model", default="mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        run_clients(options.clients, options.picture.read_bytes(), options.seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            picture = options.picture or photo(Path(folder))
            compare(model_file(options.model), picture, Path(folder), options.rounds, options.seconds)


if __name__ == "__main__":
    main()
