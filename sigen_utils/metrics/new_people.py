"""Table A: signatures of people who do not exist, beside signatures of people whom no model has seen.

The unit is the distance between two halves of *different* unseen people at the same n: a perfect sampler of new
people scores 1. Identities are judged besides: are they new, are they different from one another, and does each of
them sign like one person?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from . import distances
from .scores import Goal, Score, auc_over_people, draws_of_people, mean_over_people, wins_by_people
from .seen import VERIFIER, Seen
from .strokes import STROKE_NAMES, compare_strokes
from .verification import equal_error_rate

SPLITS = 12  # halvings of the people; their spread is the standard error (delete-half jackknife: Shao & Wu 1989)
RATIOS = ("frechet", "kernel")  # in units of their floor
SHARES = ("precision", "recall", "coverage")


@dataclass(frozen=True)
class Strangers:
    """The genuine side of table A; made by `strangers`.

    Attributes
    ----------
    seen
        Unseen people's signatures, `per_person` of each, one person after the other.
    people, per_person
        How many.
    known
        By extractor, features of everything that models were trained on: the class, and the corpus where there is one.
    halves
        Splits: pairs of arrays of people.
    floor
        By score, its value between the two halves of each split ``[SPLITS]``.
    nearest
        By extractor, distance of each unseen signature to the nearest known one ``[people, per_person]``.
    limit
        Distance up to which the verifier takes two signatures for one person's: at its equal error rate.
    close
        Share of pairs of signatures of two unseen people within it ``[people, people]``.
    """

    seen: Seen
    people: int
    per_person: int
    known: Mapping[str, np.ndarray]
    halves: list[tuple[np.ndarray, np.ndarray]]
    floor: Mapping[str, np.ndarray]
    nearest: Mapping[str, np.ndarray]
    limit: float
    close: np.ndarray


def strangers(seen: Seen, people: int, known: Mapping[str, np.ndarray], seed: int = 0) -> Strangers:
    """Measure unseen people: n signatures, ``n / people`` of each, one person after the other.

    Raises
    ------
    ValueError
        If there are fewer than 8 people or two signatures of each.
    """
    per_person, rest = divmod(len(seen), people)
    if rest or per_person < 2 or people < 8:
        raise ValueError(f"{len(seen)} signatures of {people} unseen people: 8 people and 2 each are the least")
    rng = np.random.default_rng(seed)
    halves = [np.array_split(rng.permutation(people)[: people // 2 * 2], 2) for _ in range(SPLITS)]
    found = []
    for a, b in halves:
        found.append(_compare_sets(*(seen.rows(_of(half, per_person)) for half in (a, b))))
    floor = {name: np.array([each[name] for each in found]) for name in found[0]}
    nearest = {name: _nearest(seen.features[name], known[name]).reshape(people, -1) for name in known}
    between = cdist(seen.features[VERIFIER], seen.features[VERIFIER])
    who = np.repeat(np.arange(people), per_person)
    upper = np.triu(np.ones(between.shape, bool), 1)
    same = who[:, None] == who
    limit = equal_error_rate(between[same & upper], between[~same & upper])[1]
    return Strangers(
        seen, people, per_person, known, halves, floor, nearest, limit, _close(between, limit, people, per_person)
    )


def score_new(reference: Strangers, made: Seen, seed: int = 0) -> dict[str, Score]:
    """Every score of as many invented people as there are unseen ones, with as many signatures each.

    Parameters
    ----------
    reference
        `strangers`.
    made
        Generated signatures, one person after the other.
    seed
        Of the bootstrap over people, the same for all rows.
    """
    people, each = reference.people, reference.per_person
    if len(made) != people * each:
        raise ValueError(f"{len(made)} generated signatures, {people} people with {each} each are needed")
    scores = _set_scores(reference, made)
    mine, theirs = (draws_of_people(people, seed + k) for k in range(2))
    for name in made.features:
        near = _nearest(made.features[name], reference.known[name]).reshape(people, each)
        wins = wins_by_people(near, reference.nearest[name])
        scores[f"{name}/novelty_auc"] = auc_over_people(wins, mine, theirs)
        if name == VERIFIER:
            below = (near < np.quantile(reference.nearest[name], 0.1)).mean(1)
            scores["near_tenth"] = mean_over_people(below, mine)
        invented, real = (_identities(x.features[name], people, each) for x in (made, reference.seen))
        for what in ("top1", "within"):
            scores[f"{name}/{what}"] = _ratio(invented[what], real[what], mine, theirs)
        scores[f"{name}/between"] = _ratio_of_pairs(invented["between"], real["between"], mine, theirs)
    distance = cdist(made.features[VERIFIER], made.features[VERIFIER])
    scores["collisions"] = _collisions(_close(distance, reference.limit, people, each), reference.close, mine, theirs)
    return scores


def goals(reference: Strangers) -> dict[str, Goal]:
    """What a perfect sampler gets in each score."""
    out = {}
    for name in reference.known:
        out |= {f"{name}/{score}": Goal("genuine 1, lower is nearer", less=True) for score in RATIOS}
        for score in SHARES:
            share = float(reference.floor[f"{name}/{score}"].mean())
            out[f"{name}/{score}"] = Goal(f"genuine {share:.2f}", share)
        out[f"{name}/novelty_auc"] = Goal("strangers .5, copies 0", 0.5)
        out |= {f"{name}/{score}": Goal("genuine 1", 1.0) for score in ("top1", "within", "between")}
    for name in STROKE_NAMES:
        out[f"stroke_{name}"] = Goal(f"sd; genuine {reference.floor[f'stroke_{name}'].mean():.2f}", less=True)
    out["near_tenth"] = Goal("strangers .1, copies 1", 0.1)
    return out | {"collisions": Goal("difference of false-accept rates; strangers 0", 0.0)}


def score_strangers(reference: Strangers) -> dict[str, Score]:
    """What unseen people themselves get: the row "genuine", with the interval that halves of them have."""
    out = {name: Score(goal.value or 0.0, np.zeros(0), reference.people) for name, goal in goals(reference).items()}
    for name, floor in reference.floor.items():
        unit = max(float(floor.mean()), 1e-12) if name.endswith(RATIOS) else 1.0
        out[name] = Score(float(floor.mean()) / unit, floor / unit, reference.people, limits=_limits(name))
    return out


def _limits(name: str) -> tuple[float, float]:
    return (0.0, 1.0) if name.endswith(SHARES) else (0.0, np.inf)


def _set_scores(reference: Strangers, made: Seen) -> dict[str, Score]:
    """Distances and overlaps of halves of the invented people from either half of the unseen ones, over their floor."""
    each, found = reference.per_person, []
    for pair in reference.halves:
        part = made.rows(_of(pair[0], each))  # the same numbers: people of a sampler are in no order
        sides = [reference.seen.rows(_of(half, each)) for half in pair]
        both = [_compare_sets(side, part) for side in sides]
        found.append({name: (both[0][name] + both[1][name]) / 2 for name in both[0]})
    out = {}
    for name in found[0]:
        values, floor = np.array([one[name] for one in found]), reference.floor[name]
        value, spread = float(values.mean()), values
        if name.endswith(RATIOS):
            value, spread = value / max(float(floor.mean()), 1e-12), values / np.maximum(floor, 1e-12)
        elif name.endswith(SHARES):  # compared with that of genuine halves, whose spread counts
            spread = values - floor + floor.mean()
        out[name] = Score(value, spread, reference.people, limits=_limits(name))
    return out


def _compare_sets(real: Seen, fake: Seen) -> dict[str, float]:
    """Every distance and overlap in every extractor's features, and those of the strokes."""
    out = {}
    for name, features in real.features.items():
        out |= {f"{name}/{score}": v for score, v in distances.compare(features, fake.features[name]).items()}
    strokes = compare_strokes(dict(real.strokes), dict(fake.strokes))
    return out | {f"stroke_{name}": strokes[name]["w1_sd"] for name in STROKE_NAMES}


