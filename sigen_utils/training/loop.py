"""The training loop of every model: resumable, on one device or many.

Every random number of step k is drawn from a generator seeded by (seed, rank, k), so a run that was
killed continues exactly. Only the log line waits for the device.
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
from ..augment import AugmentConfig, soften_all, warp_ink
from ..data import SignatureSet, batch_index
from ..device import pick_device, precision
from ..locks import Interrupted, interruptible, locked
from ..synthesis import Corpus
from . import checkpoint
from .averaging import Average
from .progress import Budget, Means, Moments, Progress, step_generator

CHECKED = 512  # held-out signatures of a check; more would slow the training down
CHECKING = 0.25  # of a budget in minutes: the most that checks may take, besides the last one


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training that do not depend on the model."""

    batch_size: int = 32  # signatures a step and process
    seed: int = 0
    learning_rate: float = 2e-3  # a GAN's two rates are in `GANConfig`
    rate_end: float = 0.05  # share of the learning rate left at the end (cosine)
    ema_images: float = 5_000.0  # half-life of the averaged weights; a GAN's is in `GANConfig`
    log_every: int = 20  # steps
    checks: int = 20  # how often the held-out signatures are scored
    snapshots: int = 6  # how often the fixed samples are stored
    n_fixed: int = 16  # fixed samples
    checkpoint_seconds: float = 60.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # of the training signatures

    def __post_init__(self):
        if isinstance(self.augment, dict):  # when read back from config.json
            object.__setattr__(self, "augment", AugmentConfig(**self.augment))


