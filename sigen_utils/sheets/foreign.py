"""Ink that no pen of the sheet has left: stamps, stains, dents, and what shows through from the back."""

from __future__ import annotations

import cv2
import numpy as np

from ..images.parts import parts_of
from .frame import Frame, paper_contrast

STAIN = 0.6  # of the contrast of the pen: below it, and wider than a stroke, nothing is of the pen


def without_stamps(strokes, bridges, contrast, cells, frame, grid) -> tuple[np.ndarray, frozenset[int], bool]:
    """Take out stamps and stains: marks over cells of two rows and two columns, in ink that is not the pens'.

    Returns
    -------
    tuple
        The strokes that are left, the cells that such a mark lies over, and whether all marks could be parted from
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


def upper(values: np.ndarray, labels: np.ndarray, count: int, share: float = 0.85) -> np.ndarray:
    """A high quantile of `values` (in [0, 1]) for every label: one dark speck must not vouch for a faint component."""
    steps = 100
    level = (values * (steps - 1)).astype(np.int64)
    below = np.bincount(labels.astype(np.int64) * steps + level, minlength=count * steps).reshape(count, steps)
    below = below.cumsum(axis=1)
    return (below < share * below[:, -1:]).sum(axis=1) / (steps - 1)


def drop_faint(who, part, contrast, count, n_cells) -> np.ndarray:
    """Drop components much fainter than the pen of their cell: show-through beside dark ink; changes `who`.

    All for the pixels of ink: `who` owns them, their component `part` (below `count`), their `contrast`. Returns the
    contrast of each cell's pen.
    """
    darkest = upper(contrast, part, count)
    owned = who > 0
    pen = upper(contrast[owned], who[owned], n_cells, 0.6)
    first = np.zeros(count, int)
    first[part] = who
    faint = darkest < np.minimum(0.42 * pen[first], 0.34)
    who[faint[part]] = 0
    return pen


def drop_alien(owner, frame, contrast, pen) -> frozenset[int]:
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
    coloured, pale = np.abs(usual) > 0.09, upper(contrast.ravel()[at], part, count) < STAIN * pen[first]
    towards = own * np.sign(usual)
    gone = np.where(coloured, (towards < -0.15) | pale & (towards < -0.05), pale & (np.abs(own - usual) > 0.15))
    gone[0] = False
    owner.ravel()[at[gone[part]]] = 0
    lost = np.bincount(first, weights=area * gone, minlength=len(pen))
    return frozenset(np.flatnonzero(lost > 15 * frame.unit**2).tolist())


def drop_stains(owner, contrast, pen, unit) -> frozenset[int]:
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
        pale = upper(contrast.ravel()[at], part, count)[part] < 0.8 * pen[owner.ravel()[at]]
        owner.ravel()[at[shred[part] | pale]] = 0
    return frozenset(stained.tolist())


def drop_dents(owner, frame, contrast, n_cells) -> None:
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
