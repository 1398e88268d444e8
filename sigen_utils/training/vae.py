"""Training of a VAE: AdamW down the negative bound, a KL weight that rises at first, averaged weights.

Reference: Loshchilov & Hutter 2019 (AdamW).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..augment import augment
from ..models import baselines, vae
from ..synthesis import Corpus
from .averaging import Average
from .loop import CHECKED, TrainConfig, Trainer
from .progress import cosine


@dataclass(frozen=True)
class ModelTrainConfig(TrainConfig):
    """Fields of `TrainConfig`, and of the training of one network."""

    warmup_steps: int = 100  # over which the learning rate rises


class ModelTrainer(Trainer):
    """What trainings of one network share: AdamW, a clipped gradient, averaged weights, ink of a corpus or a class."""

    most = 1.0  # largest norm of a gradient
    weight_decay = 0.01
    betas = (0.9, 0.99)

    def build(self) -> None:
        self.model = self.place(self.make())
        self.ema = Average(self.model, self.config.ema_images)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        settings = dict(betas=self.betas, weight_decay=self.weight_decay, fused=True)
        self.optimizer = torch.optim.AdamW(parameters, self.config.learning_rate, **settings)
        self.wrapped = self.distribute(self.model)

    def make(self) -> nn.Module: ...

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(model=self.model, ema=self.ema.model, optimizer=self.optimizer, scaler=self.scaler)

    def update(self, parts: dict[str, Tensor], rate: float) -> dict[str, Tensor]:
        """One step of the optimiser at `rate`, down the gradient of ``parts["loss"]``."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps_done + 1) / max(1, self.config.warmup_steps))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(parts["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = self.finite(nn.utils.clip_grad_norm_(self.model.parameters(), self.most))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model, (self.steps_done + 1) * self.batch, self.batch)
        return parts | dict(gradient_norm=norm)


class VAETrainer(ModelTrainer):
    """The negative bound with a weight on its KL term that rises at first."""

    kind = "vae"
    most = 2000.0  # sums over 16,384 pixels: large by nature

    def make(self) -> nn.Module:
        model = vae.VAE(self.model_config)
        if self.start is not None:
            model.load_state_dict(getattr(self.start, "vae", self.start).state_dict())
        for part in model.encoder.parameters():
            part.requires_grad_(self.model_config.train_encoder)
        return model

    def batch_of(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]``, ``[n, 1, 128, 128]``; those of a class are augmented."""
        if isinstance(self.data, Corpus):
            return self.ink(index)
        return self.warped(index, self.config.augment, generator)

    def rate(self, progress: float) -> float:
        """Learning rate when the share `progress` of the training is over."""
        return self.config.learning_rate * cosine(progress, self.config.rate_end, 1e-9)

    def beta(self, progress: float) -> float:
        """Weight of the KL term then."""
        return self.model_config.beta * min(1.0, 0.05 + progress / max(self.model_config.warmup, 1e-9))

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        with self.autocast():
            parts = self.wrapped(self.batch_of(index, generator), self.beta(progress), generator)
        return self.update(parts, self.rate(progress))

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Bound and squared error an image on held-out signatures, with the averaged weights."""
        x, net = self.held_out(CHECKED), self.ema.model
        generator = torch.Generator(self.device).manual_seed(0)
        sums = dict(loss=0.0, reconstruction=0.0, kl=0.0, squared_error=0.0)
        for part in x.split(64):
            found = net(part, 1.0, generator)
            found["squared_error"] = (net.reconstruct(part) - part).square().sum() / len(part)
            for name in sums:
                sums[name] += found[name].item() * len(part)
        return {f"test_{name}": total / len(x) for name, total in sums.items()}

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Reconstructions of the first held-out signatures."""
        return self.ema.model.reconstruct(self.held_out(self.config.n_fixed)).float()


class ReportVAETrainer(VAETrainer):
    """As reported: Adam at a fixed rate, nothing clipped, pictures that were turned, cropped and given noise."""

    kind = "report_vae"
    most = float("inf")
    weight_decay = 0.0
    betas = (0.9, 0.999)

    def make(self) -> nn.Module:
        return baselines.ReportVAE(self.model_config)

    def batch_of(self, index: Tensor, generator: torch.Generator) -> Tensor:
        return augment(self.ink(index), self.config.augment, generator)

    def rate(self, progress: float) -> float:
        return self.config.learning_rate

    def beta(self, progress: float) -> float:
        return 1.0
