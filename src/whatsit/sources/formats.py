"""How published data sets store labels and pictures: CIFAR's binary records and MNIST's IDX files."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labelled = tuple[NDArray[np.uint8], Pixels]
"""Labels `uint8 [N]`, and pictures `uint8 [N, H, W, 3]` or grey `uint8 [N, H, W]`."""

_SIDE = 32  # pixels of CIFAR's pictures
_UNSIGNED_BYTE = 8  # IDX's code for it


class DamagedError(ValueError):
    """Bytes that are not what they should be; the text says how."""


def records(content: bytes, labels: int) -> Labelled:
    """CIFAR's records: some label bytes, then the red, green and blue planes of 32x32 pixels, row by row.

    The last of the `labels` counts: CIFAR-100 has the coarse label before the fine one. Raises DamagedError.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    length = labels + 3 * _SIDE * _SIDE
    if len(content) % length:
        raise DamagedError(f"{len(content):,} bytes, no multiple of {length:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, length)
    planes = rows[:, labels:].reshape(-1, 3, _SIDE, _SIDE)
    return rows[:, labels - 1], np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def idx(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes -> uint8 of so many dimensions.

    Two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit number, then the values.
    Raises DamagedError. Source: http://yann.lecun.com/exdb/mnist/
    """
    begins = 4 + 4 * dimensions
    if len(content) < begins or content[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise DamagedError(f"a file that begins with {content[:4].hex(' ') or 'nothing'}")
    shape = tuple(map(int, np.frombuffer(content, ">u4", count=dimensions, offset=4)))
    if len(content) - begins != math.prod(shape):
        raise DamagedError(f"{len(content) - begins:,} values for {' x '.join(map(str, shape))}")
    return np.frombuffer(content, np.uint8, offset=begins).reshape(shape)
