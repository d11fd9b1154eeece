"""Muon: steps of even size in every direction of a filter bank."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.6  # of filters
_PLAIN_MOMENTUM = 0.85  # of everything else
_STEPS = 3  # of Newton and Schulz's iteration; more are no better here
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Filters by momentum made orthogonal (K. Jordan et al., "Muon", 2024), everything else by SGD.

    A bank of filters [K, ...] keeps the length sqrt(K), so that the rate is the share of it that a step turns by.
    Groups with `filters=True` are such banks; both kinds use Nesterov's momentum.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0, "filters": False})
        for group in self.param_groups:
            group["momentum"] = _MOMENTUM if group["filters"] else _PLAIN_MOMENTUM

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step down the gradients that are there."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        velocity = state["momentum"].mul_(momentum).add_(parameter.grad)
        direction = parameter.grad.add(velocity, alpha=momentum)  # type: ignore[union-attr]
        if group["filters"]:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
            direction = orthogonal(direction.flatten(1)).view_as(direction)
        parameter.add_(direction, alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """[M, N] -> the same with all singular values near 1, by a quintic iteration of Newton and Schulz."""
    x = matrix.float() / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    a, b, c = _QUINTIC
    for _ in range(_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return torch.as_tensor(x.T if tall else x)
