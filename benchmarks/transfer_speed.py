"""Transfer against end-to-end fine-tuning: the same photos, the same weights, the same machine, in turn.

    python benchmarks/transfer_speed.py DATA WEIGHTS [--runs 3] [--epochs 3]

Both sides start from photos on disk and leave a checked model file and its accuracy on the test part; both start with
an empty cache. The baseline is our own training loop (bfloat16 where the processor has it, channels last), all layers
learning for three epochs from the pretrained weights with a fresh last layer. Imports are not counted on either side.
A third figure is training again after 50 new pictures, with what the first run left in the cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

FIFTY = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    _import_everything()
    transfer, again, tuning = [], [], []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            os.environ["WHATSIT_CACHE"] = str(work / "cache")
            fewer = _without_fifty(options.data, work / "fewer")
            _transfer(fewer, options.weights, work / "before")
            again.append(_again(options.data, options.weights, work / "after"))
            os.environ["WHATSIT_CACHE"] = str(work / "empty")
            transfer.append(_transfer(options.data, options.weights, work / "transfer"))
            tuning.append(_fine_tuning(options.data, options.weights, work / "tuning", options.epochs))
        print(
            f"run {run + 1}: transfer {transfer[-1][0]:.1f} s, test accuracy {transfer[-1][1]:.4f}; fine-tuning "
            f"{tuning[-1][0]:.1f} s, {tuning[-1][1]:.4f}; again with {FIFTY} new pictures {again[-1][0]:.2f} s, "
            f"of which {again[-1][1]:.2f} s to look at them",
            flush=True,
        )
    _say("transfer", [seconds for seconds, _ in transfer])
    _say(f"fine-tuning, {options.epochs} epochs", [seconds for seconds, _ in tuning])
    _say("ratio", [slow / fast for (slow, _), (fast, _) in zip(tuning, transfer, strict=True)], "times")
    _say(f"again with {FIFTY} new pictures, without looking at them", [whole - look for whole, look in again])
    accuracy = statistics.median(accuracy for _, accuracy in transfer)
    print(f"test accuracy: transfer {accuracy:.4f}, fine-tuning {statistics.median(a for _, a in tuning):.4f}")


def _import_everything() -> None:
    """What both sides load on first use, so that neither pays for it."""
    import jinja2
    import matplotlib.figure
    import onnx
    import onnxscript
    import sklearn.linear_model
    import tensorboard.summary
    import timm
    import torch

    import whatsit.training.torch_engine

    del jinja2, matplotlib, onnx, onnxscript, sklearn, tensorboard, timm, torch, whatsit


def _without_fifty(data: Path, to: Path) -> Path:
    """The same folders as links, without every n-th training picture: fifty fewer in all."""
    pictures = sorted(path for path in data.rglob("*") if path.is_file())
    train = [path for path in pictures if path.relative_to(data).parts[0] == "train"] or pictures
    left_out = set(train[:: max(1, len(train) // FIFTY)][:FIFTY])
    for path in pictures:
        if path not in left_out:
            link = to / path.relative_to(data)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    return to


def _transfer(data: Path, weights: Path, out: Path) -> tuple[float, float]:
    """Seconds for the whole of it, and the accuracy on the test part."""
    import whatsit

    started = time.perf_counter()
    trained = whatsit.train(data, weights=weights, out=out)
    return time.perf_counter() - started, trained.report.accuracy


def _again(data: Path, weights: Path, out: Path) -> tuple[float, float]:
    """Seconds for the whole of it, and of these the seconds from the first to the last picture looked at."""
    import whatsit
    from whatsit.events import Event, Progress

    looking: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "looking at pictures":
            looking.append(time.perf_counter())

    started = time.perf_counter()
    whatsit.train(data, weights=weights, out=out, on_event=note)
    whole = time.perf_counter() - started
    return whole, looking[-1] - looking[0]


def _fine_tuning(data: Path, weights: Path, out: Path, epochs: int) -> tuple[float, float]:
    from whatsit import learning, pipeline
    from whatsit.wishes import Wishes

    def whole(get_engine, samples, recipe, *others):  # type: ignore[no-untyped-def]
        return learn(get_engine, samples, replace(recipe, method="whole"), *others)

    learn = learning.learn
    pipeline.learn = whole
    try:
        started = time.perf_counter()
        trained = pipeline.train(data, Wishes(weights=weights, finetune="all", epochs=epochs), out=out)
        return time.perf_counter() - started, trained.report.accuracy
    finally:
        pipeline.learn = learn
        shutil.rmtree(out)


def _say(what: str, values: list[float], unit: str = "s") -> None:
    print(f"{what}: median {statistics.median(values):.2f} {unit}, {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
