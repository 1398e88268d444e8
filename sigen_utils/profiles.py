"""How much work a run does: `smoke` (tests), `cpu` (the whole story in minutes), `gpu` (the full run).

One switch, the environment variable ``SIGEN_PROFILE``; without it the hardware decides.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Budgets of one run of the six notebooks. A ``*_minutes`` of None means that ``*_steps`` decides."""

    name: str
    people: int  # writers of the synthetic class, used when there are no photographs
    per_person: int  # signatures a writer
    vae_minutes: float | None
    vae_steps: int | None
    report_vae_minutes: float | None  # the VAE of the student reports, as written
    report_vae_steps: int | None
    gan_minutes: float | None  # steps on a CPU: the scores on the way would eat up a slow one's minutes
    gan_steps: int | None
    gan_alone_minutes: float | None  # a GAN whose generator begins at random, on the class alone
    gan_alone_steps: int | None
    gan_alone_batch: int  # a GPU is no slower with more
    report_gan_minutes: float | None  # the GAN of the student reports, as written
    report_gan_steps: int | None
    study_minutes: float | None  # of one training of notebook 06, where no study of these signatures is kept
    study_steps: int | None
    study_seeds: int
    study_trials: int
    n_samples: int  # generated signatures a score is computed on
    snapshots: int  # sample grids kept during a training


PROFILES = {
    "smoke": Profile("smoke", 12, 4, None, 4, None, 2, None, 4, None, 2, 16, None, 2, None, 2, 2, 3, 48, 2),
    "cpu": Profile("cpu", 184, 4, 5.0, None, 5.0, None, None, 150, 5.0, None, 16, 5.0, None, None, 100, 3, 10, 736, 6),
    "gpu": Profile(
        "gpu", 184, 4, None, 12_000, None, 6_000, None, 1_000, None, 40_000, 64, None, 6_000, None, 2_000, 5, 30, 736, 8
    ),
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
