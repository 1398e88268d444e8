"""A score with its uncertainty, and which rows of a table may be ranked.

Every score comes with *replicates*: the same score of resampled people. Replicate r of every row resamples the same
people, so the differences of two rows' replicates give a paired interval, which is narrower than the rows' own
intervals suggest. Several trainings of one model (seeds) add their own spread.

References: Efron & Tibshirani 1993 (bootstrap); Satterthwaite 1946 (degrees of freedom of a sum of variances).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

REPLICATES = 200  # of a bootstrap over people


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Attributes
    ----------
    value
        The score; of several trainings their mean.
    replicates
        ``[R]``, the score of resampled people; their standard deviation is its standard error. Empty where a score
        has no uncertainty of this kind.
    people
        How many people stand behind it; for the degrees of freedom.
    seeds
        The score of each training, where there are several.
    limits
        What the score cannot leave; its interval is cut there.
    """

    value: float
    replicates: np.ndarray
    people: int
    seeds: tuple[float, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)

    def interval(self) -> tuple[float, float]:
        """95 % interval over people and, where there are several trainings, over these as well."""
        half = _half_width(self.replicates, self.people, [self.seeds])
        return max(self.value - half, self.limits[0]), min(self.value + half, self.limits[1])

    def as_dict(self) -> dict[str, Any]:
        """``value, low, high`` and, of several trainings, ``seeds``: JSON-serialisable."""
        low, high = self.interval()
        out: dict[str, Any] = dict(value=self.value, low=low, high=high)
        return out | ({"seeds": list(self.seeds)} if self.seeds else {})


def over_seeds(scores: Sequence[Score]) -> Score:
    """The mean score of several trainings of one model, which knows how far they lie apart."""
    if len(scores) == 1:
        return scores[0]
    values = tuple(score.value for score in scores)
    replicates = np.mean([score.replicates for score in scores], axis=0)
    return Score(float(np.mean(values)), replicates, scores[0].people, values, scores[0].limits)


def _half_width(replicates: np.ndarray, people: int, trainings: Sequence[Sequence[float]]) -> float:
    """Half of a 95 % interval, from a variance over people and the variances over the seeds of some trainings."""
    parts = [(float(np.var(replicates, ddof=1)), max(people - 1, 1))] if len(replicates) > 1 else []
    parts += [(float(np.var(seeds, ddof=1)) / len(seeds), len(seeds) - 1) for seeds in trainings if len(seeds) > 1]
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(student.ppf(0.975, freedom)) * math.sqrt(total)


@dataclass(frozen=True)
class Goal:
    """What a perfect sampler gets: a value to be near to, or None where less (`less` True) or more is better."""

    words: str
    value: float | None = None
    less: bool = False

    def loss(self, score: np.ndarray | float) -> np.ndarray | float:
        """How far from perfect; less is better."""
        if self.value is not None:
            return np.abs(np.asarray(score) - self.value)
        return np.asarray(score) if self.less else -np.asarray(score)


def may_rank(a: Score, b: Score, goal: Goal) -> bool:
    """Whether `a` may be called better than `b`: the 95 % interval of the paired difference of their losses is below 0.

    Where both are on the same side of the goal's value the difference is that of the scores themselves; else it is
    that of their distances from it.
    """
    difference = float(goal.loss(a.value) - goal.loss(b.value))
    if difference >= 0:
        return False
    if len(a.replicates) != len(b.replicates):
        raise ValueError(f"{len(a.replicates)} and {len(b.replicates)} replicates: these scores are not paired")
    paired = np.asarray(goal.loss(a.replicates) - goal.loss(b.replicates))
    return difference + _half_width(paired, min(a.people, b.people), [a.seeds, b.seeds]) < 0


def rankings(rows: Mapping[str, Mapping[str, Score]], goals: Mapping[str, Goal]) -> dict[str, list[list[str]]]:
    """By score, every pair [better, worse] of rows that may be ranked; rows without the score are left out."""
    out = {}
    for name, goal in goals.items():
        have = {row: scores[name] for row, scores in rows.items() if name in scores}
        out[name] = [[a, b] for a in have for b in have if a != b and may_rank(have[a], have[b], goal)]
    return out


