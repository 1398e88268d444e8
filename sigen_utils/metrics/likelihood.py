"""Likelihood of held-out signatures in nats, beside a coder that only counts.

A context coder predicts each pixel from pixels above and to the left of it, by counting on the training signatures. A
density of signatures that needs more nats has learned less than a table of counts; many a VAE's bound does.

References: Krichevsky & Trofimov 1981 (add one half); Rissanen & Langdon 1981 (context coding of binary pictures);
Burda et al. 2016 (importance-weighted bound).
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..models.prior_gan import PriorGAN
from ..models.prior_vae import PriorVAE
from ..sampling import DensitySampler

WEIGHTED = 16  # codes of a signature in the bound of a density that is cheap to evaluate
TEMPLATES = (10, 20, 40)  # pixels; each holds the one before


def template(pixels: int) -> list[tuple[int, int]]:
    """The `pixels` places (row, column), relative to a pixel, that are nearest to it among those drawn before it."""
    around = [(r, c) for r in range(-8, 1) for c in range(-8, 9) if r < 0 or c < 0]
    return sorted(around, key=lambda at: (math.hypot(*at), -at[0], at[1]))[:pixels]


def _contexts(images: np.ndarray, pixels: int) -> np.ndarray:
    """The context of every pixel of bool ``[N, H, W]`` as a number below ``2**pixels``: int64 ``[N * H * W]``."""
    height, width = images.shape[1:]
    padded = np.pad(images, ((0, 0), (8, 0), (8, 8)))
    out = np.zeros(images.shape, np.int64)
    for row, column in template(pixels):
        out = 2 * out + padded[:, 8 + row : 8 + row + height, 8 + column : 8 + column + width]
    return out.ravel()


class ContextCoder:
    """Counts of ink after each context of training pictures, from small templates to large ones.

    The smallest template begins with one half of either colour; a larger one begins with one observation of what the
    next smaller one predicts, so that a context never seen before costs no more than it did there.

    Parameters
    ----------
    images
        bool ``[N, H, W]``, True = ink.
    pixels
        Of the largest template; the smaller ones of `TEMPLATES` come before it.
    """

    def __init__(self, images: np.ndarray, pixels: int):
        self.levels = []
        for level in [size for size in TEMPLATES if size < pixels] + [pixels]:
            contexts, place = np.unique(_contexts(images, level), return_inverse=True)
            ink = np.bincount(place, images.ravel(), len(contexts))
            self.levels.append((level, contexts, ink, np.bincount(place, minlength=len(contexts))))

    def nats(self, images: np.ndarray) -> np.ndarray:
        """Code length of each of ``[N, H, W]`` in nats."""
        prior = np.full(images.size, 0.5)
        for level, contexts, ink, total in self.levels:
            asked = _contexts(images, level)
            place = np.minimum(np.searchsorted(contexts, asked), len(contexts) - 1)
            met = contexts[place] == asked
            prior = (prior + np.where(met, ink[place], 0)) / (1 + np.where(met, total[place], 0))
        chosen = np.where(images.ravel(), prior, 1 - prior)
        return -np.log(chosen).reshape(len(images), -1).sum(1)


def context_coders(train: torch.Tensor, held_out: torch.Tensor) -> dict[str, np.ndarray]:
    """Nats of each held-out signature, by template; ink ``[N, 1, H, W]``, cut at one half."""
    known, new = ((x[:, 0] > 0.5).cpu().numpy() for x in (train, held_out))
    return {f"context_{pixels}": ContextCoder(known, pixels).nats(new) for pixels in TEMPLATES}


@torch.no_grad()
def importance_weighted(sampler, x: torch.Tensor, y: torch.Tensor, seed: int = 0) -> np.ndarray | None:
    r"""An upper bound on the nats of each signature under a VAE and its density of codes, ``[N]``; None for others.

    :math:`-\log \frac1K \sum_k p(x | z_k) p(z_k) / q(z_k | x)`, z from the encoder's posterior (Burda et al. 2016). A
    learned prior knows whose signature it is, from the references that it keeps; its density costs many evaluations of
    a network, so K is 1 for it and `WEIGHTED` for the others.

    Parameters
    ----------
    sampler
        A `sampling.Sampler`.
    x, y
        Ink ``[N, 1, H, W]``, cut at one half, as the context coders see it, and who signed.
    seed
        Of the draws.
    """
    if isinstance(sampler, DensitySampler):
        vae, density, k = sampler.vae, sampler.density, WEIGHTED
    elif isinstance(sampler, PriorVAE) and not isinstance(sampler, PriorGAN) and sampler.config.n_people:
        vae, density, k = sampler.vae, sampler.flow, 1
    else:
        return None
    device = next(vae.parameters()).device
    generator, out = torch.Generator(device).manual_seed(seed), []
    for part, who in zip((x > 0.5).float().to(device).split(64), y.split(64), strict=True):
        person = sampler.person(who) if isinstance(sampler, PriorVAE) else None
        mu, logvar = vae.encode(part)
        weights = []
        for _ in range(k):
            eps = torch.randn(mu.shape, device=device, generator=generator)
            z = mu + torch.exp(logvar / 2) * eps
            given = torch.nn.functional.binary_cross_entropy_with_logits(vae.decode(z), part, reduction="none")
            posterior = -0.5 * (eps.square() + logvar + math.log(2 * math.pi)).sum((1, 2, 3))
            weights.append(density.log_prob(z, generator, person).cpu() - (given.sum((1, 2, 3)) + posterior).cpu())
        out.append(math.log(k) - torch.logsumexp(torch.stack(weights).double(), 0))
    return torch.cat(out).numpy()
