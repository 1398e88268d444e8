"""Printed lines around a signature: found, kept apart from the pen's strokes, and taken out without cutting those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from .parts import bridged, parts_of, ridge_of

REDUCED = 240  # px: the longer side at which the slope of lines is found
SLOPES = np.tan(np.deg2rad(np.arange(-12, 12.01, 0.5)))  # of near-horizontal lines
PIECE = 0.2  # shortest straight piece of a line that is seen, over the picture's width
SHORT = 0.06  # the same where the picture is known to be ruled
GAP = 0.04  # longest gap in a line, over the picture's width
THICK = 0.012  # thickest line, over the picture's longer side, in pixels at least 4
ANGLES = (90, 70, 110, 52, 128, 38, 142, 28, 152)  # at which strokes cross a line
OTHER = 0.75  # of the pen's width or contrast: a line below that was not drawn by it


@dataclass(frozen=True, eq=False)
class Line:
    """A long thin line.

    Attributes
    ----------
    curve
        (x, y), float ``[k, 2]``, x rising by 1.
    thickness
        Pixels.
    contrast, even
        Its own, where no stroke lies upon it, and by what share that varies along it.
    """

    curve: np.ndarray
    thickness: float
    contrast: float
    even: float

    def __len__(self) -> int:
        return len(self.curve)

    def bend(self, degree: int) -> float:
        """By how much the curve departs from its polynomial of a degree, root mean square in pixels."""
        x = (self.curve[:, 0] - self.curve[:, 0].mean()) / max(np.ptp(self.curve[:, 0]), 1)
        fit = np.polyval(np.polyfit(x, self.curve[:, 1], degree), x)
        return float(np.sqrt(np.mean((fit - self.curve[:, 1]) ** 2)))


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
    lines = _lines(mask, contrast)
    upright = _lines(np.ascontiguousarray(mask.T), np.ascontiguousarray(contrast.T))
    rest = mask.copy()
    for line in lines:
        rest[_band(line, mask.shape)] = False
    for line in upright:
        rest.T[_band(line, mask.T.shape)] = False
    pen = _pen(rest, contrast)
    across, mask = _printed_ones(lines, mask, rest, contrast, pen)
    upright, mask = _printed_ones(upright, *map(np.ascontiguousarray, (mask.T, rest.T, contrast.T)), pen)
    return np.ascontiguousarray(mask.T), across + upright


def _printed_ones(lines, mask, rest, contrast, pen) -> tuple[int, np.ndarray]:
    """How many of the lines are printed, and the mask without them."""
    printed = _printed(lines, rest, pen)
    if len(printed) > 1:
        longest = max(printed, key=len)
        printed = [_prolonged(line, longest) for line in printed]
        printed += _hidden(printed, mask, contrast)
    for line in printed:
        mask = _without(mask, line)
    if len(printed) > 1:  # what is left of lines that the curves missed by a pixel
        thickness = float(np.median([line.thickness for line in printed]))
        light = float(np.median([line.contrast for line in printed]))
        for line in _lines(mask, contrast, SHORT):
            alike = line.thickness < 1.5 * thickness + 1 and abs(line.contrast - light) < 0.35 * light
            if alike and _finer(line, pen):
                mask = _without(mask, line)
    return len(printed), _without_shreds(mask, contrast, printed, pen) if printed else mask


def _without_shreds(mask: np.ndarray, contrast: np.ndarray, lines: list[Line], pen: tuple[float, float]) -> np.ndarray:
    """The mask without what is left of lines: components along them that are fine or light as they are."""
    band = np.zeros(mask.shape, bool)
    for line in lines:
        band[_band(line, mask.shape, 3.5)] = True
    count, labels, stats = parts_of(mask)
    at = np.flatnonzero(mask)
    part = labels.ravel()[at]
    area = np.maximum(np.bincount(part, minlength=count), 1)
    inside = np.bincount(part, weights=band.ravel()[at], minlength=count) / area
    dark = np.bincount(part, weights=contrast.ravel()[at], minlength=count) / area
    flat = stats[:, cv2.CC_STAT_HEIGHT] < np.maximum(OTHER * pen[0], 4)
    gone = (inside > 0.7) & ((dark < OTHER * pen[1]) | flat)
    gone[0] = False
    out = mask.copy()
    out.ravel()[at[gone[part]]] = False
    return out


def _hidden(family: list[Line], mask: np.ndarray, contrast: np.ndarray) -> list[Line]:
    """Lines of a family that strokes have hidden from view, where its even spacing wants them."""
    middle = mask.shape[1] // 2

    def place(line: Line) -> float:
        return float(np.interp(middle, line.curve[:, 0], line.curve[:, 1]))

    family = sorted(family, key=place)
    gaps = np.diff([place(line) for line in family])
    gaps = gaps[gaps > 6]
    if not len(gaps):
        return []
    space = float(gaps.min())
    space = float(np.median([gap / round(gap / space) for gap in gaps]))
    if np.abs(gaps / space - np.rint(gaps / space)).max() > 0.2:
        return []
    found = []
    wanted = [(family[0], place(family[0]) - k * space) for k in range(1, 40)]
    wanted += [(family[-1], place(family[-1]) + k * space) for k in range(1, 40)]
    for upper, lower in pairwise(family):
        n = round((place(lower) - place(upper)) / space)
        wanted += [(upper, place(upper) + (place(lower) - place(upper)) * k / n) for k in range(1, n)]
    for model, y in wanted:
        if 0 <= y < len(mask):
            line = _seen(model, y - place(model), space, mask, contrast)
            found += [] if line is None else [line]
    return found


def _seen(model: Line, shift: float, space: float, mask: np.ndarray, contrast: np.ndarray) -> Line | None:
    """A line parallel to `model` about `shift` rows below it, where there is one between the strokes."""
    some = model.curve[::3]  # enough to see a line by
    x, tilt = some[:, 0].astype(int), (some[:, 0] - some[:, 0].mean()) / max(np.ptp(some[:, 0]), 1)
    search = max(2.0, 0.12 * space)
    best = (0.0, 0.0, 0.0)
    for turn in np.linspace(-search, search, 7):
        for offset in np.arange(-search, search + 0.1, 0.75):
            rows = np.rint(some[:, 1] + shift + offset + turn * tilt).astype(int)
            if rows.min() < 0 or rows.max() >= len(mask):
                continue
            own = contrast[rows, x]
            seen = float(((own > 0.6 * model.contrast) & (own < 1.4 * model.contrast)).mean())
            best = max(best, (seen, offset, turn))
    if best[0] < 0.3:
        return None
    x = model.curve[:, 0]
    y = model.curve[:, 1] + shift + best[1] + best[2] * (x - x.mean()) / max(np.ptp(x), 1)
    return replace(model, curve=np.stack([x, y], axis=1))


def _finer(line: Line, pen: tuple[float, float]) -> bool:
    """Whether a line is so thin or light that the pen of the signature has not drawn it."""
    return line.thickness < OTHER * pen[0] or line.contrast < OTHER * pen[1]


def _pen(rest: np.ndarray, contrast: np.ndarray) -> tuple[float, float]:
    """Width and contrast of strokes that are no lines; zeros where there are none."""
    small = rest[::2, ::2].astype(np.uint8)
    inner = cv2.distanceTransform(small, cv2.DIST_L2, 3)
    ridge = ridge_of(inner)
    if not ridge.any():
        return 0.0, 0.0
    # Specks and shreds of lines are many and thin: strokes count by their area
    widths = np.sort(inner[ridge])
    share = np.cumsum(widths)
    width = 4 * float(widths[np.searchsorted(share, share[-1] / 2)]) - 1
    return width, float(np.percentile(contrast[::2, ::2][small > 0], 60))


def _lines(mask: np.ndarray, contrast: np.ndarray, piece: float = PIECE) -> list[Line]:
    """All long, thin, near-horizontal lines, printed or not."""
    height, width = mask.shape
    if width < 60 or height < 12:
        return []
    slope = _slope(contrast)
    shift = np.float32([[1, 0, 0], [-slope, 1, slope * width / 2]])
    level = cv2.warpAffine(mask.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST)
    lines = []
    for curve in _joined(_thin_pieces(level, piece), piece):
        curve[:, 1] += slope * (curve[:, 0] - width / 2)  # back to where it lies
        lines.append(_measured(curve, mask, contrast))
    lines = [_followed(line, contrast) for line in lines if line is not None]
    return [line for line in lines if line.bend(3) < max(1.0, 0.003 * width)]


def _followed(line: Line, contrast: np.ndarray) -> Line:
    """A line prolonged at both ends as far as it can be followed where it bends away."""
    if len(line) > 0.97 * contrast.shape[1] or len(line) < 0.25 * contrast.shape[1]:
        return line
    curve = _followed_right(line.curve, line.contrast, contrast)
    mirrored = curve[::-1] * [-1, 1] + [contrast.shape[1] - 1, 0]
    curve = _followed_right(mirrored, line.contrast, contrast[:, ::-1])
    return replace(line, curve=curve[::-1] * [-1, 1] + [contrast.shape[1] - 1, 0])


def _followed_right(curve: np.ndarray, own: float, contrast: np.ndarray) -> np.ndarray:
    height, width = contrast.shape
    step, tail = max(4, width // 80), max(20, width // 6)
    missed, out = 0, [curve]
    while curve[-1, 0] + step < width and missed < 4:
        x0 = int(curve[-1, 0]) + 1
        x = np.arange(x0, x0 + step)
        ahead = np.polyval(np.polyfit(curve[-tail:, 0], curve[-tail:, 1], 1), x)
        best = (-1.0, 0)
        for offset in (0, -1, 1, -2, 2, -3, 3):
            rows = np.clip(np.rint(ahead + offset).astype(int), 0, height - 1)
            seen = float(np.minimum(contrast[rows, x], 1.2 * own).mean())
            best = max(best, (seen - 0.04 * own * abs(offset), offset))
        y = ahead + (best[1] if best[0] > 0.6 * own else 0)
        missed = 0 if best[0] > 0.6 * own else missed + 1
        if not 0 <= y[-1] < height:
            break
        curve = np.concatenate([curve, np.stack([x, y], axis=1)])
        out.append(curve)
    return out[len(out) - 1 - missed] if missed < len(out) else out[0]


def _slope(contrast: np.ndarray) -> float:
    """Slope at which row sums of the contrast are most uneven: that of printed lines where there are any."""
    scale = min(1.0, REDUCED / max(contrast.shape))
    small = np.clip(cv2.resize(contrast, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 0, 0.4)
    height, width = small.shape
    best = (0.0, 0.0)
    for slope in SLOPES:
        shift = np.float32([[1, 0, 0], [-slope, 1, slope * width / 2]])
        profile = cv2.reduce(cv2.warpAffine(small, shift, (width, height)), 1, cv2.REDUCE_SUM)
        uneven = float((np.diff(profile[:, 0]) ** 2).sum()) * (1.02 if slope == 0 else 1)
        best = max(best, (uneven, float(slope)))
    return best[1]


def _thin_pieces(level: np.ndarray, piece: float) -> np.ndarray:
    """Long, level, thin stretches of a mask; uint8 ``[h, w]``."""
    width = level.shape[1]
    # A line may be bent a little and broken: one pixel up and down and short gaps are bridged first
    loose = cv2.dilate(level, np.ones((3, 1), np.uint8))
    gap = max(3, int(0.01 * width)) | 1
    loose = cv2.morphologyEx(loose, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
    long = cv2.morphologyEx(loose, cv2.MORPH_OPEN, np.ones((1, int(piece * width)), np.uint8))
    solid = cv2.morphologyEx(long, cv2.MORPH_OPEN, np.ones((_thickest(level.shape) + 3, 1), np.uint8))
    return long & ~cv2.dilate(solid, np.ones((3, 1), np.uint8))


def _thickest(shape: tuple[int, int]) -> int:
    return max(4, round(THICK * max(shape)))


def _joined(pieces: np.ndarray, piece: float) -> list[np.ndarray]:
    """Curves (x, y), float ``[k, 2]``, of pieces that lie end to end."""
    width = pieces.shape[1]
    spread = cv2.dilate(pieces, np.ones((3, int(GAP * width) * 2 + 1), np.uint8))
    count, labels, stats = parts_of(spread)
    curves = []
    for k in range(1, count):
        left, top, w, h = stats[k, :4]
        if w < piece * width:
            continue
        near = slice(top, top + h), slice(left, left + w)
        ys, xs = np.nonzero((labels[near] == k) & (pieces[near] > 0))
        n = np.bincount(xs, minlength=w)
        seen = np.flatnonzero(n)
        if len(seen) < piece * width:
            continue
        y = np.bincount(xs, weights=ys, minlength=w)[seen] / n[seen]
        at = np.arange(seen[0], seen[-1] + 1)
        curves.append(np.stack([at + left, np.interp(at, seen, y) + top], axis=1).astype(np.float64))
    return curves


def _measured(curve: np.ndarray, mask: np.ndarray, contrast: np.ndarray) -> Line | None:
    """The curve moved to the middle of its ink, with thickness and contrast; None where it is no thin line."""
    search = _thickest(mask.shape) + 2
    smooth = cv2.blur(curve[:, 1].astype(np.float32)[None], (max(5, len(curve) // 40) | 1, 1))[0]
    x = curve[:, 0].astype(int)
    rows = np.rint(smooth).astype(int)[None] + np.arange(-search, search + 1)[:, None]
    valid = (rows >= 0) & (rows < len(mask))
    rows = np.clip(rows, 0, len(mask) - 1)
    share = (mask[rows, x] & valid).mean(axis=1)
    centre = low = high = int(np.argmax(share))
    least = 0.5 * share[centre]
    while low > 0 and share[low - 1] > least:
        low -= 1
    while high < len(share) - 1 and share[high + 1] > least:
        high += 1
    if share[centre] < 0.5 or high - low > search:
        return None
    # Where strokes lie upon it the line is as dark as they are: its own contrast is that of its lighter part
    along = contrast[rows[centre], x]
    own = float(np.percentile(along[mask[rows[centre], x]], 35))
    side = max(5, len(along) // 20) | 1
    bare = np.minimum(along, 1.5 * own).astype(np.float32)
    even = float(cv2.blur(bare[None], (side, 1)).std()) / max(own, 1e-6)
    middle = smooth + (low + high) / 2 - search
    return Line(np.stack([curve[:, 0], middle], axis=1), float(share[low : high + 1].sum()), own, even)


def _printed(lines: list[Line], rest: np.ndarray, pen: tuple[float, float]) -> list[Line]:
    """Those of the lines that no pen has drawn: finer or lighter than the signature, and going their own way.

    Their own way: beyond the ends of the signature, or many alike, or straighter than a hand.
    """
    width = rest.shape[1]
    count = rest.sum(axis=0)
    columns = np.repeat(np.arange(width), count)
    first, last = np.percentile(columns, (0.5, 99.5)) if len(columns) else (width / 2, width / 2)
    alike = len([line for line in lines if len(line) > 0.6 * width and _finer(line, pen)]) >= 3
    printed = []
    for line in lines:
        if abs(line.curve[-1, 1] - line.curve[0, 1]) > 0.35 * len(rest):
            continue  # in a narrow strip level strokes are as long as lines
        over = first - line.curve[0, 0], line.curve[-1, 0] - last
        beyond = len(line) > 0.7 * width and line.even < 0.35 and min(over) > -0.05 * width and max(over) > 0.04 * width
        edge_to_edge = len(line) > 0.95 * width and min(over) > 0.03 * width  # from edge to edge
        straight = len(line) > max(0.6 * width, 0.35 * max(rest.shape)) and line.even < 0.15
        straight &= line.bend(1) < min(0.0008 * len(line) + 0.25, 0.006 * len(rest) + 0.25)
        if edge_to_edge or _finer(line, pen) and (beyond or straight or alike and len(line) > 0.5 * width):
            printed.append(line)
    return printed


def _prolonged(line: Line, model: Line) -> Line:
    """A line as long as `model`, and parallel to it where it was not seen."""
    first, last = int(min(model.curve[0, 0], line.curve[0, 0])), int(max(model.curve[-1, 0], line.curve[-1, 0]))
    x = np.arange(first, last + 1)
    y = np.polyval(np.polyfit(model.curve[:, 0], model.curve[:, 1], 2), x)
    begin, end = int(line.curve[0, 0]) - first, int(line.curve[-1, 0]) - first
    y[:begin] += line.curve[0, 1] - y[begin]
    y[end + 1 :] += line.curve[-1, 1] - y[end]
    y[begin : end + 1] = line.curve[:, 1]
    return Line(np.stack([x, y], axis=1).astype(np.float64), line.thickness, line.contrast, line.even)


def _band(line: Line, shape: tuple[int, int], rim: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a line, with a rim."""
    half = line.thickness / 2 + rim
    offsets = np.arange(-int(np.ceil(half)), int(np.ceil(half)) + 1)
    y, x = line.curve[:, 1], np.rint(line.curve[:, 0]).astype(int)
    rows = np.rint(y).astype(int)[None] + offsets[:, None]
    inside = (np.abs(rows - y[None]) <= half) & (rows >= 0) & (rows < shape[0])
    return rows[inside], np.broadcast_to(x, rows.shape)[inside]


def _without(mask: np.ndarray, line: Line) -> np.ndarray:
    """`mask` without the band of a line, but with the strokes that cross it."""
    rows, columns = _band(line, mask.shape)
    if not len(rows):
        return mask
    gap = int(np.ceil(line.thickness + 2.4)) + 1
    first, last = max(0, int(rows.min()) - gap - 3), min(len(mask), int(rows.max()) + gap + 4)
    bare = mask.copy()
    bare[rows, columns] = False
    near = bare[first:last]
    bridges = np.zeros_like(near)
    bridges[rows - first, columns] = True
    bare[first:last] |= bridges & bridged(near, gap + 2, ANGLES) & mask[first:last]
    return bare
