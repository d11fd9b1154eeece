"""The networks of our own, which learn from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from whatsit.training.torch_engine.network import Network


class SmallNetwork(Network):
    """A small convolutional network for small objects in small pictures: 0.4 million parameters.

    Four stages of two 3x3 convolutions, each but the first after halving the picture; the first stage of large
    pictures works at half size. Global average pooling lets it take any size from 16 pixels.
    """

    def __init__(self, n_classes: int, image_size: int, dropout: float) -> None:
        super().__init__()
        widths = (24, 48, 96, 128)
        stages = [_stage(3, widths[0], stride=2 if image_size > 64 else 1)]
        stages += [_stage(i, o, stride=2) for i, o in pairwise(widths)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], n_classes)

    def embed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.pool(self.stages(x)).flatten(1))

    def classify(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.dropout(embedding)))

    def last_layer(self) -> nn.Module:
        return self.head


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, s in ((inputs, stride), (outputs, 1)):
        layers += [nn.Conv2d(i, outputs, 3, s, 1, bias=False), nn.BatchNorm2d(outputs), nn.GELU()]
    return nn.Sequential(*layers)


class CompactNetwork(Network):
    """Few wide layers for small pictures, soon trained (K. Jordan, arXiv 2404.00498, section 3).

    A 2x2 convolution that whitens patches and does not learn; three blocks, each of which halves the picture; the
    maximum over what is left. `depth` is the number of 3x3 convolutions in a block: 2, or 3, the last of them around
    a residual connection. 2.0 million parameters with the usual widths, 3.2 million with depth 3, and 8.6 million with
    widths 128, 384, 448 too.
    """

    def __init__(self, n_classes: int, widths: Sequence[int] = (64, 256, 256), depth: int = 2) -> None:
        super().__init__()
        if depth not in (2, 3) or not _are_widths(widths):
            raise ValueError(f"widths {widths}, depth {depth}")
        self.whiten = nn.Conv2d(3, 24, 2, bias=False).requires_grad_(False)
        self.act = nn.GELU()
        self.blocks = nn.Sequential(*(_Block(i, o, depth) for i, o in pairwise((24, *widths))))
        self.head = nn.Linear(widths[-1], n_classes, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std())

    def prepare(self, batches: Iterable[Tensor]) -> None:
        """Whiten 2x2 patches like those of the pictures in `batches`, float [N, 3, h, w]: by principal directions over
        the root of their variance, and the negatives of these filters."""
        second, n = torch.zeros(12, 12, dtype=torch.float64), 0
        with torch.no_grad():
            for pictures in batches:
                patches = functional.unfold(pictures.cpu().float(), 2).movedim(1, 2).reshape(-1, 12).double()
                second, n = second + patches.T @ patches, n + len(patches)
            variances, directions = torch.linalg.eigh(second / n)
            # In grey pictures colour never varies: channels without any variance would make batch norm explode.
            lively = (variances >= 1e-6 * variances.max()).nonzero().flatten()
            taken = lively[torch.arange(12) % len(lively)]
            filters = (directions / torch.sqrt(variances.abs() + 5e-4)).T[taken].reshape(12, 3, 2, 2)
            self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def embed(self, x: Tensor) -> Tensor:
        maps = self.blocks(self.act(self.whiten(x)))
        return cast(Tensor, maps.amax(dim=(2, 3)) / maps.shape[1])

    def classify(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.head(embedding))

    def last_layer(self) -> nn.Module:
        return self.head


def _are_widths(widths: object) -> bool:
    return isinstance(widths, list | tuple) and bool(widths) and all(isinstance(one, int) and one > 0 for one in widths)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.first = _filters(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.rest = nn.ModuleList(_filters(outputs, outputs) for _ in range(depth - 1))
        self.norms = nn.ModuleList(_norm(outputs) for _ in range(depth))
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = start = self.act(self.norms[0](self.pool(self.first(x))))
        for number, (conv, norm) in enumerate(zip(self.rest, list(self.norms)[1:], strict=True), start=1):
            x = norm(conv(x))
            x = self.act(x + start if number == 2 else x)
        return x


def _filters(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that starts by handing on what it gets, as far as it can."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:inputs])
    return conv


def _norm(channels: int) -> nn.BatchNorm2d:
    """Its scale stays 1; its statistics follow quickly, because trainings are short."""
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


class TutorialCNN(nn.Module):
    """The CIFAR-10 tutorial's convolutions, three blocks of two; `TutorialNetwork` puts its dense layers on top."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, 32, 64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
        self.features = nn.Sequential(*layers)


def start_as_keras(module: nn.Module) -> None:
    """Weights as a Keras layer starts with: Glorot and Bengio's uniform (AISTATS 2010), biases at zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Averaged(Network):
    """A network that looks at a picture more than once: also mirrored, also shifted (arXiv 2404.00498, section 3.5).

    Where classes follow from the embedding by a linear layer, the mean of the embeddings gives the mean of the logits.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def embed(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        wide = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        looks = [x, wide[..., :height, :width], wide[..., 2:, 2:]]
        looks += [look.flip(-1) for look in looks]
        # All at once: a runtime that meets the filters once need not hold them prepared for each view.
        seen = self.network.embed(torch.cat(looks))
        plain, up, down = seen.reshape(2, 3, -1, seen.shape[-1]).mean(dim=0)
        return cast(Tensor, plain / 2 + (up + down) / 4)

    def classify(self, embedding: Tensor) -> Tensor:
        return self.network.classify(embedding)

    def last_layer(self) -> nn.Module:
        return self.network.last_layer()
