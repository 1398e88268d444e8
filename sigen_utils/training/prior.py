"""Training of the flow, the learned prior, on the codes of a frozen VAE.

It learns from a `synthesis.Corpus` of synthetic writers, or meets a class (`data.SignatureSet`). Then half of each
batch stays with the corpus, so that it does not forget how people in general sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import paths
from ..data import SignatureSet
from ..models import prior, vae
from ..models.prior_vae import PriorVAE
from ..synthesis import Corpus, CrowdConfig
from .loop import CHECKED
from .vae import ModelTrainConfig, ModelTrainer

REPLAY_SEED, REPLAYED = 6_000_003, 300  # writers that are replayed, at most: none of them is in a class
ENCODED = 128  # signatures at once


@dataclass(frozen=True)
class PriorTrainConfig(ModelTrainConfig):
    """Fields of `ModelTrainConfig`, and of the flow's training."""

    warmup_steps: int = 300  # over which the learning rate rises
    decay_from: float = 0.6  # share of the training after which the rate falls linearly to `rate_end`
    writers: int = 0  # of a corpus, the first so many; 0: all
    replay_writers: int = REPLAYED  # synthetic writers: half of each batch, when the flow meets a class; 0: none


class PriorTrainer(ModelTrainer):
    """The flow on the codes of a frozen VAE: sets of signatures of one writer, each a target in turn."""

    kind = "prior"
    signatures = prior.MAX_REFERENCES + 1  # an item is a writer

    def make(self) -> nn.Module:
        model = PriorVAE(self.model_config)
        if self.start is None:
            raise ValueError("the flow needs the codes of a VAE: --start names a run of one, or of a flow")
        if isinstance(self.start, vae.VAE):
            model.vae.load_state_dict(self.start.state_dict())
        else:
            model.vae.load_state_dict(self.start.vae.state_dict())
            model.flow.load_state_dict(self.start.flow.state_dict())
        model = model.to(self.device)
        net = model.vae
        known = self.train_set
        if isinstance(known, Corpus) and self.config.writers:
            known = Corpus(known.bits[: self.config.writers])
        self.codes = [encode_sets(net, known, self.device)]
        if not isinstance(self.data, Corpus) and self.config.replay_writers:
            self.codes.append(encode_sets(net, replayed(self.config.replay_writers), self.device))
        self.batch *= len(self.codes) * self.codes[0][0].shape[1]  # signatures a step: sets of them, of each source
        self.checked = encode_sets(net, self.test_set, self.device) if isinstance(self.data, Corpus) else self.codes[0]
        if isinstance(self.start, vae.VAE):
            mu, logvar = (part[:4000].float() for part in self.codes[0][:2])
            variance = mu.var((0, 1, 3, 4)) + logvar.exp().mean((0, 1, 3, 4))
            model.flow.scale.copy_(variance.sqrt().view(1, -1, 1, 1))
        return model

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
        """Keep descriptions of the people of a class; no picture of them."""
        if self.model_config.n_people:
            self.ema.model.remember(self.train_set.x, self.train_set.labels)


def replayed(writers: int) -> Corpus:
    """The first `writers` of the corpus that is replayed; drawn once, and kept below ``build``.

    Raises
    ------
    ValueError
        If more than `REPLAYED` are asked for.
    """
    if writers > REPLAYED:
        raise ValueError(f"replay_writers={writers}: there are {REPLAYED}")
    path = paths.home() / "build" / "cache" / f"replayed_{REPLAY_SEED}_{REPLAYED}.npz"
    if not path.exists():
        Corpus.draw(CrowdConfig(writers=REPLAYED, per_writer=4, seed=REPLAY_SEED), progress=None).save(path)
    return Corpus(Corpus.load(path, held_out=0).bits[:writers])


def sets_of_writers(data: Corpus | SignatureSet) -> Tensor:
    """Sets of signatures of one writer, as places in `data`, int64 ``[writers, size]``.

    A set is of as many, up to four, as the person with fewest has; who has more gives several sets.

    Raises
    ------
    ValueError
        If somebody has one signature only.
    """
    if isinstance(data, Corpus):
        return torch.arange(len(data)).unflatten(0, (-1, data.per_writer))
    present = data.labels.unique()
    size = min(prior.MAX_REFERENCES + 1, int(data.labels.bincount()[present].min()))
    if size < 2:
        raise ValueError("the prior learns how signatures of a person differ: every person needs two to train on")
    own = [(data.labels == person).nonzero()[:, 0] for person in present]
    return torch.cat([rows[: len(rows) // size * size].view(-1, size) for rows in own]).cpu()


def ink_of(data: Corpus | SignatureSet, index: Tensor, device: torch.device) -> Tensor:
    """Signatures `index` ``[n]`` as ink ``[n, 1, 128, 128]`` in [0, 1]."""
    if isinstance(data, Corpus):
        return data.ink(index, device)
    return data.images[index.to(data.images.device)][:, None].float().to(device) / 255


@torch.no_grad()
def encode_sets(net: vae.VAE, data: Corpus | SignatureSet, device: torch.device) -> tuple[Tensor, Tensor]:
    """Posteriors of `sets_of_writers`: mean and log-variance ``[writers, size, channels, 16, 16]``, half precision."""
    sets = sets_of_writers(data)
    parts = [net.encode(ink_of(data, some, device)) for some in sets.flatten().split(ENCODED)]
    mu, logvar = (torch.cat([part[k].half() for part in parts]) for k in (0, 1))
    return mu.unflatten(0, sets.shape), logvar.unflatten(0, sets.shape)
