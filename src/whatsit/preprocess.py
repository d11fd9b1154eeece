"""The geometry of a picture on its way into a network, as data, with its one implementation.

Training, evaluation, every runtime and every front end call `Preprocess.apply`; nothing else resizes pictures.
What happens to the values afterwards (`Scaling`) is part of the network's graph, so no caller can forget it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import OptionError, did_you_mean

Fit = Literal["crop", "pad", "squash"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]

GREY = (128, 128, 128)


@dataclass(frozen=True)
class Preprocess:
    """How a picture of any size becomes `size`.

    fit            "pad" keeps the whole picture and its proportions, "squash" the whole picture, "crop" the middle
    size           (height, width) in pixels
    interpolation  Pillow's filter of that name, which averages when it shrinks
    resize_shorter for "crop": the shorter side is first brought to this many pixels (default: the crop's own size)
    pad_colour     for "pad": the RGB colour of the margins
    """

    fit: Fit
    size: tuple[int, int]
    interpolation: Interpolation = "bicubic"
    resize_shorter: int | None = None
    pad_colour: tuple[int, int, int] = GREY

    def __post_init__(self) -> None:
        _check("fit", self.fit, get_args(Fit))
        _check("interpolation", self.interpolation, get_args(Interpolation))
        if min(self.size) < 1 or max(self.size) > 4096:
            raise OptionError(
                "cannot use this image size",
                value=f"{self.size[0]}x{self.size[1]}",
                accepted="1 to 4096 pixels a side",
                hint="Pass --image-size with a smaller number, for instance 224.",
            )

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring an upright RGB picture `uint8 [H, W, 3]` to `uint8 [height, width, 3]`."""
        from PIL import Image

        height, width = self.size
        if picture.shape[:2] == self.size and not self._crops_after_enlarging():
            return picture
        image = Image.fromarray(picture)
        resample = Image.Resampling[self.interpolation.upper()]
        if self.fit == "squash":
            return np.asarray(image.resize((width, height), resample))
        if self.fit == "pad":
            return self._pad(image, resample)
        return self._crop(image, resample)

    def _crops_after_enlarging(self) -> bool:
        return self.fit == "crop" and (self.resize_shorter or min(self.size)) != min(self.size)

    def _pad(self, image: Any, resample: Any) -> NDArray[np.uint8]:
        height, width = self.size
        scale = min(height / image.height, width / image.width)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = self.pad_colour
        top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
        canvas[top : top + inner[1], left : left + inner[0]] = np.asarray(image.resize(inner, resample))
        return canvas

    def _crop(self, image: Any, resample: Any) -> NDArray[np.uint8]:
        """Resize the shorter side, cut out the middle: torchvision's Resize and CenterCrop, to the pixel."""
        height, width = self.size
        shorter = max(self.resize_shorter or 0, height, width)
        if image.width <= image.height:
            inner = (shorter, max(1, int(shorter * image.height / image.width)))
        else:
            inner = (max(1, int(shorter * image.width / image.height)), shorter)
        left, top = round((inner[0] - width) / 2), round((inner[1] - height) / 2)
        return np.asarray(image.resize(inner, resample).crop((left, top, left + width, top + height)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocess:
        return cls(
            fit=data["fit"],
            size=(int(data["size"][0]), int(data["size"][1])),
            interpolation=data["interpolation"],
            resize_shorter=data.get("resize_shorter"),
            pad_colour=tuple(data.get("pad_colour", GREY)),
        )


@dataclass(frozen=True)
class Scaling:
    """What the graph does to pixel values 0..255 first: `(value / 255 - mean) / std`, per RGB channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


SCALINGS: dict[str, Scaling] = {
    # The channel statistics of ImageNet that torchvision's networks were trained with.
    "imagenet": Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "-1..1": Scaling((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0..255": Scaling((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


def scaling_named(name: str) -> Scaling:
    _check("preprocess", name, SCALINGS)
    return SCALINGS[name]


def _check(option: str, value: str, accepted: Any) -> None:
    if value not in accepted:
        raise OptionError(
            f"cannot use this {option}",
            value=repr(value),
            accepted=", ".join(accepted),
            hint=did_you_mean(value, accepted) or f"Choose one of them with --{option}.",
        )
