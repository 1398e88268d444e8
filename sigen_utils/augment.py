"""Augmentation: warps of pictures, and of binary ink into binary ink, as a hand varies.

References: Simard et al. 2003 (elastic distortion); Cabral & Leedom 1993 (line integral convolution); Karras et al.
2020 (augmentation of both sides of a GAN).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from .render import blur, exact, sharpen


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly a training signature is augmented; each number is the half-width of a uniform range."""

    rotation: float = 6.0  # degrees
    scale: float = 0.10  # relative size, each axis on its own: the resized crop
    shear: float = 0.10  # horizontal shift a unit of height
    translation: float = 4.0  # pixels
    elastic: float = 2.0  # pixels, standard deviation of a smooth displacement on a 5 x 5 grid
    noise: float = 0.0  # standard deviation of Gaussian noise, clipped to valid ink
    probability: float = 0.9  # that a picture is changed at all

    def times(self, strength: float) -> AugmentConfig:
        """The same augmentation, `strength` times as strong."""
        far = ("rotation", "scale", "shear", "translation", "elastic")
        return replace(self, **{name: strength * getattr(self, name) for name in far})


# Signatures of one person differ in these proportions, and about this much where three are known of each: chosen on
# other synthetic classes. `metrics.no_model.warp_strength` finds the strength for other people
PERSON_WARPS = AugmentConfig(rotation=12.0, scale=0.25, shear=0.25, elastic=1.2, probability=1.0)

GRID_POINTS = 5  # a side of the grid of elastic displacements
WARP_NUMBERS = 7 + 2 * GRID_POINTS**2  # random numbers that decide the warp of one picture


@functools.cache
def _enlargement(size: int, device: torch.device) -> torch.Tensor:
    """Bicubic interpolation from `GRID_POINTS` points to `size` pixels as a matrix ``[size, GRID_POINTS]``."""
    identity = torch.eye(GRID_POINTS, device=device)[None, None]
    return F.interpolate(identity, (size, GRID_POINTS), mode="bicubic", align_corners=True)[0, 0]


def augment(x: torch.Tensor, config: AugmentConfig, generator: torch.Generator | None = None) -> torch.Tensor:
    """Rotate, scale, shear, shift, distort and add noise to each picture on its own; differentiable in `x`.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1]; paper is 0, and so is everything outside the picture.
    config
        Ranges.
    generator
        Source of randomness on the device of `x`.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, same dtype and device.
    """
    on, affine, bend = _warp_parameters(x, config, _warp_noise(x, generator))
    grid = _affine_grid(affine, x)
    out = _look_up(x, grid if bend is None else grid + bend)
    if config.noise:
        noise = torch.randn(out.shape, device=x.device, generator=generator, dtype=out.dtype)
        out = (out + config.noise * on[:, None, None, None] * noise).clamp(0, 1)
    return out


