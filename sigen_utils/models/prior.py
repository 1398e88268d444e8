"""Densities of codes, p(z | R): what turns an autoencoder into a generator.

Each has `sample(n, generator, person)` and `log_prob(z, generator, person)`. R is a set of 0 to `MAX_REFERENCES`
signatures of one writer, given as their codes. `Flow` learns p(z | R); with R empty it draws people who do not exist.

References: Lipman et al. 2023, Liu et al. 2023 (flow matching, rectified flow); Esser et al. 2024 (logit-normal times);
Ronneberger et al. 2015 (U-Net); Perez et al. 2018 (FiLM); Ho & Salimans 2021 (guidance), Kynkaanniemi et al. 2024 (in
an interval of times); Edwards & Storkey 2017 (a set of references).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import ResidualBlock
from .vae import SIDE

MAX_REFERENCES = 3
COARSE, FINE = 4, 8  # places a side of the two maps that describe a person
FREQUENCIES = 64  # of the embedding of time
LATE = 1.0  # shift of the logit of times: codes carry the noise of q(z|x), so little is left to learn near t = 0
STEPS = 5  # from noise to a code; with more, strokes come out thinner than genuine ones (docs/learned_prior.md)
LIKELIHOOD_STEPS = 10  # of `Flow.log_prob`, which has to be near to the flow itself


@dataclass(frozen=True)
class Person:
    """Who signs, for a batch: descriptions ``[N, person]``, and of how many references each is the mean ``[N]``."""

    description: Tensor
    count: Tensor


@dataclass(frozen=True)
class FlowConfig:
    """Everything that fixes the flow."""

    channels: int = 4  # of a code
    widths: tuple[int, ...] = (48, 112, 192)  # channels at 16, 8 and 4 places a side
    embedding: int = 256  # numbers that tell the time and the person to every block
    coarse: int = 16  # channels of the 4 x 4 map that describes a person, 256 numbers: extent, slant, pen
    fine: int = 6  # channels of the 8 x 8 map beside it, 384 numbers: what is where
    unconditional: float = 0.25  # share of the training without references
    guidance: float = 2.0  # weight of the velocity with references over that without, where there are any

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # a list when read back from config.json

    @property
    def person(self) -> int:
        """Numbers that describe a person."""
        return self.coarse * COARSE**2 + self.fine * FINE**2


def time_grid(steps: int, device: torch.device) -> Tensor:
    """Times from 1 to 0, ``[steps + 1]``, spread as those of the training are (Esser et al. 2024, eq. 23)."""
    even, shift = torch.linspace(1, 0, steps + 1, device=device), math.exp(LATE)
    return shift * even / (1 + (shift - 1) * even)


def with_places(z: Tensor) -> Tensor:
    """Codes ``[N, C, H, W]`` with their rows and columns, in [-1, 1], as two more channels."""
    n, _, height, width = z.shape
    row = torch.linspace(-1, 1, height, device=z.device, dtype=z.dtype).view(1, 1, -1, 1).expand(n, 1, height, width)
    column = torch.linspace(-1, 1, width, device=z.device, dtype=z.dtype).view(1, 1, 1, -1).expand(n, 1, height, width)
    return torch.cat([z, row, column], dim=1)


class Block(nn.Module):
    """Residual block ``[N, inside, H, W]`` to ``[N, outside, H, W]``, scaled and shifted by an embedding (FiLM)."""

    def __init__(self, inside: int, outside: int, embedding: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(max(1, inside // 16), inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2 = nn.GroupNorm(max(1, outside // 16), outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * outside)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.film(e)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class Attention(nn.Module):
    """Every place of a map ``[N, width, H, W]`` looks at every other."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(max(1, width // 16), width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))  # [N, 3, heads, width/heads, HW]
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(-1, -2).reshape(x.shape))


