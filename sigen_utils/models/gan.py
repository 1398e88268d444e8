"""Two generative adversarial networks for 128 x 128 ink: one that dies and one that does not.

`GANConfig(recipe="report")` is the student reports' GAN as written: an unconditional DCGAN, binary cross-entropy,
a discriminator ten times as fast as the generator. `recipe="stable"` pairs logits of real and generated
signatures (relativistic loss), penalises the discriminator's slope on both (R1 + R2), shows both through the same
differentiable augmentation, averages the generator's weights and names the person by projection. It begins as a VAE's
decoder, and is told people by that VAE's codes of their signatures, or at random, by thumbnails of them.

References: Bengio et al. 2013 (straight-through estimator); Goodfellow et al. 2014; Radford et al. 2016 (DCGAN);
Isola et al. 2017 (a loss on pixels beside the game); Mescheder et al. 2018 (R1, R2); Miyato & Koyama 2018 (projection);
Zhao et al. 2020 (augmentation of both sides); Shahbazi et al. 2022 (labels faded in); Huang et al. 2024 (relativistic
pairing with R1 + R2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augment import MOVE_NUMBERS, PERSON_MOVES, move_guess
from ..device import precision
from ..render import INK, find_ink, pen, sharpen
from .layers import PLACES, DownTower, Spread, UpTower
from .people import Signatures, in_turn
from .vae import VAE, Encoder, VAEConfig

SIZES = ("latent_dim", "detail", "widths", "blocks")  # in which a generator and the VAE it starts from agree, ...
PEOPLE = ("n_people", "exemplars", "moved")  # ... and in these, where the VAE knows people


@dataclass(frozen=True)
class GANConfig:
    """Everything that fixes a GAN and its losses."""

    recipe: str = "stable"  # "stable" (ours) or "report" (the student reports' DCGAN)
    latent_dim: int = 64  # numbers of noise a signature starts from; ...
    detail: int = 0  # ... the last ones are a map of 16 x 16 places, this many channels deep, see `VAEConfig.detail`
    n_people: int = 0  # people that can be asked for; 0 makes the model unconditional
    people_by: str = "table"  # "table": learned numbers for each; "codes": a VAE encoder's codes of their signatures;
    # "thumbnails": these signatures themselves, made small, see `Thumbnail`
    exemplars: int = 1  # signatures of each person that are known, but by "table"
    moved: bool = True  # these are moved anew for each sample, see `VAEConfig.moved`; "table": what is drawn is
    moves: float = 0.6  # how far that goes, in units of `augment.PERSON_MOVES`
    spread: float = 0.15  # of the noise at first, in units of the spread of codes within people
    fidelity: float = 0.0  # weight of redrawing genuine signatures from their codes, a nat; not by "table"
    rendered: bool = True  # signatures are drawn as `render.render` shows them, ...
    render_fade: tuple[float, float] = (0.3, 0.6)  # ... between these shares of the training more and more so
    widths: tuple[int, ...] = (24, 48, 96, 192)  # channels at 32, 16, 8, 4 pixels, both networks
    blocks: int = 1  # residual blocks at each size
    embedding_dim: int = 64  # numbers the discriminator describes a person by
    penalty: float = 1.0  # gamma / 2 of R1 and R2 at the start ...
    penalty_end: float = 0.5  # ... and at the end, falling geometrically
    penalty_every: int = 2  # steps between penalties, each weighted by that number; at 4 slopes ran away
    penalty_sigma: float = 0.05  # step of the finite difference, in units of ink
    fade_in: float = 0.15  # share of the training over which the label's strength rises from 0 to 1
    g_warmup: float = 0.05  # share over which the generator's rate rises, while the discriminator learns to see
    ema_images: float = 10_000.0  # images over which the averaged generator forgets half
    learning_rate_g: float = 3e-4
    learning_rate_d: float = 4e-4
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        if self.recipe not in ("stable", "report"):
            raise ValueError(f"recipe={self.recipe!r}: choose stable or report")
        if self.people_by not in ("table", "codes", "thumbnails"):
            raise ValueError(f"people_by={self.people_by!r}: choose table, codes or thumbnails")
        if self.people_by == "table" and self.exemplars != 1:
            raise ValueError("people_by='table' learns one place a person; exemplars are for the other ways")
        if self.people_by == "table" and self.fidelity:
            raise ValueError("people_by='table' has no codes of signatures; fidelity is for the other ways")
        if self.people_by == "thumbnails":
            if not self.n_people:
                raise ValueError("people_by='thumbnails' holds signatures of people; n_people=0 leaves none")
            if self.whole_dim != Thumbnail.WHOLE**2 or self.detail not in Thumbnail.DETAIL:
                most = ", ".join(f"{Thumbnail.WHOLE**2 + k * PLACES**2} with detail={k}" for k in Thumbnail.DETAIL)
                raise ValueError(f"people_by='thumbnails' takes a latent_dim of {most}, not {self.latent_dim}")
        if self.recipe == "report" and self.conditional:
            raise ValueError("recipe='report' is unconditional: no label reached a network in the reports")
        object.__setattr__(self, "widths", tuple(self.widths))  # lists when read back from config.json
        object.__setattr__(self, "adam_betas", tuple(self.adam_betas))
        object.__setattr__(self, "render_fade", tuple(self.render_fade))

    @property
    def conditional(self) -> bool:
        """Whether the networks are told whose signature they see or draw."""
        return self.n_people > 0 or self.by_codes

    @property
    def by_codes(self) -> bool:
        """Whether people are told by codes of their signatures, a VAE's or thumbnails."""
        return self.people_by != "table"

    @property
    def whole_dim(self) -> int:
        """Numbers for the signature as a whole, the first ones."""
        return self.latent_dim - self.detail * PLACES**2

    @property
    def remembers(self) -> bool:
        """Whether the generator knows people by signatures that it holds."""
        return self.by_codes and self.n_people > 0

    @property
    def moves_drawn(self) -> bool:
        """Whether a signature is moved after it is drawn."""
        return self.people_by == "table" and self.moved and self.recipe == "stable"

    @property
    def noise_dim(self) -> int:
        """Numbers of noise a signature starts from: those of the code; which of a person's signatures; its move."""
        if self.remembers:
            return self.latent_dim + MOVE_NUMBERS + self.exemplars  # one chooses, the others are `Signatures.numbers`
        return self.latent_dim + (MOVE_NUMBERS if self.moves_drawn else 0)

    @classmethod
    def starting_from(cls, vae: VAEConfig, **settings) -> GANConfig:
        """A configuration that `Generator.start_from` accepts: the VAE's sizes and people, no fade-in of labels."""
        shared = {name: getattr(vae, name) for name in SIZES + PEOPLE}
        gentle = dict(render_fade=(0.0, 0.0), learning_rate_g=3e-5, learning_rate_d=3e-4, fade_in=0.0)
        gentle |= dict(penalty=0.2, penalty_end=0.1, penalty_every=1, ema_images=2_000.0)
        return cls(**{**shared, "people_by": "codes", **gentle, **settings})


