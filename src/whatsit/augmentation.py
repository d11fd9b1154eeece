"""How training pictures are varied."""

from __future__ import annotations

from dataclasses import dataclass

from whatsit.wishes import Augment


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied, each draw uniform: mirrored or not, and

    translate   shifted by up to this share of the side
    rotate      turned by up to so many degrees
    zoom        enlarged or shrunk by a factor between 1 / (1 + zoom) and 1 + zoom
    light       brightness and contrast changed by up to this share
    crop        shifted by whole pixels, up to so many to each side, over reflected margins
    cutout      a square of so many pixels a side made grey (DeVries and Taylor, arXiv 1708.04552)
    alternate   mirrored by turns instead of by chance: each picture every other epoch (Jordan, arXiv 2404.00498)
    """

    mirror: bool
    translate: float
    rotate: float
    zoom: float
    light: float
    crop: int = 0
    cutout: int = 0
    alternate: bool = False


def variations(strength: Augment, mirror: bool, tiny: bool) -> Augmentation:
    """What a strength means; in `tiny` pictures a little goes a long way."""
    return {
        "none": Augmentation(mirror, translate=0, rotate=0, zoom=0, light=0),
        "light": Augmentation(mirror, translate=0.05, rotate=0, zoom=0.1, light=0.1),
        "medium": Augmentation(mirror, 0.1, 10, zoom=0.15 if tiny else 0.3, light=0.1 if tiny else 0.2),
        "strong": Augmentation(mirror, translate=0.15, rotate=20, zoom=0.4, light=0.4),
    }[strength]
