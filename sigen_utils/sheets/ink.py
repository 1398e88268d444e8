"""Whose ink is where: binarise, take the printed lines out without cutting strokes, give every stroke its owner.

Everything happens on one upright working picture (`Frame`): the darkest channel, turned by quarter turns, reduced
where the photograph is larger than needed.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..images.parts import bridged, parts_of
from .config import ExtractionConfig
from .grid import Grid
from .photo import darkest_channel, reduced

STAIN = 0.6  # of the contrast of the pen: below it, and wider than a stroke, nothing is of the pen
ANGLES = (90, 70, 110, 52, 128, 38, 142, 27, 153, 19, 161)  # at which strokes cross a line
TYPICAL = 205.0  # px: the cell width at which the pixel lengths below were chosen


@dataclass(frozen=True)
class Frame:
    """The upright working picture and how it lies in the photograph."""

    grey: np.ndarray  # uint8 [h, w], darkest channel
    scale: float  # size over that of the photograph
    turn: int  # quarter turns, clockwise, from the photograph to here
    unit: float  # width of a signature column over `TYPICAL`
    tint: np.ndarray | None = None  # float32 [h, w], blue minus red beside the paper around; None: a grey photograph
    light: np.ndarray | None = None  # uint8 [h, w], brightest channel: coloured ink is light in it; None: grey

    def from_photo(self, points: np.ndarray) -> np.ndarray:
        """Photograph pixels -> pixels of this picture; float ``[..., 2]``."""
        h, w = self.grey.shape
        x, y = np.moveaxis((np.asarray(points, float) + 0.5) * self.scale - 0.5, -1, 0)
        if self.turn == 1:
            x, y = w - 1 - y, x
        elif self.turn == 2:
            x, y = w - 1 - x, h - 1 - y
        elif self.turn == 3:
            x, y = y, h - 1 - x
        return np.stack([x, y], axis=-1)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `from_photo`."""
        h, w = self.grey.shape
        x, y = np.moveaxis(np.asarray(points, float), -1, 0)
        if self.turn == 1:
            x, y = y, w - 1 - x
        elif self.turn == 2:
            x, y = w - 1 - x, h - 1 - y
        elif self.turn == 3:
            x, y = h - 1 - y, x
        return (np.stack([x, y], axis=-1) + 0.5) / self.scale - 0.5


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


def make_frame(photo: np.ndarray, grid: Grid, config: ExtractionConfig) -> Frame:
    """The upright working picture of a photograph whose table is known."""
    width = float(np.median(np.linalg.norm(np.diff(grid.points[:, 1:], axis=1), axis=-1)))
    height = float(np.median(np.linalg.norm(np.diff(grid.points, axis=0), axis=-1)))
    width = float(np.clip(width, 1.2 * height, 2.4 * height))  # people write as large in a wide column
    scale = min(1.0, config.cell_width / width)
    unit = width * scale / TYPICAL
    photo = np.rot90(reduced(photo, scale), -grid.turn)
    tint = _tint(photo, unit)
    light = None if tint is None else functools.reduce(cv2.max, cv2.split(photo))
    return Frame(darkest_channel(photo), scale, grid.turn, unit, tint, light)


def _tint(photo: np.ndarray, unit: float) -> np.ndarray | None:
    """How blue (positive) or red (negative) each pixel is beside the paper around it; None where there is no colour."""
    red, _, blue = (channel.astype(np.float32) for channel in cv2.split(photo))
    tint = cv2.GaussianBlur(2 * (blue - red) / (blue + red + 32), (0, 0), max(0.6, unit))
    if float(tint[::8, ::8].std()) < 1e-4:
        return None
    side = int(61 * unit) | 1
    return tint - cv2.blur(tint, (side, side))


