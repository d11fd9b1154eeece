"""Folder, split folders, CSV or arrays -> labelled samples in three parts.

layouts          what the user laid out -> Dataset, nothing read yet
reading          every picture read once: hash, size, thumbnail; unreadable ones set aside
near_duplicates  which pictures are copies of others
splits           train, validation and test
"""

from __future__ import annotations

from whatsit.dataset.layouts import from_pairs, open_folder_or_csv
from whatsit.dataset.reading import content_hash, for_each, in_parallel, read
from whatsit.dataset.samples import SPLITS, Dataset, Moved, Sample, Split, Unreadable
from whatsit.dataset.splits import by_counts, complete

__all__ = [
    "SPLITS",
    "Dataset",
    "Moved",
    "Sample",
    "Split",
    "Unreadable",
    "by_counts",
    "complete",
    "content_hash",
    "for_each",
    "from_pairs",
    "in_parallel",
    "open_folder_or_csv",
    "read",
]
