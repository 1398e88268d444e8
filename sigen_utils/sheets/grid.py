"""The table in one photograph: a smooth curve for every ruled line and the point where each two cross."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .curves import crossings_of, trace
from .lattice import Lattice
from .lines import Straightened
from .network import Table
from .paper import PaperRules
from .ruling import BIN, Rules

FAINT = 0.15  # darkness of a line below which it is not traced pixel by pixel


@dataclass(frozen=True)
class Grid:
    """A ruled table, in pixels of the original photograph, rows and columns as on the upright page.

    Attributes
    ----------
    points
        float ``[rows + 1, columns + 1, 2]``, (x, y) of every crossing; column 0 is the printed ID. Crossings
        of lines that run outside the photograph lie outside it.
    row_lines, col_lines
        float ``[rows + 1, k, 2]`` and ``[columns + 1, m, 2]``: the lines themselves, left to right, top to bottom.
    row_seen, col_seen
        float in [0, 1]: share of each line on which ink of a line was found; 0 for one that was added by rule.
    turn
        Quarter turns, clockwise, that make the photograph upright.
    score
        How likely this reading of the lines is; only the readings of one table can be compared.
    flags
        What a person should look at: ``missing_line``, or ``columns_by_content`` where no column is ruled.
    sides, tops
        float in [0, 1], ``[rows, columns + 1]`` and ``[rows + 1, columns]``: share of each upright and level side of
        the cells on which a line is seen. Merged cells have none between them.
    rules
        Lines printed on the paper that are none of the table's, each float ``[k, 2]``.
    """

    points: np.ndarray
    row_lines: np.ndarray
    col_lines: np.ndarray
    row_seen: np.ndarray
    col_seen: np.ndarray
    turn: int
    score: float
    flags: tuple[str, ...]
    sides: np.ndarray
    tops: np.ndarray
    rules: tuple[np.ndarray, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows, that is people."""
        return self.points.shape[0] - 1

    @property
    def n_columns(self) -> int:
        """Signature columns; the ID column is not counted."""
        return self.points.shape[1] - 2

    def quad(self, row: int, col: int) -> np.ndarray:
        """Corners of a cell, float ``[4, 2]``, clockwise from the top left of the upright page."""
        p = self.points
        return np.array([p[row, col], p[row, col + 1], p[row + 1, col + 1], p[row + 1, col]])


def refined(straight: Straightened, fit: Lattice, table: Table | None, paper: PaperRules | None) -> Grid:
    """Trace every line of a fitted lattice and cross them."""
    dark = straight.dark if paper is None else np.maximum(straight.dark - paper.level, 0)
    dark = cv2.transpose(dark) if fit.swapped else dark
    flip = fit.cols[0] > fit.cols[-1]
    order = np.argsort(fit.cols)
    level, upright = (None, None) if table is None else (table.row_rules, table.col_rules)
    level, upright = (upright, level) if fit.swapped else (level, upright)
    rows, xs, row_near = _traced(dark, fit.rows, fit.row_seen, fit.cols[order], level)
    cols, ys, col_near = _traced(cv2.transpose(dark), fit.cols[order], fit.col_seen[order], fit.rows, upright)
    points = crossings_of(rows, xs, cols, ys)
    row_lines = np.stack([np.broadcast_to(xs, rows.shape), rows], axis=-1)
    col_lines = np.stack([cols, np.broadcast_to(ys, cols.shape)], axis=-1)
    if table is None:
        row_share, tops = _seen(row_near, xs, points[..., 0], dark.shape[1])
        col_share, sides = _seen(col_near, ys, points[..., 1].T, dark.shape[0])
        sides = sides.T
    else:  # it has seen fainter lines
        tops, sides = (table.sides.T, table.tops.T) if fit.swapped else (table.tops, table.sides)
        row_share, col_share = (np.where(seen.any(axis=1), seen.mean(axis=1), 0.0) for seen in (tops, sides.T))
    if flip:
        points, col_lines, row_lines = points[:, ::-1], col_lines[::-1], row_lines[:, ::-1]
        col_share, sides, tops = col_share[::-1], sides[:, ::-1], tops[:, ::-1]
    if fit.turn in (2, 3):
        points, row_lines, col_lines = points[::-1], row_lines[::-1], col_lines[:, ::-1]
        row_share, sides, tops = row_share[::-1], sides[::-1], tops[::-1]
    rules = [] if paper is None else [line.T for line in paper.lines]
    if fit.swapped:
        points, row_lines, col_lines = points[..., ::-1], row_lines[..., ::-1], col_lines[..., ::-1]
    flags = ("missing_line",) if min(row_share.min(), col_share.min()) < 0.3 else ()
    if table is not None and table.by_content:
        flags = ("columns_by_content",)
        col_share = np.ones(len(col_share))
    points, row_lines, col_lines = (_project(straight.to_photo, p) for p in (points, row_lines, col_lines))
    rules = tuple(_project(straight.to_photo, line) for line in rules)
    return Grid(points, row_lines, col_lines, row_share, col_share, fit.turn, fit.score, flags, sides, tops, rules)


def _traced(dark, lines, seen, across, rules: Rules | None):
    """`trace`, but for lines so faint that writing would draw it away: those keep the path of the network."""
    faint = np.zeros(len(lines), bool)
    if rules is not None and len(rules.at):
        faint[np.flatnonzero(seen)] = rules.level < max(FAINT, 0.35 * float(rules.level.max(initial=0)))
    curves, places, near = trace(dark, lines, seen & ~faint, across)
    if faint.any():
        along = (np.arange(rules.path.shape[1]) + 0.5) * BIN
        for line, path in zip(np.flatnonzero(seen), rules.smooth(4), strict=True):
            if faint[line]:
                curves[line] = np.interp(places, along, path)
    return curves, places, near


def _seen(near: np.ndarray, places: np.ndarray, crossings: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of each line that is seen, from end to end ``[lines]`` and between the crossing ones ``[lines, gaps]``.

    `near` is bool ``[lines, places]``; `crossings` are the places ``[lines, gaps + 1]`` at which the others cross.
    """
    lines, gaps = len(near), crossings.shape[1] - 1
    total, parts = np.zeros(lines), np.zeros((lines, gaps))
    inside = (places >= 0) & (places < size)
    for k in range(lines):
        between = inside & (places >= crossings[k, 0]) & (places <= crossings[k, -1])
        total[k] = near[k, between].mean() if between.any() else 0.0
        for gap in range(gaps):
            low, high = crossings[k, gap : gap + 2]
            trim = min(6.0, 0.2 * (high - low))
            part = inside & (places >= low + trim) & (places <= high - trim)
            parts[k, gap] = near[k, part].mean() if part.any() else total[k]
    return total, parts


def _project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(points, np.float64).reshape(-1, 1, 2)
    return cv2.perspectiveTransform(flat, matrix).reshape(points.shape)
