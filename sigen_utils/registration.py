"""Registration of signatures of one person, and warps made of the displacement fields that it finds.

A random warp leads away from every signature of a person. The displacement fields from one signature to the person's
others say where the next one lies. A signature warped along a random mixture of them, extrapolated past the mean of
the others, lies among the person's signatures.

References: Rueckert et al. 1999 (registration by displacements of a coarse grid).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .augment import GRID_POINTS, WARP_NUMBERS, AugmentConfig, warp_ink
from .render import blur, exact

SIDE = 32  # pixels, at which signatures are registered
SIGMAS = (1.5, 0.75)  # blur, in those pixels: the coarse fit comes first
STEPS = 20  # of Adam at each blur
RATE = 0.8  # of Adam, in pixels of the full picture
# Weight of the mean squared difference of neighbouring displacements, per square pixel. A half or a quarter of it
# fattened and thinned the strokes of the synthetic class
STIFFNESS = 2e-3
SHARPNESS = 1.0  # of the mixture's softmax: 0 gives the mean of the others, a large value one of them
# Length of a warp, in units of the displacement to the mean of all the person's signatures. At 2 the signature is
# mirrored at that mean; shorter warps end nearer to the original than the person's next signature would
EXTRAPOLATION = 2.0


def register(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Displacement fields that map each signature of `a` onto the one of `b`.

    Parameters
    ----------
    a, b
        Ink ``[N, 1, H, H]``, 0 or 1, H a multiple of `SIDE`.

    Returns
    -------
    displacements, residual
        Displacements ``[N, 2, GRID_POINTS, GRID_POINTS]`` in pixels of `a`, to the right and down: from a pixel of the
        result to the pixel of `a` it is read from. Residual ``[N]``: the squared difference of the blurred pictures,
        divided by the sum of their squares.
    """
    size, stride = a.shape[-1], a.shape[-1] // SIDE
    with exact(a), torch.enable_grad():
        a, b = F.avg_pool2d(a.detach().float(), stride), F.avg_pool2d(b.detach().float(), stride)
        still = F.affine_grid(torch.eye(2, 3, device=a.device).expand(len(a), 2, 3), list(a.shape), align_corners=False)
        one = torch.eye(GRID_POINTS, device=a.device)[None, None]  # enlarged as in `augment`
        enlarge = F.interpolate(one, (SIDE, GRID_POINTS), mode="bicubic", align_corners=True)[0, 0]
        displacements = torch.zeros(len(a), 2, GRID_POINTS, GRID_POINTS, device=a.device, requires_grad=True)
        optimizer = torch.optim.Adam([displacements], lr=RATE, betas=(0.9, 0.9))
        for sigma in SIGMAS:
            near_a, near_b = blur(a, sigma), blur(b, sigma)
            ink = (near_a.square() + near_b.square()).sum((1, 2, 3)).clamp(min=1e-6)
            for _ in range(STEPS):
                grid = still + (enlarge @ (displacements * (2 / size)) @ enlarge.T).permute(0, 2, 3, 1)
                residual = (F.grid_sample(near_a, grid, align_corners=False) - near_b).square().sum((1, 2, 3)) / ink
                stretch = sum(displacements.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3))
                optimizer.zero_grad()
                (residual + STIFFNESS * stretch).sum().backward()
                optimizer.step()
    return displacements.detach(), residual.detach()


def displacements_to_others(x: Tensor, y: Tensor) -> Tensor:
    """`register` of every signature with all others of its person.

    Parameters
    ----------
    x, y
        Ink ``[N, 1, H, H]``, 0 or 1, and whose each is, int64 ``[N]``.

    Returns
    -------
    Tensor
        ``[N, K, 2, GRID_POINTS, GRID_POINTS]``, K + 1 the largest number of signatures of one person. The fields of a
        person with fewer signatures are repeated; those of an only signature are zero.
    """
    y = y.cpu()
    own = [torch.nonzero(y == person)[:, 0] for person in y.unique()]
    most = max(len(places) for places in own) - 1
    pairs = torch.empty(len(y), most, dtype=torch.int64)
    for places in own:
        step = 1 + torch.arange(most) % max(len(places) - 1, 1)
        pairs[places] = places[(torch.arange(len(places))[:, None] + step) % len(places)]
    out = x.new_zeros(len(y), most, 2, GRID_POINTS, GRID_POINTS)
    if most:
        source, target = torch.arange(len(y)).repeat_interleave(most).to(x.device), pairs.flatten().to(x.device)
        parts = zip(source.split(256), target.split(256), strict=True)
        out = torch.cat([register(x[one], x[other])[0] for one, other in parts]).view_as(out)
    return out


def warp_towards_others(
    x: Tensor, displacements: Tensor, config: AugmentConfig, noise: Tensor, soft: Tensor | None = None
) -> Tensor:
    """Ink warped along a random mixture of the displacement fields to the person's other signatures.

    A random warp within the ranges of `config` is added, and both are applied as one.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.
    displacements
        Of each, ``[N, K, 2, GRID_POINTS, GRID_POINTS]``, see `displacements_to_others`.
    config
        Ranges of the random warp; its ``elastic`` above 0, its ``probability`` 1.
    noise
        ``[N, WARP_NUMBERS + K]`` from N(0, I): first those of `warp_ink`, then those of the mixture. Its weights are a
        softmax of `SHARPNESS` times these, times `EXTRAPOLATION` K / (K + 1).
    soft
        `augment.soften` of `x`, where that is known.

    Returns
    -------
    Tensor
        ``[N, 1, H, W]``, 0 or 1.

    Raises
    ------
    ValueError
        If `config` has no elastic part, or leaves some signatures unwarped.
    """
    if config.elastic <= 0 or config.probability < 1:
        raise ValueError(f"warps of elastic={config.elastic:g} and probability={config.probability:g}: above 0, and 1")
    k = displacements.shape[1]
    at_random, mixture = noise.float().split([WARP_NUMBERS, k], dim=1)
    with exact(x):
        weights = EXTRAPOLATION * k / (k + 1) * torch.softmax(SHARPNESS * mixture, dim=1)
        mixed = torch.einsum("nk,nkcij->ncij", weights, displacements.float()).flatten(1)
    # The last numbers of a warp are its elastic part, in units of its standard deviation
    elastic = F.pad(mixed / config.elastic, (WARP_NUMBERS - mixed.shape[1], 0))
    return warp_ink(x, config, noise=at_random + elastic, soft=soft)
