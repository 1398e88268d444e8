"""Training of the VAE and the GAN: one loop, two trainers, resumable, on one device or many.

Every random number of step k is drawn from a generator seeded by (seed, rank, k), so a run that was killed goes
on exactly as if it had not been. Nothing in a loop waits for the device except the log line.

References: Loshchilov & Hutter 2019 (AdamW); Huang et al. 2024 (rates and schedules of the GAN).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from . import embedding, gan, paths, people, runs, vae
from .blocks import PLACES, gradient_norm
from .data import SignatureSet, batch_index
from .loop import (
    Average,
    Best,
    Budget,
    Means,
    Moments,
    Progress,
    cosine,
    pick_device,
    precision,
    process_group,
    step_generator,
)
from .moves import PERSON_MOVES, AugmentConfig, augment, move_ink, shift, soften_all
from .rendering import pen, render

CHECKED = 512  # held-out signatures that a check looks at; more would slow a training down
CHECKING = 0.25  # of a budget in minutes: the most that checks may take, between the first and the last
SELECTED = 256  # training signatures, and as many samples, by whose distance a GAN's moment is chosen


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained, whatever the model."""

    batch_size: int = 32  # signatures a step and process
    seed: int = 0
    learning_rate: float = 2e-3  # the VAE's; a GAN's two rates stand in `GANConfig`
    rate_end: float = 0.05  # share of the learning rate left at the end (cosine)
    ema_images: float = 5_000.0  # images over which the averaged VAE forgets half
    noise: float = 0.1  # standard deviation of the noise on what a VAE's encoder sees
    log_every: int = 20  # steps
    checks: int = 20  # times a run is scored on the held-out signatures
    snapshots: int = 6  # times the fixed samples are kept
    n_fixed: int = 16  # fixed samples
    watch: bool = True  # measure at each check how far a GAN's samples lie from the training signatures, and ...
    keep_best: bool = True  # ... keep the weights of the check at which they lay nearest, not the last ones, ...
    keep_from: float = 0.5  # ... of those after this share of the training: at first a warm start is still what it was
    checkpoint_seconds: float = 60.0
    reals: AugmentConfig = field(default_factory=AugmentConfig)  # what training signatures go through; if
    # a GAN moves what it draws they are moved as that is, by `GANConfig.moves`
    shift: int = 0  # pixels by which both sides of a game are shifted before D sees them

    def __post_init__(self):
        if isinstance(self.reals, dict):  # when read back from config.json
            object.__setattr__(self, "reals", AugmentConfig(**self.reals))


