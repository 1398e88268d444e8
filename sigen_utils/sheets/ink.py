"""Whose ink is where: binarise, take the printed lines out without cutting strokes, give every stroke its owner.

Everything happens on one upright working picture (`Frame`): the darkest channel, turned by quarter turns, reduced
where the photograph is larger than needed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..images.parts import bridged, parts_of
from .config import ExtractionConfig
from .foreign import drop_alien, drop_dents, drop_faint, drop_stains, upper, without_stamps
from .frame import TYPICAL, Frame, paper_contrast
from .grid import Grid

ANGLES = (90, 70, 110, 52, 128, 38, 142, 27, 153, 19, 161)  # at which strokes cross a line


@dataclass(frozen=True)
class InkMap:
    """Ink by owner.

    Attributes
    ----------
    owner
        int16 ``[h, w]``: 0 paper, else 1 + row * columns + column of the cell whose ink it is (column 0 the ID).
    contrast
        float32 ``[h, w]``: darkness relative to the paper around, 0 paper .. 1 black.
    cut
        Cells with a stroke that runs into another person's and was parted at the printed line.
    crossing
        Cells with ink beyond their own lines.
    foreign
        Cells that a stamp or a stain lies over. Its ink is taken out where it differs from the pens' (``parted``).
    """

    owner: np.ndarray
    contrast: np.ndarray
    cut: frozenset[int]
    crossing: frozenset[int]
    foreign: frozenset[int] = frozenset()
    parted: bool = True


def sauvola(grey: np.ndarray, window: int, k: float) -> np.ndarray:
    """Pixels darker than mean * (1 + k (deviation / 128 - 1)) of the window around them (Sauvola, 2000); bool."""
    mean = cv2.boxFilter(grey, cv2.CV_32F, (window, window), borderType=cv2.BORDER_REFLECT)
    square = cv2.sqrBoxFilter(grey, cv2.CV_32F, (window, window), borderType=cv2.BORDER_REFLECT)
    deviation = cv2.sqrt(cv2.max(cv2.subtract(square, cv2.multiply(mean, mean)), 0))
    level = cv2.multiply(mean, deviation, scale=k / 128)
    return grey < cv2.scaleAdd(mean, 1 - k, level)


def cell_map(frame: Frame, grid: Grid) -> np.ndarray:
    """Which cell a pixel lies in: int16, 0 outside, else 1 + row * columns + column; bounded by the curved lines."""
    row_of, col_of = (np.full(frame.grey.shape, -1, np.int16) for _ in range(2))
    for which, curves in ((row_of, grid.row_lines), (col_of, grid.col_lines)):
        curves = frame.from_photo(curves)
        for k, (first, last) in enumerate(itertools.pairwise(curves)):
            _fill(which, np.concatenate([first, last[::-1]]), k)
    return np.where(cv2.min(row_of, col_of) < 0, 0, 1 + row_of * np.int16(grid.n_columns + 1) + col_of)


def _fill(image: np.ndarray, polygon: np.ndarray, value: int) -> None:
    cv2.fillPoly(image, [np.rint(polygon * 16).astype(np.int32)], int(value), shift=4)


def line_band(mask: np.ndarray, contrast: np.ndarray, line: np.ndarray, unit: float) -> tuple[int, np.ndarray]:
    """Pixels of one near-horizontal printed line: the rows they lie in.

    Parameters
    ----------
    mask
        bool ``[h, w]``, all ink.
    contrast
        float32 ``[h, w]``.
    line
        float ``[k, 2]``, the curve, x rising.
    unit
        Pixel lengths are multiplied by it.

    Returns
    -------
    top, band
        The first row, and bool ``[k, w]`` for the k rows from there on (none where the line is not seen). The curve
        is moved onto the darkest ridge within 2 px; the thickness is where more than half of its length is ink.
    """
    h, w = mask.shape
    unseen = 0, np.zeros((0, w), bool)
    x = np.arange(max(0, int(np.ceil(line[0, 0]))), min(w, int(line[-1, 0]) + 1))
    if not len(x):
        return unseen
    y = np.interp(x, line[:, 0], line[:, 1])
    search = int(np.ceil(5 * unit)) + 1
    offsets = np.arange(-search, search + 1)
    y = y + _ridge_shift(contrast, x, y, 2.5 * max(unit, 0.6))
    at = np.rint(y).astype(int)[None] + offsets[:, None]
    valid = (at >= 0) & (at < h)
    ink = mask[np.clip(at, 0, h - 1), x] & valid
    share = ink.sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    low = high = search  # grow from the middle outwards while more than half of the length is ink
    while low > 0 and share[low - 1] > 0.4:
        low -= 1
    while high < 2 * search and share[high + 1] > 0.4:
        high += 1
    if share[search] < 0.25:  # not seen here: nothing to take out
        return unseen
    up, down = search - low + 0.8, high - search + 0.8
    distance = at - y[None]
    inside = valid & (distance >= -up) & (distance <= down)
    rows = at[inside]
    if not len(rows):
        return unseen
    top = int(rows.min())
    band = np.zeros((int(rows.max()) - top + 1, w), bool)
    band[rows - top, np.broadcast_to(x, at.shape)[inside]] = True
    return top, band


def _ridge_shift(contrast, x, y, search):
    """By how much the curve has to move to lie on the darkest ridge, smoothed along the line."""
    steps = np.arange(-search, search + 0.01, 0.5)
    map_x = np.broadcast_to(x.astype(np.float32), (len(steps), len(x)))
    map_y = (y[None] + steps[:, None]).astype(np.float32)
    strip = cv2.remap(contrast, np.ascontiguousarray(map_x), map_y, cv2.INTER_LINEAR)
    strip = cv2.blur(np.minimum(strip, 0.4), (max(15, len(x) // 30) | 1, 3))
    mass = np.maximum(strip - 0.6 * strip.max(axis=0), 0)
    shift = (mass * steps[:, None]).sum(axis=0) / np.maximum(mass.sum(axis=0), 1e-6)
    return cv2.blur(shift.astype(np.float32)[None], (max(15, len(x) // 30) | 1, 1))[0]


def over_line(strokes: np.ndarray, top: int, band: np.ndarray) -> np.ndarray:
    """Pixels of a near-horizontal line's band over which a stroke goes on; bool ``[k, w]`` as `band` is."""
    if not len(band):
        return band
    thickness = int(np.ceil(band.sum() / max(1, band.any(axis=0).sum())))
    search = thickness + 3
    first = max(0, top - search)
    near = bridged(strokes[first : top + len(band) + search], thickness + 2, ANGLES)
    return near[top - first :][: len(band)] & band


