"""What the backbone sees in every picture of a data set: looked at once, kept by content."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whatsit import resizing
from whatsit.cache import ContentCache
from whatsit.dataset import Dataset, Sample, in_parallel
from whatsit.events import OnEvent
from whatsit.preprocess import Preprocess
from whatsit.recipe import Recipe
from whatsit.transfer import backbone as backbones
from whatsit.transfer.backbone import Backbone

View = Literal["plain", "mirrored"]


def collect(
    backbone: Backbone, dataset: Dataset, views: tuple[View, ...], recipe: Recipe, folder: Path, on_event: OnEvent
) -> tuple[list[NDArray[np.float32]], int]:
    """float32 [N, D] for each view, rows in the order of the samples, and how many pictures had to be looked at."""
    contents = [sample.content for sample in dataset.samples]
    with ExitStack() as stack:
        stores = {view: stack.enter_context(ContentCache(_path(backbone, view, recipe, folder))) for view in views}
        found = {
            view: {content: np.frombuffer(row, np.float32) for content, row in store.get(contents).items()}
            for view, store in stores.items()
        }
        wanted = {c: [view for view in views if c not in found[view]] for c in contents}
        missing = [sample for sample in _once_each(dataset) if wanted[sample.content]]
        look = _Look(backbone, recipe.preprocess, dataset, wanted)
        seen = in_parallel(look, missing, "looking at pictures", on_event)
        for sample, rows in zip(missing, seen, strict=True):
            for view, row in rows.items():
                found[view][sample.content] = row
                stores[view].put({sample.content: row.tobytes()})
    return [np.stack([found[view][content] for content in contents]) for view in views], len(missing)


class _Look:
    """One sample -> its row for each view that is wanted."""

    def __init__(
        self, backbone: Backbone, preprocess: Preprocess, dataset: Dataset, wanted: dict[str, list[View]]
    ) -> None:
        self.backbone, self.preprocess, self.dataset, self.wanted = backbone, preprocess, dataset, wanted

    def __call__(self, sample: Sample) -> dict[View, NDArray[np.float32]]:
        picture = self.preprocess.apply(self.dataset.picture(sample))
        views = self.wanted[sample.content]
        seen = np.stack([picture[:, ::-1] if view == "mirrored" else picture for view in views])
        return dict(zip(views, self.backbone.runtime.run(seen)[1], strict=True))


def _once_each(dataset: Dataset) -> list[Sample]:
    return list({sample.content: sample for sample in dataset.samples}.values())


def _path(backbone: Backbone, view: View, recipe: Recipe, folder: Path) -> Path:
    facts = {
        **backbones.key(recipe),
        "preprocess": recipe.preprocess.to_json(),
        "shrunk with": resizing.shrinks_with(),
        "runtime": backbone.runtime.name,
        "view": view,
    }
    return folder / f"{recipe.model.replace('/', '_')}-{view}-{backbones.digest(facts)}.sqlite"
