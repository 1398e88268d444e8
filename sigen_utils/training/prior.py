"""Training of the autoencoder, and of the flow on its codes.

Both learn from a `synthesis.Corpus` of synthetic writers; the flow also meets a class (`data.SignatureSet`), where half
of each batch stays with the corpus, so that it does not forget how people in general sign.

Reference: Loshchilov & Hutter 2019 (AdamW).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data import SignatureSet
from ..models import autoencoder, prior
from ..synthesis import Corpus, CrowdConfig
from .averaging import Average
from .checkpoint import RunFolder
from .loop import CHECKED, TrainConfig, Trainer
from .progress import cosine

REPLAY_SEED = 6_000_003  # of the corpus that is replayed: none of its writers is in a class
ENCODED = 128  # signatures at once


@dataclass(frozen=True)
class CodesConfig(TrainConfig):
    """How the autoencoder and the flow are trained; fields of `TrainConfig`, and some of their own."""

    warmup_steps: int = 300  # over which the learning rate rises
    decay_from: float = 0.6  # share of the training after which the flow's rate falls linearly to `rate_end`
    replay_writers: int = 500  # synthetic writers of whom half of each batch is, when the flow meets a class


class CodesTrainer(Trainer):
    """What the two trainers share: one model, AdamW, averaged weights, ink of a corpus or of a class."""

    most = 1.0  # largest norm of a gradient

    def build(self) -> None:
        self.model = self.place(self.make())
        self.ema = Average(self.model, self.config.ema_images)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        rate = self.config.learning_rate
        self.optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.wrapped = self.distribute(self.model)

    def make(self) -> nn.Module: ...

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(model=self.model, ema=self.ema.model, optimizer=self.optimizer, scaler=self.scaler)

    def remember_class(self, folder: RunFolder) -> None:
        """Nothing: the folder of such a run holds no picture."""

    def ink(self, index: Tensor) -> Tensor:
        return self.train_set.ink(index, self.device) if isinstance(self.data, Corpus) else super().ink(index)

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

    def held_out(self) -> Tensor:
        """The first held-out signatures, at most `CHECKED`, as ink ``[n, 1, 128, 128]``."""
        index = torch.arange(min(CHECKED, len(self.test_set)))
        if isinstance(self.data, Corpus):
            return self.test_set.ink(index, self.device)
        return self.test_set.images[index][:, None].float() / 255

    def finish(self) -> None:
        """Nothing is fitted after the training."""


class AutoencoderTrainer(CodesTrainer):
    """The negative bound with a weight on its KL term that rises at first."""

    kind = "autoencoder"
    most = 2000.0  # sums over 16,384 pixels: large by nature

    def make(self) -> nn.Module:
        return autoencoder.Autoencoder(self.model_config)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg = self.model_config
        beta = cfg.beta * min(1.0, 0.05 + progress / cfg.warmup)
        with self.autocast():
            parts = self.wrapped(self.ink(index), beta, generator)
        return self.update(parts, self.config.learning_rate * cosine(progress, self.config.rate_end, 1e-9))

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Bound and squared error an image on held-out signatures, with the averaged weights."""
        x, net = self.held_out(), self.ema.model
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
        return self.ema.model.reconstruct(self.held_out()[: self.config.n_fixed]).float()


