"""How glibc hands out memory while PyTorch trains."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 * 2**20}  # bytes
# As glibc has it once large pieces were freed: it cannot be told to find out by itself again.
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20, _TOP_PAD: 128 * 2**10}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for the next step, instead of giving it back to the system and asking for it again.

    Every step allocates the same hundreds of megabytes; without this the system clears each page anew, up to a
    fifth of the time of a step on two cores (benchmarks/LOG.md). When the block ends, all of it is given back.
    """
    _tell(_KEEPING)
    try:
        yield
    finally:
        _tell(_USUAL)


def _tell(options: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):  # a C library other than glibc
        return
    for option, value in options.items():
        library.mallopt(option, value)
    library.malloc_trim(0)
