"""What TensorFlow's and PyTorch's C++ write past every setting of theirs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing of the block reaches the terminal; errors are still raised.

    TensorFlow notes the processor's abilities when it is first needed, with PyTorch as backend too: to save a file.
    """
    streams = [(stream, number) for stream, number in ((sys.stdout, 1), (sys.stderr, 2))]
    for stream, _ in streams:
        stream.flush()
    kept = [os.dup(number) for _, number in streams]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for _, number in streams:
            os.dup2(nowhere, number)
        yield
    finally:
        for (stream, number), copy in zip(streams, kept, strict=True):
            stream.flush()
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
