"""What every network gives, whoever made it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """float [N, 3, h, w], already scaled -> logits [N, K]."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def classify(self, embedding: Tensor) -> Tensor: ...

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))

    @abstractmethod
    def last_layer(self) -> nn.Module:
        """The layer that maps the embedding to the classes."""

    def backbone(self) -> nn.Module:
        """What may have been pretrained; the last layer may be part of it."""
        return self
