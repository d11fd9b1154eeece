"""The ResNets for 32x32 pictures of He et al. (CVPR 2016, arXiv 1512.03385), section 4.2.

A 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels, global average pooling, one linear layer:
6n + 2 layers with weights. Shortcuts have no parameters: where the size halves, every other pixel is taken and the new
channels are zeros ("option A").
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from whatsit.training.torch_engine.network import Network

CIFAR_RESNETS = {f"cifar_resnet{depth}": (depth - 2) // 6 for depth in (20, 32, 44, 56, 110)}
SIZE = 32  # pixels a side


class CifarResNet(Network):
    """float [N, 3, h, w], already scaled -> logits [N, K]; 32x32 is what it was made for."""

    def __init__(self, blocks: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return cast(Tensor, self.layer3(self.layer2(self.layer1(x)))).mean(dim=(2, 3))

    def classify(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.linear(embedding))

    def last_layer(self) -> nn.Module:
        return self.linear


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new:
            before = self.new // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.new - before))
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(cast(Tensor, self.bn2(self.conv2(y))) + shortcut)


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def build(name: str, n_classes: int) -> CifarResNet:
    """One of CIFAR_RESNETS with random weights."""
    return CifarResNet(CIFAR_RESNETS[name], n_classes)
