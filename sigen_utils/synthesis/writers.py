"""Who signs: a person's hand, the form of the signature, and its via-points.

A person is drawn once from an own random stream: a name, a hand (slant, size, roundness, haste, pen ...) and the
*prototype*, the via-points that the person has in mind. Each signature is the prototype as it comes out that time
(`vary`), written by `kinematics`. Prototypes are in px of the sheet (a cell is 205 x 100), y down, centred on 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .config import SynthesisConfig
from .forms import FORMS, NAMES, compose
from .hand import Hand, Mark, draw_hand
from .ink import PENS, Pen


@dataclass(frozen=True)
class Writer:
    """A person of the synthetic class."""

    person_id: int
    name: str
    form: str  # a key of FORMS
    hand: Hand
    pen: Pen
    marks: tuple[Mark, ...]  # the prototype, px
    place: np.ndarray  # usual offset from the middle of the cell, px


def _to_px(marks: list[Mark], hand: Hand, rng) -> tuple[Mark, ...]:
    """x-heights, y up -> px, y down, slanted, on a rising baseline, of a size that people give a cell of 205 x 100."""
    shear = np.array([[1.0, 0.0], [np.tan(np.clip(hand.slant, -0.5, 0.8)), 1.0]])
    turn = np.array([[np.cos(hand.rise), np.sin(hand.rise)], [-np.sin(hand.rise), np.cos(hand.rise)]])
    points = [m.points @ shear @ turn * [hand.x_height, -hand.x_height] for m in marks]
    low, high = np.min([p.min(0) for p in points], axis=0), np.max([p.max(0) for p in points], axis=0)
    span = np.maximum(high - low, 1.0)
    scale = min(1.0, rng.uniform(110, 190) / span[0], rng.uniform(50, 94) / span[1])
    scale = max(scale, min(1.6, 88 / span[0], 66 / span[1]))
    return tuple(Mark((p - (low + high) / 2) * scale, m.corners, m.kind) for p, m in zip(points, marks, strict=True))


def make_writer(config: SynthesisConfig, person_id: int) -> Writer:
    """The person with this ID: always the same for a seed, whatever the size of the class."""
    rng = config.stream("writer", person_id)
    form = str(rng.choice(list(FORMS), p=[share for share, _ in FORMS.values()]))
    name = str(rng.choice(NAMES))
    hand = draw_hand(form in ("hasty", "scribble", "initials"), rng)
    pen = PENS[int(rng.choice(len(PENS), p=[p.share for p in PENS]))].personal(rng)
    marks = compose(form, name, hand, rng)
    place = np.array([rng.normal(-17, 9), rng.normal(-0.5, 4.0)])
    return Writer(person_id, name, form, hand, pen, _to_px(marks, hand, rng), place)


NAMED = ("printed", "joined", "hasty")  # forms that are read from left to right as a name


def with_surname(writer: Writer, rng: np.random.Generator) -> Writer:
    """The same person who signs with a second name behind the first, as where there is more room than a cell."""
    second = _to_px(compose(writer.form, str(rng.choice(NAMES)), writer.hand, rng), writer.hand, rng)
    gap = rng.uniform(0.3, 1.2) * writer.hand.x_height
    shift = max(m.points[:, 0].max() for m in writer.marks) + gap - min(m.points[:, 0].min() for m in second)
    step = np.array([shift, rng.normal(0, 0.25) * writer.hand.x_height])
    return replace(writer, marks=writer.marks + tuple(replace(m, points=m.points + step) for m in second))


def vary(writer: Writer, rng: np.random.Generator, amount: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The prototype as it is meant this time.

    The signature differs in size, slant, turn and place; each stroke in place and length; each via-point a little;
    and now and then a dot or a line is left out. Returns components for `kinematics.plan_movement`.
    """
    s = 0.93 * amount * writer.hand.unsteady
    unit = writer.hand.x_height
    frame = np.array(
        [[1 + s * rng.normal(0, 0.06), s * rng.normal(0, 0.02)], [s * rng.normal(0, 0.05), 1 + s * rng.normal(0, 0.06)]]
    )
    frame *= 1 + s * rng.normal(0, 0.05)
    phase, wave = rng.uniform(0, 2 * np.pi, 4), s * rng.normal(0, 0.07, 4) * unit
    components = []
    for mark in writer.marks:
        left_out = rng.random() < 0.035 * s and mark.kind != "body"
        points = mark.points.copy()
        if mark.kind != "body":
            middle = points.mean(0)
            points = middle + (points - middle) * np.exp(s * rng.normal(0, 0.11)) + s * rng.normal(0, 0.12, 2) * unit
        points = points + s * rng.normal(0, 0.045, points.shape) * unit
        if len(points) > 2 and mark.kind == "body":  # the run-out differs most
            points[-1] += s * rng.normal(0, 0.09) * (points[-1] - points[-2]) + s * rng.normal(0, 0.08, 2) * unit
        # neighbouring points are misplaced together: a slow wave over the signature
        k = points[:, 0] / 60.0
        points[:, 0] += wave[0] * np.sin(2 * k + phase[0]) + wave[1] * np.sin(4 * k + phase[1])
        points[:, 1] += wave[2] * np.sin(2 * k + phase[2]) + wave[3] * np.sin(4 * k + phase[3])
        points = points @ frame
        if len(points) == 1:  # a dot is a tiny stroke
            points = np.vstack([points, points + rng.normal(0, 1.0, 2)])
        if not left_out:
            components.append((points, np.resize(mark.corners, len(points))))
    return components
