"""What the user said about a model, and the errors that ask by name for what is still missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from whatsit.errors import OptionError
from whatsit.importers.unusable import unusable
from whatsit.preprocess import SCALINGS, Fit, Preprocess, Scaling, scaling_called, scaling_named
from whatsit.resizing import Interpolation
from whatsit.weights import WeightsFile


@dataclass(frozen=True)
class Said:
    """What the user said; None leaves it to the file.

    labels      names of the classes, in the order of the network's answers
    preprocess  how pixel values are scaled: a key of SCALINGS, or a Keras application's name
    network     for files that hold weights only: "timm:NAME", a timm name, or one of ours ("cifar_resnet20")
    """

    labels: tuple[str, ...] | None = None
    preprocess: str | None = None
    network: str | None = None
    network_args: dict[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    fit: Fit | None = None

    def check(self) -> None:
        """Refuse what can be refused before any file is read. Raises OptionError."""
        if self.preprocess is not None:
            scaling_called(self.preprocess)
        if self.image_size is not None:
            Preprocess("crop", (self.image_size, self.image_size))

    def labels_for(self, path: Path, answers: int) -> tuple[str, ...]:
        """The labels of a network with so many answers (two labels for one answer, a yes or no)."""
        wanted = max(2, answers)
        if self.labels is None:
            raise missing(path, "the names of its classes", f"--labels with a file of {wanted} names, one a line")
        if len(self.labels) != wanted:
            raise OptionError(
                f"cannot label the answers of '{path}'",
                value=f"{len(self.labels)} labels",
                accepted=f"{wanted} labels, one for each of its answers",
                hint="Check --labels; some networks answer with an extra class for the background, which comes first.",
            )
        return self.labels

    def scaling_for(self, path: Path, known: str | Scaling | None = None) -> tuple[str, Scaling]:
        """The scaling's name and itself: what the user said, or what the file tells."""
        name = self.preprocess or known
        if isinstance(name, Scaling):
            return _name_of(name), name
        if name is None:
            names = ", ".join(SCALINGS)
            raise missing(path, "how pixel values were scaled in training", f"--preprocess with one of {names}")
        return scaling_called(name), scaling_named(name)

    def refuse_other_scaling(self, path: Path, quantisation: tuple[float, float], offset: int) -> None:
        """For a file whose integers are pixels less `offset`, and which tells their scale and zero point.

        What they stand for is in the file, so a --preprocess may only repeat it. Raises ModelFileError.
        """
        if self.preprocess is None:
            return
        scaling = scaling_named(self.preprocess)
        pixels = np.arange(256)
        means = quantisation[0] * (pixels - offset - quantisation[1])
        for mean, std in zip(scaling.mean, scaling.std, strict=True):
            wanted = (pixels / 255 - mean) / std
            if scaling.bgr or np.abs(means - wanted).max() > 2 * quantisation[0]:
                raise unusable(
                    path,
                    f"--preprocess {self.preprocess}",
                    f"pixel values as they are; the file takes them to mean {means[0]:.3g} to {means[-1]:.3g}",
                    "Leave --preprocess out.",
                )

    def geometry(
        self,
        path: Path,
        size: tuple[int | None, int | None],
        usual: tuple[int, int] | None = None,
        described: WeightsFile | None = None,
    ) -> Preprocess:
        """The input's geometry from the graph's height and width, None where it takes any.

        What the user said goes before the description's size, and that before the `usual` one.
        """
        known = (described.input_size if described else None) or usual or (None, None)
        height, width = (side or self.image_size or other for side, other in zip(size, known, strict=True))
        if height is None or width is None:
            raise missing(path, "the size of its pictures", "--image-size with the pixels a side")
        if self.image_size is not None and (height, width) != (self.image_size, self.image_size):
            raise OptionError(
                f"cannot give '{path}' pictures of this size",
                value=f"{self.image_size}x{self.image_size}",
                accepted=f"{height}x{width}, for which it was made",
                hint="Leave --image-size out.",
            )
        if described is None or described.input_size != (height, width):
            return self.framed(Preprocess("crop", (height, width), "bilinear"))
        fit, interpolation = described.fit or "crop", described.interpolation or "bilinear"
        return self.framed(
            Preprocess(cast(Fit, fit), (height, width), cast(Interpolation, interpolation), described.resize_shorter)
        )

    def framed(self, known: Preprocess) -> Preprocess:
        """The same geometry with the --fit that the user wants."""
        if self.fit is None or self.fit == known.fit:
            return known
        return Preprocess(self.fit, known.size, known.interpolation)


def _name_of(scaling: Scaling) -> str:
    known = {value: name for name, value in SCALINGS.items()}
    return known.get(scaling) or f"mean {scaling.mean}, std {scaling.std}"


def missing(path: Path, what: str, accepted: str) -> OptionError:
    option = accepted.split()[0]
    return OptionError(
        f"cannot import '{path}'",
        value=f"nothing in the file about {what}",
        accepted=accepted,
        hint=f"Say it with {option}.",
    )
