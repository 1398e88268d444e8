"""What a model remembers of the people it can sign as: their training signatures, as ink."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .moves import MOVE_NUMBERS, PERSON_MOVES, AugmentConfig, move_ink, soften, soften_all

SIDE = 128  # pixels
COARSE = 4  # pixels: what signatures are compared by is ink averaged over squares of this side
FARTHEST = 1.6  # times `PERSON_MOVES`: beyond that signatures are no longer read as the same
ENOUGH = 600  # signatures tell how far to move
FALLS = 0.09  # exponent by which a signature's newness falls with the number known, where that cannot be measured


def reach(images: Tensor, y: Tensor) -> float:
    """How far moves have to go for a moved signature to be as new as the person's own next one.

    How new a signature is: how far it lies from the nearest one known of the person. A moved one is compared with all
    of them; a genuine one can only be compared with the others, and with one more it would be a little nearer. Medians
    fall with the number known as a power of it, those of the synthetic class as those of CEDAR's people, which gives
    the next one's. The reach makes a moved one's median equal to that.

    Parameters
    ----------
    images, y
        Training ink uint8 ``[N, 128, 128]`` (255 = ink), and whose each is, int64 ``[N]``.

    Returns
    -------
    float
        In units of `moves.PERSON_MOVES`, from 0 to `FARTHEST`; 1 where nobody has two signatures.
    """
    order = y.argsort(stable=True)[:ENOUGH]
    x, y = images[order][:, None].float() / 255, y[order]
    own = y[:, None] == y
    others = own & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    if not others.any():
        return 1.0
    noise = torch.randn(len(x), MOVE_NUMBERS, generator=torch.Generator().manual_seed(0)).to(x.device)
    known, soft = F.avg_pool2d(x, COARSE).flatten(1), soften(x)

    def newness(distances: Tensor, beside: Tensor) -> float:
        nearest = distances.masked_fill(~beside, torch.inf).amin(1)
        return nearest[nearest.isfinite()].median().item()

    between = torch.cdist(known, known)
    genuine, beside = newness(between, others), others.sum(1).float().mean().item()
    falls = math.log(between[others].median() / genuine) / math.log(beside) if beside > 1.5 else FALLS
    goal, low, high = genuine * (beside / (beside + 1)) ** falls, 0.0, FARTHEST
    for _ in range(8):  # halves: to a hundredth
        middle = (low + high) / 2
        moved = move_ink(x, PERSON_MOVES.times(middle), noise=noise, soft=soft)
        too_near = newness(torch.cdist(F.avg_pool2d(moved, COARSE).flatten(1), known), own) < goal
        low, high = (middle, high) if too_near else (low, middle)
    return (low + high) / 2


class Signatures(nn.Module):
    """Some signatures of each person, a bit a pixel, which travel with a model's weights.

    Ink and not codes: a signature can be moved in ever new ways before it is encoded, while codes of some moves would
    be a list, and samples of a person entries of it.

    Parameters
    ----------
    n_people, exemplars
        People, and signatures of each.
    """

    def __init__(self, n_people: int, exemplars: int):
        super().__init__()
        self.register_buffer("packed", torch.zeros(n_people, exemplars, SIDE**2 // 8, dtype=torch.uint8))
        self.register_buffer("reach", torch.ones(()))
        self._soft: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.forget_soft())

    def forget_soft(self) -> None:
        """What was kept of `soft` is of other signatures now."""
        self._soft = None

    def soft(self) -> Tensor | None:
        """`moves.soften` of all signatures ``[n_people, exemplars, 1, 128, 128]``, made once, in half precision.

        None of a crowd's, see `moves.soften_all`.
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
    def moves(self) -> AugmentConfig:
        """How far signatures of these people are moved."""
        return PERSON_MOVES.times(float(self.reach))

    @torch.no_grad()
    def remember(self, images: Tensor, y: Tensor) -> None:
        """Keep the first signatures of each person, and their `reach`.

        Whoever has fewer than `exemplars` repeats them; who has none is blank paper.

        `images` is ink uint8 ``[N, 128, 128]`` (255 = ink), binary, and `y` whose each is, int64 ``[N]``.
        """
        n_people, k, _ = self.packed.shape
        order, count = y.argsort(stable=True), y.bincount(minlength=n_people)
        begin = count.cumsum(0) - count
        place = begin[:, None] + torch.arange(k, device=y.device) % count.clamp(min=1)[:, None]  # [n_people, k]
        ink = (images > 127)[order[place.clamp(max=len(y) - 1)]] & (count > 0)[:, None, None, None]
        bits = ink.flatten(2).unflatten(2, (-1, 8)).to(torch.uint8)
        self.reach.fill_(reach(images, y))
        self.packed.copy_((bits << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(3))
        self.forget_soft()

    def forward(self, y: Tensor, which: Tensor | int, noise: Tensor | None = None) -> Tensor:
        """Signatures number `which` of the people `y`, ink ``[n, 1, 128, 128]``.

        Parameters
        ----------
        y
            Person indices int64 ``[n]``.
        which
            Below `exemplars`, one for all or int64 ``[n]``.
        noise
            ``[n, moves.MOVE_NUMBERS]`` from N(0, I): moves them by `moves.PERSON_MOVES` times `reach`. None leaves them
            as they are.
        """
        x = self._unpack(self.packed[y, which])
        if noise is None:
            return x
        soft = self.soft()
        return move_ink(x, self.moves, noise=noise, soft=None if soft is None else soft[y, which])
