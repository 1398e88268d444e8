"""Squared and lined paper: rules that are none of the table's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .curves import surface_basis
from .ruling import BIN, Rules

if TYPE_CHECKING:
    from .network import Table


@dataclass(frozen=True)
class PaperRules:
    """Squared or lined paper: paths in the straightened picture, ``[n, 2, points]`` x and y, and their darkness."""

    lines: list[np.ndarray]
    level: float


def paper_rules(level: Rules, upright: Rules, table: Table) -> PaperRules | None:
    """Rules of the paper: many faint lines that go on beyond the far darker ones of a table."""
    depth = np.concatenate([level.level[table.row_lines], upright.level[table.col_lines]])
    if len(depth) < 10:
        return None
    strong = 0.6 * float(np.sort(depth)[-3:].mean())
    lines, depths = [], []
    for rules, own, others, crossing, flipped in (
        (level, table.row_lines, upright, table.col_lines, False),
        (upright, table.col_lines, level, table.row_lines, True),
    ):
        frame = others.at[crossing[others.level[crossing] >= strong]]
        if len(frame) < 2:
            continue
        margin = max(0.045 * np.ptp(frame), 2 * BIN)
        ends = rules.extents()
        before, behind = ends[:, 0] < frame.min() - margin, ends[:, 1] > frame.max() + margin
        faint, share = rules.level < strong, rules.present.mean(axis=1)
        weak = own[faint[own]]
        if len(weak) >= 6 and (before | behind)[weak].mean() >= 0.6:
            usual = float(np.median(rules.level[weak]))
            alike = (rules.level < min(strong, 1.6 * usual)) & (share > 0.25)
            chosen = _every_rule(rules.chosen(alike))
        else:  # a margin is a line of its own
            weak = np.flatnonzero(faint & before & behind & (share > 0.6))
            chosen = rules.chosen(weak).smooth()
        along = (np.arange(rules.path.shape[1]) + 0.5) * BIN
        lines += [np.stack([path, along] if flipped else [along, path]) for path in chosen]
        depths += rules.level[weak].tolist()
    return PaperRules(lines, 1.35 * float(np.quantile(depths, 0.8))) if len(lines) > 5 else None


def _every_rule(rules: Rules) -> np.ndarray:
    """Rules of paper, float ``[n, bins]``: evenly apart, so that hidden ones are put between the others.

    All of them share one smooth surface over number and place, which writing and a table's lines cannot bend.
    """
    order = np.argsort(rules.at)
    gaps = np.diff(rules.at[order])
    number = np.concatenate([[0], np.cumsum(np.minimum(np.rint(gaps / np.median(gaps)), 20))])  # writing beside one: 0
    u = np.linspace(-1, 1, rules.path.shape[1])
    v = 2 * number / number[-1] - 1
    target, seen = rules.path[order].ravel(), rules.present[order].ravel()
    weight, terms = seen.astype(float), surface_basis(u, v, 3, 3)
    for width in (8.0, 4.0, 2.5, 2.0):
        weighted = terms * weight[:, None]
        fit = np.linalg.solve(weighted.T @ terms + 1e-6 * np.eye(terms.shape[1]), weighted.T @ target)
        weight = seen * np.clip(1 - ((target - terms @ fit) / width) ** 2, 0, None)
    full = 2 * np.arange(number[-1] + 1) / number[-1] - 1
    return (surface_basis(u, full, 3, 3) @ fit).reshape(len(full), -1)
