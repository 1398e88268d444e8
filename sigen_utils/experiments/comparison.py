"""The models that are compared: loaded if notebook 02 or 03 trained them, else trained by the same recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import paths
from ..data import SignatureSet
from ..profiles import Profile
from ..recipes import RECIPES
from ..sampling import Sampler, Unrendered, gaussians_of
from ..training import checkpoint

COMMITTED = {"corpus_gan_alone": "gan_alone"}  # recipes of which only the weights below ``weights`` are compared
NAMES = ("report_vae", "vae_alone", "prior_alone", "vae", "report_gan", "gan_alone", *COMMITTED, "gan")
GAUSSIANS = "vae_alone Gaussians"  # a row of its own: the same decoder, codes from a mixture of Gaussians
LABELS = {  # rows of models for readers, in the order of every table and figure
    "report_vae": "VAE as reported",
    "report_vae raw": "VAE as reported, not rendered",
    "vae_alone": "VAE, N(0, I)",
    GAUSSIANS: "VAE, Gaussians",
    "prior_alone": "VAE, learned prior, class alone",
    "vae": "VAE, learned prior",
    "report_gan": "GAN as reported",
    "report_gan raw": "GAN as reported, not rendered",
    "gan_alone": "GAN from noise",
    "corpus_gan_alone": "GAN from noise, 24,000 writers",
    "gan": "GAN from the prior",
}
SPEED = {  # signatures a second in a training with two CPU cores, rounded, as measured for results.json
    "report_vae": 33, "vae_alone": 90, "prior_alone": 24, "vae": 24, "report_gan": 80, "gan_alone": 70, "gan": 38,
}  # fmt: skip
T4 = 40  # times as fast, an estimate
CLASS = 90  # people of a synthetic class drawn, photographed and extracted in a minute with two CPU cores


def folder_of(name: str, seed: int = 0) -> Path:
    """Where the training of the recipe `name` with a seed is kept."""
    return paths.runs_dir() / (f"{name}_seed{seed}" if seed else name)


def finished(name: str, data: SignatureSet, device: torch.device | None = None, seed: int = 0) -> checkpoint.Run | None:
    """The finished run `name` of that recipe, these signatures and this code, trained with a seed; else None.

    Its settings and its length may differ from the recipe: a reader may have changed them in notebook 02 or 03.
    """
    folder = folder_of(name, seed)
    if not (folder / checkpoint.FINISHED).exists():
        return None
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    if (config["recipe"], config["data"]["fingerprint"], config["code"]) != (
        name, data.fingerprint(), checkpoint.code_fingerprint(RECIPES[name].trainer),
    ):  # fmt: skip
        return None
    return checkpoint.load_run(folder, device or "cpu")


def outlook(profile: Profile, device: torch.device, names: Sequence[str], unseen: bool = False) -> str:
    """A line for readers: what is there, what `ensure_signatures` and `obtain` will make, and how long that takes.

    Whether the runs that are there are of these signatures is seen only when these are loaded.
    """
    faster, there, made = T4 if device.type == "cuda" else 1, [], {}
    folders = [paths.signatures_dir(), *[paths.home() / "data" / ".signatures_unseen"] * unseen]
    for folder in folders:
        if (folder / "manifest.csv").is_file():
            there.append(paths.display(folder))
        else:
            made[paths.display(folder)] = profile.people / CLASS
    for name in (name for name in names if name not in COMMITTED):
        folder = paths.runs_dir() / name
        if (folder / checkpoint.FINISHED).exists():
            there.append(paths.display(folder))
        else:
            made[paths.display(folder)] = RECIPES[name].images[profile.name] / SPEED[name] / faster / 60
    found = f"found: {', '.join(there) or 'nothing of earlier notebooks'}"
    if not made:
        return f"{found}; nothing is to be made"
    where = "on a T4" if faster > 1 else "with two CPU cores"
    return (
        f"{found}; to make: {', '.join(made)}, about {max(1, round(sum(made.values())))} min in all {where} (estimated)"
    )


def obtain(
    data: SignatureSet,
    profile: Profile,
    names: Sequence[str] = NAMES,
    seed: int = 0,
    device: torch.device | None = None,
    watch: Callable[[Path, int], Callable[[dict], None]] | None = None,
) -> dict[str, checkpoint.Run]:
    """The runs of these recipes: loaded if finished, else trained with the budget of the profile.

    A training that was stopped continues; a run of other signatures or other code is moved aside. What a recipe
    continues from is obtained as well. `watch` makes, of a run's folder and its length in images, what its training
    calls after every check: `live.Live` shows it in a notebook.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f"no model {sorted(unknown)[0]!r}; choose of {', '.join(NAMES)}")
    found: dict[str, checkpoint.Run] = {}
    for name in names:
        if name in COMMITTED:
            found[name] = checkpoint.load_run(paths.weights_dir() / COMMITTED[name], device or "cpu")
            continue
        run = finished(name, data, device, seed)
        if run is None:
            start, recipe = None, RECIPES[name]
            if recipe.start:
                committed = recipe.start.startswith("weights/")
                where = paths.weights_dir() / Path(recipe.start).name
                start = (
                    checkpoint.load_run(where, device or "cpu")
                    if committed
                    else obtain(data, profile, [recipe.start], seed, device, watch)[recipe.start]
                )
            recipe = recipe.for_class(data, start)
            recipe = replace(recipe, train=replace(recipe.train, seed=seed, snapshots=profile.snapshots))
            images, folder = recipe.images[profile.name], folder_of(name, seed)
            options = dict(restart=True, device=device, progress=watch is None)
            options["on_check"] = None if watch is None else watch(folder, images)
            run = recipe.fit(data, folder, images, start=start, **options)
        found[name] = run
    return found


def further_seeds(name: str, data: SignatureSet, run: checkpoint.Run) -> list[checkpoint.Run]:
    """Finished trainings like `run`, of the recipe `name`, with the next seeds, up to the first that is missing."""
    found: list[checkpoint.Run] = []
    while name not in COMMITTED:
        seed = run.config["training"]["seed"] + len(found) + 1
        another = finished(name, data, next(run.model.parameters()).device, seed)
        if another is None or another.config["steps"] != run.config["steps"]:
            break
        found.append(another)
    return found


def samplers_of(trained: Mapping[str, checkpoint.Run], data: SignatureSet) -> dict[str, list[Sampler]]:
    """The rows of models for `metrics.questions.evaluate`, in the order of `LABELS`.

    A row has `trained` and its trainings with further seeds, where they are there: `folder_of` says where.
    """
    runs = {name: [run, *further_seeds(name, data, run)] for name, run in trained.items()}
    samplers = {name: [run.sampler for run in several] for name, several in runs.items()}
    for name in {"report_vae", "report_gan"} & set(runs):
        samplers[f"{name} raw"] = [Unrendered(sampler) for sampler in samplers[name]]
    if "vae_alone" in runs:
        samplers[GAUSSIANS] = [gaussians_of(run.model, data.train.x) for run in runs["vae_alone"]]
    return {name: samplers[name] for name in LABELS if name in samplers}
