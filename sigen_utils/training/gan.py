"""Training of the GAN: one discriminator and one generator update a step.

Reference: Huang et al. 2024 (rates and schedules).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..augment import PERSON_MOVES, AugmentConfig, shift
from ..data import SignatureSet
from ..models import gan, people, vae
from ..models.layers import gradient_norm
from ..render import pen, render
from .averaging import Average, Best
from .loop import Trainer
from .progress import cosine

SELECTED = 256  # training signatures, and as many samples, by whose distance a GAN's moment is chosen


class GANTrainer(Trainer):
    """One discriminator and one generator update a step, on the same generated signatures."""

    kind = "gan"

    def build(self) -> None:
        cfg = self.model_config
        self.generator, self.discriminator = gan.Generator(cfg), gan.Discriminator(cfg)
        self.by_codes = cfg.by_codes
        if cfg.people_by == "thumbnails":
            self.generator.signatures.remember(self.train_set.images, self.train_set.labels)
        if self.start is not None:
            if cfg.people_by != "codes":
                raise ValueError("a VAE to start from tells people by codes: people_by='codes', or --alone without it")
            self.start = self.start.to(self.device)
            if cfg.n_people and not self.start.config.n_people:  # pretrained networks meet the class
                train = self.train_set
                self.start = vae.meet(self.start, train.images, train.labels, cfg.n_people, cfg.exemplars, cfg.moved)
            self.generator.start_from(self.start)
        elif cfg.people_by == "codes":
            raise ValueError("people_by='codes' needs a VAE to start from, whose encoder gives the codes")
        self.reach = float(self.generator.signatures.reach) if cfg.remembers else 1.0  # of moves, for these people
        if self.judge is not None:
            self.discriminator.load_state_dict(self.judge)
        self.generator, self.discriminator = self.place(self.generator), self.place(self.discriminator)
        if self.by_codes:
            self.sort_people()
        self.wrapped_g, self.wrapped_d = self.distribute(self.generator), self.distribute(self.discriminator)
        self.ema = Average(self.generator, cfg.ema_images)
        settings = dict(betas=cfg.adam_betas, fused=True)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), cfg.learning_rate_g, **settings)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), cfg.learning_rate_d, **settings)
        self.best, self.selection = Best(), _Selection(self.train_set) if self.config.watch else None
        noise = torch.Generator().manual_seed(self.config.seed)
        self.fixed_z = torch.randn(self.config.n_fixed, cfg.noise_dim, generator=noise).to(self.device)
        self.fixed_y = None
        if cfg.conditional:
            self.fixed_y = self.who((torch.arange(self.config.n_fixed) // 2 % self.data.n_people).to(self.device))

    def sort_people(self) -> None:
        """The training signatures writer by writer, as `order`, with where each writer's begin, and their count."""
        y = self.train_set.labels
        self.order, self.count = y.argsort(stable=True), y.bincount(minlength=self.data.n_people)
        self.begin = self.count.cumsum(0) - self.count
        self.turn = people.occurrence(y)

    def others(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """For the training signatures `index` ``[n]`` the code of another one of the same person, ``[n, latent_dim]``.

        A discriminator that was shown a signature beside its own code would take every new one for a forgery, and the
        generator would learn to copy. Whoever has one signature only is described by that.
        """
        y = self.train_set.labels[index]
        step = torch.randint(1 << 30, y.shape, device=self.device, generator=generator)
        return self.moved_codes(self.another(index, step), generator)

    def another(self, index: Tensor, step: Tensor | int = 0) -> Tensor:
        """For the training signatures `index` ``[n]`` the index of another one of the same person, ``[n]``."""
        y = self.train_set.labels[index]
        turn = (self.turn[index] + 1 + step % (self.count[y] - 1).clamp(min=1)) % self.count[y]
        return self.order[self.begin[y] + turn]

    def moved_codes(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Codes ``[n, latent_dim]`` of the training signatures `index`, moved anew where the model does that."""
        return self.codes_of(
            self.varied(index, PERSON_MOVES, generator) if self.model_config.moved else self.ink(index)
        )

    def varied(self, index: Tensor, moves: AugmentConfig, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]``, moved as far as their people's differ: ``[n, 1, 128, 128]``.

        Where people are remembered, also towards others of the person, as those that samples begin with are; of who
        has more signatures than are remembered, these are taken.
        """
        if not (self.model_config.remembers and moves.probability):
            return self.moved(index, moves.times(self.reach), generator)
        signatures, y = self.generator.signatures, self.train_set.labels[index]
        noise = torch.randn(len(y), signatures.numbers, device=y.device, generator=generator)
        return signatures(y, self.turn[index] % signatures.exemplars, noise, moves.times(self.reach))

    def who(self, people: Tensor) -> Tensor:
        """What the networks are told of people with indices `people` ``[n]``: these, or a code of each."""
        if not self.by_codes:
            return people
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
        factor = cosine(progress, self.config.rate_end) if cfg.recipe == "stable" else 1.0
        for optimizer, rate in ((self.optimizer_g, cfg.learning_rate_g), (self.optimizer_d, cfg.learning_rate_d)):
            optimizer.param_groups[0]["lr"] = rate * factor
        if cfg.recipe == "stable" and cfg.g_warmup:
            self.optimizer_g.param_groups[0]["lr"] *= min(1.0, (progress + 1e-3) / cfg.g_warmup)
        strength, finish = gan.label_strength_at(progress, cfg), gan.render_strength_at(progress, cfg)
        y = drawn = self.train_set.labels[index] if cfg.conditional else None
        if self.by_codes:
            # Drawn from the genuine signature it is paired with, not from what D is told of the person: by lying
            # nearer to that than genuine ones do it would give itself away, and likeness would be held against G
            y, drawn = self.others(index, generator), self.moved_codes(index, generator)
        real = self.genuine(index, generator)
        z = torch.randn(n, cfg.latent_dim if self.by_codes else cfg.noise_dim, device=self.device, generator=generator)
        given = real[n - n // 2 :] if cfg.fidelity else None  # half of the batch is redrawn from codes
        with self.autocast():
            known = None if given is None else self.codes_of(given)
            fake = self.wrapped_g(z, drawn, strength, known, finish)  # [N, 1, 128, 128]
        redraw = None
        if given is not None:
            fake, logits = fake
            redraw = gan.redraw_loss(logits, given)
        fake = fake.float()
        if self.config.shift:
            real, fake = (shift(x, self.config.shift, generator) for x in (real, fake))
        d = self.update_discriminator(real, fake.detach(), y, strength, progress, generator)
        anchor = None if redraw is None else cfg.fidelity * redraw
        g, norm = self.update_generator(fake, d["real"], y, strength, anchor)
        self.ema.update(self.generator, (self.steps_done + 1) * self.batch, self.batch)
        out = dict(loss=d["loss"] + g["loss"], d_loss=d["loss"], g_loss=g["loss"], gap=d["gap"], g_gradient_norm=norm)
        out |= {name: d[name] for name in ("r1", "r2") if name in d}
        return out if redraw is None else out | dict(redraw=redraw)

    def genuine(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """What D is shown of the training signatures `index` ``[n]``: ``[n, 1, 128, 128]``.

        A resampled picture would be told by its blurred edges, so ink is moved as ink and then drawn with a pen's
        edges, as whatever is generated is. The reports moved pictures.
        """
        if self.model_config.recipe == "report":
            return self.pictures_moved(index, self.config.reals, generator)
        # Anti-aliased: a staircase edge is something no generator draws and any discriminator sees
        if self.model_config.moves_drawn:  # as what is drawn is
            return pen(self.moved(index, PERSON_MOVES.times(self.model_config.moves), generator))
        return pen(self.varied(index, self.config.reals, generator))

    @torch.no_grad()
    def codes_of(self, x: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` of ink ``[n, 1, 128, 128]``, by what is not trained here."""
        with self.autocast():
            return (self.generator.encode(x) if self.start is None else self.start.encode(x)[0]).float()

    def update_discriminator(self, real, fake, y, strength, progress, generator) -> dict[str, Tensor]:
        cfg = self.model_config
        penalty = 0.0
        if cfg.penalty and self.steps_done % cfg.penalty_every == 0:
            penalty = cfg.penalty_every * gan.penalty_at(progress, cfg)
        with self.autocast():
            parts = gan.d_step(self.wrapped_d, real, fake, y, cfg, strength, penalty, generator)
        self.optimizer_d.zero_grad(set_to_none=True)
        self.scaler.scale(parts["loss"]).backward()
        self.scaler.step(self.optimizer_d)
        return parts

    def update_generator(self, fake, real_logits, y, strength, anchor=None) -> tuple[dict[str, Tensor], Tensor]:
        self.discriminator.requires_grad_(False)  # its weights' gradients would be thrown away
        with self.autocast():
            parts = gan.g_step(self.discriminator, fake, real_logits, y, self.model_config, strength)
        loss = parts["loss"] if anchor is None else parts["loss"] + anchor
        self.optimizer_g.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer_g)
        norm = self.taken(gradient_norm(self.generator))
        self.scaler.step(self.optimizer_g)
        self.scaler.update()
        self.discriminator.requires_grad_(True)
        return parts, norm

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Mean logit of training, held-out and generated signatures: a gap between the first two is overfitting.

        With `TrainConfig.watch` also the ``distance`` of generated signatures from the training ones, their
        ``coverage`` of them and, with `keep_best`, the step ``kept`` so far.
        """
        cfg, out = self.model_config, {}
        sets = dict(train_logit=self.train_set, test_logit=self.test_set)
        with self.autocast():
            for name, part in sets.items():
                first = torch.arange(min(len(part), 64), device=self.device)
                part = part.subset(first)
                x = part.x if cfg.recipe == "report" else render(part.x)
                y = self.who(part.labels) if cfg.conditional else None
                if self.by_codes and name == "train_logit":  # nor is it shown beside its own code in a step
                    y = self.codes_of(self.ink(self.another(first)))
                out[name] = self.discriminator(x, y).float().mean().item()
            x = self.fixed_samples()
            out["fake_logit"] = self.discriminator(x, self.fixed_y).float().mean().item()
            if self.selection:
                out |= self.selection.measure(self.drawn)
            if self.selection and self.config.keep_best and self.share >= self.config.keep_from:
                self.best.offer(out["distance"], self.steps_done, self.ema.model)
                out["kept"] = self.best.step
        return out | dict(fake_ink=x.clamp(0, 1).mean().item(), fake_spread=x.std(0).mean().item())

    def drawn(self, n: int) -> Tensor:
        """`n` signatures ``[n, 1, 128, 128]`` of the people in turn, always of the same noise."""
        cfg = self.model_config
        y = torch.arange(n) % self.data.n_people if cfg.conditional else None
        z = self.ema.model.noise(n, y, torch.Generator().manual_seed(self.config.seed)).to(self.device)
        if y is not None:
            y = y.to(self.device) if cfg.n_people else self.who(y.to(self.device))
        some = range(0, n, 64)
        draw = self.ema.model.guess
        return torch.cat([draw(z[k : k + 64], None if y is None else y[k : k + 64]).float() for k in some])

    @torch.inference_mode()
    def fixed_samples(self) -> Tensor:
        """Signatures of the fixed noise, by the averaged generator."""
        with self.autocast():
            finish = gan.render_strength_at(self.share, self.model_config)
            return self.ema.model(self.fixed_z, self.fixed_y, render_strength=finish).float()

    def finish(self) -> None:
        """The kept weights become the result: the last move of a game is not always its best."""
        if self.best.weights:
            self.ema.model.load_state_dict(self.best.weights)


class _Selection:
    """Distance of generated from training signatures, and coverage, during a training, by the ruler that scores models.

    The project's own ruler will not do: it was trained to look past the width of strokes, which is what the game mends
    first. As a choice made by a score is no longer judged by it alone, scores are also given in the other ruler. The
    held-out signatures are not looked at.
    """

    def __init__(self, train_set: SignatureSet):
        from .. import metrics  # scores are heavy to import, and a VAE needs none

        self.metrics, self.ruler = metrics, metrics.Ruler(train_set.device)
        n = min(SELECTED, len(train_set))
        part = train_set.subset(torch.randperm(len(train_set), generator=torch.Generator().manual_seed(0))[:n])
        self.real = self.ruler.features(render(part.x))

    def measure(self, draw: Callable[[int], Tensor]) -> dict[str, float]:
        """Fréchet ``distance`` and ``coverage`` of generated against as many training signatures; `draw` gives them."""
        x = render(draw(len(self.real)))
        with torch.autocast(x.device.type, enabled=False):
            fake = self.ruler.features(x)
        overlap = self.metrics.prdc(self.real, fake, min(5, len(fake) - 1))
        return dict(distance=float(self.metrics.frechet_distance(self.real, fake)), coverage=overlap["coverage"])
