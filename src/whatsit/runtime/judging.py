"""Judge an open model on labelled pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whatsit.dataset import SPLITS, Dataset, Sample, Split, Unreadable, complete, content_hash, in_parallel, read
from whatsit.errors import DataError, ImageError, did_you_mean
from whatsit.evaluation import Report, judge
from whatsit.events import OnEvent, ignore
from whatsit.images import load
from whatsit.runtime.open_model import OpenModel, refuse_no_number


@dataclass(frozen=True)
class Evaluation:
    """What came out, over which pictures.

    report      on every readable picture
    part        the part that was judged; None for all of the data
    unreadable  pictures left out, with their reasons; where the part was carved, all that could have been in it
    known       names of pictures the model was trained on or chosen with
    unseen      the report on the other pictures; None if all or none are known
    """

    report: Report
    part: Split | None
    unreadable: tuple[Unreadable, ...]
    known: tuple[str, ...]
    unseen: Report | None


def evaluate(
    model: OpenModel,
    dataset: Dataset,
    split: Split | None = None,
    on_event: OnEvent = ignore,
    already: Mapping[str, NDArray[np.float32]] | None = None,
) -> Evaluation:
    """Judge the test part where the data has parts (or the part asked for), all of the data otherwise.

    A part that is not laid out is carved as `whatsit train` carves it. `already` holds probabilities `[K]` that the
    model is known to give, by the content of the picture. Raises DataError if a class is unknown to
    the model or nothing can be judged.
    """
    whole = split is None and not dataset.given_splits
    dataset = part_to_judge(model, dataset, split, on_event)
    answered = list(in_parallel(_Answer(model, already or {}), dataset.samples, "judging", on_event))
    good = [
        (sample, row) for sample, row in zip(dataset.samples, answered, strict=True) if not isinstance(row, ImageError)
    ]
    bad = [
        Unreadable(sample.name, sample.label, str(row.value))
        for sample, row in zip(dataset.samples, answered, strict=True)
        if isinstance(row, ImageError)
    ]
    if not good:
        raise DataError(
            f"cannot judge the model on '{dataset.name}'",
            value=f"{len(bad)} unreadable, the first: {bad[0].name}: {bad[0].reason}" if bad else "no pictures",
            accepted="at least one readable picture",
            hint="Check the folder, or choose another part with --split.",
        )
    known = [model.manifest.knows(content) for _, (_, content) in good]
    unseen = [item for item, seen in zip(good, known, strict=True) if not seen]
    return Evaluation(
        report=_report(model, good),
        part=None if whole else dataset.samples[0].split,
        unreadable=(*dataset.unreadable, *bad),
        known=tuple(sample.name for (sample, _), seen in zip(good, known, strict=True) if seen),
        unseen=_report(model, unseen) if 0 < len(unseen) < len(good) else None,
    )


def part_to_judge(model: OpenModel, dataset: Dataset, split: Split | None, on_event: OnEvent = ignore) -> Dataset:
    """The pictures that `evaluate` judges. Raises DataError if the model knows not all classes or there is no part."""
    part = _chosen(dataset, split, on_event)
    _refuse_unknown_classes(model, part)
    return part


def _chosen(dataset: Dataset, split: Split | None, on_event: OnEvent) -> Dataset:
    if split is None and not dataset.given_splits:
        return dataset
    wanted: Split = split or "test"
    if wanted in dataset.given_splits:
        return dataset.part(wanted)
    if dataset.given_splits and "train" not in dataset.given_splits:
        given = [part for part in SPLITS if part in dataset.given_splits]
        raise DataError(
            f"cannot judge the {wanted} part of '{dataset.name}'",
            value=f"only the parts {', '.join(given)}" if len(given) > 1 else f"only the {given[0]} part",
            accepted=f"a {wanted} part, or a train part to carve it from",
            hint=f"Judge a part that is there: --split {given[0]}",
        )
    return _carved(dataset, wanted, on_event)


def _carved(dataset: Dataset, wanted: Split, on_event: OnEvent) -> Dataset:
    """What cannot be read has no place in any part: it is told with each part it could have been in."""
    samples = read(dataset, on_event)
    elsewhere = {sample.name for sample in dataset.samples if sample.split not in (None, "train")}
    unreadable = tuple(picture for picture in samples.unreadable if picture.name not in elsewhere)
    return replace(complete(samples).part(wanted), unreadable=unreadable)


def _refuse_unknown_classes(model: OpenModel, dataset: Dataset) -> None:
    unknown = sorted({sample.label for sample in dataset.samples} - set(model.labels))
    if unknown:
        raise DataError(
            "cannot judge the model on these classes",
            value=", ".join(unknown[:5]),
            accepted=", ".join(model.labels[:20]) + (" and more" if len(model.labels) > 20 else ""),
            hint=did_you_mean(unknown[0], model.labels) or "Name the class folders as the model's labels.",
        )


class _Answer:
    """One sample -> its probabilities and content hash, or why it cannot be read."""

    def __init__(self, model: OpenModel, already: Mapping[str, NDArray[np.float32]]) -> None:
        self.already = already
        self.apply: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = model.manifest.preprocess.apply
        self.engine = model.engine

    def __call__(self, sample: Sample) -> tuple[NDArray[np.float32], str] | ImageError:
        if sample.content in self.already:
            return self.already[sample.content], sample.content
        try:
            picture = self.apply(load(sample.source, name=sample.name))
            content = sample.content or content_hash(sample.source)
        except ImageError as error:
            return error
        except OSError as error:  # it was there a moment ago
            what, reason = f"cannot read picture '{sample.name}'", error.strerror or str(error)
            return ImageError(what, value=reason, accepted="a readable file", hint="Check the disk.")
        probabilities = self.engine.run(picture[None])[0][0]
        return refuse_no_number(sample.name, probabilities) or (probabilities, content)


def _report(model: OpenModel, rows: list[tuple[Sample, tuple[NDArray[np.float32], str]]]) -> Report:
    index = {label: position for position, label in enumerate(model.labels)}
    return judge(
        np.stack([probabilities for _, (probabilities, _) in rows]),
        np.array([index[sample.label] for sample, _ in rows]),
        [sample.name for sample, _ in rows],
        model.labels,
        model.manifest.threshold,
    )
