"""Gather what a run knows into report.html."""

from __future__ import annotations

import io
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from whatsit import doctor, images, storage
from whatsit.dataset import SPLITS, Dataset
from whatsit.errors import ImageError
from whatsit.evaluation import Calibration, Report
from whatsit.evaluation.page import RunFacts, render
from whatsit.events import Decision
from whatsit.recipe import Recipe
from whatsit.runs import RunFolder
from whatsit.training.engine import Fitted
from whatsit.version import __version__

_SHOWN = 12  # training pictures
_THUMBNAIL = 192  # pixels, the longer side
_LIBRARIES = (
    "torch",
    "timm",
    "keras",
    "tensorflow-cpu",
    "onnxruntime",
    "numpy",
    "pillow",
    "cykooz.resizer",
    "simplejpeg",
)


def write(
    run: RunFolder,
    samples: Dataset,
    report: Report,
    fitted: Fitted,
    calibration: Calibration,
    recipe: Recipe,
    decisions: Sequence[Decision],
    seconds: float,
) -> None:
    run.write_history(fitted.history)
    facts = RunFacts(
        title=samples.name,
        created=datetime.now(UTC).date().isoformat(),
        command=" ".join(["whatsit", *sys.argv[1:]]),
        data_name=samples.name,
        fingerprint=samples.fingerprint,
        counts={split: samples.part(split).counts() for split in SPLITS},
        unreadable=samples.unreadable,
        findings=doctor.examine(samples),
        decisions=decisions,
        recipe=recipe.to_dict(),
        network_table=fitted.network.table,
        total_parameters=fitted.network.total_parameters,
        trainable_parameters=fitted.network.trainable_parameters,
        history=fitted.history,
        calibration=calibration,
        seconds=seconds,
        stopped=fitted.stopped,
        software=software(),
        batch=_batch(samples),
    )
    storage.write_whole(run.report, render(report, facts, _thumbnails(samples)))


def software() -> dict[str, str]:
    """Versions and hardware, without names of people or machines."""
    found = {"whatsit": __version__, "Python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())}


def _batch(samples: Dataset) -> list[tuple[str, str]]:
    """Some training pictures in the order of their contents' hashes: as good as a draw, and always the same."""
    train = sorted(samples.part("train").samples, key=lambda sample: sample.content)
    return [(sample.name, sample.label) for sample in train[:_SHOWN]]


def _thumbnails(samples: Dataset) -> Callable[[str], bytes | None]:
    """A function from a picture's name to a small copy of it, or None if it is gone."""
    sources = {sample.name: sample.source for sample in samples.samples}

    def thumbnail(name: str) -> bytes | None:
        from PIL import Image

        try:
            image = Image.fromarray(images.load(sources[name], name=name))
        except (ImageError, KeyError):
            return None
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "PNG" if max(image.size) <= 64 else "JPEG", quality=85)
        return buffer.getvalue()

    return thumbnail
