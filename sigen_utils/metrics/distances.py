"""Distances and overlaps between two sets of feature vectors, and their floors.

A distance says little by itself. Its *floor* is the distance between two halves of the real signatures, the
same people in both, which no honest model can beat; models are compared with the same halves at the same n.

References: Frechet 1957; Heusel et al. 2017 (Frechet distance of features); Binkowski et al. 2018 (kernel
distance); Kynkaanniemi et al. 2019 (precision, recall); Naeem et al. 2020 (density, coverage).
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


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subset_size: int = 100, n_subsets: int = 50, seed: int = 0
) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy under the kernel ``(x.y / d + 1)^3``, over random subsets.

    Parameters
    ----------
    a, b
        Features ``[n, d]`` and ``[m, d]``, n, m >= 2.
    subset_size, n_subsets
        Signatures a side in a subset (at most n and m), and the number of subsets.
    seed
        Chooses the subsets.

    Returns
    -------
    mean, std
        Over the subsets. The mean is around zero, so at times negative, when both sets come from one source.
    """
    a, b = _check(a, b, 2)
    rng, size, d = np.random.default_rng(seed), min(subset_size, len(a), len(b)), a.shape[1]
    values = []
    for _ in range(n_subsets):
        x, y = (s[rng.choice(len(s), size, replace=False)] for s in (a, b))
        xx, yy, xy = ((p @ q.T / d + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        values.append(within - 2 * xy.mean())
    return float(np.mean(values)), float(np.std(values))


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage from balls that reach to the k-th neighbour.

    precision: share of generated signatures inside some real signature's ball; recall: share of real ones
    inside some generated one's; density: mean number of real balls around a generated signature, over k;
    coverage: share of real signatures whose ball holds a generated one.

    Parameters
    ----------
    real, fake
        Features ``[n, d]`` and ``[m, d]``, more than k each.
    k
        Neighbours.

    Returns
    -------
    dict
        ``precision``, ``recall``, ``coverage`` in [0, 1], ``density`` >= 0; all 1 for identical sets.
    """
    real, fake = _check(real, fake, k + 1)
    radius_real = np.partition(cdist(real, real), k, axis=1)[:, k]  # place 0 is the signature itself
    radius_fake = np.partition(cdist(fake, fake), k, axis=1)[:, k]
    across = cdist(real, fake)  # [n, m]
    in_real_ball = across < radius_real[:, None]
    return {
        "precision": float(in_real_ball.any(0).mean()),
        "recall": float((across < radius_fake[None]).any(1).mean()),
        "density": float(in_real_ball.sum(0).mean() / k),
        "coverage": float((across.min(1) < radius_real).mean()),
    }


def nearest_is_own(
    query: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray
) -> np.ndarray:
    """bool ``[n]``: whether the nearest gallery signature ``[m, d]`` of a query ``[n, d]`` is by the same person."""
    nearest = cdist(query, gallery).argmin(1)
    return np.asarray(gallery_labels)[nearest] == np.asarray(query_labels)


def top1(query: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray) -> float:
    """Share of queries for which `nearest_is_own`."""
    return float(nearest_is_own(query, query_labels, gallery, gallery_labels).mean())


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


def compare(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> dict[str, float]:
    """All scores of one set of features ``[n, d]`` against another: frechet, kernel, precision, ..."""
    k = min(5, len(real) - 1, len(fake) - 1)
    kernel = kernel_distance(real, fake, n_subsets=20, seed=seed)[0]
    return {"frechet": frechet_distance(real, fake), "kernel": kernel, **prdc(real, fake, k)}


def real_floor(features: np.ndarray, labels: np.ndarray, seed: int = 0, n_splits: int = 10) -> dict[str, float]:
    """What the scores are between two halves of the real signatures: the same people, half of each one's.

    Parameters
    ----------
    features, labels
        Features ``[n, d]`` and person indices ``[n]`` of the real signatures.
    seed, n_splits
        Random halves; every score is averaged over them.

    Returns
    -------
    dict
        ``n`` (signatures a side), ``frechet`` with ``frechet_low`` and ``frechet_high``, ``kernel``,
        ``precision``, ``recall``, ``density``, ``coverage``, ``top1`` (leave one out, all signatures). The
        interval is mean -/+ 1.96 standard deviations over the splits: where the distance of two sets of one
        source falls. The kernel distance is unbiased for independent sets, and a little below zero for halves
        of the same people, so its mean is of no use as a unit; ``kernel`` is instead its root mean square
        over the splits, the size of distance that means nothing.
    """
    splits = half_splits(labels, seed, n_splits)
    scores = [compare(features[a], features[b], seed + k) for k, (a, b) in enumerate(splits)]
    floor = {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
    floor["kernel"] = float(np.sqrt(np.mean([s["kernel"] ** 2 for s in scores])))
    low, high = interval([s["frechet"] for s in scores])
    top = top1_leave_one_out(features, labels)
    return {"n": len(splits[0][0]), **floor, "frechet_low": low, "frechet_high": high, "top1": top}


def interval(values: list[float], lowest: float = 0.0, highest: float = np.inf) -> tuple[float, float]:
    """95 % interval of a score, by default a distance, from its values on half samples; cut at its limits.

    The bootstrap of a Frechet distance is biased upwards (repeated signatures narrow the covariance). Halves
    drawn without replacement have no repeats, and their spread *is* the standard error of the distance on the
    whole set (delete-d jackknife with d = n / 2: Shao & Wu 1989). Signatures are resampled within people; the
    interval is about these people signing again, not about another class.
    """
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return max(mean - Z95 * spread, lowest), min(mean + Z95 * spread, highest)
