"""The geometry of a picture on its way into a network, as data, with its one implementation.

Training, evaluation, every runtime and every front end call `Preprocess.apply`; nothing else resizes what they see.
What happens to the values afterwards (`Scaling`) is part of the network's graph, so no caller can forget it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whatsit.errors import OptionError, did_you_mean
from whatsit.resizing import Interpolation, Window, resize

Fit = Literal["crop", "pad", "squash"]

GREY = (128, 128, 128)
_LARGEST = 4096  # pixels a side


@dataclass(frozen=True)
class Preprocess:
    """How a picture of any size becomes `size`.

    fit            "pad" keeps the whole picture and its proportions, "squash" the whole picture, "crop" the middle
    size           (height, width) in pixels
    interpolation  Pillow's filter of that name, which averages when it shrinks
    resize_shorter for "crop": the shorter side is first brought to this many pixels (default: just enough to fill it)
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
        for name, (height, width) in (("image size", self.size), ("resize", (self.resize_shorter or 1,) * 2)):
            if min(height, width) < 1 or max(height, width) > _LARGEST:
                raise OptionError(
                    f"cannot use this {name}",
                    value=f"{height}x{width}",
                    accepted=f"1 to {_LARGEST} pixels a side",
                    hint="Pass another --image-size, for instance 224.",
                )

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring an upright RGB picture `uint8 [H, W, 3]` to `uint8 [height, width, 3]`."""
        if picture.shape[:2] == self.size and self.resize_shorter is None:
            return picture
        if self.fit == "pad":
            return self._pad(picture)
        height, width = self.size
        if self.fit == "squash":
            return resize(picture, (width, height), self.interpolation, Window(0, 0, width, height))
        # The shorter side is resized and the middle cut out: torchvision's Resize and CenterCrop.
        inner = self._before_crop(picture.shape[1], picture.shape[0])
        left, top = round((inner[0] - width) / 2), round((inner[1] - height) / 2)
        return resize(picture, inner, self.interpolation, Window(left, top, width, height))

    def _pad(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (height, width), (rows, columns) = self.size, picture.shape[:2]
        scale = min(height / rows, width / columns)
        inner = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = self.pad_colour
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        within = resize(picture, inner, self.interpolation, Window(0, 0, *inner))
        canvas[top : top + inner[1], left : left + inner[0]] = within
        return canvas

    def _before_crop(self, width: int, height: int) -> tuple[int, int]:
        """The width and height to resize to: no side shorter than the crop, and no larger than need be."""
        rows, columns = self.size
        if self.resize_shorter is not None:
            rows = columns = max(self.resize_shorter, rows, columns)
        if width * rows <= height * columns:
            return columns, int(columns * height / width)
        return int(rows * width / height), rows

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
    """What the graph does to pixel values 0..255 first: `(value / 255 - mean) / std`, per RGB channel.

    With `bgr`, the channels are then put into the order blue, green, red, as networks that came from Caffe want them.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False


_UNIT = (1 / 255, 1 / 255, 1 / 255)

SCALINGS: dict[str, Scaling] = {
    # The channel statistics of ImageNet that torchvision's networks were trained with.
    "imagenet": Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "-1..1": Scaling((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0..255": Scaling((0.0, 0.0, 0.0), _UNIT),
    # ImageNet's means in blue, green, red and no division: the VGG networks and the first ResNets, and Keras's copies.
    "caffe": Scaling((123.68 / 255, 116.779 / 255, 103.939 / 255), _UNIT, bgr=True),
    "clip": Scaling((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "dpn": Scaling((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
}

# Names of Keras applications, as in `keras.applications.NAME.preprocess_input`, which say the same.
_KERAS_NAMES = {
    **dict.fromkeys(("mobilenet", "mobilenet_v2", "inception_v3", "inception_resnet_v2", "xception"), "-1..1"),
    **dict.fromkeys(("nasnet", "resnet_v2"), "-1..1"),
    **dict.fromkeys(("vgg16", "vgg19", "resnet", "resnet50"), "caffe"),
    **dict.fromkeys(("mobilenet_v3", "efficientnet", "efficientnet_v2", "convnext"), "0..255"),
    "densenet": "imagenet",
}


def scaling_called(name: str) -> str:
    """The key in SCALINGS that a user's word stands for. Raises OptionError for a word that is none."""
    _check("preprocess", name, (*SCALINGS, *_KERAS_NAMES))
    return _KERAS_NAMES.get(name, name)


def scaling_named(name: str) -> Scaling:
    return SCALINGS[scaling_called(name)]


def _check(option: str, value: str, accepted: Any) -> None:
    if value not in accepted:
        raise OptionError(
            f"cannot use this {option}",
            value=repr(value),
            accepted=", ".join(accepted),
            hint=did_you_mean(value, accepted) or f"Choose one of them with --{option}.",
        )
