"""The project's own feature extractor: a network that maps signatures of one writer close together.

It is trained on thousands of synthetic writers by the supervised contrastive loss, so it has never seen a person of the
sets that it measures.

References: Khosla et al. 2020 (supervised contrastive loss); Hafemann et al. 2017 (writers as classes, for features
that carry over to new ones).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import DownTower, smooth


@dataclass(frozen=True)
class EmbeddingConfig:
    """Everything that fixes the network and its loss."""

    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels at 32, 16, 8, 4 pixels
    blocks: int = 1  # residual blocks at each size
    dim: int = 128  # length of an embedding
    temperature: float = 0.1  # of the similarities in the loss
    per_writer: int = 4  # signatures of a writer in a batch
    width_range: tuple[float, float] = (0.12, 0.62)  # threshold of a blurred stroke: low is bold, high is thin

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # lists when read back from config.json
        object.__setattr__(self, "width_range", tuple(self.width_range))
        if self.per_writer < 2:
            raise ValueError("per_writer: the loss compares at least two signatures of a writer")


class Embedding(nn.Module):
    """Ink to a point on the unit sphere."""

    def __init__(self, config: EmbeddingConfig = EmbeddingConfig()):
        super().__init__()
        self.config = config
        self.net = DownTower(config.widths, config.blocks, norm=True)
        self.head = nn.Linear(self.net.out_features, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Unit vectors ``[N, dim]`` of ink ``[N, 1, 128, 128]`` in [0, 1]."""
        return F.normalize(self.head(self.net(x)).float(), dim=1)


def contrastive_loss(embedding: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss, averaged over the signatures that have a partner (Khosla et al. 2020, eq. 2).

    Parameters
    ----------
    embedding
        Unit vectors ``[N, dim]``.
    y
        Writer of each ``[N]``.
    temperature
        Similarities are divided by it; a small one weights the nearest strangers most.
    """
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    similarity = (embedding @ embedding.T / temperature).masked_fill(itself, float("-inf"))  # [N, N]
    log_share = similarity - similarity.logsumexp(1, keepdim=True)
    partner = (y[:, None] == y[None]) & ~itself
    count = partner.sum(1)
    loss = -log_share.masked_fill(~partner, 0.0).sum(1) / count.clamp(min=1)
    return loss[count > 0].mean()


def vary_width(x: Tensor, low: float, high: float, generator: torch.Generator | None = None) -> Tensor:
    """Bolder or thinner strokes: each picture ``[N, 1, H, W]`` is blurred and cut at a random level in [low, high]."""
    level = low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device, generator=generator)
    return ((smooth(x) - level) / 0.1 + 0.5).clamp(0, 1)
