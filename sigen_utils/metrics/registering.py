"""Registration of one signature onto another: an affine map first, then a free-form bend, coarse to fine.

The copy test (`copy_test`) asks what is left over after it. No training, sampler or baseline uses this code, so no
augmentation is tuned against it. It is Gauss-Newton for the six numbers of the affine map, and gradient descent with
momentum for the displacements of grids of 4, 7 and 10 control points a side.

References: Lucas & Kanade 1981 (Gauss-Newton on grey values); Rueckert et al. 1999 (free-form deformations).
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

# Side of the pictures, blur in their pixels, iterations. What is far apart is found while the blur is wide
AFFINE = ((32, 2.5, 8), (32, 1.2, 8))
# The same, and control points a side: each level begins with the displacements of the one before
FREE_FORM = ((32, 1.5, 4, 15), (32, 0.8, 7, 15), (64, 1.0, 10, 20))
RATE = 0.04  # of a step of free-form descent, in half-widths of the picture at the first level
STIFFNESS = 0.02  # weight of squared second differences of the displacements against the misfit
DAMPING = 1e-3  # Levenberg-Marquardt, as a share of the diagonal
BLUR = 1.0  # pixels of 128, before what is left over is measured
BATCH = 128


def version() -> str:
    """Twelve hex digits that change with this code: numbers of another version are not to be mixed with its own."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def misfit(moving: Tensor, fixed: Tensor) -> Tensor:
    """What registration leaves over of each pair.

    Parameters
    ----------
    moving, fixed
        Ink ``[N, 1, H, H]`` in [0, 1], H a multiple of 64. `moving` is deformed until it lies on `fixed`.

    Returns
    -------
    Tensor
        float32 ``[N]`` in [0, 1] or little above: the squared difference of the slightly blurred pictures, over the sum
        of their squares. 0 for a deformed copy, 1 where nothing overlaps or one of them is blank.
    """
    parts = zip(moving.split(BATCH), fixed.split(BATCH), strict=True)
    return torch.cat([_misfit(a.float(), b.float()) for a, b in parts]) if len(moving) else moving.new_zeros(0)


@torch.no_grad()
def _misfit(moving: Tensor, fixed: Tensor) -> Tensor:
    warped = warp(moving, *register(moving, fixed))
    a, b = (_blurred(x, BLUR) for x in (warped, fixed))
    ink = (a.square() + b.square()).sum((1, 2, 3))
    left = (a - b).square().sum((1, 2, 3))
    return torch.where(ink > 1e-6, left / ink.clamp(min=1e-6), torch.ones_like(ink))


