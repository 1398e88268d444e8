"""The student reports' VAE and GAN, as they wrote them.

References: Radford et al. 2016 (DCGAN).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from .vae import reconstruction_loss


@dataclass(frozen=True)
class ReportVAEConfig:
    """The reports' VAE: no weight on the KL term, N(0, I) to draw from."""

    latent_dim: int = 128
    likelihood: str = "mse"  # of the first report; or "bernoulli", as the second


class ReportVAE(nn.Module):
    """Four strided convolutions 4 x 4, and their mirror."""

    def __init__(self, config: ReportVAEConfig = ReportVAEConfig()):
        super().__init__()
        self.config = config
        encoder: list[nn.Module] = []
        for inside, outside in ((1, 32), (32, 64), (64, 128), (128, 256)):
            encoder += [nn.Conv2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, nn.Flatten(), nn.Linear(256 * 8 * 8, 2 * config.latent_dim))
        decoder: list[nn.Module] = [nn.Linear(config.latent_dim, 256 * 8 * 8), nn.Unflatten(1, (256, 8, 8))]
        for inside, outside in ((256, 128), (128, 64), (64, 32)):
            decoder += [nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*decoder, nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each ``[N, latent_dim]``, for ink ``[N, 1, 128, 128]``."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Logits of ink ``[N, 1, 128, 128]`` for codes ``[N, latent_dim]``."""
        return self.decoder(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Ink in [0, 1] decoded from the posterior mean of `x`, ``[N, 1, 128, 128]``."""
        return torch.sigmoid(self.decode(self.encode(x)[0]))

    def forward(self, x: Tensor, beta: float = 1.0, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Reconstruction loss + KL(q(z|x) || N(0, I)), both sums, mean of the batch: ``loss, reconstruction, kl``."""
        mu, logvar = self.encode(x)
        eps = torch.randn(mu.shape, device=mu.device, generator=generator)
        logits = self.decode(mu + torch.exp(0.5 * logvar) * eps).float()
        reconstruction = reconstruction_loss(logits, x, self.config.likelihood)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(x)
        return dict(loss=reconstruction + beta * kl, reconstruction=reconstruction, kl=kl)

    def new(self, people: int, per_person: int, generator: torch.Generator | None = None) -> Tensor:
        """Raw ink ``[people * per_person, 1, 128, 128]`` of codes from N(0, I). It knows no people."""
        n = people * per_person
        where = "cpu" if generator is None else generator.device
        z = torch.randn(n, self.config.latent_dim, generator=generator, device=where).to(self.decoder[0].weight.device)
        return torch.cat([torch.sigmoid(self.decode(part)) for part in z.split(64)])


class ReportGenerator(nn.Module):
    """DCGAN generator, noise ``[N, latent_dim]`` to logits of ink ``[N, 1, side, side]``; the report's side is 128."""

    def __init__(self, latent_dim: int = 100, width: int = 32, side: int = 128):
        super().__init__()
        widths = [8 * width, 4 * width, 2 * width, width] + [width] * (side == 128)
        layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1))]
        for k, (inside, outside) in enumerate(pairwise([latent_dim, *widths])):
            stride, padding = (2, 1) if k else (1, 0)
            layers += [nn.ConvTranspose2d(inside, outside, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(outside), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.ConvTranspose2d(width, 1, 4, 2, 1))
        self.net.apply(init_dcgan)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class ReportDiscriminator(nn.Module):
    """DCGAN discriminator, ink ``[N, 1, side, side]`` to logits ``[N]``; as reported of side 128 and with BatchNorm."""

    def __init__(self, width: int = 32, side: int = 128, norm: bool = True):
        super().__init__()
        w = width
        layers: list[nn.Module] = [nn.Conv2d(1, w, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inside, outside in pairwise([w] * (side == 128) + [w, 2 * w, 4 * w, 8 * w]):
            layers += [nn.Conv2d(inside, outside, 4, 2, 1, bias=not norm)]
            layers += [nn.BatchNorm2d(outside), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, 1, 0), nn.Flatten(0))
        self.net.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def init_dcgan(module: nn.Module) -> None:
    """Radford et al. 2016: convolutions from N(0, 0.02), BatchNorm scales around one."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