class ReferenceEncoder(nn.Module):
    """Codes of references ``[M, channels, 16, 16]`` to descriptions ``[M, person]``: too few numbers to redraw them."""

    def __init__(self, config: FlowConfig, widths: tuple[int, int, int] = (32, 80, 128)):
        super().__init__()
        self.enter = nn.Conv2d(config.channels + 2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width, norm=True) for width in widths)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.downsample = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.coarse = nn.Sequential(nn.GroupNorm(8, widths[2]), nn.SiLU(), nn.Conv2d(widths[2], config.coarse, 1))
        self.fine = nn.Sequential(nn.GroupNorm(8, widths[1]), nn.SiLU(), nn.Conv2d(widths[1], config.fine, 1))

    def forward(self, z: Tensor) -> Tensor:
        places = self.blocks[0](self.enter(with_places(z)))  # 16 x 16
        fine = self.blocks[1](self.downsample[0](places))
        coarse = self.blocks[2](self.downsample[1](fine))
        return torch.cat([self.coarse(coarse).flatten(1), self.fine(fine).flatten(1)], dim=1)


class Normal(nn.Module):
    """N(0, I), what the KL term pulls codes towards and what the assignment samples from. It knows no people."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def sample(self, n: int, generator: torch.Generator | None = None, person: Person | None = None) -> Tensor:
        """Codes ``[n, channels, 16, 16]``."""
        return torch.randn(n, self.channels, SIDE, SIDE, generator=generator)

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None, person: Person | None = None) -> Tensor:
        """Log density ``[n]`` of codes ``[n, channels, 16, 16]``, in nats."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum((1, 2, 3))


