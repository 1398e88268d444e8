"""Printed lines under and around a signature: found, told from the pen's own strokes, taken out without cutting them."""

from __future__ import annotations

import cv2
import numpy as np

LOOK = 300  # px: the longer side at which the slope of lines is found
SLOPES = np.tan(np.deg2rad(np.arange(-12, 12.01, 0.5)))  # of near-horizontal lines
PIECE = 0.2  # shortest straight piece of a line that is seen, over the picture's width
GAP = 0.04  # longest gap in a line, over the picture's width
THICK = 0.012  # thickest line, over the picture's longer side, in pixels at least 4


def without_rules(mask: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, int]:
    """Take printed lines of both directions out of a mask.

    Parameters
    ----------
    mask
        bool ``[h, w]``, all ink.
    contrast
        float32 ``[h, w]``, see `cleaning.paper_contrast`.

    Returns
    -------
    mask, n
        bool ``[h, w]`` without the lines, strokes across them whole; and how many lines there were.
    """
    across, n = _one_direction(mask, contrast)
    upright, m = _one_direction(np.ascontiguousarray(across.T), np.ascontiguousarray(contrast.T))
    return np.ascontiguousarray(upright.T), n + m


def _one_direction(mask: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, int]:
    """The same for near-horizontal lines."""
    height, width = mask.shape
    if width < 60 or height < 12:
        return mask, 0
    slope = _slope(contrast)
    shift = np.float32([[1, 0, 0], [-slope, 1, slope * width / 2]])
    level = cv2.warpAffine(mask.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST)
    pieces = _thin_pieces(level)
    lines = [line for line in _joined(pieces) if line is not None]
    lines = _printed(lines, level, pieces)
    if not lines:
        return mask, 0
    for line in lines:  # back to where they lie
        line[:, 1] += slope * (line[:, 0] - width / 2)
    out = mask
    for line in lines:
        out = _taken_out(out, mask, line)
    return out, len(lines)


