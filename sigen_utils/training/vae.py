"""Training of the VAE: AdamW on the negative bound, KL warm-up, averaged weights, a prior fitted at the end.

Reference: Loshchilov & Hutter 2019 (AdamW).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models import vae
from .averaging import Average
from .loop import CHECKED, Trainer
from .progress import cosine


class VAETrainer(Trainer):
    """AdamW on the negative bound, KL warm-up, averaged weights, a prior fitted at the end."""

    kind = "vae"
    network: type[vae.VAE] = vae.VAE
    weight_decay, clip = 0.01, 500.0  # of the gradient's norm: sums over 16384 pixels are large by nature

    def build(self) -> None:
        self.model = self.network(self.model_config)
        if self.start is not None:
            self.model.start_from(self.start)
        self.model = self.place(self.model)
        self.ema = Average(self.model, self.config.ema_images)
        settings = dict(lr=self.config.learning_rate, weight_decay=self.weight_decay, fused=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **settings)
        self.bound = self.distribute(_Bound(self.model))

    def rate(self, progress: float) -> float:
        """Learning rate when the share `progress` of the training is over."""
        return self.config.learning_rate * cosine(progress, self.config.rate_end)

    def batch_of(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]``, augmented, ``[n, 1, 128, 128]``."""
        return self.warped(index, self.config.augment, generator)

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(model=self.model, ema=self.ema.model, optimizer=self.optimizer, scaler=self.scaler)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(progress)
        x = self.batch_of(index, generator)  # [N, 1, 128, 128]
        noise = torch.randn(x.shape, device=x.device, generator=generator)
        noisy = (x + self.config.noise * noise).clamp(0, 1)
        beta = vae.beta_at(progress, self.model_config)
        with self.autocast():
            parts = self.bound(x, beta, noisy, generator)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(parts["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = self.finite(nn.utils.clip_grad_norm_(self.model.parameters(), self.clip))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model, (self.steps_done + 1) * self.batch, self.batch)
        keep = ("loss", "reconstruction", "kl")
        return {name: parts[name] for name in keep} | dict(gradient_norm=norm, beta=torch.tensor(beta))

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Bound and squared error per image of the held-out signatures, with the averaged weights."""
        generator = torch.Generator(self.device).manual_seed(0)
        sums = dict(test_loss=0.0, test_reconstruction=0.0, test_kl=0.0, test_squared_error=0.0)
        with self.autocast():
            for images in self.test_set.images[:CHECKED].split(64):
                x = images[:, None].float() / 255
                parts = vae.elbo(self.ema.model, x, 1.0, generator)
                error = (self.ema.model.to_ink(self.ema.model.decode(parts["mu"])) - x).square().sum()
                for name in ("loss", "reconstruction", "kl"):
                    sums[f"test_{name}"] += parts[name].item() * len(x)
                sums["test_squared_error"] += error.item()
        return {name: total / min(CHECKED, len(self.test_set)) for name, total in sums.items()}

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Reconstructions of the first held-out signatures."""
        with self.autocast():
            return self.ema.model.reconstruct(self.test_set.x[: self.config.n_fixed]).float()

    def finish(self) -> None:
        known = self.train_set.labels if self.model_config.n_people else None
        within = self.start.within if self.start is not None else None
        vae.fit_prior(self.ema.model, self.train_set.images, known, self.config.seed, within)


class _Bound(nn.Module):
    """`elbo` as a module, for DistributedDataParallel."""

    def __init__(self, model: vae.VAE):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, beta: float, noisy: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return vae.elbo(self.model, x, beta, generator, noisy)
