"""One choice each: what was asked for, or what suits the data, and then it says why."""

from __future__ import annotations

import math
from typing import Any

from whatsit import catalogue
from whatsit.augmentation import Augmentation, variations
from whatsit.catalogue import Framework
from whatsit.errors import OptionError, WeightsError
from whatsit.preprocess import GREY, Preprocess, scaling_called
from whatsit.recipe.fields import OWN, SMALL, TINY, TUTORIAL_CNN, Decide, Facts
from whatsit.resizing import Interpolation
from whatsit.weights import WeightsFile
from whatsit.wishes import PROMISE, Optimizer, Wishes

_ELONGATED = 2  # sides beyond this ratio would be squashed out of recognition


def as_asked(wishes: Wishes) -> dict[str, Any]:
    """What no recipe has a say in."""
    return {
        "budget": wishes.budget,
        "target": wishes.target,
        "promise": wishes.promise or PROMISE,
        "golden": wishes.golden or "test",
        "seed": wishes.seed or 0,
    }


def framework(wishes: Wishes, weights: WeightsFile | None) -> Framework:
    named = weights.framework if weights else None
    if wishes.framework and named and wishes.framework != named:
        raise WeightsError(
            f"cannot load these weights with --framework {wishes.framework}",
            value=f"weights for {named}",
            accepted=f"--framework {named}",
            hint="Leave --framework out: the description beside the weights names it.",
        )
    return wishes.framework or named or "torch"  # type: ignore[return-value]


def model(wishes: Wishes, weights: WeightsFile | None, decide: Decide) -> str:
    if weights is None:
        if wishes.network_args and wishes.model in (None, SMALL, TUTORIAL_CNN):
            raise OptionError(
                f"cannot pass arguments to the network '{wishes.model or SMALL}'",
                value=", ".join(f"{name}={value}" for name, value in wishes.network_args.items()),
                accepted="--network-arg with --model compact, or with a network of timm or Keras",
                hint="Leave --network-arg out, or name a network: --model mobilenet_v2",
            )
        if wishes.model is None:
            why = "random weights were asked for" if wishes.random_weights else "the pictures are small"
            decide(f"model {SMALL}", f"{why}, so our small network learns them from scratch")
        return plain_name(wishes.model or SMALL)
    asked = plain_name(wishes.model) if wishes.model else None
    known = weights.network
    if asked and known and known.split(".")[0] not in networks(asked, weights.framework) and asked != weights.name:
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


def networks(name: str, framework: Any) -> set[str]:
    """The networks that a name may stand for, without the tags of their weights."""
    spec = catalogue.find(name, framework) if name in catalogue.curated() else None
    return {name.split(".")[0], *((spec.network.split(".")[0],) if spec else ())}


def plain_name(name: str) -> str:
    return name.removeprefix("timm:").removeprefix("keras:")


def class_weights(facts: Facts, decide: Decide) -> bool:
    weighted = facts.imbalance >= 1.5
    if weighted:
        decide(
            "rarer classes weigh more in the loss", f"the largest class has {facts.imbalance:.1f} times the smallest"
        )
    return weighted


def finetune(wishes: Wishes, pretrained: bool, decide: Decide) -> str:
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
            value=f"--{option_of(name)} with --finetune no",
            accepted="--finetune last, all or a number of layers",
            hint="Leave one of the two out.",
        )
    if wishes.finetune is not None:
        return wishes.finetune
    if given and wishes.budget is None and wishes.epochs is None:
        name = next(iter(given))
        decide("then all layers learn on", f"--{option_of(name)} is for that")
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


def scaling(wishes: Wishes, weights: WeightsFile | None) -> str:
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


def geometry(wishes: Wishes, facts: Facts, weights: WeightsFile | None, model: str, decide: Decide) -> Preprocess:
    if wishes.image_size is not None:
        size = wishes.image_size
    elif weights and weights.input_size:
        size = weights.input_size[0]
    else:
        size = image_size(facts, model, decide)
    elongated = max(facts.height, facts.width) > _ELONGATED * min(facts.height, facts.width)
    fit = wishes.fit or ("pad" if elongated else "squash")
    if wishes.fit is None and facts.height != facts.width:
        how = "padded" if elongated else "squashed"
        decide(f"pictures are {how} to a square", "the whole object stays in view; --fit changes it")
    interpolation: Interpolation = "bicubic"
    if weights and weights.interpolation in ("bilinear", "bicubic"):
        interpolation = weights.interpolation  # type: ignore[assignment]
    return Preprocess(fit, (size, size), interpolation, None, GREY)


def image_size(facts: Facts, model: str, decide: Decide) -> int:
    if facts.tiny:
        return tiny_size(facts, decide)
    size = 96 if model in OWN else 224
    decide(
        f"image size {size}", "enough for objects that fill the picture, and quick on a CPU; --image-size changes it"
    )
    return size


def tiny_size(facts: Facts, decide: Decide) -> int:
    """A multiple of 8 that holds the usual picture, at most TINY."""
    size = min(TINY, max(16, 8 * math.ceil(max(facts.height, facts.width) / 8)))
    why = f"the pictures are about {facts.height}x{facts.width} pixels"
    if facts.smallest < facts.largest:
        why = f"the pictures' sides measure {facts.smallest} to {facts.largest} pixels; they are brought to one size"
    decide(f"image size {size}", why)
    return size


def epochs(wishes: Wishes, facts: Facts, pretrained: bool, finetune: str, decide: Decide) -> int:
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


def batch_size(facts: Facts, pretrained: bool) -> int:
    """At least 16 steps an epoch on small sets; powers of two."""
    largest = 32 if pretrained else 128
    return max(4, min(largest, 1 << int(math.log2(max(4, facts.n_train / 16)))))


def learning_rate(wishes: Wishes, optimizer: Optimizer, pretrained: bool) -> float:
    if isinstance(wishes.learning_rate, float):
        return wishes.learning_rate
    if optimizer == "sgd":
        return 0.02 if pretrained else 0.1
    return 2e-3 if pretrained else 3e-3


def mirror(wishes: Wishes, facts: Facts, decide: Decide) -> bool:
    if wishes.mirror is not None:
        return wishes.mirror
    if facts.grey:
        decide("pictures are not mirrored", "all are grey, and mirrored writing or scans mean something else")
    return not facts.grey and wishes.augment != "none"


def augmentation(wishes: Wishes, facts: Facts, decide: Decide) -> Augmentation:
    return variations(wishes.augment or "medium", mirror(wishes, facts, decide), facts.tiny)


def option_of(name: str) -> str:
    """A wish as the command line calls it."""
    return _OPTION.get(name, name.replace("_", "-"))
