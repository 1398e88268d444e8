"""Averaged weights.

References: Karras et al. 2020 (averaged generator with a half-life in images).
"""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Exponential moving average of a model's weights, with a half-life counted in images."""

    def __init__(self, model: nn.Module, half_life: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, model: nn.Module, images_seen: int, batch: int) -> None:
        half_life = min(self.half_life, 0.1 * images_seen + batch)  # short at first, to forget early weights
        weight = 1 - 0.5 ** (batch / half_life)
        mine, new = list(self.model.parameters()), list(model.parameters())
        torch._foreach_lerp_(mine, new, weight)
        for old, current in zip(self.model.buffers(), model.buffers(), strict=True):
            old.copy_(current)
