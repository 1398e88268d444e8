"""Distances and overlaps between two sets of feature vectors.

References: Frechet 1957; Heusel et al. 2017 (Frechet distance of features); Szekely & Rizzo 2013 (energy distance);
Kynkaanniemi et al. 2019 (precision, recall); Naeem et al. 2020 (coverage).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

Z95 = 1.96  # a 95 % interval of a normal variable, in standard deviations


def _check(a: np.ndarray, b: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"two sets of features [n, d] are needed, not {a.shape} and {b.shape}")
    if min(len(a), len(b)) < least:
        raise ValueError(f"at least {least} signatures a side are needed, not {len(a)} and {len(b)}")
    return a, b


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    r"""Squared Frechet distance between the Gaussians fitted to two sets.

    :math:`|\mu_a - \mu_b|^2 + \mathrm{tr}(S_a + S_b - 2 (S_a S_b)^{1/2})`. With ``S = R' R`` from a QR
    decomposition of the centred features, ``tr (S_a S_b)^{1/2}`` is the sum of the singular values of
    ``R_a R_b'``: exact, never complex, and at home with covariances of lower rank (n < d).

    Parameters
    ----------
    a, b
        Features ``[n, d]`` and ``[m, d]``, n, m >= 2.

    Returns
    -------
    float
        >= 0. Biased upwards at small n, so compare only at equal n.
    """
    a, b = _check(a, b, 2)
    roots, traces = [], []
    for x in (a, b):
        root = np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1), mode="r")  # [min(n, d), d]
        roots.append(root)
        traces.append((root**2).sum())
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    offset = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(offset + traces[0] + traces[1] - 2 * shared, 0.0))


def compare(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """Distances and overlaps of two sets; overlaps count who lies within the distance of a k-th neighbour.

    Parameters
    ----------
    real, fake
        Features ``[n, d]`` and ``[m, d]``, two or more each.
    k
        Neighbours; fewer in sets that are not larger.

    Returns
    -------
    dict
        ``frechet``; ``kernel``, the energy distance: a squared kernel distance with the kernel -|x - y|; ``precision``
        and ``recall``: share of generated signatures near a real one, and the reverse; ``coverage``: share of real
        signatures that have a generated one nearby.
    """
    real, fake = _check(real, fake, 2)
    within, across = [cdist(x, x) for x in (real, fake)], cdist(real, fake)
    k = min(k, len(real) - 1, len(fake) - 1)
    radius = [np.partition(one, k, axis=1)[:, k] for one in within]  # place 0 is the signature itself
    return {
        "frechet": frechet_distance(real, fake),
        "kernel": float(2 * across.mean() - within[0].mean() - within[1].mean()),
        "precision": float((across < radius[0][:, None]).any(0).mean()),
        "recall": float((across < radius[1]).any(1).mean()),
        "coverage": float((across.min(1) < radius[0]).mean()),
    }


def top1_leave_one_out(features: np.ndarray, labels: np.ndarray) -> float:
    """Share of signatures ``[n, d]`` whose nearest *other* signature is by the same person."""
    distance = cdist(features, features)
    np.fill_diagonal(distance, np.inf)
    labels = np.asarray(labels)
    return float((labels[distance.argmin(1)] == labels).mean())


def half_splits(labels: np.ndarray, seed: int = 0, n_splits: int = 10) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random halves of every person's signatures: `n_splits` pairs of index arrays of equal length.

    Of an odd number of signatures a random one is left out. People with one signature are left out.

    Raises
    ------
    ValueError
        If nobody has two signatures.
    """
    labels, rng, splits = np.asarray(labels), np.random.default_rng(seed), []
    own = [np.flatnonzero(labels == person) for person in np.unique(labels)]
    if max((len(o) for o in own), default=0) < 2:
        raise ValueError("no person has two signatures: a real-against-real floor needs two or more a person")
    for _ in range(n_splits):
        shuffled = [rng.permutation(o) for o in own]
        first = np.concatenate([o[: len(o) // 2] for o in shuffled])
        second = np.concatenate([o[len(o) // 2 : len(o) // 2 * 2] for o in shuffled])
        splits.append((first, second))
    return splits


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a distance from its values on half samples.

    The bootstrap of a Frechet distance is biased upwards, as repeated signatures narrow the covariance. Halves drawn
    without replacement have no repeats, and their spread is the standard error of the distance of all signatures
    (delete-half jackknife: Shao & Wu 1989). The interval is about these people signing again, not about another class.
    """
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    return max(mean - Z95 * spread, 0.0), mean + Z95 * spread
