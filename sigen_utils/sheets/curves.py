"""Smooth curves through ruled lines, and where they cross."""

from __future__ import annotations

import cv2
import numpy as np

SAMPLE = 8  # px of the straightened picture between two samples of a curve


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
        heights float ``[n, k]``, the k places along x, bool ``[n, k]`` where the line was found.
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
    for search in (min(14.0, 0.2 * pitch), min(6.0, 0.12 * pitch)):
        found, weight = _ridge(along, xs, surface, search, floor)
        weight = weight * seen[:, None]
        basis = surface_basis(u, v, 6 if search < 8 else 4, 2)
        offset = _robust_fit(basis, (found - lines[:, None]).ravel(), weight.ravel(), 2.5)
        surface = lines[:, None] + (basis @ offset).reshape(surface.shape)
    found, weight = _ridge(along, xs, surface, min(5.0, 0.1 * pitch), floor)
    bends = np.polynomial.legendre.legvander(u, 8)
    own = _robust_fit(bends, found - surface, weight * np.asarray(seen)[:, None], 1.2, ridge=1.5)
    curves = surface + own @ bends.T
    near = (np.abs(found - curves) < 1.6) & (weight > 0) & np.asarray(seen)[:, None]
    return curves, xs, near


def _noise_floor(along: np.ndarray) -> float:
    sample = along[::5, ::5]
    middle = float(np.median(sample))
    return middle + 3.0 * float(np.median(np.abs(sample - middle))) + 0.008


def _ridge(along, xs, surface, search, floor):
    """Height of the darkest ridge within `search` of the surface, to a fraction of a pixel, and its weight."""
    offsets = np.arange(-int(search), int(search) + 1)
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


def surface_basis(u, v, along_degree, across_degree):
    """Products of Legendre polynomials; row-major over (line, place)."""
    a = np.polynomial.legendre.legvander(u, along_degree)
    b = np.polynomial.legendre.legvander(v, across_degree)
    return (b[:, None, :, None] * a[None, :, None, :]).reshape(len(v) * len(u), -1)


def _robust_fit(basis, target, weight, scale, ridge=0.3, rounds=8):
    """Weighted ridge regression with Tukey's weights, wide at first so that a common bow is not an outlier.

    `target` and `weight` are ``[..., n]``, `basis` is ``[n, d]``, the coefficients are ``[..., d]``.
    """
    mass = np.maximum(weight.sum(axis=-1), 1e-6)[..., None]
    penalty = ridge * 2e-5 * (1 + np.arange(basis.shape[1])) * mass + 1e-9
    penalty = penalty[..., None] * np.eye(basis.shape[1])
    trust = weight
    for step in range(rounds):
        weighted = (basis * trust[..., None]).swapaxes(-1, -2)
        fit = np.linalg.solve(weighted @ basis + penalty, weighted @ target[..., None])[..., 0]
        width = scale * (1 + 3 * 0.5**step) * 2
        trust = weight * np.clip(1 - ((target - fit @ basis.T) / width) ** 2, 0, None) ** 2
    return fit


def crossings_of(rows, xs, cols, ys):
    """Crossing of every row curve (y over x) with every column curve (x over y), by alternation."""
    x, y = np.empty((len(rows), len(cols))), np.repeat(rows.mean(axis=1)[:, None], len(cols), axis=1)
    for _ in range(6):
        for j, col in enumerate(cols):
            x[:, j] = _extended(y[:, j], ys, col)
        for i, row in enumerate(rows):
            y[i] = _extended(x[i], xs, row)
    return np.stack([x, y], axis=-1)


def _extended(at, places, values):
    """Linear interpolation that goes on straight beyond the ends."""
    before = np.minimum(at - places[0], 0) * (values[1] - values[0]) / (places[1] - places[0])
    after = np.maximum(at - places[-1], 0) * (values[-1] - values[-2]) / (places[-1] - places[-2])
    return np.interp(at, places, values) + before + after
