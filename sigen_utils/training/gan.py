"""Training of the GANs: one discriminator and one generator update a step.

References: those of `models.gan` and `models.prior_gan`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..augment import augment
from ..data import SignatureSet
from ..models import gan, prior_gan
from ..models.layers import gradient_norm
from ..models.prior import Person
from ..models.prior_vae import PriorVAE
from ..models.vae import reconstruction_loss
from ..render import pen, render
from ..synthesis import Corpus
from .averaging import Average
from .loop import TrainConfig, Trainer
from .prior import ink_of, replayed, sets_of_writers
from .progress import cosine

LAZY = 4  # steps of which one has the penalty, with so many times its weight (Karras et al. 2020, sec. B)


class AdversarialTrainer(Trainer):
    """What both GANs share: two networks, two optimisers, an averaged generator."""

    def build(self) -> None:
        cfg = self.model_config
        self.generator, self.discriminator = (self.place(net) for net in self.networks())
        self.wrapped_g, self.wrapped_d = self.distribute(self.generator), self.distribute(self.discriminator)
        self.ema = Average(self.generator, cfg.ema_images)
        settings = dict(betas=cfg.adam_betas, fused=True)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.optimizer_g = torch.optim.Adam(trained, cfg.rates[0], **settings)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), cfg.rates[1], **settings)

    def networks(self) -> tuple[nn.Module, nn.Module]: ...

    @property
    def average(self) -> Average:
        return self.ema

    def stateful(self) -> dict[str, object]:
        return dict(
            generator=self.generator,
            discriminator=self.discriminator,
            ema=self.ema.model,
            optimizer_g=self.optimizer_g,
            optimizer_d=self.optimizer_d,
            scaler=self.scaler,
        )

    def play(
        self, real: Tensor, fake: Tensor, progress: float, generator: torch.Generator, extra: Tensor | None = None
    ) -> dict[str, Tensor]:
        """One step of D on `real` and `fake` ``[N, C, 128, 128]``, then one of G, down its loss plus `extra`."""
        cfg, factor = self.model_config, cosine(progress, self.config.rate_end, 1e-9)
        for optimizer, rate in zip((self.optimizer_g, self.optimizer_d), cfg.rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        penalty = LAZY * cfg.penalty if self.steps_done % LAZY == 0 else 0.0
        with self.autocast():
            d = gan.d_step(self.wrapped_d, real, fake.detach(), cfg.pairing, penalty, cfg.penalty_sigma, generator)
        self.descend(self.optimizer_d, d["loss"])
        self.discriminator.requires_grad_(False)  # its weights' gradients would be thrown away
        with self.autocast():
            g = gan.g_step(self.discriminator, fake, d["real"], cfg.pairing)
        self.descend(self.optimizer_g, g["loss"] if extra is None else g["loss"] + extra)
        norm = self.finite(gradient_norm(self.generator))
        self.scaler.update()
        self.discriminator.requires_grad_(True)
        self.ema.update(self.generator, (self.steps_done + 1) * self.batch, self.batch)
        out = dict(loss=d["loss"] + g["loss"], d_loss=d["loss"], g_loss=g["loss"], g_gradient_norm=norm)
        out |= dict(real_logit=d["real"].mean(), fake_logit=d["fake"].mean())
        return out | {name: d[name] for name in ("r1", "r2") if name in d}

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of an optimiser down a loss."""
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        self.scaler.step(optimizer)


