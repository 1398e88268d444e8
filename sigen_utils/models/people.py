"""Stored training signatures of the people that a model can sign as, warped for every sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augment import GRID_POINTS, PERSON_WARPS, SOFTENED, WARP_NUMBERS, AugmentConfig, soften, soften_all, warp_ink
from ..registration import displacements_to_others, warp_towards_others

SIDE = 128  # pixels
COARSE = 4  # pixels: signatures are compared as ink averaged over squares of this side
NEAREST = 0.01  # times `PERSON_WARPS`: the least elastic part that `registration.warp_towards_others` accepts
FARTHEST = 1.6  # times `PERSON_WARPS`: beyond it signatures look like another person's
ENOUGH = 600  # signatures are enough to estimate the warp strength
FALLS = 0.09  # exponent of the fall of nearest distances with the number of signatures, if it cannot be measured


def warp_strength(images: Tensor, y: Tensor, ways: Tensor | None = None) -> float:
    """The strength of random warps at which nearest distances match those of a person's next genuine signature.

    A warped signature is compared with all known ones of its person, a genuine one with the others only. With one more
    to compare with it would be nearer: medians fall as a power of the number, on the synthetic class as on CEDAR. That
    gives the median of the next genuine signature, and the strength is chosen by bisection to match it.

    Parameters
    ----------
    images, y
        Training ink uint8 ``[N, 128, 128]`` (255 = ink), and whose each is, int64 ``[N]``.
    ways
        `registration.displacements_to_others` of each, if warps follow them too.

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
    ways = None if ways is None else ways[order]
    numbers = WARP_NUMBERS + (0 if ways is None else ways.shape[1])
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
        moved = warp(x, ways, PERSON_WARPS.times(middle), noise, soft)
        too_near = nearest_median(torch.cdist(F.avg_pool2d(moved, COARSE).flatten(1), known), own) < goal
        low, high = (middle, high) if too_near else (low, middle)
    return (low + high) / 2


def occurrence(y: Tensor) -> Tensor:
    """The number of each of `y` ``[n]`` among those of its person, from 0: int64 ``[n]``."""
    order, count = y.argsort(stable=True), y.bincount()
    out = torch.empty_like(order)
    out[order] = torch.arange(len(y), device=y.device) - (count.cumsum(0) - count)[y[order]]
    return out


def in_turn(y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Numbers below `k` for the people `y` ``[n]``, stratified: each comes once a round, in random order."""
    turn = occurrence(y)
    rounds = (int(turn.max()) // k + 1) if len(y) else 1
    orders = torch.rand(int(y.max()) + 1 if len(y) else 0, rounds, k, device=y.device, generator=generator).argsort(2)
    return orders[y, turn // k, turn % k]


def warp(x: Tensor, ways: Tensor | None, config: AugmentConfig, noise: Tensor, soft: Tensor | None) -> Tensor:
    """`registration.warp_towards_others` of the parameters, or `augment.warp_ink` where no `ways` are known."""
    if ways is None:
        return warp_ink(x, config, noise=noise, soft=soft)
    return warp_towards_others(x, ways, config, noise, soft)


class Signatures(nn.Module):
    """Some training signatures of each person, one bit a pixel, stored with a model's weights.

    They are warped before they are encoded, so ink is stored and not codes. The displacement fields (`ways`) from each
    to the others of its person are stored too.

    Parameters
    ----------
    n_people, exemplars
        People, and signatures of each.
    """

    def __init__(self, n_people: int, exemplars: int):
        super().__init__()
        self.register_buffer("packed", torch.zeros(n_people, exemplars, SIDE**2 // 8, dtype=torch.uint8))
        ways = torch.zeros(n_people, exemplars, exemplars - 1, 2, GRID_POINTS, GRID_POINTS, dtype=torch.float16)
        self.register_buffer("ways", ways)
        self.register_buffer("reach", torch.ones(()))
        self._soft: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.forget_soft())

    def forget_soft(self) -> None:
        """Clear the cache of `soft`, as the signatures have changed."""
        self._soft = None

    def soft(self) -> Tensor | None:
        """`augment.soften` of all signatures ``[n_people, exemplars, 1, 128, 128]``, cached, in half precision.

        None for many people, see `augment.soften_all`.
        """
        if self._soft is None or self._soft.device != self.packed.device:
            packed = self.packed.flatten(0, 1)
            soft = soften_all(lambda index: self._unpack(packed[index]), len(packed))
            self._soft = None if soft is None else soft.unflatten(0, self.packed.shape[:2])
        return self._soft

    def _unpack(self, packed: Tensor) -> Tensor:
        """Ink ``[n, 1, 128, 128]`` of bits ``[n, 2048]``."""
        bits = packed[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=packed.device)
        return (bits & 1).flatten(1).unflatten(1, (1, SIDE, SIDE)).float()

    @property
    def exemplars(self) -> int:
        """Signatures of each person."""
        return self.packed.shape[1]

    @property
    def numbers(self) -> int:
        """Random numbers that warp a signature."""
        return WARP_NUMBERS + self.ways.shape[2]

    @property
    def moves(self) -> AugmentConfig:
        """Ranges of the random warps for these people."""
        return PERSON_WARPS.times(float(self.reach))

    @torch.no_grad()
    def remember(self, images: Tensor, y: Tensor) -> None:
        """Store the first signatures of each person, their displacement fields, and the warp strength (`reach`).

        Signatures of a person with fewer than `exemplars` are repeated; a person without any is blank paper. A corpus
        has too many people for displacement fields.

        `images` is ink uint8 ``[N, 128, 128]`` (255 = ink), binary, and `y` whose each is, int64 ``[N]``.
        """
        n_people, k, _ = self.packed.shape
        order, count = y.argsort(stable=True), y.bincount(minlength=n_people)
        begin = count.cumsum(0) - count
        place = begin[:, None] + torch.arange(k, device=y.device) % count.clamp(min=1)[:, None]  # [n_people, k]
        ink = (images > 127)[order[place.clamp(max=len(y) - 1)]] & (count > 0)[:, None, None, None]
        bits = ink.flatten(2).unflatten(2, (-1, 8)).to(torch.uint8)
        ways = None
        if len(y) <= SOFTENED and k > 1:
            ways = displacements_to_others((images > 127)[:, None].float(), y)
            repeated = torch.arange(k - 1, device=y.device) % max(ways.shape[1], 1)
            known = ways[place.clamp(max=len(y) - 1)] * (count > 0).view(-1, 1, 1, 1, 1, 1)
            self.ways.copy_(known[:, :, repeated] if ways.shape[1] else 0.0)
        self.reach.fill_(warp_strength(images, y, ways))
        self.packed.copy_((bits << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(3))
        self.forget_soft()

    def forward(
        self, y: Tensor, which: Tensor | int, noise: Tensor | None = None, moves: AugmentConfig | None = None
    ) -> Tensor:
        """Signatures number `which` of the people `y`, ink ``[n, 1, 128, 128]``.

        Parameters
        ----------
        y
            Person indices int64 ``[n]``.
        which
            Below `exemplars`, one for all or int64 ``[n]``.
        noise
            ``[n, numbers]`` from N(0, I): warps them, see `registration.warp_towards_others`. None leaves them as they
            are.
        moves
            Ranges of the random warps; `augment.PERSON_WARPS` times `reach` by default.
        """
        x = self._unpack(self.packed[y, which])
        if noise is None:
            return x
        soft = self.soft()
        soft = None if soft is None else soft[y, which]
        return warp_towards_others(x, self.ways[y, which], moves or self.moves, noise, soft)
