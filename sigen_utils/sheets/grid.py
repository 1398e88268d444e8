"""The table in one photograph: a smooth curve for every ruled line and the point where each two cross."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .config import ExtractionConfig, SheetError
from .lattice import Lattice, find_lattices
from .lines import Straightened, straighten, thin_darkness
from .photo import darkest_channel

SAMPLE = 8  # px of the straightened picture between two samples of a curve


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
        How well the table explains the lines; `margin` is the lead over the next best turn.
    flags
        What a person should look at (``missing_line``, ``turn_unsure``, ``column_count``).
    """

    points: np.ndarray
    row_lines: np.ndarray
    col_lines: np.ndarray
    row_seen: np.ndarray
    col_seen: np.ndarray
    turn: int
    score: float
    margin: float
    flags: tuple[str, ...]

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


def find_grid(photo: np.ndarray, config: ExtractionConfig | None = None, name: str = "photograph") -> Grid:
    """Find the ruled table.

    Parameters
    ----------
    photo
        uint8 RGB ``[H, W, 3]``, any quarter turn, turned further by up to about 45 degrees.
    config
        Settings; the defaults if None.
    name
        The file's name, for the error.

    Raises
    ------
    SheetError
        When no table is found.
    """
    return next(find_grids(photo, config, name))


def find_grids(photo: np.ndarray, config: ExtractionConfig | None = None, name: str = "photograph") -> Iterator[Grid]:
    """The readings of the table, best first: more than one where the turn is in doubt. See `find_grid`."""
    config = config or ExtractionConfig()
    if min(photo.shape[:2]) < 64:
        raise SheetError(f"{name}: {photo.shape[1]} x {photo.shape[0]} pixels is too small; photograph the whole page")
    scale = min(1.0, config.find_size / max(photo.shape))
    straight = straighten(thin_darkness(darkest_channel(photo, scale)), scale)
    lattices = [fit for fit in find_lattices(straight, config) if _plausible(fit)]
    if not lattices:
        raise SheetError(
            f"{name}: no ruled table found; photograph the whole page, flat and in even light, or remove the file"
        )
    best = lattices[0].score
    kept = [fit for fit in lattices if fit.score > 0.72 * best][:4]
    others = [fit.score for fit in lattices[1:]] or [0.0]
    for fit in kept:
        yield _refined(straight, fit, config, fit.score - (others[0] if fit is kept[0] else best))


def _plausible(fit: Lattice) -> bool:
    lines = len(fit.rows) + len(fit.cols)
    seen = int(fit.row_seen.sum() + fit.col_seen.sum())
    return fit.score > 0.45 * lines and seen >= 0.6 * lines


def _refined(straight: Straightened, fit: Lattice, config: ExtractionConfig, margin: float) -> Grid:
    """Trace every line of a fitted lattice and cross them."""
    dark = cv2.transpose(straight.dark) if fit.swapped else straight.dark
    flip = fit.cols[0] > fit.cols[-1]
    order = np.argsort(fit.cols)
    rows, xs, row_share = trace(dark, fit.rows, fit.row_seen, fit.cols[order])
    flipped = cv2.transpose(dark)
    cols, ys, col_share = trace(flipped, fit.cols[order], fit.col_seen[order], fit.rows)
    points = _crossings(rows, xs, cols, ys)
    row_lines = np.stack([np.broadcast_to(xs, rows.shape), rows], axis=-1)
    col_lines = np.stack([cols, np.broadcast_to(ys, cols.shape)], axis=-1)
    if flip:
        points, col_lines, row_lines = points[:, ::-1], col_lines[::-1], row_lines[:, ::-1]
        col_share = col_share[::-1]
    if fit.turn in (2, 3):
        points, row_lines, col_lines = points[::-1], row_lines[::-1], col_lines[:, ::-1]
        row_share = row_share[::-1]
    if fit.swapped:
        points, row_lines, col_lines = points[..., ::-1], row_lines[..., ::-1], col_lines[..., ::-1]
    flags = []
    if min(row_share.min(), col_share.min()) < 0.3:
        flags.append("missing_line")
    if margin < 1.0:
        flags.append("turn_unsure")
    if points.shape[1] - 2 != config.columns:
        flags.append("column_count")
    points, row_lines, col_lines = (_project(straight.to_photo, p) for p in (points, row_lines, col_lines))
    return Grid(points, row_lines, col_lines, row_share, col_share, fit.turn, fit.score, margin, tuple(flags))


def _project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(points, np.float64).reshape(-1, 1, 2)
    return cv2.perspectiveTransform(flat, matrix).reshape(points.shape)


