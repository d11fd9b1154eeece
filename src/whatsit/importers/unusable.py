"""What is said of a file that cannot be imported."""

from __future__ import annotations

from pathlib import Path

from whatsit.errors import ModelFileError


def unusable(path: Path, value: object, accepted: str, hint: str = "Copy or export the file again.") -> ModelFileError:
    text = " ".join(str(value).split())
    return ModelFileError(
        f"cannot import '{path}'", value=text[:200] or "a file that cannot be read", accepted=accepted, hint=hint
    )
