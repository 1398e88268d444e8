"""Rendering: a model's grey output made binary and drawn with anti-aliased edges, as a pen leaves ink on paper.

Every model and the genuine signatures are shown and scored through `render`.

Reference: Canny 1986 (hysteresis).
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F

INK = 0.85  # threshold of sharpened grey
LINK = 0.3  # lower threshold, for pixels that connect two pieces of ink


def sharpen(x: torch.Tensor, gain: float = 4.0, sigma: float = 2.0) -> torch.Tensor:
    """Grey ink with more contrast to its surroundings, so that the threshold `INK` separates ink from paper.

    A model that is unsure about a stroke's position paints it paler and wider than it is: below one half where strokes
    are thin, above one half between two close ones. A stroke is darker than its surroundings, hence
    x + gain (x - blurred x). Binary ink keeps every threshold between 0 and 1. `INK` lies above one half because a
    stroke of uncertain position is wide.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1].
    gain, sigma
        Weight of the contrast, and standard deviation of the blur in pixels.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, not limited to [0, 1]; differentiable.
    """
    return x + gain * (x - blur(x, sigma))


def find_ink(x: torch.Tensor, link: bool = True) -> torch.Tensor:
    """Where a model's grey output is ink: above `INK` after `sharpen`, and where pixels above `LINK` join two pieces.

    With one threshold thin strokes fall to pieces; with a lower one all strokes get wide. So a connected set of pixels
    above `LINK` is ink if it touches two separate pieces of ink. That is the hysteresis of Canny 1986, without faint
    ends. Binary ink stays as it is.

    Takes ink ``[N, 1, H, W]`` in [0, 1] and returns bool ``[N, 1, H, W]`` on its device; without `link` only what is
    above `INK`.
    """
    dark = sharpen(x.detach().float())[:, 0]
    if not link:
        return (dark > INK)[:, None]
    dark = dark.cpu().numpy()
    out = dark > INK
    faint = (dark > LINK) & ~out
    for k in np.flatnonzero(faint.any((1, 2))):
        out[k] |= _links(out[k], faint[k])
    return torch.from_numpy(out)[:, None].to(x.device)


def _links(ink: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Those components of `faint` that touch two components of `ink` or more; bool ``[H, W]`` all three."""
    around = np.ones((3, 3), np.uint8)
    _, piece = cv2.connectedComponents(ink.view(np.uint8), ltype=cv2.CV_16U)
    n, link = cv2.connectedComponents(faint.view(np.uint8))
    # Number of the last and (counted from the far end) of the first piece beside each pixel; none is 0
    last, first = (cv2.dilate(numbered, around)[faint] for numbered in (piece, np.where(ink, ~piece, 0)))
    beside = np.zeros((2, n), np.uint16)
    np.maximum.at(beside[0], link[faint], last)
    np.maximum.at(beside[1], link[faint], first)
    joins = (beside[1] > 0) & (beside[0] != ~beside[1])
    return joins[link]


PEN = 0.45  # threshold of blurred ink. Below one half, because the blur makes thin strokes thinner
SUBPIXELS = 4  # a side of a pixel, at which edges are drawn
SPECK = 6  # pixels: smaller pieces of ink are dust


@functools.cache
def _pen_taps(device: torch.device) -> torch.Tensor:
    """Weights ``[SUBPIXELS**2, 1, 7, 7]`` of the pixels around each part of a pixel.

    Bilinear enlargement, then a Gaussian blur with a standard deviation of half a pixel, in one.
    """
    sigma, radius, half = SUBPIXELS / 2, 2 * SUBPIXELS, 3  # both in parts of a pixel, then in pixels
    gauss = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).double() / sigma) ** 2)
    impulse = torch.zeros(1, 1, 2 * half + 3, dtype=torch.float64)
    impulse[0, 0, half + 1] = 1
    large = F.interpolate(impulse, scale_factor=SUBPIXELS, mode="linear", align_corners=False)
    seen = F.conv1d(large, (gauss / gauss.sum()).view(1, 1, -1), padding=radius)[0, 0]
    line = seen[SUBPIXELS:-SUBPIXELS].view(2 * half + 1, SUBPIXELS).flip(0).T  # [part, pixel]
    return torch.einsum("ai,bj->abij", line, line).reshape(-1, 1, 2 * half + 1, 2 * half + 1).float().to(device)


