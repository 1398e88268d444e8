"""How near one collection of signatures lies to another, for instance a synthetic class to real people.

No model is involved: two sets of people who need not have anything to do with each other are compared as sets of
ink, and each is described by itself: how far a person's own signatures lie apart, and people from each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from ..render import render
from . import distances
from .features import FeatureExtractor
from .no_model import occurrence
from .strokes import compare_strokes, stroke_statistics

if TYPE_CHECKING:
    from ..data import SignatureSet


def spread_of_people(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean distances and recognisability in a set of people.

    Parameters
    ----------
    features, labels
        Features ``[n, d]`` and person indices ``[n]``.

    Returns
    -------
    dict
        ``within`` (mean distance of two signatures of one person), ``between`` (of two people), ``top1`` (share of
        signatures whose nearest other one is by the same person).
    """
    distance, labels = cdist(features, features), np.asarray(labels)
    same = labels[:, None] == labels[None]
    own = same & ~np.eye(len(labels), dtype=bool)
    if not own.any() or same.all():
        raise ValueError("distances within and between people need two people, and two signatures of one of them")
    top = distances.top1_leave_one_out(features, labels)
    return {"within": float(distance[own].mean()), "between": float(distance[~same].mean()), "top1": top}


def compare_collections(
    real: SignatureSet, other: SignatureSet, extractor: FeatureExtractor | None = None, seed: int = 0
) -> dict[str, Any]:
    """Distance of `other` from `real` in floors of `real`, beside how each differs within itself.

    Halves of `real` are compared with random, person-balanced parts of `other` of the same size.

    Returns
    -------
    dict
        ``extractor, n`` (a side), ``floor, frechet, frechet_low, frechet_high, frechet_floors``, ``real`` and ``other``
        (`spread_of_people`), ``stroke`` (`compare_strokes` of `other`); JSON-serialisable.

    Raises
    ------
    ValueError
        If `other` has fewer signatures than half of `real`.
    """
    extractor = extractor or FeatureExtractor()
    sides = []
    for data in (real, other):
        x = render(data.x.cpu())
        sides.append((extractor.features(x), data.labels.cpu().numpy(), stroke_statistics(x)))
    (real_features, real_labels, real_strokes), (features, labels, strokes) = sides
    splits = distances.half_splits(real_labels, seed)
    n = len(splits[0][0])
    if len(features) < n:
        raise ValueError(f"{len(features)} signatures beside {len(real_features)}: the other set needs at least {n}")
    rng, values = np.random.default_rng(seed), []
    for halves in splits:
        part = features[balanced_subset(labels, n, rng)]
        values += [distances.frechet_distance(real_features[half], part) for half in halves]
    floor = float(np.mean([distances.frechet_distance(real_features[a], real_features[b]) for a, b in splits]))
    low, high = distances.interval(values)
    mean = float(np.mean(values))
    return dict(
        extractor=extractor.name, n=n, floor=floor, frechet=mean, frechet_low=low, frechet_high=high,
        frechet_floors=mean / max(floor, 1e-12), real=spread_of_people(real_features, real_labels),
        other=spread_of_people(features, labels), stroke=compare_strokes(real_strokes, strokes),
    )  # fmt: skip


def balanced_subset(people: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` indices of signatures at random, as evenly over the people as their labels ``[total]`` allow."""
    order = rng.permutation(len(people))
    turn = occurrence(torch.from_numpy(people[order])).numpy()
    return order[np.argsort(turn, kind="stable")][:n]
