"""Every choice of a run, typed and frozen, and how the program makes those the user leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from whatsit import catalogue
from whatsit.augmentation import Augmentation, variations
from whatsit.catalogue import Framework
from whatsit.dataset import Dataset
from whatsit.errors import OptionError, WeightsError
from whatsit.events import Decision
from whatsit.preprocess import GREY, Interpolation, Preprocess, scaling_called
from whatsit.weights import WeightsFile
from whatsit.wishes import Optimizer, Wishes

SMALL = "small"  # the network of our own
TINY = 64  # pixels: up to here a picture is shown to the network about as it is
_ELONGATED = 2  # sides beyond this ratio would be squashed out of recognition


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


def default_model(facts: Facts) -> str:
    """Our small network for pictures that it can learn from scratch, a pretrained one for larger ones."""
    return SMALL if max(facts.height, facts.width) <= TINY else "mobilenet_v2"


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run. Rates are per step, times in seconds.

    method      "scratch": random weights, every layer learns. "transfer": the pretrained network stays as it is, and a
                last layer is fitted to what it sees; then, if `finetune` is not "no", layers learn on from there.
                "whole": one training from the weights given, with a fresh last layer
    finetune    which layers of a pretrained network learn: "no", "last" (its last quarter), "all", or a number of
                layers with weights, counted from the end
    last_layers "linear", or "tutorial": flatten, dense 1,024 with ReLU, dropout 0.5, linear
    schedule    "cosine" with a warm-up, or "constant"
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
    optimizer: Optimizer
    learning_rate: float
    find_rate: bool  # whether the rate is found by a range test before fine-tuning
    schedule: Literal["cosine", "constant"]
    backbone_rate: float  # times learning_rate, for every layer but the last
    layer_decay: float  # the rate of each earlier layer is that of the next times this; 1 makes all equal
    frozen_statistics: bool  # batch norm keeps the means and variances it was pretrained with
    weight_decay: float
    warmup: float  # share of all steps
    label_smoothing: float
    ema: float  # decay a step of the weights' running average, which is what is judged and kept; 0 keeps the weights
    dropout: float
    class_weights: bool
    augment: str  # the strength that was asked for, of which `augmentation` is what it means here
    mixup: float  # alpha of the Beta distribution that pictures are blended with; 0 blends none
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

    if wishes.recipe == "tutorial_vgg16":
        return _tutorial_vgg16(wishes, facts, weights, device, decide), decisions
    model = _model(wishes, weights, decide)
    scaling = _scaling(wishes, weights)
    preprocess = _geometry(wishes, facts, weights, model, decide)
    pretrained = weights is not None
    finetune = _finetune(wishes, pretrained, decide)
    epochs = wishes.epochs or _epochs(wishes, facts, pretrained, finetune, decide)
    optimizer = wishes.optimizer or "adamw"
    class_weights = facts.imbalance >= 1.5
    if class_weights:
        decide(
            "rarer classes weigh more in the loss", f"the largest class has {facts.imbalance:.1f} times the smallest"
        )
    recipe = Recipe(
        name="default",
        framework=_framework(wishes, weights),
        method="transfer" if pretrained else "scratch",
        finetune=finetune,
        last_layers="linear",
        model=model,
        network_args={**(weights.arguments if weights else {}), **wishes.network_args},
        weights=str(weights.path.resolve()) if weights else None,
        weights_sha256=weights.sha256 if weights else None,
        scaling=scaling,
        preprocess=preprocess,
        epochs=epochs,
        batch_size=wishes.batch_size or _batch_size(facts, pretrained),
        optimizer=optimizer,
        learning_rate=_learning_rate(wishes, optimizer, pretrained),
        find_rate=wishes.learning_rate == "auto",
        schedule="cosine",
        backbone_rate=0.1 if pretrained else 1.0,
        layer_decay=0.97 if pretrained else 1.0,
        frozen_statistics=pretrained,
        weight_decay=0.05 if optimizer == "adamw" else 5e-4,
        warmup=0.1,
        label_smoothing=0.1,
        ema=0.99 if wishes.ema is None else wishes.ema,
        dropout=0.2,
        class_weights=class_weights,
        augment=wishes.augment or "medium",
        mixup=wishes.mixup or 0.0,
        augmentation=_augmentation(wishes, facts, decide),
        patience=_patience(epochs),
        budget=wishes.budget,
        seed=wishes.seed or 0,
        device=device,
        golden=wishes.golden,
    )
    return recipe, decisions


def for_pretrained(weights: WeightsFile) -> Recipe:
    """The recipe of a network that is used as it came: what its description says, and nothing to be trained.

    Raises WeightsError where neither the description nor the user says which network it is, how pictures are
    scaled and how large they are.
    """
    missing = [name for name in ("network", "preprocess", "input_size") if getattr(weights, name) is None]
    if missing:
        raise WeightsError(
            f"cannot use the weights '{weights.path.name}'",
            value=f"nothing that says its {missing[0].replace('_', ' ')}",
            accepted="a description beside the file, or the same said by hand",
            hint="Add -m NETWORK and --preprocess, for instance: -m timm:mobilenetv2_100 --preprocess imagenet",
        )
    assert weights.network
    assert weights.input_size
    preprocess = Preprocess(
        fit=weights.fit or "crop",  # type: ignore[arg-type]
        size=weights.input_size,
        interpolation=weights.interpolation or "bicubic",  # type: ignore[arg-type]
        resize_shorter=weights.resize_shorter,
    )
    return Recipe(
        **_PLAIN,
        name="pretrained",
        framework=weights.framework or "torch",  # type: ignore[arg-type]
        method="whole",
        finetune="no",
        last_layers="linear",
        model=weights.network,
        network_args=weights.arguments,
        weights=str(weights.path.resolve()),
        weights_sha256=weights.sha256,
        scaling=scaling_called(str(weights.preprocess)),
        preprocess=preprocess,
        epochs=0,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.0,
        dropout=0.0,
        patience=0,
        budget=None,
        seed=0,
        device="cpu",
    )


def _tutorial_vgg16(wishes: Wishes, facts: Facts, weights: WeightsFile | None, device: str, decide: Decide) -> Recipe:
    """Transfer learning as the tutorial does it: VGG16 without top, its last 4 layers and a new head learn.

    The fourth of these layers is a pooling without weights, hence finetune "3". Unlike in the tutorial, pictures
    are scaled as the pretrained network wants them.
    """
    decide("recipe tutorial_vgg16", "it was asked for; options given besides replace its choices")
    if weights is None:
        decide("random weights", "--weights none was asked for; without ImageNet's the frozen layers know nothing")
    framework = _framework(wishes, weights)
    size = wishes.image_size or 224
    return Recipe(
        **{**_PLAIN, **_varied(wishes, facts, decide), "golden": wishes.golden},
        name="tutorial_vgg16",
        framework=framework,
        method="whole",
        finetune=wishes.finetune or "3",
        last_layers="tutorial",
        model=(weights.network if weights else wishes.model) or ("VGG16" if framework == "keras" else "vgg16"),
        network_args={**(weights.arguments if weights else {}), **wishes.network_args},
        weights=str(weights.path.resolve()) if weights else None,
        weights_sha256=weights.sha256 if weights else None,
        scaling=_scaling(wishes, weights) if weights or wishes.preprocess else _VGG16_SCALING[framework],
        preprocess=Preprocess(wishes.fit or "squash", (size, size), "bilinear", None, GREY),
        epochs=wishes.epochs or 5,
        batch_size=wishes.batch_size or 32,
        optimizer=wishes.optimizer or "rmsprop",
        learning_rate=wishes.learning_rate if isinstance(wishes.learning_rate, float) else 1e-4,
        dropout=0.5,
        patience=_patience(wishes.epochs or 5),
        budget=wishes.budget,
        seed=wishes.seed or 0,
        device=device,
    )


def _varied(wishes: Wishes, facts: Facts, decide: Decide) -> dict[str, Any]:
    """What was asked for besides a plain recipe."""
    asked: dict[str, Any] = {"find_rate": wishes.learning_rate == "auto"}
    asked |= {"mixup": wishes.mixup} if wishes.mixup is not None else {}
    asked |= {"ema": wishes.ema} if wishes.ema is not None else {}
    if wishes.augment is not None or wishes.mirror is not None:
        how = replace(wishes, augment=wishes.augment or "none", mirror=bool(wishes.mirror))
        asked |= {"augment": how.augment, "augmentation": _augmentation(how, facts, decide)}
    return asked


# Each framework's published weights want the pictures they were trained with.
_VGG16_SCALING: dict[Framework, str] = {"keras": "caffe", "torch": "imagenet"}
_STILL = variations("none", mirror=False, tiny=False)

# What plain recipes leave out.
_PLAIN: dict[str, Any] = {
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
    "augmentation": _STILL,
    "golden": True,
}

Decide = Callable[[str, str], None]


def _framework(wishes: Wishes, weights: WeightsFile | None) -> Framework:
    named = weights.framework if weights else None
    if wishes.framework and named and wishes.framework != named:
        raise WeightsError(
            f"cannot load these weights with --framework {wishes.framework}",
            value=f"weights for {named}",
            accepted=f"--framework {named}",
            hint="Leave --framework out: the description beside the weights names it.",
        )
    return wishes.framework or named or "torch"  # type: ignore[return-value]


def _model(wishes: Wishes, weights: WeightsFile | None, decide: Decide) -> str:
    if weights is None:
        if wishes.network_args and wishes.model in (None, SMALL):
            raise OptionError(
                "cannot pass arguments to the small network",
                value=", ".join(f"{name}={value}" for name, value in wishes.network_args.items()),
                accepted="--network-arg with a network of timm or Keras",
                hint="Leave --network-arg out, or name a network: --model mobilenet_v2",
            )
        if wishes.model is None:
            why = "random weights were asked for" if wishes.random_weights else "the pictures are small"
            decide(f"model {SMALL}", f"{why}, so our small network learns them from scratch")
        return _plain_name(wishes.model or SMALL)
    asked = _plain_name(wishes.model) if wishes.model else None
    known = weights.network
    if asked and known and known.split(".")[0] not in _networks(asked, weights.framework) and asked != weights.name:
        raise WeightsError(
            f"cannot load these weights into '{asked}'",
            value=f"weights of '{known}'",
            accepted=f"--model {known}",
            hint="Leave --model out: the description beside the weights names the network.",
        )
    if asked is None and known is None:
        raise WeightsError(
            f"cannot tell the network of '{weights.path.name}'",
            value="no --model, and no description beside the file",
            accepted="the name of a network",
            hint="Add --model NAME, for instance --model mobilenetv2_100.",
        )
    if wishes.model is None and wishes.weights is None:
        decide(f"model {weights.name}", "pictures of this size gain from a network that has seen a million others")
    return known or str(asked)


def _networks(name: str, framework: Any) -> set[str]:
    """The networks that a name may stand for, without the tags of their weights."""
    spec = catalogue.find(name, framework) if name in catalogue.curated() else None
    return {name.split(".")[0], *((spec.network.split(".")[0],) if spec else ())}


def _plain_name(name: str) -> str:
    return name.removeprefix("timm:").removeprefix("keras:")


def _finetune(wishes: Wishes, pretrained: bool, decide: Decide) -> str:
    if not pretrained:
        if wishes.finetune is not None:
            raise OptionError(
                "cannot fine-tune a network without pretrained weights",
                value=f"--finetune {wishes.finetune}",
                accepted="a pretrained network",
                hint="Leave --finetune out, or name one: --model mobilenet_v2",
            )
        return "all"
    given = {name: getattr(wishes, name) for name in _FOR_FINE_TUNING if getattr(wishes, name) is not None}
    if wishes.finetune == "no" and (given or wishes.epochs or wishes.budget):
        name = next(iter(given), "epochs" if wishes.epochs else "budget")
        raise OptionError(
            "cannot use this option without fine-tuning",
            value=f"--{_OPTION.get(name, name.replace('_', '-'))} with --finetune no",
            accepted="--finetune last, all or a number of layers",
            hint="Leave one of the two out.",
        )
    if wishes.finetune is not None:
        return wishes.finetune
    if given and wishes.budget is None and wishes.epochs is None:
        name = next(iter(given))
        decide("then all layers learn on", f"--{_OPTION.get(name, name.replace('_', '-'))} is for that")
        return "all"
    if wishes.budget is not None or wishes.epochs is not None:
        why = "the time left" if wishes.epochs is None else f"the {wishes.epochs} epochs asked for"
        decide("then all layers learn on", f"{why} can make more of it; the better one on validation is kept")
        return "all"
    decide(
        "the pretrained network stays as it is", "only a new last layer is fitted, in seconds; --finetune all goes on"
    )
    return "no"


_FOR_FINE_TUNING = ("learning_rate", "optimizer", "mixup", "ema", "augment", "batch_size")
_OPTION = {"learning_rate": "lr"}


def _patience(epochs: int) -> int:
    return max(5, math.ceil(epochs / 2))


def _scaling(wishes: Wishes, weights: WeightsFile | None) -> str:
    name = wishes.preprocess or (weights.preprocess if weights else "-1..1")
    if name is None and weights is not None:
        raise WeightsError(
            f"cannot tell how pictures were scaled for '{weights.path.name}'",
            value="neither the file nor a description beside it says so",
            accepted="imagenet, -1..1, 0..1, 0..255 or the name of a Keras application",
            hint="Add --preprocess; torchvision's and most of timm's weights want 'imagenet'.",
        )
    assert name is not None
    return scaling_called(name)


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


def _epochs(wishes: Wishes, facts: Facts, pretrained: bool, finetune: str, decide: Decide) -> int:
    """Enough passes for a small set to be seen often, few enough for a large one to end today.

    0 where there is nothing to fine-tune, and where a budget has the last word once a few steps have been timed.
    """
    if finetune == "no" or wishes.budget is not None:
        return 0
    pictures = 4_000 if pretrained else 45_000
    low, high = (3, 12) if pretrained else (10, 60)
    epochs = max(low, min(high, round(pictures / max(1, facts.n_train))))
    decide(f"{epochs} epochs", f"{facts.n_train:,} training pictures; --epochs or --budget changes it")
    return epochs


def _batch_size(facts: Facts, pretrained: bool) -> int:
    """At least 16 steps an epoch on small sets; powers of two."""
    largest = 32 if pretrained else 128
    return max(4, min(largest, 1 << int(math.log2(max(4, facts.n_train / 16)))))


def _learning_rate(wishes: Wishes, optimizer: Optimizer, pretrained: bool) -> float:
    if isinstance(wishes.learning_rate, float):
        return wishes.learning_rate
    if optimizer == "sgd":
        return 0.02 if pretrained else 0.1
    return 2e-3 if pretrained else 3e-3


def _augmentation(wishes: Wishes, facts: Facts, decide: Decide) -> Augmentation:
    mirror = wishes.mirror
    if mirror is None:
        mirror = not facts.grey and wishes.augment != "none"
        if facts.grey:
            decide("pictures are not mirrored", "all are grey, and mirrored writing or scans mean something else")
    return variations(wishes.augment or "medium", mirror, tiny=max(facts.height, facts.width) <= TINY)


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    return replace(recipe, learning_rate=rate, find_rate=False)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    return replace(recipe, epochs=epochs, patience=_patience(epochs))


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in data.items() if v is not None}
