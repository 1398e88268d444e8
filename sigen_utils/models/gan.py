"""A generative adversarial network for 128 x 128 ink, its losses, and its inversion.

The generator is a VAE's decoder; noise chooses a code near that of a person's signature. The loss compares logits of
real and generated signatures (relativistic pairing). The discriminator's gradient is penalised on both (R1 + R2), and
it is conditioned on the person by projection. Codes come from a VAE's encoder, or are thumbnails where there is none.

References: Bengio et al. 2013 (straight-through estimator); Goodfellow et al. 2014; Isola et al. 2017 (a loss on pixels
beside the adversarial one); Larsen et al. 2016 (VAE-GAN); Mescheder et al. 2018 (R1, R2); Miyato & Koyama 2018
(projection); Zhao et al. 2020 (augmentation of both sides); Huang et al. 2024 (relativistic pairing with R1 + R2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augment import WARP_NUMBERS
from ..device import precision
from ..render import INK, find_ink, pen, sharpen
from .layers import PLACES, DownTower, UpTower, WithinClassNoise
from .people import Signatures, in_turn
from .vae import VAE, Encoder

SIZES = ("latent_dim", "detail", "widths", "blocks")  # a generator shares these with the VAE it starts from,
PEOPLE = ("n_people", "exemplars", "warped")  # and these if the VAE knows people


@dataclass(frozen=True)
class GANConfig:
    """Everything that fixes a GAN and its losses."""

    latent_dim: int = 64  # numbers of a code
    detail: int = 0  # channels of the 16 x 16 map that the last of them are, see `VAEConfig.detail`
    n_people: int = 0  # people that can be asked for; 0 where codes are given from outside
    conditioning: str = "codes"  # on "codes" (a VAE encoder's) or "thumbnails" of a person's signatures
    exemplars: int = 3  # stored training signatures of each person
    warped: bool = True  # these are warped anew for each sample, see `VAEConfig.warped`
    noise_scale: float = 0.15  # initial scale of the noise, in units of the within-class covariance
    reconstruction_weight: float = 0.0  # of reconstructing genuine signatures from their codes, per nat
    rendered: bool = True  # whether the output is rendered, with a straight-through gradient
    widths: tuple[int, ...] = (24, 48, 96, 192)  # channels at 32, 16, 8, 4 pixels, both networks
    blocks: int = 1  # residual blocks at each size
    embedding_dim: int = 64  # numbers that describe a person to the discriminator
    penalty: float = 0.2  # gamma / 2 of R1 and R2 at the start ...
    penalty_end: float = 0.1  # ... and at the end, falling geometrically
    penalty_sigma: float = 0.05  # step of the finite difference, in units of ink
    ema_images: float = 2_000.0  # half-life of the averaged generator
    learning_rate_g: float = 3e-5
    learning_rate_d: float = 3e-4
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        if self.conditioning not in ("codes", "thumbnails"):
            raise ValueError(f"conditioning={self.conditioning!r}: choose codes or thumbnails")
        if self.by_thumbnails:
            if not self.n_people:
                raise ValueError("conditioning='thumbnails' holds signatures of people; n_people=0 leaves none")
            if self.whole_dim != Thumbnail.WHOLE**2 or self.detail not in Thumbnail.DETAIL:
                most = ", ".join(f"{Thumbnail.WHOLE**2 + k * PLACES**2} with detail={k}" for k in Thumbnail.DETAIL)
                raise ValueError(f"conditioning='thumbnails' takes a latent_dim of {most}, not {self.latent_dim}")
        object.__setattr__(self, "widths", tuple(self.widths))  # lists when read back from config.json
        object.__setattr__(self, "adam_betas", tuple(self.adam_betas))

    @property
    def by_thumbnails(self) -> bool:
        """Whether the networks are conditioned on thumbnails."""
        return self.conditioning == "thumbnails"

    @property
    def whole_dim(self) -> int:
        """Numbers of a code that are no map, the first ones."""
        return self.latent_dim - self.detail * PLACES**2

    @property
    def noise_dim(self) -> int:
        """Random numbers of a sample: for the code; to choose a signature of the person; to warp that one."""
        return self.latent_dim + (WARP_NUMBERS + self.exemplars if self.n_people else 0)


# ---------------------------------------------------------------------------------------------- networks


class Generator(nn.Module):
    """Noise and a person to ink."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config, whole, detail = config, config.whole_dim, config.latent_dim - config.whole_dim
        if config.n_people:
            self.signatures = Signatures(config.n_people, config.exemplars)
            self.encoder = Thumbnail(config.detail) if config.by_thumbnails else Encoder(config)
            self.encoder.requires_grad_(False)  # a VAE's
        self.scale = WithinClassNoise(whole, detail)
        self.mapping = None
        if (
            not config.by_thumbnails
        ):  # trained from noise, it leads samples away from the codes that reconstruction covers
            self.mapping = nn.Sequential(nn.Linear(2 * whole, 256), nn.LeakyReLU(0.2), nn.Linear(256, whole + detail))
        self.net = UpTower(whole, config.widths, config.blocks, norm=True, detail=config.detail)
        if config.by_thumbnails:  # the map counts from the first step, and noise is small beside it
            nn.init.kaiming_normal_(self.net.detail.weight, nonlinearity="linear")
            self.scale.requires_grad_(False)
            for part in self.scale.parameters():
                part.mul_(config.noise_scale)

    def noise(self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, noise_dim]`` from N(0, I) for signatures of the people `y` ``[n]`` that are drawn together.

        The numbers that choose among a person's signatures are stratified: each signature comes once a round. `y` and
        the result are on the device of the random `generator`.
        """
        device = "cpu" if generator is None else generator.device
        z = torch.randn(n, self.config.noise_dim, device=device, generator=generator)
        if self.config.n_people and y is not None and not y.is_floating_point():
            within = torch.rand(n, device=device, generator=generator).clamp(1e-4, 1 - 1e-4)
            share = (in_turn(y, self.config.exemplars, generator) + within) / self.config.exemplars
            z[:, self.config.latent_dim] = torch.special.ndtri(share)
        return z

    def code(self, z: Tensor, e: Tensor) -> Tensor:
        """The code ``[N, latent_dim]`` of noise `z` and a person described by `e` ``[N, latent_dim]``.

        The person's code, plus noise with the same covariance for everybody, plus a learned correction. Without the
        correction this is how a VAE samples a person, so its decoder is a good start. The first `latent_dim` numbers of
        `z` count.
        """
        w = e + self.scale(z[:, : self.config.latent_dim])  # [N, latent_dim]
        if self.mapping is None:
            return w
        whole = self.config.whole_dim
        return w + self.mapping(torch.cat([z[:, :whole], e[:, :whole]], dim=1))

    def ink(self, logits: Tensor) -> Tensor:
        """Ink in [0, 1] of logits ``[N, 1, 128, 128]``, as the discriminator sees it."""
        return render_straight_through(logits) if self.config.rendered else soft_threshold(logits)

    def draw(self, w: Tensor) -> Tensor:
        """Ink ``[N, 1, 128, 128]`` in [0, 1] of codes ``[N, latent_dim]``."""
        return self.ink(self.net(w))

    def forward(self, z: Tensor, y: Tensor, known: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Ink ``[N, 1, 128, 128]`` in [0, 1], and the logits ``[k, 1, 128, 128]`` of the last k where `known` is given.

        Parameters
        ----------
        z
            Noise ``[N, noise_dim]`` from N(0, I); where `y` are codes, the first `latent_dim` numbers are enough.
        y
            Who: indices int64 ``[N]``, or codes float ``[N, latent_dim]``.
        known
            Codes ``[k, latent_dim]`` of given signatures, which replace the last k of the batch.
        """
        w = self.code(z, self.describe(y, z))
        if known is None:
            return self.draw(w)
        logits = self.net(torch.cat([w[: len(w) - len(known)], known]))
        return self.ink(logits), logits[len(w) - len(known) :]

    def ink_probability(self, z: Tensor, y: Tensor) -> Tensor:
        """The probability of ink of the same signatures, ``[N, 1, 128, 128]``: the input of `render`."""
        return torch.sigmoid(self.net(self.code(z, self.describe(y, z))))

    def describe(self, y: Tensor, z: Tensor) -> Tensor:
        """The condition ``[N, latent_dim]`` of the people `y` (as in `forward`).

        It is the code of one of the person's signatures. The noise chooses the signature and its warp.
        """
        if y.is_floating_point():
            return y
        choice, move = z[:, self.config.latent_dim :].split([1, self.signatures.numbers], dim=1)
        share = torch.special.ndtr(choice[:, 0])  # evenly in (0, 1)
        which = (share * self.config.exemplars).long().clamp(max=self.config.exemplars - 1)
        return self.encode_person(y, which, move if self.config.warped else None)

    def encode_person(self, y: Tensor, which: Tensor | int = 0, noise: Tensor | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of stored signatures; parameters as of `people.Signatures.forward`."""
        return self.encode(self.signatures(y, which, noise))

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` of ink ``[n, 1, 128, 128]``."""
        code = self.encoder(x)
        return code if self.config.by_thumbnails else code.chunk(2, dim=1)[0]

    @torch.no_grad()
    def start_from(self, vae: VAE) -> None:
        """Begin as a trained `vae`: its decoder, its people's signatures, its within-class covariance.

        Raises
        ------
        ValueError
            If the two networks differ in size or in their people.
        """
        mine, its = self.config, vae.config
        names = SIZES + (PEOPLE if mine.n_people else ())
        if any(getattr(mine, name) != getattr(its, name) for name in names):
            raise ValueError(f"the VAE to start from needs the GAN's {', '.join(names)}")
        self.net.load_state_dict(vae.decoder.state_dict())
        for part, its_part in zip(self.scale.parameters(), vae.within.parameters(), strict=True):
            part.copy_(mine.noise_scale * its_part)
        nn.init.zeros_(self.mapping[2].weight)  # no correction at first
        nn.init.zeros_(self.mapping[2].bias)
        if mine.n_people:
            self.signatures.load_state_dict(vae.signatures.state_dict())
            self.encoder.load_state_dict(vae.encoder.state_dict())


class Thumbnail(nn.Module):
    """Ink ``[N, 1, 128, 128]`` averaged over squares: ``[N, WHOLE**2 + detail * PLACES**2]``, nothing learned.

    The condition of a generator that begins at random: the share of ink in 8 x 8 squares, and in 16 x 16 or with
    ``detail=4`` in 32 x 32. The generator has to find the strokes: within a square of four pixels a stroke of three may
    run in any direction. A learned encoder would have to be trained in the same game.
    """

    WHOLE = 8  # squares a side of the coarse thumbnail
    DETAIL = (1, 4)  # numbers at each of PLACES x PLACES places of the fine one
    MEAN, SD = 0.1, (0.13, 0.25)  # of ink in a square of either, so that numbers vary by about 1

    def __init__(self, detail: int):
        super().__init__()
        self.detail = detail

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        whole = F.avg_pool2d(x, x.shape[-1] // self.WHOLE)
        parts = math.isqrt(self.detail)  # squares a side of a place
        detail = F.pixel_unshuffle(F.avg_pool2d(x, x.shape[-1] // (PLACES * parts)), parts)
        both = zip((whole, detail), self.SD, strict=True)
        return torch.cat([((part - self.MEAN) / sd).flatten(1) for part, sd in both], dim=1)


def soft_threshold(logits: Tensor, slope: float = 12.0, level: float = 0.5) -> Tensor:
    """Ink in (0, 1) with sharp edges, of logits ``[N, 1, H, W]``: a differentiable approximation of `render`.

    Without it a discriminator would look at the haze of a decoder's output first. The level is lower than that of
    rendering, where a network that has learned no stroke yet would draw nothing.
    """
    # In single precision: a steep slope would amplify the rounding of bf16
    return torch.sigmoid(slope * (sharpen(torch.sigmoid(logits.float())) - level))


def render_straight_through(logits: Tensor) -> Tensor:
    """Rendered ink in [0, 1] of logits ``[N, 1, H, W]``, with a straight-through gradient (Bengio et al. 2013).

    The discriminator sees exactly what will be shown. Backwards a sigmoid replaces the threshold; it is not steep, so
    that a broken stroke still gets a gradient. Two steps of `render.render` are left out, so that the generator pays
    for both faults: faint pixels do not join strokes, and dust is not removed.
    """
    soft = soft_threshold(logits, slope=4.0, level=INK)
    with torch.no_grad():
        hard = pen(find_ink(torch.sigmoid(logits.float()), link=False).float())
    return soft + (hard - soft).detach()


class Discriminator(nn.Module):
    """Ink and a person to one logit: high for a genuine signature of that person."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        self.net = DownTower(config.widths, config.blocks, norm=False)
        self.head = nn.Linear(self.net.out_features, 1)
        self.project = nn.Linear(self.net.out_features, config.embedding_dim)
        self.describe = nn.Linear(config.whole_dim, config.embedding_dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits ``[N]`` of ink ``[N, 1, 128, 128]`` by the people with codes `y` (Miyato & Koyama 2018, eq. 3)."""
        h = self.net(x)  # [N, out_features]
        # Without the map of the code, by which a discriminator would recognise single pictures
        who = self.describe(y[:, : self.config.whole_dim])
        return self.head(h)[:, 0] + (self.project(h) * who).sum(1) / self.config.embedding_dim**0.5


@torch.enable_grad()
def invert(generator: Generator, x: Tensor, e: Tensor | None, steps: int = 80, rate: float = 0.8) -> Tensor:
    """GAN inversion: codes from which a generator draws given signatures.

    Maximum a posteriori under a Bernoulli likelihood of the ink, by Adam, from the code of the person without noise.
    The prior keeps codes where signatures are; without it any picture can be reached. For a known person it has the
    within-class covariance (the noise of sampling is only `GANConfig.noise_scale` of that); otherwise it is N(0, I).

    Parameters
    ----------
    generator
        A trained generator, its weights frozen here.
    x
        Ink ``[N, 1, 128, 128]`` in [0, 1].
    e
        The condition of each, ``[N, latent_dim]``; None for unknown people.
    steps, rate
        Of Adam, the rate falling to zero by a cosine.

    Returns
    -------
    Tensor
        Codes ``[N, latent_dim]``, for `Generator.draw` and `Generator.net`.
    """
    config = generator.config
    dtype = precision(x.device)
    u = torch.zeros(len(x), config.latent_dim, device=x.device, requires_grad=True)

    def code() -> Tensor:
        return u if e is None else generator.code(u / config.noise_scale, e)

    optimizer = torch.optim.Adam([u], rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            logits = generator.net(code()).float()
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + 0.5 * u.square().sum()
        (u.grad,) = torch.autograd.grad(loss, u)  # gradients of the weights are not needed
        optimizer.step()
        falling.step()
    return code().detach()


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


def reconstruction_loss(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) under a Bernoulli likelihood, nats a picture: the reconstruction loss of a VAE.

    In a VAE-GAN (Larsen et al. 2016) it keeps the generator close to given signatures.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), x, reduction="none").flatten(1).sum(1).mean()


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
    y: Tensor,
    config: GANConfig,
    penalty: float = 0.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The discriminator's loss on one batch, as named parts; the caller back-propagates ``loss``.

    Parameters
    ----------
    discriminator
        Maps (pictures, people) to logits; called once, on all pictures of the step.
    real, fake
        Ink ``[N, 1, 128, 128]``, augmented alike; `fake` detached from the generator.
    y
        Codes ``[N, latent_dim]`` of the people of both.
    penalty
        Weight of R1 + R2 now; 0 skips their cost.
    generator
        Randomness of the penalty's direction.
    """
    parts = [real, fake]
    if penalty:
        for x in (real, fake):
            noise = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
            parts.append(x + config.penalty_sigma * noise)
    logits = discriminator(torch.cat(parts), torch.cat([y] * len(parts))).float().split(len(real))
    loss = relativistic_d_loss(logits[0], logits[1])
    out = dict(loss=loss, real=logits[0], fake=logits[1], gap=(logits[0] - logits[1]).mean())
    if penalty:
        r1 = slope_penalty(logits[2], logits[0], config.penalty_sigma)
        r2 = slope_penalty(logits[3], logits[1], config.penalty_sigma)
        out.update(r1=r1, r2=r2, loss=loss + penalty * (r1 + r2))
    return out


def g_step(discriminator: nn.Module, fake: Tensor, real_logits: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The generator's loss on one batch, as named parts; the caller back-propagates ``loss``.

    `fake` carries the generator's graph; `real_logits` are those of the discriminator's own step, so that the
    pairing costs no further pass.
    """
    return dict(loss=relativistic_g_loss(real_logits.detach(), discriminator(fake, y).float()))


def penalty_at(progress: float, config: GANConfig) -> float:
    """Weight of R1 + R2 at this share of the training: geometric from `penalty` to `penalty_end`."""
    if not config.penalty:
        return 0.0
    return config.penalty * (config.penalty_end / config.penalty) ** progress
