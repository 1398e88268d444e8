"""A signature and something else in another colour: a stamp behind it, print around it."""

from __future__ import annotations

import cv2
import numpy as np

from .parts import parts_of

APART = 0.3  # least distance of two colours, where white to pure blue is about 1
SHARE = 0.06  # of the ink, at least, that a second colour has
SAMPLE = 4000  # pixels that colours are estimated from
ROUND = 0.03  # of its radius: by how much a stamp's ring departs from a circle


def without_stamp(mask: np.ndarray, rgb: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, str]:
    """Ink of one colour, where the other one is a stamp or print.

    Parameters
    ----------
    mask
        bool ``[h, w]``, all ink.
    rgb
        uint8 RGB ``[h, w, 3]``, dark ink on light paper.
    contrast
        float32 ``[h, w]``, see `cleaning.paper_contrast`.

    Returns
    -------
    mask, found
        The signature's ink, and ``stamp`` if another was taken out, ``two_inks`` if there are two and neither can be
        recognised as a stamp or print, or nothing.
    """
    parts = _colours(mask, rgb, contrast)
    if parts is None:
        return mask, ""
    stamp = [_is_ring(part) or _is_frame(part) for part in parts]
    if not any(stamp):
        stamp = [_is_print(part) for part in parts]
    if sum(stamp) != 1:
        return mask, "two_inks"
    return parts[stamp.index(False)], "stamp"


def _colours(mask: np.ndarray, rgb: np.ndarray, contrast: np.ndarray) -> list[np.ndarray] | None:
    """The mask parted by colour, bool ``[h, w]`` each; None where all is of one."""
    at = np.flatnonzero(mask)
    if len(at) < 200:
        return None
    chroma = _chroma(cv2.GaussianBlur(rgb, (3, 3), 0), mask, at)
    dark = contrast.ravel()[at]
    # A stroke's rim is mixed with paper, and a camera's colours are coarser than its greys: cores tell colours
    least = min(0.6 * np.percentile(dark, 90), 0.5 * np.percentile(dark, 40))
    some = np.random.default_rng(0).permutation(np.flatnonzero(dark > least))[:SAMPLE]
    colours = chroma[some].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)
    cv2.setRNGSeed(0)
    _, which, centres = cv2.kmeans(colours, 2, None, criteria, 3, cv2.KMEANS_PP_CENTERS)
    away = float(np.linalg.norm(centres[0] - centres[1]))
    spread = np.sqrt(np.mean(((colours - centres[which[:, 0]]) ** 2).sum(axis=1)))
    if away < APART or spread > 0.45 * away:
        return None
    near = ((chroma[:, None] - centres[None]) ** 2).sum(axis=2)
    first = np.zeros(mask.shape, np.float32)
    first.ravel()[at] = np.where(near[:, 0] < near[:, 1], 1.0, -1.0)
    vote = cv2.boxFilter(first, -1, (3, 3), normalize=False)  # colour has a coarser grain than ink
    parts = [mask & (vote > 0), mask & (vote <= 0)]
    if min(part.sum() for part in parts) < SHARE * len(at):
        return None
    return parts


def _chroma(rgb: np.ndarray, mask: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Colour of ink at some places without its darkness: what it takes from red and from blue beside green, of all."""
    paper = rgb[::3, ::3][~mask[::3, ::3]]
    white = np.maximum(np.percentile(paper, 60, axis=0), 32).astype(np.float32)
    red, green, blue = 1 - np.minimum(rgb.reshape(-1, 3)[at] / white, 1).T
    most = np.maximum(np.maximum(red, green), blue) + 0.05
    return np.stack([(red - green) / most, (blue - green) / most], axis=-1)


def _is_ring(part: np.ndarray) -> bool:
    """Whether most of a circle or an upright oval lies in the ink, though strokes may cross it."""
    rng = np.random.default_rng(0)
    points = np.argwhere(part)[:, ::-1].astype(np.float64)
    if len(points) < 100:
        return False
    points = points[rng.permutation(len(points))[:700]]
    size = np.ptp(points, axis=0).max()
    for squeeze in (1.0, 0.75, 0.6, 1.33, 1.67):
        placed = points * [1, squeeze]
        a, b, c = placed[rng.integers(len(placed), size=(3, 400))]
        # Centre of the circle through three points, from two perpendicular bisectors
        u, v = b - a, c - a
        cross = 2 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
        cross[np.abs(cross) < 1e-6] = np.inf
        uu, vv = (u * u).sum(axis=1), (v * v).sum(axis=1)
        x = (v[:, 1] * uu - u[:, 1] * vv) / cross
        y = (u[:, 0] * vv - v[:, 0] * uu) / cross
        radius = np.hypot(x, y)
        for k in np.flatnonzero((radius > 0.2 * size) & (radius < 0.7 * size)):
            away = placed - a[k] - [x[k], y[k]]
            on = np.abs(np.hypot(*away.T) - radius[k]) < ROUND * radius[k]
            if on.sum() < 0.25 * len(placed):
                continue
            sectors = np.unique((np.arctan2(away[on, 1], away[on, 0]) * (40 / (2 * np.pi))).astype(int))
            if len(sectors) > 30:
                return True
    return False


def _is_frame(part: np.ndarray) -> bool:
    """Whether the outline of the ink is a rectangle, though strokes may cross it."""
    count, labels, stats = parts_of(part)
    extent = stats[:, 2:4].max(axis=1)
    large = extent > 0.1 * extent[1:].max(initial=1)
    large[0] = False
    points = np.argwhere(large[labels])[:, ::-1].astype(np.float64)
    if len(points) < 100:
        return False
    corners = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32)))
    sides = [(corners[k], corners[(k + 1) % 4]) for k in range(4)]
    lengths = [float(np.linalg.norm(end - start)) for start, end in sides]
    if min(lengths) < 0.1 * max(lengths):
        return False
    tolerance = max(3.0, 0.05 * min(lengths))
    for (start, end), length in zip(sides, lengths, strict=True):
        along = (points - start) @ (end - start) / length
        across = np.abs((points - start) @ np.array([start[1] - end[1], end[0] - start[0]]) / length)
        seen = np.unique(np.clip(along[across < tolerance] / length * 20, 0, 19.9).astype(int))
        if len(seen) < 12:
            return False
    return True


def _is_print(part: np.ndarray) -> bool:
    """Whether ink is printed letters: many components of one height on few lines, none much larger."""
    count, _, stats = parts_of(part)
    areas, heights = stats[1:, cv2.CC_STAT_AREA], stats[1:, cv2.CC_STAT_HEIGHT]
    real = areas > 0.1 * np.median(areas) if count > 1 else np.zeros(0, bool)
    areas, heights = areas[real], heights[real]
    if len(areas) < 5:
        return False
    low, middle, high = np.percentile(heights, (20, 50, 80))
    return areas.max() < 0.35 * areas.sum() and (high - low) < 0.35 * middle
