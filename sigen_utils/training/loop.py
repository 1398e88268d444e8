"""The training loop: one loop for every model, resumable, on one device or many.

Every random number of step k is drawn from a generator seeded by (seed, rank, k), so a run that was killed goes
on exactly as if it had not been. Nothing in a loop waits for the device except the log line.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .. import paths
from ..augment import AugmentConfig, augment, move_ink, soften_all
from ..data import SignatureSet, batch_index
from ..device import pick_device, precision
from ..models import vae
from . import checkpoint
from .averaging import Average
from .progress import Budget, Means, Moments, Progress, step_generator

CHECKED = 512  # held-out signatures that a check looks at; more would slow a training down
CHECKING = 0.25  # of a budget in minutes: the most that checks may take, between the first and the last


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
    @property
    def n_items(self) -> int:
        """How many things an epoch goes through; `step` gets indices of them."""
        return len(self.train_set)

    def remember_class(self, folder: checkpoint.RunFolder) -> None:
        """Keep what tells this class from others, so that a stored model is not shown beside another class."""
        checkpoint.save_tensors(folder.path / "class.safetensors", dict(thumbnails=self.data.thumbnails()))

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

    def save(self, folder: checkpoint.RunFolder, seconds: float, done: bool) -> None:
        parts = {name: part.state_dict() for name, part in (self.stateful() | dict(means=self.means)).items()}
        folder.save(
            self.average.model.state_dict(), dict(step=self.steps_done, seconds=seconds, done=done, parts=parts)
        )

    def restore(self, state: dict) -> None:
        self.steps_done = state["step"]
        for name, part in (self.stateful() | dict(means=self.means)).items():
            part.load_state_dict(state["parts"][name])

    def fit(
        self, folder: checkpoint.RunFolder, budget: Budget, show: bool, on_check: Callable[[dict], None] | None = None
    ) -> None:
        """Step until the budget is used up, logging, checking and saving on the way."""
        cfg, means = self.config, self.means
        bar = Progress(f"{self.kind} {folder.path.name}", show and self.rank == 0)
        share = budget.progress(self.steps_done, self.device)
        checks, shots = Moments(cfg.checks, share, self.steps_done), Moments(cfg.snapshots, share, self.steps_done)
        first, began, saved, checking = self.steps_done, budget.seconds, time.monotonic(), 0.0
        while share < 1:
            index = batch_index(self.n_items, cfg.batch_size, self.steps_done, cfg.seed, self.rank, self.world)
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
    def refuse_divergence(record: dict, folder: checkpoint.RunFolder) -> None:
        """Stop with a clear word when a loss is no number any more; the last checkpoint stays good."""
        if not math.isfinite(record["loss"]):
            raise FloatingPointError(
                f"{folder.path}: the loss is {record['loss']} at step {record['step']}; lower the learning rate"
            )


def fit(
    trainer_class: type[Trainer],
    data: SignatureSet,
    model_config,
    run_dir: str | Path,
    steps: int | None = None,
    minutes: float | None = None,
    train: TrainConfig = TrainConfig(),
    start: checkpoint.Run | checkpoint.Pretrained | None = None,
    resume: bool = True,
    restart: bool = False,
    progress: bool = True,
    device: str | torch.device | None = None,
    on_check: Callable[[dict], None] | None = None,
) -> checkpoint.Run:
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
        `checkpoint.Pretrained` networks. None for random weights.
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
    folder = checkpoint.RunFolder(run_dir)
    with process_group(device) as (rank, world):
        described = checkpoint.config_dict(
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
                trainer.remember_class(folder)
            budget = Budget(steps, minutes, state["seconds"] if state else 0.0)
            trainer.fit(folder, budget, progress, on_check)
        if rank == 0:
            folder.finish()
        if world > 1:
            dist.barrier()
    return checkpoint.load_run(run_dir, device)


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


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[tuple[int, int]]:
    """(rank, world size), joining the group that ``torchrun`` has set up, if any."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()
