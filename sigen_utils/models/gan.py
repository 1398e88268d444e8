"""A generative adversarial network that draws signatures from noise, and the losses and steps of every GAN here.

The default is the repaired one; `recipes` holds the student reports' GAN and every repair between the two.

References: Goodfellow et al. 2014; Radford et al. 2016 (DCGAN); Odena et al. 2016 (checkerboards); Heusel et al. 2017
(two rates); Mescheder et al. 2018 (R1, R2); Karras et al. 2020, Zhao et al. 2020 (augmentation of both sides); Huang et
al. 2024 (relativistic pairing with R1 + R2); Bengio et al. 2013 (straight-through estimator).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..render import INK, find_ink, pen, sharpen
from .baselines import ReportDiscriminator, ReportGenerator
from .layers import DownTower, UpTower

SHARP = 8.0  # turns ink of a network without a last nonlinearity into logits


@dataclass(frozen=True)
class GANConfig:
    """Everything that fixes a GAN from noise and its losses."""

    latent_dim: int = 100  # numbers of noise
    network: str = "resampled"  # residual blocks without norms, interpolation, linear output; or "dcgan", as reported
    widths: tuple[int, ...] = (24, 64, 128, 192)  # channels at 32, 16, 8, 4 pixels of a "resampled" generator
    widths_d: tuple[int, ...] = (24, 48, 96, 160)  # of its discriminator
    blocks: int = 1  # residual blocks at each size
    pairing: str = "relativistic"  # of genuine and generated logits; or "bce": each on its own
    penalty: float = 6.0  # weight of R1 + R2 at first ...
    penalty_end: float = 1.0  # ... and at last: a fair fight needs a weaker one when both sides are alike
    penalty_sigma: float = 0.05  # step of their finite difference, in units of ink
    augment_generated: bool = True  # whether D sees generated signatures augmented like genuine ones
    ema_images: float = 10_000.0  # half-life of the averaged generator
    rates: tuple[float, float] = (4e-4, 4e-4)  # learning rates of G and D
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        if self.network not in ("resampled", "dcgan"):
            raise ValueError(f"network={self.network!r}: choose resampled or dcgan")
        if self.pairing not in ("relativistic", "bce"):
            raise ValueError(f"pairing={self.pairing!r}: choose relativistic or bce")
        for name in ("widths", "widths_d", "rates", "adam_betas"):  # lists when read back from config.json
            object.__setattr__(self, name, tuple(getattr(self, name)))


class Generator(nn.Module):
    """Noise ``[N, latent_dim]`` to ink ``[N, 1, 128, 128]``.

    The reports' network ends with a sigmoid. The other one has a linear output: beyond [0, 1] the discriminator pulls
    it back, and no pixel is stuck where a sigmoid is flat, as on a page that has become blank.
    """

    def __init__(self, config: GANConfig = GANConfig()):
        super().__init__()
        self.config = config
        self.linear = config.network != "dcgan"
        self.net = (
            UpTower(config.latent_dim, config.widths, config.blocks)
            if self.linear
            else ReportGenerator(config.latent_dim)
        )

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, latent_dim]`` from N(0, I), drawn on the device of the random `generator`."""
        where = "cpu" if generator is None else generator.device
        return torch.randn(n, self.config.latent_dim, device=where, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        """Ink as D sees it; that of a linear output may lie outside [0, 1]."""
        return self.net(z).float() if self.linear else torch.sigmoid(self.net(z).float())

    def logits(self, z: Tensor) -> Tensor:
        """Logits of ink, for a likelihood: of a linear output its distance from one half, times `SHARP`."""
        return SHARP * (self.net(z).float() - 0.5) if self.linear else self.net(z)

    @torch.no_grad()
    def new(self, people: int, per_person: int, generator: torch.Generator | None = None) -> Tensor:
        """Raw ink ``[people * per_person, 1, 128, 128]``. It knows no people: every signature is somebody else's."""
        z = self.noise(people * per_person, generator).to(next(self.parameters()).device)
        return torch.cat([self(part).clamp(0, 1) for part in z.split(64)])


class Discriminator(nn.Module):
    """Ink ``[N, 1, 128, 128]`` to logits ``[N]``: high for genuine signatures.

    Without norm layers: with statistics of batches or groups it looks at scales instead of strokes (Huang et al. 2024).
    """

    def __init__(self, config: GANConfig = GANConfig()):
        super().__init__()
        if config.network == "dcgan":
            self.net: nn.Module = ReportDiscriminator()
        else:
            tower = DownTower(config.widths_d, config.blocks, norm=False)
            self.net = nn.Sequential(tower, nn.Linear(tower.out_features, 1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def render_straight_through(logits: Tensor) -> Tensor:
    """Rendered ink in [0, 1] of logits ``[N, 1, H, W]``, with a straight-through gradient (Bengio et al. 2013).

    D sees what will be shown; without it, it would look at the haze of a network's output first. Backwards a sigmoid
    replaces the threshold; it is not steep, so that a broken stroke still gets a gradient. Two steps of `render.render`
    are left out, so that the generator pays for both faults: faint pixels do not join strokes, and dust is not removed.
    """
    soft = torch.sigmoid(4.0 * (sharpen(torch.sigmoid(logits.float())) - INK))
    with torch.no_grad():
        hard = pen(find_ink(torch.sigmoid(logits.float()), link=False).float())
    return soft + (hard - soft).detach()


# ------------------------------------------------------------------------------- losses: functions of logits


def bce_d_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), D = sigmoid(logit) (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_g_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)), the non-saturating generator loss (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def relativistic_d_loss(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(D(fake) - D(real)): a real logit should lie above the generated one it is paired with."""
    return F.softplus(fake - real).mean()


def relativistic_g_loss(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(D(real) - D(fake)): the same pairing seen by the generator (Huang et al. 2024, eq. 2)."""
    return F.softplus(real - fake).mean()


def slope_penalty(perturbed: Tensor, original: Tensor, sigma: float) -> Tensor:
    """Mean of ((D(x + sigma n) - D(x)) / sigma)^2, n ~ N(0, I): the squared gradient norm of D in expectation.

    A zero-centred gradient penalty (R1 on real, R2 on generated pictures; Mescheder et al. 2018) without the
    double backward pass, which is slow and which compilers do not support.
    """
    return ((perturbed - original) / sigma).square().mean()


# ------------------------------------------------------------------------------------------------- steps


def d_step(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    pairing: str,
    penalty: float = 0.0,
    sigma: float = 0.05,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The discriminator's loss on one batch, as named parts; the caller back-propagates ``loss``.

    Parameters
    ----------
    discriminator
        Maps pictures, or sets of pictures, to logits. Genuine and generated ones pass it apart: the statistics of a
        BatchNorm layer are those of one kind, as in the reports.
    real, fake
        ``[N, C, 128, 128]``, augmented alike; `fake` detached from the generator.
    pairing
        "relativistic" or "bce".
    penalty, sigma
        Weight of R1 + R2, and the step of their finite difference; weight 0 skips their cost.
    generator
        Randomness of the penalty's direction.
    """
    on_real, on_fake = discriminator(real).float(), discriminator(fake).float()
    loss = relativistic_d_loss(on_real, on_fake) if pairing == "relativistic" else bce_d_loss(on_real, on_fake)
    out = dict(loss=loss, real=on_real, fake=on_fake)
    if penalty:
        for name, x, logits in (("r1", real, on_real), ("r2", fake, on_fake)):
            noise = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
            out[name] = slope_penalty(discriminator(x + sigma * noise).float(), logits, sigma)
        out["loss"] = loss + penalty * (out["r1"] + out["r2"])
    return out


def g_step(discriminator: nn.Module, fake: Tensor, real_logits: Tensor, pairing: str) -> dict[str, Tensor]:
    """The generator's loss on one batch, as ``loss``; the caller back-propagates it.

    `fake` carries the generator's graph; `real_logits` are those of the discriminator's own step, so that the
    pairing costs no further pass.
    """
    logits = discriminator(fake).float()
    if pairing == "bce":
        return dict(loss=bce_g_loss(logits))
    return dict(loss=relativistic_g_loss(real_logits.detach(), logits))
