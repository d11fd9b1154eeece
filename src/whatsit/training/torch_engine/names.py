"""timm's networks by name, and what timm knows about their published weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

from whatsit import catalogue
from whatsit.catalogue import IMAGENET, TIMM, ModelSpec
from whatsit.errors import WeightsError
from whatsit.preprocess import SCALINGS, Fit
from whatsit.resizing import Interpolation

_CLOSE = 1e-3  # of a channel's mean: different roundings of one number
_FITS: dict[str, Fit] = {"center": "crop", "squash": "squash", "border": "pad"}


def published(pattern: str = "*") -> Iterator[ModelSpec]:
    """Every network with published weights that matches, a pattern as the shell has them, with or without tag."""
    import timm

    for network in timm.list_pretrained(pattern):
        try:
            yield _described(TIMM + network, timm.get_pretrained_cfg(network))
        except WeightsError:  # without a repository on the hub, or in a scaling that we do not have
            continue


def spec(name: str) -> ModelSpec:
    """What timm knows about "timm:resnet18.a1_in1k", or about "timm:resnet18", which stands for its usual weights.

    Raises OptionError for a name that timm does not know, WeightsError where we cannot use what is published.
    """
    import timm

    network = name.removeprefix(TIMM)
    architecture, _, tag = network.partition(".")
    if architecture not in timm.list_models():
        raise catalogue.unknown(network, timm.list_models())
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and network not in tagged:
        raise catalogue.unknown(network, tagged)
    return _described(name, timm.get_pretrained_cfg(network))


def _described(name: str, published: Any) -> ModelSpec:
    """From timm's record of the weights; None where it has none."""
    architecture = name.removeprefix(TIMM).partition(".")[0]
    if published is None or not published.hf_hub_id:
        raise WeightsError(
            f"cannot get weights for '{name}'",
            value="none that timm knows of",
            accepted="a network with published weights",
            hint=f"See: whatsit models 'timm:*{architecture.partition('_')[0]}*'",
        )
    height, width = published.input_size[1:]
    return ModelSpec(
        name=name,
        framework="torch",
        network=f"{architecture}.{published.tag}" if published.tag else architecture,
        input_size=(height, width),
        preprocess=_scaling(name, published),
        fit=_FITS.get(published.crop_mode, "crop"),
        resize_shorter=math.floor(height / published.crop_pct) if published.crop_mode == "center" else None,
        interpolation=published.interpolation if published.interpolation in get_args(Interpolation) else "bicubic",
        source=published.hf_hub_id,
        licence=published.license or "",
        classes=IMAGENET if published.num_classes == 1000 else None,
    )


def _scaling(name: str, published: Any) -> str:
    """The key in SCALINGS for these means and deviations."""
    wanted = (*published.mean, *published.std)
    for key, scaling in SCALINGS.items():
        if not scaling.bgr and all(
            abs(a - b) < _CLOSE for a, b in zip(wanted, (*scaling.mean, *scaling.std), strict=True)
        ):
            return key
    raise WeightsError(
        f"cannot use the published weights of '{name}'",
        value=f"pictures scaled with mean {published.mean} and deviation {published.std}",
        accepted=", ".join(SCALINGS),
        hint="Choose another network: whatsit models 'timm:*'",
    )