class Gaussians(nn.Module):
    """A mixture of diagonal Gaussians fitted to codes after training, the classic post-hoc prior; no people in it."""

    def __init__(self, channels: int, components: int = 20):
        super().__init__()
        shape = (components, channels, SIDE, SIDE)
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(shape))
        self.register_buffer("deviations", torch.ones(shape))

    @torch.no_grad()
    def fit(self, z: Tensor, seed: int = 0) -> Gaussians:
        """Fit to codes ``[N, channels, 16, 16]`` by expectation maximisation."""
        from sklearn.mixture import GaussianMixture

        k = len(self.weights)
        found = GaussianMixture(k, covariance_type="diag", reg_covar=1e-3, random_state=seed).fit(z.flatten(1).numpy())
        self.weights.copy_(torch.from_numpy(found.weights_))
        self.means.copy_(torch.from_numpy(found.means_).reshape(self.means.shape))
        self.deviations.copy_(torch.from_numpy(found.covariances_).sqrt().reshape(self.means.shape))
        return self

    def sample(self, n: int, generator: torch.Generator | None = None, person: Person | None = None) -> Tensor:
        """Codes ``[n, channels, 16, 16]``."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, *self.means.shape[1:], generator=generator)
        return self.means[which] + self.deviations[which] * eps

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None, person: Person | None = None) -> Tensor:
        """Log density ``[n]`` of codes ``[n, channels, 16, 16]``, in nats."""
        unit = (z[:, None] - self.means) / self.deviations
        each = -0.5 * (unit.square() + math.log(2 * math.pi)) - self.deviations.log()
        return torch.logsumexp(each.sum((2, 3, 4)) + self.weights.log(), dim=1)


class Flow(nn.Module):
    """A rectified flow: a velocity field that carries N(0, I) at t = 1 to the codes of signatures at t = 0.

    Codes are those of `vae.VAE`, divided by `scale`, one number a channel.
    """

    def __init__(self, config: FlowConfig = FlowConfig()):
        super().__init__()
        self.config = config
        widths, size = config.widths, config.embedding
        self.references = ReferenceEncoder(config)
        self.nobody = nn.Parameter(torch.zeros(1, config.person))  # stands for no reference
        condition = 2 * FREQUENCIES + config.coarse * COARSE**2 + MAX_REFERENCES + 1
        self.embed = nn.Sequential(nn.Linear(condition, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU())
        self.enter = nn.Conv2d(config.channels + 2, widths[0], 3, padding=1)
        self.place_coarse = nn.ModuleList(nn.Conv2d(config.coarse, width, 1) for width in widths)
        self.place_fine = nn.ModuleList(nn.Conv2d(config.fine, width, 3, padding=1) for width in widths[:2])
        for place in self.place_fine:
            nn.init.zeros_(place.weight)
            nn.init.zeros_(place.bias)
        self.down = nn.ModuleList(nn.ModuleList([Block(w, w, size), Block(w, w, size)]) for w in widths)
        self.up = nn.ModuleList(nn.ModuleList([Block(2 * w, w, size), Block(w, w, size)]) for w in widths)
        self.attend_down = nn.ModuleList(Attention(w) if k else nn.Identity() for k, w in enumerate(widths))
        self.attend_up = nn.ModuleList(Attention(w) if k else nn.Identity() for k, w in enumerate(widths))
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.downsample = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.upsample = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        last = nn.Conv2d(widths[0], config.channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.leave = nn.Sequential(nn.GroupNorm(max(1, widths[0] // 16), widths[0]), nn.SiLU(), last)
        self.register_buffer("scale", torch.ones(1, config.channels, 1, 1))

    def describe(self, z: Tensor) -> Tensor:
        """Descriptions ``[N, person]`` of codes ``[N, channels, 16, 16]`` of references."""
        return self.references(z / self.scale)

    def people(self, descriptions: Tensor, mask: Tensor) -> Person:
        """Who signs: the mean of some descriptions ``[N, K, person]``, those where `mask` ``[N, K]`` is 1.

        Where it is 0 for all K, nobody in particular signs.
        """
        count = mask.sum(1)
        mean = (descriptions * mask[:, :, None]).sum(1) / count.clamp(min=1)[:, None]
        return Person(torch.where((count > 0)[:, None], mean, self.nobody.to(mean.dtype)), count)

    def nobody_in(self, n: int) -> Person:
        """`n` times nobody in particular."""
        return Person(self.nobody.expand(n, -1), self.nobody.new_zeros(n))

    def forward(self, z: Tensor, t: Tensor, person: Person) -> Tensor:
        """Velocity ``[N, channels, 16, 16]`` at codes `z` and times `t` ``[N]``."""
        config, number = self.config, person.count.long().clamp(max=MAX_REFERENCES)
        coarse, fine = person.description.split([config.coarse * COARSE**2, config.fine * FINE**2], dim=1)
        rates = torch.exp(torch.linspace(0, math.log(100), FREQUENCIES, device=z.device))
        angle = math.pi * t[:, None] * rates
        count = F.one_hot(number, MAX_REFERENCES + 1).to(coarse.dtype)
        e = self.embed(torch.cat([angle.cos(), angle.sin(), coarse, count], dim=1))
        coarse = coarse.unflatten(1, (config.coarse, COARSE, COARSE))
        fine = fine.unflatten(1, (config.fine, FINE, FINE))
        h, skips = self.enter(with_places(z)), []
        for k, blocks in enumerate(self.down):
            h = h + self.place_coarse[k](F.interpolate(coarse, size=h.shape[-2:], mode="bilinear"))
            if k < len(self.place_fine):
                h = h + self.place_fine[k](F.interpolate(fine, size=h.shape[-2:], mode="bilinear"))
            for block in blocks:
                h = block(h, e)
            h = self.attend_down[k](h)
            skips.append(h)
            if k < len(self.downsample):
                h = self.downsample[k](h)
        for k in reversed(range(len(self.up))):
            h = self.up[k][0](torch.cat([h, skips[k]], dim=1), e)
            h = self.up[k][1](self.attend_up[k](h), e)
            if k:
                h = F.interpolate(self.upsample[k - 1](h), scale_factor=2)
        return self.leave(h)

    def push(self, z: Tensor, t: Tensor, person: Person) -> tuple[Tensor, Tensor]:
        """The velocity, and how far guidance moves it on: away from that of nobody (Ho & Salimans 2021)."""
        nobody = self.nobody_in(len(z))
        both = Person(
            torch.cat([person.description, nobody.description]),
            torch.cat([person.count, nobody.count.to(person.count)]),
        )
        velocity, without = self(z.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
        return velocity, (self.config.guidance - 1) * (velocity - without)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        person: Person | None = None,
        steps: int = STEPS,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Codes ``[n, channels, 16, 16]`` by `person` (None: nobody) in `steps` steps of two-step Adams-Bashforth.

        The noise is given, or drawn on the generator's device, so that a seed gives the same signatures on every
        device. A step evaluates the velocity once. Guidance costs another evaluation at every second step, and holds
        for the step after it as well; the first step, from plain noise, has none (Kynkaanniemi et al. 2024).
        """
        person, device = person or self.nobody_in(n), self.scale.device
        if noise is None:
            where = device if generator is None else generator.device
            noise = torch.randn(n, self.config.channels, SIDE, SIDE, generator=generator, device=where)
        z, times, before, push = noise.to(device), time_grid(steps, device), None, 0.0
        guided = self.config.guidance != 1 and bool(person.count.any())
        for k in range(steps):
            step, t = times[k + 1] - times[k], times[k].expand(n)
            if guided and k % 2:
                velocity, push = self.push(z, t, person)
            else:
                velocity = self(z, t, person)
            velocity = velocity + push
            ahead = velocity
            if before is not None:
                ahead = velocity + 0.5 * step / (times[k] - times[k - 1]) * (velocity - before)
            z, before = z + step * ahead, velocity
        return z * self.scale

    def log_prob(
        self,
        z: Tensor,
        generator: torch.Generator | None = None,
        person: Person | None = None,
        steps: int = LIKELIHOOD_STEPS,
    ) -> Tensor:
        """Log density of codes ``[n, channels, 16, 16]``, ``[n]`` in nats, an unbiased estimate up to the step size.

        The change of variables along the flow: log p(z at 0) = log N(z at 1) + integral of the velocity's divergence,
        which is estimated with one random direction of signs a code (Hutchinson 1989; Grathwohl et al. 2019).
        """
        n, person = len(z), person or self.nobody_in(len(z))
        signs = torch.randint(0, 2, z.shape, generator=generator, device=z.device).to(z.dtype) * 2 - 1
        at, total = z / self.scale, z.new_zeros(n)

        def slope(place: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                place = place.detach().requires_grad_()
                velocity = self(place, t.expand(n), person)
                (back,) = torch.autograd.grad((velocity * signs).sum(), place)
            return velocity.detach(), (back * signs).sum((1, 2, 3))

        times = time_grid(steps, z.device).flip(0)
        for now, then in zip(times[:-1], times[1:], strict=True):
            velocity, spread = slope(at, now)
            after, spread_after = slope(at + (then - now) * velocity, then)
            at = at + (then - now) * 0.5 * (velocity + after)
            total = total + (then - now) * 0.5 * (spread + spread_after)
        size = SIDE**2
        return Normal(self.config.channels).log_prob(at) + total - size * self.scale.log().sum()


def draw_references(
    n: int, size: int, unconditional: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Which of a writer's others are references of each of their signatures, float 0/1 ``[n, size, size]``.

    For n sets of `size` signatures: row j holds the references of signature j, never itself, one or more of the others
    up to `MAX_REFERENCES`, or none for a share `unconditional`.
    """
    order = torch.rand(n, size, size, generator=generator, device=device)
    order += 2 * torch.eye(size, device=device)  # the target comes last
    rank = order.argsort(-1).argsort(-1)
    most = min(size - 1, MAX_REFERENCES)
    count = torch.randint(1, most + 1, (n, size, 1), generator=generator, device=device)
    kept = torch.rand(n, size, 1, generator=generator, device=device) >= unconditional
    return ((rank < count) & kept).float()


def flow_matching_loss(flow: Flow, z: Tensor, references: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Squared error of the velocity along straight lines from codes to noise, per number of the code.

    Parameters
    ----------
    z, references
        Codes drawn from q(z|x), and posterior means of the same signatures, ``[n, size, channels, 16, 16]``: n writers
        with `size` signatures each. Every signature is a target once, with some of the others as references.

    Returns
    -------
    dict
        Scalars ``loss``, and its parts over targets with and without references, ``conditional``, ``unconditional``.
    """
    n, size = z.shape[:2]
    descriptions = flow.describe(references.flatten(0, 1)).unflatten(0, (n, size))
    mask = draw_references(n, size, flow.config.unconditional, generator, z.device).flatten(0, 1)  # [n * size, size]
    person = flow.people(descriptions.repeat_interleave(size, 0), mask)
    target = (z / flow.scale).flatten(0, 1)
    t = torch.sigmoid(LATE + torch.randn(len(target), generator=generator, device=z.device))
    eps = torch.randn(target.shape, generator=generator, device=z.device)
    at = t[:, None, None, None]
    velocity = flow((1 - at) * target + at * eps, t, person)
    error = (velocity.float() - (eps - target)).square().mean((1, 2, 3))
    has = mask.sum(1) > 0
    return dict(
        loss=error.mean(),
        conditional=error[has].sum() / has.sum().clamp(min=1),
        unconditional=error[~has].sum() / (~has).sum().clamp(min=1),
    )
