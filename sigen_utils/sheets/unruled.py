"""A table with lines in one direction only: its columns are where every row is blank."""

from __future__ import annotations

import cv2
import numpy as np

from .lines import Straightened
from .network import Table, shares_of
from .ruling import BIN, Rules, find_rules


def open_table(straight: Straightened, flipped: bool = False) -> Table | None:
    """A table that has no upright lines: its columns are where every row is blank.

    `flipped` looks for lines along y. The columns' lines are not seen, so nothing can say that a gap between two words
    is none between two columns: whoever takes this has to say so.
    """
    dark = cv2.transpose(straight.dark) if flipped else straight.dark
    level = find_rules(dark)
    ends = level.extents()
    length = ends[:, 1] - ends[:, 0]
    strong = level.level > 0.4 * np.quantile(level.level, 0.9) if len(ends) else np.zeros(0, bool)
    long = np.flatnonzero(strong & (length > 0.4 * dark.shape[1]))
    if len(long) < 4:
        return None
    slack = 0.06 * float(np.median(length[long]))
    sides = [_leaning(level.at[long], ends[long, k]) for k in (0, 1)]  # where the lines begin and end, over y
    off = [np.abs(ends[long, k] - np.polyval(sides[k], level.at[long])) for k in (0, 1)]
    lines = long[(off[0] < slack) & (off[1] < slack)]
    gaps = np.diff(level.at[lines])
    if len(lines) < 4 or gaps.max() > 3 * np.median(gaps):
        return None
    rows, share = [], np.linspace(0, 1, int(np.median(length[lines])))
    paths = level.chosen(lines).smooth()
    along = (np.arange(paths.shape[1]) + 0.5) * BIN
    ink = (dark > 0.2).astype(np.uint8)
    for above, below in zip(paths[:-1], paths[1:], strict=True):
        middle = float(above.mean() + below.mean()) / 2
        left, right = (float(np.polyval(side, middle)) for side in sides)
        x = left + share * (right - left)
        top, bottom = np.interp(x, along, above), np.interp(x, along, below)
        y = np.rint(top + np.linspace(0.12, 0.88, 40)[:, None] * (bottom - top)).astype(int).clip(0, dark.shape[0] - 1)
        rows.append(ink[y, np.rint(x).astype(int).clip(0, dark.shape[1] - 1)].any(axis=0))
    blank = np.array(rows).sum(axis=0) <= 0.12 * len(rows)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blank, [0]]))).reshape(-1, 2)
    inner = [(a + b) / 2 / len(share) for a, b in edges if a > 0 and b < len(share) and b - a >= 10]
    upright = find_rules(cv2.transpose(dark)).present
    span = slice(int(level.at[lines[0]] // BIN), int(level.at[lines[-1]] // BIN) + 1)
    if not inner or (upright[:, span].mean(axis=1) > 0.75).sum() > 1:
        return None
    at = np.array([0.0, *inner, 1.0])[:, None]
    y = (np.arange(dark.shape[0] // BIN) + 0.5) * BIN
    path = (1 - at) * np.polyval(sides[0], y) + at * np.polyval(sides[1], y)
    cols = (1 - at[:, 0]) * np.polyval(sides[0], level.at[lines].mean()) + at[:, 0] * np.polyval(
        sides[1], level.at[lines].mean()
    )
    by_content = Rules(cols, path, np.ones(path.shape, bool), np.zeros(len(cols)), cv2.transpose(dark))
    tops = shares_of(level, lines.tolist(), cols, np.ones(len(lines), bool))
    table = Table(level.at[lines], cols, np.ones(len(lines), bool), np.ones(len(cols), bool),
                  np.zeros((len(lines) - 1, len(cols))), tops, lines, np.zeros(0, int), level.chosen(lines),
                  by_content, by_content=True)  # fmt: skip
    return table.transposed() if flipped else table


def _leaning(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A straight line x over y through most of the points."""
    weight = np.ones(len(y))
    for width in (40.0, 20.0, 10.0, 10.0):
        fit = np.polyfit(y, x, 1, w=np.sqrt(weight) + 1e-3)
        weight = np.clip(1 - ((x - np.polyval(fit, y)) / width) ** 2, 0, None)
    return fit
