"""From a model brought along to the file: the same answers as the original, shown on pictures, or no file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whatsit import images, modelfile, storage
from whatsit.dataset.layouts import files_below, is_picture_name
from whatsit.errors import ImageError, OptionError, ParityError
from whatsit.events import Notice, OnEvent, Progress, ignore
from whatsit.importers.brought import Brought
from whatsit.modelfile import Golden, Manifest
from whatsit.preprocess import Preprocess
from whatsit.runtime.open_model import OpenModel
from whatsit.sources import photos
from whatsit.sources.photos import Picture
from whatsit.version import __version__

STEPS = 12  # of an integer model's answers: nearer calls than that may go either way
_GOLDEN = 10
_TOGETHER = 8  # pictures answered at once, so that large networks need little memory


def write(brought: Brought, out: Path, golden: Path | None = None, on_event: OnEvent = ignore) -> Path:
    """Write the model file `out`, with golden pictures, if it answers as the original does.

    Golden pictures are parts of scikit-learn's two sample photos, or the first pictures in the folder `golden`. Raises
    ParityError if the answers differ: by more than 1e-4, or for a quantised model, in the first label of a picture
    about which the original is not undecided.
    """
    kept, others = _pictures(brought.preprocess, golden)
    pictures = np.stack([picture for _, picture in [*kept, *others]])
    expected = _in_pieces(brought, pictures, on_event)
    with storage.beside(out) as part:
        modelfile.write(part, brought.graph, _manifest(brought, ()), lambda _: None)
        answered = OpenModel(part).answers(pictures)
        difference = _check(brought, answered, expected)
        manifest = _manifest(brought, modelfile.golden_of(kept, answered, brought.labels), difference)
        modelfile.write(part, brought.graph, manifest, _verify)
    on_event(Notice(f"{len(pictures)} pictures answered as by the original: largest difference {difference:.1e}"))
    return out


def _in_pieces(brought: Brought, pictures: NDArray[np.uint8], on_event: OnEvent) -> NDArray[np.float32]:
    rows = []
    for start in range(0, len(pictures), _TOGETHER):
        rows.append(brought.original(pictures[start : start + _TOGETHER]))
        on_event(Progress("asking the original", min(start + _TOGETHER, len(pictures)), len(pictures)))
    return np.concatenate(rows)


def _check(brought: Brought, answered: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference. Raises ParityError."""
    if brought.quantised is None:
        return modelfile.check_parity(answered, expected)
    if answered.shape != expected.shape or not np.isfinite(answered).all():
        return modelfile.check_parity(answered, expected)  # raises
    ranked = np.sort(expected, axis=1)
    decided = ranked[:, -1] - ranked[:, -2] > STEPS * brought.quantised
    other = decided & (answered.argmax(axis=1) != expected.argmax(axis=1))
    if other.any():
        raise ParityError(
            "the model file does not answer as the original did",
            value=f"another first label on {int(other.sum())} of {int(decided.sum())} pictures",
            accepted=f"the same wherever the original is ahead by more than {STEPS * brought.quantised:.3f}",
            hint="The file was not kept. Please report this with the output of 'pip list'.",
        )
    return float(np.abs(answered - expected).max())


def _manifest(brought: Brought, golden: tuple[Golden, ...], difference: float | None = None) -> Manifest:
    calibration = brought.calibration
    return Manifest(
        labels=brought.labels,
        preprocess=brought.preprocess,
        threshold=calibration.threshold if calibration else None,
        calibration=dict(vars(calibration)) if calibration else {},
        known=modelfile.known_contents(brought.known),
        recipe=brought.recipe,
        weights={**brought.weights, "largest_difference": difference},
        golden=golden,
        whatsit=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _verify(path: Path) -> None:
    model = OpenModel(path)
    modelfile.verify(model.manifest, model.answers)


def _pictures(preprocess: Preprocess, golden: Path | None) -> tuple[list[Picture], list[Picture]]:
    """The golden pictures, and more to compare with the original, all in the input's geometry."""
    parts, others = list(photos.sample_parts()), list(photos.sample_parts(others=True))
    if golden is not None:
        parts, others = list(_from_folder(golden)), parts + others

    def fitted(pictures: list[Picture]) -> list[Picture]:
        return [(name, preprocess.apply(picture)) for name, picture in pictures]

    return fitted(parts), fitted(others)


def _from_folder(folder: Path) -> Iterator[Picture]:
    """The first pictures of a folder that can be read."""
    files = [file for file in files_below(folder) if is_picture_name(file)] if folder.is_dir() else []
    found = 0
    for file in files:
        try:
            yield file.relative_to(folder).as_posix(), images.load(file)
        except ImageError:
            continue
        found += 1
        if found == _GOLDEN:
            return
    if not found:
        raise OptionError(
            f"cannot take golden pictures from '{folder}'",
            value="no readable pictures" if folder.is_dir() else "no such folder",
            accepted="a folder of pictures",
            hint="Check the path after --golden, or leave it out.",
        )
