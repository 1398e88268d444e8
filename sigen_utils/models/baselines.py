"""The student reports' VAE and GAN, as they wrote them.

References: Radford et al. 2016 (DCGAN).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .vae import VAE, VAEConfig


class ReportVAE(VAE):
    """The reports' VAE: four strided convolutions 4 x 4, and their mirror. It sampled from N(0, I)."""

    default_prior = "normal"

    @staticmethod
    def networks(config: VAEConfig) -> tuple[nn.Module, nn.Module]:
        encoder: list[nn.Module] = []
        for inside, outside in ((1, 32), (32, 64), (64, 128), (128, 256)):
            encoder += [nn.Conv2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
        encoder += [nn.Flatten(), nn.Linear(256 * 8 * 8, 2 * config.latent_dim)]
        decoder: list[nn.Module] = [nn.Linear(config.latent_dim, 256 * 8 * 8), nn.Unflatten(1, (256, 8, 8))]
        for inside, outside in ((256, 128), (128, 64), (64, 32)):
            decoder += [nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1)]
        return nn.Sequential(*encoder), nn.Sequential(*decoder)


@dataclass(frozen=True)
class ReportGANConfig:
    """The reports' GAN: its discriminator learns ten times as fast as its generator, nothing is regularised."""

    latent_dim: int = 100
    width: int = 32
    learning_rate_g: float = 2e-4
    learning_rate_d: float = 2e-3
    adam_betas: tuple[float, float] = (0.5, 0.999)
    ema_images: float = 1.0  # the weights themselves: nothing was averaged

    def __post_init__(self):
        object.__setattr__(self, "adam_betas", tuple(self.adam_betas))  # a list when read back from config.json

    @property
    def noise_dim(self) -> int:
        """Numbers of noise a picture starts from."""
        return self.latent_dim


class ReportGenerator(nn.Module):
    """DCGAN generator, noise ``[N, latent_dim]`` to ink ``[N, 1, 128, 128]`` in (0, 1), of nobody in particular."""

    def __init__(self, config: ReportGANConfig = ReportGANConfig()):
        super().__init__()
        self.config, w = config, config.width
        layers: list[nn.Module] = [nn.Unflatten(1, (config.latent_dim, 1, 1))]
        inside = config.latent_dim
        for k, outside in enumerate((8 * w, 4 * w, 2 * w, w, w)):
            stride, padding = (2, 1) if k else (1, 0)
            layers += [nn.ConvTranspose2d(inside, outside, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(outside), nn.ReLU()]
            inside = outside
        self.net = nn.Sequential(*layers, nn.ConvTranspose2d(w, 1, 4, 2, 1), nn.Sigmoid())
        self.net.apply(init_dcgan)

    def noise(self, n: int, y: None = None, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, latent_dim]`` from N(0, I), on the device of the random `generator`."""
        device = "cpu" if generator is None else generator.device
        return torch.randn(n, self.config.latent_dim, device=device, generator=generator)

    def forward(self, z: Tensor, y: None = None) -> Tensor:
        return self.net(z)

    ink_probability = forward


class ReportDiscriminator(nn.Module):
    """DCGAN discriminator, ink ``[N, 1, 128, 128]`` to logits ``[N]``."""

    def __init__(self, config: ReportGANConfig = ReportGANConfig()):
        super().__init__()
        w = config.width
        layers: list[nn.Module] = [nn.Conv2d(1, w, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inside, outside in ((w, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)):
            layers += [nn.Conv2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, 1, 0), nn.Flatten(0))
        self.net.apply(init_dcgan)

    def forward(self, x: Tensor, y: None = None) -> Tensor:
        return self.net(x)


def init_dcgan(module: nn.Module) -> None:
    """Radford et al. 2016: convolutions from N(0, 0.02), BatchNorm scales around one."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
