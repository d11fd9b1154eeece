"""Typed progress events.

Long work reports through one callback, `on_event`. The terminal, a pipe, the page and the tests all render the
same stream, so none of them is told anything the others are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of one stage, e.g. "reading pictures", counted so that all take about as long."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Decision:
    """Something the program chose, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know, with the pictures or names it is about; nothing has failed."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkBuilt:
    """The network's layers as a table (see training.summary)."""

    table: str
    total_parameters: int
    trainable_parameters: int


@dataclass(frozen=True)
class EpochEnded:
    """One pass over the training pictures. Losses are mean cross-entropies in nats, accuracies lie in [0, 1].

    The training figures are taken while the network learns, on augmented pictures; the validation figures after
    the epoch, on pictures as they are.
    """

    epoch: int  # 1-based
    epochs: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    best: bool


@dataclass(frozen=True)
class Finished:
    """The work ended; `text` says how."""

    text: str


Event = Progress | Decision | Notice | NetworkBuilt | EpochEnded | Finished
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of those who do not listen."""
