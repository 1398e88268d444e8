"""Pen movement by the sigma-lognormal model of the kinematic theory of rapid human movements.

A movement is a sum of overlapping strokes. Stroke *i* is commanded at time t0, turns steadily from direction
theta_s to theta_e, covers the distance D and has the speed of a lognormal impulse,

    |v_i(t)| = D_i / (sigma_i sqrt(2 pi) (t - t0_i)) exp(-(ln(t - t0_i) - mu_i)^2 / (2 sigma_i^2)),

so the area below its speed is D_i (R. Plamondon, Biol. Cybern. 72, 1995; C. O'Reilly and R. Plamondon, Pattern
Recognition 42, 2009). The pen's velocity is the vector sum of all strokes: a stroke begun before the last has
ended rounds the corner between them, and in haste letters melt into waves. Synthetic signatures by this model:
M. A. Ferrer et al., IEEE TPAMI 37 (2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

_SPAN = 2.6  # a stroke lasts from exp(mu - 2.6 sigma) to exp(mu + 2.6 sigma): 99.1 % of its way


@dataclass(frozen=True)
class Plan:
    """Parameters of the strokes of a movement, arrays of length n (distances in px, times in s, angles in rad)."""

    origin: np.ndarray  # [2], where the pen is before the first stroke
    distance: np.ndarray  # D
    onset: np.ndarray  # t0
    mu: np.ndarray
    sigma: np.ndarray
    theta_s: np.ndarray
    theta_e: np.ndarray
    component: np.ndarray  # int, pen-down component that a stroke belongs to; -1 in the air
    start: np.ndarray  # time of perceptible begin
    end: np.ndarray  # time of perceptible end

    def __len__(self) -> int:
        return len(self.distance)


@dataclass(frozen=True)
class Trajectory:
    """A movement sampled in time: t [n] in s, xy [n, 2] and speed [n] in px and px/s, component [n] (-1: pen up)."""

    t: np.ndarray
    xy: np.ndarray
    speed: np.ndarray
    component: np.ndarray


def lognormal_parameters(start: np.ndarray, duration: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t0, mu) of strokes that are perceptible from `start` for `duration` seconds."""
    mu = np.log(duration / (2.0 * np.sinh(_SPAN * sigma)))
    return start - np.exp(mu - _SPAN * sigma), mu


def progress(plan: Plan, t: np.ndarray) -> np.ndarray:
    """Share of its way that each stroke has covered by each time: lognormal distribution function, [n, len(t)]."""
    since = np.maximum(t[None, :] - plan.onset[:, None], 1e-9)
    return ndtr((np.log(since) - plan.mu[:, None]) / plan.sigma[:, None])


def stroke_speed(plan: Plan, t: np.ndarray) -> np.ndarray:
    """Speed of each stroke alone, px/s, [n, len(t)]: D times the lognormal density."""
    since = np.maximum(t[None, :] - plan.onset[:, None], 1e-9)
    sigma = plan.sigma[:, None]
    z = (np.log(since) - plan.mu[:, None]) / sigma
    return plan.distance[:, None] * np.exp(-0.5 * z * z) / (sigma * np.sqrt(2 * np.pi) * since)


def move(plan: Plan, dt: float = 0.004) -> Trajectory:
    """Carry a plan out.

    The position has a closed form: a stroke runs along a circular arc, of which the lognormal distribution
    function says how much is done. The pen touches the paper while strokes of a component last.

    Parameters
    ----------
    plan
        The strokes.
    dt
        Sampling interval, s.
    """
    t = np.arange(plan.start[0] - dt, plan.end.max() + dt, dt)
    done = progress(plan, t)
    bend = plan.theta_e - plan.theta_s
    straight = np.abs(bend) < 1e-4
    safe = np.where(straight, 1.0, bend)[:, None]
    angle = plan.theta_s[:, None] + bend[:, None] * done
    begin = plan.theta_s[:, None]
    way = plan.distance[:, None]
    dx = np.where(straight[:, None], way * done * np.cos(begin), way / safe * (np.sin(angle) - np.sin(begin)))
    dy = np.where(straight[:, None], way * done * np.sin(begin), way / safe * (np.cos(begin) - np.cos(angle)))
    xy = plan.origin + np.stack([dx.sum(0), dy.sum(0)], axis=1)
    speed = np.hypot(*np.gradient(xy, dt, axis=0).T)
    component = np.full(len(t), -1)
    for k in range(plan.component.max() + 1):
        own = plan.component == k
        component[(t >= plan.start[own].min()) & (t <= plan.end[own].max())] = k
    return Trajectory(t, xy, speed, component)


