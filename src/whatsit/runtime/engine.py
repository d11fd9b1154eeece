"""What every inference library must do to run a model file."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """An open graph. Safe to call from several threads."""

    name: str

    def run(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 [N, h, w, 3] -> probabilities float32 [N, K], embedding float32 [N, D]."""
        ...
