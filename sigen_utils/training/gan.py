"""Training of the GAN: one discriminator and one generator update a step.

Reference: Huang et al. 2024 (rates and schedules).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..augment import PERSON_WARPS, AugmentConfig, shift
from ..data import SignatureSet
from ..models import gan, people, vae
from ..models.layers import gradient_norm
from ..render import pen, render
from .averaging import Average, Best
from .loop import Trainer
from .progress import cosine

SELECTED = 256  # training signatures, and samples, by whose distance the best check is chosen


class GANTrainer(Trainer):
    """One discriminator and one generator update a step, on the same generated signatures."""

    kind = "gan"

    def build(self) -> None:
        cfg = self.model_config
        self.build_networks()
        self.generator, self.discriminator = self.place(self.generator), self.place(self.discriminator)
        self.wrapped_g, self.wrapped_d = self.distribute(self.generator), self.distribute(self.discriminator)
        self.ema = Average(self.generator, cfg.ema_images)
        settings = dict(betas=cfg.adam_betas, fused=True)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), cfg.learning_rate_g, **settings)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), cfg.learning_rate_d, **settings)
        self.best, self.selection = Best(), _Selection(self.train_set) if self.config.watch else None
        noise = torch.Generator().manual_seed(self.config.seed)
        self.fixed_z = torch.randn(self.config.n_fixed, cfg.noise_dim, generator=noise).to(self.device)
        self.fixed_y = self.codes_of_people(
            (torch.arange(self.config.n_fixed) // 2 % self.data.n_people).to(self.device)
        )

    def build_networks(self) -> None:
        """Both networks, and which training signatures belong to whom."""
        cfg, train = self.model_config, self.train_set
        self.generator, self.discriminator = gan.Generator(cfg), gan.Discriminator(cfg)
        if cfg.by_thumbnails:
            self.generator.signatures.remember(train.images, train.labels)
        if (self.start is None) != cfg.by_thumbnails:
            raise ValueError(
                "conditioning='codes' needs a VAE to start from, whose encoder gives the codes; 'thumbnails' needs none"
            )
        if self.start is not None:
            self.start = self.start.to(self.device)
            if cfg.n_people and not self.start.config.n_people:  # pretrained networks meet the class
                self.start = vae.meet(self.start, train.images, train.labels, cfg.n_people, cfg.exemplars, cfg.warped)
            self.generator.start_from(self.start)
        self.warp_strength = float(self.generator.signatures.reach) if cfg.n_people else 1.0
        if self.pretrained_d is not None:
            self.discriminator.load_state_dict(self.pretrained_d)
        self.sort_people()

    def sort_people(self) -> None:
        """Set `order`, the training signatures by person, `begin` and `count` of each person, and `turn` within it."""
        y = self.train_set.labels
        self.order, self.count = y.argsort(stable=True), y.bincount(minlength=self.data.n_people)
        self.begin = self.count.cumsum(0) - self.count
        self.turn = people.occurrence(y)

    def others(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """For each training signature in `index` ``[n]`` the code ``[n, latent_dim]`` of another one by its person.

        If the discriminator saw a signature with its own code, it would reject every new one, and the generator would
        learn to copy. A person with one signature is described by that one.
        """
        y = self.train_set.labels[index]
        step = torch.randint(1 << 30, y.shape, device=self.device, generator=generator)
        return self.codes_of_warped(self.another(index, step), generator)

    def another(self, index: Tensor, step: Tensor | int = 0) -> Tensor:
        """For each training signature in `index` ``[n]`` the index of another one by the same person, ``[n]``."""
        y = self.train_set.labels[index]
        turn = (self.turn[index] + 1 + step % (self.count[y] - 1).clamp(min=1)) % self.count[y]
        return self.order[self.begin[y] + turn]

    def codes_of_warped(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Codes ``[n, latent_dim]`` of the training signatures `index`, warped if the model warps its samples."""
        warp = self.model_config.warped
        return self.codes_of(self.warped_as_person(index, PERSON_WARPS, generator) if warp else self.ink(index))

    def warped_as_person(self, index: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]``, warped as signatures of one person differ: ``[n, 1, 128, 128]``.

        If the model stores signatures of people, the warps are those of its samples. Of a person with more signatures
        than are stored, the stored ones are taken.
        """
        if not (self.model_config.n_people and config.probability):
            return self.warped(index, config.times(self.warp_strength), generator)
        signatures, y = self.generator.signatures, self.train_set.labels[index]
        noise = torch.randn(len(y), signatures.numbers, device=y.device, generator=generator)
        return signatures(y, self.turn[index] % signatures.exemplars, noise, config.times(self.warp_strength))

    def codes_of_people(self, people: Tensor) -> Tensor:
        """A code ``[n, latent_dim]`` of each of the people with indices `people` ``[n]``."""
        return self.codes_of(self.ink(self.order[self.begin[people]]))

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
            best=self.best,
        )

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg, n = self.model_config, len(index)
        factor = cosine(progress, self.config.rate_end)
        for optimizer, rate in ((self.optimizer_g, cfg.learning_rate_g), (self.optimizer_d, cfg.learning_rate_d)):
            optimizer.param_groups[0]["lr"] = rate * factor
        # G and D get codes of different signatures of the person: drawn from D's code, a generated signature would be
        # recognised by lying nearer to it than a genuine one
        y, drawn = self.others(index, generator), self.codes_of_warped(index, generator)
        real = self.genuine(index, generator)
        z = torch.randn(n, cfg.latent_dim, device=self.device, generator=generator)
        given = real[n - n // 2 :] if cfg.reconstruction_weight else None  # half of the batch is reconstructed
        with self.autocast():
            known = None if given is None else self.codes_of(given)
            fake = self.wrapped_g(z, drawn, known)  # [N, 1, 128, 128]
        reconstruction = None
        if given is not None:
            fake, logits = fake
            reconstruction = gan.reconstruction_loss(logits, given)
        fake = fake.float()
        if self.config.shift:
            real, fake = (shift(x, self.config.shift, generator) for x in (real, fake))
        d = self.update_discriminator(real, fake.detach(), y, progress, generator)
        extra = None if reconstruction is None else cfg.reconstruction_weight * reconstruction
        g, norm = self.update_generator(fake, d["real"], y, extra)
        self.ema.update(self.generator, (self.steps_done + 1) * self.batch, self.batch)
        out = dict(loss=d["loss"] + g["loss"], d_loss=d["loss"], g_loss=g["loss"], gap=d["gap"], g_gradient_norm=norm)
        out |= {name: d[name] for name in ("r1", "r2") if name in d}
        return out if reconstruction is None else out | dict(reconstruction=reconstruction)

    def genuine(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """What D is shown of the training signatures `index` ``[n]``: ``[n, 1, 128, 128]``.

        They are warped as binary ink and then drawn with anti-aliased edges, like generated ones. A discriminator would
        recognise staircases, and the blurred edges of a resampled picture.
        """
        return pen(self.warped_as_person(index, self.config.augment, generator))

    @torch.no_grad()
    def codes_of(self, x: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` of ink ``[n, 1, 128, 128]``, by an encoder that is not trained here."""
        with self.autocast():
            return (self.generator.encode(x) if self.start is None else self.start.encode(x)[0]).float()

    def update_discriminator(self, real, fake, y, progress, generator) -> dict[str, Tensor]:
        penalty = gan.penalty_at(progress, self.model_config)
        with self.autocast():
            parts = gan.d_step(self.wrapped_d, real, fake, y, self.model_config, penalty, generator)
        self.descend(self.optimizer_d, parts["loss"])
        return parts

    def update_generator(self, fake, real_logits, y, extra_loss=None) -> tuple[dict[str, Tensor], Tensor]:
        self.discriminator.requires_grad_(False)  # its weights' gradients would be thrown away
        with self.autocast():
            parts = gan.g_step(self.discriminator, fake, real_logits, y)
        self.descend(self.optimizer_g, parts["loss"] if extra_loss is None else parts["loss"] + extra_loss)
        norm = self.finite(gradient_norm(self.generator))
        self.scaler.update()
        self.discriminator.requires_grad_(True)
        return parts, norm

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of an optimiser down a loss."""
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        self.scaler.step(optimizer)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Mean logit of training, held-out and generated signatures; a gap between the first two is overfitting.

        With `TrainConfig.watch` also the Fréchet ``distance`` of generated from training signatures, the ``coverage``
        and, with `keep_best`, the step ``kept`` so far.
        """
        out = {}
        with self.autocast():
            for name, part in dict(train_logit=self.train_set, test_logit=self.test_set).items():
                first = torch.arange(min(len(part), 64), device=self.device)
                part = part.subset(first)
                y = self.check_codes(name, part, first)
                out[name] = self.discriminator(self.shown(part.x), y).float().mean().item()
            x = self.fixed_samples()
            out["fake_logit"] = self.discriminator(x, self.fixed_y).float().mean().item()
            if self.selection:
                out |= self.selection.measure(self.drawn)
            if self.selection and self.config.keep_best and self.share >= self.config.keep_from:
                self.best.offer(out["distance"], self.steps_done, self.ema.model)
                out["kept"] = self.best.step
        return out | dict(fake_ink=x.clamp(0, 1).mean().item(), fake_spread=x.std(0).mean().item())

    def check_codes(self, name: str, part: SignatureSet, first: Tensor) -> Tensor:
        """Codes of the people of `part`; of training signatures another one's of the same person, as in a step."""
        return (
            self.codes_of(self.ink(self.another(first))) if name == "train_logit" else self.codes_of_people(part.labels)
        )

    def shown(self, x: Tensor) -> Tensor:
        """Genuine ink ``[N, 1, 128, 128]`` as D sees it in a check."""
        return render(x)

    def drawn(self, n: int) -> Tensor:
        """`n` signatures ``[n, 1, 128, 128]`` of all people in turn, from fixed noise."""
        y = torch.arange(n) % self.data.n_people
        z = self.ema.model.noise(n, y, torch.Generator().manual_seed(self.config.seed)).to(self.device)
        y = y.to(self.device) if self.model_config.n_people else self.codes_of_people(y.to(self.device))
        return torch.cat(
            [self.ema.model.ink_probability(z[k : k + 64], y[k : k + 64]).float() for k in range(0, n, 64)]
        )

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Signatures of fixed noise by the averaged generator."""
        with self.autocast():
            return self.ema.model(self.fixed_z, self.fixed_y).float()

    def finish(self) -> None:
        """The best weights become the result; the last ones of a GAN are not always the best."""
        if self.best.weights:
            self.ema.model.load_state_dict(self.best.weights)


class _Selection:
    """Distance and coverage of generated signatures during a training, against training signatures.

    By the feature extractor of notebook 04. The project's own one ignores the width of strokes, which a GAN improves
    first. Because the best check is chosen by this extractor, models are also scored by the other one.
    """

    def __init__(self, train_set: SignatureSet):
        from .. import metrics  # scores are heavy to import, and a VAE needs none

        self.metrics, self.extractor = metrics, metrics.FeatureExtractor(train_set.device)
        n = min(SELECTED, len(train_set))
        part = train_set.subset(torch.randperm(len(train_set), generator=torch.Generator().manual_seed(0))[:n])
        self.real = self.extractor.features(render(part.x))

    def measure(self, draw: Callable[[int], Tensor]) -> dict[str, float]:
        """Fréchet ``distance`` and ``coverage`` of generated against as many training signatures; `draw(n)` makes n."""
        x = render(draw(len(self.real)))
        with torch.autocast(x.device.type, enabled=False):
            fake = self.extractor.features(x)
        overlap = self.metrics.prdc(self.real, fake, min(5, len(fake) - 1))
        return dict(distance=float(self.metrics.frechet_distance(self.real, fake)), coverage=overlap["coverage"])
