"""The ink of one signature in a photograph, scan or export: which pixels a pen has left, and what is to be looked at.

Light is evened first, channel by channel, so that a shadow, a dim lamp or tinted paper does not matter: what counts is
how much darker a pixel is than the paper around it. Lengths are shares of the picture's longer side or of the stroke
width, so one setting serves every resolution.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from .inks import without_stamp
from .page import REDUCED, find_page, is_negative, reduced_to
from .parts import parts_of, ridge_of
from .rules import without_rules

WORK = (400, 1200)  # px: the longer side that pictures are brought to, from below and from above
PAPER = 1 / 8  # side of the window in which some paper is seen, over the longer side
NEAR = 1 / 24  # side of the window whose darkest ink sets the threshold, over the longer side
LEAST = 0.035  # contrast that no clean paper has
SHARE = 0.33  # of the darkest ink nearby: the level at which a stroke's edge is drawn
FAINT = 0.15  # contrast of ink below which it is flagged
CROWDED = (0.5, 0.8)  # of the ink's box: shares above which it is flagged, and no signature
COARSE = 48  # px: ink with a shorter longer side is flagged


class Ink(NamedTuple):
    """Ink that was found: uint8 ``[h, w]``, 255 = ink, cropped to it (``[0, 0]`` where there is none), and flags."""

    mask: np.ndarray
    flags: tuple[str, ...]


NOTHING = np.zeros((0, 0), np.uint8)


def find_ink(rgb: np.ndarray) -> Ink:
    """Find the ink of the signature that a picture shows.

    Parameters
    ----------
    rgb
        uint8 RGB ``[H, W, 3]``, as `read_pages` gives it.

    Returns
    -------
    Ink
        With flags of `signature.FLAGS`.
    """
    if min(rgb.shape[:2]) < 4 or int(rgb.max()) - int(rgb.min()) < 4:
        return Ink(NOTHING, ("blank",))
    small = reduced_to(rgb, REDUCED)
    page = find_page(small)
    flags = [] if page is None else ["page_edge"]
    negative, unsure = is_negative(small, page)
    flags += ["negative"] * negative + ["polarity_unsure"] * unsure
    if page is not None:
        page = cv2.resize(page.astype(np.uint8), rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0
        rgb, page = _cut(rgb, _box(page)), _cut(page, _box(page))
    done: tuple[str, ...] = ()
    for _ in range(2):  # ink that is small in its picture is looked at again, from near
        work, scale = _at_work_size(rgb)
        inside = None if page is None else cv2.resize(page.astype(np.uint8), work.shape[1::-1]) > 0
        mask, more = _ink_of(255 - work if negative else work, inside)
        done += more
        if not mask.any():
            return Ink(NOTHING, tuple(dict.fromkeys((*flags, *done))))
        box = _box(mask)
        longest = max(box[1] - box[0], box[3] - box[2])
        if scale >= 1 or 2.5 * longest > max(work.shape):
            break
        near = [(box[0] - 0.3 * longest) / scale, (box[1] + 0.3 * longest) / scale,
                (box[2] - 0.3 * longest) / scale, (box[3] + 0.3 * longest) / scale]  # fmt: skip
        near = tuple(max(0, round(edge)) for edge in near)
        rgb, page = _cut(rgb, near), None if page is None else _cut(page, near)
    if longest < COARSE * max(scale, 1):
        done += ("coarse",)
    share, shortest = float(_cut(mask, box).mean()), min(box[1] - box[0], box[3] - box[2])
    if share > CROWDED[0] and shortest > 0.15 * longest:  # a dash fills its box too
        if share > CROWDED[1]:
            return Ink(NOTHING, tuple(dict.fromkeys((*flags, *done, "solid"))))
        done += ("crowded",)
    return Ink(_cut(mask, box).astype(np.uint8) * 255, tuple(dict.fromkeys((*flags, *done))))


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row and column of what is True, the last ones excluded: y0, y1, x0, x1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _cut(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    return image[box[0] : box[1], box[2] : box[3]]


def _at_work_size(rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture at a size at which ink is searched, and that size over its own."""
    longest = max(rgb.shape[:2])
    scale = min(max(WORK[0] / longest, 1), WORK[1] / longest) if longest < WORK[0] else min(1, WORK[1] / longest)
    size = tuple(max(8, round(side * scale)) for side in rgb.shape[1::-1])
    if size == rgb.shape[1::-1]:
        return rgb, 1.0
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), scale


