"""Studies: the same training with one thing changed, several seeds each, scored alike on people no model has seen.

An *arm* is a recipe. `arms_of` has five studies: the reports' models and their variants, the repair of the reports' GAN
step by step, what each part of the best GAN adds, what beta does to a VAE drawn from N(0, I), and what more synthetic
writers do for the learned prior. Results are stored in ``results.json`` with the command and the commit; notebook 06
and the report show the stored ones.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import paths, provenance, report
from ..data import SignatureSet
from ..metrics import new_people
from ..metrics.seen import Eye
from ..recipes import RECIPES, Recipe, repair_steps
from ..render import render
from ..synthesis import Corpus
from ..training import checkpoint

SCORES = {  # of table A, by their name there: how a study shows them
    "frechet": "efflite0_block10/frechet",
    "coverage": "efflite0_block10/coverage",
    "recall": "efflite0_block10/recall",
    "novelty": "efflite0_block10/novelty_auc",
}
COLLAPSED = 0.1  # share of genuine signatures covered below which a training has collapsed
CONVERGED = dict(frechet=25.0, coverage=COLLAPSED)  # what a cheap GAN from noise has to reach; a blank page lies at 58
BETAS = (0.1, 2.0, 8.0)  # beside our own
PICTURES = 8  # samples of an arm that are stored
WRITERS = (500, 4_000)  # beside all of the corpus

WITHOUT = {  # of the best GAN: the field that is changed, and its value
    "single pictures": ("model.sets", False),
    "decoder fixed": ("model.train_decoder", False),
    "no R1 + R2": ("model.penalty", 0.0),
    "no reconstruction": ("model.reconstruction_weight", 0.0),
    "not relativistic": ("model.pairing", "bce"),
    "not augmented": ("train.augment.probability", 0.0),
}


def arms_of(study: str) -> dict[str, Recipe]:
    """The arms of a study by name; neighbours differ in one field, or all from the first.

    Raises
    ------
    ValueError
        For another study.
    """
    if study == "reports":
        vae, gan = RECIPES["report_vae"], RECIPES["report_gan"]
        return {
            "VAE as reported": vae,
            "VAE, cross entropy": vae.changed("model.likelihood", "bernoulli"),
            "GAN as reported": gan,
            "GAN, rates exchanged": gan.changed("model.rates", gan.model.rates[::-1]),
        }
    if study == "repair":
        return repair_steps() | {"more writers": RECIPES["gan_alone"]}  # the same recipe on a corpus
    if study == "gan":
        return {"ours": RECIPES["gan"]} | {name: RECIPES["gan"].changed(*change) for name, change in WITHOUT.items()}
    if study == "beta":
        ours = RECIPES["vae_alone"]
        return {f"beta {ours.model.beta:g}": ours} | {f"beta {b:g}": ours.changed("model.beta", b) for b in BETAS}
    if study == "writers":
        ours = RECIPES["corpus_prior"]
        return {"all writers": ours} | {f"{n:,} writers": ours.changed("train.writers", n) for n in WRITERS}
    raise ValueError(f"a study called {study!r}: choose reports, repair, gan, beta or writers")


class Judge:
    """Scores of table A for samples of a model: new people, beside people that nobody has trained on."""

    def __init__(self, data: SignatureSet, unseen: SignatureSet, cache: Path | None = None):
        self.data, self.eye = data, Eye(folder=cache or paths.home() / "build" / "cache", device=data.device)
        each = int(unseen.labels.bincount().min())
        rows = torch.cat([(unseen.labels == k).nonzero()[:each, 0] for k in range(unseen.n_people)])
        known = {name: self.eye(data.train.x).features[name] for name in self.eye.names}
        self.reference = new_people.strangers(self.eye(unseen.x[rows]), unseen.n_people, known)

    def __call__(self, run: checkpoint.Run, seed: int = 0) -> dict[str, float]:
        """The scores of `SCORES`, ``frechet_raw`` of the samples before rendering, the mean error of stroke statistics
        as ``strokes``, and whether the training ``converged``."""
        people, each = self.reference.people, self.reference.per_person
        x = run.sample(people * each, seed=seed, per_person=each)
        seen = self.eye(x)
        scores = new_people.score_new(self.reference, seen, seed)
        found = {name: scores[long].value for name, long in SCORES.items()}
        raw = replace(seen, features={one.name: one.features(x) for one in self.eye.extractors})
        found["frechet_raw"] = new_people.score_new(self.reference, raw, seed)[SCORES["frechet"]].value
        found["strokes"] = float(np.mean([score.value for name, score in scores.items() if name.startswith("stroke_")]))
        found["converged"] = found["frechet"] <= CONVERGED["frechet"] and found["coverage"] >= CONVERGED["coverage"]
        return found


def train_arms(
    judge: Judge,
    arms: Mapping[str, Recipe],
    folder: str | Path,
    images: int,
    seeds: Sequence[int] = (0,),
    start: checkpoint.Run | None = None,
    corpus: Corpus | None = None,
    progress: Callable[[str], None] | None = print,
) -> dict[str, Any]:
    """Train every arm with every seed, or load its run, and score it.

    Parameters
    ----------
    judge
        Scores, and the signatures to train on.
    arms
        Recipes by name; "more writers" and recipes of a corpus are trained on `corpus`, and left out without one.
    folder
        For the runs; finished ones are loaded.
    images
        Signatures seen in one training, the same for all arms.
    seeds
        Of the training and of the samples.
    start
        What those arms continue from whose recipe does not begin at random.
    corpus
        Many synthetic writers.
    progress
        Called with a line a training; None for silence.

    Returns
    -------
    dict
        ``images, n, arms``: name -> a list with an entry a seed, of ``seed, minutes``, the scores of `Judge`,
        ``pictures`` (of the first seed: `PICTURES` samples as `pack` writes them) and ``curve`` (rows of the history:
        images, logits, norm of G's gradient). A training whose loss became no number has ``diverged`` instead of
        scores.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    for name, arm in arms.items():
        data = corpus if name == "more writers" or arm.name.startswith("corpus") else judge.data
        if data is None:
            continue
        begin = start if arm.start else None
        arm = arm.for_class(data, begin)
        for seed in seeds:
            place = Path(folder) / f"{name.replace(' ', '_').replace('+', 'and')}_{seed}"
            recipe = replace(arm, train=replace(arm.train, seed=seed))
            entry: dict[str, Any] = dict(seed=seed)
            try:
                run = recipe.fit(data, place, images, start=begin, restart=True, progress=False)
            except FloatingPointError:
                out.setdefault(name, []).append(entry | dict(diverged=True))
                continue
            entry |= judge(run, seed) | dict(minutes=run.history[-1]["seconds"] / 60, curve=_curve(run.history))
            if seed == seeds[0]:
                entry["pictures"] = pack(run.sample(PICTURES, seed=seed))
            out.setdefault(name, []).append(entry)
            if progress:
                progress(f"{name}, seed {seed}: Frechet {entry['frechet']:.1f}, coverage {entry['coverage']:.2f}")
    return dict(images=images, n=judge.reference.people * judge.reference.per_person, scores=SCORES, arms=out)


def pack(x: torch.Tensor) -> str:
    """Rendered samples ``[n, 1, 128, 128]`` as text for a JSON file, a bit a pixel."""
    return base64.b64encode(np.packbits(render(x.cpu())[:, 0].numpy() > 0.5)).decode()


def unpack(pictures: str) -> torch.Tensor:
    """Ink ``[n, 1, 128, 128]`` in {0, 1} of what `pack` wrote."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(pictures), np.uint8))
    return torch.from_numpy(bits).view(-1, 1, 128, 128).float()


def _curve(history: list[dict], points: int = 40) -> list[dict[str, float]]:
    keys = ("images", "d_loss", "g_loss", "real_logit", "fake_logit", "g_gradient_norm", "loss", "test_loss")
    rows = [row for row in history if math.isfinite(row["loss"])]
    every = max(1, len(rows) // points)
    kept = [row for place, row in enumerate(rows) if place % every == 0 or "test_loss" in row]
    return [{key: round(row[key], 4) for key in keys if key in row} for row in kept]


def in_lines(found: Mapping[str, Any]) -> list[str]:
    """A line an arm: mean and range over its seeds."""
    lines = []
    for name, entries in found["arms"].items():
        good = [entry for entry in entries if "frechet" in entry]
        text = f"{name:24} {sum(entry['converged'] for entry in good)} of {len(entries)} converge"
        for score in ("frechet", "frechet_raw", "coverage", "recall", "novelty", "strokes") if good else ():
            values = [entry[score] for entry in good]
            text += f"   {score} {np.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"
        lines.append(text)
    return lines


def record(name: str, found: Mapping[str, Any], data: SignatureSet, command: str) -> Path:
    """Store a study in ``results.json``, section ``studies``, with `command`, what repeats it, and the commit."""
    about = dict(provenance=provenance.provenance(data, seed=0), command=command)
    return report.update_results("studies", {name: dict(found) | about})


def recorded(name: str, data: SignatureSet) -> dict[str, Any] | None:
    """The stored study if it was measured on these signatures, one's own before the committed one; else None."""
    for root in dict.fromkeys((paths.results_root(), paths.home())):
        if (root / "report" / "generated" / "results.json").exists():
            found = report.load_results(root).get("studies", {}).get(name)
            if found is not None and found["provenance"]["data_fingerprint"] == data.fingerprint():
                return found
    return None
