"""Every choice of a run, typed and frozen, and how the program makes those the user leaves open."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whatsit.dataset import Dataset
from whatsit.errors import OptionError, WeightsError
from whatsit.events import Decision
from whatsit.preprocess import GREY, Fit, Interpolation, Preprocess, scaling_named
from whatsit.weights import WeightsFile

SMALL = "small"  # the network of our own
TINY = 64  # pixels: up to here a picture is shown to the network about as it is
_ELONGATED = 2  # sides beyond this ratio would be squashed out of recognition
Optimizer = Literal["adamw", "sgd"]


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None leaves the choice to `choose`."""

    model: str | None = None
    network_args: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    preprocess: str | None = None
    fit: Fit | None = None
    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | None = None
    mirror: bool | None = None
    budget: float | None = None
    seed: int | None = None
    device: str | None = None
    golden: bool = True


@dataclass(frozen=True)
class Facts:
    """What a recipe depends on: training pictures, classes, their imbalance, and the pictures' usual size."""

    n_train: int
    n_classes: int
    imbalance: float  # pictures of the largest class over those of the smallest
    height: int  # medians, in pixels
    width: int
    grey: bool


def facts_of(dataset: Dataset) -> Facts:
    """The facts of a data set whose pictures have been read and split."""
    assert dataset.sizes is not None
    train = dataset.part("train")
    counts = [n for n in train.counts().values() if n]
    height, width = (int(n) for n in np.median(dataset.sizes, axis=0))
    return Facts(len(train), len(dataset.classes), max(counts) / min(counts), height, width, dataset.grey)


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied, each draw uniform: mirrored or not, and

    translate   shifted by up to this share of the side
    rotate      turned by up to so many degrees
    zoom        enlarged or shrunk by a factor between 1 / (1 + zoom) and 1 + zoom
    light       brightness and contrast changed by up to this share
    """

    mirror: bool
    translate: float
    rotate: float
    zoom: float
    light: float


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run. Rates are per step, times in seconds."""

    model: str
    network_args: dict[str, Any]
    weights: str | None
    weights_sha256: str | None
    scaling: str
    preprocess: Preprocess
    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    backbone_rate: float  # times learning_rate, for every layer but the last
    frozen_statistics: bool  # batch norm keeps the means and variances it was pretrained with
    weight_decay: float
    warmup: float  # share of all steps
    label_smoothing: float
    ema: float  # decay a step of the weights' running average, which is what is judged and kept; 0 keeps the weights
    dropout: float
    class_weights: bool
    augmentation: Augmentation
    patience: int
    budget: float | None
    seed: int
    device: str
    golden: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that are None, which TOML cannot hold."""
        data = asdict(self)
        data["preprocess"]["size"] = list(self.preprocess.size)
        data["preprocess"]["pad_colour"] = list(self.preprocess.pad_colour)
        return _without_none(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        values: dict[str, Any] = {spec.name: data.get(spec.name) for spec in fields(cls)}
        values["preprocess"] = Preprocess.from_json(data["preprocess"])
        values["augmentation"] = Augmentation(**data["augmentation"])
        values["network_args"] = data.get("network_args", {})
        return cls(**values)


def choose(wishes: Wishes, facts: Facts, weights: WeightsFile | None, device: str) -> tuple[Recipe, list[Decision]]:
    """The recipe for these wishes and facts, and what was decided for the user, with the reason of each."""
    decisions: list[Decision] = []

    def decide(what: str, why: str) -> None:
        decisions.append(Decision(what, why))

    model = _model(wishes, weights, decide)
    scaling = _scaling(wishes, weights)
    preprocess = _geometry(wishes, facts, weights, model, decide)
    pretrained = weights is not None
    epochs = wishes.epochs or _epochs(wishes, facts, pretrained, decide)
    rate = wishes.learning_rate or _learning_rate(wishes.optimizer or "adamw", pretrained)
    class_weights = facts.imbalance >= 1.5
    if class_weights:
        decide(
            "rarer classes weigh more in the loss", f"the largest class has {facts.imbalance:.1f} times the smallest"
        )
    recipe = Recipe(
        model=model,
        network_args={**(weights.arguments if weights else {}), **wishes.network_args},
        weights=str(weights.path.resolve()) if weights else None,
        weights_sha256=weights.sha256 if weights else None,
        scaling=scaling,
        preprocess=preprocess,
        epochs=epochs,
        batch_size=wishes.batch_size or _batch_size(facts, pretrained),
        optimizer=wishes.optimizer or "adamw",
        learning_rate=rate,
        backbone_rate=0.05 if pretrained else 1.0,
        frozen_statistics=pretrained,
        weight_decay=0.05 if (wishes.optimizer or "adamw") == "adamw" else 5e-4,
        warmup=0.1,
        label_smoothing=0.1,
        ema=0.99,
        dropout=0.2,
        class_weights=class_weights,
        augmentation=_augmentation(wishes, facts, decide),
        patience=max(5, math.ceil(epochs / 2)),
        budget=wishes.budget,
        seed=wishes.seed or 0,
        device=device,
        golden=wishes.golden,
    )
    return recipe, decisions


Decide = Callable[[str, str], None]


def _model(wishes: Wishes, weights: WeightsFile | None, decide: Decide) -> str:
    known = weights.network if weights else None
    asked = wishes.model.removeprefix("timm:") if wishes.model else None
    if asked and known and asked != known:
        raise WeightsError(
            f"cannot load these weights into '{asked}'",
            value=f"weights of '{known}'",
            accepted=f"--model {known}",
            hint="Leave --model out: the description beside the weights names the network.",
        )
    if asked is None and weights and known is None:
        raise WeightsError(
            f"cannot tell the network of '{weights.path.name}'",
            value="no --model, and no description beside the file",
            accepted="the name of a timm network",
            hint="Add --model NAME, for instance --model mobilenetv2_100.",
        )
    if asked is None and known is None:
        decide(
            f"model {SMALL}", "no model and no pretrained weights were named, so our small network learns from scratch"
        )
    return asked or known or SMALL


def _scaling(wishes: Wishes, weights: WeightsFile | None) -> str:
    name = wishes.preprocess or (weights.preprocess if weights else "-1..1")
    if name is None and weights is not None:
        raise WeightsError(
            f"cannot tell how pictures were scaled for '{weights.path.name}'",
            value="neither the file nor a description beside it says so",
            accepted="imagenet, -1..1, 0..1 or 0..255",
            hint="Add --preprocess; torchvision's and most of timm's weights want 'imagenet'.",
        )
    assert name is not None
    scaling_named(name)
    return name


def _geometry(wishes: Wishes, facts: Facts, weights: WeightsFile | None, model: str, decide: Decide) -> Preprocess:
    if wishes.image_size is not None:
        size = wishes.image_size
    elif weights and weights.input_size:
        size = weights.input_size[0]
    else:
        size = _image_size(facts, model, decide)
    elongated = max(facts.height, facts.width) > _ELONGATED * min(facts.height, facts.width)
    fit = wishes.fit or ("pad" if elongated else "squash")
    if wishes.fit is None and facts.height != facts.width:
        how = "padded" if elongated else "squashed"
        decide(f"pictures are {how} to a square", "the whole object stays in view; --fit changes it")
    interpolation: Interpolation = "bicubic"
    if weights and weights.interpolation in ("bilinear", "bicubic"):
        interpolation = weights.interpolation  # type: ignore[assignment]
    return Preprocess(fit, (size, size), interpolation, None, GREY)


def _image_size(facts: Facts, model: str, decide: Decide) -> int:
    longer = max(facts.height, facts.width)
    if longer <= TINY:
        size = min(TINY, max(16, 8 * math.ceil(longer / 8)))
        decide(f"image size {size}", f"the pictures are about {facts.height}x{facts.width} pixels")
        return size
    size = 96 if model == SMALL else 224
    decide(
        f"image size {size}", "enough for objects that fill the picture, and quick on a CPU; --image-size changes it"
    )
    return size


def _epochs(wishes: Wishes, facts: Facts, pretrained: bool, decide: Decide) -> int:
    """Enough passes for a small set to be seen often, few enough for a large one to end today."""
    pictures = 4_000 if pretrained else 45_000
    low, high = (3, 12) if pretrained else (10, 60)
    epochs = max(low, min(high, round(pictures / max(1, facts.n_train))))
    if wishes.budget is None:  # a budget has the last word, once a few steps have been timed
        decide(f"{epochs} epochs", f"{facts.n_train:,} training pictures; --epochs or --budget changes it")
    return epochs


def _batch_size(facts: Facts, pretrained: bool) -> int:
    """At least 16 steps an epoch on small sets; powers of two."""
    largest = 32 if pretrained else 128
    return max(4, min(largest, 1 << int(math.log2(max(4, facts.n_train / 16)))))


def _learning_rate(optimizer: Optimizer, pretrained: bool) -> float:
    if optimizer == "sgd":
        return 0.02 if pretrained else 0.1
    return 2e-3 if pretrained else 3e-3


def _augmentation(wishes: Wishes, facts: Facts, decide: Decide) -> Augmentation:
    mirror = wishes.mirror
    if mirror is None:
        mirror = not facts.grey
        if facts.grey:
            decide("pictures are not mirrored", "all are grey, and mirrored writing or scans mean something else")
    if max(facts.height, facts.width) <= TINY:
        return Augmentation(mirror, translate=0.1, rotate=10, zoom=0.15, light=0.1)
    return Augmentation(mirror, translate=0.1, rotate=10, zoom=0.3, light=0.2)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    return replace(recipe, epochs=epochs, patience=max(5, math.ceil(epochs / 2)))


def network_arguments(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("pad_type=same", "drop_rate=0.1")` -> their values, numbers and truth values told from text."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError(
                "cannot use this --network-arg",
                value=repr(pair),
                accepted="NAME=VALUE",
                hint="For instance: --network-arg pad_type=same",
            )
        try:
            arguments[name] = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            arguments[name] = text
    return arguments


def seconds(text: str) -> float:
    """`90s`, `5m`, `1.5h` or plain seconds -> seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text and text[-1] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise OptionError(
            "cannot use this time",
            value=repr(text),
            accepted="90s, 5m, 1.5h or seconds",
            hint="For instance: --budget 5m",
        )
    return value


def check_positive(wishes: Wishes) -> None:
    """Refuse numbers that no run can use, before any picture is read."""
    for name, low, high in (("epochs", 1, 100_000), ("batch_size", 2, 65_536), ("image_size", 8, 1024)):
        value = getattr(wishes, name)
        if value is not None and not low <= value <= high:
            raise OptionError(
                f"cannot use this {name.replace('_', '-')}",
                value=value,
                accepted=f"{low} to {high}",
                hint=f"Leave --{name.replace('_', '-')} out and whatsit chooses it.",
            )
    if wishes.learning_rate is not None and not 0 < wishes.learning_rate < 10:
        raise OptionError(
            "cannot use this learning rate", value=wishes.learning_rate, accepted="above 0, below 10", hint="Try 0.001."
        )


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in data.items() if v is not None}
