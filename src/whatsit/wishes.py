"""What the user asks of a run, and what of it can be refused before any picture is read."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from whatsit.catalogue import Framework
from whatsit.errors import OptionError, did_you_mean
from whatsit.preprocess import Fit

Optimizer = Literal["adamw", "adam", "sgd", "rmsprop"]
Augment = Literal["none", "light", "medium", "strong"]
Preset = Literal["fast", "accurate", "tutorial", "tutorial_vgg16"]
Kept = Literal["test", "samples", "none"]
PROMISE = 0.95  # the share of right answers among those given, unless another is asked for


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None leaves the choice to `choose`.

    golden   which pictures the file keeps to replay: some of the test part, parts of scikit-learn's sample photos, none
    promise  the share of answers that must be right; scores that cannot keep it are answered "not sure"
    """

    recipe: Preset | None = None
    framework: Framework | None = None
    model: str | None = None
    network_args: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    random_weights: bool = False  # `--weights none`: learn from scratch
    preprocess: str | None = None
    fit: Fit | None = None
    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | Literal["auto"] | None = None
    finetune: str | None = None
    augment: Augment | None = None
    mirror: bool | None = None
    mixup: float | None = None
    ema: float | None = None
    budget: float | None = None
    target: float | None = None
    seed: int | None = None
    device: str | None = None
    offline: bool = False
    golden: Kept | None = None
    promise: float | None = None


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
    for name, (low, high) in _RANGES.items():
        value = getattr(wishes, name)
        if value is not None and not low <= value <= high:
            raise OptionError(
                f"cannot use this {name.replace('_', '-')}",
                value=value,
                accepted=f"{low} to {high}",
                hint=f"Leave --{name.replace('_', '-')} out and whatsit chooses it.",
            )
    for name, kind in _WORDS.items():
        word = getattr(wishes, name)
        if word is not None and word not in get_args(kind):
            raise OptionError(
                f"cannot use this {name}",
                value=repr(word),
                accepted=", ".join(get_args(kind)),
                hint=did_you_mean(str(word), get_args(kind)) or f"Leave {name} out and whatsit chooses it.",
            )
    for name, number, least, most in (
        ("learning rate", wishes.learning_rate, 0.0, 10.0),
        ("ema", wishes.ema, -1e-9, 1.0),
        ("mixup", wishes.mixup, -1e-9, 100.0),
        ("target", wishes.target, 0.0, 1.0),
        ("promise", wishes.promise, 0.0, 1.0),
    ):
        if isinstance(number, int | float) and not least < number < most:
            accepted = f"above 0, below {most:g}" if least == 0 else f"0 (off) to below {most:g}"
            raise OptionError(f"cannot use this {name}", value=number, accepted=accepted, hint=_TRY[name])
    if wishes.finetune is not None and wishes.finetune not in ("no", "last", "all") and not _is_number(wishes.finetune):
        raise OptionError(
            "cannot fine-tune this much",
            value=repr(wishes.finetune),
            accepted="no, last, all, or a number of layers from 1 on",
            hint="For instance: --finetune last",
        )


_RANGES = {
    "epochs": (1, 100_000),
    "batch_size": (2, 65_536),
    "image_size": (8, 1024),
    "seed": (0, 2**31 - 1),
}
_WORDS = {"recipe": Preset, "framework": Framework, "optimizer": Optimizer, "augment": Augment, "golden": Kept}
_TRY = {
    "learning rate": "Try 0.001, or 'auto'.",
    "ema": "Try 0.99, or 0 to keep the weights as they are.",
    "mixup": "Try 0.2.",
    "target": "An accuracy, for instance 0.94.",
    "promise": "A share of answers, for instance 0.99.",
}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
