"""A trained model read back from its folder: sampling and reconstruction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from ..data import to_model
from ..models.gan import Generator, invert
from ..models.vae import VAE, VAEConfig, reconstruction_loss

WEIGHTS = "last.safetensors"


class RunError(ValueError):
    """A run folder cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Run:
    """A trained model and where it came from."""

    model: nn.Module  # one of the networks of `NETWORKS`, in eval mode
    kind: str  # "vae", "gan" or "extractor"
    config: dict
    history: list[dict]
    people: list[str]
    run_dir: Path

    @property
    def discriminator(self) -> dict[str, Tensor] | None:
        """The pretrained discriminator, if this run continued from the pretrained networks and shares their codes."""
        from .checkpoint import load_pretrained  # imports this module

        start = load_pretrained() if self.config.get("start") else None
        return start.discriminator if start and self.config["start"] == start.fingerprint() else None

    @property
    def conditional(self) -> bool:
        """Whether a person can be asked for."""
        return getattr(self.model.config, "n_people", 0) > 0

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

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
    def decode(self, z: Tensor, y: Tensor | None = None, batch_size: int = 64) -> Tensor:
        """Raw ink ``[n, 1, 128, 128]`` of a VAE's codes ``[n, latent_dim]``, or of a GAN's noise and people ``[n]``."""
        out = []
        for start in range(0, len(z), batch_size):
            part = z[start : start + batch_size].to(self.device)
            who = None if y is None else y[start : start + batch_size].to(self.device)
            if self.kind == "vae":
                out.append(self.model.to_ink(self.model.decode(part)))
            else:
                out.append(self.model.ink_probability(part, who))
        return torch.cat(out)

    @torch.inference_mode()
    def sample(
        self, n: int, person: str | None = None, seed: int = 0, prior: str | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """New signatures.

        Parameters
        ----------
        n
            How many.
        person
            Whose; None draws people evenly. An unconditional model returns no people.
        seed
            Seed of the draw; the same seed gives the same signatures on the same device.
        prior
            Of a VAE's codes. "mixture" (default if it knows people): a kernel density around the codes of training
            signatures, of everybody or of `person`. "gaussians": those of `vae.fit_prior`. "normal": N(0, I), the
            default of the reports' VAE. Only the first knows people.

        Returns
        -------
        (x, y)
            Raw ink float ``[n, 1, 128, 128]`` in [0, 1] (pass it through `render.render`), and the person index
            int64 ``[n]`` or None.
        """
        if prior not in (None, "mixture", "gaussians", "normal"):
            raise ValueError(f"prior={prior!r}: choose mixture, gaussians or normal")
        if prior == "mixture" and not self.conditional:
            raise RunError(f"{self.run_dir}: this model knows no people, so it has no such mixture")
        generator = torch.Generator().manual_seed(seed)
        y, own = None, prior in (None, "mixture")
        if self.conditional and own:
            places = torch.randperm(self.model.config.n_people, generator=generator)
            y = places.repeat(n // len(places) + 1)[:n]  # evenly, in a seeded order
            if person is not None:
                y = torch.full((n,), self.person_index(person))
        elif person is not None:
            raise RunError(f"{self.run_dir}: this model does not know people, so it cannot sign as {person!r}")
        if self.kind == "vae":
            generator = torch.Generator(self.device).manual_seed(seed + 1)
            if y is not None and own:
                z = self.model.sample_person(y.to(self.device), generator)
            else:
                z = self.model.sample_prior(n, generator, prior or self.model.default_prior)
        else:
            z = self.model.noise(n, y, generator)
        return self.decode(z, y).float().clamp(0, 1), y

    @property
    def reconstructs(self) -> bool:
        """Whether `reconstruct` works: a VAE encodes, our GAN is inverted, the reports' GAN allows neither."""
        return isinstance(self.model, VAE | Generator)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, people: Sequence[str] | None = None, batch_size: int = 64) -> Tensor:
        """Reconstructions ``[N, 1, 128, 128]``: a VAE's from the posterior mean, a GAN's by `gan.invert`.

        `people` are the IDs of the writers; a GAN that knows people needs them.
        """
        if not self.reconstructs:
            raise RunError(f"{self.run_dir}: this model has no encoder and cannot be inverted")
        y = None
        if self.kind == "gan" and self.conditional:
            if people is None or len(people) != len(x):
                raise RunError(f"{self.run_dir}: give the writer of each signature (people)")
            y = torch.tensor([self.person_index(person) for person in people], device=self.device)
        out = []
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size].to(self.device)
            if self.kind == "vae":
                out.append(self.model.reconstruct(part).float())
                continue
            e = None if y is None else self.nearest_codes(part, y[start : start + batch_size])
            out.append(torch.sigmoid(self.model.net(invert(self.model, part, e)).float()))
        return torch.cat(out)

    @torch.no_grad()
    def nearest_codes(self, x: Tensor, y: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` from which the inversion of `x` ``[n, 1, 128, 128]`` by the people `y` starts.

        Of each person's codes the one whose picture has the smallest reconstruction loss.
        """
        model = self.model
        codes = torch.stack([model.encode_person(y, k) for k in range(model.config.exemplars)], 1)  # [n, k, latent_dim]
        still = torch.zeros_like(codes[:, 0])
        logits = (model.net(model.code(still, code)) for code in codes.unbind(1))
        losses = torch.stack([reconstruction_loss(drawn, x, VAEConfig()) for drawn in logits])
        return codes[torch.arange(len(x), device=x.device), losses.argmin(0)]

    def snapshots(self) -> list[tuple[int, Tensor]]:
        """(step, ink ``[n, 1, 128, 128]``) of the fixed samples stored during the training."""
        out = []
        for path in sorted((self.run_dir / "samples").glob("step_*.png")):
            with Image.open(path) as picture:
                sheet = torch.from_numpy(np.asarray(picture.convert("L")).copy())
            rows = sheet.unfold(0, 128, 128).unfold(1, 128, 128)  # [rows, columns, 128, 128]
            out.append((int(path.stem.split("_")[1]), to_model(rows.reshape(-1, 128, 128).contiguous())))
        return out

    def thumbnails(self) -> Tensor | None:
        """The class the model was trained on, as `SignatureSet.thumbnails`; None for a run without them."""
        path = self.run_dir / "class.safetensors"
        return load_file(path)["thumbnails"] if path.exists() else None
