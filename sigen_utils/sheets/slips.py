"""Small tables, such as slips of a single row: each is looked at by itself, as if it were a photograph of its own.

In a whole photograph the upright lines of one row are too short to stand out from writing, and slips on a desk share no
rotation or perspective. But the lines of a table hang together, so each connected piece of darkness that may be one is
cut out of the photograph.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..images.parts import parts_of
from .config import ExtractionConfig
from .lines import Straightened, straighten, thin_darkness
from .network import Table, find_tables
from .photo import darkest_channel

GAPS = 7, 1, 15  # px: a line broken by less hangs together; then without, because slips lie close to each other; ...
SHORT_GAP = 7  # ... then, only if that shows none, for dashes far apart
SMALLEST = (100, 18)  # px: longer and shorter side of the smallest table that is looked for, at the finding scale
SHARE = 0.6  # of the area that hangs together, which a table has to fill: less, and it is a part of something else
FULL = 0.5  # of its outline that is dark: more, and it is writing
MOST = 30  # pieces that are looked at, the largest first: a desk may have any number of marks
PAD = 48  # px: room around a piece, so that none of its lines is taken for one that the picture cuts
FAINTER = 0.2  # darkness of the lines over that of the darkest slip beside them: less, and they are edges of pages
LEAST_INK = 25  # px of ink in the cells of a table, at least
INK = 0.06  # darkness from which on a pixel may be of a line


def darkness(photo: np.ndarray, config: ExtractionConfig) -> tuple[np.ndarray, float]:
    """`thin_darkness` of a photograph, float32 ``[h, w]``, and its size over that of the photograph."""
    scale = config.find_size / max(photo.shape)
    scale = 1.0 if scale > 0.9 else scale
    if max(photo.shape) < config.find_size / 2:  # a thumbnail: its lines are fewer pixels apart than they are searched
        scale = min(2.0, 0.8 * config.find_size / max(photo.shape))
    grey = darkest_channel(photo, scale)
    if scale > 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return thin_darkness(grey), scale


def find_slips(
    photo: np.ndarray, dark: np.ndarray, scale: float, config: ExtractionConfig, rules: list[np.ndarray]
) -> list[tuple[Straightened, Table]]:
    """Tables of any number of rows that hang together with nothing else.

    Parameters
    ----------
    photo
        uint8 RGB ``[H, W, 3]``.
    dark, scale
        Its `darkness`, with that of known tables taken out.
    config
        Settings.
    rules
        Lines printed on the paper, each float ``[k, 2]`` in pixels of the photograph: they are no slip's.

    Returns
    -------
    list
        Each table with its own straightened picture, whose `to_photo` leads to the whole photograph.
    """
    found, seen, dark = [], np.zeros(dark.shape, np.uint8), dark.copy()
    _erase(dark, rules, scale)
    tries = (gap for gap in GAPS if gap <= SHORT_GAP or not found)
    for outline, gap in ((outline, closed) for closed in tries for outline in _pieces(dark, closed)):
        x, y = np.rint(outline.mean(axis=0)).astype(int)
        if seen[y, x]:  # writing in a slip that was found
            continue
        points = (outline + 0.5) / scale - 0.5
        low = np.floor(points.min(axis=0) - 8 / scale).astype(int).clip(0)
        high = np.ceil(points.max(axis=0) + 8 / scale).astype(int)
        own, own_scale = darkness(photo[low[1] : high[1], low[0] : high[0]], config)
        _erase(own, [rule - low for rule in rules], own_scale)
        near = np.zeros(own.shape, np.uint8)
        cv2.fillConvexPoly(near, np.rint((points - low + 0.5) * own_scale - 0.5).astype(np.int32), 1)
        room = int(6 * own_scale / scale) | 1
        own *= cv2.dilate(near, np.ones((room, room), np.uint8))
        straight = straighten(cv2.copyMakeBorder(own, *[PAD] * 4, cv2.BORDER_CONSTANT, value=0.0), own_scale)
        area = cv2.contourArea(np.float32(points - low) * own_scale)
        tables, paper = find_tables(straight, least=1, bridged="" if gap <= SHORT_GAP else "crossings")
        least = SMALLEST[1] * own_scale / scale
        tables = [t for t in tables if _whole(t, least) and _filled(t, straight.dark)] if paper is None else []
        if sum(float(np.ptp(table.rows) * np.ptp(table.cols)) for table in tables) < SHARE * area:
            continue
        cv2.fillConvexPoly(seen, outline, 1)
        x, y = low - PAD / own_scale
        shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
        found += [(replace(straight, to_photo=shift @ straight.to_photo), table) for table in tables]
    darkest = max((_level(table) for _, table in found), default=0.0)
    return [(straight, table) for straight, table in found if _level(table) > FAINTER * darkest]


def _erase(dark: np.ndarray, lines: list[np.ndarray], scale: float) -> None:
    """Take lines out of a picture of `scale` times the size that they are given in, where nothing darker crosses them.

    Changes `dark`.
    """
    if not lines or not dark.any():
        return
    on = np.zeros(dark.shape, np.uint8)
    for line in lines:
        cv2.polylines(on, [np.rint((line + 0.5) * scale - 0.5).astype(np.int32)], False, 1, 5)
    dark[(on > 0) & (dark < 0.6 * np.quantile(dark[dark > INK], 0.95))] = 0


def _pieces(dark: np.ndarray, gap: int) -> list[np.ndarray]:
    """Convex outlines ``[n, 2]`` (x, y) of what hangs together and may hold a table, the largest first."""
    closed = cv2.morphologyEx((dark > INK).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
    _, labels, stats = parts_of(closed)
    sides = np.sort(stats[1:, 2:4], axis=1)
    large = 1 + np.flatnonzero((sides[:, 1] >= SMALLEST[0]) & (sides[:, 0] >= SMALLEST[1]))
    pieces = []
    for k in large[np.argsort(-stats[large, 2] * stats[large, 3])][:MOST]:
        x, y, w, h, _ = stats[k]
        ys, xs = np.nonzero(labels[y : y + h, x : x + w] == k)
        outline = cv2.convexHull(np.stack([xs + x, ys + y], axis=1).astype(np.int32))[:, 0]
        hollow = len(xs) < FULL * cv2.contourArea(outline)
        if hollow and min(cv2.minAreaRect(outline)[1]) >= SMALLEST[1]:
            pieces.append(outline)
    return pieces


def _whole(table: Table, least: float) -> bool:
    """Whether all lines of a table are seen from end to end, dark enough for print, and `least` px apart in all."""
    large = min(np.ptp(table.rows), np.ptp(table.cols)) > least
    return bool(table.tidy > 0.9 and table.row_seen.all() and table.col_seen.all() and _level(table) > 0.05 and large)


def _level(table: Table) -> float:
    """How dark its lines are, those of the fainter direction."""
    return min(float(np.median(table.row_rules.level)), float(np.median(table.col_rules.level)))


def _filled(table: Table, dark: np.ndarray) -> bool:
    """Whether there is ink in some cell: an ID at least, and not the edges of a page side by side."""
    cells = [
        dark[int(top) + 7 : int(bottom) - 6, int(left) + 7 : int(right) - 6]
        for top, bottom in zip(table.rows[:-1], table.rows[1:], strict=True)
        for left, right in zip(table.cols[:-1], table.cols[1:], strict=True)
    ]
    return sum(int((cell > 0.1).sum()) for cell in cells) >= LEAST_INK
