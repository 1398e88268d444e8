"""Does a GAN converge every time? The same short training with several seeds, ours and the student reports' recipe.

A seed counts as converged if at its *last* step, not at the best one, the samples lie within `LIMIT_FLOORS` floors of
the genuine signatures *and* cover `LIMIT_COVERAGE` of them: the one without the other is met by smoke that happens to
lie near the mean, or by one good picture. It counts as collapsed if they cover less than `COLLAPSED`; a game from noise
may be neither yet. The curve beside the verdict is the distance to the training signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import figures, recipes
from ..data import SignatureSet
from ..models import gan
from ..training import checkpoint, loop
from .ablation import Arm, train_arms

LIMIT_FLOORS, LIMIT_COVERAGE = 10.0, 0.5
COLLAPSED = 0.1  # of the genuine signatures
RECIPES = {"ours": "from a decoder", "from noise": "from noise", "report": "as reported"}  # the arms, in a figure


def repeat_training(
    data: SignatureSet,
    folder: str | Path,
    seeds: Sequence[int] = range(10),
    minutes: float | None = None,
    steps: int | None = None,
    start: checkpoint.Run | checkpoint.Pretrained | None = None,
    progress: Callable[[str], None] | None = print,
    alone_steps: int = 0,
    alone_seeds: Sequence[int] = range(10),
    workers: int = 1,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """`train_arms` of our recipe (``ours``, going on from `start`) and the reports' (``report``), judged.

    With `alone_steps` also ours from random weights only (``from noise``), for so many steps and with `alone_seeds`.
    `only` names the arms to train, all by default. Every entry gets ``converged``, the result ``limits``; `collapsed`
    tells the rest.

    Raises
    ------
    ValueError
        If `only` names an arm that there is not.
    """

    def to_the_end(settings: loop.TrainConfig) -> loop.TrainConfig:
        return replace(settings, keep_best=False)

    model, settings = recipes.gan_from(start, data)
    arms = {"ours": Arm(model, to_the_end(settings), start)}
    if alone_steps:
        model, settings = recipes.gan_alone_from(data)
        arms["from noise"] = Arm(model, to_the_end(settings), steps=alone_steps)
    arms["report"] = Arm(gan.REPORT_GAN, recipes.GAN_REPORT)
    if unknown := set(only or arms) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)} (from noise: with alone_steps)")
    arms = {name: arm for name, arm in arms.items() if name in (only or arms)}
    of_each = {name: alone_seeds if name == "from noise" else seeds for name in arms}
    found = train_arms(data, arms, folder, of_each, minutes, steps, progress, workers)
    for entry in (entry for entries in found["arms"].values() for entry in entries):
        entry["converged"] = not entry.get("diverged") and (
            entry["frechet_floors"] <= LIMIT_FLOORS and entry["coverage"] >= LIMIT_COVERAGE
        )
    return found | dict(limits=dict(floors=LIMIT_FLOORS, coverage=LIMIT_COVERAGE))


def collapsed(entries: Sequence[dict[str, Any]]) -> int:
    """How many of these trainings diverged, or ended with samples that cover less than `COLLAPSED` of the genuine."""
    return sum(entry.get("diverged", False) or entry["coverage"] < COLLAPSED for entry in entries)


@figures.styled
def convergence_figure(found: dict[str, Any], width: float = figures.COLUMN_WIDTH) -> Figure:
    """Distance to the training signatures over images seen, a line a seed; a dot: the criterion at the last step.

    In floors. A line is the distance that the training watches, the dot that of all samples to all genuine signatures.
    """
    floor = found["floor"]["frechet"]
    fig = figures.ShownOnce(figsize=(width, 2.6), layout="constrained")
    ax = fig.subplots()
    for k, (recipe, entries) in enumerate(found["arms"].items()):
        good, dead = sum(entry["converged"] for entry in entries), collapsed(entries)
        for i, entry in enumerate(entries):
            _, images, distance = zip(*entry["curve"], strict=True) if entry["curve"] else ((), (), ())
            label = f"{RECIPES[recipe]}: of {len(entries)} converge {good}, collapse {dead}" if i == 0 else None
            look = dict(color=figures.COLORS[k], linewidth=0.8)
            ax.plot([n / 1000 for n in images], [one / floor for one in distance], label=label, **look)
            if images and not entry.get("diverged"):
                ax.plot(images[-1] / 1000, entry["frechet_floors"], "o", markersize=3, **look)
    ax.axhline(found["limits"]["floors"], color="0.45", linewidth=0.7, linestyle=(0, (4, 2)))
    ax.annotate("converged below", (0.01, found["limits"]["floors"]), (0, 1.5), fontsize=6.5, color="0.3",
                xycoords=ax.get_yaxis_transform(), textcoords="offset points")  # fmt: skip
    ax.set(xlabel="thousand images seen", ylabel="Fréchet distance, floors", xscale="log", yscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    fig.legend(loc="outside lower center", fontsize=6.5)
    return fig
