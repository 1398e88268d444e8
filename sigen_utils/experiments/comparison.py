"""The models that are compared: loaded if notebook 02 or 03 trained them, else trained by the same recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from .. import paths
from ..data import SignatureSet
from ..profiles import Profile
from ..recipes import LEARNED_PRIOR, PRETRAINED, RECIPES
from ..training import checkpoint

NAMES = ("report_vae", "vae", "vae_pretrained", "report_gan", "gan_alone", "gan")


def finished(
    name: str,
    data: SignatureSet,
    begin: checkpoint.Run | checkpoint.Pretrained | None = None,
    device: torch.device | None = None,
) -> checkpoint.Run | None:
    """The finished run `name` of that recipe, these signatures, this code and this start; else None.

    Its settings and its length may differ from the recipe: a reader may have changed them in notebook 02 or 03.
    """
    folder = paths.runs_dir() / name
    if not (folder / checkpoint.FINISHED).exists():
        return None
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    mine = (config.get("recipe"), config["data"]["fingerprint"], config["code"], config.get("start"))
    if mine != (name, data.fingerprint(), checkpoint.code_fingerprint(), begin.fingerprint() if begin else None):
        return None
    return checkpoint.load_run(folder, device or "cpu")


def start_of(
    name: str, data: SignatureSet, profile: Profile, seed: int = 0, device: torch.device | None = None
) -> checkpoint.Run | checkpoint.Pretrained | None:
    """What the recipe `name` continues from: pretrained networks, another recipe's run, or None for random weights.

    Without pretrained networks in the repository a GAN continues from the VAE that began at random.

    Raises
    ------
    RunError
        If the recipe needs pretrained networks and there are none.
    """
    start = RECIPES[name].start
    if start is None:
        return None
    pretrained = checkpoint.load_pretrained()
    if start == PRETRAINED:
        if pretrained is None:
            raise checkpoint.RunError(f"{name} goes on from {paths.weights_dir() / 'pretrained'}, which is not there")
        return pretrained
    if start == LEARNED_PRIOR:
        return checkpoint.load_run(paths.weights_dir() / "prior", device or "cpu")
    start = start if pretrained else "vae"
    return obtain(data, profile, [start], seed, device)[start]


def obtain(
    data: SignatureSet,
    profile: Profile,
    names: Sequence[str] = NAMES,
    seed: int = 0,
    device: torch.device | None = None,
) -> dict[str, checkpoint.Run]:
    """The runs of these recipes: loaded if finished, else trained with the budget of the profile.

    A training that was stopped continues; a run of other signatures or other code is moved aside. ``vae_pretrained`` is
    left out if there are no pretrained networks. What a recipe continues from is obtained as well.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f"no model {sorted(unknown)[0]!r}; choose of {', '.join(NAMES)}")
    found: dict[str, checkpoint.Run] = {}
    for name in (name for name in NAMES if name in names):
        if RECIPES[name].start == PRETRAINED and checkpoint.load_pretrained() is None:
            continue
        begin = start_of(name, data, profile, seed, device)
        run = finished(name, data, begin, device)
        if run is None:
            recipe = RECIPES[name].for_class(data, begin)
            recipe = replace(recipe, train=replace(recipe.train, seed=seed, snapshots=profile.snapshots))
            images = recipe.images[profile.name]
            run = recipe.fit(data, paths.runs_dir() / name, images, start=begin, restart=True, device=device)
        found[name] = run
    return {name: found[name] for name in names if name in found}
