"""One change at a time: the same training with and without each ingredient, scored alike.

An *arm* is a model with its settings and its beginning. `train_arms` trains every arm with every seed in a folder of
its own, so that what was stopped goes on, and scores it by the protocol of notebook 04.
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

from .. import figures, metrics, recipes
from ..augment import PERSON_MOVES, AugmentConfig
from ..data import SignatureSet
from ..models import gan, vae
from ..render import render
from ..training import checkpoint, loop

SCORES = ("frechet_floors", "recall", "coverage", "top1", "within_ruler", "nearest_train")
BETAS = (0.1, 1.0, 4.0, 16.0)  # of the sweep, beside our own
STILL = AugmentConfig(rotation=0.0, scale=0.0, shear=0.0, translation=0.0, elastic=0.0)
KINDS = {"vae": "VAE", "alone": "GAN", "gan": "VAE-GAN"}  # what is taken apart, and how it is called


@dataclass(frozen=True)
class Arm:
    """A model configuration, how it is trained, and what it goes on from (None: random weights)."""

    model: Any
    train: loop.TrainConfig
    start: checkpoint.Run | checkpoint.Pretrained | None = None
    prior: str | None = None  # of a VAE's samples, as in `Run.sample`
    steps: int | None = None  # a budget of its own, instead of that of all


def vae_arms(data: SignatureSet, start: checkpoint.Run | checkpoint.Pretrained | None) -> dict[str, Arm]:
    """Our VAE, it with one ingredient changed: likelihood, beta, augmentation, people, prior, start; the reports'."""
    ours = Arm(*recipes.vae_from(start, data), start)
    scratch = Arm(*recipes.vae_from(None, data))
    vector = replace(scratch.model, latent_dim=scratch.model.whole_dim, detail=0)
    likelihoods = ("mse", "optimal_sigma", "continuous_bernoulli")
    return {
        "ours": ours,
        **{name.replace("_", " "): replace(ours, model=replace(ours.model, likelihood=name)) for name in likelihoods},
        **{f"beta {b:g}": replace(ours, model=replace(ours.model, beta=b)) for b in BETAS if b != ours.model.beta},
        "no augmentation": replace(ours, train=replace(ours.train, reals=STILL)),
        "unmoved signatures": replace(ours, model=replace(ours.model, moved=False)),
        "told the person": replace(ours, model=replace(ours.model, conditional=True)),
        "told the person, N(0, I)": replace(ours, model=replace(ours.model, conditional=True), prior="normal"),
        "no noise on the input": replace(ours, train=replace(ours.train, noise=0.0)),
        "20 Gaussians": replace(ours, prior="gaussians"),
        "N(0, I)": replace(ours, prior="normal"),
        "from random weights": scratch,
        "from random weights, a vector alone": replace(scratch, model=vector),
        "as reported": Arm(vae.REPORT_VAE, recipes.VAE_REPORT),
    }


def gan_arms(data: SignatureSet, start: checkpoint.Run | checkpoint.Pretrained) -> dict[str, Arm]:
    """Our VAE-GAN, and it with one ingredient changed: what D is shown, anchor, penalty, rates, choice."""
    ours = Arm(*recipes.gan_from(start, data), start)
    return {
        "ours": ours,
        "no penalty": replace(ours, model=replace(ours.model, penalty=0.0)),
        "equal rates": replace(ours, model=replace(ours.model, learning_rate_d=ours.model.learning_rate_g)),
        "last moment": replace(ours, train=replace(ours.train, keep_best=False)),
        "anchored": replace(ours, model=replace(ours.model, fidelity=0.3)),
        "not rendered": replace(ours, model=replace(ours.model, rendered=False)),
        "moved genuine signatures": replace(ours, train=replace(ours.train, reals=PERSON_MOVES)),
        "twice the spread": replace(ours, model=replace(ours.model, spread=2 * ours.model.spread)),
    }


def alone_arms(data: SignatureSet) -> dict[str, Arm]:
    """Our GAN from noise, and it with one ingredient changed: the redrawing, what D sees, how people are told."""
    ours = Arm(*recipes.gan_alone_from(data))
    table = gan.GANConfig(n_people=data.n_people, people_by="table")
    return {
        "ours": ours,
        # Adam takes no notice of a loss's scale, so beside so much redrawing the game's part of a step is nothing
        "redrawing without the game": replace(ours, model=replace(ours.model, fidelity=1e5)),
        "the game without redrawing": replace(ours, model=replace(ours.model, fidelity=0.0)),
        "people by a table": replace(ours, model=table),
        "unmoved genuine signatures": replace(ours, train=replace(ours.train, reals=AugmentConfig(probability=0.0))),
        "no shift before D": replace(ours, train=replace(ours.train, shift=0)),
        "not rendered": replace(ours, model=replace(ours.model, rendered=False)),
        "no penalty": replace(ours, model=replace(ours.model, penalty=0.0)),
        "last moment": replace(ours, train=replace(ours.train, keep_best=False)),
    }


