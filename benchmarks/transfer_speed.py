"""Transfer against end-to-end fine-tuning: the same photos, the same weights, the same machine, in turn.

    python benchmarks/transfer_speed.py DATA WEIGHTS [--runs 3] [--epochs 3]

Every side starts from photos on disk and an empty cache, and ends with the accuracy on the test part; imports are not
counted. Both baselines let all layers learn from the pretrained weights with a fresh last layer:

plain   a PyTorch loop as tutorials have it: float32, batch norm in training mode, mirrored pictures, AdamW with a
        one-cycle rate up to 1e-3, cross-entropy; judged in PyTorch
ours    our own loop: bfloat16 where the processor has it, a last layer that starts at zero, smaller rates for earlier
        layers, averaged weights, frozen statistics; leaves a checked model file and a report, as transfer does

A last figure is training again after 50 new pictures, with what a first run left in the cache.
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
    transfer, again, plain, tuning = [], [], [], []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            os.environ["WHATSIT_CACHE"] = str(work / "cache")
            fewer = _without_fifty(options.data, work / "fewer")
            _transfer(fewer, options.weights, work / "before")
            again.append(_again(options.data, options.weights, work / "after"))
            os.environ["WHATSIT_CACHE"] = str(work / "empty")
            transfer.append(_transfer(options.data, options.weights, work / "transfer"))
            plain.append(_plain_fine_tuning(options.data, options.weights, options.epochs, seed=run))
            tuning.append(_fine_tuning(options.data, options.weights, work / "tuning", options.epochs, seed=run))
        print(
            f"run {run + 1}: transfer {transfer[-1][0]:.1f} s, test accuracy {transfer[-1][1]:.4f}; plain fine-tuning "
            f"{plain[-1][0]:.1f} s, {plain[-1][1]:.4f}; our fine-tuning {tuning[-1][0]:.1f} s, {tuning[-1][1]:.4f}; "
            f"again with {FIFTY} new pictures {again[-1][0]:.2f} s, of which {again[-1][1]:.2f} s to look at them",
            flush=True,
        )
    _say("transfer", [seconds for seconds, _ in transfer])
    _say(f"again with {FIFTY} new pictures, without looking at them", [whole - look for whole, look in again])
    for name, slow in (("plain", plain), ("our", tuning)):
        _say(f"{name} fine-tuning, {options.epochs} epochs", [seconds for seconds, _ in slow])
        _say(
            f"{name} fine-tuning over transfer", [a / b for (a, _), (b, _) in zip(slow, transfer, strict=True)], "times"
        )
    for name, side in (("transfer", transfer), ("plain fine-tuning", plain), ("our fine-tuning", tuning)):
        print(f"test accuracy of {name}: median {statistics.median(accuracy for _, accuracy in side):.4f}")


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


def _plain_fine_tuning(data: Path, weights: Path, epochs: int, seed: int) -> tuple[float, float]:
    import numpy as np
    import timm
    import torch
    from safetensors.torch import load_file

    from whatsit import learning, pipeline
    from whatsit.events import ignore
    from whatsit.preprocess import scaling_named
    from whatsit.recipe import choose, facts_of
    from whatsit.training import pictures
    from whatsit.weights import describe
    from whatsit.wishes import Wishes

    started = time.perf_counter()
    torch.manual_seed(seed)
    samples = pipeline.prepare(data)
    described = describe(weights)
    recipe, _ = choose(Wishes(), facts_of(samples), described, "cpu")
    arrays = learning.decode(samples, recipe, ignore)
    model = timm.create_model(recipe.model, num_classes=len(samples.classes), **recipe.network_args)
    state = load_file(weights)
    head = [name for name in state if state[name].shape != model.state_dict()[name].shape]
    model.load_state_dict({name: value for name, value in state.items() if name not in head}, strict=False)
    scaling = scaling_named(recipe.scaling)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (scaling.mean, scaling.std))

    def scaled(part: np.ndarray) -> torch.Tensor:
        return (torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2).float() / 255 - mean) / std

    batch, n = 32, len(arrays.train_targets)
    steps = epochs * (n // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(n).numpy()
        for start in range(0, n - batch + 1, batch):
            chosen = order[start : start + batch]
            x = scaled(arrays.train_pictures[chosen])
            x = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, x.flip(3), x)
            loss = torch.nn.functional.cross_entropy(model(x), torch.from_numpy(arrays.train_targets[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    test = samples.part("test")
    shown = pictures.decode(test, recipe.preprocess, ignore)
    with torch.inference_mode():
        answers = [model(scaled(shown[start : start + batch])).argmax(1) for start in range(0, len(shown), batch)]
    accuracy = float((torch.cat(answers).numpy() == test.targets()).mean())
    return time.perf_counter() - started, accuracy


def _fine_tuning(data: Path, weights: Path, out: Path, epochs: int, seed: int) -> tuple[float, float]:
    from whatsit import learning, pipeline
    from whatsit.wishes import Wishes

    def whole(get_engine, samples, recipe, *others):  # type: ignore[no-untyped-def]
        return learn(get_engine, samples, replace(recipe, method="whole"), *others)

    learn = learning.learn
    pipeline.learn = whole
    try:
        started = time.perf_counter()
        trained = pipeline.train(data, Wishes(weights=weights, finetune="all", epochs=epochs, seed=seed), out=out)
        return time.perf_counter() - started, trained.report.accuracy
    finally:
        pipeline.learn = learn
        shutil.rmtree(out)


def _say(what: str, values: list[float], unit: str = "s") -> None:
    print(f"{what}: median {statistics.median(values):.2f} {unit}, {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