def in_words(
    name: str, values: Mapping[str, float], pairs: Sequence[Sequence[str]], labels: Mapping[str, str], goal: str
) -> str:
    """A sentence on one score that ranks no two rows whose paired intervals overlap.

    Parameters
    ----------
    name
        The score, for readers.
    values
        Row to value.
    pairs
        Of `rankings`: [better, worse].
    labels
        Row to its name for readers.
    goal
        What is good, in words.
    """
    if len(values) < 2:
        return f"{name} ({goal}): one row only, nothing to rank."
    worse = {row: {b for a, b in pairs if a == row} for row in values}
    beaten = {b for _, b in pairs}
    best = [row for row in values if row not in beaten]
    behind = [row for row in values if row in beaten]
    if not behind:
        return f"{name} ({goal}): the intervals rank no two rows."
    shown = ", ".join(f"{labels.get(row, row)} ({values[row]:.3g})" for row in best)
    sure = [row for row in behind if all(row in worse[top] for top in best)]
    text = f"{name} ({goal}): no row is better than {shown}."
    if sure:
        text += " Worse than " + ("it: " if len(best) == 1 else "each of these: ")
        text += ", ".join(f"{labels.get(row, row)} ({values[row]:.3g})" for row in sure) + "."
    open_rows = [row for row in behind if row not in sure]
    if open_rows:
        text += " Worse than some of these only: "
        text += ", ".join(f"{labels.get(row, row)} ({values[row]:.3g})" for row in open_rows) + "."
    return text


# ------------------------------------------------------------------------------------------ bootstrap over people


def draws_of_people(n: int, seed: int = 0, replicates: int = REPLICATES) -> np.ndarray:
    """How often each of `n` people is drawn in each replicate, ``[R, n]``; rows sum to n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), replicates)


def mean_over_people(per_person: np.ndarray, times: np.ndarray, limits: tuple[float, float] = (0, 1)) -> Score:
    """The mean of a number of each person ``[n]``, by default a share; people with NaN are left out."""
    return ratio_over_people(per_person, np.ones(len(per_person)), times, limits)


def ratio_over_people(
    above: np.ndarray, below: np.ndarray, times: np.ndarray, limits: tuple[float, float] = (0, math.inf)
) -> Score:
    """Ratio of two means over the same people ``[n]`` each, resampled together: the denominator's spread counts."""
    usable = np.isfinite(above) & np.isfinite(below)
    if not usable.any():
        raise ValueError("no person has this score")
    a, b = np.where(usable, above, 0), np.where(usable, below, 0)
    total = np.maximum(times @ b, 1e-12)
    return Score(float(a.sum() / max(b.sum(), 1e-12)), (times @ a) / total, int(usable.sum()), limits=limits)


def auc_over_people(wins: np.ndarray, times_rows: np.ndarray, times_columns: np.ndarray) -> Score:
    """Mean of a table ``[n, m]`` of two groups of people, both resampled.

    `wins` holds the share of pairs, one signature of person i of the first group and one of person j of the second,
    in which the first one's number is larger (ties count one half).
    """
    n, m = wins.shape
    replicates = np.einsum("ri,ij,rj->r", times_rows / n, wins, times_columns / m, optimize=True)
    return Score(float(wins.mean()), replicates, min(n, m), limits=(0, 1))


def wins_by_people(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``[n, m]`` for `auc_over_people` of numbers ``[n, a]`` and ``[m, b]``, a and b signatures of each person."""
    order = np.sort(second, axis=1)
    out = np.empty((len(first), len(second)))
    for j, numbers in enumerate(order):
        below = np.searchsorted(numbers, first, side="left") + np.searchsorted(numbers, first, side="right")
        out[:, j] = below.mean(1) / (2 * len(numbers))
    return out
