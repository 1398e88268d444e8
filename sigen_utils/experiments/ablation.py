"""One change at a time: the same training with and without each ingredient, scored alike.

An *arm* is a recipe with one field changed, or another recipe. `train_arms` trains every arm with every seed in a
folder of its own, so that what was stopped goes on, and scores it by the protocol of notebook 04.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import figures, metrics
from ..data import SignatureSet
from ..models import vae
from ..recipes import RECIPES, Recipe
from ..render import render
from ..training import checkpoint
from ..training.loop import CHECKED

SCORES = ("frechet_floors", "recall", "coverage", "top1", "within_extractor", "nearest_train")
BETAS = (0.1, 1.0, 4.0, 16.0)  # of the sweep, beside our own
KINDS = {"vae": "VAE", "alone": "GAN", "gan": "VAE-GAN"}  # what is ablated, and its name in tables
OURS = {"vae": "vae_pretrained", "alone": "gan_alone", "gan": "gan"}  # its recipe
CHANGES: dict[str, dict[str, tuple[str, Any]]] = {  # arm -> the field that is changed, and its value
    "vae": {
        "mse": ("model.likelihood", "mse"),
        "optimal sigma": ("model.likelihood", "optimal_sigma"),
        "continuous bernoulli": ("model.likelihood", "continuous_bernoulli"),
        "no augmentation": ("train.augment.probability", 0.0),
        "unmoved signatures": ("model.warped", False),
        "no noise on the input": ("train.noise", 0.0),
        "20 Gaussians": ("prior", "gaussians"),
        "N(0, I)": ("prior", "normal"),
    },
    "alone": {
        # Adam ignores the scale of a loss: at this weight the adversarial part of a step vanishes
        "redrawing without the game": ("model.reconstruction_weight", 1e5),
        "the game without redrawing": ("model.reconstruction_weight", 0.0),
        "unmoved genuine signatures": ("train.augment.probability", 0.0),
        "no shift before D": ("train.shift", 0),
        "not rendered": ("model.rendered", False),
        "no penalty": ("model.penalty", 0.0),
        "last moment": ("train.keep_best", False),
    },
    "gan": {
        "no penalty": ("model.penalty", 0.0),
        "equal rates": ("model.learning_rate_d", RECIPES["gan"].model.learning_rate_g),
        "last moment": ("train.keep_best", False),
        "anchored": ("model.reconstruction_weight", 0.3),
        "not rendered": ("model.rendered", False),
        "moved genuine signatures": ("train.augment.probability", 1.0),
        "twice the spread": ("model.noise_scale", 2 * RECIPES["gan"].model.noise_scale),
    },
}
OTHERS = {"vae": {"from random weights": "vae", "as reported": "report_vae"}, "alone": {}, "gan": {}}


def arms_of(kind: str, scratch: bool = False) -> dict[str, Recipe]:
    """The arms of one of `KINDS`: ours, ours with each of `CHANGES` or another beta, and other recipes to compare with.

    With `scratch` ours of a VAE is the recipe that begins at random.
    """
    ours = RECIPES["vae" if scratch and kind == "vae" else OURS[kind]]
    changes = dict(CHANGES[kind])
    if kind == "vae":
        changes |= {f"beta {b:g}": ("model.beta", b) for b in BETAS if b != ours.model.beta}
    changed = {name: ours.changed(*change) for name, change in changes.items()}
    others = {name: RECIPES[other] for name, other in OTHERS[kind].items() if other != ours.name}
    return {"ours": ours, **changed, **others}


def train_arms(
    data: SignatureSet,
    arms: Mapping[str, Recipe],
    folder: str | Path,
    images: int | Mapping[str, int],
    seeds: Sequence[int] | Mapping[str, Sequence[int]] = (0,),
    start: checkpoint.Run | checkpoint.Pretrained | None = None,
    progress: Callable[[str], None] | None = print,
    workers: int = 1,
) -> dict[str, Any]:
    """Train every arm with every seed, or load its run, and score it.

    Parameters
    ----------
    data
        The signatures.
    arms
        By name; arms that differ in the prior only share a run.
    folder
        For the runs.
    images
        Signatures seen in one training; one number for all arms, or one per arm.
    seeds
        Of the training and of the samples; for all arms, or per arm.
    start
        What those arms continue from whose recipe does not begin at random.
    progress
        Called with one line per training; None for silence.
    workers
        Trainings at a time, one process each. A GPU has time for several small ones; their minutes are then longer.

    Returns
    -------
    dict
        ``extractor, n, floor`` and ``arms``: name -> list, an entry a seed, of ``seed, minutes, images, curve`` (a list
        of minutes, images and distance or held-out error in percent of a blank page), the scores of
        `metrics.evaluate_samples` and, for a VAE, ``beta``, ``percent_of_blank`` and ``f1`` of held-out signatures and
        the share ``active`` of its latents. A training whose loss became no number has ``diverged`` instead of scores.
    """
    arms = {name: arm.for_class(data, start if arm.start else None) for name, arm in arms.items()}
    trainings: dict[Path, _Task] = {}
    for name, arm in arms.items():
        trained_as = next(other for other, one in arms.items() if replace(one, prior=arm.prior) == arm)
        for seed in seeds[name] if isinstance(seeds, Mapping) else seeds:
            place = Path(folder) / f"{trained_as.replace(' ', '_')}_{seed}"
            length = images[name] if isinstance(images, Mapping) else images
            task = trainings.setdefault(place, _Task({}, place, seed, length, start if arm.start else None))
            task.arms[name] = arm
    tasks = list(trainings.values())
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    scorer = _Scorer(data)
    with _scoring(scorer, workers) as scored_in_turn:
        for entries in scored_in_turn(tasks):
            for name, entry in entries.items():
                found[name].append(entry)
                if progress:
                    progress(f"{name}, seed {entry['seed']}: {_in_words(entry)}")
    floor = scorer.reference.floor
    return dict(extractor=scorer.extractor.name, n=floor["n"], floor=floor, arms={k: v for k, v in found.items() if v})


@dataclass(frozen=True)
class _Task:
    """One training, and the arms that share it."""

    arms: dict[str, Recipe]
    place: Path
    seed: int
    images: int
    start: checkpoint.Run | checkpoint.Pretrained | None


class _Scorer:
    """Trains and scores one run, against a reference that is computed once."""

    def __init__(self, data: SignatureSet):
        self.data, self.extractor = data, metrics.FeatureExtractor(data.device)
        self.reference = metrics.make_reference(data, self.extractor)

    def __call__(self, task: _Task) -> dict[str, dict[str, Any]]:
        arm = next(iter(task.arms.values()))
        checks = min(6, arm.train.checks)
        arm = replace(arm, train=replace(arm.train, seed=task.seed, snapshots=2, checks=checks))
        options = dict(start=task.start, restart=True, progress=False, device=self.data.device)
        try:
            run = arm.fit(self.data, task.place, task.images, **options)
        except FloatingPointError:  # a result, no error
            history = checkpoint.read_history(task.place) or [dict(seconds=0.0, images=0)]
            entry = dict(seed=task.seed, diverged=True, curve=_curve(history, self.data)) | _cost(history)
            return dict.fromkeys(task.arms, entry)
        return {name: _scored(run, one, self.data, self.extractor, self.reference, task.seed)
                for name, one in task.arms.items()}  # fmt: skip


_own_scorer: _Scorer | None = None  # of a worker process


def _begin_work(data: SignatureSet, device: torch.device, threads: int) -> None:
    global _own_scorer
    torch.set_num_threads(threads)
    _own_scorer = _Scorer(data.to(device))


def _work(task: _Task) -> dict[str, dict[str, Any]]:
    return _own_scorer(task)


@contextlib.contextmanager
def _scoring(
    scorer: _Scorer, workers: int
) -> Iterator[Callable[[Sequence[_Task]], Iterable[dict[str, dict[str, Any]]]]]:
    """A function like ``map(scorer, tasks)`` that uses so many processes and keeps the order."""
    if workers < 1:
        raise ValueError(f"workers={workers}: give one or more")
    if workers == 1:
        yield lambda tasks: map(scorer, tasks)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    options = dict(mp_context=multiprocessing.get_context("spawn"), initializer=_begin_work)
    arguments = (scorer.data.to("cpu"), scorer.data.device, threads)
    with ProcessPoolExecutor(workers, initargs=arguments, **options) as pool:
        yield lambda tasks: pool.map(_work, tasks)


def _scored(run, arm: Recipe, data: SignatureSet, extractor, reference, seed: int) -> dict[str, Any]:
    x, y = run.sample(len(data), seed=seed, prior=arm.prior)
    score = metrics.evaluate_samples(data, render(x), y, extractor, seed, reference=reference)
    entry = dict(seed=seed, curve=_curve(run.history, data)) | _cost(run.history)
    entry |= {key: value for key, value in score.items() if key not in ("label", "reconstruction")}
    if run.kind == "vae":
        again = metrics.score_reconstruction(data.test.x, run.reconstruct(data.test.x, data.test.names))
        entry |= {key: again[key] for key in ("percent_of_blank", "f1")}
        active = vae.active_units(run.model, data.train.images)
        entry |= dict(beta=run.model.config.beta, active=active / run.model.config.latent_dim)
    return entry


def _cost(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return dict(minutes=history[-1]["seconds"] / 60, images=history[-1]["images"])


def _curve(history: Sequence[Mapping[str, float]], data: SignatureSet) -> list[list[float]]:
    """Minutes, images and distance or, of a VAE, held-out error in percent of a blank page, at each check."""
    watched, unit = "distance", 1.0
    if any("test_squared_error" in record for record in history):
        watched, unit = "test_squared_error", data.test.x[:CHECKED].flatten(1).sum(1).mean().item() / 100
    known = [record for record in history if math.isfinite(record.get(watched, math.nan))]
    return [[record["seconds"] / 60, record["images"], record[watched] / unit] for record in known]


def _in_words(entry: Mapping[str, Any]) -> str:
    if entry.get("diverged"):
        return f"diverged after {entry['images']:,} images"
    again = f", {entry['percent_of_blank']:.1f} % of blank" if "percent_of_blank" in entry else ""
    return f"{entry['frechet_floors']:.1f} floors, coverage {entry['coverage']:.2f}{again}"


def _in_order(arm: tuple[str, Any]) -> tuple:
    """Ours first, the others by name, numbers by value: beta 4 before beta 16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", arm[0])
    return arm[0] != "ours", [(float(part), "") if i % 2 else (-1.0, part) for i, part in enumerate(parts)]


