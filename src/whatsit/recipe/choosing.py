"""From wishes and facts to a recipe."""

from __future__ import annotations

from whatsit.events import Decision
from whatsit.recipe import from_scratch, parts, tutorials
from whatsit.recipe.contradictions import contradictions, refuse_contradictions
from whatsit.recipe.fields import COMPACT, TUTORIAL_CNN, Decide, Facts, Recipe, patience
from whatsit.weights import WeightsFile
from whatsit.wishes import Wishes


def choose(wishes: Wishes, facts: Facts, weights: WeightsFile | None, device: str) -> tuple[Recipe, list[Decision]]:
    """The recipe for these wishes and facts, and what was decided for the user, with the reason of each.

    Raises OptionError for wishes that the recipe asked for cannot grant, and WeightsError.
    """
    decisions: list[Decision] = []

    def decide(what: str, why: str) -> None:
        decisions.append(Decision(what, why))

    refuse_contradictions(wishes)
    if wishes.recipe == "tutorial_vgg16":
        return tutorials.vgg16(wishes, facts, weights, device, decide), decisions
    if wishes.recipe == "tutorial":
        return tutorials.cnn(wishes, facts, device, decide), decisions
    if wishes.recipe in ("fast", "accurate"):
        decide(f"recipe {wishes.recipe}", "it was asked for")
        return from_scratch.compact(wishes.recipe, wishes, facts, device, decide), decisions
    if weights is None and (wishes.model == COMPACT or (wishes.model is None and facts.tiny)):
        others = contradictions("fast", wishes)
        if not others:
            why = "--model asks for its network" if wishes.model else "the pictures are small"
            decide("recipe fast", f"{why}, so a compact network learns them from scratch")
            return from_scratch.compact("fast", wishes, facts, device, decide), decisions
        decide("not the recipe fast", f"--{parts.option_of(others[0])} is not for that")
    return _usual(wishes, facts, weights, device, decide), decisions


def _usual(wishes: Wishes, facts: Facts, weights: WeightsFile | None, device: str, decide: Decide) -> Recipe:
    model = parts.model(wishes, weights, decide)
    scaling = parts.scaling(wishes, weights)
    preprocess = parts.geometry(wishes, facts, weights, model, decide)
    pretrained = weights is not None
    finetune = parts.finetune(wishes, pretrained, decide)
    epochs = wishes.epochs or parts.epochs(wishes, facts, pretrained, finetune, decide)
    optimizer = wishes.optimizer or "adamw"
    return Recipe(
        **parts.as_asked(wishes),
        name="default",
        framework=parts.framework(wishes, weights),
        method="transfer" if pretrained else "scratch",
        finetune=finetune,
        last_layers="tutorial" if model == TUTORIAL_CNN else "linear",
        model=model,
        network_args={**(weights.arguments if weights else {}), **wishes.network_args},
        weights=str(weights.path.resolve()) if weights else None,
        weights_sha256=weights.sha256 if weights else None,
        scaling=scaling,
        preprocess=preprocess,
        epochs=epochs,
        batch_size=wishes.batch_size or parts.batch_size(facts, pretrained),
        optimizer=optimizer,
        learning_rate=parts.learning_rate(wishes, optimizer, pretrained),
        find_rate=wishes.learning_rate == "auto",
        schedule="cosine",
        backbone_rate=0.1 if pretrained else 1.0,
        layer_decay=0.97 if pretrained else 1.0,
        frozen_statistics=pretrained,
        weight_decay={"adamw": 0.05, "adam": 0.0}.get(optimizer, 5e-4),
        warmup=0.1,
        label_smoothing=0.1,
        ema=0.99 if wishes.ema is None else wishes.ema,
        dropout={TUTORIAL_CNN: 0.5, COMPACT: 0.0}.get(model, 0.2),
        class_weights=parts.class_weights(facts, decide),
        augment=wishes.augment or "medium",
        mixup=wishes.mixup or 0.0,
        augmentation=parts.augmentation(wishes, facts, decide),
        start_size=0,
        start_share=0.0,
        views=1,
        short_batch_size=None,
        stored="float32",
        patience=patience("default", epochs),
        device=device,
    )