def pen_parts(ink: torch.Tensor) -> torch.Tensor:
    """Blurred ink at every part of every pixel: `ink` ``[N, 1, H, W]`` to ``[N, SUBPIXELS**2, H, W]``.

    A part above `PEN` is ink. Linear, and on the device of `ink`.
    """
    taps = _pen_taps(ink.device).to(ink.dtype)
    with exact(ink):
        return F.conv2d(F.pad(ink, [taps.shape[-1] // 2] * 4, mode="replicate"), taps)


def pen(ink: torch.Tensor) -> torch.Tensor:
    """Strokes with anti-aliased edges, ``[N, 1, H, W]``, of binary ink: `render` of it, dust included."""
    return (pen_parts(ink) > PEN).to(ink.dtype).mean(1, keepdim=True)


def render(x: torch.Tensor, link: bool = True) -> torch.Tensor:
    """Strokes with sharp, anti-aliased edges, without haze or dust.

    The picture is made binary (`find_ink`), as the extraction leaves real ink. It is enlarged, lightly blurred and
    thresholded, which rounds the staircases of its edges. Specks are removed, and it is shrunk by area averaging. So
    real and generated signatures have the same texture, and no score can tell them by their edges. Every model and the
    genuine signatures are shown and scored through this one function.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1].
    link
        Whether faint ink that joins two pieces is drawn, see `find_ink`.

    Returns
    -------
    torch.Tensor
        float32 ``[N, 1, H, W]`` in [0, 1] on the device of `x`.
    """
    parts = (pen_parts(find_ink(x, link).float()) > PEN).to(torch.uint8)
    out = parts.sum(1, keepdim=True, dtype=torch.uint8)
    fine = F.pixel_shuffle(parts, SUBPIXELS)[:, 0].cpu().numpy()
    for k, picture in enumerate(fine):
        _, components, stats, _ = cv2.connectedComponentsWithStats(picture, connectivity=8, ltype=cv2.CV_16U)
        dust = stats[:, cv2.CC_STAT_AREA] < SPECK * SUBPIXELS**2
        dust[0] = False  # component 0 is the paper
        if dust.any():
            picture[dust[components]] = 0
            out[k] = F.pixel_unshuffle(torch.from_numpy(picture)[None], SUBPIXELS).sum(0, dtype=torch.uint8)
    return out.float() / SUBPIXELS**2


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of pictures ``[N, 1, H, W]``; pixels outside the frame repeat its edge."""
    sides = map(int, x.shape[2:])  # numbers also where an export traces them
    down, across = (_blurring(side, sigma, x.device).to(x.dtype) for side in sides)
    with exact(x):  # as two matrix products: many times faster than a convolution of one channel
        return down @ x @ across.T


@functools.cache
@torch.inference_mode(False)  # cached: the first call may be in inference mode, a later one needs gradients
def _blurring(size: int, sigma: float, device: torch.device) -> torch.Tensor:
    """Gaussian blur of a line of `size` pixels as a matrix ``[size, size]``, float32."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).double() / sigma) ** 2)
    to = torch.arange(size)[:, None].expand(size, 2 * radius + 1)
    seen = (to + torch.arange(-radius, radius + 1)).clamp(0, size - 1)
    out = torch.zeros(size, size, dtype=torch.float64)
    return out.index_put_((to, seen), (taps / taps.sum()).expand_as(seen), accumulate=True).float().to(device)


def exact(x: torch.Tensor) -> torch.autocast:
    """No autocast to 16 bits: coordinates need fractions of a pixel, and thresholds must not depend on precision."""
    return torch.autocast(x.device.type, enabled=False)