def _slope(contrast: np.ndarray) -> float:
    """Slope at which row sums of the contrast are most uneven: that of printed lines where there are any."""
    scale = min(1.0, LOOK / max(contrast.shape))
    small = cv2.resize(np.clip(contrast, 0, 0.4), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape
    best = (0.0, 0.0)
    for slope in SLOPES:
        shift = np.float32([[1, 0, 0], [-slope, 1, slope * width / 2]])
        profile = cv2.warpAffine(small, shift, (width, height)).sum(axis=1)
        uneven = float((np.diff(profile) ** 2).sum()) * (1.02 if slope == 0 else 1)
        best = max(best, (uneven, float(slope)))
    return best[1]


def _thin_pieces(level: np.ndarray) -> np.ndarray:
    """Long, level, thin stretches of a mask; uint8 ``[h, w]``."""
    height, width = level.shape
    thick = _thickest(level.shape)
    # A line may be bent a little and broken: one pixel up and down and short gaps are bridged first
    loose = cv2.dilate(level, np.ones((3, 1), np.uint8))
    gap = max(3, int(0.01 * width)) | 1
    loose = cv2.morphologyEx(loose, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
    long = cv2.morphologyEx(loose, cv2.MORPH_OPEN, np.ones((1, int(PIECE * width)), np.uint8))
    solid = cv2.morphologyEx(long, cv2.MORPH_OPEN, np.ones((thick + 3, 1), np.uint8))
    return long & ~cv2.dilate(solid, np.ones((3, 1), np.uint8))


def _thickest(shape: tuple[int, int]) -> int:
    return max(4, round(THICK * max(shape)))


def _joined(pieces: np.ndarray) -> list[np.ndarray]:
    """Curves (x, y), float ``[w, 2]``, of pieces that lie end to end."""
    height, width = pieces.shape
    gap = int(GAP * width) * 2 + 1
    spread = cv2.dilate(pieces, np.ones((3, gap), np.uint8))
    count, labels = cv2.connectedComponents(spread, connectivity=8)
    curves = []
    for k in range(1, count):
        ys, xs = np.nonzero((labels == k) & (pieces > 0))
        if len(xs) < PIECE * width:
            continue
        n = np.bincount(xs, minlength=width)
        seen = np.flatnonzero(n)
        y = np.bincount(xs, weights=ys, minlength=width)[seen] / n[seen]
        at = np.arange(seen[0], seen[-1] + 1)
        curves.append(np.stack([at, np.interp(at, seen, y)], axis=1))
    return curves


def _printed(lines: list[np.ndarray], level: np.ndarray, pieces: np.ndarray) -> list[np.ndarray]:
    """Those of the lines that no pen has drawn, which know nothing of the signature.

    They run on where the signature has ended, or are many alike, or are straighter than a hand.
    """
    height, width = level.shape
    lines = [line for line in lines if len(line) > 0.4 * width and _bend(line, 2) < max(1.0, 0.003 * width)]
    if not lines:
        return []
    rest = level & ~cv2.dilate(pieces, np.ones((5, 5), np.uint8))
    columns = np.flatnonzero(rest.sum(axis=0) > 0)
    # Ink but for the lines: between which columns it lies
    first, last = np.percentile(np.repeat(columns, rest.sum(axis=0)[columns].astype(int)), (0.5, 99.5)) if len(columns) else (0, 0)
    many = sum(len(line) > 0.6 * width for line in lines) >= 3
    printed = []
    for line in lines:
        ends = min(first - line[0, 0], line[-1, 0] - last)
        runs_on = len(line) > 0.7 * width and max(first - line[0, 0], line[-1, 0] - last) > 0.04 * width and ends > -0.05 * width
        straight = _bend(line, 1) < 0.0012 * len(line) + 0.35
        if runs_on or (many and len(line) > 0.6 * width) or straight:
            printed.append(line)
    return printed


def _bend(line: np.ndarray, degree: int) -> float:
    """By how much a curve departs from its polynomial of a degree, root mean square in pixels."""
    x = (line[:, 0] - line[:, 0].mean()) / max(np.ptp(line[:, 0]), 1)
    return float(np.sqrt(np.mean((np.polyval(np.polyfit(x, line[:, 1], degree), x) - line[:, 1]) ** 2)))


def _taken_out(out: np.ndarray, mask: np.ndarray, line: np.ndarray) -> np.ndarray:
    """`out` without the band of a line, but with what crosses it in `mask`."""
    height, width = mask.shape
    thick = _thickest(mask.shape)
    x = line[:, 0].astype(int)
    y = cv2.blur(line[:, 1].astype(np.float32)[None], (max(5, len(line) // 40) | 1, 1))[0]
    rows = np.rint(y).astype(int)[None] + np.arange(-thick - 2, thick + 3)[:, None]
    valid = (rows >= 0) & (rows < height)
    ink = mask[np.clip(rows, 0, height - 1), x] & valid
    share = ink.mean(axis=1)
    low = high = thick + 2
    least = max(0.35, 0.45 * share.max())
    centre = int(np.argmax(share))
    low = high = centre
    while low > 0 and share[low - 1] > least:
        low -= 1
    while high < len(share) - 1 and share[high + 1] > least:
        high += 1
    low, high = max(low - 1, 0), min(high + 1, len(share) - 1)
    top, bottom = rows[low], rows[high]
    first, last = max(0, int(top.min())), min(height, int(bottom.max()) + 1)
    place = np.arange(first, last)[:, None]
    band = np.zeros((last - first, width), bool)
    band[:, x] = (place >= top[None]) & (place <= bottom[None])
    bare = out.copy()
    bare[first:last] &= ~band
    reach = high - low + 4
    begin, end = max(0, first - reach), min(height, last + reach)
    bridges = _bridged(bare[begin:end], high - low + 1)
    bridges = bridges[first - begin : last - begin] & band & out[first:last]
    bare[first:last] |= bridges
    return bare


def _bridged(strokes: np.ndarray, gap: int) -> np.ndarray:
    """Strokes closed by segments of many directions that are just longer than a gap of `gap` rows."""
    near = strokes.astype(np.uint8)
    total = np.zeros_like(near)
    for angle in (90, 70, 110, 52, 128, 38, 142, 28, 152):
        radians = np.deg2rad(angle)
        half = (gap + 2) / 2 / np.sin(radians)
        dx, dy = half * np.cos(radians), half * np.sin(radians)
        rx, ry = int(np.ceil(abs(dx))), int(np.ceil(abs(dy)))
        kernel = np.zeros((2 * ry + 1, 2 * rx + 1), np.uint8)
        cv2.line(kernel, (round(rx - dx), round(ry + dy)), (round(rx + dx), round(ry - dy)), 1)
        wide = cv2.dilate(near, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        total |= cv2.erode(wide, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return total > 0
