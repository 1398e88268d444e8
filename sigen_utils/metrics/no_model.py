"""Rows without a model: what a blank page, a copy or a stranger gets in every table.

Each is a `sampling.Sampler`. A model has to beat these before its scores mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Generator, Tensor
from torch.nn import functional as F

from ..augment import PERSON_WARPS, WARP_NUMBERS, soften, warp_ink
from ..registration import displacements_to_others, warp_towards_others
from ..synthesis import CrowdConfig, write_crowd

if TYPE_CHECKING:
    from ..data import SignatureSet
    from ..models.vae import VAE

WRITERS_SEED = 4_000_003  # of the protocol's own writers: in no class, and in no corpus that a model was trained on
PER_WRITER = 4
COARSE = 4  # pixels: signatures are compared as ink averaged over squares of this side
NEAREST = 0.01  # times `PERSON_WARPS`: the least elastic part that `registration.warp_towards_others` accepts
FARTHEST = 1.6  # times `PERSON_WARPS`: beyond it signatures look like another person's
ENOUGH = 600  # signatures are enough to estimate the warp strength
FALLS = 0.09  # exponent of the fall of nearest distances with the number of signatures, if it cannot be measured


class Blank:
    """An empty page."""

    label = "blank page"

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        return torch.zeros(people * per_person, 1, 128, 128)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return torch.zeros(len(y), 1, 128, 128)

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        return torch.zeros_like(references[:, 0])


class _OfTraining:
    """What knows training signatures: of each person the first k, k being the least that somebody has."""

    def __init__(self, train: SignatureSet):
        train = train.to("cpu")
        order, count = train.labels.argsort(stable=True), train.labels.bincount(minlength=train.n_people)
        if count.min() < 2:
            raise ValueError("rows without a model need two training signatures of every person")
        self.k = int(count.min())
        place = (count.cumsum(0) - count)[:, None] + torch.arange(self.k)
        self.rows = order[place]  # [P, k]
        self.x, self.labels = train.x, train.labels


class _OneOfTraining(_OfTraining):
    """What makes every picture from one training signature.

    A "new" person is a training person, each used before one is used again.
    """

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        rounds = -(-people // len(self.rows))
        who = torch.cat([torch.randperm(len(self.rows), generator=generator) for _ in range(rounds)])[:people]
        return self.known(who.repeat_interleave(per_person), generator)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return self.known_from(y, generator)[0]

    def known_from(self, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Signatures of the people `y`, and which training signature of the person each comes from, int64 ``[n]``."""
        source = stratified(y, self.k, generator)
        return self.draw(self.rows[y, source], generator), source

    def draw(self, index: Tensor, generator: Generator) -> Tensor: ...  # raw ink from training signatures ``[n]``


class MeanImage(_OneOfTraining):
    """The mean of all training signatures."""

    label = "mean image"

    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        return self.x.mean(0, keepdim=True).expand(len(index), -1, -1, -1)

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        return self.draw(torch.arange(len(references)), generator)


class Copies(_OneOfTraining):
    """Training signatures as they are; of a stranger the reference as it is."""

    label = "copies"

    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        return self.x[index]

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        return references[:, 0]


class Warps(_OneOfTraining):
    """Training signatures warped towards others of their person and at random, as far as held-out ones lie away.

    A stranger's one reference is warped at random.
    """

    label = "registration warps"

    def __init__(self, train: SignatureSet):
        super().__init__(train)
        ink = (self.x > 0.5).float()
        self.displacements = displacements_to_others(ink, self.labels)
        strength = warp_strength((ink[:, 0] * 255).to(torch.uint8), self.labels, self.displacements)
        self.warps = PERSON_WARPS.times(strength)

    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(len(index), WARP_NUMBERS + self.displacements.shape[1], generator=generator)
        out = []
        for part, how in zip(index.split(64), noise.split(64), strict=True):
            ink = (self.x[part] > 0.5).float()
            out.append(warp_towards_others(ink, self.displacements[part], self.warps, how, soften(ink)))
        return torch.cat(out)

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        ink = (references[:, 0] > 0.5).float()
        return torch.cat([warp_ink(part, PERSON_WARPS, generator) for part in ink.split(64)])


