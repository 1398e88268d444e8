"""A search over training settings: rates of G and D, latent size, length of the training, beta, batch.

Optuna's TPE sampler proposes settings and a median rule prunes trials. An SQLite file keeps the study, so that it can
continue, and several processes may share it. The goal is measured on each person's last *training* signature, which
trials do not train on. The held-out signatures are not used.

References: Bergstra et al. 2011 (TPE); Hutter et al. 2014 (importance); Akiba et al. 2019 (Optuna).
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import figures, metrics
from ..data import SignatureSet
from ..models import gan
from ..models.layers import PLACES
from ..recipes import RECIPES, Recipe
from ..render import render
from ..training import checkpoint

if TYPE_CHECKING:
    import optuna

LABELS = {
    "learning_rate": "learning rate",
    "learning_rate_g": "rate of G",
    "learning_rate_d": "rate of D",
    "latent_dim": "latent size",
    "detail": "detail a place",
    "batch_size": "batch",
    "images": "images seen",
    "beta": "beta",
}
GOALS = {
    "vae": "squared error in % of a blank page, validation",
    "gan": "Fréchet distance to validation signatures",
}


@dataclass(frozen=True)
class StudyConfig:
    """What is tried. Pairs are bounds, searched on a log scale; longer tuples are choices."""

    learning_rate: tuple[float, float] = (1e-4, 1e-2)  # of a VAE
    beta: tuple[float, float] = (0.1, 8.0)
    learning_rate_g: tuple[float, float] = (3e-5, 3e-3)
    learning_rate_d: tuple[float, float] = (3e-5, 3e-3)
    latent_dim: tuple[int, ...] = (8, 16, 32, 64, 128)  # of a VAE's code for the whole; ...
    detail: tuple[int, ...] = (0, 1, 2, 4)  # ... its map of places comes on top. A GAN's: those of `gan.Thumbnail`
    batch_size: tuple[int, ...] = (8, 16, 32, 64)
    images: tuple[int, int] = (1_000, 8_000)  # how long: signatures seen
    widths: tuple[int, ...] = (16, 32, 64, 96)  # of the cheap networks
    seed: int = 0


def validation_split(data: SignatureSet) -> SignatureSet:
    """The training signatures alone, each person's last one held out; who has one only is trained on.

    Raises
    ------
    ValueError
        If nobody has two training signatures.
    """
    train = data.train
    held_out = torch.zeros(len(train), dtype=torch.bool)
    for k in range(data.n_people):
        own = (train.labels == k).nonzero()[:, 0]
        if len(own) > 1:
            held_out[own[-1]] = True
    if not held_out.any():
        raise ValueError("a study needs two training signatures of somebody: one is for validation")
    return replace(train, is_test=held_out.to(train.device))


def propose(trial: optuna.Trial, kind: str, data: SignatureSet, config: StudyConfig) -> tuple[Recipe, int]:
    """Recipe and images of a trial: our VAE of the class alone, or our GAN from noise."""
    batch = trial.suggest_categorical("batch_size", config.batch_size)
    images = trial.suggest_int("images", *config.images, log=True)
    settings: dict[str, Any] = dict(batch_size=batch, snapshots=1, checks=6, seed=config.seed, checkpoint_seconds=1e9)
    recipe = RECIPES["vae" if kind == "vae" else "gan_alone"].for_class(data)
    changes: dict[str, Any] = dict(widths=config.widths)
    if kind == "vae":
        whole = trial.suggest_categorical("latent_dim", config.latent_dim)
        detail = trial.suggest_categorical("detail", config.detail)
        changes |= dict(beta=trial.suggest_float("beta", *config.beta, log=True))
        settings |= dict(learning_rate=trial.suggest_float("learning_rate", *config.learning_rate, log=True))
    else:
        whole, detail = recipe.model.whole_dim, trial.suggest_categorical("detail", gan.Thumbnail.DETAIL)
        changes |= {name: trial.suggest_float(name, *getattr(config, name), log=True) for name in _RATES}
        changes |= dict(embedding_dim=32)
    changes |= dict(latent_dim=whole + detail * PLACES**2, detail=detail)
    return replace(recipe, model=replace(recipe.model, **changes), train=replace(recipe.train, **settings)), images


_RATES = ("learning_rate_g", "learning_rate_d")


def installed() -> bool:
    """Whether Optuna can be imported."""
    return importlib.util.find_spec("optuna") is not None


def run_study(
    kind: str,
    data: SignatureSet,
    storage: str,
    trials: int,
    config: StudyConfig = StudyConfig(),
    progress: Callable[[str], None] | None = print,
) -> optuna.Study:
    """Try settings of a model on small networks, or go on trying.

    Parameters
    ----------
    kind
        "vae" (the goal is the squared error of validation signatures, in percent of a blank page) or "gan" (the
        Fréchet distance of as many samples from them).
    data
        The signatures.
    storage
        An Optuna storage, for instance ``sqlite:///build/study.db``.
    trials
        How many more.
    config
        The space.
    progress
        Called with a line a trial; None for silence.

    Raises
    ------
    ImportError
        Where Optuna is not installed; the message names the command.
    ValueError
        For an unknown kind, or data without two training signatures of anybody.
    """
    if not installed():
        raise ImportError("a study needs Optuna: pip install optuna")
    import optuna

    if kind not in GOALS:
        raise ValueError(f"a study of {kind!r}: choose vae or gan")
    data = validation_split(data)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        # Trials of other code do not compare
        study_name=f"{kind} {data.fingerprint()} {checkpoint.code_fingerprint()}",
        storage=storage,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=None if _begun(storage) else config.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    )
    goal = _vae_goal if kind == "vae" else _GANGoal(data)

    def objective(trial: optuna.Trial) -> float:
        recipe, images = propose(trial, kind, data, config)
        checks, watched = 0, "test_squared_error" if kind == "vae" else "distance"

        def watch(record: dict[str, float]) -> None:
            nonlocal checks
            checks += 1
            trial.report(record[watched], checks)
            if trial.should_prune():
                raise optuna.TrialPruned

        with tempfile.TemporaryDirectory() as folder:
            run = recipe.fit(data, Path(folder) / "run", images, on_check=watch, progress=False)
            trial.set_user_attr("seconds", run.history[-1]["seconds"])
            return goal(run, data)

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if progress:
            value = "pruned" if trial.value is None else f"{trial.value:.3f}"
            settings = ", ".join(f"{k} {v:.3g}" for k, v in trial.params.items())
            progress(f"trial {trial.number}: {value}  ({settings})")

    # A training that diverges is a result, no error
    study.optimize(objective, n_trials=trials, callbacks=[report], catch=(FloatingPointError,))
    return study


def _begun(storage: str) -> bool:
    """Whether the storage exists already: a second worker must not repeat the first one's proposals."""
    path = storage.removeprefix("sqlite:///")
    return path != storage and Path(path).exists()


