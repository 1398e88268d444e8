"""Ink: what a pen leaves of a movement.

The pen's path is stamped with discs finer than a pixel apart, whose radius and density follow the speed and the
pressure: slow pens leave more ink. Two strokes over each other are darker than one. Coverage is in [0, 1],
anti-aliased.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .kinematics import Trajectory

STEP = 0.4  # px between the samples of a pen's path
MARGIN = 4.0  # canvas pixels around the ink


@dataclass(frozen=True)
class Pen:
    """A pen: width in px of the sheet (cell 205 x 100), ink by its absorbance (ln) of red, green and blue light."""

    name: str
    share: float  # how many people use it
    width: float
    absorbance: tuple[float, float, float]
    flow: float  # density of a stroke at usual speed, 1 covers
    response: float  # how much width and density fall with speed
    grain: float  # unevenness of the line

    def personal(self, rng: np.random.Generator) -> Pen:
        """This pen as one person has and holds it."""
        tint = np.exp(rng.normal(0, 0.07, 3))
        return replace(
            self,
            width=self.width * float(np.exp(rng.normal(0, 0.1))),
            absorbance=tuple(float(a * t) for a, t in zip(self.absorbance, tint, strict=True)),
            flow=float(np.clip(self.flow * np.exp(rng.normal(0, 0.1)), 0.25, 1.0)),
        )


PENS = (
    Pen("blue ballpoint", 0.33, 1.84, (1.22, 1.18, 0.54), 0.80, 0.42, 0.18),
    Pen("blue-black ballpoint", 0.15, 1.84, (1.22, 1.24, 0.84), 0.80, 0.42, 0.18),
    Pen("black ballpoint", 0.17, 1.84, (1.18, 1.22, 1.06), 0.80, 0.42, 0.18),
    Pen("violet ballpoint", 0.08, 1.84, (1.05, 1.22, 0.58), 0.80, 0.42, 0.18),
    Pen("blue gel", 0.10, 2.13, (1.54, 0.98, 0.54), 0.95, 0.28, 0.07),
    Pen("black gel", 0.08, 2.23, (1.36, 1.38, 1.24), 0.97, 0.28, 0.07),
    Pen("marker", 0.04, 3.05, (1.41, 1.38, 1.24), 0.97, 0.28, 0.06),
    Pen("faint blue", 0.04, 1.55, (1.10, 1.05, 0.48), 0.55, 0.42, 0.25),
    Pen("red ballpoint", 0.01, 1.84, (0.31, 1.19, 0.97), 0.80, 0.42, 0.18),
)


def _smooth_noise(n: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Unit noise of n values that changes over `length` values."""
    knots = rng.normal(0, 1, int(n / length) + 4)
    return np.interp(np.linspace(0, len(knots) - 2, n), np.arange(len(knots)), knots)


def trace(trajectory: Trajectory, pen: Pen, taper: float, rng: np.random.Generator):
    """Path of a pen on paper.

    Returns
    -------
    list of (xy [n, 2], radius [n], density [n])
        One entry a pen-down component, sampled every `STEP` px at most; radius in px, density in [0, 1].
    """
    down = trajectory.component >= 0
    if not down.any():
        return []
    usual = np.median(trajectory.speed[down]) + 1e-6
    strokes = []
    for k in range(trajectory.component.max() + 1):
        own = np.flatnonzero(trajectory.component == k)
        if len(own) < 2:
            continue
        xy, speed = trajectory.xy[own], trajectory.speed[own]
        path = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
        at = np.linspace(0, path[-1], max(int(path[-1] / STEP) + 2, 3))
        path = path + np.arange(len(path)) * 1e-9  # np.interp wants increasing abscissae
        xy = np.stack([np.interp(at, path, xy[:, 0]), np.interp(at, path, xy[:, 1])], axis=1)
        pace = np.interp(at, path, speed) / usual
        fall = pen.response * np.tanh(np.log1p(pace) - np.log(2.0))
        n, ramp = len(at), min(14.0, 0.3 * path[-1])
        sink = np.gradient(xy[:, 1]) / (np.hypot(*np.gradient(xy, axis=0).T) + 1e-6)  # 1 downwards, where fingers press
        press = 1 - fall + 0.12 * sink
        press = press + 0.11 * _smooth_noise(n, 22 / STEP, rng) + 0.09 * _smooth_noise(n, 4 / STEP, rng)
        xy = xy + 0.20 * np.stack([_smooth_noise(n, 3 / STEP, rng) for _ in range(2)], axis=1)  # tremor, paper
        if ramp > 1.5:  # landing and flying off; the end is faster, so it thins out over a longer distance
            off = 0.85 * taper * np.exp(-(path[-1] - at) / (0.5 * ramp))
            press *= 1 - 0.5 * taper * np.exp(-at / (0.25 * ramp)) - off
        press = np.clip(press, 0.12, 1.35)
        radius = 0.5 * pen.width * (0.35 + 0.65 * press)
        density = pen.flow * press**0.8 * (1 + pen.grain * _smooth_noise(n, 2.2 / STEP, rng))
        strokes.append((xy, radius, np.clip(density, 0.05, 1.0)))
    return strokes


def deposit(strokes, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Stamp strokes onto a canvas just large enough.

    Parameters
    ----------
    strokes
        As `trace` returns them.
    scale
        Canvas pixels a px of the strokes.

    Returns
    -------
    coverage, corner
        float32 [h, w] in [0, 1], and the place of its top left pixel's centre in canvas pixels, int (x, y).
    """
    if not strokes:
        return np.zeros((1, 1), np.float32), np.zeros(2, int)
    low = np.min([xy.min(0) for xy, _, _ in strokes], axis=0) * scale
    high = np.max([xy.max(0) for xy, _, _ in strokes], axis=0) * scale
    half = int(np.ceil(max(r.max() for _, r, _ in strokes) * scale + 1))  # of the largest disc's side
    corner = np.floor(low - half - MARGIN).astype(int)
    width, height = np.ceil(high - corner + half + MARGIN).astype(int) + 1
    offsets = np.arange(-half, half + 1)
    coverage = np.zeros((height, width), np.float32)
    for xy, radius, density in strokes:
        at = xy * scale - corner
        cell = np.rint(at).astype(int)
        rest = (cell - at).astype(np.float32)
        dx = offsets.astype(np.float32)[None, None, :] + rest[:, 0, None, None]
        dy = offsets.astype(np.float32)[None, :, None] + rest[:, 1, None, None]
        disc = np.clip((radius * scale + 0.5).astype(np.float32)[:, None, None] - np.sqrt(dx * dx + dy * dy), 0, 1)
        disc *= density.astype(np.float32)[:, None, None]
        index = (cell[:, 1, None] + offsets)[:, :, None] * width + (cell[:, 0, None] + offsets)[:, None, :]
        layer = np.zeros(height * width, np.float32)
        np.maximum.at(layer, index.ravel(), disc.ravel())
        layer = layer.reshape(height, width)
        coverage = np.maximum(coverage, layer) + 0.35 * np.minimum(coverage, layer) * (1 - np.maximum(coverage, layer))
    return coverage, corner
