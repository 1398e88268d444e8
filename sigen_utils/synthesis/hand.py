"""A person's hand, and the pen-down strokes that a signature is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hand:
    """How a person writes. Lengths in x-heights unless said otherwise, angles in rad."""

    x_height: float  # px
    slant: float  # positive leans to the right
    aspect: float  # width over height of letters, 1 is upright school script
    spacing: float  # gap between letters
    roundness: float  # factor on the arcs between via-points; low is angular
    rise: float  # angle of the baseline, positive climbs
    overlap: float  # how far a stroke begins before the last one ends; high is fluent and hasty
    corner_overlap: float  # the same at corners
    tempo: float  # s for a stroke of 20 px
    sigma: float  # spread of the lognormal impulses
    capital: float  # size of the first letter against the others
    extender: float  # length of ascenders and descenders, 1 is usual
    habit: float  # how far own letters differ from the copybook
    angular: float  # share of round turns made as points
    unsteady: float  # how much signatures differ; 1 is average
    taper: float  # how much strokes thin out when the pen flies off


@dataclass(frozen=True)
class Mark:
    """A pen-down component: points [n, 2], corners bool [n], and what it is ('body', 'line', 'dot')."""

    points: np.ndarray
    corners: np.ndarray
    kind: str = "body"


def draw_hand(hasty: bool, rng: np.random.Generator) -> Hand:
    """A hand at random; `hasty` ones are larger, faster and more fluent."""
    return Hand(
        x_height=float(np.clip(rng.lognormal(np.log(19 if not hasty else 23), 0.22), 9, 34)),
        slant=float(rng.normal(0.2, 0.2)),
        aspect=float(np.clip(rng.lognormal(0.13, 0.2), 0.65, 1.9)),
        spacing=float(rng.uniform(0.08, 0.34)),
        roundness=float(np.clip(rng.normal(0.9, 0.2), 0.4, 1.2)),
        rise=float(rng.normal(0.08, 0.11) if rng.random() < 0.8 else rng.normal(0.4, 0.13)),
        overlap=float(np.clip(rng.normal(0.56 if hasty else 0.5, 0.06), 0.35, 0.68)),
        corner_overlap=float(np.clip(rng.normal(0.36 if hasty else 0.28, 0.07), 0.12, 0.5)),
        tempo=float(rng.lognormal(np.log(0.13 if hasty else 0.17), 0.2)),
        sigma=float(rng.uniform(0.18, 0.32)),
        capital=float(np.clip(rng.lognormal(0.05, 0.2), 0.75, 1.7)),
        extender=float(np.clip(rng.lognormal(0.0, 0.25), 0.6, 1.8)),
        habit=float(rng.uniform(0.02, 0.09)),
        angular=float(rng.choice([0.0, 0.12, 0.35], p=[0.4, 0.35, 0.25])),
        unsteady=float(np.clip(rng.lognormal(0.0, 0.3), 0.55, 1.7)),
        taper=float(rng.uniform(0.1, 0.8)),
    )