class PriorTrainer(CodesTrainer):
    """The flow on the codes of a frozen autoencoder: sets of signatures of one writer, each a target in turn."""

    kind = "prior"
    signatures = prior.MAX_REFERENCES + 1  # an item is a writer

    def make(self) -> nn.Module:
        model = prior.PriorVAE(self.model_config)
        if self.start is None:
            raise ValueError("the flow needs the codes of an autoencoder: --start names a run of one, or of a flow")
        if isinstance(self.start, autoencoder.Autoencoder):
            model.autoencoder.load_state_dict(self.start.state_dict())
        else:
            model.autoencoder.load_state_dict(self.start.autoencoder.state_dict())
            model.flow.load_state_dict(self.start.flow.state_dict())
        model = model.to(self.device)
        net = model.autoencoder
        if isinstance(self.data, Corpus):
            self.codes = [self.encode(net, self.train_set)]
        else:
            replay = CrowdConfig(writers=self.config.replay_writers, per_writer=4, seed=REPLAY_SEED)
            self.codes = [self.encode(net, self.train_set), self.encode(net, Corpus.draw(replay, progress=None))]
        self.batch *= len(self.codes) * self.codes[0][0].shape[1]  # signatures a step: sets of them, of each source
        self.checked = self.encode(net, self.test_set) if isinstance(self.data, Corpus) else self.codes[0]
        if isinstance(self.start, autoencoder.Autoencoder):
            mu, logvar = (part[:4000].float() for part in self.codes[0][:2])
            variance = mu.var((0, 1, 3, 4)) + logvar.exp().mean((0, 1, 3, 4))
            model.flow.scale.copy_(variance.sqrt().view(1, -1, 1, 1))
        return model

    @torch.no_grad()
    def encode(self, net: autoencoder.Autoencoder, data: Corpus | SignatureSet) -> tuple[Tensor, Tensor]:
        """Posteriors of sets of signatures of one writer: mean and log-variance ``[writers, size, channels, 16, 16]``.

        Of people with different numbers of signatures each gives as many, up to four, as the one with fewest.
        """
        if isinstance(data, Corpus):
            order, size, ink = torch.arange(len(data)), data.per_writer, data.ink
        else:
            present = data.labels.unique()
            size = min(prior.MAX_REFERENCES + 1, int(data.labels.bincount()[present].min()))
            if size < 2:
                raise ValueError(
                    "the flow learns how signatures of a person differ: every person needs two to train on"
                )
            order = torch.cat([(data.labels == person).nonzero()[:, 0][:size] for person in present])

            def ink(index: Tensor, device: torch.device) -> Tensor:
                return data.images[index][:, None].float().to(device) / 255

        parts = [net.encode(ink(index, self.device)) for index in order.split(ENCODED)]
        mu, logvar = (torch.cat([part[k].half() for part in parts]) for k in (0, 1))
        return mu.unflatten(0, (-1, size)), logvar.unflatten(0, (-1, size))

    @property
    def n_items(self) -> int:
        return len(self.codes[0][0])  # writers

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg, start = self.config, self.config.decay_from
        left = 1.0 if progress < start else max(cfg.rate_end, (1 - progress) / (1 - start))
        found = [self.loss(self.codes[0], index, generator)]
        if len(self.codes) > 1:  # as many writers of the corpus, so that the flow does not forget them
            other = torch.randint(len(self.codes[1][0]), index.shape, generator=generator, device=self.device)
            found.append(self.loss(self.codes[1], other, generator))
        parts = {name: torch.stack([part[name] for part in found]).mean() for name in found[0]}
        return self.update(parts, cfg.learning_rate * left)

    def loss(self, codes: tuple[Tensor, Tensor], index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """`prior.flow_matching_loss` of the writers `index` ``[n]``."""
        with self.autocast():
            return self.wrapped(codes[0][index].float(), codes[1][index].float(), generator)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """The loss on writers held out (of a class on its own), with the averaged weights and always the same noise."""
        generator = torch.Generator(self.device).manual_seed(0)
        mu, logvar = (part[: CHECKED // 4].float() for part in self.checked)
        return {f"test_{name}": value.item() for name, value in self.ema.model(mu, logvar, generator).items()}

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """New people, of always the same noise."""
        return self.ema.model.new(self.config.n_fixed, 1, torch.Generator().manual_seed(0)).float()

    def finish(self) -> None:
        """Keep what the model is told of the people of a class; no picture of them."""
        if self.model_config.n_people:
            self.ema.model.remember(self.train_set.x, self.train_set.labels)
