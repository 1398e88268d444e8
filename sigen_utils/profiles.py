"""How much work a run does: `smoke` (tests), `cpu` (the whole story in minutes), `gpu` (the full run).

One switch, the environment variable ``SIGEN_PROFILE``; without it the hardware decides.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """How much work the notebooks do, besides the budgets of the trainings, which are `recipes.Recipe.images`."""

    name: str
    people: int  # writers of the synthetic class, used when there are no photographs
    per_person: int  # signatures a writer
    n_samples: int  # generated signatures a score is computed on
    snapshots: int  # sample grids kept during a training
    study_images: int  # signatures seen in one training of notebook 06, where no study of these signatures is kept
    study_seeds: int


PROFILES = {
    "smoke": Profile("smoke", 12, 4, 48, 2, study_images=64, study_seeds=2),
    "cpu": Profile("cpu", 184, 4, 736, 6, study_images=960, study_seeds=3),
    "gpu": Profile("gpu", 184, 4, 736, 8, study_images=64_000, study_seeds=5),
}


def get_profile(name: str = "") -> Profile:
    """The profile called `name`, else the one of ``SIGEN_PROFILE``, else by hardware (gpu if CUDA, else cpu).

    The choice is stored in ``SIGEN_PROFILE``, where `paths` reads it.

    Raises
    ------
    ValueError
        For a name that is not a profile.
    """
    name = name or os.environ.get("SIGEN_PROFILE", "")
    if not name:
        import torch  # only needed to look for a GPU

        name = "gpu" if torch.cuda.is_available() else "cpu"
    if name not in PROFILES:
        raise ValueError(f"SIGEN_PROFILE={name!r} is not a profile; choose one of {', '.join(PROFILES)}")
    os.environ["SIGEN_PROFILE"] = name
    return PROFILES[name]