class Trainer:
    """What both loops share; a subclass defines one step, the held-out check and the fixed samples."""

    kind = ""

    def __init__(
        self,
        data: SignatureSet,
        model_config,
        config: TrainConfig,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        start: vae.VAE | None = None,
        judge: dict[str, Tensor] | None = None,
    ):
        self.config, self.model_config = config, model_config
        self.device, self.rank, self.world = device, rank, world
        self.dtype = precision(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.data = data.to(device)
        self.train_set, self.test_set = self.data.train, self.data.test
        self.batch = config.batch_size * world  # signatures a step, all processes together
        self.steps_done, self.share = 0, 0.0  # share of the budget that is used up
        self.means = Means()
        self.start, self.judge = start, judge
        torch.manual_seed(config.seed)  # the weights' start; everything later has its own generator
        self.build()

    # -- for subclasses
    def build(self) -> None: ...
    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]: ...
    def check(self) -> dict[str, float]: ...
    def fixed_samples(self) -> Tensor: ...
    def finish(self) -> None: ...
    def stateful(self) -> dict[str, object]: ...

    @property
    def average(self) -> Average: ...

    # -- shared
    def ink(self, index: Tensor) -> Tensor:
        """The training signatures `index` ``[n]``, ink ``[n, 1, 128, 128]`` in [0, 1]."""
        return self.train_set.images[index][:, None].float() / 255

    @functools.cached_property
    def soft(self) -> Tensor | None:
        """`soften_all` of the training signatures, ``[N, 1, 128, 128]`` or None."""
        return soften_all(self.ink, len(self.train_set))

    def moved(self, index: Tensor, moves: AugmentConfig, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]`` as ink ``[n, 1, 128, 128]``, moved by `move_ink`."""
        soft = None if self.soft is None else self.soft[index]
        return move_ink(self.ink(index), moves, generator, soft=soft) if moves.probability else self.ink(index)

    def pictures_moved(self, index: Tensor, moves: AugmentConfig, generator: torch.Generator) -> Tensor:
        """The same as grey pictures ``[n, 1, 128, 128]``, turned, cropped and made noisy as the reports did."""
        return augment(self.ink(index), moves, generator)

    def taken(self, norm: Tensor) -> Tensor:
        """A gradient's norm; 0 for a step that half precision overflowed in, which the scaler leaves out."""
        return norm.nan_to_num(0.0, 0.0) if self.scaler.is_enabled() else norm

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on its device, in the memory layout that convolutions like."""
        return model.to(self.device, memory_format=torch.channels_last)

    def distribute(self, model: nn.Module) -> nn.Module:
        """The same model with gradients averaged over the processes, if there are several."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def save(self, folder: runs.RunFolder, seconds: float, done: bool) -> None:
        parts = {name: part.state_dict() for name, part in (self.stateful() | dict(means=self.means)).items()}
        folder.save(
            self.average.model.state_dict(), dict(step=self.steps_done, seconds=seconds, done=done, parts=parts)
        )

    def restore(self, state: dict) -> None:
        self.steps_done = state["step"]
        for name, part in (self.stateful() | dict(means=self.means)).items():
            part.load_state_dict(state["parts"][name])

    def fit(
        self, folder: runs.RunFolder, budget: Budget, show: bool, on_check: Callable[[dict], None] | None = None
    ) -> None:
        """Step until the budget is used up, logging, checking and saving on the way."""
        cfg, means = self.config, self.means
        bar = Progress(f"{self.kind} {folder.path.name}", show and self.rank == 0)
        share = budget.progress(self.steps_done, self.device)
        checks, shots = Moments(cfg.checks, share, self.steps_done), Moments(cfg.snapshots, share, self.steps_done)
        first, began, saved, checking = self.steps_done, budget.seconds, time.monotonic(), 0.0
        while share < 1:
            index = batch_index(len(self.train_set), cfg.batch_size, self.steps_done, cfg.seed, self.rank, self.world)
            generator = step_generator(cfg.seed, self.rank, self.steps_done, self.device)
            means.add(**self.step(index.to(self.device), share, generator))
            self.steps_done += 1
            share = budget.progress(self.steps_done, self.device)
            if self.rank:
                continue
            self.share = share
            checked, spare = {}, share == 1 or budget.steps or checking <= CHECKING * (budget.seconds - began)
            if checks.due(share) and spare:  # a moment without time to spare passes
                before = budget.seconds
                checked = self.check()
                checking += budget.seconds - before
            if checked and on_check:
                on_check(checked)
            if shots.due(share):
                folder.save_samples(self.steps_done, self.fixed_samples())
            if checked or self.steps_done % cfg.log_every == 0 or share >= 1:
                seconds = budget.seconds
                record = dict(step=self.steps_done, images=self.steps_done * self.batch, seconds=round(seconds, 3))
                record |= means.read() | checked
                self.refuse_divergence(record, folder)
                folder.log(record)
                speed = (self.steps_done - first) * self.batch / max(seconds - began, 1e-9)
                bar.update(share, f"step {self.steps_done}  loss {record['loss']:.3f}  {speed:.0f} images/s")
            if time.monotonic() - saved > cfg.checkpoint_seconds and share < 1:
                self.save(folder, budget.seconds, done=False)
                saved = time.monotonic()
        bar.close()
        self.finish()
        if self.rank == 0:
            self.save(folder, budget.seconds, done=True)

    @staticmethod
    def refuse_divergence(record: dict, folder: runs.RunFolder) -> None:
        """Stop with a clear word when a loss is no number any more; the last checkpoint stays good."""
        if not math.isfinite(record["loss"]):
            raise FloatingPointError(
                f"{folder.path}: the loss is {record['loss']} at step {record['step']}; lower the learning rate"
            )


# ------------------------------------------------------------------------------------------------ the VAE


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


# ------------------------------------------------------------------------------------------------ the GAN


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
        from . import metrics  # scores are heavy to import, and a VAE needs none

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


# ---------------------------------------------------------------------------------------------- the ruler


