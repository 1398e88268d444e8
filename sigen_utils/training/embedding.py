"""Training of the project's own feature extractor, on a pretraining corpus."""

from __future__ import annotations

import torch
from torch import Tensor

from ..augment import augment
from ..models import embedding
from .averaging import Average
from .loop import CHECKED, Trainer
from .progress import cosine


class EmbeddingTrainer(Trainer):
    """AdamW on the supervised contrastive loss: a batch is some signatures of each of some writers."""

    kind = "extractor"

    def build(self) -> None:
        self.model = self.place(embedding.Embedding(self.model_config))
        self.ema = Average(self.model, self.config.ema_images)
        rate = self.config.learning_rate
        self.optimizer = torch.optim.AdamW(self.model.parameters(), rate, weight_decay=0.05, fused=True)
        self.wrapped = self.distribute(self.model)
        self.order = self.train_set.labels.argsort(stable=True)  # signatures, writer by writer
        self.count = self.train_set.labels.bincount(minlength=self.data.n_people)
        self.begin = self.count.cumsum(0) - self.count

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(model=self.model, ema=self.ema.model, optimizer=self.optimizer, scaler=self.scaler)

    def augmented(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]``, augmented, with bolder or thinner strokes."""
        x = augment(self.ink(index), self.config.augment, generator)
        return embedding.vary_width(x, *self.model_config.width_range, generator)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg, each = self.config, self.model_config.per_writer
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.learning_rate * cosine(progress, cfg.rate_end)
        writers = self.train_set.labels[index[: len(index) // each]]
        first = torch.randint(1 << 30, writers.shape, device=self.device, generator=generator)
        turn = first[:, None] + torch.arange(each, device=self.device)  # consecutive ones, so all different
        chosen = self.order[self.begin[writers, None] + turn % self.count[writers, None]].flatten()
        with self.autocast():
            e = self.wrapped(self.augmented(chosen, generator))
        loss = embedding.contrastive_loss(e, self.train_set.labels[chosen], self.model_config.temperature)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model, (self.steps_done + 1) * self.batch, self.batch)
        return dict(loss=loss)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Share of held-out signatures whose nearest training signature is by the same writer."""
        query = self.test_set.subset(torch.arange(min(CHECKED, len(self.test_set))))
        gallery = self.train_set.subset(self.train_set.labels <= query.labels.max())
        with self.autocast():
            q, g = (torch.cat([self.ema.model(x) for x in part.x.split(64)]) for part in (query, gallery))
        right = gallery.labels[(q @ g.T).argmax(1)] == query.labels
        return dict(test_top1=right.float().mean().item())

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """The first training signatures as the network sees them."""
        index = torch.arange(self.config.n_fixed, device=self.device) % len(self.train_set)
        return self.augmented(index, torch.Generator(self.device).manual_seed(0))

    def finish(self) -> None:
        """Nothing is fitted after the training."""
