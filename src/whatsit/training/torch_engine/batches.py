"""Batches of one epoch: their order and the variations of their pictures, drawn from (seed, epoch) alone.

Nothing else is random here, so a run that is resumed draws what the undisturbed run would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whatsit.augmentation import Augmentation

EVALUATION_BATCH = 64


def training_batches(
    pictures: NDArray[np.uint8], targets: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """uint8 [B, h, w, 3] and int64 [B], shuffled; a last batch of one joins no batch norm and is left out."""
    order = np.random.default_rng((seed, epoch)).permutation(len(pictures))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        if len(chosen) > 1:
            yield torch.from_numpy(pictures[chosen]), torch.from_numpy(targets[chosen])


def to_network(pictures: Tensor, device: torch.device) -> Tensor:
    """uint8 [N, h, w, 3] -> float [N, 3, h, w] in 0..1, channels last in memory, as it already lies."""
    return pictures.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def augment(x: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Shift, turn, zoom, mirror, lighten: each picture of float [N, 3, h, w] in 0..1 by its own draw."""
    n = len(x)

    def draw() -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1).to(x.device)

    grid = functional.affine_grid(_transforms(draw, how, n, x.device), list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if how.light:
        contrast, brightness = 1 + how.light * draw(), how.light * draw()
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * contrast.view(-1, 1, 1, 1) + mean * (1 + brightness.view(-1, 1, 1, 1))
    return x.clamp(0, 1).contiguous(memory_format=torch.channels_last)


def mix(x: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Each picture blended with another of the batch (mixup: Zhang et al., ICLR 2018), the others' places and the
    share that each keeps of itself, drawn from Beta(alpha, alpha)."""
    others = torch.randperm(len(x), generator=generator).to(x.device)
    draws = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    share = float(draws.beta(alpha, alpha))
    return x * share + x[others] * (1 - share), others, share


def _transforms(draw: object, how: Augmentation, n: int, device: torch.device) -> Tensor:
    """float [N, 2, 3]: where each output pixel is read from, in coordinates from -1 to 1."""
    assert callable(draw)
    angle = draw() * math.radians(how.rotate)
    scale = torch.exp(draw() * math.log1p(how.zoom))
    flip = torch.where(draw() < 0, -1.0, 1.0) if how.mirror else torch.ones(n, device=device)
    shift = torch.stack([draw(), draw()], dim=1) * 2 * how.translate
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([torch.stack([cos * flip, -sin], 1), torch.stack([sin * flip, cos], 1)], 1)
    return torch.cat([rows, shift.unsqueeze(2)], dim=2)
