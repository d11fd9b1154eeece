"""The recipe of a pretrained network that is used as it came."""

from __future__ import annotations

from whatsit.errors import WeightsError
from whatsit.preprocess import Preprocess, scaling_called
from whatsit.recipe.fields import PLAIN, Recipe
from whatsit.weights import WeightsFile


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
        **{**PLAIN, "golden": "samples"},
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
