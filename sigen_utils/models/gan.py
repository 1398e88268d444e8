"""A generative adversarial network for 128 x 128 ink, its losses, and its inversion.

The generator is a VAE's decoder; noise chooses a code near that of a person's signature. The discriminator compares
logits of real and generated signatures (relativistic loss), its slope is penalised on both (R1 + R2), and it is told
the person by projection. Codes come from a VAE's encoder, or are thumbnails where no VAE has part in it.

References: Bengio et al. 2013 (straight-through estimator); Goodfellow et al. 2014; Isola et al. 2017 (a loss on pixels
beside the game); Larsen et al. 2016 (VAE-GAN); Mescheder et al. 2018 (R1, R2); Miyato & Koyama 2018 (projection);
Zhao et al. 2020 (augmentation of both sides); Huang et al. 2024 (relativistic pairing with R1 + R2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augment import MOVE_NUMBERS
from ..device import precision
from ..render import INK, find_ink, pen, sharpen
from .layers import PLACES, DownTower, Spread, UpTower
from .people import Signatures, in_turn
from .vae import VAE, Encoder

SIZES = ("latent_dim", "detail", "widths", "blocks")  # in which a generator and the VAE it starts from agree, ...
PEOPLE = ("n_people", "exemplars", "moved")  # ... and in these, where the VAE knows people


@dataclass(frozen=True)
class GANConfig:
    """Everything that fixes a GAN and its losses."""

    latent_dim: int = 64  # numbers of a code; ...
    detail: int = 0  # ... the last ones are a map of 16 x 16 places, this many channels deep, see `VAEConfig.detail`
    n_people: int = 0  # people that can be asked for; 0 where codes are given from outside
    people_by: str = "codes"  # a person is told by "codes" (a VAE encoder's) or "thumbnails" of their signatures
    exemplars: int = 3  # signatures of each person that are known
    moved: bool = True  # these are moved anew for each sample, see `VAEConfig.moved`
    spread: float = 0.15  # of the noise at first, in units of the spread of codes within people
    fidelity: float = 0.0  # weight of redrawing genuine signatures from their codes, a nat
    rendered: bool = True  # signatures are drawn as `render.render` shows them
    widths: tuple[int, ...] = (24, 48, 96, 192)  # channels at 32, 16, 8, 4 pixels, both networks
    blocks: int = 1  # residual blocks at each size
    embedding_dim: int = 64  # numbers the discriminator describes a person by
    penalty: float = 0.2  # gamma / 2 of R1 and R2 at the start ...
    penalty_end: float = 0.1  # ... and at the end, falling geometrically
    penalty_sigma: float = 0.05  # step of the finite difference, in units of ink
    ema_images: float = 2_000.0  # images over which the averaged generator forgets half
    learning_rate_g: float = 3e-5
    learning_rate_d: float = 3e-4
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        if self.people_by not in ("codes", "thumbnails"):
            raise ValueError(f"people_by={self.people_by!r}: choose codes or thumbnails")
        if self.by_thumbnails:
            if not self.n_people:
                raise ValueError("people_by='thumbnails' holds signatures of people; n_people=0 leaves none")
            if self.whole_dim != Thumbnail.WHOLE**2 or self.detail not in Thumbnail.DETAIL:
                most = ", ".join(f"{Thumbnail.WHOLE**2 + k * PLACES**2} with detail={k}" for k in Thumbnail.DETAIL)
                raise ValueError(f"people_by='thumbnails' takes a latent_dim of {most}, not {self.latent_dim}")
        object.__setattr__(self, "widths", tuple(self.widths))  # lists when read back from config.json
        object.__setattr__(self, "adam_betas", tuple(self.adam_betas))

    @property
    def by_thumbnails(self) -> bool:
        """Whether a person is told by thumbnails of their signatures."""
        return self.people_by == "thumbnails"

    @property
    def whole_dim(self) -> int:
        """Numbers for the signature as a whole, the first ones."""
        return self.latent_dim - self.detail * PLACES**2

    @property
    def noise_dim(self) -> int:
        """Numbers of noise of a sample: those of the code; which of a person's signatures; how that one is moved."""
        return self.latent_dim + (MOVE_NUMBERS + self.exemplars if self.n_people else 0)


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
        self.scale = Spread(whole, detail)
        self.mapping = None
        if not config.by_thumbnails:  # in a game from noise it leads samples away from what redrawing explains
            self.mapping = nn.Sequential(nn.Linear(2 * whole, 256), nn.LeakyReLU(0.2), nn.Linear(256, whole + detail))
        self.net = UpTower(whole, config.widths, config.blocks, norm=True, detail=config.detail)
        if config.by_thumbnails:  # the map is heard from the first step, and noise is little beside it
            nn.init.kaiming_normal_(self.net.detail.weight, nonlinearity="linear")
            self.scale.requires_grad_(False)
            for part in self.scale.parameters():
                part.mul_(config.spread)

    def noise(self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, noise_dim]`` from N(0, I), of signatures that are drawn together as those of the people `y`.

        Where these are remembered by signatures, the number that chooses one is drawn so that they come in turn. `y`,
        and what is returned, are on the device of the random `generator`.
        """
        device = "cpu" if generator is None else generator.device
        z = torch.randn(n, self.config.noise_dim, device=device, generator=generator)
        if self.config.n_people and y is not None and not y.is_floating_point():
            within = torch.rand(n, device=device, generator=generator).clamp(1e-4, 1 - 1e-4)
            share = (in_turn(y, self.config.exemplars, generator) + within) / self.config.exemplars
            z[:, self.config.latent_dim] = torch.special.ndtri(share)
        return z

    def code(self, z: Tensor, e: Tensor) -> Tensor:
        """Where in code space noise `z` of a person described by `e` ``[N, latent_dim]`` is drawn from.

        The person's place, plus the noise stretched alike for all people, plus what the wholes of both ask for: a VAE's
        sampler of a person is the case without the last part, which makes its decoder a possible start. Of `z` the
        first `latent_dim` numbers count; those that chose `e` may follow.
        """
        w = e + self.scale(z[:, : self.config.latent_dim])  # [N, latent_dim]
        if self.mapping is None:
            return w
        whole = self.config.whole_dim
        return w + self.mapping(torch.cat([z[:, :whole], e[:, :whole]], dim=1))

    def ink(self, logits: Tensor) -> Tensor:
        """Ink in [0, 1] of logits ``[N, 1, 128, 128]``, as the discriminator sees it."""
        return as_rendered(logits) if self.config.rendered else crisp(logits)

    def draw(self, w: Tensor) -> Tensor:
        """Ink ``[N, 1, 128, 128]`` in [0, 1] of codes ``[N, latent_dim]``, not moved."""
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
            Codes ``[k, latent_dim]`` of given signatures, drawn instead of the last k of the batch.
        """
        w = self.code(z, self.describe(y, z))
        if known is None:
            return self.draw(w)
        logits = self.net(torch.cat([w[: len(w) - len(known)], known]))
        return self.ink(logits), logits[len(w) - len(known) :]

    def guess(self, z: Tensor, y: Tensor) -> Tensor:
        """The same signatures as `forward` draws, as grey as the network is unsure: what `render` wants to see."""
        return torch.sigmoid(self.net(self.code(z, self.describe(y, z))))

    def describe(self, y: Tensor, z: Tensor) -> Tensor:
        """What the networks are told of the people `y` (as in `forward`): ``[N, latent_dim]``.

        The noise decides which of a person's signatures it is the code of, and how that one was moved.
        """
        if y.is_floating_point():
            return y
        choice, move = z[:, self.config.latent_dim :].split([1, self.signatures.numbers], dim=1)
        share = torch.special.ndtr(choice[:, 0])  # evenly in (0, 1)
        which = (share * self.config.exemplars).long().clamp(max=self.config.exemplars - 1)
        return self.encode_person(y, which, move if self.config.moved else None)

    def encode_person(self, y: Tensor, which: Tensor | int = 0, noise: Tensor | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of remembered signatures; parameters as of `people.Signatures.forward`."""
        return self.encode(self.signatures(y, which, noise))

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` of ink ``[n, 1, 128, 128]``, of a generator that remembers signatures."""
        code = self.encoder(x)
        return code if self.config.by_thumbnails else code.chunk(2, dim=1)[0]

    @torch.no_grad()
    def start_from(self, vae: VAE) -> None:
        """Begin as the sampler of people of a trained `vae`: its networks, its people's signatures, their spread.

        Raises
        ------
        ValueError
            If the two networks differ in size or, where people are asked for, in their number.
        """
        mine, its = self.config, vae.config
        names = SIZES + (PEOPLE if mine.n_people else ())
        if any(getattr(mine, name) != getattr(its, name) for name in names):
            raise ValueError(f"the VAE to start from needs the GAN's {', '.join(names)}")
        self.net.load_state_dict(vae.decoder.state_dict())
        for part, its_part in zip(self.scale.parameters(), vae.within.parameters(), strict=True):
            part.copy_(mine.spread * its_part)
        nn.init.zeros_(self.mapping[2].weight)  # asks for nothing beyond the codes at first
        nn.init.zeros_(self.mapping[2].bias)
        if mine.n_people:
            self.signatures.load_state_dict(vae.signatures.state_dict())
            self.encoder.load_state_dict(vae.encoder.state_dict())


class Thumbnail(nn.Module):
    """A signature seen from afar: ink ``[N, 1, 128, 128]`` to ``[N, WHOLE**2 + detail * PLACES**2]``, nothing learned.

    What a generator that begins at random is told of a person. The share of ink in 8 x 8 squares says what is drawn;
    that in 16 x 16, or with ``detail=4`` in 32 x 32, where. Strokes have to be found: in a square of four pixels a pen
    of three may run any way. A network in the place of this would have to be learned in the same game.
    """

    WHOLE = 8  # squares a side; of signatures on their own
    DETAIL = (1, 4)  # numbers at each of PLACES x PLACES places
    MEAN, SD = 0.1, (0.13, 0.25)  # of ink in a square, roughly: numbers of the whole and of the detail vary by about 1

    def __init__(self, detail: int):
        super().__init__()
        self.detail = detail

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        whole = F.avg_pool2d(x, x.shape[-1] // self.WHOLE)
        parts = math.isqrt(self.detail)  # squares a side of each place
        detail = F.pixel_unshuffle(F.avg_pool2d(x, x.shape[-1] // (PLACES * parts)), parts)
        both = zip((whole, detail), self.SD, strict=True)
        return torch.cat([((part - self.MEAN) / sd).flatten(1) for part, sd in both], dim=1)


def crisp(logits: Tensor, slope: float = 12.0, level: float = 0.5) -> Tensor:
    """Ink in (0, 1) with the edges of a pen's, of logits ``[N, 1, H, W]``: `render` as far as it has a gradient.

    Haze is what a discriminator sees first in a decoder's guess. Drawing nearly what would be rendered leaves the game
    to the shapes. The level is below that of rendering: what has learned no stroke yet would draw none.
    """
    # In single precision: a steep slope would show the rounding of bf16
    return torch.sigmoid(slope * (sharpen(torch.sigmoid(logits.float())) - level))


def as_rendered(logits: Tensor) -> Tensor:
    """Ink in [0, 1] of logits ``[N, 1, H, W]``: what `render.render` makes of them, with a gradient.

    What parts `crisp` from rendering is seen by a discriminator too, and a generator that learns to hide it has come no
    nearer to a signature as it will be shown. Here backwards alone the threshold is replaced by a sigmoid (the
    straight-through estimator of Bengio et al. 2013), not a steep one, so that a stroke that has just broken off still
    gets a gradient. Stricter than rendering in two things, so that they cost the generator something: a stroke that
    only a link would hold together is shown broken, and dust is not dropped.
    """
    soft = crisp(logits, slope=4.0, level=INK)
    with torch.no_grad():
        hard = pen(find_ink(torch.sigmoid(logits.float()), link=False).float())
    return soft + (hard - soft).detach()


class Discriminator(nn.Module):
    """Ink and a person to one logit: high for what looks like that person's real signature."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        self.net = DownTower(config.widths, config.blocks, norm=False)
        self.head = nn.Linear(self.net.out_features, 1)
        self.project = nn.Linear(self.net.out_features, config.embedding_dim)
        self.describe = nn.Linear(config.whole_dim, config.embedding_dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits ``[N]`` of ink ``[N, 1, 128, 128]`` as the people with codes `y` (Miyato & Koyama 2018, eq. 3)."""
        h = self.net(x)  # [N, out_features]
        # A hand is in the whole of a signature; in the detail a discriminator would look for one picture
        who = self.describe(y[:, : self.config.whole_dim])
        return self.head(h)[:, 0] + (self.project(h) * who).sum(1) / self.config.embedding_dim**0.5


@torch.enable_grad()
def project(generator: Generator, x: Tensor, e: Tensor | None, steps: int = 80, rate: float = 0.8) -> Tensor:
    """Codes from which a generator draws given signatures: what stands in for the encoder that a GAN has not.

    Maximum a posteriori under a Bernoulli likelihood of the ink, by Adam from the code of a person without noise. The
    prior keeps codes where signatures are; without it any picture can be reached by a code that nobody would draw
    from. Around the code of a person it is as wide as signatures of one person differ, the noise of sampling being only
    `GANConfig.spread` of that; of an unknown person it is N(0, I), as a VAE's codes have it.

    Parameters
    ----------
    generator
        A trained generator, its weights frozen here.
    x
        Ink ``[N, 1, 128, 128]`` in [0, 1].
    e
        What describes the person of each, ``[N, latent_dim]``; None for people who are not known.
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
        return u if e is None else generator.code(u / config.spread, e)

    optimizer = torch.optim.Adam([u], rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            logits = generator.net(code()).float()
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + 0.5 * u.square().sum()
        (u.grad,) = torch.autograd.grad(loss, u)  # the weights' gradients are nobody's business here
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


def redraw_loss(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) under a Bernoulli likelihood, nats a picture: what a VAE's decoder is trained by.

    In a VAE-GAN (Larsen et al. 2016) it keeps a generator that plays for crisp strokes from forgetting which ones.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), x, reduction="none").flatten(1).sum(1).mean()


def slope_penalty(moved: Tensor, still: Tensor, sigma: float) -> Tensor:
    """Mean of ((D(x + sigma n) - D(x)) / sigma)^2, n ~ N(0, I): the squared gradient norm of D in expectation.

    A zero-centred gradient penalty (R1 on real, R2 on generated pictures; Mescheder et al. 2018) without the
    double backward pass, which is slow and which compilers do not take.
    """
    return ((moved - still) / sigma).square().mean()


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
