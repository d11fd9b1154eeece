"""Batches of one epoch: their order and the variations of their pictures, drawn from (seed, epoch) alone.

Nothing else is random here, so a run that is resumed draws what the undisturbed run would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whatsit.augmentation import Augmentation
from whatsit.training import course

EVALUATION_BATCH = 64


def training_batches(
    pictures: Tensor, targets: Tensor, how: Augmentation, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """uint8 [B, h, w, 3] and int64 [B], shuffled, cropped and mirrored by turns, where the pictures lie.

    A batch of one joins no batch norm and is left out.
    """
    n = len(pictures)
    shifts = np.random.default_rng((seed, epoch, 1))  # not the numbers that `augment` draws
    mirrored = _by_turns(n, seed, epoch) if how.alternate else torch.zeros(n, dtype=torch.bool)
    for chosen in map(torch.from_numpy, course.batches(n, batch_size, seed, epoch)):
        if len(chosen) < 2:
            continue
        batch = pictures[chosen.to(pictures.device)]
        if how.crop or how.alternate:
            shift = shifts.integers(-how.crop, how.crop, (2, len(chosen)), endpoint=True)
            batch = moved(batch, torch.from_numpy(shift), mirrored[chosen])
        yield batch, targets[chosen.to(targets.device)]


def _by_turns(n: int, seed: int, epoch: int) -> Tensor:
    """bool [N]: half of the pictures, drawn once, in odd epochs, and the other half in even ones."""
    half = np.random.default_rng((seed, 0, 3)).random(n) < 0.5
    return torch.from_numpy(half ^ (epoch % 2 == 0))


def moved(pictures: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
    """uint8 [N, h, w, 3], each shifted by whole pixels [2, N] (down, right) over reflected margins, or mirrored too."""
    device = pictures.device
    height, width = pictures.shape[1:3]
    rows = _reflected(torch.arange(height) - shift[0, :, None], height)
    columns = _reflected(torch.arange(width) - shift[1, :, None], width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    places = torch.arange(len(pictures), device=device)[:, None, None]
    return pictures[places, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]


def _reflected(places: Tensor, n: int) -> Tensor:
    """Places off the edge, reflected at the outermost pixel: -1 is 1, n is n - 2."""
    return (n - 1) - ((n - 1) - places.abs()).abs()


def to_network(pictures: Tensor, device: torch.device) -> Tensor:
    """uint8 [N, h, w, 3] -> float [N, 3, h, w] in 0..1, channels last in memory, as it already lies."""
    return pictures.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def augment(x: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Shift, turn, zoom, mirror, lighten, cut out: each picture of float [N, 3, h, w] in 0..1 by its own draw."""
    n = len(x)

    def draw() -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1).to(x.device)

    if how.translate or how.rotate or how.zoom or (how.mirror and not how.alternate):
        grid = functional.affine_grid(_transforms(draw, how, n, x.device), list(x.shape), align_corners=False)
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if how.light:
        contrast, brightness = 1 + how.light * draw(), how.light * draw()
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * contrast.view(-1, 1, 1, 1) + mean * (1 + brightness.view(-1, 1, 1, 1))
        x = x.clamp(0, 1)
    if how.cutout:
        x = _cut_out(x, how.cutout, generator)
    return x.contiguous(memory_format=torch.channels_last)


def _cut_out(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A grey square in each picture, wholly inside it."""

    def inside(pixels: int) -> Tensor:
        start = torch.randint(0, pixels - side + 1, (len(x), 1), generator=generator)
        place = torch.arange(pixels)
        return ((place >= start) & (place < start + side)).to(x.device)

    hidden = inside(x.shape[2])[:, None, :, None] & inside(x.shape[3])[:, None, None, :]
    return x.masked_fill(hidden, 0.5)


def shrink(x: Tensor, size: int | None) -> Tensor:
    """float [N, 3, h, w] brought to `size` pixels a side, if any."""
    if size is None:
        return x
    return functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


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
