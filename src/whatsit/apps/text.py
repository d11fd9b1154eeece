"""Text from outside as it can be shown: file names and labels need not be valid text."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line without control codes: file names may hold line breaks, escape sequences and bytes that are no text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sendable(text: str) -> str:
    """File names that are not valid UTF-8 reach Python as lone surrogates, which cannot be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")
