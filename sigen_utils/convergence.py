"""Does a GAN converge every time? The same short training with several seeds, ours and the student reports' recipe.

A seed counts as converged if at the end the samples lie within `LIMIT_FLOORS` floors of the genuine signatures *and*
cover `LIMIT_COVERAGE` of them: the one without the other is met by smoke that happens to lie near the mean, or by one
good picture. The curve beside the verdict is the distance to the training signatures in the project's own ruler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from . import gan, metrics, plotting, runs, training
from .data import SignatureSet, render

LIMIT_FLOORS, LIMIT_COVERAGE = 10.0, 0.5
RECIPES = ("ours", "report")


def repeat_training(
    data: SignatureSet,
    folder: str | Path,
    seeds: int = 10,
    minutes: float | None = 1.0,
    steps: int | None = None,
    start: runs.Run | runs.Pretrained | None = None,
    recipes: tuple[str, ...] = RECIPES,
    progress: Callable[[str], None] | None = print,
) -> dict[str, Any]:
    """Train with seeds 0 to ``seeds - 1`` and say which converged.

    Parameters
    ----------
    data
        The signatures.
    folder
        A run each; finished ones are not trained again.
    seeds
        How many.
    minutes, steps
        Budget of one training, one of the two.
    start
        What ours goes on from; None for random weights.
    recipes
        Of `RECIPES`.
    progress
        Called with a line a training; None for silence.

    Returns
    -------
    dict
        ``ruler, n, limits`` and ``recipes``: name -> list of ``seed, floors, coverage, converged, minutes, curve``,
        the last a list of (images, distance).
    """
    ruler = metrics.Ruler(data.device)
    reference = metrics.make_reference(data, ruler, n_splits=5)
    out: dict[str, Any] = {name: [] for name in recipes}
    for recipe in recipes:
        if recipe == "ours":
            model, settings = training.gan_from(start, data)
        else:  # kept at its best moment like ours
            model, settings = gan.REPORT_GAN, replace(training.GAN_REPORT, select=True)
        for seed in range(seeds):
            run = training.fit_gan(
                data,
                model,
                Path(folder) / f"{recipe}_{seed}",
                minutes=minutes,
                steps=steps,
                train=replace(settings, seed=seed, snapshots=2),
                start=start if recipe == "ours" else None,
                restart=True,
                progress=False,
                device=data.device,
            )
            x, y = run.sample(len(data), seed=seed)
            score = metrics.evaluate_samples(data, render(x), y, ruler, reference=reference)
            floors, coverage = score["frechet_floors"], score["coverage"]
            curve = [(r["images"], r["distance"]) for r in run.history if "distance" in r]
            entry = dict(seed=seed, floors=floors, coverage=coverage, minutes=run.history[-1]["seconds"] / 60)
            entry |= dict(converged=floors <= LIMIT_FLOORS and coverage >= LIMIT_COVERAGE, curve=curve)
            out[recipe].append(entry)
            if progress:
                verdict = "converged" if entry["converged"] else "no"
                progress(f"{recipe} seed {seed}: {floors:.1f} floors, coverage {coverage:.2f}: {verdict}")
    limits = dict(floors=LIMIT_FLOORS, coverage=LIMIT_COVERAGE)
    return dict(ruler=ruler.name, n=reference.floor["n"], limits=limits, recipes=out)


@plotting.styled
def convergence_figure(found: dict[str, Any], width: float = plotting.COLUMN_WIDTH) -> Figure:
    """Distance to the training signatures over images seen, a line a seed."""
    fig = Figure(figsize=(width, 2.2))
    ax = fig.subplots()
    for k, (recipe, entries) in enumerate(found["recipes"].items()):
        good = sum(entry["converged"] for entry in entries)
        for i, entry in enumerate(entries):
            if not entry["curve"]:
                continue
            images, distance = zip(*entry["curve"], strict=True)
            label = f"{recipe}: {good} of {len(entries)} converge" if i == 0 else None
            ax.plot([n / 1000 for n in images], distance, color=plotting.COLORS[k], linewidth=0.8, label=label)
    ax.set(xlabel="thousand images seen", ylabel="distance, own ruler", yscale="log")
    ax.legend(fontsize=6.5)
    return fig
