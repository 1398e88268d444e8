"""The best GAN: a generator that begins as the VAE's learned prior and its decoder, and a game on sets of signatures.

G(noise, R) draws a code by the learned prior p(z | R), which stays as it is, corrects and decodes it. The correction
starts at zero and the decoder as the VAE's, so G begins as the VAE. D sees sets: a reference and two more signatures by
its writer, genuine or generated. Two generated ones that are equal, or equal to the reference, give G away; so G can
neither ignore its noise nor copy.

References: Larsen et al. 2016 (VAE-GAN); Antoniou et al. 2017 (D judges a picture beside a reference); Lin et al. 2018
(D judges several samples at once); Huang et al. 2024 (the game).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import DownTower, ResidualBlock
from .prior import COARSE, FINE, Person, with_places
from .prior_vae import PriorConfig, PriorVAE
from .vae import SIDE

SET = 3  # pictures that D sees at once: a reference and two draws


@dataclass(frozen=True)
class PriorGANConfig(PriorConfig):
    """A VAE with a learned prior, and what the game adds to it."""

    width: int = 64  # channels of the correction of codes
    blocks: int = 3  # its residual blocks
    widths_d: tuple[int, ...] = (32, 64, 128, 192)  # channels of D at 32, 16, 8, 4 pixels
    sets: bool = True  # whether D sees sets; else each picture on its own
    train_decoder: bool = True  # whether the game also trains the decoder
    pairing: str = "relativistic"
    penalty: float = 0.2  # weight of R1 + R2
    penalty_sigma: float = 0.05
    reconstruction_weight: float = 0.01  # of reconstructing genuine signatures, per nat
    ema_images: float = 2_000.0  # half-life of the averaged generator
    rates: tuple[float, float] = (1e-4, 3e-4)  # learning rates of G and D
    adam_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self):
        super().__post_init__()
        for name in ("widths_d", "rates", "adam_betas"):  # lists when read back from config.json
            object.__setattr__(self, name, tuple(getattr(self, name)))


class PriorGAN(PriorVAE):
    """The generator. It is sampled as `PriorVAE` is."""

    config: PriorGANConfig

    def __init__(self, config: PriorGANConfig = PriorGANConfig()):
        super().__init__(config)
        self.flow.requires_grad_(False)
        for part in (self.vae.decoder, self.vae.to_picture, self.vae.refine):
            part.requires_grad_(config.train_decoder)
        flow = config.flow
        self.correct = nn.Sequential(
            nn.Conv2d(flow.channels + 2 + flow.coarse + flow.fine, config.width, 3, padding=1),
            *(ResidualBlock(config.width, norm=True) for _ in range(config.blocks)),
            nn.SiLU(),
            nn.Conv2d(config.width, flow.channels, 3, padding=1),
        )
        nn.init.zeros_(self.correct[-1].weight)
        nn.init.zeros_(self.correct[-1].bias)

    def begin_as(self, model: PriorVAE) -> None:
        """Take over a trained VAE and its prior; the people are kept, too, if there are as many."""
        self.vae.load_state_dict(model.vae.state_dict())
        self.flow.load_state_dict(model.flow.state_dict())
        if isinstance(model, PriorGAN):
            self.correct.load_state_dict(model.correct.state_dict())
        if self.people.shape == model.people.shape:
            self.people.copy_(model.people)
            self.references.copy_(model.references)

    def forward(self, z: Tensor, person: Person) -> Tensor:
        """`logits`, for DistributedDataParallel."""
        return self.logits(z, person)

    def logits(self, z: Tensor, person: Person) -> Tensor:
        flow = self.config.flow
        coarse, fine = person.description.split([flow.coarse * COARSE**2, flow.fine * FINE**2], dim=1)
        maps = [coarse.unflatten(1, (flow.coarse, COARSE, COARSE)), fine.unflatten(1, (flow.fine, FINE, FINE))]
        maps = [F.interpolate(one, size=(SIDE, SIDE), mode="bilinear") for one in maps]
        scaled = z / self.flow.scale
        return self.vae.decode(z + self.flow.scale * self.correct(torch.cat([with_places(scaled), *maps], dim=1)))


class SetDiscriminator(nn.Module):
    """Sets of signatures ``[N, SET, 128, 128]``, or single ones ``[N, 1, 128, 128]``, to logits ``[N]``."""

    def __init__(self, config: PriorGANConfig):
        super().__init__()
        tower = DownTower(config.widths_d, 1, norm=False, pictures=SET if config.sets else 1)
        self.net = nn.Sequential(tower, nn.Linear(tower.out_features, 1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
