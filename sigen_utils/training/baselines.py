"""Training of the student reports' VAE and GAN as they trained them: fixed rates on augmented, noisy pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..augment import augment
from ..models import gan
from ..models.baselines import ReportDiscriminator, ReportGenerator, ReportVAE
from ..models.layers import gradient_norm
from .gan import GANTrainer
from .vae import VAETrainer


class ReportVAETrainer(VAETrainer):
    """Adam at a fixed rate, nothing clipped."""

    kind = "report_vae"
    network = ReportVAE
    weight_decay, clip = 0.0, math.inf

    def rate(self, progress: float) -> float:
        return self.config.learning_rate

    def batch_of(self, index: Tensor, generator: torch.Generator) -> Tensor:
        return augment(self.ink(index), self.config.augment, generator)


class ReportGANTrainer(GANTrainer):
    """Binary cross-entropy; real and generated pictures pass the discriminator apart, each with its own statistics."""

    kind = "report_gan"

    def build_networks(self) -> None:
        if self.start is not None:
            raise ValueError("the reports' GAN begins at random: it goes on from nothing")
        self.generator, self.discriminator = ReportGenerator(self.model_config), ReportDiscriminator(self.model_config)

    def codes_of_people(self, people: Tensor) -> None:
        return None  # no label reached a network

    def genuine(self, index: Tensor, generator: torch.Generator) -> Tensor:
        return augment(self.ink(index), self.config.augment, generator)

    def shown(self, x: Tensor) -> Tensor:
        return x

    def check_codes(self, *_) -> None:
        return None

    def drawn(self, n: int) -> Tensor:
        z = self.ema.model.noise(n, None, torch.Generator().manual_seed(self.config.seed)).to(self.device)
        return torch.cat([self.ema.model(part).float() for part in z.split(64)])

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        real = self.genuine(index, generator)
        z = torch.randn(len(index), self.model_config.latent_dim, device=self.device, generator=generator)
        with self.autocast():
            fake = self.wrapped_g(z)
            logits = [self.wrapped_d(x).float() for x in (real, fake.detach())]
        d_loss = gan.bce_d_loss(*logits)
        self.descend(self.optimizer_d, d_loss)
        self.discriminator.requires_grad_(False)
        with self.autocast():
            g_loss = gan.bce_g_loss(self.discriminator(fake).float())
        self.descend(self.optimizer_g, g_loss)
        norm = self.finite(gradient_norm(self.generator))
        self.scaler.update()
        self.discriminator.requires_grad_(True)
        self.ema.update(self.generator, (self.steps_done + 1) * self.batch, self.batch)
        gap = (logits[0] - logits[1]).mean()
        return dict(loss=d_loss + g_loss, d_loss=d_loss, g_loss=g_loss, gap=gap, g_gradient_norm=norm)
