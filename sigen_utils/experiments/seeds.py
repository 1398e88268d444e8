"""Does a GAN converge every time? The same short training with several seeds, ours and the student reports' recipe.

A seed has converged if at its *last* step, not at the best one, the samples lie within `LIMIT_FLOORS` floors of the
genuine signatures *and* cover `LIMIT_COVERAGE` of them. Grey smoke near the mean may pass the first test alone, and one
good picture the second. A seed has collapsed if its samples cover less than `COLLAPSED`. A short training from noise
may be neither yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import figures
from ..data import SignatureSet
from ..recipes import RECIPES
from ..training import checkpoint
from .ablation import train_arms

LIMIT_FLOORS, LIMIT_COVERAGE = 10.0, 0.5
COLLAPSED = 0.1  # of the genuine signatures
NAMES = {"ours": "from a decoder", "from noise": "from noise", "report": "as reported"}  # the arms, in a figure


def repeat_training(
    data: SignatureSet,
    folder: str | Path,
    images: int,
    seeds: Sequence[int] = range(10),
    start: checkpoint.Run | checkpoint.Pretrained | None = None,
    progress: Callable[[str], None] | None = print,
    alone_images: int = 0,
    alone_seeds: Sequence[int] = range(10),
    workers: int = 1,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """`train_arms` of our recipe (``ours``, from `start`) and the reports' (``report``), with verdicts.

    Ours sees `images` signatures. With `alone_images` also ours from random weights only (``from noise``), with
    `alone_seeds`; it and the reports', which begin at random, then see so many. `only` names the arms to train, all by
    default. Every entry gets ``converged``, the result ``limits``.

    Raises
    ------
    ValueError
        If `only` names an arm that there is not.
    """

    arms = {"ours": RECIPES["gan"].changed("train.keep_best", False)}
    if alone_images:
        arms["from noise"] = RECIPES["gan_alone"].changed("train.keep_best", False)
    arms["report"] = RECIPES["report_gan"]
    if unknown := set(only or arms) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)} (from noise: with alone_images)")
    arms = {name: arm for name, arm in arms.items() if name in (only or arms)}
    of_each = {name: alone_seeds if name == "from noise" else seeds for name in arms}
    length = {name: images if name == "ours" else alone_images or images for name in arms}
    found = train_arms(data, arms, folder, length, of_each, start, progress, workers)
    for entry in (entry for entries in found["arms"].values() for entry in entries):
        entry["converged"] = not entry.get("diverged") and (
            entry["frechet_floors"] <= LIMIT_FLOORS and entry["coverage"] >= LIMIT_COVERAGE
        )
    return found | dict(limits=dict(floors=LIMIT_FLOORS, coverage=LIMIT_COVERAGE))


def collapsed(entries: Sequence[dict[str, Any]]) -> int:
    """Number of trainings that diverged, or whose last samples cover less than `COLLAPSED` of the genuine ones."""
    return sum(entry.get("diverged", False) or entry["coverage"] < COLLAPSED for entry in entries)


@figures.styled
def convergence_figure(found: dict[str, Any], width: float = figures.COLUMN_WIDTH) -> Figure:
    """Distance over images seen, in floors, one line per seed, and a dot for the criterion at the last step.

    A line is the distance of some samples to training signatures; the dot is that of all samples to all genuine ones.
    """
    floor = found["floor"]["frechet"]
    fig = figures.ShownOnce(figsize=(width, 2.6), layout="constrained")
    ax = fig.subplots()
    for k, (recipe, entries) in enumerate(found["arms"].items()):
        good, dead = sum(entry["converged"] for entry in entries), collapsed(entries)
        for i, entry in enumerate(entries):
            _, images, distance = zip(*entry["curve"], strict=True) if entry["curve"] else ((), (), ())
            label = f"{NAMES[recipe]}: of {len(entries)} converge {good}, collapse {dead}" if i == 0 else None
            style = dict(color=figures.COLORS[k], linewidth=0.8)
            ax.plot([n / 1000 for n in images], [one / floor for one in distance], label=label, **style)
            if images and not entry.get("diverged"):
                ax.plot(images[-1] / 1000, entry["frechet_floors"], "o", markersize=3, **style)
    ax.axhline(found["limits"]["floors"], color="0.45", linewidth=0.7, linestyle=(0, (4, 2)))
    ax.annotate("converged below", (0.01, found["limits"]["floors"]), (0, 1.5), fontsize=6.5, color="0.3",
                xycoords=ax.get_yaxis_transform(), textcoords="offset points")  # fmt: skip
    ax.set(xlabel="thousand images seen", ylabel="Fréchet distance, floors", xscale="log", yscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    fig.legend(loc="outside lower center", fontsize=6.5)
    return fig
