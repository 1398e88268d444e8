"""What a model has to offer to be judged: signatures of new people, of known people, and like given references.

`Sampler` is the contract between models and the evaluation (`metrics.questions`). The adapters below put the VAEs and
GANs behind it. Those with people keep training signatures and redraw them, and the adapters do not hide that.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from .augment import PERSON_WARPS, warp_ink
from .models.baselines import ReportVAE
from .training.checkpoint import Pretrained, Run

QUESTIONS = ("new", "known", "like")


class Sampler(Protocol):
    """Draws signatures. Every method is optional: a table leaves out the rows that a model cannot fill.

    All three return raw ink float ``[n, 1, 128, 128]`` in [0, 1]; the evaluation passes it through `render`. All
    randomness comes from `generator`, on the CPU: the same seed gives the same signatures on the same machine.
    """

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        """Signatures of people who do not exist, ``[people * per_person, 1, 128, 128]``, one person after the other."""

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        """One signature of each of the training people `y`, int64 ``[n]``."""

    def like(self, references: Tensor, generator: Generator) -> Tensor:
        """One signature for each row of `references` ``[n, k, 1, 128, 128]``, by the writer of these k signatures."""


def offers(sampler: Any, question: str) -> bool:
    """Whether `sampler` has the method ``"new"``, ``"known"`` or ``"like"``."""
    return callable(getattr(sampler, question, None))


class ExemplarSampler:
    """A run that remembers training signatures: it warps one of them and draws it again.

    It has no density of people. As a "new" person it can only offer a person it knows, drawn without replacement as
    long as there are enough; the novelty scores show it.

    Parameters
    ----------
    run
        A VAE or GAN with people.
    """

    def __init__(self, run: Run):
        if not run.conditional:
            raise ValueError(f"{run.run_dir}: this model knows no people; judge it as a PriorSampler")
        self.run = run

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        rounds = -(-people // len(self.run.people))
        who = torch.cat([torch.randperm(len(self.run.people), generator=generator) for _ in range(rounds)])[:people]
        return self.known(who.repeat_interleave(per_person), generator)

    @torch.inference_mode()
    def known(self, y: Tensor, generator: Generator) -> Tensor:
        model, device = self.run.model, self.run.device
        generator = _on(device, generator)
        if self.run.kind == "vae":
            z = model.sample_person(y.to(device), generator)
        else:
            z = model.noise(len(y), y.to(generator.device), generator)
        return self.run.decode(z, y).float().clamp(0, 1).cpu()

    @torch.inference_mode()
    def like(self, references: Tensor, generator: Generator) -> Tensor:
        if self.run.kind == "vae":
            return _redrawn(self.run.model, references, generator)
        model, device = self.run.model, self.run.device
        generator, out = _on(device, generator), []
        for part in references.split(64):
            moved = warp_ink(_one_of(part, generator).to(device), PERSON_WARPS, generator)
            z = model.noise(len(part), None, generator).to(device)
            out.append(model.ink_probability(z, model.encode(moved)).float().cpu())
        return torch.cat(out).clamp(0, 1)


class PriorSampler:
    """A run drawn from a density of codes that holds no picture: N(0, I), or a few Gaussians.

    A code is a person, and the person's signatures lie around it as those of one person do. A model that has not
    learned how they spread (the student reports' VAE and GAN) draws every signature anew: it has no people.

    Parameters
    ----------
    run
        A VAE, or a GAN without people.
    prior
        "normal" or "gaussians"; of a VAE.
    """

    def __init__(self, run: Run, prior: str = "normal"):
        self.run, self.prior = run, prior

    @torch.inference_mode()
    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        model, generator = self.run.model, _on(self.run.device, generator)
        spreads = self.run.kind == "vae" and not isinstance(model, ReportVAE)
        codes = people if spreads else people * per_person
        if self.run.kind == "vae":
            z = model.sample_prior(codes, generator, self.prior)
        else:
            z = model.noise(codes, None, generator)
        if spreads:
            z = model.sample_around(z.repeat_interleave(per_person, 0), generator)
        return self.run.decode(z).float().clamp(0, 1).cpu()


class PretrainedSampler:
    """The pretrained VAE: for a stranger's signature it draws a warp of it again."""

    def __init__(self, pretrained: Pretrained):
        self.model = pretrained.model

    @torch.inference_mode()
    def like(self, references: Tensor, generator: Generator) -> Tensor:
        return _redrawn(self.model, references, generator)


def adapters(run: Run) -> dict[str, Any]:
    """The ways to judge a run, by the ending of its name in the tables.

    A model that is a `Sampler` itself is judged as it is.
    """
    if any(offers(run.model, question) for question in QUESTIONS):
        return {"": run.model}
    if run.kind == "vae" and run.conditional:
        return {"": ExemplarSampler(run), " N(0,I)": PriorSampler(run), " Gaussians": PriorSampler(run, "gaussians")}
    return {"": ExemplarSampler(run) if run.conditional else PriorSampler(run)}


def _redrawn(vae: torch.nn.Module, references: Tensor, generator: Generator) -> Tensor:
    """Warps of one of each row's references ``[n, k, 1, 128, 128]``, encoded, with noise on the code, and decoded."""
    device = next(vae.parameters()).device
    generator, out = _on(device, generator), []
    for part in references.split(64):
        moved = warp_ink(_one_of(part, generator).to(device), PERSON_WARPS, generator)
        codes = vae.sample_around(vae.encode(moved)[0], generator)
        out.append(vae.to_ink(vae.decode(codes)).float().cpu())
    return torch.cat(out).clamp(0, 1)


def _one_of(references: Tensor, generator: Generator) -> Tensor:
    """A random one of each row's k references, as binary ink ``[n, 1, 128, 128]``."""
    which = torch.randint(references.shape[1], (len(references),), generator=generator, device=generator.device)
    return (references[torch.arange(len(references)), which.to(references.device)] > 0.5).float()


def _on(device: torch.device, generator: Generator) -> Generator:
    """A generator on `device` that follows from `generator`."""
    if device == generator.device:
        return generator
    return Generator(device).manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
