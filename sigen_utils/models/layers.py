"""Residual blocks and stems shared by the VAE and the GAN.

Most of the work happens at 32 x 32 pixels and below, behind a pixel-(un)shuffle by four. Convolutions at 128 x 128
cost several times more and draw no better strokes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM = 4  # pixels a side that one place of the finest map stands for
PLACES = 16  # places a side of the map of a code


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), optionally normalised, the last convolution starting at zero.

    A zero start makes the whole block the identity at first, so a deep stack begins as a shallow one
    (Zhang et al. 2019, "Fixup"). GANs take `norm` False: with batch or group statistics a
    discriminator looks at scales instead of strokes (Huang et al. 2024).
    """

    def __init__(self, width: int, norm: bool):
        super().__init__()
        groups = max(1, width // 16)
        self.norm1 = nn.GroupNorm(groups, width) if norm else nn.Identity()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(self.norm1(x), 0.2))  # [N, width, H, W]
        return x + self.conv2(F.leaky_relu(self.norm2(h), 0.2))


class DownTower(nn.Module):
    """Picture ``[N, 1, 128, 128]`` to features ``[N, widths[-1] * 16]`` by residual blocks at 32, 16, 8, 4 pixels."""

    def __init__(self, widths: tuple[int, ...], blocks: int, norm: bool):
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(STEM), nn.Conv2d(STEM**2, widths[0], 3, padding=1)]
        for k, width in enumerate(widths):
            if k:
                layers.append(nn.Conv2d(widths[k - 1], width, 2, stride=2))  # halves the side, mixes channels
            layers += [ResidualBlock(width, norm) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        self.to_places = 3 + 2 * blocks  # layers up to the map of PLACES x PLACES
        self.out_features = widths[-1] * (32 // 2 ** (len(widths) - 1)) ** 2

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, out_features]`` and, on the way to them, the map ``[N, widths[1], PLACES, PLACES]``."""
        places = self.layers[: self.to_places](x)
        return F.leaky_relu(self.layers[self.to_places :](places), 0.2).flatten(1), F.leaky_relu(places, 0.2)


def smooth(x: Tensor) -> Tensor:
    """Fixed binomial low-pass, 5 x 5, of pictures ``[N, 1, H, W]``.

    A pixel-shuffle draws each pixel of a 4 x 4 tile with weights of its own, so an untrained network paints a
    lattice. The filter passes a quarter of what repeats every 4 pixels and nothing of what repeats every 2.
    """
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device, dtype=x.dtype) / 16
    return F.conv2d(F.conv2d(x, taps.view(1, 1, 5, 1), padding=(2, 0)), taps.view(1, 1, 1, 5), padding=(0, 2))


class Refinement(nn.Module):
    """Sharpens a picture: a correction is computed at half its size, by layers that start at zero.

    After `smooth` no edge is steeper than its filter, which is as wide as the strokes of a fine pen. Only a nonlinear
    layer that sees the picture can sharpen it.
    """

    def __init__(self, width: int, channels: int = 16):
        super().__init__()
        self.read = nn.Sequential(nn.Conv2d(width, 4 * channels, 1), nn.PixelShuffle(2))
        self.look = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, channels, 3, padding=1))
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.draw = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.PixelShuffle(2))
        nn.init.zeros_(self.draw[0].weight)
        nn.init.zeros_(self.draw[0].bias)

    def forward(self, picture: Tensor, h: Tensor) -> Tensor:
        """Pictures ``[N, 1, 128, 128]`` and the map ``[N, width, 32, 32]`` they were drawn from: sharpened."""
        seen = F.leaky_relu(self.look(picture) + self.read(h), 0.2)  # [N, channels, 64, 64]
        return picture + self.draw(F.leaky_relu(self.mix(seen), 0.2))


class UpTower(nn.Module):
    """Code ``[N, in_features + detail * PLACES**2]`` to a picture ``[N, 1, 128, 128]`` of unbounded values.

    Mirror of `DownTower`. The first `in_features` numbers enter through a linear layer. The others, if any, are a map
    of `detail` channels, added where the features are PLACES x PLACES: it says what is where, as a
    vector cannot. The layer that reads the map starts at zero.
    """

    def __init__(self, in_features: int, widths: tuple[int, ...], blocks: int, norm: bool, detail: int = 0):
        super().__init__()
        self.side = 32 // 2 ** (len(widths) - 1)
        self.width = widths[-1]
        self.linear = nn.Linear(in_features, self.width * self.side**2)
        layers: list[nn.Module] = []
        for k in reversed(range(len(widths))):
            if k == 1:
                self.to_places = len(layers)
            layers += [ResidualBlock(widths[k], norm) for _ in range(blocks)]
            if k:
                # Kernels of 4 overlap at stride 2; kernels of 2 would leave their grid in the strokes
                layers.append(nn.ConvTranspose2d(widths[k], widths[k - 1], 4, stride=2, padding=1))  # doubles the side
        self.layers = nn.Sequential(*layers)
        self.detail = nn.Conv2d(detail, widths[1], 3, padding=1) if detail else None
        if self.detail is not None:
            nn.init.zeros_(self.detail.weight)
            nn.init.zeros_(self.detail.bias)
        self.to_picture = nn.Sequential(nn.Conv2d(widths[0], STEM**2, 3, padding=1), nn.PixelShuffle(STEM))
        nn.init.constant_(self.to_picture[0].bias, -2.0)  # logits: begin with paper, as most of a signature is
        self.refine = Refinement(widths[0])

    def forward(self, code: Tensor) -> Tensor:
        whole, rest = code.tensor_split([self.linear.in_features], dim=1)
        h = self.linear(whole).unflatten(1, (self.width, self.side, self.side))  # [N, widths[-1], side, side]
        h = self.layers[: self.to_places](h)  # [N, widths[1], PLACES, PLACES]
        if self.detail is not None:
            h = h + self.detail(rest.unflatten(1, (-1, PLACES, PLACES)))
        h = F.leaky_relu(self.layers[self.to_places :](h), 0.2)
        return self.refine(smooth(self.to_picture(h)), h)  # [N, 1, 128, 128]


class WithinClassNoise(nn.Module):
    """The within-class covariance of codes: noise ``[N, D]`` from N(0, I) to differences of codes ``[N, D]``.

    The vector part of a code has a full covariance. The map has a diagonal one, as a class is too small to estimate the
    covariance of hundreds of numbers.
    """

    def __init__(self, whole_dim: int, detail_dim: int):
        super().__init__()
        self.whole = nn.Parameter(torch.eye(whole_dim))  # lower Cholesky factor of the covariance
        self.detail = nn.Parameter(torch.ones(detail_dim))  # standard deviations

    def forward(self, noise: Tensor) -> Tensor:
        whole, detail = noise.tensor_split([len(self.whole)], dim=1)
        return torch.cat([whole @ self.whole.T, detail * self.detail], dim=1)

    @torch.no_grad()
    def fit(self, differences: Tensor, degrees: int, known: WithinClassNoise | None = None) -> None:
        """Estimate it from codes minus their person's mean, float64 ``[N, D]``, with so many degrees of freedom.

        The estimate is shrunk towards a `known` covariance, else towards its own diagonal, as under an inverse Wishart
        prior worth as many codes as the vector part has dimensions.
        """
        whole, detail = differences.tensor_split([len(self.whole)], dim=1)
        covariance, variance = whole.T @ whole / degrees, detail.square().sum(0) / degrees
        diagonal, weight = torch.eye(len(covariance)).double(), len(covariance) / (len(covariance) + degrees)
        before, before_detail = covariance * diagonal, variance
        if known is not None:
            factor = known.whole.double().cpu()
            before, before_detail = factor @ factor.T, known.detail.double().cpu().square()
        covariance = (1 - weight) * covariance + weight * before + 1e-6 * diagonal
        self.whole.copy_(torch.linalg.cholesky(covariance))
        self.detail.copy_(((1 - weight) * variance + weight * before_detail + 1e-6).sqrt())


def n_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of `module`, a scalar tensor; 0 where there are none."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.stack([g.norm() for g in grads]).norm() if grads else torch.zeros(())
