"""A trained model read back from its folder: sampling and reconstruction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data import to_model
from ..sampling import Sampler, invert, offers, sampler_of

WEIGHTS = "last.safetensors"


class RunError(ValueError):
    """A run folder cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Run:
    """A trained model and where it came from."""

    model: nn.Module  # in eval mode
    kind: str  # a key of `checkpoint.NETWORKS`
    config: dict
    history: list[dict]
    people: list[str]
    run_dir: Path

    @property
    def conditional(self) -> bool:
        """Whether a person can be asked for."""
        return getattr(self.model.config, "n_people", 0) > 0

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def sampler(self) -> Sampler:
        """What draws signatures by this model: `new`, and `known` and `like` where it can."""
        return sampler_of(self.model)

    def fingerprint(self) -> str:
        """Twelve hex digits that change with the run's weights."""
        return hashlib.sha256((self.run_dir / WEIGHTS).read_bytes()).hexdigest()[:12]

    def person_index(self, person: str) -> int:
        """Index of a person ID; RunError if the training set did not have it."""
        if person not in self.people:
            known = f"{self.people[0]} ... {self.people[-1]}" if self.people else "none"
            raise RunError(f"{self.run_dir}: person {person!r} was not in the training set; known IDs: {known}")
        return self.people.index(person)

    @torch.inference_mode()
    def sample(self, n: int, person: str | None = None, seed: int = 0, per_person: int = 1) -> Tensor:
        """Raw ink float ``[n, 1, 128, 128]`` in [0, 1], to be passed through `render.render`.

        Parameters
        ----------
        n
            How many.
        person
            Whose, of `people`; None: people who do not exist.
        seed
            Of the noise; the same seed gives the same signatures on the same device.
        per_person
            Signatures of each invented person.

        Raises
        ------
        RunError
            If the model does not know the person.
        """
        generator = torch.Generator().manual_seed(seed)
        if person is None:
            x = self.sampler.new(-(-n // per_person), per_person, generator)[:n]
        elif not self.conditional or not offers(self.sampler, "known"):
            raise RunError(f"{self.run_dir}: this model does not know people, so it cannot sign as {person!r}")
        else:
            x = self.sampler.known(torch.full((n,), self.person_index(person)), generator)
        return x.float().clamp(0, 1).cpu()

    @torch.no_grad()
    def reconstruct(self, x: Tensor, search: bool = False) -> Tensor:
        """Reconstructions ``[N, 1, 128, 128]`` of ink: decoded from the posterior mean, or by a search for the code.

        A GAN from noise has no encoder: for it there is the search alone (`sampling.invert`).
        """
        encodes = hasattr(self.model, "reconstruct")
        parts = [part.to(self.device) for part in x.split(64)]
        if encodes and not search:
            return torch.cat([self.model.reconstruct(part).float() for part in parts])
        return torch.cat([invert(self.model, part) for part in parts])

    def snapshots(self) -> list[tuple[int, Tensor]]:
        """(step, ink ``[n, 1, 128, 128]``) of the fixed samples stored during the training."""
        out = []
        for path in sorted((self.run_dir / "samples").glob("step_*.png")):
            with Image.open(path) as picture:
                sheet = torch.from_numpy(np.asarray(picture.convert("L")).copy())
            rows = sheet.unfold(0, 128, 128).unfold(1, 128, 128)  # [rows, columns, 128, 128]
            out.append((int(path.stem.split("_")[1]), to_model(rows.reshape(-1, 128, 128).contiguous())))
        return out
