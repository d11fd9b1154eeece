"""Labels as names of folders: which ones come back as the same label when `whatsit train` reads the folder."""

from __future__ import annotations

import os
import re
import unicodedata

from whatsit.dataset.layouts import is_hidden
from whatsit.errors import OptionError

_LONGEST = 200  # bytes of a label in UTF-8; file systems take 255
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no names for folders on Windows
_ON_WINDOWS = '<>:"|?*'


def reason_against(label: str) -> str:
    """Why no folder can have this name and be read as the same label; empty if one can."""
    try:
        encoded = label.encode()
    except UnicodeEncodeError:
        return "text that is no valid Unicode"
    if not label.strip():
        return "an empty label"
    if any(sign in label for sign in ("/", "\\")) or any(unicodedata.category(sign) == "Cc" for sign in label):
        return "a slash, a backslash or a control character in it"
    if unicodedata.normalize("NFC", label).strip() != label or label.endswith("."):
        return "spaces or a dot at its ends, or accents that stand apart from their letters"
    if len(encoded) > _LONGEST:
        return f"{len(encoded)} bytes"
    if is_hidden(label) or _DEVICES.fullmatch(label):
        return "a name that systems keep for themselves"
    if os.name == "nt" and set(label) & set(_ON_WINDOWS):
        return f"one of {_ON_WINDOWS} in it"
    return ""


def refusal(label: str, reason: str) -> OptionError:
    return OptionError(
        f"cannot make a folder for the label {label[:60]!r}",
        value=reason,
        accepted=f"a folder's name: up to {_LONGEST} bytes, without / and \\, no dot in front",
        hint="Give another label.",
    )
