"""Table C: one signature of a stranger. Do generated duplicates of it help a verifier?

A verifier knows one genuine signature of a person and k duplicates, and accepts or refuses others: genuine ones of the
person, and one signature each of other people ("random forgeries"). Duplicates can only help a verifier that has
something to learn from them: a template that averages cannot gain from duplicates that lie around the one reference on
all sides, and much of its error is that people differ in how far their signatures spread. So there are four verifiers,
two kinds of thresholds, and rows without a model.

References: Auckenthaler et al. 2000 (score normalisation against a cohort); Hafemann et al. 2017 (an SVM a writer);
Diaz et al. 2017, Maruyama et al. 2021 (duplicates).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.distance import cdist

from .scores import Goal, Score, draws_of_people

VERIFIERS = ("euclidean", "s_norm", "svm_linear", "svm_rbf")
THRESHOLDS = {
    "global": "one threshold for everybody, at the equal error rate",
    "person": "a threshold of each person's own, chosen on the test itself: what remains is not the threshold's fault",
}
DUPLICATES = (1, 4, 16)
MOST_GENUINE = 4  # references of the yardstick
IMPOSTORS = 40  # other people's signatures that are tried on each person
SOFT_MARGIN = 10.0  # C of the support vector machines, both sides weighed alike
NONE = "none"


def goals() -> dict[str, Goal]:
    """Equal error rates: less is better."""
    goal = Goal("equal error rate, less is better", less=True)
    return {f"{name}/{kind}": goal for name in VERIFIERS for kind in THRESHOLDS}


@dataclass(frozen=True)
class Trial:
    """Strangers to verify; made by `trial`.

    Attributes
    ----------
    references
        Features of genuine signatures to enrol ``[P, r, d]``, r from 2 to 4. The first is the one reference.
    genuine
        Features of those to be accepted ``[P, g, d]``.
    impostors
        Features of those to be refused ``[P, i, d]``: one signature each of other people.
    cohort
        Features of synthetic writers ``[W, c, d]``: neither strangers nor anybody that a model was trained on.
    against_cohort
        By kernel, what all rows need: the cohort among itself ``[W, W]``, and with the signatures to be accepted and
        refused ``[P, g, W]``, ``[P, i, W]``. Filled when first asked for.
    """

    references: np.ndarray
    genuine: np.ndarray
    impostors: np.ndarray
    cohort: np.ndarray
    against_cohort: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)


def trial(features: np.ndarray, cohort: np.ndarray, seed: int = 0) -> Trial:
    """Divide strangers' features ``[P, n, d]`` into references (half of them, four at most) and tests.

    Raises
    ------
    ValueError
        If there are fewer than four signatures a person, or fewer than eight people.
    """
    people, n = features.shape[:2]
    if n < 4 or people < 8:
        raise ValueError(f"{people} strangers with {n} signatures each: table C needs 8 and 4")
    r = min(MOST_GENUINE, n // 2)
    rng, count = np.random.default_rng(seed), min(IMPOSTORS, people - 1)
    others = np.stack([rng.permutation(np.delete(np.arange(people), p))[:count] for p in range(people)])  # [P, i]
    return Trial(features[:, :r], features[:, r:], features[others, r], cohort)


def rows_without_a_model(tried: Trial, seed: int = 0) -> dict[str, np.ndarray]:
    """Enrolled features ``[P, n, d]`` by row: nothing added, more genuine ones, Gaussian noise, and the mean.

    The Gaussian has the covariance of a person's signatures, pooled over the cohort. The mean is that of all
    references: it knows more than one signature and generates nothing, and shows what a template gains by it.
    """
    one, rng = tried.references[:, :1], np.random.default_rng(seed)
    rows = {NONE: one}
    for r in range(2, tried.references.shape[1] + 1):
        rows[f"genuine, {r} in all"] = tried.references[:, :r]
    apart = tried.cohort - tried.cohort.mean(1, keepdims=True)
    each = tried.cohort.shape[1]
    root = np.linalg.qr(apart.reshape(-1, apart.shape[-1]) / np.sqrt(len(apart) * max(each - 1, 1)), mode="r")
    most = max(DUPLICATES)
    noise = rng.normal(size=(len(one), most, len(root))) @ root
    mean = tried.references.mean(1, keepdims=True)
    for k in DUPLICATES:
        rows[f"Gaussian in feature space, {k}"] = np.concatenate([one, one + noise[:, :k]], 1)
    control = f"{most} times the mean of {tried.references.shape[1]} genuine (control)"
    return rows | {control: np.concatenate([one, mean.repeat(most, 1)], 1)}


def with_duplicates(tried: Trial, name: str, made: np.ndarray) -> dict[str, np.ndarray]:
    """Enrolled features by row, of duplicates ``[P, max(DUPLICATES), d]``."""
    return {f"{name}, {k}": np.concatenate([tried.references[:, :1], made[:, :k]], 1) for k in DUPLICATES}


def score_enrolled(tried: Trial, enrolled: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Equal error rates of every verifier that knows the features ``[P, n, d]``, with both kinds of thresholds."""
    times = draws_of_people(len(enrolled), seed)
    scores = {}
    for name in VERIFIERS:
        genuine, impostor = _VERIFY[name](tried, enrolled)
        scores[f"{name}/global"] = _global_rate(genuine, impostor, times)
        rates = np.array([_rate(a, b, np.ones((1, 1)), np.zeros(len(a), int), np.zeros(len(b), int))[0]
                          for a, b in zip(genuine, impostor, strict=True)])  # fmt: skip
        scores[f"{name}/person"] = Score(float(rates.mean()), times @ rates / len(rates), len(rates), limits=(0, 1))
    return scores