class GANTrainer(AdversarialTrainer):
    """The GAN from noise, the reports' and every repair of it."""

    kind = "gan"

    def networks(self) -> tuple[nn.Module, nn.Module]:
        noise = torch.Generator().manual_seed(self.config.seed)
        self.fixed_z = torch.randn(self.config.n_fixed, self.model_config.latent_dim, generator=noise).to(self.device)
        return gan.Generator(self.model_config), gan.Discriminator(self.model_config)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg = self.model_config
        real = augment(self.genuine(self.ink(index)), self.config.augment, generator)
        z = torch.randn(len(index), cfg.latent_dim, device=self.device, generator=generator)
        with self.autocast():
            fake = self.wrapped_g(z).float()
        if cfg.augment_generated:
            fake = augment(fake, self.config.augment, generator)
        return self.play(real, fake, progress, generator)

    def genuine(self, x: Tensor) -> Tensor:
        """Binary ink ``[N, 1, 128, 128]`` as D sees it, ``[N, 1, side, side]``."""
        return gan.reduce(x, self.model_config.side)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Mean logit of training, held-out and generated signatures; a gap between the first two is overfitting."""
        first = torch.arange(min(len(self.train_set), 64), device=self.device)
        pictures = dict(train_logit=self.genuine(self.ink(first)), test_logit=self.genuine(self.held_out(64)))
        x = pictures["fake_logit"] = self.ema.model(self.fixed_z).float()
        with self.autocast():
            out = {name: self.discriminator(part).float().mean().item() for name, part in pictures.items()}
        return {f"check_{name}": value for name, value in out.items()} | dict(fake_spread=x.std(0).mean().item())

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Signatures of always the same noise by the averaged generator."""
        with self.autocast():
            return self.ema.model.ink(self.fixed_z)


@dataclass(frozen=True)
class PriorGANTrainConfig(TrainConfig):
    """Fields of `TrainConfig`, and how many codes the prior draws for the game."""

    rounds: int = 2  # pairs of codes of each writer; of a corpus one is enough
    writers: int = 1024  # at most, of a corpus
    replay_writers: int = 64  # synthetic writers in the game, when it meets a class
    nobody: float = 0.25  # share of sets without a reference


@dataclass(frozen=True)
class Pool:
    """Draws of the prior for the game: an item is a set, a reference and two codes.

    Attributes
    ----------
    z
        Codes ``[M, 2, channels, 16, 16]``, half precision.
    person
        Who signs them.
    genuine
        Ink uint8 ``[M, SET, 128, 128]`` in {0, 1}: the reference, and the two genuine signatures to tell them from.
        Without a reference its place is paper, and the two signatures are two people's.
    """

    z: Tensor
    person: Person
    genuine: Tensor


