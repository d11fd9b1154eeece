"""A name or file that was chosen -> an open model."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit import catalogue, named_models

if TYPE_CHECKING:
    from whatsit.runtime import OpenModel


def by_name() -> tuple[str, ...]:
    """The networks of the short list that answer with labels. The first time, getting one ready needs 'train'."""
    return tuple(name for name, spec in catalogue.curated().items() if spec.classes == catalogue.IMAGENET)


def file_of(choice: str) -> Path | None:
    """The model file that is meant, in full; None for the name of a network."""
    if choice == named_models.BUILTIN:
        return named_models.BUILTIN_FILE
    file = named_models.file_called(choice)
    return None if file is None else Path(os.path.abspath(file))


def shown(choice: str) -> str:
    """What to call it: a file by its name, and where every run's file is called the same, with its folder."""
    if choice == named_models.BUILTIN or named_models.file_called(choice) is None:
        return choice
    path = Path(os.path.abspath(choice))
    return f"{path.parent.name}/{path.name}" if path.name == "model.onnx" else path.name


def opened(choice: str, stopped: threading.Event) -> OpenModel:
    """Open it; a network by name is fetched first if need be, which ends when `stopped` is set.

    Raises ModelFileError, WeightsError, InterruptedEarlyError.
    """
    from whatsit.runtime import OpenModel
    from whatsit.weights import Wanted

    file = file_of(choice)
    return OpenModel(file or named_models.path_of(Wanted(choice), quiet=True, stopped=stopped))