class EmbeddingTrainer(Trainer):
    """AdamW on the supervised contrastive loss: a batch is some signatures of each of some writers."""

    kind = "ruler"

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

    def look(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]`` as the network sees them: moved, bent, bolder or thinner."""
        x = augment(self.ink(index), self.config.reals, generator)
        return embedding.vary_width(x, *self.model_config.width_range, generator)

    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        cfg, each = self.config, self.model_config.per_writer
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.learning_rate * cosine(progress, cfg.rate_end)
        writers = self.train_set.labels[index[: len(index) // each]]
        first = torch.randint(1 << 30, writers.shape, device=self.device, generator=generator)
        turn = first[:, None] + torch.arange(each, device=self.device)  # neighbours in a circle: all different
        chosen = self.order[self.begin[writers, None] + turn % self.count[writers, None]].flatten()
        with self.autocast():
            e = self.wrapped(self.look(chosen, generator))
        loss = embedding.contrastive_loss(e, self.train_set.labels[chosen], self.model_config.temperature)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model, (self.steps_done + 1) * self.batch, self.batch)
        return dict(loss=loss)

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Share of held-out signatures of some writers that lie nearest to a training signature of their writer."""
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
        return self.look(index, torch.Generator(self.device).manual_seed(0))

    def finish(self) -> None:
        """Nothing is fitted after the training."""


# ------------------------------------------------------------------------------------------- entry points


def fit(
    trainer_class: type[Trainer],
    data: SignatureSet,
    model_config,
    run_dir: str | Path,
    steps: int | None = None,
    minutes: float | None = None,
    train: TrainConfig = TrainConfig(),
    start: runs.Run | runs.Pretrained | None = None,
    resume: bool = True,
    restart: bool = False,
    progress: bool = True,
    device: str | torch.device | None = None,
    on_check: Callable[[dict], None] | None = None,
) -> runs.Run:
    """Train a model, or go on where a killed training stopped, or just load it when it is complete.

    Parameters
    ----------
    trainer_class
        `VAETrainer` or `GANTrainer`.
    data
        The whole signature set; its held-out side is only looked at.
    model_config
        A `VAEConfig` or `GANConfig`.
    run_dir
        Folder of the run.
    steps, minutes
        The budget, one of the two. Minutes count over all sessions of a resumed run.
    train
        How to train.
    start
        A VAE run that a VAE goes on from, or whose sampler of people a GAN's generator begins as; or the
        `runs.Pretrained` networks. None for random weights.
    resume
        Go on in a folder that holds the same run; without it such a folder is an error.
    restart
        Move a run of another configuration aside instead of raising.
    progress
        Show a bar, or a line every half minute where there is no terminal.
    device
        Default: CUDA, else CPU.
    on_check
        Called with every `Trainer.check`; what it raises ends the training.

    Raises
    ------
    RunError, FloatingPointError
        See `RunFolder.begin`; a loss that is no number.
    """
    device = torch.device(device) if device else pick_device()
    folder = runs.RunFolder(run_dir)
    with process_group(device) as (rank, world):
        described = runs.config_dict(
            trainer_class.kind, model_config, train, data, dict(steps=steps, minutes=minutes, world=world)
        )
        if start is not None:
            described["start"] = start.fingerprint()
        state = _begin_together(folder, described, resume, restart, rank, world)
        if not (state and state["done"]):
            begin = (start.model, start.judge) if start else (None, None)
            trainer = trainer_class(data, model_config, train, device, rank, world, *begin)
            if state:
                trainer.restore(state)
            elif rank == 0:
                runs.save_tensors(folder.path / "class.safetensors", dict(thumbnails=data.thumbnails()))
            budget = Budget(steps, minutes, state["seconds"] if state else 0.0)
            trainer.fit(folder, budget, progress, on_check)
        if rank == 0:
            folder.finish()
        if world > 1:
            dist.barrier()
    return runs.load_run(run_dir, device)


def _begin_together(folder, described, resume, restart, rank, world) -> dict | None:
    """`RunFolder.begin` by the first process; the others then read what it left."""
    state = None
    if rank == 0:
        paths.sweep(folder.path)
        state = folder.begin(described, resume, restart)
    if world > 1:
        dist.barrier()
        if rank:
            state = folder.begin(described, True, False)
        dist.barrier()
    return state