def _vae_goal(run, data: SignatureSet) -> float:
    x = data.test.x
    return metrics.score_reconstruction(x, run.reconstruct(x))["percent_of_blank"]


class _GANGoal:
    """Fréchet distance of a run's samples from the validation signatures, as many of them."""

    def __init__(self, data: SignatureSet):
        self.extractor = metrics.FeatureExtractor(data.device)
        self.real = self.extractor.features(render(data.test.x))

    def __call__(self, run, data: SignatureSet) -> float:
        x, _ = run.sample(len(self.real), seed=0)
        return float(metrics.frechet_distance(self.real, self.extractor.features(render(x))))


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of the goal's variance that each setting explains (fANOVA), largest first; needs a few whole trials.

    Empty where all trials ended alike.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if len({trial.value for trial in study.trials if trial.value is not None}) < 2:
        return {}
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))


def summary(study: optuna.Study, kind: str) -> dict[str, Any]:
    """A study as small JSON.

    ``kind``, ``trials`` (``params, value`` (None if pruned or failed), ``state``, ``seconds``), ``importance`` and
    ``best`` (``value, params``; None without a whole trial).
    """
    trials = [
        dict(
            params=dict(trial.params),
            value=trial.value if trial.state.name == "COMPLETE" and math.isfinite(trial.value) else None,
            state=trial.state.name.lower(),
            seconds=trial.user_attrs.get("seconds"),
        )
        for trial in study.trials
        if trial.state.is_finished()  # a trial that runs elsewhere, or whose process was killed, has no result yet
    ]
    whole = [trial for trial in trials if trial["value"] is not None]
    best = min(whole, key=lambda trial: trial["value"]) if whole else None
    best = best and dict(value=best["value"], params=best["params"])
    return dict(kind=kind, trials=trials, importance=importance(study) if len(whole) > 3 else {}, best=best)


@figures.styled
def study_figure(found: Mapping[str, Any], width: float = figures.TEXT_WIDTH) -> Figure:
    """Importance of the settings, and the goal over the two that matter most, a dot a trial, of a `summary`."""
    shares = dict(sorted(found["importance"].items(), key=lambda share: -share[1]))  # a file keeps no order
    done = [trial for trial in found["trials"] if trial["value"] is not None]
    fig = figures.ShownOnce(figsize=(width, 2.4), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.3))
    left.set(xlabel="share of the variance explained", xlim=(0, 1))
    if shares:
        left.barh([LABELS[n] for n in shares][::-1], list(shares.values())[::-1], color=figures.COLORS[0])
    else:
        left.text(0.5, 0.5, "too few trials to say", ha="center", va="center", transform=left.transAxes)
    if not done:
        right.text(0.5, 0.5, "no trial was finished", ha="center", va="center", transform=right.transAxes)
        return fig
    names = (*shares, *done[0]["params"])[:2]
    x, y = (np.array([float(trial["params"][n]) for trial in done]) for n in names)
    values = np.array([trial["value"] for trial in done])
    dots = right.scatter(x, y, c=values, s=22, cmap="viridis_r", vmax=np.quantile(values, 0.9), edgecolors="white")
    best = int(values.argmin())
    right.scatter(x[best], y[best], s=90, facecolors="none", edgecolors=figures.COLORS[1], linewidths=1.3)
    scales = ("log" if (along > 0).all() else "linear" for along in (x, y))  # detail may be none
    right.set(xlabel=LABELS[names[0]], ylabel=LABELS[names[1]], xscale=next(scales), yscale=next(scales))
    fig.colorbar(dots, ax=right, label=GOALS[found["kind"]].replace(", ", ",\n"))
    return fig
