"""The compact network's recipes: as accurate as may be, as soon as may be, from scratch, on small pictures.

The method is airbench's (K. Jordan, arXiv 2404.00498) with Muon on the filters (K. Jordan et al., 2024): a first layer
that whitens patches and does not learn, few wide layers, pictures mirrored every other epoch, a rate that falls to
zero on a line. Of our own are the smaller pictures at the start and the batches of a small set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from whatsit.augmentation import Augmentation, variations
from whatsit.recipe import parts
from whatsit.recipe.fields import COMPACT, PLAIN, SHORT, STILL, Decide, Facts, Recipe, patience
from whatsit.wishes import Wishes

_CIFAR10 = 48_000  # training pictures: all but those for validation
_FEW = 10_000  # training pictures
_LONG = 8 * _CIFAR10  # pictures seen in all epochs
_LONG_BUDGET = 15 * 60.0  # seconds
_NARROW = (32, 64, 128)
_LARGE_BATCH = 1_000
_RATE = 0.24  # of Muon: the share of a filter's length that a step may turn it by, at the start


@dataclass(frozen=True)
class _Preset:
    """What the two recipes differ in.

    lengths     (accuracy, epochs): so many epochs, or fewer, reached it on CIFAR-10 (benchmarks/LOG.md)
    usual       epochs, for a set as large as CIFAR-10
    coarse      share of the steps with smaller pictures
    network     arguments of the compact network
    crop        pixels that a picture of 32 is shifted by, at most; `cutout` likewise
    stored      how the file holds the weights
    long        what of these is different in a long schedule
    """

    lengths: tuple[tuple[float, int], ...]
    usual: int
    coarse: float
    network: dict[str, Any]
    crop: int
    cutout: int
    stored: Literal["float32", "float16"]
    long: dict[str, Any] = field(default_factory=dict)


_PRESETS = {
    "fast": _Preset(
        lengths=((0.85, 1), (0.89, 2), (0.915, 4), (0.94, 12)),
        usual=12,
        coarse=0.5,
        network={"widths": [64, 256, 256], "depth": 2},
        crop=2,
        cutout=0,
        stored="float32",
        long={"network": {"widths": [64, 256, 256], "depth": 3}, "crop": 4},
    ),
    "accurate": _Preset(
        lengths=(),
        usual=48,
        coarse=0.6,
        network={"widths": [128, 384, 448], "depth": 3},
        crop=4,
        cutout=12,
        stored="float16",
    ),
}


def compact(name: Literal["fast", "accurate"], wishes: Wishes, facts: Facts, device: str, decide: Decide) -> Recipe:
    """The recipe of this name. Raises OptionError for wishes that it cannot grant."""
    preset = _PRESETS[name]
    size = wishes.image_size or parts.tiny_size(facts, decide)
    epochs = wishes.epochs or _epochs(preset, wishes, facts, decide)
    if preset.long and _is_long(epochs, wishes, facts):
        preset = replace(preset, **preset.long)
        deeper = "" if "depth" in wishes.network_args else "a third convolution in each block and "
        decide(f"{deeper}wider shifts of the pictures", "a schedule this long gains from them")
    mirror = parts.mirror(wishes, facts, decide)
    start_size = _start_size(size)
    if start_size:
        decide(
            f"{start_size} pixels a side in the first {preset.coarse:.0%} of the steps",
            "coarse pictures teach the coarse things sooner",
        )
    return Recipe(
        **{
            **PLAIN,
            **parts.as_asked(wishes),
            "schedule": "linear",
            "frozen_statistics": False,
            "label_smoothing": 0.2,
            "class_weights": parts.class_weights(facts, decide),
            "augment": "medium" if facts.n_train < _FEW else "own",
            "augmentation": _augmentation(preset, facts, size, mirror),
            "start_size": start_size,
            "start_share": preset.coarse if start_size else 0.0,
            "views": 6 if mirror else 1,
            "stored": preset.stored,
            "short_batch_size": _batch_size(facts, SHORT) if wishes.budget and not wishes.batch_size else None,
        },
        name=name,
        framework="torch",
        method="scratch",
        finetune="all",
        last_layers="linear",
        model=COMPACT,
        network_args=_network(preset, wishes, facts, decide),
        weights=None,
        weights_sha256=None,
        scaling="-1..1",
        preprocess=parts.geometry(replace(wishes, image_size=size), facts, None, COMPACT, decide),
        epochs=epochs,
        batch_size=wishes.batch_size or _batch_size(facts, epochs),
        optimizer="muon",
        learning_rate=_RATE,
        dropout=0.0,
        patience=patience(name, epochs),
        device=device,
    )


def _epochs(preset: _Preset, wishes: Wishes, facts: Facts, decide: Decide) -> int:
    """With a budget the most that could pay; fewer where fewer fit, once a few steps have been timed."""
    if wishes.budget is not None and wishes.target is None:
        decide(f"at most {_most(preset, facts)} epochs", "more would not pay; fewer where the budget ends before")
        return _most(preset, facts)
    changes = "--epochs, --target or --budget" if preset.lengths else "--epochs or --budget"
    length, why = preset.usual, f"{facts.n_train:,} training pictures; {changes} changes it"
    if wishes.target is not None:
        length, why = _length_for(wishes.target, preset)
    # A smaller set is seen as often, up to a point.
    epochs = min(_most(preset, facts), round(length * max(1.0, _CIFAR10 / facts.n_train)))
    decide(f"{epochs} epochs", why)
    return epochs


def _is_long(epochs: int, wishes: Wishes, facts: Facts) -> bool:
    """Whether so much is seen that a deeper network, and pictures varied more, end better for all that they cost."""
    if wishes.budget is not None and wishes.budget < _LONG_BUDGET:
        return False
    return facts.n_train >= _FEW and epochs * facts.n_train >= _LONG


def _length_for(target: float, preset: _Preset) -> tuple[int, str]:
    for reached, length in preset.lengths:
        if reached >= target:
            return (
                length,
                f"so many or fewer reached {reached:.1%} on CIFAR-10; a smaller set is gone through more often",
            )
    return preset.usual, f"this recipe's longest; whether it reaches {target:.1%} will be seen"


def _most(preset: _Preset, facts: Facts) -> int:
    """Epochs that may pay: small sets gain from more than the usual ones, up to a point."""
    return max(preset.usual, 30 if facts.n_train >= 1_000 else 60)


def _network(preset: _Preset, wishes: Wishes, facts: Facts, decide: Decide) -> dict[str, Any]:
    """On small sets wide layers cost more than they see: Muon's part of a step does not shrink with the batch."""
    arguments = {**preset.network, **wishes.network_args}
    if facts.n_train >= _FEW or "widths" in wishes.network_args:
        return arguments
    decide(f"widths {', '.join(map(str, _NARROW))}", f"{facts.n_train:,} training pictures do not fill wider layers")
    return {**arguments, "widths": list(_NARROW)}


def _batch_size(facts: Facts, epochs: int) -> int:
    """Powers of two that leave 24 steps an epoch on small sets; on large ones short schedules need more steps."""
    most = _LARGE_BATCH // 2 if epochs <= SHORT else _LARGE_BATCH
    return min(most, 1 << int(math.log2(max(16, facts.n_train / 24))))


def _start_size(size: int) -> int:
    """Three quarters of the side, or 0 where that leaves too little to see."""
    return 8 * round(size * 0.75 / 8) if size >= 32 else 0


def _augmentation(preset: _Preset, facts: Facts, size: int, mirror: bool) -> Augmentation:
    """Small sets are turned and zoomed too. In large ones there is enough to see: margins that suit 32 pixels, in
    proportion."""
    if facts.n_train < _FEW:
        return variations("medium", mirror, tiny=True)
    crop, cutout = (math.ceil(pixels * size / 32) for pixels in (preset.crop, preset.cutout))
    return replace(STILL, mirror=mirror, alternate=mirror, crop=crop, cutout=cutout)
