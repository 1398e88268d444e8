"""Can a feature extractor tell whether two signatures are by one person? Equal error rates, with intervals over people.

Pairs are of genuine signatures only: two by one person, or one each by two people ("random forgeries"). Skilled
forgeries are another, harder question.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from .distances import top1_leave_one_out


def equal_error_rate(genuine: np.ndarray, impostor: np.ndarray) -> tuple[float, float]:
    """Where as many genuine pairs are refused as impostors are accepted.

    Parameters
    ----------
    genuine, impostor
        Distances of pairs by one person and by two, of any shape; a pair is accepted up to a threshold.

    Returns
    -------
    rate, threshold
        The error rate in [0, 1] (the mean of both where they do not meet exactly), and the distance there.

    Raises
    ------
    ValueError
        If either side is empty.
    """
    genuine, impostor = np.sort(np.ravel(genuine)), np.sort(np.ravel(impostor))
    if not len(genuine) or not len(impostor):
        raise ValueError("an equal error rate needs pairs of one person and pairs of two")
    thresholds = np.concatenate([genuine, impostor])
    thresholds.sort()
    refused = 1 - np.searchsorted(genuine, thresholds, side="right") / len(genuine)
    accepted = np.searchsorted(impostor, thresholds, side="right") / len(impostor)
    k = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[k] + accepted[k]) / 2), float(thresholds[k])


def verification(features: np.ndarray, labels: np.ndarray, seed: int = 0, n_boot: int = 100) -> dict[str, Any]:
    """All pairs of a set of genuine signatures.

    Parameters
    ----------
    features, labels
        Features ``[n, d]`` and person indices ``[n]``.
    seed, n_boot
        Bootstrap over people: the interval is about other people, not about other signatures of these.

    Returns
    -------
    dict
        ``eer, eer_low, eer_high`` (95 %), ``threshold``, ``top1`` (leave one out), ``n`` and ``people``.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    people, index = np.unique(labels, return_inverse=True)
    rows = [np.flatnonzero(index == k) for k in range(len(people))]
    if len(people) < 2 or len(people) == len(labels):
        raise ValueError(
            f"{len(labels)} signatures of {len(people)} people: telling people apart needs two people or more, and "
            "somebody with two signatures"
        )
    distance = cdist(features, features)
    upper = np.triu(np.ones(distance.shape, bool), 1)
    same = index[:, None] == index[None]
    rate, threshold = equal_error_rate(distance[upper & same], distance[upper & ~same])
    rng, rates = np.random.default_rng(seed), []
    for _ in range(n_boot):
        drawn = np.zeros(len(people), int)
        while (drawn == drawn[0]).all():  # of one person alone there are no pairs of two
            drawn = rng.choice(len(people), len(people))
        own = [distance[np.ix_(rows[k], rows[k])][np.triu_indices(len(rows[k]), 1)] for k in drawn]
        some = rng.integers(len(drawn), size=(4 * len(drawn), 2))  # pairs of people; all of them would take long
        if not (drawn[some[:, 0]] != drawn[some[:, 1]]).any():  # of very few people
            some = np.argwhere(drawn[:, None] != drawn[None])
        other = [distance[np.ix_(rows[drawn[a]], rows[drawn[b]])].ravel() for a, b in some if drawn[a] != drawn[b]]
        rates.append(equal_error_rate(np.concatenate(own), np.concatenate(other))[0])
    low, high = np.quantile(rates, (0.025, 0.975))
    return dict(
        eer=rate, eer_low=float(low), eer_high=float(high), threshold=threshold,
        top1=top1_leave_one_out(features, labels), n=len(labels), people=len(people),
    )  # fmt: skip
