"""CIFAR-10 from scratch: the tutorial's Keras code against whatsit, same pictures, same machine, in turn.

    python benchmarks/cifar10_speed.py DIR speed [--rounds 3]       pictures a second of the tutorial's network
    python benchmarks/cifar10_speed.py DIR accuracy [--rounds 1]    seconds to 80.6 %, and to the final accuracy
    python benchmarks/cifar10_speed.py DIR fast [--rounds 3]        --recipe fast --target 0.94, a seed a round, each
                                                                    after an epoch of Keras's for comparison

DIR holds CIFAR-10's binary files. Every side runs in a process of its own, one at a time; imports are not counted.

keras     the tutorial written anew from its description: three blocks of two 3x3 convolutions (32, 64, 128) with ReLU,
          pooling and dropout 0.25, dense 1,024 with ReLU, dropout 0.5, softmax; pictures as float32 in [0, 1]; Adam,
          batches of 64, 30 epochs of model.fit over all 50,000 pictures. Counted is what its epochs took, from their
          first batch to their last: neither judging, nor the minute that TensorFlow sometimes stands still after one
whatsit   `whatsit train` on 48,000 of them, 2,000 chosen by content for validation. Counted is what its epochs took,
          judging on validation included; the whole run, from reading the files to the judged model file, stands beside

The test pictures are only judged on: the tutorial ends after its 30 epochs, whatsit after the schedule that its target
chose, or once validation surely has the target.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TUTORIALS = 0.806  # test accuracy that the tutorial reports
PICTURES = 12_800  # of one measurement of speed
EPOCHS = 3  # of one measurement; the first does not count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=[*COMPARISONS, *SIDES], metavar="|".join(COMPARISONS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--epochs", type=int, default=30, help="of the tutorial")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what in COMPARISONS:
        COMPARISONS[options.what](options)
    else:  # in a process of its own
        print(json.dumps(SIDES[options.what](options.data, options.epochs, options.seed)))


# ---- comparisons


def _speed(options: argparse.Namespace) -> None:
    sides: dict[str, list[float]] = {"keras-speed": [], "whatsit-speed": []}
    for _ in range(options.rounds or 3):
        for side, found in sides.items():
            found.append(_run(options, side)["pictures_per_second"])
            print(f"{side}: {found[-1]:.0f} pictures/s", flush=True)
    keras, ours = sides.values()
    ratios = [one / other for one, other in zip(ours, keras, strict=True)]
    print(f"Keras {_spread(keras, 0)}, whatsit {_spread(ours, 0)} pictures/s: {_spread(ratios, 2)} times")


def _accuracy(options: argparse.Namespace) -> None:
    for seed in range(options.rounds or 1):
        keras = _run(options, "keras", seed)
        curve = [(round(seconds), round(accuracy, 4)) for seconds, accuracy in keras["curve"]]
        print(f"Keras, seed {seed}: test accuracy {curve[-1][1]} after {curve[-1][0]} s of fit; {curve}", flush=True)
        reached = next((seconds for seconds, accuracy in curve if accuracy >= TUTORIALS), None)
        final = next(seconds for seconds, accuracy in curve if accuracy >= curve[-1][1])
        print(f"Keras has {TUTORIALS} after {reached} s, its final accuracy first after {final} s", flush=True)
        tutorial = _run(options, "tutorial", seed)
        _say(f"whatsit --recipe tutorial, {options.epochs} epochs", tutorial, final)
        _say(f"whatsit --target {TUTORIALS}", _run(options, "soonest", seed), final)


def _fast(options: argparse.Namespace) -> None:
    runs, shares = [], []
    for seed in range(options.rounds or 3):
        ((epoch, _),) = _run(options, "keras", seed, epochs=1)["curve"]
        print(f"Keras: an epoch in {epoch:.0f} s, so {options.epochs} in {options.epochs * epoch:.0f} s", flush=True)
        runs.append(_run(options, "target", seed))
        _say(f"whatsit --recipe fast --target 0.94, seed {seed}", runs[-1], None)
        shares.append(runs[-1]["seconds"] / (options.epochs * epoch))
    accuracies = [run["test_accuracy"] for run in runs]
    spread = f", standard deviation {statistics.stdev(accuracies):.4f}" if len(runs) > 1 else ""
    print(f"mean test accuracy {statistics.mean(accuracies):.4f}{spread}, n {len(runs)}")
    print(f"whole command {_spread([run['seconds'] for run in runs], 0)} s, {_spread(shares, 2)} of Keras's time")


def _say(name: str, run: dict[str, Any], against: float | None) -> None:
    times = f", {against / run['training']:.1f} times sooner than Keras's final accuracy" if against else ""
    print(
        f"{name}: test accuracy {run['test_accuracy']:.4f} ({run['interval'][0]:.4f} to {run['interval'][1]:.4f}), "
        f"{run['epochs']} epochs in {run['training']:.0f} s{times}; the whole run {run['seconds']:.0f} s",
        flush=True,
    )


def _spread(values: list[float], digits: int) -> str:
    median, low, high = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({low} to {high})"


def _run(options: argparse.Namespace, what: str, seed: int = 0, epochs: int | None = None) -> dict[str, Any]:
    arguments = [str(options.data), what, "--epochs", str(epochs or options.epochs), "--seed", str(seed)]
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


# ---- the tutorial's code


def _pictures(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    def read(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
        pictures = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures, np.float32) / 255, records[:, 0].astype(np.int64)

    train = read([data / f"data_batch_{number}.bin" for number in range(1, 6)])
    return (*train, *read([data / "test_batch.bin"]))


def _keras_model(seed: int) -> Any:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for width in (32, 64, 128):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(1024, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _keras(data: Path, epochs: int, seed: int) -> dict[str, Any]:
    model = _keras_model(seed)
    train, targets, test, right = _pictures(data)
    seconds, curve = 0.0, []
    for _ in range(epochs):
        seconds += _keras_epoch(model, train, targets)
        curve.append((seconds, model.evaluate(test, right, batch_size=256, verbose=0)[1]))
    return {"curve": curve}


def _keras_epoch(model: Any, train: np.ndarray, targets: np.ndarray) -> float:
    import keras

    times: list[float] = []

    def note(*_: Any) -> None:
        times.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
    model.fit(train, targets, batch_size=64, epochs=1, verbose=0, callbacks=[clock])
    began, ended = times
    return ended - began


def _keras_speed(data: Path, _epochs: int, seed: int) -> dict[str, Any]:
    model = _keras_model(seed)
    train, targets, _, _ = _pictures(data)
    times = [_keras_epoch(model, train[:PICTURES], targets[:PICTURES]) for _ in range(EPOCHS)]
    return {"pictures_per_second": PICTURES / statistics.median(times[1:])}


# ---- whatsit


def _whatsit_speed(data: Path, _epochs: int, seed: int) -> dict[str, Any]:
    from whatsit.events import ignore
    from whatsit.recipe import Facts, choose
    from whatsit.training.engine import TrainingData
    from whatsit.training.torch_engine import TorchEngine
    from whatsit.wishes import Wishes

    train, targets, test, right = _pictures(data)
    bytes_of = [np.round(some * 255).astype(np.uint8) for some in (train[:PICTURES], test[:64])]
    pictures = TrainingData(bytes_of[0], targets[:PICTURES], bytes_of[1], right[:64], tuple("0123456789"))
    wishes = Wishes(recipe="tutorial", epochs=EPOCHS, seed=seed)
    recipe, _ = choose(wishes, Facts(PICTURES, 1.0, 32, 32, False), None, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        fitted = TorchEngine().fit(pictures, recipe, None, Path(folder) / "last.pt", ignore)
    return {"pictures_per_second": PICTURES / statistics.median(epoch.seconds for epoch in fitted.history[1:])}


def _train(data: Path, **options: Any) -> dict[str, Any]:
    import whatsit
    from whatsit.events import EpochEnded, Event

    epochs: list[EpochEnded] = []

    def note(event: Event) -> None:
        if isinstance(event, EpochEnded):
            epochs.append(event)

    with tempfile.TemporaryDirectory() as folder:
        trained = whatsit.train("cifar10", data_dir=data, out=Path(folder) / "run", on_event=note, **options)
    report = trained.report
    return {
        "test_accuracy": report.accuracy,
        "interval": [report.interval.low, report.interval.high],
        "epochs": trained.epochs,
        "training": sum(epoch.seconds for epoch in epochs),
        "seconds": trained.seconds,
    }


COMPARISONS = {"speed": _speed, "accuracy": _accuracy, "fast": _fast}
SIDES = {
    "keras": _keras,
    "keras-speed": _keras_speed,
    "whatsit-speed": _whatsit_speed,
    "tutorial": lambda data, epochs, seed: _train(data, recipe="tutorial", epochs=epochs, seed=seed),
    "soonest": lambda data, _, seed: _train(data, target=TUTORIALS, seed=seed),
    "target": lambda data, _, seed: _train(data, recipe="fast", target=0.94, seed=seed),
}


if __name__ == "__main__":
    main()
