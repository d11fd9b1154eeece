"""Wishes that a recipe asked for by name cannot grant."""

from __future__ import annotations

from typing import Any

from whatsit.errors import OptionError
from whatsit.recipe.fields import COMPACT, TUTORIAL_CNN
from whatsit.recipe.parts import option_of
from whatsit.wishes import Wishes

_SCRATCH = {"weights": (), "preprocess": (), "finetune": ()}
_COMPACT: dict[str, tuple[Any, ...]] = {
    **_SCRATCH,
    "model": (COMPACT,),
    "framework": ("torch",),
    "optimizer": (),
    "learning_rate": (),
    "augment": (),
    "mixup": (0.0,),
    "ema": (0.0,),
}
# What each recipe takes of these options; everything of the others.
_TAKEN: dict[str, dict[str, tuple[Any, ...]]] = {
    "fast": _COMPACT,
    "accurate": _COMPACT,
    "tutorial": {**_SCRATCH, "model": (TUTORIAL_CNN,), "preprocess": ("0..1",), "network_args": ({},)},
}


def contradictions(recipe: str, wishes: Wishes) -> list[str]:
    """The fields of the wishes that this recipe cannot grant."""
    return [
        name
        for name, taken in _TAKEN.get(recipe, {}).items()
        if getattr(wishes, name) is not None and getattr(wishes, name) not in taken
    ]


def refuse_contradictions(wishes: Wishes) -> None:
    """Raise OptionError for the first of them, before any picture is read."""
    for name in contradictions(wishes.recipe or "", wishes):
        taken = ", ".join(map(str, _TAKEN[str(wishes.recipe)][name]))
        raise OptionError(
            f"cannot use --{option_of(name)} with --recipe {wishes.recipe}",
            value=getattr(wishes, name),
            accepted=taken if taken and name != "network_args" else "the recipe's own choice",
            hint=f"Leave --{option_of(name)} or --recipe out.",
        )
