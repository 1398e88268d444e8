"""From noise to a picture: who signs, how a code is drawn, how it becomes ink.

`Sampler` is the contract between models and everything that uses them. A latent travels from noise (`Flow.sample` in
``models/prior.py``) through the decoder (``models/vae.py``) to `render.render`; no sampler holds a picture.

Reference: Xia et al. 2022 (GAN inversion).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from .models.gan import Generator as NoiseGenerator
from .models.prior import Gaussians, Normal
from .models.prior_vae import PriorVAE
from .models.vae import VAE


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


class DensitySampler:
    """A VAE drawn from a density of codes: `prior.Normal`, as the assignment asks, or `prior.Gaussians`.

    Every signature has a code of its own: such a density knows no people.
    """

    def __init__(self, vae: VAE, density: Normal | Gaussians):
        self.vae, self.density = vae, density

    @torch.no_grad()
    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        z = self.density.sample(people * per_person, generator)
        device = next(self.vae.parameters()).device
        return torch.cat([torch.sigmoid(self.vae.decode(part.to(device))) for part in z.split(64)])


class WithoutPeople:
    """A learned prior that has met no class: it signs as new people and as strangers, but knows nobody."""

    def __init__(self, model: PriorVAE):
        self.new, self.like = model.new, model.like


class Unrendered:
    """A sampler whose new people are scored as grey as they are drawn: it shows what `render` does to a model."""

    def __init__(self, sampler: Sampler):
        self.new = sampler.new


def sampler_of(model: nn.Module) -> Sampler:
    """What draws signatures by a trained model."""
    if isinstance(model, VAE):
        return DensitySampler(model, Normal(model.config.channels))
    if isinstance(model, PriorVAE) and not model.config.n_people:
        return WithoutPeople(model)
    return model


@torch.no_grad()
def gaussians_of(vae: VAE, x: Tensor, components: int = 20) -> DensitySampler:
    """`vae` drawn from a mixture of Gaussians fitted to the codes of ink `x` ``[N, 1, 128, 128]``."""
    device = next(vae.parameters()).device
    generator = torch.Generator(device).manual_seed(0)
    codes = [VAE.reparameterize(*vae.encode(part.to(device)), generator).cpu() for part in x.split(64)]
    return DensitySampler(vae, Gaussians(vae.config.channels, min(components, len(x))).fit(torch.cat(codes)))


@torch.enable_grad()
def invert(model: nn.Module, x: Tensor, steps: int = 80, rate: float = 0.1) -> Tensor:
    """GAN inversion: ink ``[N, 1, 128, 128]`` in [0, 1] that a model draws from the best code found for `x`.

    Maximum a posteriori under a Bernoulli likelihood and N(0, I), by Adam, the rate falling to zero by a cosine. The
    search begins at the posterior mean where the model encodes, at zero noise where it does not, and is the same for
    a VAE and a GAN, so that the two can be compared.
    """
    if isinstance(model, NoiseGenerator):
        code, decode = torch.zeros(len(x), model.config.latent_dim, device=x.device), model.logits
    elif isinstance(model, PriorVAE):
        code = model.vae.encode(x)[0].detach()
        person = model.flow.people(model.flow.describe(code)[:, None], code.new_ones(len(x), 1))

        def decode(z: Tensor) -> Tensor:
            return model.logits(z, person)
    else:
        code, decode = model.encode(x)[0].detach(), model.decode
    code = code.clone().requires_grad_()
    optimizer = torch.optim.Adam([code], rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(decode(code).float(), x, reduction="sum") + 0.5 * code.square().sum()
        (code.grad,) = torch.autograd.grad(loss, code)  # gradients of the weights are not needed
        optimizer.step()
        falling.step()
    return torch.sigmoid(decode(code.detach()).float()).detach()
