"""Ablations, seeds and searches, stored in ``results.json`` with their commands and commits.

They take longer than everything else, so `make` does not repeat them; ``make studies`` does. Notebook 06 shows the
stored ones if they were measured on the same signatures. For other signatures it runs brief ones itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import paths, provenance, report
from ..data import SignatureSet
from ..profiles import Profile
from ..training import checkpoint
from . import ablation, search, seeds

NAMES = ("ablation_vae", "ablation_alone", "ablation_gan", "convergence", "search_vae", "search_gan")
FEW = dict(  # arms of a brief study
    vae=("ours", "mse", "beta 4", "N(0, I)", "from random weights"),
    alone=("ours", "redrawing without the game", "the game without redrawing"),
    gan=("ours", "no penalty", "anchored", "last moment"),
)


def record(name: str, found: Mapping[str, Any], data: SignatureSet, command: str, part: bool = False) -> Path:
    """Store a study in ``results.json``, section ``studies``; each arm with its ``sources``: command and commit.

    Parameters
    ----------
    name
        One of `NAMES`.
    found
        A summary: of `ablation.summary` or `search.summary`.
    data
        The signatures it was measured on.
    command
        What repeats it, without ``python -m sigen_utils``.
    part
        Whether these are some arms of a study, to be added to those stored for the same signatures.
    """
    if name not in NAMES:
        raise ValueError(f"a study called {name!r}: choose one of {', '.join(NAMES)}")
    where, new = provenance.provenance(data, seed=0), dict(found)
    if "arms" in new:
        new["sources"] = {arm: dict(command=command, commit=where["commit"]) for arm in new["arms"]}
        kept = recorded(name, data) if part else None
        for section in ("arms", "sources") if kept else ():
            new[section] = kept.get(section, {}) | new[section]
    return report.update_results("studies", {name: new | dict(provenance=where, command=command)})


def recorded(name: str, data: SignatureSet) -> dict[str, Any] | None:
    """The stored study if it was measured on these signatures, else None."""
    if not (paths.generated_dir() / "results.json").exists():
        return None
    found = report.load_results().get("studies", {}).get(name)
    fits = found is not None and found["provenance"]["data_fingerprint"] == data.fingerprint()
    return found if fits else None


def obtain(
    data: SignatureSet,
    profile: Profile,
    start: Mapping[str, checkpoint.Run | checkpoint.Pretrained | None],
    progress: Callable[[str], None] | None = print,
) -> dict[str, dict[str, Any]]:
    """All studies: stored ones of these signatures; others are measured with the budget of `profile` and stored.

    `start` says what the arms of the ``vae`` and the ``gan`` continue from. Without Optuna a search is empty.
    """
    out: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        found = recorded(name, data)
        if found is None:
            found, command = _measure(name, data, profile, start, progress)
            if found.get("trials") != []:  # an empty search, without Optuna, is not stored
                record(name, found, data, command)
                found = recorded(name, data)
            else:
                found |= dict(command=command)
        out[name] = found
    return out


def _measure(name, data, profile: Profile, start, progress) -> tuple[dict[str, Any], str]:
    """One brief study, and the command for it."""
    folder, kind = paths.runs_dir() / "studies" / name, name.split("_")[-1]
    images = profile.study_images
    if name == "convergence":
        n = profile.study_seeds
        found = seeds.repeat_training(data, folder, images, range(n), start["gan"], progress)
        return ablation.summary(found), f"converge --seeds {n} --images {images}"
    if name.startswith("ablation_"):
        scratch = start.get(kind) is None
        arms = {arm: one for arm, one in ablation.arms_of(kind, scratch).items() if arm in FEW[kind]}
        found = ablation.train_arms(data, arms, folder, images, start=start.get(kind), progress=progress)
        words = "gan --scratch" if kind == "alone" else f"{kind} --scratch" if scratch else kind
        return ablation.summary(found), f"ablate {words} --images {images}"
    command = f"study {kind} --trials {profile.study_trials}"
    if not search.installed():
        return dict(kind=kind, trials=[], importance={}, best=None), f"pip install optuna; {command}"
    folder.mkdir(parents=True, exist_ok=True)
    space = search.StudyConfig(images=(8, 24)) if profile.name == "smoke" else search.StudyConfig()
    storage = f"sqlite:///{folder / 'search.db'}"
    trials = search.run_study(kind, data, storage, profile.study_trials, space, progress)
    return search.summary(trials, kind), command
