"""A convolutional VAE whose code is a small map, made for a prior that is learned afterwards.

A code is 16 x 16 places of a few channels; a place says what the pen does within its 8 x 8 pixels. Such a code keeps
the layout of the page, so that a convolutional prior can learn it (`prior.Flow`). Its KL term only keeps codes smooth
and of unit scale; N(0, I) is not the distribution of the codes, and `prior.Normal` shows what comes of drawing from it.

References: Kingma & Welling 2014 (the bound); Rombach et al. 2022 (a learned prior on a map of codes).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Refinement, ResidualBlock, smooth

SIDE = 16  # places a side of a code
STEM = 4  # pixels a side that become channels at the entrance and pixels again at the exit


@dataclass(frozen=True)
class VAEConfig:
    """Everything that fixes the VAE and its loss."""

    channels: int = 4  # numbers a place
    width_fine: int = 24  # channels at 32 x 32
    width_encoder: int = 64  # channels at 16 x 16, encoder
    width_decoder: int = 80  # channels at 16 x 16, decoder
    likelihood: str = "bernoulli"  # of ink; or "mse": a Gaussian of variance 1/2
    beta: float = 0.5  # weight of the KL term; 1 is the bound itself
    warmup: float = 0.2  # share of the training over which beta rises
    least_noise: float = 1.0  # share of the posterior's noise that codes have in training, at least; up to 1
    train_encoder: bool = True  # False: only the decoder learns

    def __post_init__(self):
        if self.likelihood not in ("bernoulli", "mse"):
            raise ValueError(f"likelihood={self.likelihood!r}: choose bernoulli or mse")
        if not 0 <= self.least_noise <= 1:
            raise ValueError(f"least_noise={self.least_noise}: a share between 0 and 1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one code, ``(channels, SIDE, SIDE)``."""
        return self.channels, SIDE, SIDE


def reconstruction_loss(logits: Tensor, x: Tensor, likelihood: str = "bernoulli") -> Tensor:
    """-log p(x|z) in nats, or the squared error, summed over pixels and averaged over pictures ``[N, 1, 128, 128]``."""
    if likelihood == "mse":
        return (torch.sigmoid(logits) - x).square().sum() / len(x)
    return F.binary_cross_entropy_with_logits(logits, x.float(), reduction="sum") / len(x)


def _out(width: int) -> list[nn.Module]:
    return [nn.GroupNorm(max(1, width // 16), width), nn.LeakyReLU(0.2)]


class VAE(nn.Module):
    """Encoder q(z|x) and decoder p(x|z) of ink ``[N, 1, 128, 128]`` and codes ``[N, channels, 16, 16]``."""

    def __init__(self, config: VAEConfig = VAEConfig()):
        super().__init__()
        self.config = config
        fine, down, up = config.width_fine, config.width_encoder, config.width_decoder
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(STEM),  # [N, 16, 32, 32]
            nn.Conv2d(STEM**2, fine, 3, padding=1),
            ResidualBlock(fine, norm=True),
            nn.Conv2d(fine, down, 2, stride=2),  # [N, down, 16, 16]
            ResidualBlock(down, norm=True),
            *_out(down),
            nn.Conv2d(down, 2 * config.channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, up, 3, padding=1),
            ResidualBlock(up, norm=True),
            ResidualBlock(up, norm=True),
            nn.ConvTranspose2d(up, fine, 4, stride=2, padding=1),  # [N, fine, 32, 32]
            ResidualBlock(fine, norm=True),
            *_out(fine),
        )
        self.to_picture = nn.Sequential(nn.Conv2d(fine, STEM**2, 3, padding=1), nn.PixelShuffle(STEM))
        nn.init.constant_(self.to_picture[0].bias, -2.0)  # begin with paper, most of a signature is
        self.refine = Refinement(fine)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each ``[N, channels, 16, 16]``, for ink ``[N, 1, 128, 128]``."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar.clamp(-10, 4)  # beyond that exp() helps nobody and one bad batch could overflow

    @staticmethod
    def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z = mu + sigma * eps with eps ~ N(0, I): a draw through which gradients reach mu and sigma."""
        eps = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype, generator=generator)
        return mu + torch.exp(0.5 * logvar) * eps

    def decode(self, z: Tensor) -> Tensor:
        """Logits of ink ``[N, 1, 128, 128]`` for codes ``[N, channels, 16, 16]``."""
        h = self.decoder(z)
        return self.refine(smooth(self.to_picture(h)), h)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Ink in [0, 1] decoded from the posterior mean of `x`, ``[N, 1, 128, 128]``."""
        return torch.sigmoid(self.decode(self.encode(x)[0]))

    def forward(self, x: Tensor, beta: float, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """-log p(x|z) + beta KL(q(z|x) || N(0, I)), summed over pixels and codes, averaged over the batch, in nats.

        A learned prior draws codes with less noise than q(z|x) has, as its flow ends on a mean. A decoder that has only
        seen q's noise draws such codes too heavily. With ``least_noise`` below 1 it sees both; then the loss is no
        bound, so it is used with a fixed encoder.

        Returns
        -------
        dict
            Scalars ``loss``, ``reconstruction`` and ``kl``.
        """
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar, generator)
        if self.config.least_noise < 1:
            share = torch.rand(len(x), 1, 1, 1, device=x.device, generator=generator)
            share = self.config.least_noise + (1 - self.config.least_noise) * share
            z = mu + share * (z - mu)
        logits = self.decode(z).float()
        reconstruction = reconstruction_loss(logits, x, self.config.likelihood)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(x)
        return dict(loss=reconstruction + beta * kl, reconstruction=reconstruction, kl=kl)
