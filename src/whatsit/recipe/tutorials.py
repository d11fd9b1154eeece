"""The recipes of the tutorials, to the letter; options given besides replace their choices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from whatsit.catalogue import Framework
from whatsit.preprocess import GREY, Preprocess
from whatsit.recipe import parts
from whatsit.recipe.fields import PLAIN, TUTORIAL_CNN, Decide, Facts, Recipe, patience
from whatsit.weights import WeightsFile
from whatsit.wishes import Wishes


def vgg16(wishes: Wishes, facts: Facts, weights: WeightsFile | None, device: str, decide: Decide) -> Recipe:
    """Transfer learning as the tutorial does it: VGG16 without top, its last 4 layers and a new head learn.

    The fourth of these layers is a pooling without weights, hence finetune "3". Unlike in the tutorial, pictures
    are scaled as the pretrained network wants them.
    """
    decide("recipe tutorial_vgg16", "it was asked for; options given besides replace its choices")
    if weights is None:
        decide("random weights", "--weights none was asked for; without ImageNet's the frozen layers know nothing")
    framework = parts.framework(wishes, weights)
    size = wishes.image_size or 224
    return Recipe(
        **{**PLAIN, **parts.as_asked(wishes), **_asked(wishes, facts, decide)},
        name="tutorial_vgg16",
        framework=framework,
        method="whole",
        finetune=wishes.finetune or "3",
        last_layers="tutorial",
        model=(weights.network if weights else wishes.model) or ("VGG16" if framework == "keras" else "vgg16"),
        network_args={**(weights.arguments if weights else {}), **wishes.network_args},
        weights=str(weights.path.resolve()) if weights else None,
        weights_sha256=weights.sha256 if weights else None,
        scaling=parts.scaling(wishes, weights) if weights or wishes.preprocess else _VGG16_SCALING[framework],
        preprocess=Preprocess(wishes.fit or "squash", (size, size), "bilinear", None, GREY),
        epochs=wishes.epochs or 5,
        batch_size=wishes.batch_size or 32,
        optimizer=wishes.optimizer or "rmsprop",
        learning_rate=wishes.learning_rate if isinstance(wishes.learning_rate, float) else 1e-4,
        dropout=0.5,
        patience=patience("tutorial_vgg16", wishes.epochs or 5),
        device=device,
    )


def cnn(wishes: Wishes, facts: Facts, device: str, decide: Decide) -> Recipe:
    """A small CNN from scratch as the CIFAR-10 tutorial trains it: Adam at 0.001, 30 epochs of batches of 64.

    Pictures are scaled to [0, 1] and not varied. The tutorial looks at the test part after every epoch; here the best
    epoch is chosen on validation.
    """
    decide("recipe tutorial", "it was asked for; options given besides replace its choices")
    epochs = wishes.epochs or (0 if wishes.budget else 30)
    size = wishes.image_size or parts.tiny_size(facts, decide)
    return Recipe(
        **{
            **PLAIN,
            **parts.as_asked(wishes),
            **_asked(wishes, facts, decide),
            "frozen_statistics": False,
        },
        name="tutorial",
        framework=parts.framework(wishes, None),
        method="scratch",
        finetune="all",
        last_layers="tutorial",
        model=TUTORIAL_CNN,
        network_args={},
        weights=None,
        weights_sha256=None,
        scaling="0..1",
        preprocess=Preprocess(wishes.fit or "squash", (size, size), "bicubic", None, GREY),
        epochs=epochs,
        batch_size=wishes.batch_size or 64,
        optimizer=wishes.optimizer or "adam",
        learning_rate=wishes.learning_rate if isinstance(wishes.learning_rate, float) else 1e-3,
        dropout=0.5,
        patience=patience("tutorial", epochs),
        device=device,
    )


def _asked(wishes: Wishes, facts: Facts, decide: Decide) -> dict[str, Any]:
    """What was asked for besides a plain recipe."""
    asked: dict[str, Any] = {"find_rate": wishes.learning_rate == "auto"}
    asked |= {"mixup": wishes.mixup} if wishes.mixup is not None else {}
    asked |= {"ema": wishes.ema} if wishes.ema is not None else {}
    if wishes.augment is not None or wishes.mirror is not None:
        how = replace(wishes, augment=wishes.augment or "none", mirror=bool(wishes.mirror))
        asked |= {"augment": how.augment, "augmentation": parts.augmentation(how, facts, decide)}
    return asked


# Each framework's published weights want the pictures they were trained with.
_VGG16_SCALING: dict[Framework, str] = {"keras": "caffe", "torch": "imagenet"}