def shift(x: torch.Tensor, most: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Each picture shifted by whole pixels, up to `most` in each direction, which leaves edges unchanged.

    Everything outside is paper. Takes and returns ink ``[N, 1, H, W]``; differentiable in `x`.
    """
    n, _, height, width = x.shape
    by = torch.randint(-most, most + 1, (n, 2), device=x.device, generator=generator)
    affine = torch.eye(2, 3, device=x.device).repeat(n, 1, 1)
    affine[:, :, 2] = by * 2 / torch.tensor([width, height], device=x.device)
    grid = _affine_grid(affine, x).to(x.dtype)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)


# The numbers below were chosen on other synthetic classes
SOFTENED = 8192  # the most signatures whose soft pictures are kept in memory, 32 KB each
STILL = 1e-4  # in half pictures: a warp whose largest displacement is smaller is left out
STROKE = 2.0  # pixels, standard deviation of the window in which a stroke's direction is found
ALONG = 2.0  # pixels, standard deviation of the average along the stroke
STEPS = 4  # pixels that this average takes in either direction
LEVELS = 0.25, 0.7  # range of the threshold that makes a warped picture binary
INK_KEPT = 1.02  # the threshold is the one that leaves this share of the ink


@torch.no_grad()
def warp_ink(
    x: torch.Tensor,
    config: AugmentConfig,
    generator: torch.Generator | None = None,
    noise: torch.Tensor | None = None,
    soft: torch.Tensor | None = None,
) -> torch.Tensor:
    """Warp binary ink into binary ink of the same size at the same place.

    The result of `augment` is grey at every edge, and a decoder trained on it draws thin strokes as broad grey ones.
    Here the warped ink is scaled to its former longer side, put back in its place and made binary, as the extraction
    does it. So `config.translation`, and the part of `config.scale` that both axes share, have no effect.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.
    config
        Ranges; ``noise`` is not used, ink stays binary.
    generator
        Source of randomness on the device of `x`.
    noise
        ``[N, WARP_NUMBERS]`` from N(0, I) that decides the warps; drawn by the generator if None.
    soft
        `soften` of `x`, where that is known: it is the slowest part.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, 0 or 1, same dtype and device.
    """
    with exact(x):
        grid, step, far = _warp_grid(x, config, _warp_noise(x, generator) if noise is None else noise)
        warped = _look_up(soften(x) if soft is None else soft.to(x.dtype), grid)
        warped = (warped > _level(warped, INK_KEPT * x.flatten(1).sum(1) / step)).to(x.dtype)
    return torch.where((far > STILL).view(-1, 1, 1, 1), warped, x)  # without a warp, corners stay sharp


def _level(soft: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """The threshold ``[N, 1, 1, 1]``, within `LEVELS`, above which `soft` ``[N, 1, H, W]`` has `pixels` ``[N]``."""
    low, high = (torch.full_like(pixels, level) for level in LEVELS)
    for _ in range(7):  # bisection, to four thousandths
        middle = (low + high) / 2
        too_many = (soft > middle.view(-1, 1, 1, 1)).flatten(1).sum(1) > pixels
        low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
    return ((low + high) / 2).view(-1, 1, 1, 1)


@torch.no_grad()
def soften(x: torch.Tensor) -> torch.Tensor:
    """A grey picture whose threshold is the binary ink `x`, with smooth edges instead of staircases.

    A line that is not quite horizontal is a staircase in binary ink; rotated and made binary again, it has a ragged
    edge. So ink is averaged along its stroke (line integral convolution). The structure tensor gives the direction, and
    the average is weaker where directions disagree. Across the stroke the picture is sharpened, or thin strokes would
    get lost.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, somewhat below 0 to above 1, same dtype and device.
    """
    parts = x.split(32)  # more at once would fall out of a processor's cache
    with exact(x):
        return torch.cat([sharpen(_along_strokes(part), gain=3.0, sigma=0.7) for part in parts]) if len(x) else x


def soften_all(ink: Callable[[torch.Tensor], torch.Tensor], n: int) -> torch.Tensor | None:
    """`soften` of n signatures, ``ink(index)`` ``[k, 1, H, W]`` of int64 ``[k]``: ``[n, 1, H, W]`` in half precision.

    None for more than `SOFTENED` signatures, which would not fit into memory.
    """
    if n > SOFTENED:
        return None
    parts = [soften(ink(index)).half() for index in torch.arange(n).split(256)]
    with exact(parts[0]):  # mixed precision knows no way to join halves on a CPU
        return torch.cat(parts)


def _along_strokes(x: torch.Tensor) -> torch.Tensor:
    """Each pixel of `x` ``[N, 1, H, W]`` as the weighted mean of `STEPS` pixels either way along its stroke."""
    n, _, height, width = x.shape
    near = F.pad(blur(x, 0.8), [1] * 4, mode="replicate")
    rows = 3 * near[..., :-2, :] + 10 * near[..., 1:-1, :] + 3 * near[..., 2:, :]  # a Scharr operator, both ways
    columns = 3 * near[..., :-2] + 10 * near[..., 1:-1] + 3 * near[..., 2:]
    dx, dy = (rows[..., 2:] - rows[..., :-2]) / 32, (columns[..., 2:, :] - columns[..., :-2, :]) / 32
    a, b, size = blur(torch.cat([dx * dx - dy * dy, 2 * dx * dy, dx * dx + dy * dy]), STROKE).split(n)
    seen = size > 1e-6  # below there are only rounding errors, and denormal numbers are slow
    a, b = a.where(seen, 0.0), b.where(seen, 0.0)
    length = (a * a + b * b).sqrt()
    agreed = (length / size.clamp(min=1e-6)).clamp(max=1).square()
    # The field holds twice the angle of the gradient, whose sign means nothing
    field = torch.cat([x, a / length.clamp(min=1e-6), b / length.clamp(min=1e-6), agreed], 1)

    def tangent(field: torch.Tensor) -> torch.Tensor:
        """Half the field's angle plus a quarter turn, as a unit vector."""
        cos, sin = field[:, 1:2], field[:, 2:3]
        cos = cos / (cos * cos + sin * sin).sqrt().clamp(min=1e-6)
        half_sin, half_cos = (((1 + sign * cos).clamp(min=0) / 2).sqrt() for sign in (-1, 1))
        return torch.cat([-torch.copysign(half_sin, sin), half_cos], 1)

    still = _affine_grid(torch.eye(2, 3, device=x.device).expand(n, 2, 3), x)
    pixel = 2 / torch.tensor([width, height], device=x.device)
    total, weights = x.clone(), torch.ones_like(x)
    for sign in (1.0, -1.0):
        place, ahead, trust = still, sign * tangent(field), agreed
        for k in range(1, STEPS + 1):
            place = place + ahead.permute(0, 2, 3, 1) * pixel
            here = F.grid_sample(field, place, mode="bilinear", padding_mode="border", align_corners=False)
            step = tangent(here)
            ahead = torch.where((step * ahead).sum(1, keepdim=True) < 0, -step, step)
            trust = torch.minimum(trust, here[:, 3:])
            weight = math.exp(-0.5 * (k / ALONG) ** 2) * trust
            total, weights = total + weight * here[:, :1], weights + weight
    return total / weights


def _warp_grid(
    x: torch.Tensor, config: AugmentConfig, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sampling grid of `warp_ink` ``[N, H, W, 2]``, its pixel size ``[N]``, its largest displacement ``[N]``."""
    _, affine, bend = _warp_parameters(x, config, noise)
    still = _affine_grid(torch.eye(2, 3, device=x.device).expand(len(x), 2, 3), x)
    back = torch.linalg.inv_ex(affine[:, :, :2])[0].mT  # of row vectors; without a wait for the device

    def bent(at: torch.Tensor) -> torch.Tensor:
        """The elastic displacement at the points `at` ``[N, H, W, 2]``; outside the frame that of its edge."""
        if bend is None:
            return torch.zeros_like(at)
        found = F.grid_sample(bend.permute(0, 3, 1, 2), at, padding_mode="border", align_corners=False)
        return found.permute(0, 2, 3, 1)

    # The grid maps points of the result to points of `x`. Its inverse says where ink goes: two fixed-point steps are
    # enough, as elastic displacements are small
    shifted = (still - affine[:, None, None, :, 2]).flatten(1, 2)
    place = shifted @ back
    place = (shifted - bent(place.view_as(still)).flatten(1, 2)) @ back
    (low, high), (new_low, new_high) = (_box(x, where) for where in (still, place.view_as(still)))
    scale = ((new_high - new_low).amax(1) / (high - low).amax(1).clamp(min=1 / x.shape[-1])).view(-1, 1, 1, 1)
    scale = scale.clamp(0.5, 2.0)  # near 1 for ink; an empty picture has no size
    middle, new_middle = ((a + b).view(-1, 1, 1, 2) / 2 for a, b in ((low, high), (new_low, new_high)))
    place = new_middle + scale * (still - middle)
    grid = (place.flatten(1, 2) @ affine[:, :, :2].mT).view_as(still) + affine[:, None, None, :, 2] + bent(place)
    step = scale.view(-1) * torch.linalg.matrix_norm(affine[:, :, :2]) / 2**0.5  # root mean square of both axes
    return grid, step, (grid - still).abs().amax((1, 2, 3))


def _warp_noise(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    return torch.randn(len(x), WARP_NUMBERS, device=x.device, generator=generator)


def _warp_parameters(
    x: torch.Tensor, config: AugmentConfig, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Whether each picture is warped ``[N]``, its affine part ``[N, 2, 3]``, its elastic part ``[N, H, W, 2]`` or None.

    In the units of `torch.nn.functional.grid_sample`, from points of the result to points of `x`. The distribution
    function of `noise` ``[N, WARP_NUMBERS]`` turns it into uniform numbers.
    """
    n, _, height, width = x.shape
    noise, bend = noise.float().split([7, 2 * GRID_POINTS**2], dim=1)
    even = torch.erf(noise / 2**0.5).unbind(1)  # in (-1, 1)
    on = ((even[0] + 1) / 2 < config.probability).float()
    angle = even[1] * on * config.rotation * (torch.pi / 180)
    scale_x, scale_y = (1 + e * on * config.scale for e in even[2:4])
    shear, shift_x, shift_y = even[4] * on * config.shear, *(e * on * config.translation * 2 / width for e in even[5:7])
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [cos / scale_x, (shear * cos - sin) / scale_x, shift_x]
    rows += [sin / scale_y, (shear * sin + cos) / scale_y, shift_y]
    affine = torch.stack(rows, 1).reshape(n, 2, 3)
    if not config.elastic:
        return on, affine, None
    bend = bend.reshape(n, 2, GRID_POINTS, GRID_POINTS) * on[:, None, None, None]
    # Bicubic interpolation as two small matrix products: many times faster than the library call
    down, across = _enlargement(height, x.device), _enlargement(width, x.device)
    bend = down @ (bend * (config.elastic * 2 / width)) @ across.T
    return on, affine, bend.permute(0, 2, 3, 1)


def _affine_grid(affine: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The sampling grid ``[N, H, W, 2]`` in [-1, 1] of affine warps ``[N, 2, 3]`` of `x` ``[N, 1, H, W]``."""
    return F.affine_grid(affine, list(x.shape), align_corners=False)


def _look_up(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def _box(x: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest coordinates, each ``[N, 2]``, of the points ``[N, H, W, 2]`` that are ink; 0 without ink."""
    paper = x[:, 0, :, :, None] < 0.5
    low = place.masked_fill(paper, torch.inf).amin((1, 2))
    high = place.masked_fill(paper, -torch.inf).amax((1, 2))
    return torch.where(low.isinf(), 0.0, low), high.nan_to_num(neginf=0.0)
