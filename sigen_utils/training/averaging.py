"""Averaged weights, and the weights of the best check.

References: Karras et al. 2020 (averaged generator with a half-life in images).
"""

from __future__ import annotations

import copy
import math

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


class Best:
    """The weights with the smallest distance so far; none before the first `offer`."""

    def __init__(self):
        self.distance, self.step, self.weights = math.inf, 0, {}

    def offer(self, distance: float, step: int, model: nn.Module) -> None:
        """Keep a copy of the weights if the distance is the smallest so far."""
        if distance < self.distance:
            self.distance, self.step = distance, step
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, object]:
        return dict(distance=self.distance, step=self.step, weights=self.weights)

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.distance, self.step, self.weights = state["distance"], state["step"], state["weights"]
