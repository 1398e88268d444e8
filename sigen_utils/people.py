"""What a model remembers of the people it can sign as: their training signatures, as ink."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .data import PERSON_MOVES, move_ink

SIDE = 128  # pixels


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

    @property
    def exemplars(self) -> int:
        """Signatures of each person."""
        return self.packed.shape[1]

    @torch.no_grad()
    def remember(self, images: Tensor, y: Tensor) -> None:
        """Keep the first signatures of each person; whoever has fewer repeats them, without any: blank paper.

        `images` is ink uint8 ``[N, 128, 128]`` (255 = ink), binary, and `y` whose each is, int64 ``[N]``.
        """
        n_people, k, _ = self.packed.shape
        order, count = y.argsort(stable=True), y.bincount(minlength=n_people)
        begin = count.cumsum(0) - count
        place = begin[:, None] + torch.arange(k, device=y.device) % count.clamp(min=1)[:, None]  # [n_people, k]
        ink = (images > 127)[order[place.clamp(max=len(y) - 1)]] & (count > 0)[:, None, None, None]
        bits = ink.flatten(2).unflatten(2, (-1, 8)).to(torch.uint8)
        self.packed.copy_((bits << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(3))

    def forward(self, y: Tensor, which: Tensor | int, noise: Tensor | None = None) -> Tensor:
        """Signatures number `which` of the people `y`, ink ``[n, 1, 128, 128]``.

        Parameters
        ----------
        y
            Person indices int64 ``[n]``.
        which
            Below `exemplars`, one for all or int64 ``[n]``.
        noise
            ``[n, data.MOVE_NUMBERS]`` from N(0, I): moves them by `data.PERSON_MOVES`. None leaves them as they are.
        """
        bits = self.packed[y, which][:, :, None] >> torch.arange(8, dtype=torch.uint8, device=self.packed.device)
        x = (bits & 1).flatten(1).unflatten(1, (1, SIDE, SIDE)).float()
        return x if noise is None else move_ink(x, PERSON_MOVES, noise=noise)