def arms_of(kind: str, data: SignatureSet, start: checkpoint.Run | checkpoint.Pretrained | None) -> dict[str, Arm]:
    """The arms of one of `KINDS`; `start` as of `vae_arms` and `gan_arms`, the GAN from noise has none."""
    return alone_arms(data) if kind == "alone" else dict(vae=vae_arms, gan=gan_arms)[kind](data, start)


def train_arms(
    data: SignatureSet,
    arms: Mapping[str, Arm],
    folder: str | Path,
    seeds: Sequence[int] | Mapping[str, Sequence[int]] = (0,),
    minutes: float | None = None,
    steps: int | None = None,
    progress: Callable[[str], None] | None = print,
    workers: int = 1,
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
        Of the training and of the samples; for all arms alike, or by arm.
    minutes, steps
        Budget of one training, one of the two, for arms without one of their own.
    progress
        Called with a line a training; None for silence.
    workers
        Trainings at a time, a process each. A GPU that waits for the launches of one training has time for several;
        their minutes are then those of a shared one. Budgets should be steps.

    Returns
    -------
    dict
        ``ruler, n, floor`` and ``arms``: name -> list, an entry a seed, of ``seed, minutes, images, curve`` (a list of
        minutes, images and distance or held-out error in percent of a blank page), the scores of
        `metrics.evaluate_samples` and, for a VAE, ``beta``, ``percent_of_blank`` and ``f1`` of held-out signatures and
        the share ``active`` of its latents. A training whose loss became no number has ``diverged`` instead of scores.
    """
    trainings: dict[Path, dict[str, Arm]] = {}
    with_seed: dict[Path, int] = {}
    for name, arm in arms.items():
        trained_as = next(other for other, one in arms.items() if replace(one, prior=arm.prior) == arm)
        for seed in seeds[name] if isinstance(seeds, Mapping) else seeds:
            place = Path(folder) / f"{trained_as.replace(' ', '_')}_{seed}"
            trainings.setdefault(place, {})[name], with_seed[place] = arm, seed
    tasks = [(own, place, with_seed[place], minutes, steps) for place, own in trainings.items()]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    judge = _Judge(data)
    with _judging(judge, workers) as scored_in_turn:
        for entries in scored_in_turn(tasks):
            for name, entry in entries.items():
                found[name].append(entry)
                if progress:
                    progress(f"{name}, seed {entry['seed']}: {_in_words(entry)}")
    floor = judge.reference.floor
    return dict(ruler=judge.ruler.name, n=floor["n"], floor=floor, arms={k: v for k, v in found.items() if v})


class _Judge:
    """Trains and scores what belongs to one training, against a reference that is made once."""

    def __init__(self, data: SignatureSet):
        self.data, self.ruler = data, metrics.Ruler(data.device)
        self.reference = metrics.make_reference(data, self.ruler)

    def __call__(self, task: tuple[dict[str, Arm], Path, int, float | None, int | None]) -> dict[str, dict[str, Any]]:
        arms, place, seed, minutes, steps = task
        arm = next(iter(arms.values()))
        settings = replace(arm.train, seed=seed, snapshots=2, checks=min(6, arm.train.checks))
        budget = dict(steps=arm.steps) if arm.steps else dict(minutes=minutes, steps=steps)
        options = dict(start=arm.start, restart=True, progress=False, device=self.data.device)
        fit = recipes.fit_vae if hasattr(arm.model, "likelihood") else recipes.fit_gan
        try:
            run = fit(self.data, arm.model, place, train=settings, **options, **budget)
        except FloatingPointError:  # an outcome, not an accident
            history = checkpoint.read_history(place) or [dict(seconds=0.0, images=0)]
            told = dict(seed=seed, diverged=True, curve=_curve(history, arm, self.data))
            return {name: told | _cost(history) for name in arms}
        return {name: _scored(run, one, self.data, self.ruler, self.reference, seed) for name, one in arms.items()}


_own_judge: _Judge | None = None  # of a worker process


def _begin_work(data: SignatureSet, device: torch.device, threads: int) -> None:
    global _own_judge
    torch.set_num_threads(threads)
    _own_judge = _Judge(data.to(device))


def _work(task: tuple) -> dict[str, dict[str, Any]]:
    return _own_judge(task)


@contextlib.contextmanager
def _judging(judge: _Judge, workers: int) -> Iterator[Callable[[Sequence[tuple]], Iterable[dict[str, dict[str, Any]]]]]:
    """Something like ``map(judge, tasks)``, with so many processes; what comes back is in the tasks' order."""
    if workers < 1:
        raise ValueError(f"workers={workers}: at least one has to train")
    if workers == 1:
        yield lambda tasks: map(judge, tasks)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    options = dict(mp_context=multiprocessing.get_context("spawn"), initializer=_begin_work)
    arguments = (judge.data.to("cpu"), judge.data.device, threads)
    with ProcessPoolExecutor(workers, initargs=arguments, **options) as pool:
        yield lambda tasks: pool.map(_work, tasks)


def _scored(run, arm: Arm, data: SignatureSet, ruler, reference, seed: int) -> dict[str, Any]:
    x, y = run.sample(len(data), seed=seed, prior=arm.prior)
    score = metrics.evaluate_samples(data, render(x), y, ruler, seed, reference=reference)
    entry = dict(seed=seed, curve=_curve(run.history, arm, data)) | _cost(run.history)
    entry |= {key: value for key, value in score.items() if key not in ("label", "reconstruction")}
    if run.kind == "vae":
        again = metrics.score_reconstruction(data.test.x, run.reconstruct(data.test.x, data.test.names))
        entry |= {key: again[key] for key in ("percent_of_blank", "f1")}
        active = vae.active_units(run.model, data.train.images)
        entry |= dict(beta=run.model.config.beta, active=active / run.model.config.latent_dim)
    return entry


def _cost(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return dict(minutes=history[-1]["seconds"] / 60, images=history[-1]["images"])


def _curve(history: Sequence[Mapping[str, float]], arm: Arm, data: SignatureSet) -> list[list[float]]:
    """Minutes, images and distance, or held-out error in percent of a blank page, at each check."""
    watched, unit = "distance", 1.0
    if hasattr(arm.model, "likelihood"):
        watched, unit = "test_squared_error", data.test.x[: loop.CHECKED].flatten(1).sum(1).mean().item() / 100
    known = [record for record in history if math.isfinite(record.get(watched, math.nan))]
    return [[record["seconds"] / 60, record["images"], record[watched] / unit] for record in known]


def _in_words(entry: Mapping[str, Any]) -> str:
    if entry.get("diverged"):
        return f"diverged after {entry['images']:,} images"
    again = f", {entry['percent_of_blank']:.1f} % of blank" if "percent_of_blank" in entry else ""
    return f"{entry['frechet_floors']:.1f} floors, coverage {entry['coverage']:.2f}{again}"


def _in_order(arm: tuple[str, Any]) -> tuple:
    """The yardstick first, the others by name with numbers as numbers: beta 4 before beta 16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", arm[0])
    return arm[0] != "ours", [(float(part), "") if i % 2 else (-1.0, part) for i, part in enumerate(parts)]


def means(found: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[tuple[float, float | None] | None]]:
    """Mean and, with several seeds, standard deviation of scores of every arm; None where a score does not apply."""
    out: dict[str, list[tuple[float, float | None] | None]] = {}
    for name, entries in sorted(found["arms"].items(), key=_in_order):
        columns_of = ([entry[column] for entry in entries if entry.get(column) is not None] for column in columns)
        out[name] = [
            (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None) if values else None
            for values in columns_of
        ]
    return out


def in_lines(found: Mapping[str, Any]) -> list[str]:
    """A plain table: mean over the seeds, and the spread where there are several."""
    heads = dict(zip(SCORES, ("floors", "recall", "cover", "top-1", "within", "nearest"), strict=True))
    heads |= dict(percent_of_blank="% blank", f1="F1", active="active")
    lines = [f"{found['ruler'] + ', n = ' + str(found['n']):26}" + "".join(f"{head:>18}" for head in heads.values())]
    for name, scores in means(found, list(heads)).items():
        cells = ["-" if one is None else f"{one[0]:.3g}" + (f" ± {one[1]:.2g}" if one[1] else "") for one in scores]
        lines.append(f"{name:26}" + "".join(f"{cell:>18}" for cell in cells))
    return lines


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth keeping of `train_arms`, as small JSON: no distributions of strokes but their distances."""
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
    """What the weight of the KL term does: held-out error, distance of the samples, latents in use."""
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
    """Held-out error over the clock, a line a seed, of some arms of a VAE's study."""
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
