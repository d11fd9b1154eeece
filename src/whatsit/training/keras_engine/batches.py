"""Batches of one epoch: their order and the variations of their pictures, drawn from (seed, epoch) alone.

Nothing else is random here, so a run that is resumed draws what the undisturbed run would have drawn. The order is
the one that PyTorch's engine takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from whatsit.augmentation import Augmentation
from whatsit.training import course

EVALUATION_BATCH = 64

Pictures = NDArray[np.float32]


def training_batches(
    pictures: NDArray[np.uint8], targets: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """uint8 [B, h, w, 3] and int64 [B], shuffled; a batch of one joins no batch norm and is left out."""
    for chosen in course.batches(len(pictures), batch_size, seed, epoch):
        if len(chosen) > 1:
            yield pictures[chosen], targets[chosen]


def draws_of(seed: int, epoch: int) -> np.random.Generator:
    """What augmentation and mixup draw from in this epoch."""
    return np.random.default_rng((seed, epoch, 1))


def augment(x: Pictures, how: Augmentation, rng: np.random.Generator) -> Pictures:
    """Shift, turn, zoom, mirror, lighten: each picture of float [N, h, w, 3] in 0..255 by its own draw."""
    n = len(x)

    def draw() -> Pictures:
        return rng.uniform(-1, 1, n).astype(np.float32)

    if how.mirror or how.translate or how.rotate or how.zoom:
        moved = keras.ops.image.affine_transform(
            x, _transforms(draw, how, x.shape), "bilinear", "reflect", data_format="channels_last"
        )
        x = np.asarray(keras.ops.convert_to_numpy(moved), np.float32)
    if how.light:
        contrast, brightness = 1 + how.light * draw(), how.light * draw()
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x = (x - mean) * contrast.reshape(-1, 1, 1, 1) + mean * (1 + brightness.reshape(-1, 1, 1, 1))
    return np.clip(x, 0, 255)


def mix(x: Pictures, alpha: float, rng: np.random.Generator) -> tuple[Pictures, NDArray[np.int64], float]:
    """Each picture blended with another of the batch (mixup: Zhang et al., ICLR 2018), the others' places and the
    share that each keeps of itself, drawn from Beta(alpha, alpha)."""
    others = rng.permutation(len(x))
    share = float(rng.beta(alpha, alpha))
    return x * np.float32(share) + x[others] * np.float32(1 - share), others, share


def _transforms(draw: Callable[[], Pictures], how: Augmentation, shape: tuple[int, ...]) -> Pictures:
    """float [N, 8]: where each output pixel is read from, as Keras has it, turned about the middle."""
    n, height, width = shape[:3]
    angle = draw() * math.radians(how.rotate)
    scale = np.exp(draw() * math.log1p(how.zoom))
    flip = np.where(draw() < 0, -1.0, 1.0) if how.mirror else np.ones(n)
    across, down = draw() * how.translate * width, draw() * how.translate * height
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = (width - 1) / 2, (height - 1) / 2
    a0, a1, b0, b1 = cos * flip, -sin, sin * flip, cos
    rows = (a0, a1, x - a0 * x - a1 * y + across, b0, b1, y - b0 * x - b1 * y + down, np.zeros(n), np.zeros(n))
    return np.stack(rows[:8], axis=1).astype(np.float32)
