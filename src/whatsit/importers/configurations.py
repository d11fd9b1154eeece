"""The configurations of models: nested dictionaries and lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a configuration, from the outside in."""
    todo = [config]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            yield part
            todo.extend(part.values())
        elif isinstance(part, list):
            todo.extend(part)
