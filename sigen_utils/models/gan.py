"""A generative adversarial network that draws signatures from noise, and the losses and steps of every GAN here.

The default is the repaired one; `recipes` holds the student reports' GAN and every repair between the two.

References: Goodfellow et al. 2014; Radford et al. 2016 (DCGAN); Odena et al. 2016 (checkerboards); Heusel et al. 2017
(two rates); Mescheder et al. 2018 (R1, R2); Karras et al. 2020, Zhao et al. 2020 (augmentation of both sides); Huang et
al. 2024 (relativistic pairing with R1 + R2); Bengio et al. 2013 (straight-through estimator).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import SIZE
from ..render import INK, find_ink, pen, sharpen
from .baselines import ReportDiscriminator, ReportGenerator, init_dcgan

NETWORKS = ("resampled", "dcgan")


@dataclass(frozen=True)
class GANConfig:
    """Everything that fixes a GAN from noise and its losses."""

    latent_dim: int = 100  # numbers of noise
    network: str = "resampled"  # G doubles sizes by interpolation; or "dcgan": by transposed convolutions, as reported
    side: int = 64  # pixels a side that G draws and D sees; or 128, as reported
    width: int = 32  # channels of the widest maps; the deepest ones have eight times as many
    norm_d: bool = False  # BatchNorm in D, as reported
    pairing: str = "bce"  # each logit on its own, as reported; or "relativistic": genuine against generated
    penalty: float = 0.1  # weight of R1 + R2
    penalty_sigma: float = 0.05  # step of their finite difference, in units of ink
    augment_generated: bool = True  # whether D sees generated signatures augmented like genuine ones
    ema_images: float = 3_000.0  # half-life of the averaged generator
    rates: tuple[float, float] = (4e-4, 4e-4)  # learning rates of G and D
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        if self.network not in NETWORKS:
            raise ValueError(f"network={self.network!r}: choose {' or '.join(NETWORKS)}")
        if self.side not in (64, 128):
            raise ValueError(f"side={self.side!r}: choose 64 or 128")
        if self.pairing not in ("relativistic", "bce"):
            raise ValueError(f"pairing={self.pairing!r}: choose relativistic or bce")
        for name in ("rates", "adam_betas"):  # lists when read back from config.json
            object.__setattr__(self, name, tuple(getattr(self, name)))


class Resampled(nn.Module):
    """Noise ``[N, latent_dim]`` to logits of ink ``[N, 1, side, side]``, without transposed convolutions.

    Sizes double by a convolution and bilinear interpolation. A strided transposed convolution covers some pixels more
    often than others and paints a checkerboard (Odena et al. 2016).
    """

    def __init__(self, latent_dim: int, width: int, side: int):
        super().__init__()
        widths = [8 * width, 4 * width, 2 * width, 2 * width] + [width] * (side == 128)  # at 4, 8, 16, 32 (64) pixels
        layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1))]
        layers += [nn.ConvTranspose2d(latent_dim, widths[0], 4, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inside, outside in pairwise(widths):
            layers += [
                nn.Conv2d(inside, outside, 3, padding=1, bias=False),
                nn.Upsample(scale_factor=2, mode="bilinear"),
            ]
            layers += [nn.BatchNorm2d(outside), nn.ReLU()]
        layers += [nn.Conv2d(widths[-1], 4, 3, padding=1), nn.PixelShuffle(2)]
        self.net = nn.Sequential(*layers)
        self.net.apply(init_dcgan)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class Generator(nn.Module):
    """Noise ``[N, latent_dim]`` to ink as D sees it, ``[N, 1, side, side]`` in [0, 1]."""

    def __init__(self, config: GANConfig = GANConfig()):
        super().__init__()
        self.config = config
        if config.network == "resampled":
            self.net: nn.Module = Resampled(config.latent_dim, config.width, config.side)
        else:
            self.net = ReportGenerator(config.latent_dim, config.width, config.side)

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, latent_dim]`` from N(0, I), drawn on the device of the random `generator`."""
        where = "cpu" if generator is None else generator.device
        return torch.randn(n, self.config.latent_dim, device=where, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.net(z).float())

    def ink(self, z: Tensor) -> Tensor:
        """Ink ``[N, 1, 128, 128]`` in [0, 1]: what G draws, enlarged."""
        return enlarge(self(z))

    def logits(self, z: Tensor) -> Tensor:
        """Logits of `ink`, for a likelihood."""
        return torch.logit(self.ink(z), eps=1e-4)

    @torch.no_grad()
    def new(self, people: int, per_person: int, generator: torch.Generator | None = None) -> Tensor:
        """Raw ink ``[people * per_person, 1, 128, 128]``. It knows no people: every signature is somebody else's."""
        z = self.noise(people * per_person, generator).to(next(self.parameters()).device)
        return torch.cat([self.ink(part) for part in z.split(64)])


def enlarge(x: Tensor) -> Tensor:
    """Ink ``[N, 1, side, side]`` to ``[N, 1, 128, 128]``, bicubic, within [0, 1]."""
    return x if x.shape[-1] == SIZE else F.interpolate(x, (SIZE, SIZE), mode="bicubic").clamp(0, 1)


def reduce(x: Tensor, side: int) -> Tensor:
    """Binary ink ``[N, 1, 128, 128]`` to what a GAN of `side` pixels learns, ``[N, 1, side, side]`` in [0, 1].

    At half the size the edges of strokes are grey, and `render` finds them again after `enlarge`.
    """
    return x if side == SIZE else F.avg_pool2d(pen(x), SIZE // side)


class Discriminator(nn.Module):
    """Ink ``[N, 1, side, side]`` to logits ``[N]``: high for genuine signatures."""

    def __init__(self, config: GANConfig = GANConfig()):
        super().__init__()
        self.net = ReportDiscriminator(config.width, config.side, config.norm_d)

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
