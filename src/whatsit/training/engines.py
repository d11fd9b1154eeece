"""The engine of a framework, imported when it is asked for."""

from __future__ import annotations

from whatsit.catalogue import Framework
from whatsit.errors import MissingExtraError
from whatsit.training.engine import Engine


def engine_of(framework: Framework, task: str) -> Engine:
    """Raises MissingExtraError, which says what `task` needs, where the framework is not installed."""
    try:
        if framework == "keras":
            from whatsit.training.keras_engine import KerasEngine

            return KerasEngine()
        from whatsit.training.torch_engine import TorchEngine
    except ImportError as error:
        extra = "keras" if framework == "keras" else "train"
        raise MissingExtraError(task, module=error.name or framework, extra=extra) from None
    return TorchEngine()
