"""Training of the VAE: AdamW on the negative bound, KL warm-up, averaged weights, a prior fitted at the end.

Reference: Loshchilov & Hutter 2019 (AdamW).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..models import vae
from .averaging import Average
from .loop import CHECKED, Trainer
from .progress import cosine


class VAETrainer(Trainer):
    """AdamW on the negative bound, KL warm-up, averaged weights, a prior fitted at the end.

    The reports' VAE as they trained it: Adam at a fixed rate on moved and noisy pictures, nothing clipped.
    """

    kind = "vae"

    def build(self) -> None:
        self.as_reported = self.model_config.architecture == "report"
        self.model = vae.VAE(self.model_config)
        if self.start is not None:
            self.model.start_from(self.start)
        self.model = self.place(self.model)
        self.ema = Average(self.model, self.config.ema_images)
        rate, decay = self.config.learning_rate, 0.0 if self.as_reported else 0.01
        self.optimizer = torch.optim.AdamW(self.model.parameters(), rate, weight_decay=decay, fused=True)
        self.bound = self.distribute(_Bound(self.model))

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(model=self.model, ema=self.ema.model, optimizer=self.optimizer, scaler=self.scaler)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.learning_rate * (1.0 if self.as_reported else cosine(progress, cfg.rate_end))
        move = self.pictures_moved if self.as_reported else self.moved
        x = move(index, cfg.reals, generator)  # [N, 1, 128, 128]
        noise = torch.randn(x.shape, device=x.device, generator=generator)
        noisy = (x + cfg.noise * noise).clamp(0, 1)
        beta = vae.beta_at(progress, self.model_config)
        y = self.train_set.labels[index] if self.model_config.conditional else None
        if y is not None:  # a tenth without a name, so that the model can do without
            hidden = torch.rand(y.shape, device=y.device, generator=generator) < 0.1
            y = y.masked_fill(hidden, self.model_config.n_people)
        with self.autocast():
            parts = self.bound(x, beta, noisy, generator, y)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(parts["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        most = math.inf if self.as_reported else 500.0  # sums over 16384 pixels: large by nature
        norm = self.taken(nn.utils.clip_grad_norm_(self.model.parameters(), most))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model, (self.steps_done + 1) * self.batch, self.batch)
        keep = ("loss", "reconstruction", "kl")
        return {name: parts[name] for name in keep} | dict(gradient_norm=norm, beta=torch.tensor(beta))

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Bound and squared error an image on the held-out signatures, with the averaged weights."""
        generator = torch.Generator(self.device).manual_seed(0)
        sums = dict(test_loss=0.0, test_reconstruction=0.0, test_kl=0.0, test_squared_error=0.0)
        with self.autocast():
            some = (part[:CHECKED].split(64) for part in (self.test_set.images, self.test_set.labels))
            for images, y in zip(*some, strict=True):
                x = images[:, None].float() / 255
                parts = vae.elbo(self.ema.model, x, 1.0, generator, y=y)
                error = (self.ema.model.to_ink(self.ema.model.decode(parts["mu"], y)) - x).square().sum()
                for name in ("loss", "reconstruction", "kl"):
                    sums[f"test_{name}"] += parts[name].item() * len(x)
                sums["test_squared_error"] += error.item()
        return {name: total / min(CHECKED, len(self.test_set)) for name, total in sums.items()}

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Reconstructions of the first held-out signatures."""
        with self.autocast():
            n = self.config.n_fixed
            return self.ema.model.reconstruct(self.test_set.x[:n], self.test_set.labels[:n]).float()

    def finish(self) -> None:
        known = self.train_set.labels if self.model_config.n_people else None
        within = self.start.within if self.start is not None else None
        vae.fit_prior(self.ema.model, self.train_set.images, known, self.config.seed, within)


class _Bound(nn.Module):
    """`elbo` as a module, so that gradients of many processes are averaged by DistributedDataParallel."""

    def __init__(self, model: vae.VAE):
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, beta: float, noisy: Tensor, generator: torch.Generator, y: Tensor | None
    ) -> dict[str, Tensor]:
        return vae.elbo(self.model, x, beta, generator, noisy, y)
