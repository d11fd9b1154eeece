"""Every choice of a run, typed and frozen, and the facts of a data set that the choices depend on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from whatsit.augmentation import Augmentation, variations
from whatsit.catalogue import Framework
from whatsit.dataset import Dataset
from whatsit.preprocess import Preprocess
from whatsit.wishes import PROMISE, Kept, Optimizer

# The networks of our own, which learn from scratch.
SMALL = "small"
TUTORIAL_CNN = "tutorial_cnn"
COMPACT = "compact"
OWN = (SMALL, TUTORIAL_CNN, COMPACT)

# The recipes by name that learn from scratch.
FROM_SCRATCH = ("fast", "accurate", "tutorial")

TINY = 64  # pixels: up to here a picture is shown to the network about as it is

SHORT = 2  # epochs: schedules that need more steps, so smaller batches, than others

Decide = Callable[[str, str], None]


@dataclass(frozen=True)
class Facts:
    """What a recipe depends on: training pictures, their classes' imbalance, and the pictures' usual size.

    smallest and largest are the shortest and the longest side of any picture, in pixels.
    """

    n_train: int
    imbalance: float  # pictures of the largest class over those of the smallest
    height: int  # medians, in pixels
    width: int
    grey: bool
    smallest: int = 0
    largest: int = 0

    @property
    def tiny(self) -> bool:
        """Whether a network of our own learns such pictures better than a pretrained one sees them."""
        return max(self.height, self.width) <= TINY


def facts_of(dataset: Dataset) -> Facts:
    """The facts of a data set whose pictures have been read and split."""
    assert dataset.sizes is not None
    train = dataset.part("train")
    counts = [n for n in train.counts().values() if n]
    height, width = (int(n) for n in np.median(dataset.sizes, axis=0))
    return Facts(
        n_train=len(train),
        imbalance=max(counts) / min(counts),
        height=height,
        width=width,
        grey=dataset.grey,
        smallest=int(dataset.sizes.min()),
        largest=int(dataset.sizes.max()),
    )


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run. Rates are per step, times in seconds.

    method      "scratch": random weights, every layer learns. "transfer": the pretrained network stays as it is, and a
                last layer is fitted to what it sees; then, if `finetune` is not "no", layers learn on from there.
                "whole": one training from the weights given, with a fresh last layer
    finetune    which layers of a pretrained network learn: "no", "last" (its last quarter), "all", or a number of
                layers with weights, counted from the end
    last_layers "linear", or "tutorial": flatten, dense 1,024 with ReLU, dropout 0.5, linear
    schedule    after a warm-up "cosine" or "linear" to zero, or "constant" all the way
    start_size  for the first `start_share` of all steps the network is shown pictures of so many pixels a side, which
                takes a fraction of the time; 0 shows them as they are from the start
    views       what the finished network looks at in a picture: 1, itself; 6, its mirror image too, and both of them
                shifted by a pixel to either side of the diagonal. The file does so by itself
    stored      how the file holds filters and matrices. "float16" rounds them after training, before the network is
                judged; they are computed with as float32 either way
    short_batch_size  batches of a schedule that turns out to be SHORT, where a budget decides how long it is
    target      accuracy to reach; training ends early once it is surely reached on validation
    """

    name: str
    framework: Framework
    method: Literal["scratch", "transfer", "whole"]
    finetune: str
    last_layers: Literal["linear", "tutorial"]
    model: str
    network_args: dict[str, Any]
    weights: str | None
    weights_sha256: str | None
    scaling: str
    preprocess: Preprocess
    epochs: int
    batch_size: int
    optimizer: Optimizer | Literal["muon"]
    learning_rate: float
    find_rate: bool  # whether the rate is found by a range test before fine-tuning
    schedule: Literal["cosine", "linear", "constant"]
    backbone_rate: float  # times learning_rate, for every layer but the last
    layer_decay: float  # the rate of each earlier layer is that of the next times this; 1 makes all equal
    frozen_statistics: bool  # batch norm keeps the means and variances it was pretrained with
    weight_decay: float
    warmup: float  # share of all steps
    label_smoothing: float
    ema: float  # decay a step of the weights' running average, which is what is judged and kept; 0 keeps the weights
    dropout: float
    class_weights: bool
    augment: str  # the strength asked for or usual, "own" where a recipe has its own; `augmentation` is what that means
    mixup: float  # alpha of the Beta distribution that pictures are blended with; 0 blends none
    augmentation: Augmentation
    start_size: int
    start_share: float
    views: Literal[1, 6]
    stored: Literal["float32", "float16"]
    patience: int
    budget: float | None
    short_batch_size: int | None
    target: float | None
    promise: float
    seed: int
    device: str
    golden: Kept

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that are None, which TOML cannot hold."""
        data = asdict(self)
        data["preprocess"]["size"] = list(self.preprocess.size)
        data["preprocess"]["pad_colour"] = list(self.preprocess.pad_colour)
        return _without_none(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Raises KeyError for what is missing, as in the recipe of an earlier version."""
        values: dict[str, Any] = {
            spec.name: data.get(spec.name) if spec.name in _MAY_BE_NONE else data[spec.name] for spec in fields(cls)
        }
        values["preprocess"] = Preprocess.from_json(data["preprocess"])
        values["augmentation"] = Augmentation(**data["augmentation"])
        values["network_args"] = data.get("network_args", {})
        return cls(**values)


def patience(name: str, epochs: int) -> int:
    """Epochs without a better one after which a training by the recipe `name` is given up.

    From scratch by name, the whole schedule is gone through: what the last epochs gain is its point.
    """
    return epochs if name in FROM_SCRATCH else max(5, math.ceil(epochs / 2))


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    return replace(recipe, learning_rate=rate, find_rate=False)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another length, and what follows from it."""
    batch_size = (epochs <= SHORT and recipe.short_batch_size) or recipe.batch_size
    return replace(recipe, epochs=epochs, patience=patience(recipe.name, epochs), batch_size=batch_size)


# What `to_dict` leaves out where it is None or empty.
_MAY_BE_NONE = ("weights", "weights_sha256", "budget", "short_batch_size", "target", "network_args")
STILL = variations("none", mirror=False, tiny=False)

# What plain recipes leave out.
PLAIN: dict[str, Any] = {
    "find_rate": False,
    "schedule": "constant",
    "backbone_rate": 1.0,
    "layer_decay": 1.0,
    "frozen_statistics": True,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "class_weights": False,
    "augment": "none",
    "mixup": 0.0,
    "start_size": 0,
    "start_share": 0.0,
    "views": 1,
    "stored": "float32",
    "short_batch_size": None,
    "target": None,
    "promise": PROMISE,
    "augmentation": STILL,
    "golden": "test",
}


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in data.items() if v is not None}