def paper_contrast(grey: np.ndarray, unit: float) -> np.ndarray:
    """Darkness relative to the paper around; float32, 0 paper .. 1 black."""
    side = int(25 * unit) | 1
    paper = cv2.morphologyEx(cv2.GaussianBlur(grey, (3, 3), 0), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    paper = cv2.blur(paper, (side, side)).astype(np.float32)
    return np.clip(1 - grey / np.maximum(paper, 16), 0, 1)


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
    reach = int(np.ceil(5 * unit)) + 1
    offsets = np.arange(-reach, reach + 1)
    y = y + _ridge_shift(contrast, x, y, 2.5 * max(unit, 0.6))
    at = np.rint(y).astype(int)[None] + offsets[:, None]
    valid = (at >= 0) & (at < h)
    ink = mask[np.clip(at, 0, h - 1), x] & valid
    share = ink.sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    low = high = reach  # grow from the middle outwards while more than half of the length is ink
    while low > 0 and share[low - 1] > 0.4:
        low -= 1
    while high < 2 * reach and share[high + 1] > 0.4:
        high += 1
    if share[reach] < 0.25:  # not seen here: nothing to take out
        return unseen
    up, down = reach - low + 0.8, high - reach + 0.8
    distance = at - y[None]
    inside = valid & (distance >= -up) & (distance <= down)
    rows = at[inside]
    if not len(rows):
        return unseen
    top = int(rows.min())
    band = np.zeros((int(rows.max()) - top + 1, w), bool)
    band[rows - top, np.broadcast_to(x, at.shape)[inside]] = True
    return top, band


def _ridge_shift(contrast, x, y, reach):
    """By how much the curve has to move to lie on the darkest ridge, smoothed along the line."""
    steps = np.arange(-reach, reach + 0.01, 0.5)
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
    reach = thickness + 3
    first = max(0, top - reach)
    near = bridged(strokes[first : top + len(band) + reach], thickness + 2, ANGLES)
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
    strokes, foreign, parted = _without_stamps(strokes, bridges, contrast, cells, frame, grid)
    if foreign:
        bridges &= ~np.isin(cells, list(foreign))
    found = _owned(strokes, bridges, contrast, cells, frame, grid, config)
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
    darkest = _upper(contrast.ravel()[at], part, count)
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


def _without_stamps(strokes, bridges, contrast, cells, frame, grid) -> tuple[np.ndarray, frozenset[int], bool]:
    """Take out stamps and stains: marks over cells of two rows and two columns, in ink that is not the pens'.

    Returns
    -------
    tuple
        The strokes that are left, the cells that such a mark lies over, and whether all marks could be told from
        the pens by how dark they are.
    """
    n_cols = grid.n_columns + 1
    n_cells = grid.n_rows * n_cols + 1
    count, labels = cv2.connectedComponents((strokes | bridges).view(np.uint8), connectivity=8)
    at = np.flatnonzero(strokes)
    part, lies = labels.ravel()[at], cells.ravel()[at]
    share = np.bincount(part.astype(np.int64) * n_cells + lies, minlength=count * n_cells).reshape(count, n_cells)
    area = share.sum(axis=1)
    large = np.flatnonzero(area > 150 * frame.unit**2)
    foreign: set[int] = set()
    marks = []
    for k in large:
        over = np.flatnonzero(share[k] > 0.08 * area[k])
        over = over[over > 0]
        rows, cols = np.divmod(over - 1, n_cols)
        if len(over) > 2 and len(set(rows)) > 1 and len(set(cols)) > 1:
            marks.append(k)
            foreign.update(int(c) for c in np.flatnonzero(share[k] > 10 * frame.unit**2) if c)
    if not marks:
        return strokes, frozenset(), True
    if frame.light is None:
        return strokes, frozenset(foreign), False
    colour = 1 - _greyness(frame, contrast)
    pen = float(np.median(colour.ravel()[at][~np.isin(part, marks)]))
    strokes, parted = strokes.copy(), True
    for k in marks:
        own = at[part == k]
        seen = colour.ravel()[own]
        other = float(np.quantile(seen, 0.8 if np.median(seen) > pen else 0.2))
        if abs(other - pen) < 0.2:
            parted = False
            continue
        alien = (seen - pen) * np.sign(other - pen) > abs(other - pen) / 2
        strokes.ravel()[own[alien]] = False
    count, labels, stats = parts_of(strokes)
    specks = stats[:, cv2.CC_STAT_AREA] < 30 * frame.unit**2  # what is left of a mark where it crosses other ink
    strokes &= ~(specks[labels] & np.isin(cells, list(foreign)))
    return strokes, frozenset(foreign), parted


def _greyness(frame: Frame, contrast: np.ndarray) -> np.ndarray:
    """How dark the brightest channel is beside the darkest one: 1 for black ink, less the more colour it has.

    The same on the rims of a stroke as in its middle, because both channels fade alike.
    """
    bright = cv2.blur(paper_contrast(frame.light, frame.unit), (3, 3))
    return np.clip(bright / np.maximum(cv2.blur(contrast, (3, 3)), 0.05), 0, 1)


def _upper(values: np.ndarray, labels: np.ndarray, count: int, share: float = 0.85) -> np.ndarray:
    """A high quantile of `values` (in [0, 1]) for every label: one dark speck must not vouch for a faint component."""
    steps = 100
    level = (values * (steps - 1)).astype(np.int64)
    below = np.bincount(labels.astype(np.int64) * steps + level, minlength=count * steps).reshape(count, steps)
    below = below.cumsum(axis=1)
    return (below < share * below[:, -1:]).sum(axis=1) / (steps - 1)


def _owned(strokes, bridges, contrast, cells, frame, grid, config) -> InkMap:
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
    pen = _drop_faint(who, part, contrast.ravel()[at], count, n_cells, config)
    owner = np.zeros(ink.shape, np.int16)
    owner.ravel()[at] = who
    _drop_dents(owner, frame, contrast, n_cells)
    stained = _drop_alien(owner, frame, contrast, pen) | _drop_stains(owner, contrast, pen, frame.unit)
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
    reach, close = int(32 * unit), int(9 * unit)
    for dot in np.flatnonzero((area > 0) & (area < small) & (owner_of > 0)):
        row, col = int(cy[dot]), int(cx[dot])
        near = cells[max(0, row - close) : row + close + 1, max(0, col - close) : col + close + 1]
        if (near == owner_of[dot]).all():
            continue
        top, left = max(0, row - reach), max(0, col - reach)
        around = labels[top : row + reach + 1, left : col + reach + 1]
        ys, xs = np.nonzero(area[around] >= small)
        if not len(ys):
            continue
        distance = np.hypot(ys + top - cy[dot], xs + left - cx[dot])
        writer = owner_of[around[ys, xs]]
        own = distance[writer == owner_of[dot]].min(initial=reach)
        other = np.where(np.isin(writer, near) & (writer != owner_of[dot]) & (writer > 0), distance, np.inf)
        if other.min() < min(18 * unit, 0.45 * own):
            owner_of[dot] = writer[int(other.argmin())]


def _drop_faint(who, part, contrast, count, n_cells, config) -> np.ndarray:
    """Drop components much fainter than the pen of their cell: show-through beside dark ink; changes `who`.

    All for the pixels of ink: `who` owns them, their component `part` (below `count`), their `contrast`. Returns the
    contrast of each cell's pen.
    """
    darkest = _upper(contrast, part, count)
    owned = who > 0
    pen = _upper(contrast[owned], who[owned], n_cells, 0.6)
    first = np.zeros(count, int)
    first[part] = who
    faint = darkest < np.minimum(0.42 * pen[first], 0.34)
    who[faint[part]] = 0
    return pen


def _drop_alien(owner, frame, contrast, pen) -> frozenset[int]:
    """Drop parts in the opposite colour of the pen of their cell, or pale ones in another: shreds of a coffee ring.

    Changes `owner`, int16 ``[h, w]``; `pen` is the contrast of each cell's pen. Returns the cells where that was more
    than a speck.
    """
    if frame.tint is None:
        return frozenset()
    count, labels = cv2.connectedComponents((owner > 0).view(np.uint8), connectivity=8)
    at = np.flatnonzero(owner > 0)
    part, who = labels.ravel()[at], owner.ravel()[at]
    first, tint = np.zeros(count, int), frame.tint.ravel()[at]
    first[part] = who
    area = np.maximum(np.bincount(part, minlength=count), 1)
    own = np.bincount(part, weights=tint, minlength=count) / area
    usual = np.bincount(who, weights=tint, minlength=len(pen)) / np.maximum(np.bincount(who, minlength=len(pen)), 1)
    usual = usual[first]
    coloured, pale = np.abs(usual) > 0.09, _upper(contrast.ravel()[at], part, count) < STAIN * pen[first]
    towards = own * np.sign(usual)
    gone = np.where(coloured, (towards < -0.15) | pale & (towards < -0.05), pale & (np.abs(own - usual) > 0.15))
    gone[0] = False
    owner.ravel()[at[gone[part]]] = 0
    lost = np.bincount(first, weights=area * gone, minlength=len(pen))
    return frozenset(np.flatnonzero(lost > 15 * frame.unit**2).tolist())


def _drop_stains(owner, contrast, pen, unit) -> frozenset[int]:
    """Drop what is both lighter than the pen of its cell and wider than a stroke, such as a coffee ring over it.

    Changes `owner`, int16 ``[h, w]``; `pen` is the contrast of each cell's pen. Returns the cells that were stained.
    """
    at = np.flatnonzero(owner > 0)
    who = owner.ravel()[at]
    light = np.zeros(owner.shape, np.uint8)
    light.ravel()[at] = contrast.ravel()[at] < STAIN * pen[who]
    side = max(5, int(round(5 * unit))) | 1  # px: wider than a stroke
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    core = cv2.morphologyEx(light, cv2.MORPH_OPEN, wide)
    size = np.bincount(owner[core > 0], minlength=len(pen))
    stained = np.flatnonzero(size > 60 * unit**2)
    if len(stained):
        near = cv2.dilate(core, wide, iterations=2)
        owner[(near & light > 0) & np.isin(owner, stained)] = 0
        at = np.flatnonzero(np.isin(owner, stained))
        rest = np.zeros(owner.shape, np.uint8)
        rest.ravel()[at] = 1
        count, labels = cv2.connectedComponents(rest, connectivity=8)
        part = labels.ravel()[at]
        beside = np.bincount(part, weights=cv2.dilate(near, wide).ravel()[at], minlength=count) > 0
        shred = (np.bincount(part, minlength=count) < 60 * unit**2) & beside
        pale = _upper(contrast.ravel()[at], part, count)[part] < 0.8 * pen[owner.ravel()[at]]
        owner.ravel()[at[shred[part] | pale]] = 0
    return frozenset(stained.tolist())


def _drop_dents(owner, frame, contrast, n_cells) -> None:
    """Drop what a coloured pen cannot have left: faint parts without its tint, such as dents that touch a stroke.

    Changes `owner`, int16 ``[h, w]``.
    """
    if frame.tint is None:
        return
    ink = np.flatnonzero(owner > 0)
    who = owner.ravel()[ink]
    dark, tint = contrast.ravel()[ink], frame.tint.ravel()[ink]
    size = np.maximum(np.bincount(who, minlength=n_cells), 1)
    pen_dark = np.bincount(who, weights=dark, minlength=n_cells) / size
    pen_tint = np.bincount(who, weights=tint, minlength=n_cells) / size
    sign = np.sign(pen_tint)[who]
    alien = (np.abs(pen_tint) > 0.09)[who] & (dark < 0.7 * pen_dark[who]) & (tint * sign < 0.3 * np.abs(pen_tint)[who])
    if not alien.any():
        return
    parts = np.zeros(owner.shape, np.uint8)
    parts.ravel()[ink[alien]] = 1
    count, labels = cv2.connectedComponents(parts, connectivity=8)
    # The rims of strokes lose their colour to the camera too; they are thin and short, and keep some of it.
    part = labels.ravel()[ink]
    area = np.bincount(part, minlength=count)
    colour = np.bincount(part, weights=tint * sign / np.maximum(np.abs(pen_tint)[who], 1e-6), minlength=count)
    colour = colour / np.maximum(area, 1)
    gone = (area >= 12 * frame.unit**2) & (colour < 0.07)
    gone[0] = False
    stain = gone & (colour < -0.25)  # of the opposite colour: coffee over blue ink
    boxes = {}
    for k in np.flatnonzero(gone):
        ys, xs = np.divmod(ink[part == k], owner.shape[1])
        boxes[k] = (slice(max(0, ys.min() - 1), ys.max() + 2), slice(max(0, xs.min() - 1), xs.max() + 2))
        gone[k] = max(np.ptp(ys), np.ptp(xs)) + 1 >= 8 * frame.unit
    if not gone.any():
        return
    # A faint stretch between two inked ones is the pen running light, whatever its colour.
    rest = np.zeros(owner.shape, np.uint8)
    rest.ravel()[ink[~gone[part]]] = 1
    _, kept = cv2.connectedComponents(rest, connectivity=8)
    for k in np.flatnonzero(gone):
        near = boxes[k]
        rim = cv2.dilate((labels[near] == k).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        gone[k] = stain[k] or len(np.unique(kept[near][rim & (kept[near] > 0)])) < 2
    owner.ravel()[ink[gone[part]]] = 0
