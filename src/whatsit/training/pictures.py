"""Samples -> one array of pictures with the network's geometry."""

from __future__ import annotations

import tempfile

import numpy as np
from numpy.typing import NDArray

from whatsit.dataset import Dataset, Sample, for_each
from whatsit.events import OnEvent
from whatsit.preprocess import Preprocess

_LARGEST_IN_MEMORY = 4_000_000_000  # bytes; beyond, a temporary file that the system pages in and out


def decode(dataset: Dataset, preprocess: Preprocess, on_event: OnEvent) -> NDArray[np.uint8]:
    """uint8 [N, h, w, 3], in the order of the samples; in a temporary file if it is too large for memory."""
    shape = (len(dataset), *preprocess.size, 3)
    pictures: NDArray[np.uint8]
    if int(np.prod(shape)) <= _LARGEST_IN_MEMORY:
        pictures = np.empty(shape, np.uint8)
    else:
        pictures = np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=shape)  # noqa: SIM115  lives as long as the array

    def prepare(sample: Sample) -> NDArray[np.uint8]:
        return preprocess.apply(dataset.picture(sample))

    for index, picture in enumerate(for_each(prepare, dataset.samples, "preparing pictures", on_event)):
        pictures[index] = picture
    return pictures
