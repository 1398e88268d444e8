"""Table B: signatures of known people, beside signatures of theirs that were held out.

What a perfect sampler of a person gets is measured with the person's training signatures in the place of samples.
Unchanged training signatures would get the same: distances cannot tell a sampler from a copier. The copy test
(`copy_test`) can.

Reference: Gneiting & Raftery 2007 (the energy score, a proper scoring rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from .copy_test import GOALS as COPY_GOALS
from .copy_test import CopyReference, Misfits, copy_reference, copy_test, copy_test_of_genuine
from .scores import Goal, Score, draws_of_people, ratio_over_people
from .seen import Seen


def goals(extractors: Sequence[str]) -> dict[str, Goal]:
    """What a perfect sampler gets in each score."""
    out = {}
    for name in extractors:
        out[f"{name}/energy"] = Goal("genuine 1, lower is nearer", less=True)
        out[f"{name}/top1"] = Goal("genuine 1", 1.0)
        out[f"{name}/within"] = Goal("genuine 1", 1.0)
    return out | COPY_GOALS


@dataclass(frozen=True)
class Known:
    """The genuine side of table B; made by `known_people`.

    Attributes
    ----------
    train, held_out
        Signatures of everybody, and by person the places of theirs in each.
    genuine
        By extractor and score, what training signatures get in the place of samples, by person ``[P]``.
    copies
        `copy_reference`.
    """

    train: Seen
    train_rows: list[np.ndarray]
    held_out: Seen
    held_out_rows: list[np.ndarray]
    genuine: Mapping[str, Mapping[str, np.ndarray]]
    copies: CopyReference


def known_people(train: Seen, y: np.ndarray, held_out: Seen, held_out_y: np.ndarray, misfits: Misfits) -> Known:
    """Measure the genuine signatures of people 0 to P - 1.

    Raises
    ------
    ValueError
        If somebody has no held-out or fewer than two training signatures.
    """
    people = range(int(max(y.max(), held_out_y.max())) + 1)
    rows, held_out_rows = ([np.flatnonzero(side == p) for p in people] for side in (y, held_out_y))
    if min(map(len, rows)) < 2 or min(map(len, held_out_rows)) < 1:
        raise ValueError("table B needs two training signatures and a held-out one of every person")
    genuine = {}
    for name in train.features:
        one, new = train.features[name], held_out.features[name]
        genuine[name] = _scores(one, rows, new, held_out_rows, held_out_y)
        together = np.concatenate([one, new])
        both = [np.concatenate([a, b + len(one)]) for a, b in zip(rows, held_out_rows, strict=True)]
        genuine[name]["within"] = np.array([_within(together[own]) for own in both])
    pictures = ([seen.x[own] for own in own_rows] for seen, own_rows in ((train, rows), (held_out, held_out_rows)))
    return Known(train, rows, held_out, held_out_rows, genuine, copy_reference(*pictures, misfits))


def score_known(
    reference: Known, made: Seen, y: np.ndarray, misfits: Misfits, seed: int = 0, sources: np.ndarray | None = None
) -> dict[str, Score]:
    """Every score of samples of the known people; of each person at least two.

    Parameters
    ----------
    reference
        `known_people`.
    made, y
        Samples and whose they are ``[n]``.
    misfits
        Registers.
    seed
        Of the bootstrap over people.
    sources
        Which training signature of its person each sample was made from, where that is known ``[n]``.
    """
    rows = [np.flatnonzero(y == person) for person in range(len(reference.train_rows))]
    if min(map(len, rows)) < 2:
        raise ValueError("table B needs two samples of every person")
    times = draws_of_people(len(rows), seed)
    counts, order = [len(own) for own in reference.held_out_rows], np.concatenate(reference.held_out_rows)
    held_out_y = np.repeat(np.arange(len(rows)), counts)
    places = np.split(np.arange(len(order)), np.cumsum(counts)[:-1])
    scores = {}
    for name in made.features:
        new = reference.held_out.features[name][order]
        found = _scores(made.features[name], rows, new, places, held_out_y)
        for what, values in found.items():
            scores[f"{name}/{what}"] = ratio_over_people(values, reference.genuine[name][what], times)
    left = misfits(reference.copies.references[y], made.x)
    return scores | copy_test(reference.copies, left, y, times, sources)


def score_genuine(reference: Known, seed: int = 0) -> dict[str, Score]:
    """The row "genuine": training signatures in the place of samples, held out in turn for the copy test."""
    people = len(reference.train_rows)
    one = Score(1.0, np.zeros(0), people)
    scores = {f"{name}/{what}": one for name, found in reference.genuine.items() for what in found}
    return scores | copy_test_of_genuine(reference.copies, draws_of_people(people, seed))


def _scores(
    samples: np.ndarray,
    rows: Sequence[np.ndarray],
    held_out: np.ndarray,
    held_out_rows: Sequence[np.ndarray],
    whose: np.ndarray,
) -> dict[str, np.ndarray]:
    """By person ``[P]``: energy score, share nearest to a held-out signature of the person, spread within."""
    energy, top1, within = [], [], []
    for person, (own, new) in enumerate(zip(rows, held_out_rows, strict=True)):
        distance = cdist(samples[own], held_out)
        within.append(_within(samples[own]))
        energy.append(distance[:, new].mean() - within[-1] / 2)
        top1.append((whose[distance.argmin(1)] == person).mean())
    return dict(energy=np.array(energy), top1=np.array(top1), within=np.array(within))


def _within(features: np.ndarray) -> float:
    """Mean distance of two signatures ``[n, d]``, n >= 2."""
    n = len(features)
    return float(cdist(features, features).sum() / (n * (n - 1)))
