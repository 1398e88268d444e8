"""The models that are compared: loaded where notebook 02 or 03 left them, trained the same way where not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from .. import paths, recipes
from ..data import SignatureSet
from ..models import gan, vae
from ..profiles import Profile
from ..training import checkpoint

REPORTS = {
    "report_vae": (vae.REPORT_VAE, recipes.VAE_REPORT),
    "report_gan": (gan.REPORT_GAN, recipes.GAN_REPORT),
}
NAMES = ("report_vae", "vae", "vae_pretrained", "report_gan", "gan_alone", "gan")


def finished(
    name: str,
    data: SignatureSet,
    begin: checkpoint.Run | checkpoint.Pretrained | None = None,
    device: torch.device | None = None,
) -> checkpoint.Run | None:
    """The run `name` if it is complete, of that model, these signatures, this code and this beginning; else None.

    Its settings and its length may be a reader's own: whoever changed them in notebook 02 or 03 compares that.
    """
    folder = paths.runs_dir() / name
    if not (folder / checkpoint.FINISHED).exists():
        return None
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    mine = (config["data"]["fingerprint"], config["code"], config.get("start"))
    if mine != (data.fingerprint(), checkpoint.code_fingerprint(), begin.fingerprint() if begin else None):
        return None
    as_reported = "report" in (config["model"].get("architecture"), config["model"].get("recipe"))
    if config["kind"] != kind_of(name) or as_reported != (name in REPORTS):
        return None
    return checkpoint.load_run(folder, device or "cpu")


def kind_of(name: str) -> str:
    """What kind of model a contestant is: "vae" or "gan"."""
    return "vae" if "vae" in name else "gan"


def budget_of(name: str, profile: Profile) -> dict[str, float | None]:
    """``steps`` and ``minutes`` of a contestant in a profile, one of them None."""
    return {unit: getattr(profile, f"{name.removesuffix('_pretrained')}_{unit}") for unit in ("steps", "minutes")}


def obtain(
    data: SignatureSet,
    profile: Profile,
    names: Sequence[str] = NAMES,
    seed: int = 0,
    device: torch.device | None = None,
) -> dict[str, checkpoint.Run]:
    """The runs of these names, each finished one loaded, each other trained with its notebook's settings and budget.

    A training that was stopped goes on; a run of other signatures or other code is moved aside. ``vae_pretrained`` is
    left out where there are no pretrained networks; ``gan``, a VAE-GAN, begins as the sampler of people of
    ``vae_pretrained``, or of ``vae`` without it, which is then obtained as well; ``gan_alone`` begins at random.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f"no contestant {sorted(unknown)[0]!r}; choose of {', '.join(NAMES)}")
    start, found = checkpoint.load_pretrained(), {}
    before_gan = "vae_pretrained" if start else "vae"
    wanted = set(names) | ({before_gan} if "gan" in names else set())
    for name in NAMES:
        if name not in wanted or (name == "vae_pretrained" and not start):
            continue
        begin = {"vae_pretrained": start, "gan": found.get(before_gan)}.get(name)
        if run := finished(name, data, begin, device):
            found[name] = run
            continue
        if name in REPORTS:
            model, settings = REPORTS[name]
        else:
            model, settings = dict(gan=recipes.gan_from, vae=recipes.vae_from)[kind_of(name)](begin, data)
        fit = dict(gan=recipes.fit_gan, vae=recipes.fit_vae)[kind_of(name)]
        if name == "gan_alone":
            settings = replace(settings, batch_size=profile.gan_alone_batch)
        settings = replace(settings, seed=seed, snapshots=profile.snapshots)
        place = paths.runs_dir() / name
        found[name] = fit(
            data, model, place, train=settings, start=begin, restart=True, device=device, **budget_of(name, profile)
        )
    return {name: found[name] for name in names if name in found}