def _identities(features: np.ndarray, people: int, each: int) -> dict[str, np.ndarray]:
    """By person: share of signatures whose nearest other one is theirs, and spread within; by pair: mean distance."""
    distance = cdist(features, features)
    who = np.repeat(np.arange(people), each)
    between = distance.reshape(people, each, people, each).mean((1, 3))
    within = np.diag(between) * each / (each - 1)
    np.fill_diagonal(between, 0.0)
    np.fill_diagonal(distance, np.inf)
    own = who[distance.argmin(1)] == who
    return dict(top1=own.reshape(people, each).mean(1), within=within, between=between)


def _ratio(made: np.ndarray, real: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> Score:
    """Mean of the invented people over that of the unseen ones; both resampled."""
    n, m = len(made), len(real)
    below = np.maximum(theirs @ real / m, 1e-12)
    return Score(float(made.mean() / max(real.mean(), 1e-12)), (mine @ made / n) / below, min(n, m), limits=(0, np.inf))


def _close(distance: np.ndarray, limit: float, people: int, each: int) -> np.ndarray:
    """Share of pairs of signatures of two people within `limit`; 0 on the diagonal."""
    out = (distance <= limit).reshape(people, each, people, each).mean((1, 3))
    np.fill_diagonal(out, 0.0)
    return out


def _over_pairs(table: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Means ``[R]`` over pairs of people of a table ``[n, n]``, its diagonal 0; people are drawn `times` ``[R, n]``."""
    pairs = times.sum(1) ** 2 - (times**2).sum(1)  # a person drawn twice is not a pair
    return np.einsum("ri,ij,rj->r", times, table, times, optimize=True) / pairs


def _ratio_of_pairs(made: np.ndarray, real: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> Score:
    one = np.ones((1, len(made)))
    values = _over_pairs(made, one)[0] / max(_over_pairs(real, one)[0], 1e-12)
    replicates = _over_pairs(made, mine) / np.maximum(_over_pairs(real, theirs), 1e-12)
    return Score(float(values), replicates, len(made), limits=(0, np.inf))


def _collisions(made: np.ndarray, real: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> Score:
    """False-accept rate among invented people less that among unseen people."""
    one = np.ones((1, len(made)))
    difference = float(_over_pairs(made, one)[0] - _over_pairs(real, one)[0])
    return Score(difference, _over_pairs(made, mine) - _over_pairs(real, theirs), len(made))


def _nearest(features: np.ndarray, known: np.ndarray, rows: int = 2048) -> np.ndarray:
    """Distance of each feature vector ``[n, d]`` to the nearest known one ``[m, d]``."""
    out = np.full(len(features), np.inf)
    for start in range(0, len(known), rows):
        out = np.minimum(out, cdist(features, known[start : start + rows]).min(1))
    return out


def _of(people: np.ndarray, each: int) -> np.ndarray:
    """Places of the signatures of `people`, one person after the other."""
    return (people[:, None] * each + np.arange(each)).ravel()