# How the student reports trained: fixed rates, batch 64, rotation and resized crop, Gaussian noise on the images
REPORT_AUGMENT = AugmentConfig(shear=0.0, elastic=0.0, noise=0.1)
VAE_REPORT = TrainConfig(batch_size=64, learning_rate=1e-5, ema_images=1.0, noise=0.0, reals=REPORT_AUGMENT)
GAN_REPORT = TrainConfig(batch_size=64, checks=8, keep_best=False, reals=REPORT_AUGMENT)


# From random weights; both sides are moved alike, and anew for each batch, or D would know the class by heart. Batches
# are small: a game is played in turns
GAN_ALONE = TrainConfig(batch_size=16, shift=6, reals=PERSON_MOVES)


# Networks that know signatures only have to meet a class. Moved ink has not quite the edges of a pen's: it keeps a VAE
# from learning the class by heart, and where it is all that the decoder is asked for, its edges are what is drawn
VAE_ON = TrainConfig(learning_rate=5e-4, reals=AugmentConfig(probability=0.3))
GAN_ON = TrainConfig(batch_size=16, reals=AugmentConfig(probability=0.0))


def vae_from(start: runs.Run | runs.Pretrained | None, data: SignatureSet) -> tuple[vae.VAEConfig, TrainConfig]:
    """Configurations of our VAE for a class that goes on from `start`: no warm-up, it is warm."""
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data))
    if start is None:
        return vae.VAEConfig(latent_dim=64 + 4 * PLACES**2, detail=4, **people), TrainConfig()
    return replace(start.model.config, warmup=0.0, **people), VAE_ON


def gan_from(start: runs.Run | runs.Pretrained | None, data: SignatureSet) -> tuple[gan.GANConfig, TrainConfig]:
    """Configurations of our GAN for a class, a VAE-GAN that goes on from `start`; without one, `gan_alone_from`."""
    if start is None:
        return gan_alone_from(data)
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data))
    sizes = dict(embedding_dim=len(start.judge["describe.weight"])) if start.judge else {}
    return gan.GANConfig.starting_from(replace(start.model.config, **people), **sizes), GAN_ON


def gan_alone_from(data: SignatureSet) -> tuple[gan.GANConfig, TrainConfig]:
    """Configurations of a GAN for a class in which no VAE and no practice has part: both networks begin at random.

    A person is told by a thumbnail of one of the training signatures, moved; half of each batch is the redrawing of
    genuine ones from their own thumbnails (as Isola et al. 2017 pair a game with a loss on pixels), by which G finds
    in seconds where ink belongs, and the game is left with what such a loss cannot say: how strokes look.
    """
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data), people_by="thumbnails")
    sizes = dict(latent_dim=gan.Thumbnail.WHOLE**2 + 4 * PLACES**2, detail=4)
    game = dict(fidelity=0.01, penalty=0.2, penalty_end=0.1, penalty_every=1, render_fade=(0.0, 0.0), fade_in=0.0)
    return gan.GANConfig(**people, **sizes, **game, spread=0.02), GAN_ALONE


def most_of_a_person(data: SignatureSet) -> int:
    """Training signatures of the person who has most."""
    return int(data.train.labels.bincount().max())


def fit_vae(data: SignatureSet, config: vae.VAEConfig, run_dir: str | Path, **options) -> runs.Run:
    """Train a VAE; `options` and the result are those of `fit`."""
    options.setdefault("train", VAE_REPORT if config.architecture == "report" else TrainConfig())
    return fit(VAETrainer, data, config, run_dir, **options)


def fit_gan(data: SignatureSet, config: gan.GANConfig, run_dir: str | Path, **options) -> runs.Run:
    """Train a GAN; `options` and the result are those of `fit`."""
    options.setdefault("train", GAN_REPORT if config.recipe == "report" else GAN_ALONE)
    return fit(GANTrainer, data, config, run_dir, **options)


RULER = TrainConfig(
    batch_size=128,
    learning_rate=1e-3,
    ema_images=10_000.0,
    reals=AugmentConfig(rotation=8.0, scale=0.15, shear=0.15, translation=5.0, elastic=1.5),
)


def fit_ruler(data: SignatureSet, config: embedding.EmbeddingConfig, run_dir: str | Path, **options) -> runs.Run:
    """Train the project's own ruler, on a crowd; `options` and the result are those of `fit`."""
    options.setdefault("train", RULER)
    return fit(EmbeddingTrainer, data, config, run_dir, **options)
