"""Pretrained networks by name.

curated.toml          the dozen that everybody should know, under short names: weights of timm
keras.toml            every network of keras.applications
imagenet_labels.txt   the 1,000 labels of ImageNet, in the order of such a network's answers

The rest of timm's networks is known to timm alone (`training.torch_engine.names`). Nothing here imports a library.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from whatsit.errors import OptionError, did_you_mean
from whatsit.preprocess import Fit
from whatsit.resizing import Interpolation

Framework = Literal["torch", "keras"]
TIMM, KERAS = "timm:", "keras:"
IMAGENET = "imagenet-1k"


@dataclass(frozen=True)
class ModelSpec:
    """A network, its published weights, and what is needed to use them.

    name        how people ask for it: "mobilenet_v2", "timm:resnet50.a1_in1k", "keras:ResNet50"
    network     the framework's name: timm's with its tag, or that of a function in keras.applications
    preprocess  a key of `preprocess.SCALINGS`
    source      where the weights come from: "timm/resnet18.tv_in1k" on the Hugging Face hub, or "keras.applications"
    classes     "imagenet-1k" where its last layer answers with ImageNet's 1,000 labels, None where it has no such layer
    accuracy    published top-1 accuracy on ImageNet's validation set, in [0, 1]; None where none was published
    keras       the application in Keras that is the same network, if there is one
    """

    name: str
    framework: Framework
    network: str
    arguments: dict[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] = (224, 224)
    preprocess: str = "imagenet"
    fit: Fit = "crop"
    resize_shorter: int | None = 256
    interpolation: Interpolation = "bicubic"
    source: str = ""
    licence: str = ""
    classes: str | None = IMAGENET
    parameters: int | None = None
    accuracy: float | None = None
    keras: str | None = None


@cache
def curated() -> dict[str, ModelSpec]:
    """The dozen, by name."""
    return {
        name: ModelSpec(
            name=name,
            framework="torch",
            source=f"timm/{row['network']}",
            **{**row, "classes": row.get("classes", IMAGENET) or None},
        )
        for name, row in tomllib.loads(_text("curated.toml")).items()
    }


@cache
def keras_applications() -> dict[str, ModelSpec]:
    """Every network of keras.applications, by its name there."""
    return {name: _application(name, **row) for name, row in tomllib.loads(_text("keras.toml"))["applications"].items()}


def _application(name: str, side: int, preprocess: str, **facts: Any) -> ModelSpec:
    return ModelSpec(
        name=KERAS + name,
        framework="keras",
        network=name,
        input_size=(side, side),
        preprocess=preprocess,
        resize_shorter=round(side / 0.875),  # the usual share that is kept: 224 of 256 pixels
        source="keras.applications",
        **facts,
    )


@cache
def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's 1,000 labels, each once, in the order of a network's answers: "tench", "goldfish", ..."""
    return tuple(_text("imagenet_labels.txt").splitlines())


def full_name(name: str, framework: Framework | None = None) -> str:
    """The name in full: "mobilenet_v2" as it is, or "keras:MobileNetV2" for Keras; "resnet34" is "timm:resnet34".

    Raises OptionError where `framework` has no such network, or another one than the name says.
    """
    for prefix, known in ((TIMM, "torch"), (KERAS, "keras")):
        if name.startswith(prefix):
            if framework not in (None, known):
                raise OptionError(
                    f"cannot use '{name}' in this framework",
                    value=f"--framework {framework}",
                    accepted=f"--framework {known}",
                    hint=f"Leave --framework out, or the '{prefix}' in front of the name.",
                )
            return name
    if framework != "keras":
        return name if name in curated() else TIMM + name
    if name in curated():
        return KERAS + _counterpart(curated()[name])
    return KERAS + name


def _counterpart(spec: ModelSpec) -> str:
    if spec.keras is None:
        raise OptionError(
            f"cannot use '{spec.name}' in Keras",
            value="keras.applications has no such network",
            accepted=", ".join(name for name, other in curated().items() if other.keras),
            hint="Leave --framework keras out, or choose another: whatsit models 'keras:*'",
        )
    return spec.keras


def find(name: str, framework: Framework | None = None) -> ModelSpec | None:
    """The network of this name, if it is a curated one or one of Keras; None if only timm can tell.

    Raises OptionError for a Keras application that there is not, and for a network that `framework` does not have.
    """
    full = full_name(name, framework)
    if full.startswith(KERAS):
        application = full.removeprefix(KERAS)
        if application not in keras_applications():
            raise unknown(name, [KERAS + known for known in keras_applications()])
        return keras_applications()[application]
    return curated().get(full)


def unknown(name: str, known: Iterable[str]) -> OptionError:
    """The error for a name that nobody knows, with the nearest of the curated names and of `known`."""
    names = {known_name.lower(): known_name for known_name in [*known, *curated()]}
    hint = did_you_mean(name.lower(), names)
    for lower, proper in names.items():
        hint = hint.replace(f"'{lower}'", f"'{proper}'")
    return OptionError(
        f"cannot find a network called '{name}'",
        value=repr(name),
        accepted="one of 'whatsit models', timm:NAME or keras:NAME",
        hint=hint or "See: whatsit models",
    )


def _text(file: str) -> str:
    return Path(__file__).with_name(file).read_text("utf-8")