def trace(dark: np.ndarray, lines: np.ndarray, seen: np.ndarray, across: np.ndarray):
    """A smooth curve for each near-horizontal line.

    Parameters
    ----------
    dark
        Straightened darkness, float32 ``[h, w]``.
    lines, seen
        Heights from the lattice and whether the line was seen there.
    across
        The crossing lines, rising; curves reach a little past the outer ones.

    Returns
    -------
    tuple
        heights float ``[n, k]``, the k places along x, share of the places where the line was found ``[n]``.
        All lines first share one smooth surface (a page bends as a whole, so faint or missing lines follow
        their neighbours); then each seen line may leave it by a smooth correction of its own.
    """
    low, high = across[0] - 14, across[-1] + 14
    xs = np.linspace(low, high, max(8, int((high - low) / SAMPLE)))
    u = 2 * (xs - low) / (high - low) - 1
    middle, half = (lines[0] + lines[-1]) / 2, (lines[-1] - lines[0]) / 2
    v = (lines - middle) / half
    along = cv2.blur(dark, (15, 1))
    pitch = float(np.min(np.diff(lines)))
    surface = np.repeat(lines[:, None], len(xs), axis=1)
    floor = _noise_floor(along)
    for reach in (min(14.0, 0.2 * pitch), min(6.0, 0.12 * pitch)):
        found, weight = _ridge(along, xs, surface, reach, floor)
        weight = weight * seen[:, None]
        basis = _surface_basis(u, v, 6 if reach < 8 else 4, 2)
        offset = _robust_fit(basis, (found - lines[:, None]).ravel(), weight.ravel(), 2.5)
        surface = lines[:, None] + (basis @ offset).reshape(surface.shape)
    found, weight = _ridge(along, xs, surface, min(5.0, 0.1 * pitch), floor)
    bends = np.polynomial.legendre.legvander(u, 8)
    curves, share = surface.copy(), np.zeros(len(lines))
    between = (xs >= across[0]) & (xs <= across[-1]) & (xs >= 0) & (xs < dark.shape[1])
    for i in range(len(lines)):
        own = _robust_fit(bends, found[i] - surface[i], weight[i] * seen[i], 1.2, ridge=1.5)
        curves[i] += bends @ own
        near = (np.abs(found[i] - curves[i]) < 1.6) & (weight[i] > 0)
        share[i] = near[between].mean() if seen[i] and between.any() else 0.0
    return curves, xs, share


def _noise_floor(along: np.ndarray) -> float:
    sample = along[::5, ::5]
    middle = float(np.median(sample))
    return middle + 3.0 * float(np.median(np.abs(sample - middle))) + 0.008


def _ridge(along, xs, surface, reach, floor):
    """Height of the darkest ridge within `reach` of the surface, to a fraction of a pixel, and its weight."""
    offsets = np.arange(-int(reach), int(reach) + 1)
    h, w = along.shape
    y = np.rint(surface)[..., None] + offsets
    x = np.rint(xs).astype(int)
    value = along[np.clip(y, 0, h - 1).astype(int), np.clip(x, 0, w - 1)[None, :, None]]
    value = np.where((y >= 0) & (y < h) & ((x >= 0) & (x < w))[None, :, None], value, 0)
    peak = value.argmax(axis=2)[..., None]
    top = np.take_along_axis(value, peak, 2)
    mass = np.where(np.abs(np.arange(len(offsets)) - peak) <= 3, np.maximum(value - 0.4 * top, 0), 0)
    found = (mass * y).sum(axis=2) / np.maximum(mass.sum(axis=2), 1e-9)
    found = np.where(mass.sum(axis=2) > 0, found, surface)
    return found, np.where(top[..., 0] > floor, np.minimum(top[..., 0], 0.3), 0.0)


def _surface_basis(u, v, along_degree, across_degree):
    """Products of Legendre polynomials; row-major over (line, place)."""
    a = np.polynomial.legendre.legvander(u, along_degree)
    b = np.polynomial.legendre.legvander(v, across_degree)
    return (b[:, None, :, None] * a[None, :, None, :]).reshape(len(v) * len(u), -1)


def _robust_fit(basis, target, weight, scale, ridge=0.3, rounds=8):
    """Weighted ridge regression with Tukey's weights, wide at first so that a common bow is not an outlier."""
    penalty = ridge * 1e-2 * (1 + np.arange(basis.shape[1])) * max(weight.sum(), 1e-6) / 10
    coefficients = np.zeros(basis.shape[1])
    trust = weight
    for step in range(rounds):
        weighted = basis * trust[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + np.diag(penalty * 0.02 + 1e-9), weighted.T @ target)
        width = scale * (1 + 3 * 0.5**step) * 2
        trust = weight * np.clip(1 - ((target - basis @ coefficients) / width) ** 2, 0, None) ** 2
    return coefficients


def _crossings(rows, xs, cols, ys):
    """Crossing of every row curve (y over x) with every column curve (x over y), by alternation."""
    points = np.empty((len(rows), len(cols), 2))
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            y = row.mean()
            for _ in range(6):
                x = _extended(y, ys, col)
                y = _extended(x, xs, row)
            points[i, j] = x, y
    return points


def _extended(at, places, values):
    """Linear interpolation that goes on straight beyond the ends."""
    if at < places[0]:
        return values[0] + (at - places[0]) * (values[1] - values[0]) / (places[1] - places[0])
    if at > places[-1]:
        return values[-1] + (at - places[-1]) * (values[-1] - values[-2]) / (places[-1] - places[-2])
    return np.interp(at, places, values)
