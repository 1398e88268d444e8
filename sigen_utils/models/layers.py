"""Residual blocks and stems shared by the VAE and the GAN.

Most of the work happens at 32 x 32 pixels and below, behind a pixel-(un)shuffle by four. Convolutions at 128 x 128
cost several times more and draw no better strokes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM = 4  # pixels a side that one place of the finest map stands for


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
    """Pictures ``[N, pictures, 128, 128]`` to features ``[N, widths[-1] * 16]``: blocks at 32, 16, 8, 4 pixels."""

    def __init__(self, widths: tuple[int, ...], blocks: int, norm: bool, pictures: int = 1):
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(STEM), nn.Conv2d(pictures * STEM**2, widths[0], 3, padding=1)]
        for k, width in enumerate(widths):
            if k:
                layers.append(nn.Conv2d(widths[k - 1], width, 2, stride=2))  # halves the side, mixes channels
            layers += [ResidualBlock(width, norm) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        self.out_features = widths[-1] * (32 // 2 ** (len(widths) - 1)) ** 2

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.layers(x), 0.2).flatten(1)


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


def n_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of `module`, a scalar tensor; 0 where there are none."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.stack([g.norm() for g in grads]).norm() if grads else torch.zeros(())
