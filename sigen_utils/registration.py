"""How a person's signature becomes another one of the same person, and moves made of that.

A move drawn at random leads away from every signature of its person. What leads from one signature to the others is
told by these: each is registered with each, and one that is moved along a mixture of its ways to the others, past the
mean of all of them to the other side, lies among them, as the person's next one would.

References: Rueckert et al. 1999 (registration by displacements of a coarse grid).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .augment import BEND_POINTS, MOVE_NUMBERS, AugmentConfig, move_ink
from .render import blur, exact

SIDE = 32  # pixels, at which signatures are registered
SIGMAS = (1.5, 0.75)  # of those pixels: what is far is found first
STEPS = 20  # of Adam at each, ...
RATE = 0.8  # ... in pixels of the whole picture
STIFFNESS = 2e-3  # weight of the mean squared difference of neighbouring displacements, a square pixel.
# A grid of a half or a quarter of it fattened and thinned the strokes of the synthetic class
SHARPNESS = 1.0  # of a mixture of ways: 0 leads to the mean of the others, much leads to one of them
# Times the way to the mean of all signatures of the person, this one among them: at 2 what sets it apart from the mean
# is mirrored there. Shorter ways end nearer to where they begin than a person's next signature would be
PAST = 2.0


def register(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Displacements by which each signature of `a` comes to lie on the one of `b`.

    Parameters
    ----------
    a, b
        Ink ``[N, 1, H, H]``, 0 or 1, H a multiple of `SIDE`.

    Returns
    -------
    ways, left
        Displacements ``[N, 2, BEND_POINTS, BEND_POINTS]``, in pixels of `a`: from a place of the result to the place
        to look at, to the right and down. And the squared difference of the blurred pictures that is left ``[N]``, as a
        share of what they have in ink.
    """
    size, stride = a.shape[-1], a.shape[-1] // SIDE
    with exact(a), torch.enable_grad():
        a, b = F.avg_pool2d(a.detach().float(), stride), F.avg_pool2d(b.detach().float(), stride)
        still = F.affine_grid(torch.eye(2, 3, device=a.device).expand(len(a), 2, 3), list(a.shape), align_corners=False)
        one = torch.eye(BEND_POINTS, device=a.device)[None, None]  # the grid becomes the picture's as in `moves`
        spread = F.interpolate(one, (SIDE, BEND_POINTS), mode="bicubic", align_corners=True)[0, 0]
        ways = torch.zeros(len(a), 2, BEND_POINTS, BEND_POINTS, device=a.device, requires_grad=True)
        optimizer = torch.optim.Adam([ways], lr=RATE, betas=(0.9, 0.9))
        for sigma in SIGMAS:
            near_a, near_b = blur(a, sigma), blur(b, sigma)
            ink = (near_a.square() + near_b.square()).sum((1, 2, 3)).clamp(min=1e-6)
            for _ in range(STEPS):
                grid = still + (spread @ (ways * (2 / size)) @ spread.T).permute(0, 2, 3, 1)
                left = (F.grid_sample(near_a, grid, align_corners=False) - near_b).square().sum((1, 2, 3)) / ink
                stretch = sum(ways.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3))
                optimizer.zero_grad()
                (left + STIFFNESS * stretch).sum().backward()
                optimizer.step()
    return ways.detach(), left.detach()


def ways_to_others(x: Tensor, y: Tensor) -> Tensor:
    """`register` of every signature with all others of its person.

    Parameters
    ----------
    x, y
        Ink ``[N, 1, H, H]``, 0 or 1, and whose each is, int64 ``[N]``.

    Returns
    -------
    Tensor
        ``[N, K, 2, BEND_POINTS, BEND_POINTS]``, K one less than the most that somebody has. Whoever has fewer repeats
        them; the only signature of a person stays where it is.
    """
    y = y.cpu()
    own = [torch.nonzero(y == person)[:, 0] for person in y.unique()]
    most = max(len(places) for places in own) - 1
    pairs = torch.empty(len(y), most, dtype=torch.int64)
    for places in own:
        step = 1 + torch.arange(most) % max(len(places) - 1, 1)
        pairs[places] = places[(torch.arange(len(places))[:, None] + step) % len(places)]
    ways = x.new_zeros(len(y), most, 2, BEND_POINTS, BEND_POINTS)
    if most:
        source, target = torch.arange(len(y)).repeat_interleave(most).to(x.device), pairs.flatten().to(x.device)
        parts = zip(source.split(256), target.split(256), strict=True)
        ways = torch.cat([register(x[one], x[other])[0] for one, other in parts]).view_as(ways)
    return ways


def move_among(x: Tensor, ways: Tensor, config: AugmentConfig, noise: Tensor, soft: Tensor | None = None) -> Tensor:
    """Ink moved by a mixture of its ways to other signatures of the person, and by `config` besides, as one move.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.
    ways
        Of each, ``[N, K, 2, BEND_POINTS, BEND_POINTS]``, see `ways_to_others`.
    config
        Ranges of the moves at random, its ``elastic`` above 0 and of ``probability`` 1.
    noise
        ``[N, MOVE_NUMBERS + K]`` from N(0, I): of `move_ink`, then of the mixture, whose weights are a softmax of
        `SHARPNESS` times these, times `PAST` K / (K + 1).
    soft
        `augment.soften` of `x`, where that is known.

    Returns
    -------
    Tensor
        ``[N, 1, H, W]``, 0 or 1.

    Raises
    ------
    ValueError
        If `config` bends nothing, or leaves some signatures where they are.
    """
    if config.elastic <= 0 or config.probability < 1:
        raise ValueError(f"moves of elastic={config.elastic:g} and probability={config.probability:g}: above 0, and 1")
    move, mixture = noise.float().split([MOVE_NUMBERS, ways.shape[1]], dim=1)
    far = PAST * ways.shape[1] / (ways.shape[1] + 1)
    with exact(x):
        share = far * torch.softmax(SHARPNESS * mixture, dim=1)
        way = torch.einsum("nk,nkcij->ncij", share, ways.float()).flatten(1)
    still = MOVE_NUMBERS - way.shape[1]  # where `moves` keeps the bend, in units of its standard deviation
    return move_ink(x, config, noise=move + F.pad(way / config.elastic, (still, 0)), soft=soft)