REPORT_GAN = GANConfig(
    recipe="report",
    latent_dim=100,
    learning_rate_g=2e-4,
    learning_rate_d=2e-3,
    adam_betas=(0.5, 0.999),
    penalty=0.0,
    ema_images=1.0,  # the weights themselves: nothing was averaged
)
"""The student reports' GAN: rates 2e-4 for the generator and 2e-3 for the discriminator, no regularisation."""


# ---------------------------------------------------------------------------------------------- networks


def report_generator(latent_dim: int, width: int = 32) -> nn.Sequential:
    """DCGAN generator, ``[N, latent_dim, 1, 1]`` to ``[N, 1, 128, 128]`` in (0, 1)."""
    layers: list[nn.Module] = []
    for inside, outside, stride, padding in (
        (latent_dim, 8 * width, 1, 0),
        (8 * width, 4 * width, 2, 1),
        (4 * width, 2 * width, 2, 1),
        (2 * width, width, 2, 1),
        (width, width, 2, 1),
    ):
        layers += [nn.ConvTranspose2d(inside, outside, 4, stride, padding, bias=False)]
        layers += [nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Sigmoid())


def report_discriminator(width: int = 32) -> nn.Sequential:
    """DCGAN discriminator, ``[N, 1, 128, 128]`` to logits ``[N, 1]``."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inside, outside in ((width, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
        layers += [nn.Conv2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0), nn.Flatten())


def init_dcgan(module: nn.Module) -> None:
    """Radford et al. 2016: convolutions from N(0, 0.02), BatchNorm scales around one."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class Generator(nn.Module):
    """Noise and a person to ink."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        if config.recipe == "report":
            self.net = report_generator(config.latent_dim)
            self.net.apply(init_dcgan)
            return
        d = config.latent_dim
        if config.remembers:
            self.signatures = Signatures(config.n_people, config.exemplars)
            made_small = config.people_by == "thumbnails"
            self.encoder = Thumbnail(config.detail) if made_small else Encoder(config).requires_grad_(False)  # a VAE's
        elif config.n_people:
            self.embedding = nn.Embedding(config.n_people, d)
        whole = config.whole_dim
        self.scale = Spread(whole, d - whole)
        self.mapping = nn.Sequential(
            nn.Linear(2 * whole if config.conditional else whole, 256), nn.LeakyReLU(0.2), nn.Linear(256, d)
        )
        self.net = UpTower(config.whole_dim, config.widths, config.blocks, norm=True, detail=config.detail)
        if config.people_by == "thumbnails":  # the map is heard from the first step, and noise is little beside it
            nn.init.kaiming_normal_(self.net.detail.weight, nonlinearity="linear")
            self.quieten()
            with torch.no_grad():
                for part in self.scale.parameters():
                    part.mul_(config.spread)
            # Learned in the game they lead samples away from thumbnails, the only codes that redrawing explains
            self.mapping.requires_grad_(False)
            self.scale.requires_grad_(False)

    def quieten(self) -> None:
        """Let the noise and the person ask for nothing beyond their own codes at first: those are drawn as they are."""
        nn.init.zeros_(self.mapping[2].weight)
        nn.init.zeros_(self.mapping[2].bias)

    def noise(self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``[n, noise_dim]`` from N(0, I), of signatures that are drawn together as those of the people `y`.

        Where these are remembered by signatures, the number that chooses one is drawn so that they come in turn. `y`,
        and what is returned, are on the device of the random `generator`.
        """
        device = "cpu" if generator is None else generator.device
        z = torch.randn(n, self.config.noise_dim, device=device, generator=generator)
        if self.config.remembers and y is not None and not y.is_floating_point():
            within = torch.rand(n, device=device, generator=generator).clamp(1e-4, 1 - 1e-4)
            share = (in_turn(y, self.config.exemplars, generator) + within) / self.config.exemplars
            z[:, self.config.latent_dim] = torch.special.ndtri(share)
        return z

    def code(self, z: Tensor, e: Tensor | None = None) -> Tensor:
        """Where in code space noise `z` of a person described by `e` ``[N, latent_dim]`` is drawn from.

        The person's place, plus the noise stretched alike for all people, plus what the wholes of both ask for: a VAE's
        sampler of a person is the case without the last part, which makes its decoder a possible start. Of `z` the
        first `latent_dim` numbers count; those that chose `e` may follow.
        """
        w, whole = self.scale(z[:, : self.config.latent_dim]), self.config.whole_dim  # [N, latent_dim]
        if e is None:
            return w + self.mapping(z[:, :whole])
        return w + e + self.mapping(torch.cat([z[:, :whole], e[:, :whole]], dim=1))

    def ink(self, logits: Tensor, render_strength: float = 1.0) -> Tensor:
        """Ink in [0, 1] of logits ``[N, 1, 128, 128]``, as the discriminator sees it."""
        if not (self.config.rendered and render_strength):
            return crisp(logits)
        if render_strength == 1:
            return as_rendered(logits)
        return torch.lerp(crisp(logits), as_rendered(logits), render_strength)

    def draw(self, w: Tensor) -> Tensor:
        """Ink ``[N, 1, 128, 128]`` in [0, 1] of codes ``[N, latent_dim]``, not moved."""
        return self.ink(self.net(w))

    def forward(
        self,
        z: Tensor,
        y: Tensor | None = None,
        label_strength: float = 1.0,
        known: Tensor | None = None,
        render_strength: float = 1.0,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Ink ``[N, 1, 128, 128]`` in [0, 1], and the logits ``[k, 1, 128, 128]`` of the last k where `known` is given.

        Parameters
        ----------
        z
            Noise ``[N, noise_dim]`` from N(0, I); where people are told by codes, the first `latent_dim` are enough.
        y
            Who: indices int64 ``[N]``, or codes float ``[N, latent_dim]``; ignored by an unconditional model.
        label_strength
            0 hides the person, 1 shows it in full; a model that has fully faded in expects 1.
        known
            Codes ``[k, latent_dim]`` of given signatures, drawn instead of the last k of the batch.
        render_strength
            0 draws `crisp` ink, 1 ink `as_rendered`, what is between a mixture; a trained model expects 1.
        """
        if self.config.recipe == "report":
            return self.net(z[:, :, None, None])
        w = self.code(z, label_strength * self.describe(y, z) if self.config.conditional else None)
        if known is None:
            return self.ink(self.move(self.net(w), z), render_strength)
        logits = self.net(torch.cat([w[: len(w) - len(known)], known]))
        return self.ink(logits, render_strength), logits[len(w) - len(known) :]

    def guess(self, z: Tensor, y: Tensor | None = None, label_strength: float = 1.0) -> Tensor:
        """The same signatures as `forward` draws, as grey as the network is unsure: what `render` wants to see."""
        if self.config.recipe == "report":
            return self.net(z[:, :, None, None])
        w = self.code(z, label_strength * self.describe(y, z) if self.config.conditional else None)
        return torch.sigmoid(self.move(self.net(w), z))

    def move(self, logits: Tensor, z: Tensor) -> Tensor:
        """Drawn logits ``[N, 1, 128, 128]``, moved by the last numbers of the noise if this generator does that.

        A generator that had to draw every turn and bend of a few signatures itself would learn those before it learns
        strokes. As genuine ones are moved alike before D sees them, what is left to learn is what is moved.
        """
        if not self.config.moves_drawn:
            return logits
        logits = logits.float()
        ink = find_ink(torch.sigmoid(logits), link=False).float()
        return move_guess(logits, ink, PERSON_MOVES.times(self.config.moves), z[:, self.config.latent_dim :])

    def describe(self, y: Tensor, z: Tensor) -> Tensor:
        """What the networks are told of the people `y` (as in `forward`): ``[N, latent_dim]``.

        Where signatures of a person are remembered, the noise decides which of them it is the code of, and how that
        one was moved.
        """
        if y.is_floating_point():
            return y
        if not self.config.remembers:
            return self.embedding(y)
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
        return code if self.config.people_by == "thumbnails" else code.chunk(2, dim=1)[0]

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
        unfit = its.architecture != "residual" or its.conditional
        if unfit or any(getattr(mine, name) != getattr(its, name) for name in names):
            raise ValueError(f"the VAE to start from needs the GAN's {', '.join(names)}, and no conditions")
        self.net.load_state_dict(vae.decoder.state_dict())
        for part, its_part in zip(self.scale.parameters(), vae.within.parameters(), strict=True):
            part.copy_(mine.spread * its_part)
        self.quieten()
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
        if config.recipe == "report":
            self.net = report_discriminator()
            self.net.apply(init_dcgan)
            return
        self.net = DownTower(config.widths, config.blocks, norm=False)
        self.head = nn.Linear(self.net.out_features, 1)
        if config.conditional:
            self.project = nn.Linear(self.net.out_features, config.embedding_dim)
            self.describe = nn.Linear(config.whole_dim, config.embedding_dim) if config.by_codes else nn.Identity()
            self.embedding = None if config.by_codes else nn.Embedding(config.n_people, config.embedding_dim)

    def forward(self, x: Tensor, y: Tensor | None = None, label_strength: float = 1.0) -> Tensor:
        """Logits ``[N]`` of ink ``[N, 1, 128, 128]`` as the people `y` (Miyato & Koyama 2018, eq. 3).

        `y` is int64 ``[N]``, or float ``[N, latent_dim]`` where people are described by codes.
        """
        if self.config.recipe == "report":
            return self.net(x)[:, 0]
        h = self.net(x)  # [N, out_features]
        logit = self.head(h)[:, 0]
        if self.config.conditional:
            # A hand is in the whole of a signature; in the detail a discriminator would look for one picture
            who = self.describe(y[:, : self.config.whole_dim] if self.embedding is None else self.embedding(y))
            match = (self.project(h) * who).sum(1) / self.config.embedding_dim**0.5
            logit = logit + label_strength * match
        return logit


@torch.enable_grad()
def project(generator: Generator, x: Tensor, e: Tensor | None, steps: int = 80, rate: float = 0.8) -> Tensor:
    """Codes from which a generator draws given signatures: what stands in for the encoder that a GAN has not.

    Maximum a posteriori under a Bernoulli likelihood of the ink, by Adam from the code of a person without noise. The
    prior keeps codes where signatures are; without it any picture can be reached by a code that nobody would draw
    from. Around a person that is known by codes it is as wide as signatures of one person differ, the noise of
    sampling being only `GANConfig.spread` of that; of an unknown person it is N(0, I), as a VAE's codes have it;
    otherwise it is that of the noise.

    Parameters
    ----------
    generator
        A trained generator of the stable recipe, its weights frozen here.
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
    if config.recipe == "report":
        raise ValueError("the reports' generator puts out no logits to fit; project with recipe='stable'")
    dtype = precision(x.device)
    u = torch.zeros(len(x), config.latent_dim, device=x.device, requires_grad=True)
    wide = 1 / config.spread if config.by_codes else 1.0

    def code() -> Tensor:
        return u if e is None and config.conditional else generator.code(wide * u, e)

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
    y: Tensor | None,
    config: GANConfig,
    label_strength: float = 1.0,
    penalty: float = 0.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The discriminator's loss on one batch, as named parts; the caller back-propagates ``loss``.

    Parameters
    ----------
    discriminator
        Maps (pictures, people, label_strength) to logits; called once, on all pictures of the step (the reports'
        once for each side).
    real, fake
        Ink ``[N, 1, 128, 128]``, augmented alike; `fake` detached from the generator.
    y
        People of both, ``[N]`` or ``[N, latent_dim]``.
    penalty
        Weight of R1 + R2 now; 0 skips their cost.
    generator
        Randomness of the penalty's direction.
    """
    n = len(real)
    parts = [real, fake]
    if penalty:
        for x in (real, fake):
            noise = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
            parts.append(x + config.penalty_sigma * noise)
    if config.recipe == "report":  # BatchNorm: real and generated pictures had their own statistics
        logits = [discriminator(x).float() for x in parts]
    else:
        labels = None if y is None else torch.cat([y] * len(parts))
        logits = discriminator(torch.cat(parts), labels, label_strength).float().split(n)
    d_loss = bce_d_loss if config.recipe == "report" else relativistic_d_loss
    loss = d_loss(logits[0], logits[1])
    out = dict(loss=loss, real=logits[0], fake=logits[1], gap=(logits[0] - logits[1]).mean())
    if penalty:
        r1 = slope_penalty(logits[2], logits[0], config.penalty_sigma)
        r2 = slope_penalty(logits[3], logits[1], config.penalty_sigma)
        out.update(r1=r1, r2=r2, loss=loss + penalty * (r1 + r2))
    return out


def g_step(
    discriminator: nn.Module,
    fake: Tensor,
    real_logits: Tensor,
    y: Tensor | None,
    config: GANConfig,
    label_strength: float = 1.0,
) -> dict[str, Tensor]:
    """The generator's loss on one batch, as named parts; the caller back-propagates ``loss``.

    `fake` carries the generator's graph; `real_logits` are those of the discriminator's own step, so that the
    pairing costs no further pass.
    """
    fake_logits = discriminator(fake, y, label_strength).float()
    if config.recipe == "report":
        return dict(loss=bce_g_loss(fake_logits))
    return dict(loss=relativistic_g_loss(real_logits.detach(), fake_logits))


def penalty_at(progress: float, config: GANConfig) -> float:
    """Weight of R1 + R2 at this share of the training: geometric from `penalty` to `penalty_end`."""
    if not config.penalty:
        return 0.0
    return config.penalty * (config.penalty_end / config.penalty) ** progress


def label_strength_at(progress: float, config: GANConfig) -> float:
    """Strength of the label at this share of the training: unconditional first, then a linear rise to 1.

    Labels shown from the start can collapse a GAN that would be well without them (Shahbazi et al. 2022).
    """
    return min(1.0, progress / config.fade_in) if config.fade_in else 1.0


def render_strength_at(progress: float, config: GANConfig) -> float:
    """How far pictures are drawn as they will be rendered at this share of the training: a linear rise from 0 to 1.

    A threshold tells a generator that has no strokes yet next to nothing, and one that has them exactly what is seen.
    """
    begin, end = config.render_fade
    return float(progress >= end) if end <= begin else min(1.0, max(0.0, (progress - begin) / (end - begin)))
