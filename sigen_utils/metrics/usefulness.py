"""What generated signatures are good for: enrolling a person in a verifier, and training a classifier.

A verifier knows a few genuine signatures of a person (the *template*) and accepts another one that lies near them. With
one genuine signature the template is poor. If generated *duplicates* of the person, added to it, lower the error on
genuine signatures that nobody has seen, they carry what one signature does not (Diaz et al. 2017; Maruyama et al.
2021). Whether a classifier trained on generated signatures recognises genuine ones is the same question asked of a
whole class (Ravuri & Vinyals 2019: classification accuracy score).

Everything works on the output of a feature extractor. The impostors are other people's genuine signatures ("random
forgeries").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from .features import FeatureExtractor
from .protocol import Render, _renderer
from .verification import equal_error_rate, some_people

if TYPE_CHECKING:
    from ..data import SignatureSet

Maker = Callable[[torch.Tensor, int], torch.Tensor]
"""Duplicates of signatures nobody was asked about before: (ink ``[n, 1, H, W]``, seed) to raw ink of the same shape."""


def enrol(reference: np.ndarray, generated: np.ndarray | None = None) -> np.ndarray:
    """Templates of people: the mean of one or more reference features each, and of generated ones.

    Parameters
    ----------
    reference
        Features ``[P, r, d]`` of r genuine signatures a person.
    generated
        Features ``[P, k, d]`` of k generated ones, weighing as much each as a genuine one; None for none.

    Returns
    -------
    numpy.ndarray
        ``[P, d]``.
    """
    together = reference if generated is None else np.concatenate([reference, generated], axis=1)
    return together.mean(axis=1)


def verify(
    templates: np.ndarray, query: np.ndarray, labels: np.ndarray, seed: int = 0, n_boot: int = 200
) -> dict[str, float]:
    """Equal error rate of accepting queries by their distance to a person's template.

    Parameters
    ----------
    templates
        ``[P, d]``, or ``[T, P, d]`` for several draws of the reference, whose decisions are pooled.
    query, labels
        Features ``[n, d]`` of genuine signatures that are in no template, and whose they are ``[n]``, 0 to P - 1.
    seed, n_boot
        Bootstrap over people, as clients and as impostors alike.

    Returns
    -------
    dict
        ``eer``, ``eer_low``, ``eer_high`` (95 %), ``threshold``.
    """
    return _verify(templates, query, labels, seed, n_boot)[0]


def _verify(
    templates: np.ndarray, query: np.ndarray, labels: np.ndarray, seed: int = 0, n_boot: int = 200
) -> tuple[dict[str, float], np.ndarray]:
    """`verify`, and the rates ``[n_boot]`` of its bootstrap: the same seed draws the same people."""
    templates = templates[None] if templates.ndim == 2 else templates
    labels = np.asarray(labels)
    distance = np.stack([cdist(query, one) for one in templates])  # [T, n, P]
    own = labels[:, None] == np.arange(templates.shape[1])
    rate, threshold = equal_error_rate(distance[:, own], distance[:, ~own])
    rng, rates = np.random.default_rng(seed), []
    rows = [np.flatnonzero(labels == k) for k in range(templates.shape[1])]
    clients = np.flatnonzero([len(r) > 0 for r in rows])
    for _ in range(n_boot):
        drawn = some_people(rng, clients)
        picked = np.concatenate([rows[k] for k in drawn])
        part, mine = distance[:, picked][:, :, drawn], labels[picked, None] == drawn[None]
        rates.append(equal_error_rate(part[:, mine], part[:, ~mine])[0])
    low, high = np.quantile(rates, (0.025, 0.975)) if rates else (rate, rate)
    return dict(eer=rate, eer_low=float(low), eer_high=float(high), threshold=threshold), np.array(rates)


def duplicates_study(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    generated: Mapping[str, np.ndarray],
    ks: Sequence[int] = (1, 2, 4, 8, 16),
    seed: int = 0,
) -> dict[str, Any]:
    """Equal error rates with one genuine reference a person, alone and with duplicates.

    Each genuine training signature of a person is the one reference once; the decisions are pooled.

    Parameters
    ----------
    train, train_labels
        Features ``[n, d]`` and people ``[n]`` (0 to P - 1) of the signatures that the models were trained on, as many
        of each person; the one reference is one of them.
    test, test_labels
        Genuine signatures that nobody has seen.
    generated
        Features ``[P, k, d]`` by model, k at least ``max(ks)``; or ``[P, r, k, d]``, where what was generated depends
        on which of the r training signatures is the one reference.
    ks
        Numbers of duplicates.

    Returns
    -------
    dict
        ``one`` (the one reference alone), ``genuine`` (by number of genuine references, up to all of them; a
        yardstick), and ``models``: name -> number of duplicates -> `verify`'s result and ``cut, cut_low, cut_high``:
        the share of the one reference's error that is saved, with a 95 % interval over people of that share itself
        (both errors of the same people). Keys are strings, as in JSON.
    """
    people = np.unique(train_labels)
    own = [np.flatnonzero(np.asarray(train_labels) == k) for k in people]
    each = min(len(o) for o in own)
    reference = np.stack([train[o[:each]] for o in own])  # [P, each, d]
    one, rates = _verify(reference.transpose(1, 0, 2), test, test_labels, seed)
    out: dict[str, Any] = dict(one=one, genuine={}, models={})
    for r in range(2, each + 1):
        turns = [np.roll(np.arange(each), -t)[:r] for t in range(each if r < each else 1)]
        out["genuine"][str(r)] = verify(np.stack([enrol(reference[:, t]) for t in turns]), test, test_labels, seed)
    for name, fake in generated.items():
        fake = np.broadcast_to(fake[:, None], (len(fake), each, *fake.shape[1:])) if fake.ndim == 3 else fake
        out["models"][name] = {}
        for k in ks:
            turns = [enrol(reference[:, t : t + 1], fake[:, t, :k]) for t in range(each)]
            found, theirs = _verify(np.stack(turns), test, test_labels, seed)
            some = rates > 0  # people among whom the one reference errs nowhere have nothing to save
            ends = np.quantile(1 - theirs[some] / rates[some], (0.025, 0.975)) if some.any() else (0.0, 0.0)
            found |= dict(
                cut=1 - found["eer"] / max(one["eer"], 1e-12), cut_low=float(ends[0]), cut_high=float(ends[1])
            )
            out["models"][name][str(k)] = found
    return out


def acceptance(templates: np.ndarray, threshold: float, fake: np.ndarray, people: np.ndarray) -> float:
    """Share of generated signatures ``[n, d]`` that lie within `threshold` of the template of whom they sign as."""
    return float((np.linalg.norm(fake - templates[np.asarray(people)], axis=1) <= threshold).mean())


class PersonClassifier:
    """Multinomial logistic regression from a feature extractor's features to people.

    Parameters
    ----------
    features, labels
        ``[n, d]`` and ``[n]``; what it is trained on, genuine or generated.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        from sklearn.linear_model import LogisticRegression  # heavy to import
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Regularised: a person has three signatures
        self._model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300))
        self._model.fit(features, np.asarray(labels))

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Share of signatures ``[n, d]`` that are assigned to their person."""
        return float((self._model.predict(features) == np.asarray(labels)).mean())

    def score(self, features: np.ndarray) -> float:
        """exp of the information a picture gives on who signed: 1 for smoke, at most the number of people.

        The inception score (Salimans et al. 2016) with this classifier in the place of Inception: high where single
        pictures are somebody's for sure, and all people occur.
        """
        p = self._model.predict_proba(features)
        mean = p.mean(axis=0)
        entropy = -(p * np.log(p + 1e-12)).sum(axis=1).mean()
        return float(np.exp(-(mean * np.log(mean + 1e-12)).sum() - entropy))


def classification_scores(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    generated: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
) -> dict[str, dict[str, float | None]]:
    """Classification accuracy both ways, beside what genuine signatures get.

    Parameters
    ----------
    train, train_labels, test, test_labels
        Genuine features and people, trained on and held out.
    generated
        Name -> features ``[n, d]`` and whom they sign as ``[n]`` (None where nobody was asked for).

    Returns
    -------
    dict
        Name (and ``genuine``) -> ``train_on_these`` (accuracy on the held-out genuine ones), ``test_on_these``
        (accuracy of the classifier trained on genuine ones), ``score`` (of these under that classifier; up to the
        number of people).
    """
    judge = PersonClassifier(train, train_labels)
    real = judge.accuracy(test, test_labels)
    out = {"genuine": dict(train_on_these=real, test_on_these=real, score=judge.score(test))}
    for name, (fake, people) in generated.items():
        mine = dict(train_on_these=None, test_on_these=None, score=judge.score(fake))
        if people is not None:
            mine["train_on_these"] = PersonClassifier(fake, people).accuracy(test, test_labels)
            mine["test_on_these"] = judge.accuracy(fake, people)
        out[name] = mine
    return out


def measure_usefulness(
    data: SignatureSet,
    runs: Mapping[str, Any],
    makers: Mapping[str, Maker] | None = None,
    extractor: FeatureExtractor | None = None,
    ks: Sequence[int] = (1, 4, 16),
    seed: int = 0,
    render: Render | None = None,
) -> dict[str, Any]:
    """Duplicates, acceptance and classification of several models on one set of signatures.

    Parameters
    ----------
    data
        The signatures that the models were trained on, with the same split.
    runs
        Name to run, as in `evaluate_runs`; one that knows no people only gets a ``score``.
    makers
        Name to a way of making duplicates from the one reference alone.
    feature extractor
        The verifier's features; a CPU `FeatureExtractor` by default.
    ks
        Numbers of duplicates.
    seed
        Of the samples and of the bootstrap over people.
    render
        What every picture passes; `render.render` by default.

    Returns
    -------
    dict
        ``extractor``, ``people``, ``train_per_person``, ``duplicates`` (`duplicates_study`), ``accepted`` (by name:
        `acceptance` by templates of all training signatures at their equal error rate, ``genuine``: that of held-out
        ones), ``classification`` (`classification_scores`).
    """
    extractor, render, most = extractor or FeatureExtractor(), _renderer(render), max(ks)
    real, labels = extractor.features(render(data.x)), data.labels.cpu().numpy()
    is_test = data.is_test.cpu().numpy()
    train, test, who, whom = real[~is_test], real[is_test], labels[~is_test], labels[is_test]
    own = [np.flatnonzero(who == k) for k in range(data.n_people)]
    each = min(len(o) for o in own)
    generated, drawn = {}, {}
    for name, run in runs.items():
        x, y = run.sample(most * data.n_people, seed=seed)
        fake, people = extractor.features(render(x)), None if y is None else torch.as_tensor(y).cpu().numpy()
        drawn[name] = (fake, people)
        if people is not None:
            order = np.argsort(people, kind="stable")
            generated[name] = fake[order].reshape(data.n_people, most, -1)
    references = torch.as_tensor(np.concatenate([o[:each] for o in own]))
    known = data.train.x.cpu()[references]  # [P * each, 1, H, W]
    for name, make in (makers or {}).items():
        parts = [extractor.features(render(make(known, seed + k))) for k in range(most)]
        generated[name] = np.stack(parts, axis=1).reshape(data.n_people, each, most, -1)
    study = duplicates_study(train, who, test, whom, generated, ks, seed)
    templates = np.stack([train[o].mean(axis=0) for o in own])
    limit = verify(templates, test, whom, seed, n_boot=0)["threshold"]
    accepted = {"genuine": acceptance(templates, limit, test, whom)}
    accepted |= {name: acceptance(templates, limit, *pair) for name, pair in drawn.items() if pair[1] is not None}
    return {
        "extractor": extractor.name,
        "people": data.n_people,
        "train_per_person": each,
        "duplicates": study,
        "accepted": accepted,
        "classification": classification_scores(train, who, test, whom, drawn),
    }