def arc_angles(points: np.ndarray, corners: np.ndarray, roundness: float) -> np.ndarray:
    """Turn of each stroke between via-points so that the pen passes smooth ones without a kink, rad, [n - 1].

    At a smooth via-point the pen heads along the circle through it and its neighbours; at a corner or an end
    the heading is free and follows from the other end of the stroke.
    """
    steps = np.diff(points, axis=0)
    length = np.hypot(*steps.T) + 1e-6
    chord = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    turn = np.diff(chord)
    smooth = ~corners[1:-1] & (np.abs(turn) < 2.4)
    after = np.full(len(chord), np.nan)  # heading at a stroke's end, relative to its chord
    before = np.full(len(chord), np.nan)  # and at its begin
    share = length[:-1] / (length[:-1] + length[1:])
    after[:-1][smooth] = (turn * share)[smooth]
    before[1:][smooth] = (-turn * (1 - share))[smooth]
    free_after, free_before = np.isnan(after), np.isnan(before)
    after, before = np.where(free_after, -0.5 * before, after), np.where(free_before, -0.5 * after, before)
    angles = np.nan_to_num(after) - np.nan_to_num(before)
    return np.clip(roundness * angles, -2.6, 2.6)


def _correct_in_air(steps: np.ndarray, gain: np.ndarray, tilt: np.ndarray, air: np.ndarray) -> np.ndarray:
    """Displacements times `gain`, turned by `tilt`; strokes in the `air` make good what the others missed."""
    cos, sin, (x, y) = np.cos(tilt), np.sin(tilt), steps.T
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    actual = np.where(air[:, None], steps, turned * gain[:, None])
    missed = np.cumsum(np.where(air[:, None], 0.0, steps - actual), axis=0)
    due = missed[air]
    actual[air] += np.diff(np.vstack([np.zeros((1, 2)), due]), axis=0)
    return actual


def plan_movement(components, hand, rng: np.random.Generator, noise: float) -> Plan:
    """Plan the strokes through the via-points of a signature.

    Parameters
    ----------
    components
        Sequence of (points [n, 2] in px, y down, corners bool [n]), in writing order; the pen is up between
        them.
    hand
        Has `roundness`, `overlap`, `corner_overlap`, `tempo` (s for a stroke of 20 px) and `sigma`.
    rng
        Stream of this one signature.
    noise
        Spread of the motor parameters D, theta, t0, mu and sigma; 1 is like people, 0 repeats the plan exactly.
    """
    steps, angles, overlap, owner = [], [], [], []
    for k, (points, corners) in enumerate(components):
        if k:  # in the air: straight, and nearly at rest at both ends
            steps.append((points[0] - components[k - 1][0][-1])[None])
            angles.append([0.0])
            overlap.append([0.22])
            owner.append([-1])
        n = len(points) - 1
        steps.append(np.diff(points, axis=0))
        angles.append(arc_angles(points, corners, hand.roundness))
        inner = np.where(corners[1:-1], hand.corner_overlap, hand.overlap)
        overlap.append([*inner, 0.22])
        owner.append([k] * n)
    steps, angles, overlap, owner = (np.concatenate(a) for a in (steps, angles, overlap, owner))
    owner = owner.astype(int)
    n = len(steps)
    angles = angles + noise * rng.normal(0, 0.10, n)
    # D and the heading err from stroke to stroke; the eye sees the drift, and the pen in the air corrects it.
    error, tilt = noise * rng.normal(0, 0.045, n), noise * rng.normal(0, 0.035, n)
    error[1:] -= 0.5 * error[:-1]
    tilt[1:] -= 0.5 * tilt[:-1]
    steps = _correct_in_air(steps, np.exp(error), tilt, owner < 0)
    chord = np.hypot(*steps.T) + 1e-6
    half = np.maximum(np.abs(angles) / 2, 1e-4)
    distance = chord * half / np.sin(half)
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    duration = hand.tempo * (np.maximum(distance, 1.5) / 20.0) ** 0.38 * np.exp(noise * rng.normal(0, 0.07, n))
    sigma = hand.sigma * np.exp(noise * rng.normal(0, 0.06, n))
    overlap = np.clip(overlap + noise * rng.normal(0, 0.03, n), 0.05, 0.85)
    begin = 0.1 + np.concatenate([[0.0], np.cumsum(duration * (1 - overlap))[:-1]])
    onset, mu = lognormal_parameters(begin, duration, sigma)
    return Plan(
        np.asarray(components[0][0][0], float), distance, onset, mu, sigma,
        heading - angles / 2, heading + angles / 2, owner, begin, begin + duration,
    )  # fmt: skip