def read_ink(frame: Frame, grid: Grid, config: ExtractionConfig) -> InkMap:
    """All ink of a sheet, by owner."""
    window = max(9, int(round(config.window * TYPICAL * frame.unit)) | 1)
    contrast = paper_contrast(frame.grey, frame.unit)
    mask = sauvola(frame.grey, window, config.sauvola_k)
    bands = [line_band(mask, contrast, line, frame.unit) for line in frame.from_photo(grid.row_lines)]
    mask_t, contrast_t = _transposed(mask), cv2.transpose(contrast)
    columns = frame.from_photo(grid.col_lines)[..., ::-1]
    upright = [line_band(mask_t, contrast_t, line, frame.unit) for line in columns]
    mask, mask_t = _without_rules(mask, mask_t, contrast, contrast_t, frame, grid)
    lines = _united(bands, mask.shape) | _transposed(_united(upright, mask_t.shape))
    strokes = mask & ~lines
    strokes &= ~_residue(strokes, lines, contrast, frame.unit, config)
    strokes &= ~_dots(strokes, frame, grid)
    bridges = _united([(top, over_line(strokes, top, band)) for top, band in bands], mask.shape)
    strokes_t = _transposed(strokes)
    bridges |= _transposed(_united([(top, over_line(strokes_t, top, band)) for top, band in upright], mask_t.shape))
    cells = cell_map(frame, grid)
    bridges &= mask
    strokes, foreign, parted = without_stamps(strokes, bridges, contrast, cells, frame, grid)
    if foreign:
        bridges &= ~np.isin(cells, list(foreign))
    found = _owned(strokes, bridges, contrast, cells, frame, grid)
    return replace(found, foreign=foreign | found.foreign, parted=parted)