class Trainer:
    """What all trainings share; a subclass defines one step, the held-out check and the fixed samples."""

    kind = ""
    signatures = 1  # of one item of a batch
    interrupted: Callable[[], bool] = bool  # whether Ctrl-C was pressed

    def __init__(
        self,
        data: SignatureSet,
        model_config,
        config: TrainConfig,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        start: nn.Module | None = None,
    ):
        self.config, self.model_config = config, model_config
        self.device, self.rank, self.world = device, rank, world
        self.dtype = precision(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.data = data.to(device)
        self.train_set, self.test_set = self.data.train, self.data.test
        self.batch = config.batch_size * world  # signatures a step, all processes together
        self.steps_done, self.share = 0, 0.0  # share of the budget used so far
        self.means = Means()
        self.start = start
        torch.manual_seed(config.seed)  # initial weights; everything later has its own generator
        self.build()

    # -- for subclasses
    def build(self) -> None: ...
    def step(self, index: Tensor, progress: float, generator: torch.Generator) -> dict[str, Tensor]: ...
    def check(self) -> dict[str, float]: ...
    def fixed_samples(self) -> Tensor: ...
    def stateful(self) -> dict[str, object]: ...

    @property
    def average(self) -> Average: ...

    # -- shared
    @property
    def n_items(self) -> int:
        """Items of an epoch; `step` gets indices of them."""
        return len(self.train_set)

    def finish(self) -> None:
        """What is done after the last step: nothing."""

    def ink(self, index: Tensor) -> Tensor:
        """The training signatures `index` ``[n]``, ink ``[n, 1, 128, 128]`` in [0, 1]."""
        if isinstance(self.train_set, Corpus):
            return self.train_set.ink(index, self.device)
        return self.train_set.images[index][:, None].float() / 255

    def held_out(self, n: int) -> Tensor:
        """The first `n` held-out signatures, or all of fewer, as ink ``[n, 1, 128, 128]``."""
        index = torch.arange(min(n, len(self.test_set)))
        if isinstance(self.test_set, Corpus):
            return self.test_set.ink(index, self.device)
        return self.test_set.images[index][:, None].float().to(self.device) / 255

    @functools.cached_property
    def soft(self) -> Tensor | None:
        """`soften_all` of the training signatures, ``[N, 1, 128, 128]`` or None."""
        return soften_all(self.ink, len(self.train_set))

    def warped(self, index: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
        """The training signatures `index` ``[n]`` as ink ``[n, 1, 128, 128]``, warped by `warp_ink`."""
        soft = None if self.soft is None else self.soft[index]
        return warp_ink(self.ink(index), config, generator, soft=soft) if config.probability else self.ink(index)

    def finite(self, norm: Tensor) -> Tensor:
        """A gradient's norm; 0 for a step that overflowed in half precision, which the scaler skips."""
        return norm.nan_to_num(0.0, 0.0) if self.scaler.is_enabled() else norm

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on its device, in the memory layout that is fastest for convolutions."""
        return model.to(self.device, memory_format=torch.channels_last)

    def distribute(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes of torchrun, if there are several."""
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
        """Train until the budget is used up; log, check and save on the way."""
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
            checked, spare = {}, share == 1 or budget.minutes is None or checking <= CHECKING * (budget.seconds - began)
            if checks.due(share) and spare:  # otherwise this check is skipped
                before = budget.seconds
                checked = self.check()
                checking += budget.seconds - before
            if shots.due(share):
                folder.save_samples(self.steps_done, self.fixed_samples())
            if checked or self.steps_done % cfg.log_every == 0 or share >= 1:
                seconds = budget.seconds
                record = dict(step=self.steps_done, images=self.steps_done * self.batch, seconds=round(seconds, 3))
                record |= means.read() | checked
                self.refuse_divergence(record, folder)
                folder.log(record)
                if checked and on_check:
                    on_check(record)
                speed = (self.steps_done - first) * self.batch / max(seconds - began, 1e-9)
                bar.update(share, f"step {self.steps_done}  loss {record['loss']:.3f}  {speed:.0f} images/s")
            stop = self.interrupted()
            if (stop or time.monotonic() - saved > cfg.checkpoint_seconds) and share < 1:
                self.save(folder, budget.seconds, done=False)
                saved = time.monotonic()
                if stop:
                    bar.close()
                    step = f"stopped and stored after step {self.steps_done}"
                    raise Interrupted(f"{folder.path}: {step}; go on with the same command and --resume")
        bar.close()
        self.finish()
        if self.rank == 0:
            self.save(folder, budget.seconds, done=True)

    @staticmethod
    def refuse_divergence(record: dict, folder: checkpoint.RunFolder) -> None:
        """Stop with an error when the loss is no finite number; the last checkpoint stays valid."""
        if not math.isfinite(record["loss"]):
            raise FloatingPointError(
                f"{folder.path}: the loss is {record['loss']} at step {record['step']}; lower the learning rate"
            )


def fit(
    trainer_class: type[Trainer],
    data: SignatureSet,
    model_config,
    run_dir: str | Path,
    steps: int,
    minutes: float | None = None,
    train: TrainConfig = TrainConfig(),
    start: checkpoint.Run | None = None,
    recipe: str | None = None,
    resume: bool = True,
    restart: bool = False,
    progress: bool = True,
    device: str | torch.device | None = None,
    on_check: Callable[[dict], None] | None = None,
) -> checkpoint.Run:
    """Train a model, continue a training that was killed, or load a finished one.

    Parameters
    ----------
    trainer_class
        For instance `training.vae.VAETrainer`.
    data
        The whole signature set; its held-out side is for checks only.
    model_config
        The configuration of the trainer's network.
    run_dir
        Folder of the run.
    steps
        Length of the training.
    minutes
        A limit, over all sessions of a resumed run. Schedules follow steps or minutes, whichever is further. A run that
        the limit cut short has ``finished: false`` in its config, and ``share``, its steps over those asked for.
    train
        How to train.
    start
        The run that the training continues from; None for random weights.
    recipe
        Its name, for the config.
    resume
        Whether to continue in a folder that holds the same run; if not, such a folder is an error.
    restart
        Whether to move a run of another configuration aside instead of raising.
    progress
        Whether to show a bar, or a line every half minute without a terminal.
    device
        Default: CUDA, else CPU.
    on_check
        Called after every check with the row of the history that holds it; an exception in it ends the training.

    Raises
    ------
    RunError, LockedError, FloatingPointError
        See `RunFolder.begin`; if another process trains in the folder; if the loss is no finite number.
    WriteError
        If the disk is full, read only or gone; the last checkpoint stays valid.
    Interrupted
        After Ctrl-C, once the state is stored.
    """
    device = torch.device(device) if device else pick_device()
    folder = checkpoint.RunFolder(run_dir)
    with process_group(device) as (rank, world), contextlib.nullcontext() if rank else locked(run_dir):
        asked = dict(recipe=recipe, steps=steps, minutes=minutes, world=world)
        described = checkpoint.config_dict(trainer_class, model_config, train, data, asked)
        if start is not None:
            described["start"] = start.fingerprint()
        state = _begin_together(folder, described, resume, restart, rank, world)
        if not (state and state["done"]):
            trainer = trainer_class(data, model_config, train, device, rank, world, start.model if start else None)
            if state:
                trainer.restore(state)
            budget = Budget(steps, minutes, state["seconds"] if state else 0.0)
            with interruptible() as trainer.interrupted:
                trainer.fit(folder, budget, progress, on_check)
        if rank == 0:
            folder.finish(steps)
        if world > 1:
            dist.barrier()
    return checkpoint.load_run(run_dir, device)


def _begin_together(folder, described, resume, restart, rank, world) -> dict | None:
    """`RunFolder.begin` by the first process; the others read its state afterwards."""
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