def saved(one: Score, other: Score) -> Score:
    """Share of the error with one reference that is saved, with the interval of that share itself.

    0 where there is no error to save: people among whom the one reference errs nowhere.
    """
    share = (one.value - other.value) / max(one.value, 1e-9) if one.value else 0.0
    some = one.replicates > 0
    gained = np.where(some, one.replicates - other.replicates, 0) / np.where(some, one.replicates, 1)
    return Score(share, gained, one.people)


def _euclidean(tried: Trial, enrolled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    template = enrolled.mean(1, keepdims=True)
    return tuple(-np.linalg.norm(side - template, axis=2) for side in (tried.genuine, tried.impostors))


def _s_norm(tried: Trial, enrolled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance in standard deviations of the distances to the cohort: of the template, and of the question."""
    template, cohort = enrolled.mean(1), tried.cohort[:, 0]
    known = cdist(template, cohort)
    out = []
    for side in (tried.genuine, tried.impostors):
        distance = np.linalg.norm(side - template[:, None], axis=2)
        asked = cdist(side.reshape(-1, side.shape[-1]), cohort).reshape(*side.shape[:2], -1)
        z = (distance - known.mean(1)[:, None]) / known.std(1)[:, None]
        t = (distance - asked.mean(2)) / asked.std(2)
        out.append(-(z + t) / 2)
    return tuple(out)


def _svm(kernel: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]):
    """A support vector machine a person: what is enrolled against one signature of each cohort writer."""

    def verify(tried: Trial, enrolled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.svm import SVC  # heavy to import

        cohort = tried.cohort[:, 0]
        if kernel.__name__ not in tried.against_cohort:
            sides = [[kernel(one, cohort, cohort) for one in side] for side in (tried.genuine, tried.impostors)]
            tried.against_cohort[kernel.__name__] = kernel(cohort, cohort, cohort), *map(np.array, sides)
        among, *against = tried.against_cohort[kernel.__name__]
        labels = np.r_[np.ones(enrolled.shape[1]), np.zeros(len(cohort))]
        out = ([], [])
        for person, own in enumerate(enrolled):
            across = kernel(own, cohort, cohort)
            gram = np.block([[kernel(own, own, cohort), across], [across.T, among]])
            machine = SVC(C=SOFT_MARGIN, kernel="precomputed", class_weight="balanced").fit(gram, labels)
            for side, known, values in zip((tried.genuine, tried.impostors), against, out, strict=True):
                asked = np.hstack([kernel(side[person], own, cohort), known[person]])
                values.append(machine.decision_function(asked))
        return np.array(out[0]), np.array(out[1])

    return verify


def _linear(a: np.ndarray, b: np.ndarray, cohort: np.ndarray) -> np.ndarray:
    middle = cohort.mean(0)
    return (a - middle) @ (b - middle).T / cohort.var(0).sum()


def _rbf(a: np.ndarray, b: np.ndarray, cohort: np.ndarray) -> np.ndarray:
    """exp of minus the squared distance, over that of two cohort writers on average."""
    return np.exp(-cdist(a, b, "sqeuclidean") / (2 * cohort.var(0).sum()))


_VERIFY: Mapping[str, Callable] = {
    "euclidean": _euclidean,
    "s_norm": _s_norm,
    "svm_linear": _svm(_linear),
    "svm_rbf": _svm(_rbf),
}


def _global_rate(genuine: np.ndarray, impostor: np.ndarray, times: np.ndarray) -> Score:
    """Equal error rate of scores ``[P, g]`` and ``[P, i]``, more being more alike, with one threshold for all."""
    people = len(genuine)
    whose = [np.repeat(np.arange(people), side.shape[1]) for side in (genuine, impostor)]
    rates = _rate(genuine.ravel(), impostor.ravel(), np.vstack([np.ones(people), times]), *whose)
    return Score(float(rates[0]), rates[1:], people, limits=(0, 1))


def _rate(
    genuine: np.ndarray, impostor: np.ndarray, times: np.ndarray, whose: np.ndarray, whose_impostor: np.ndarray
) -> np.ndarray:
    """Equal error rates ``[R]`` of scores that count as often as their person is drawn, ``times [R, P]``.

    At a threshold that one of the scores gives, the mean of both error rates where they are nearest to each other.
    """
    together = np.concatenate([genuine, impostor])
    order = np.argsort(together, kind="stable")
    is_genuine = (np.arange(len(together)) < len(genuine))[order]
    weight = times[:, np.concatenate([whose, whose_impostor])[order]]  # [R, N]
    refused = np.cumsum(weight * is_genuine, 1)
    accepted = np.cumsum(weight * ~is_genuine, 1)
    refused = refused / np.maximum(refused[:, -1:], 1e-12)
    accepted = 1 - accepted / np.maximum(accepted[:, -1:], 1e-12)
    last = np.append(together[order][1:] != together[order][:-1], True)  # equal scores fall on one side together
    # Before the first score nothing is refused and every impostor accepted
    start = np.zeros((len(times), 1))
    refused, accepted = np.hstack([start, refused[:, last]]), np.hstack([start + 1, accepted[:, last]])
    place = np.abs(refused - accepted).argmin(1)
    rows = np.arange(len(times))
    return (refused[rows, place] + accepted[rows, place]) / 2
