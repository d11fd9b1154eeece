"""Names of classes from a file: one a line, or a JSON list."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from whatsit.errors import OptionError
from whatsit.events import Notice, OnEvent, ignore

_LARGEST = 10_000_000  # bytes


def read_labels(path: Path, on_event: OnEvent = ignore) -> tuple[str, ...]:
    """The labels in a file, in its order. Raises OptionError."""
    try:
        if path.stat().st_size > _LARGEST:
            raise _unreadable(path, f"{path.stat().st_size:,} bytes")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from None
    except ValueError:  # bytes that are no UTF-8, or a zero byte in the path
        raise _unreadable(path, "bytes that are no UTF-8 text") from None
    return distinct(_from_json(path, text) if text.lstrip().startswith("[") else from_lines(path, text), on_event)


def from_lines(path: Path, text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise _unreadable(path, "an empty file")
    if "" in lines:
        raise _unreadable(path, f"an empty line {lines.index('') + 1}")
    return lines


def _from_json(path: Path, text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        raise _unreadable(path, "a broken JSON list") from None
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise _unreadable(path, "a JSON list of something else than names")
    return [name.strip() for name in names]


def distinct(names: Sequence[str], on_event: OnEvent = ignore) -> tuple[str, ...]:
    """A name that comes again gets a number: ImageNet has the bird and the machine, both of them "crane"."""
    twice = [name for name, n in Counter(names).items() if n > 1]
    if not twice:
        return tuple(names)
    taken, kept = set(names), []
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        number = seen[name]
        while number > 1 and f"{name} ({number})" in taken:
            number += 1
        kept.append(name if number == 1 else f"{name} ({number})")
        taken.add(kept[-1])
    on_event(Notice("these labels stand for several classes each; all but the first get a number", tuple(twice)))
    return tuple(kept)


def _unreadable(path: Path, value: str) -> OptionError:
    return OptionError(
        f"cannot read the labels '{path}'",
        value=value,
        accepted="a text file with one label a line, or a JSON list",
        hint="Check the file after --labels.",
    )