class PriorGANTrainer(AdversarialTrainer):
    """The game on sets. Its codes are drawn once, at the start, by the prior, which does not change."""

    kind = "prior_gan"
    signatures = 2  # generated of an item

    def networks(self) -> tuple[nn.Module, nn.Module]:
        cfg = self.model_config
        if not isinstance(self.start, PriorVAE):
            raise ValueError("this GAN begins as a VAE with a learned prior: --start names a run of `train vae`")
        generator = prior_gan.PriorGAN(cfg).to(self.device)
        generator.begin_as(self.start)
        if isinstance(self.data, SignatureSet) and cfg.n_people:
            generator.remember(self.train_set.x, self.train_set.labels)
        self.pool = self.draw_pool(generator.eval())
        self.batch *= 2
        return generator.train(), prior_gan.SetDiscriminator(cfg)

    @torch.no_grad()
    def draw_pool(self, generator: prior_gan.PriorGAN) -> Pool:
        """Codes for the game by the prior of `generator`, see `Pool`; the same for the same seed."""
        noise = torch.Generator().manual_seed(self.config.seed)
        sources = [(self.train_set, self.config.writers, 1 if isinstance(self.data, Corpus) else self.config.rounds)]
        if not isinstance(self.data, Corpus) and self.config.replay_writers:
            sources.append((replayed(self.config.replay_writers), self.config.replay_writers, 1))
        parts = [self._pool_of(generator, *source, noise) for source in sources]
        people = [part.person for part in parts]
        person = Person(torch.cat([p.description for p in people]), torch.cat([p.count for p in people]))
        return Pool(torch.cat([p.z for p in parts]), person, torch.cat([p.genuine for p in parts]))

    def _pool_of(
        self, generator: prior_gan.PriorGAN, data: Corpus | SignatureSet, writers: int, rounds: int, noise
    ) -> Pool:
        sets = sets_of_writers(data)
        sets = sets[torch.randperm(len(sets), generator=noise)[:writers]].repeat(rounds, 1)
        m, size = sets.shape
        order = torch.rand(m, size, generator=noise).argsort(1)
        sets = sets.gather(1, order)  # a reference first, then others
        others = torch.stack([sets[:, 1], sets[:, min(2, size - 1)]], dim=1)
        flow = generator.flow
        described = generator.describe(ink_of(data, sets.flatten(), self.device)).unflatten(0, (m, size))
        # Of a class all training signatures are references, as when it is sampled; of a corpus one to three
        most = size if isinstance(data, SignatureSet) else min(size - 1, 3)
        least = most if isinstance(data, SignatureSet) else 1
        count = torch.randint(least, most + 1, (m, 1), generator=noise)
        mask = (torch.arange(size) < count).float()
        nobody = torch.rand(m, generator=noise) < self.config.nobody
        mask[nobody] = 0
        person = flow.people(described, mask.to(self.device))
        z = [
            flow.sample(len(part), noise, Person(person.description[part], person.count[part])).half()
            for _ in range(2)
            for part in torch.arange(m).split(64)
        ]
        z = torch.cat(z).unflatten(0, (2, m)).transpose(0, 1).contiguous()
        others[nobody, 1] = sets[torch.randperm(m, generator=noise)][nobody, 1]
        index = torch.cat([sets[:, :1], others], dim=1)
        ink = (ink_of(data, index.flatten(), torch.device("cpu")) > 0.5).to(torch.uint8)[:, 0].unflatten(0, (m, 3))
        ink[nobody, 0] = 0
        return Pool(z, person, ink.to(self.device))

    @property
    def n_items(self) -> int:
        return len(self.pool.z)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg, n = self.model_config, len(index)
        z, whose = self.pool.z[index].float(), index.repeat_interleave(2)
        person = Person(self.pool.person.description[whose], self.pool.person.count[whose])
        genuine = self.pool.genuine[index].float()
        x, z = genuine[:, 1][:, None], z.flatten(0, 1)
        if cfg.reconstruction_weight:
            with torch.no_grad():
                mu, logvar = self.generator.vae.encode(x)
                z = torch.cat([z, self.generator.vae.reparameterize(mu, logvar, generator)])
                described = torch.cat([person.description, self.generator.flow.describe(mu)])
            person = Person(described, torch.cat([person.count, person.count.new_ones(n)]))
        with self.autocast():
            logits = self.wrapped_g(z, person).float()
        extra = None
        if cfg.reconstruction_weight:
            extra = cfg.reconstruction_weight * reconstruction_loss(logits[2 * n :], x)
        fake = gan.render_straight_through(logits[: 2 * n]).unflatten(0, (n, 2))[:, :, 0]
        real = pen(genuine.flatten(0, 1)[:, None]).unflatten(0, (n, 3))[:, :, 0]
        fake = torch.cat([real[:, :1], fake], dim=1)
        real, fake = (augment(part, self.config.augment, generator) for part in (real, fake))
        if not cfg.sets:
            real, fake = (part[:, 1:].flatten(0, 1)[:, None] for part in (real, fake))
        return self.play(real, fake, progress, generator, extra)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """How far a generated signature is from what the VAE would have drawn: mean absolute difference of ink."""
        index = torch.arange(min(64, self.n_items))
        z, person = (
            self.pool.z[index, 0].float(),
            Person(self.pool.person.description[index], self.pool.person.count[index]),
        )
        mine = render(torch.sigmoid(self.ema.model.logits(z, person)))
        its = render(torch.sigmoid(self.start.vae.decode(z)))
        return dict(change=(mine - its).abs().sum((1, 2, 3)).mean().item())

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """The first draws of the pool."""
        n = min(self.config.n_fixed, self.n_items)
        person = Person(self.pool.person.description[:n], self.pool.person.count[:n])
        return torch.sigmoid(self.ema.model.logits(self.pool.z[:n, 0].float(), person)).float()
