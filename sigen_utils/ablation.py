"""One change at a time: the same training with and without each ingredient, scored alike.

An *arm* is a model with its settings and its beginning. `train_arms` trains every arm with every seed in a folder of
its own, so that what was stopped goes on, and scores it by the protocol of notebook 04.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import metrics, runs, training
from .data import AugmentConfig, SignatureSet, render

SCORES = ("frechet_floors", "recall", "coverage", "top1", "within_ruler", "nearest_train")
STILL = AugmentConfig(rotation=0.0, scale=0.0, shear=0.0, translation=0.0, elastic=0.0)


@dataclass(frozen=True)
class Arm:
    """A model configuration, how it is trained, and what it goes on from (None: random weights)."""

    model: Any
    train: training.TrainConfig
    start: runs.Run | runs.Pretrained | None = None
    prior: str | None = None  # of a VAE's samples, as in `Run.sample`


def vae_arms(data: SignatureSet, start: runs.Run | runs.Pretrained | None) -> dict[str, Arm]:
    """Our VAE, and it with one ingredient changed: likelihood, prior, beta, augmentation, beginning."""
    ours = Arm(*training.vae_from(start, data), start)
    scratch = Arm(*training.vae_from(None, data))
    likelihoods = ("mse", "optimal_sigma", "continuous_bernoulli")
    return {
        "ours": ours,
        **{name.replace("_", " "): replace(ours, model=replace(ours.model, likelihood=name)) for name in likelihoods},
        "beta 4": replace(ours, model=replace(ours.model, beta=4.0)),
        "beta 0.1": replace(ours, model=replace(ours.model, beta=0.1)),
        "no augmentation": replace(ours, train=replace(ours.train, reals=STILL)),
        "no noise on the input": replace(ours, train=replace(ours.train, noise=0.0)),
        "mixture prior": replace(ours, prior="mixture"),
        "N(0, I)": replace(ours, prior="normal"),
        "from random weights": scratch,
    }


def gan_arms(data: SignatureSet, start: runs.Run | runs.Pretrained | None) -> dict[str, Arm]:
    """Our GAN, and it with one ingredient changed: anchor, penalty, augmentation, people, rates, choice, beginning."""
    ours = Arm(*training.gan_from(start, data), start)
    arms = {
        "ours": ours,
        "no penalty": replace(ours, model=replace(ours.model, penalty=0.0)),
        "no augmentation": replace(ours, train=replace(ours.train, reals=STILL, fakes=None)),
        "equal rates": replace(ours, model=replace(ours.model, learning_rate_d=ours.model.learning_rate_g)),
        "last moment": replace(ours, train=replace(ours.train, select=False)),
        "from random weights": Arm(*training.gan_from(None, data)),
    }
    if start is not None:
        arms["no anchor"] = replace(ours, model=replace(ours.model, fidelity=0.0))
        arms["twice the spread"] = replace(ours, model=replace(ours.model, spread=2 * ours.model.spread))
    return arms


def train_arms(
    data: SignatureSet,
    arms: Mapping[str, Arm],
    folder: str | Path,
    seeds: Sequence[int] = (0,),
    minutes: float | None = None,
    steps: int | None = None,
    progress: Callable[[str], None] | None = print,
) -> dict[str, Any]:
    """Train every arm with every seed, or load it, and score it.

    Parameters
    ----------
    data
        The signatures.
    arms
        By name; arms that differ in the prior only share a training.
    folder
        A run each.
    seeds
        Of the training and of the samples.
    minutes, steps
        Budget of one training, one of the two.
    progress
        Called with a line a training; None for silence.

    Returns
    -------
    dict
        ``ruler, n, floor`` and ``arms``: name -> list, an entry a seed, of ``seed, minutes, images, curve`` (a list of
        images and distance or held-out error), the scores of `metrics.evaluate_samples` and, for a VAE,
        ``percent_of_blank`` and ``f1`` of held-out signatures.
    """
    ruler = metrics.Ruler(data.device)
    reference = metrics.make_reference(data, ruler)
    out: dict[str, Any] = {}
    for name, arm in arms.items():
        trained_as = next(other for other, one in arms.items() if replace(one, prior=arm.prior) == arm)
        fit = training.fit_vae if hasattr(arm.model, "likelihood") else training.fit_gan
        for seed in seeds:
            place = Path(folder) / f"{trained_as.replace(' ', '_')}_{seed}"
            settings = replace(arm.train, seed=seed, snapshots=2)
            budget = dict(minutes=minutes, steps=steps, restart=True, progress=False, device=data.device)
            run = fit(data, arm.model, place, train=settings, start=arm.start, **budget)
            entry = _scored(run, arm, data, ruler, reference, seed)
            out.setdefault(name, []).append(entry)
            if progress:
                again = f", {entry['percent_of_blank']:.1f} % of blank" if "percent_of_blank" in entry else ""
                floors, coverage = entry["frechet_floors"], entry["coverage"]
                progress(f"{name}, seed {seed}: {floors:.1f} floors, coverage {coverage:.2f}{again}")
    return dict(ruler=ruler.name, n=reference.floor["n"], floor=reference.floor, arms=out)


def _scored(run, arm: Arm, data: SignatureSet, ruler, reference, seed: int) -> dict[str, Any]:
    x, y = run.sample(len(data), seed=seed, prior=arm.prior)
    score = metrics.evaluate_samples(data, render(x), y, ruler, seed, reference=reference)
    watched = "test_squared_error" if run.kind == "vae" else "distance"
    curve = [(record["images"], record[watched]) for record in run.history if watched in record]
    last = run.history[-1]
    entry = dict(seed=seed, minutes=last["seconds"] / 60, images=last["images"], curve=curve)
    entry |= {key: value for key, value in score.items() if key not in ("label", "reconstruction")}
    if run.kind == "vae":
        again = metrics.score_reconstruction(data.test.x, run.reconstruct(data.test.x))
        entry |= {key: again[key] for key in ("percent_of_blank", "f1")}
    return entry


def in_lines(found: Mapping[str, Any]) -> list[str]:
    """A plain table: mean over the seeds, and the spread where there are several."""
    columns = (*SCORES, "percent_of_blank", "f1")
    heads = ("floors", "recall", "cover", "top-1", "within", "nearest", "% blank", "F1")
    lines = [f"{found['ruler'] + ', n = ' + str(found['n']):26}" + "".join(f"{head:>14}" for head in heads)]
    for name, entries in found["arms"].items():
        cells = []
        for column in columns:
            values = [entry[column] for entry in entries if entry.get(column) is not None]
            spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3g}{spread}" if values else "-")
        lines.append(f"{name:26}" + "".join(f"{cell:>14}" for cell in cells))
    return lines