@torch.no_grad()
def register(moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
    """The deformation that lays `moving` onto `fixed`, both ink ``[N, 1, H, H]``.

    Returns
    -------
    affine, bend
        ``[N, 2, 3]`` and displacements of control points ``[N, 2, K, K]`` (right, down), both in half-widths of the
        picture: the place x of the result is looked up at ``affine (x + bend(x))``.
    """
    affine = torch.eye(2, 3).to(moving).repeat(len(moving), 1, 1)
    for side, sigma, steps in AFFINE:
        a, b = (_blurred(F.adaptive_avg_pool2d(x, side), sigma) for x in (moving, fixed))
        affine = _fit_affine(_with_slopes(a), b, affine, steps)
    bend, rate = moving.new_zeros(len(moving), 2, FREE_FORM[0][2], FREE_FORM[0][2]), RATE
    for side, sigma, points, steps in FREE_FORM:
        a, b = (_blurred(F.adaptive_avg_pool2d(x, side), sigma) for x in (moving, fixed))
        if bend.shape[-1] != points:
            bend = F.interpolate(bend, (points, points), mode="bicubic", align_corners=True)
        bend = _fit_bend(_with_slopes(a), b, affine, bend, steps, rate)
        rate /= 2
    return affine, bend


def warp(x: Tensor, affine: Tensor, bend: Tensor) -> Tensor:
    """Pictures ``[N, C, H, H]`` deformed as `register` says; what comes in from outside is paper."""
    return F.grid_sample(x, _grid(affine, bend, x.shape[-1])[0], align_corners=False)


def _fit_affine(a: Tensor, b: Tensor, affine: Tensor, steps: int) -> Tensor:
    """Gauss-Newton for the six numbers; a step that makes the misfit worse is taken back and shortened."""
    place = _places(b.shape[-1], b).flatten(1).T  # [P, 2]
    corner = torch.cat([place, torch.ones_like(place[:, :1])], 1)  # [P, 3]
    best, least = affine, torch.full((len(a),), torch.inf, device=a.device)
    length = torch.ones_like(least)
    step = torch.zeros_like(affine)
    for _ in range(steps + 1):
        now = best + length[:, None, None] * step
        at = torch.einsum("pk,nik->npi", corner, now)[:, None]  # [N, 1, P, 2]
        value, right, down = F.grid_sample(a, at, align_corners=False)[:, :, 0].unbind(1)  # [N, P] each
        difference = b.flatten(1) - value
        left = difference.square().sum(1)
        better = left < least
        best = torch.where(better[:, None, None], now, best)
        length = torch.where(better, torch.ones_like(length), length / 3)
        if better.any():
            jacobian = torch.cat([right[..., None] * corner, down[..., None] * corner], 2)  # [N, P, 6]
            normal = jacobian.mT @ jacobian
            diagonal = normal.diagonal(dim1=1, dim2=2)
            normal = normal + torch.diag_embed(DAMPING * diagonal + 1e-6)
            new = torch.linalg.solve(normal, (jacobian.mT @ difference[..., None]))[..., 0].unflatten(1, (2, 3))
            step = torch.where(better[:, None, None], new, step)
        least = torch.where(better, left, least)
    return best


def _fit_bend(a: Tensor, b: Tensor, affine: Tensor, bend: Tensor, steps: int, rate: float) -> Tensor:
    """Adam on the control points, with the gradient by hand: the residual times the slope, gathered by each point."""
    side, points = b.shape[-1], bend.shape[-1]
    spread = _spread(side, points).to(b)  # [side, points]
    ink = (a[:, :1].square() + b.square()).sum((1, 2, 3)).clamp(min=1e-6)
    mean, power = torch.zeros_like(bend), torch.zeros_like(bend)
    for step in range(1, steps + 1):
        grid, turn = _grid(affine, bend, side)
        value, slopes = F.grid_sample(a, grid, align_corners=False).split([1, 2], 1)
        pull = (2 / ink)[:, None, None, None] * (value - b) * slopes  # [N, 2, side, side], by the looked-up place
        pull = torch.einsum("nij,nihw->njhw", turn, pull)  # by the displacement, which the affine map turns
        gradient = spread.T @ pull @ spread + STIFFNESS * _bending(bend)
        mean = 0.8 * mean + 0.2 * gradient
        power = 0.95 * power + 0.05 * gradient.square().mean((1, 2, 3), keepdim=True)
        size = (power / (1 - 0.95**step)).sqrt() + 1e-12
        bend = bend - rate * (1 - step / (steps + 1)) * (mean / (1 - 0.8**step)) / size / 3
    return bend


def _bending(bend: Tensor) -> Tensor:
    """Gradient of half the squared second differences of the control points along both axes."""
    out = torch.zeros_like(bend)
    for axis in (2, 3):
        second = bend.diff(n=2, dim=axis)
        low, high = (0, 0, 0, 2), (0, 0, 2, 0)
        middle = (0, 0, 1, 1)
        if axis == 3:
            low, high, middle = low[2:] + low[:2], high[2:] + high[:2], middle[2:] + middle[:2]
        out = out + F.pad(second, low) + F.pad(second, high) - 2 * F.pad(second, middle)
    return out


def _grid(affine: Tensor, bend: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where each place of the result is looked up ``[N, side, side, 2]``, and the affine map's matrix ``[N, 2, 2]``."""
    spread = _spread(side, bend.shape[-1]).to(bend)
    moved = _places(side, bend) + spread @ bend @ spread.T  # [N, 2, side, side]
    turn = affine[:, :, :2]
    return torch.einsum("nij,njhw->nhwi", turn, moved) + affine[:, None, None, :, 2], turn


def _with_slopes(x: Tensor) -> Tensor:
    """Pictures ``[N, 1, H, H]`` and their slopes to the right and down a half-width: ``[N, 3, H, H]``."""
    half = x.shape[-1] / 2
    padded = F.pad(x, (1, 1, 1, 1))
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return torch.cat([x, half * right, half * down], 1)


def _places(side: int, like: Tensor) -> Tensor:
    """Centres of pixels (right, down) in half-widths from the middle: ``[2, side, side]``."""
    line = (torch.arange(side, dtype=like.dtype, device=like.device) * 2 + 1) / side - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"))


@functools.cache
def _spread(side: int, points: int) -> Tensor:
    """Cubic B-spline weights of `points` control points at `side` pixels ``[side, points]``; rows sum to one."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / side * (points - 3)  # in spacings, from the second point
    offset = (place[:, None] - (torch.arange(points) - 1)).abs()
    near = 2 / 3 - offset**2 + offset**3 / 2
    weights = torch.where(offset < 1, near, (2 - offset).clamp(min=0) ** 3 / 6)
    return (weights / weights.sum(1, keepdim=True)).float()


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of pictures ``[N, 1, H, H]`` by two matrix products; beyond the frame is paper."""
    matrix = _gauss(x.shape[-1], sigma).to(x)
    return matrix @ x @ matrix


@functools.cache
def _gauss(side: int, sigma: float) -> Tensor:
    line = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((line[:, None] - line) / sigma) ** 2) / (sigma * (2 * torch.pi) ** 0.5)
    return weights.float()