class MeanOfTwo(_OfTraining):
    """Two signatures, encoded by a VAE, their codes averaged and decoded.

    As a new person: one signature each of two people, the same two for all draws. As a known one: two of the person's.
    """

    label = "mean of two codes"

    def __init__(self, train: SignatureSet, vae: VAE):
        super().__init__(train)
        self.model = vae

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        pairs = torch.stack([torch.randperm(len(self.rows), generator=generator)[:2] for _ in range(people)])
        sides = [stratified(who.repeat_interleave(per_person), self.k, generator) for who in pairs.T]
        pairs = pairs.repeat_interleave(per_person, 0)
        return self._mean(*(self.rows[who, which] for who, which in zip(pairs.T, sides, strict=True)))

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return self.known_from(y, generator)[0]

    def known_from(self, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        one = stratified(y, self.k, generator)
        other = (one + torch.randint(1, self.k, (len(y),), generator=generator)) % self.k
        return self._mean(self.rows[y, one], self.rows[y, other]), one

    @torch.inference_mode()
    def _mean(self, one: Tensor, other: Tensor) -> Tensor:
        device, out = next(self.model.parameters()).device, []
        for pair in zip(one.split(64), other.split(64), strict=True):
            codes = [self.model.encode(self.x[side].to(device))[0] for side in pair]
            out.append(torch.sigmoid(self.model.decode((codes[0] + codes[1]) / 2)).cpu())
        return torch.cat(out)


class Writers:
    """Synthetic writers, strangers to every class, in whatever name they sign; ink ``[W, c, 1, 128, 128]``."""

    label = "fresh synthetic writers"

    def __init__(self, x: Tensor):
        self.x = x

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        writers, each = self.x.shape[:2]
        if people > writers or per_person > each:
            raise ValueError(f"{people} people with {per_person} signatures, of {writers} writers with {each}")
        return self.x[torch.randperm(writers, generator=generator)[:people], :per_person].flatten(0, 1)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return self.x[y % len(self.x), stratified(y, self.x.shape[1], generator)]

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        return self.x[torch.randint(len(self.x), (len(references),), generator=generator), 0]


class NearestWriter(_OneOfTraining):
    """The one of `writers` whose signature is nearest to the reference, in `features` of raw ink, signs instead."""

    label = "nearest synthetic writer"

    def __init__(self, train: SignatureSet, writers: Writers, features: Callable[[Tensor], np.ndarray]):
        super().__init__(train)
        self.writers, self.features = writers.x, features
        self.known_features = features(self.writers.flatten(0, 1))  # [W * c, d]

    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        return self.like(self.x[index][:, None], generator)

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        nearest = cdist(self.features(references[:, 0]), self.known_features).argmin(1) // self.writers.shape[1]
        which = torch.randint(self.writers.shape[1], (len(references),), generator=generator)
        return self.writers[torch.from_numpy(nearest), which]


def draw_writers(writers: int, folder: str | Path, seed: int = WRITERS_SEED, per_writer: int = PER_WRITER) -> Tensor:
    """Ink ``[writers, per_writer, 1, 128, 128]`` of synthetic writers, drawn once into `folder`."""
    path = Path(folder) / f"writers_{seed}_{writers}x{per_writer}.npz"
    if not path.exists():
        write_crowd(path, CrowdConfig(writers=writers, per_writer=per_writer, seed=seed))
    with np.load(path, allow_pickle=False) as archive:
        x = torch.from_numpy(archive["x"])
    return (x > 127).float().view(writers, per_writer, 1, 128, 128)


def rows_without_a_model(
    train: SignatureSet, writers: Tensor, features: Callable[[Tensor], np.ndarray], vae: VAE
) -> dict[str, object]:
    """All of them by name. `writers` as of `draw_writers`; codes are those of `vae`."""
    fresh = Writers(writers)
    return dict(
        blank=Blank(), mean_image=MeanImage(train), copies=Copies(train), warps=Warps(train),
        mean_of_two=MeanOfTwo(train, vae), nearest_writer=NearestWriter(train, fresh, features), fresh_writers=fresh,
    )  # fmt: skip


def warp_strength(images: Tensor, y: Tensor, displacements: Tensor) -> float:
    """The strength of random warps at which nearest distances match those of a person's next genuine signature.

    A warped signature is compared with all known ones of its person, a genuine one with the others only: one fewer.
    Medians fall as a power of that number, which gives the median of the next genuine signature; bisection matches it.

    Parameters
    ----------
    images, y
        Training ink uint8 ``[N, 128, 128]`` (255 = ink), and whose each is, int64 ``[N]``.
    displacements
        `registration.displacements_to_others` of each.

    Returns
    -------
    float
        In units of `augment.PERSON_WARPS`, from `NEAREST` to `FARTHEST`; 1 if nobody has two signatures.
    """
    order = y.argsort(stable=True)[:ENOUGH]
    x, y = images[order][:, None].float() / 255, y[order]
    own = y[:, None] == y
    others = own & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    if not others.any():
        return 1.0
    displacements = displacements[order]
    numbers = WARP_NUMBERS + displacements.shape[1]
    noise = torch.randn(len(x), numbers, generator=torch.Generator().manual_seed(0)).to(x.device)
    known, soft = F.avg_pool2d(x, COARSE).flatten(1), soften(x)

    def nearest_median(distances: Tensor, beside: Tensor) -> float:
        nearest = distances.masked_fill(~beside, torch.inf).amin(1)
        return nearest[nearest.isfinite()].median().item()

    between = torch.cdist(known, known)
    genuine, beside = nearest_median(between, others), others.sum(1).float().mean().item()
    falls = math.log(between[others].median() / genuine) / math.log(beside) if beside > 1.5 else FALLS
    goal, low, high = genuine * (beside / (beside + 1)) ** falls, NEAREST, FARTHEST
    for _ in range(8):  # bisection, to a hundredth
        middle = (low + high) / 2
        warped = warp_towards_others(x, displacements, PERSON_WARPS.times(middle), noise, soft)
        too_near = nearest_median(torch.cdist(F.avg_pool2d(warped, COARSE).flatten(1), known), own) < goal
        low, high = (middle, high) if too_near else (low, middle)
    return (low + high) / 2


def occurrence(y: Tensor) -> Tensor:
    """The number of each of `y` ``[n]`` among those of its person, from 0: int64 ``[n]``."""
    order, count = y.argsort(stable=True), y.bincount()
    out = torch.empty_like(order)
    out[order] = torch.arange(len(y), device=y.device) - (count.cumsum(0) - count)[y[order]]
    return out


def stratified(y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Numbers below `k` for the people `y` ``[n]``, stratified: each comes once a round, in random order."""
    turn = occurrence(y)
    rounds = (int(turn.max()) // k + 1) if len(y) else 1
    orders = torch.rand(int(y.max()) + 1 if len(y) else 0, rounds, k, device=y.device, generator=generator).argsort(2)
    return orders[y, turn // k, turn % k]