def _without_rules(mask, mask_t, contrast, contrast_t, frame, grid) -> tuple[np.ndarray, np.ndarray]:
    """Ink without the rules of squared or lined paper, and the same transposed: what is darker there is a stroke."""
    curves = [frame.from_photo(rule) for rule in grid.rules]
    level = [abs(line[-1, 0] - line[0, 0]) > abs(line[-1, 1] - line[0, 1]) for line in curves]
    for along in (True, False):
        ink, dark = (mask, contrast) if along else (mask_t, contrast_t)
        found = []
        for line in (line if along else line[:, ::-1] for line, own in zip(curves, level, strict=True) if own == along):
            top, band = line_band(ink, dark, line if line[0, 0] < line[-1, 0] else line[::-1], frame.unit)
            part = slice(top, top + len(band))
            band &= ink[part]
            if band.any():
                found.append((part, band, float(np.median(dark[part][band]))))
        # Along a rule that lies under many strokes most of the ink is theirs: the rules of a paper are alike
        usual = float(np.quantile([own for *_, own in found], 0.25)) if found else 0.0
        ink = ink.copy() if found else ink
        for part, band, own in found:
            ink[part] &= ~(band & (dark[part] < 1.5 * min(own, 1.3 * usual)))
        mask, mask_t = (ink, _transposed(ink)) if along else (_transposed(ink), ink)
    return mask, mask_t


def _transposed(mask: np.ndarray) -> np.ndarray:
    """A bool picture with its axes exchanged, in memory too."""
    return cv2.transpose(mask.view(np.uint8)).view(bool)