def _ink_of(rgb: np.ndarray, page: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ink of a picture at work size, dark on light: bool ``[h, w]``, and flags."""
    contrast = paper_contrast(rgb)
    if page is not None:
        contrast[~page] = 0
    paper, noise = _paper_noise(contrast, page)
    if np.median(noise) > 0.012:  # a grain that averaging helps against
        contrast = cv2.GaussianBlur(contrast, (0, 0), 1.0)
        paper, noise = _paper_noise(contrast, page)
    least = max(LEAST, 5 * float(np.median(noise)))
    contrast -= cv2.resize(paper, contrast.shape[::-1])
    limit = cv2.max(cv2.resize(5 * noise, contrast.shape[::-1]), LEAST)
    near = int(max(rgb.shape) * NEAR) | 1
    darkest = cv2.dilate(cv2.GaussianBlur(contrast, (3, 3), 0), np.ones((near, near), np.uint8))
    mask = contrast > cv2.max(limit, SHARE * darkest)
    mask, n_rims = _without_rims(mask)
    flags = ["scanner_edge"] * bool(n_rims)
    mask, stamp = without_stamp(mask, rgb, contrast)
    mask, n_rules = without_rules(mask, contrast)
    flags += ["rules"] * bool(n_rules)
    if stamp == "two_inks" and n_rules:  # the rules may have been the other colour
        mask, stamp = without_stamp(mask, rgb, contrast)
    flags += [stamp] * bool(stamp)
    mask, more = _signature_only(mask, contrast, least)
    flags += more
    if not mask.any():
        return mask, (*flags, "blank")
    pen = float(np.percentile(contrast[mask], 60))
    flags += ["faint"] * (pen < FAINT)
    return mask, tuple(flags)


def paper_contrast(rgb: np.ndarray) -> np.ndarray:
    """How much darker each pixel is than the paper around it, in the channel where that shows most.

    Parameters
    ----------
    rgb
        uint8 RGB ``[h, w, 3]``, dark ink on light paper.

    Returns
    -------
    numpy.ndarray
        float32 ``[h, w]``; 0 on paper (noise goes below), 1 for black.
    """
    height, width = rgb.shape[:2]
    part = 4 if max(height, width) > 600 else 2
    size = (max(4, width // part), max(4, height // part))
    small = cv2.GaussianBlur(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), (3, 3), 0)
    side = int(max(size) * PAPER) | 1
    # Light that falls off towards an edge would be closed from within: it is divided out before, and put back
    light = _light(small, side)
    even = cv2.multiply(small, cv2.merge([1 / light] * 3), dtype=cv2.CV_32F)
    paper = cv2.morphologyEx(even, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    paper = cv2.multiply(paper, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    paper = cv2.resize(cv2.GaussianBlur(paper, (5, 5), 0), (width, height), interpolation=cv2.INTER_LINEAR)
    ratio = cv2.split(cv2.divide(rgb, cv2.max(paper, 12), scale=200))  # 200: as light as the paper; noise goes above
    dark = [channel for channel, weight in zip(ratio, _darkens(small), strict=True) if weight > 0.2]
    return 1 - functools.reduce(cv2.min, dark) * np.float32(1 / 200)


def _light(small: np.ndarray, side: int) -> np.ndarray:
    """The smooth part of the light on a page, at most 1: a quadratic through the logarithm of its lighter half."""
    height, width = small.shape[:2]
    around = cv2.dilate(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.ones((side, side), np.uint8))
    y, x = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    some = terms[::4, ::4].reshape(-1, 6)
    level = np.log(around[::4, ::4].ravel().astype(np.float64) + 4)
    fitted = np.arange(len(level))
    for _ in range(3):  # a dark desk is not what the page is like
        factors = np.linalg.lstsq(some[fitted], level[fitted], rcond=None)[0]
        rest = level - some @ factors
        fitted = np.flatnonzero(rest > min(-0.1, np.percentile(rest, 40)))
    light = np.exp(terms @ factors)
    return np.clip(light / light.max(), 0.2, 1).astype(np.float32)


def _darkens(small: np.ndarray) -> list[float]:
    """How much each channel darkens where the picture does, of the channel that does so most: 0 to 1, or below.

    Blue ink on yellow paper is lighter than it in blue.
    """
    side = int(max(small.shape) * PAPER) | 1
    beside = small.astype(np.float32) - cv2.blur(small, (side, side))
    light = beside.mean(axis=2)
    weights = [float((beside[..., k] * light).sum()) for k in range(3)]
    return [weight / max(*weights, 1e-9) if max(weights) > 0 else 1.0 for weight in weights]


def _paper_noise(contrast: np.ndarray, page: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the contrast of paper in every part of a picture, float32 ``[8, 8]``.

    From low quantiles, which no ink reaches, and no further from those of the other parts than light explains.
    """
    some = contrast[::3, ::3]
    if page is not None:
        some = np.where(page[::3, ::3], some, np.nan)
    side = [max(1, length // 8) for length in some.shape]
    some = some[: 8 * side[0], : 8 * side[1]]
    some = some.reshape(some.shape[0] // side[0], side[0], some.shape[1] // side[1], side[1]).swapaxes(1, 2)
    parts = some.reshape(*some.shape[:2], -1)
    parts = np.sort(parts, axis=-1)  # what lies off the page comes last
    known = np.isfinite(parts).sum(axis=-1)
    low, middle = (
        np.take_along_axis(parts, (share * np.maximum(known - 1, 0)).astype(int)[..., None], axis=-1)[..., 0]
        for share in (0.05, 0.3)
    )
    noise = np.where(known > 20, (middle - low) / 1.12, np.nan)  # 0.05 and 0.3 lie 1.12 deviations apart
    mean = np.where(known > 20, middle + 0.52 * (middle - low) / 1.12, np.nan)
    if not np.isfinite(noise).any():
        return np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)
    typical, usual = np.nanmedian(noise), np.nanmedian(mean)
    noise = np.clip(np.nan_to_num(noise, nan=typical), 0.5 * typical, 4 * typical + 0.005)
    mean = np.clip(np.nan_to_num(mean, nan=usual), usual - 3 * typical, usual + 3 * typical)
    return mean.astype(np.float32), noise.astype(np.float32)


def stroke_width(mask: np.ndarray) -> float:
    """Typical stroke width of a mask in pixels: twice the median distance of the strokes' middle lines to paper."""
    inner = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    ridge = ridge_of(inner)
    return 2 * float(np.median(inner[ridge])) - 0.5 if ridge.any() else 0.0


def _signature_only(mask: np.ndarray, contrast: np.ndarray, least: float) -> tuple[np.ndarray, list[str]]:
    """The mask without dust, the picture's dark rims and grain; bool ``[h, w]``, and flags."""
    count, labels, stats = parts_of(mask)
    if count < 2:
        return mask, []
    at = np.flatnonzero(mask)
    part = labels.ravel()[at]

    def those(parts: np.ndarray) -> np.ndarray:
        out = np.zeros(mask.shape, bool)
        out.ravel()[at[parts[part]]] = True
        return out

    area = np.maximum(np.bincount(part, minlength=count), 1)
    dark = np.bincount(part, weights=contrast.ravel()[at], minlength=count) / area
    extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    rim = _at_rim(part, at, mask.shape, stats, area)
    keep = ~rim
    keep[0] = False
    if not keep.any():
        return np.zeros_like(mask), ["scanner_edge"]
    width = stroke_width(those(keep))
    typical = _weighted_median(dark[keep], (area * extent)[keep])
    keep &= (dark >= max(1.15 * least, 0.3 * typical)) & (area > max(3, 0.3 * width**2))
    flags = ["scanner_edge"] * bool(rim[area > 0.001 * mask.size].any())
    if not keep.any() or extent[keep].max() < max(6, 0.015 * max(mask.shape)):
        return np.zeros_like(mask), flags
    short = (extent < 6 * width) | (area < 0.35 * width * extent)  # or far thinner than the pen: a hair
    small = keep & (area < max(6 * width**2, 0.02 * area[keep].max())) & short
    if small.any() and (keep & ~small).any():
        core = those(keep & ~small)
        y0, y1, x0, x1 = _box(core)
        away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 3)
        nearest = np.full(count, np.inf)
        np.minimum.at(nearest, part, away.ravel()[at])
        dust = small & (nearest > max(4 * width, 0.12 * max(y1 - y0, x1 - x0)))
        keep &= ~dust
        flags += ["dust"] * bool(dust.any())
    return those(keep), flags


def _without_rims(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The mask without dark strips and corners along the picture's edges, of a desk or a scanner's lid.

    They reach inward from a long stretch of the edge, evenly; a stroke that leaves the picture does so in one place.
    """
    mask, n = mask.copy(), 0
    for turned in (mask, mask[::-1], mask.T, mask.T[::-1]):  # views: each edge in turn is the upper one
        height, width = turned.shape
        if not turned[: max(2, height // 100)].all(axis=0).mean() > 0.12:
            continue
        paper = np.concatenate([~turned, np.ones((1, width), bool)])
        run = paper.argmax(axis=0)  # dark pixels from the edge on
        dark = np.flatnonzero(np.diff(np.concatenate([[0], run > 0, [0]]).astype(np.int8)))
        for first, last in dark.reshape(-1, 2):
            if last - first < 0.12 * width:
                continue
            # As deep as most of its surroundings: strokes that run into it go on further
            part = run[first:last].astype(np.float32)
            half = max(1, int(0.06 * width))
            padded = np.pad(part, half, mode="edge")
            depth = np.array([np.median(padded[k : k + 2 * half + 1]) for k in range(len(part))]) + 2
            depth = np.minimum(depth, part + 2)
            turned[:, first:last] &= np.arange(height)[:, None] >= depth[None]
            n += 1
    return mask, n


def _at_rim(part, at, shape, stats, area) -> np.ndarray:
    """Which components are a dark rim of the picture: most of them lies along its edge, or they fill a corner."""
    height, width = shape
    depth = max(3, round(0.015 * max(shape)))
    y, x = np.divmod(at, width)
    along = (y < depth) | (y >= height - depth) | (x < depth) | (x >= width - depth)
    inside = np.bincount(part[along], minlength=len(area))
    touches = (stats[:, cv2.CC_STAT_LEFT] == 0) | (stats[:, cv2.CC_STAT_TOP] == 0)
    touches |= stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH] == width
    touches |= stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT] == height
    return touches & (inside > 0.6 * area)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
