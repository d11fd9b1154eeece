"""How glibc hands out memory while PyTorch trains."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_PLENTY = 256 * 2**20  # bytes, taken from the system at a time


def keep_freed_memory() -> None:
    """Keep what is freed for the next step, instead of giving it back to the system and asking for it again.

    Every step allocates the same hundreds of megabytes; without this the system clears each page anew, up to a
    fifth of the time of a step on two cores (benchmarks/LOG.md). It holds for the rest of the process.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PLENTY)):
            mallopt(option, value)