def _united(bands: list[tuple[int, np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Bands of lines in one picture, bool of `shape`."""
    picture = np.zeros(shape, bool)
    for top, band in bands:
        picture[top : top + len(band)] |= band
    return picture


def _residue(strokes, lines, contrast, unit, config):
    """Ink that is none: the rims of printed lines, dust, dents and show-through."""
    count, labels = cv2.connectedComponents(strokes.view(np.uint8), connectivity=8)
    rim = int(round(1.5 * unit)) * 2 + 1
    near = cv2.dilate(lines.view(np.uint8), np.ones((rim, rim), np.uint8)) > 0
    at = np.flatnonzero(strokes)  # a twentieth of the picture: everything below is asked of ink only
    part = labels.ravel()[at]
    area = np.bincount(part, minlength=count)
    apart = np.bincount(part[~near.ravel()[at]], minlength=count)
    darkest = upper(contrast.ravel()[at], part, count)
    bad = (area < 4 * unit**2) | (apart == 0) | (darkest < config.min_contrast)
    residue = np.zeros_like(strokes)
    residue.ravel()[at[bad[part]]] = True
    return residue


def _dots(strokes: np.ndarray, frame: Frame, grid: Grid) -> np.ndarray:
    """Dots and dashes of broken lines: small parts along the table's lines, where there are many; bool ``[h, w]``."""
    zone = np.zeros(strokes.shape, np.uint8)
    curves = [*frame.from_photo(grid.row_lines), *frame.from_photo(grid.col_lines)]
    width = max(3, int(round(8 * frame.unit)))
    for curve in curves:
        cv2.polylines(zone, [np.rint(curve * 16).astype(np.int32)], False, 1, width, shift=4)
    near = strokes & (zone > 0)
    count, labels, stats = parts_of(near)
    small = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) <= 14 * frame.unit
    if small.sum() < 6 * len(curves):  # no broken lines: a few dots are dots of signatures
        return np.zeros_like(strokes)
    grown = cv2.dilate((strokes & (zone == 0)).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    attached = np.zeros(count, bool)
    attached[np.unique(labels[grown & near])] = True  # goes on beyond the line: a stroke
    gone = small & ~attached
    gone[0] = False
    return gone[labels]


def _owned(strokes, bridges, contrast, cells, frame, grid) -> InkMap:
    """Every connected stroke goes whole to the cell that holds most of it."""
    ink = strokes | bridges
    count, labels = cv2.connectedComponents(ink.view(np.uint8), connectivity=8)
    n_cells = grid.n_rows * (grid.n_columns + 1) + 1
    inside = np.flatnonzero(strokes)
    pair = labels.ravel()[inside].astype(np.int64) * n_cells + cells.ravel()[inside]
    share = np.bincount(pair, minlength=count * n_cells).reshape(count, n_cells)
    by_cell = share.sum(axis=0)
    owner_of = share.argmax(axis=1)
    # Writing outside the table that reaches in by a little is not a signature; a tail that leaves is.
    outside = (owner_of == 0) & (share[:, 1:].max(axis=1) > 0.4 * share[:, 0])
    owner_of[outside] = 1 + share[outside, 1:].argmax(axis=1)
    # A stroke that reaches into the ID column is a signature's: printed digits do not leave their cell.
    n_cols = grid.n_columns + 1
    signed = share.copy()
    signed[:, 0] = 0
    signed[:, 1::n_cols] = 0
    printed = (owner_of % n_cols == 1) & (owner_of > 0) & (signed.max(axis=1) > 0.12 * share.sum(axis=1))
    owner_of[printed] = signed[printed].argmax(axis=1)
    owner_of[0] = 0
    at = np.flatnonzero(ink)
    part = labels.ravel()[at]  # component of every pixel of ink
    _reclaim_dots(owner_of, labels, at, part, share.sum(axis=1), cells, frame.unit)
    who = owner_of[part]  # owner of every pixel of ink
    # Two signatures that touch: the stroke is the main ink of both cells, so it is parted at the printed line.
    main = (share > 0.4 * by_cell) & (share > 0.2 * share.sum(axis=1, keepdims=True))
    main[:, 0] = False
    main[:, 1::n_cols] = False
    cut = set()
    lies = cells.ravel()[at]  # cell in which every pixel of ink lies
    for component in np.flatnonzero(main.sum(axis=1) > 1):
        parts = np.flatnonzero(main[component])
        parted = (part == component) & np.isin(lies, parts)
        who[parted] = lies[parted]
        cut.update(int(p) for p in parts)
    pen = drop_faint(who, part, contrast.ravel()[at], count, n_cells)
    owner = np.zeros(ink.shape, np.int16)
    owner.ravel()[at] = who
    drop_dents(owner, frame, contrast, n_cells)
    stained = drop_alien(owner, frame, contrast, pen) | drop_stains(owner, contrast, pen, frame.unit)
    who = owner.ravel()[at]
    stray = np.bincount(who[(who > 0) & (lies != who)], minlength=n_cells)
    crossing = frozenset(int(c) for c in np.flatnonzero(stray > 3 * frame.unit))
    return InkMap(owner, contrast, frozenset(cut), crossing, stained)


def _reclaim_dots(owner_of, labels, at, part, area, cells, unit) -> None:
    """Give a dot just beyond a printed line to the writer across it whose ink is far nearer; changes `owner_of`.

    `at` and `part` are the places of all ink in the raveled picture and the components there, `area` the components'.
    """
    small = 40 * unit**2
    y, x = np.divmod(at, labels.shape[1])
    size = np.maximum(np.bincount(part, minlength=len(owner_of)), 1)
    cy = np.bincount(part, weights=y, minlength=len(owner_of)) / size
    cx = np.bincount(part, weights=x, minlength=len(owner_of)) / size
    search, close = int(32 * unit), int(9 * unit)
    for dot in np.flatnonzero((area > 0) & (area < small) & (owner_of > 0)):
        row, col = int(cy[dot]), int(cx[dot])
        near = cells[max(0, row - close) : row + close + 1, max(0, col - close) : col + close + 1]
        if (near == owner_of[dot]).all():
            continue
        top, left = max(0, row - search), max(0, col - search)
        around = labels[top : row + search + 1, left : col + search + 1]
        ys, xs = np.nonzero(area[around] >= small)
        if not len(ys):
            continue
        distance = np.hypot(ys + top - cy[dot], xs + left - cx[dot])
        writer = owner_of[around[ys, xs]]
        own = distance[writer == owner_of[dot]].min(initial=search)
        other = np.where(np.isin(writer, near) & (writer != owner_of[dot]) & (writer > 0), distance, np.inf)
        if other.min() < min(18 * unit, 0.45 * own):
            owner_of[dot] = writer[int(other.argmin())]
