"""What a time budget for fine-tuning buys over the frozen network: the same data, weights and machine, in turn.

    python benchmarks/finetune_budget.py DATA WEIGHTS [--budget 5m] [--image-size N]
    python benchmarks/finetune_budget.py cifar10 WEIGHTS --data-dir DIR --per-class 300 --image-size 96 [--budget 5m]

With `cifar10`, DIR holds its official binary files, and so many pictures of each class are taken for training, a third
as many for validation, and 200 for the test: a set on which the features of a network trained on larger photos fall
short.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from whatsit.dataset import Dataset

TEST = 200  # pictures of each class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--per-class", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = _small_cifar10(options.data_dir, options.per_class) if options.data == "cifar10" else Path(options.data)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WHATSIT_CACHE"] = str(Path(folder) / "cache")
        for name, more in (("frozen", {}), (f"--budget {options.budget}", {"budget": options.budget})):
            _measure(name, data, options, Path(folder) / name.replace(" ", ""), more)


def _measure(name: str, data: Path | Dataset, options: argparse.Namespace, out: Path, more: dict[str, str]) -> None:
    import whatsit
    from whatsit.events import Decision, Event

    def tell(event: Event) -> None:
        if isinstance(event, Decision) and ("kept" in event.what or "regularisation" in event.what):
            print(f"  {event.what}: {event.why}", flush=True)

    started = time.perf_counter()
    trained = whatsit.train(
        data,
        weights=options.weights,
        image_size=options.image_size,
        seed=options.seed,
        out=out,
        on_event=tell,
        **more,
    )
    report = trained.report
    low, high = report.interval.low, report.interval.high
    print(
        f"{name}: test accuracy {report.accuracy:.4f}, interval {low:.4f} to {high:.4f}, "
        f"n {report.n:,}, {trained.epochs} epochs, {time.perf_counter() - started:.0f} s",
        flush=True,
    )


def _small_cifar10(folder: Path, per_class: int) -> Dataset:
    """The first pictures of each class, in the official order; test pictures come from the official test part."""
    from dataclasses import replace

    from whatsit import sources

    whole = sources.open_data("cifar10", data_dir=folder)
    wanted = {"train": per_class, "validation": per_class // 3, "test": TEST}
    chosen = []
    for label in whole.classes:
        train = [sample for sample in whole.samples if sample.label == label and sample.split == "train"]
        test = [sample for sample in whole.samples if sample.label == label and sample.split == "test"]
        chosen += train[: wanted["train"]] + test[: wanted["test"]]
        held_out = train[wanted["train"] : wanted["train"] + wanted["validation"]]
        chosen += [replace(sample, split="validation") for sample in held_out]
    return replace(whole, samples=tuple(chosen), given_splits=frozenset(("train", "validation", "test")))


if __name__ == "__main__":
    main()
