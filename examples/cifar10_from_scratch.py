"""A small CNN on CIFAR-10 from scratch: trained, judged on the test pictures, its curves and its answers drawn.

python examples/cifar10_from_scratch.py [--data-dir FOLDER] [--framework torch|keras] [--epochs N]
"""

import argparse
from pathlib import Path

import whatsit
from whatsit.events import EpochEnded, Event
from whatsit.sources import open_data

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", type=Path, help="where the data set's files lie")
parser.add_argument("--framework", choices=["torch", "keras"])
parser.add_argument("--epochs", type=int, help="the tutorial's 30 unless said otherwise")
options = parser.parse_args()


def tell(event: Event) -> None:
    if isinstance(event, EpochEnded):
        print(f"Epoch {event.epoch} of {event.epochs}: validation accuracy {event.validation_accuracy:.1%}", flush=True)


trained = whatsit.train("cifar10", recipe="tutorial", on_event=tell, **vars(options))
report = trained.report
print(f"Test loss {report.loss:.3f}, test accuracy {report.accuracy:.1%}")
print(f"With 95 % confidence between {report.interval.low:.1%} and {report.interval.high:.1%}")
print(f"Curves: {trained.folder / 'curves.png'}, or in TensorBoard: whatsit tensorboard {trained.folder}")

classifier = whatsit.load(trained.model)
classifier.plot(open_data("cifar10", data_dir=options.data_dir)).savefig("predictions.png")