def means(found: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[tuple[float, float | None] | None]]:
    """Mean and, with several seeds, standard deviation of every arm's scores; None where a score does not apply."""
    out: dict[str, list[tuple[float, float | None] | None]] = {}
    for name, entries in sorted(found["arms"].items(), key=_in_order):
        columns_of = ([entry[column] for entry in entries if entry.get(column) is not None] for column in columns)
        out[name] = [
            (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None) if values else None
            for values in columns_of
        ]
    return out


def in_lines(found: Mapping[str, Any]) -> list[str]:
    """A text table: mean over the seeds, and standard deviation if there are several."""
    heads = dict(zip(SCORES, ("floors", "recall", "cover", "top-1", "within", "nearest"), strict=True))
    heads |= dict(percent_of_blank="% blank", f1="F1", active="active")
    lines = [
        f"{found['extractor'] + ', n = ' + str(found['n']):26}" + "".join(f"{head:>18}" for head in heads.values())
    ]
    for name, scores in means(found, list(heads)).items():
        cells = ["-" if one is None else f"{one[0]:.3g}" + (f" ± {one[1]:.2g}" if one[1] else "") for one in scores]
        lines.append(f"{name:26}" + "".join(f"{cell:>18}" for cell in cells))
    return lines


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """The result of `train_arms` as small JSON: of strokes only distances, no distributions."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for name, entries in found["arms"].items():
        for entry in entries:
            kept = {k: v for k, v in entry.items() if k not in ("stroke", "curve", "n")}
            kept |= {f"stroke_{k}": v["w1_sd"] for k, v in entry.get("stroke", {}).items()}
            kept["curve"] = [[round(minutes, 3), images, _short(value)] for minutes, images, value in entry["curve"]]
            kept = {k: _short(v) if isinstance(v, float) else v for k, v in kept.items()}
            arms.setdefault(name, []).append(kept)
    floor = {k: v for k, v in found["floor"].items() if k != "stroke"}
    return {**found, "floor": floor, "arms": arms}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


@figures.styled
def beta_figure(found: Mapping[str, Any], width: float = figures.TEXT_WIDTH) -> Figure:
    """Held-out error, distance of samples and active latents over the weight of the KL term."""
    swept = {
        e["beta"]: e
        for name, (e, *_) in found["arms"].items()
        if "beta" in e and (name == "ours" or name.startswith("beta "))
    }
    betas = sorted(swept)
    panels = dict(percent_of_blank="held-out error, % of blank", frechet_floors="samples, floors", active="active")
    fig = figures.ShownOnce(figsize=(width, 1.9), layout="constrained")
    for k, (ax, (column, label)) in enumerate(zip(fig.subplots(1, 3), panels.items(), strict=True)):
        ax.plot(betas, [swept[b][column] for b in betas], marker="o", markersize=3.5, color=figures.COLORS[k])
        ours = found["arms"]["ours"][0]
        ax.plot(ours["beta"], ours[column], "o", markersize=8, markerfacecolor="none", color="black", clip_on=False)
        ax.set(xscale="log", xlabel=r"$\beta$", title=label)
        ax.set_xticks(betas, [f"{b:g}" for b in betas])
        ax.minorticks_off()
        ax.set_ylim(bottom=0)
    return fig


@figures.styled
def time_figure(found: Mapping[str, Any], arms: Sequence[str], width: float = figures.COLUMN_WIDTH) -> Figure:
    """Held-out error over minutes of some arms of a VAE's study, one line per seed."""
    fig = figures.ShownOnce(figsize=(width, 2.2), layout="constrained")
    ax = fig.subplots()
    for k, name in enumerate(arms):
        for i, entry in enumerate(found["arms"].get(name, ())):
            minutes, _, error = zip(*entry["curve"], strict=True) if entry["curve"] else ((), (), ())
            ax.plot(minutes, error, color=figures.COLORS[k], linewidth=0.8, label=None if i else name)
    ax.axhline(100, color="0.45", linewidth=0.7)
    ax.annotate("blank page", (0.98, 100), (0, 2), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                ha="right", fontsize=6.5)  # fmt: skip
    ax.set(xlabel="minutes", ylabel="held-out error, % of blank", ylim=(0, 130))
    ax.legend(fontsize=6.5, frameon=True, framealpha=1, edgecolor="none")
    return fig
