"""Budget, schedule, running means and progress bar of a training."""

from __future__ import annotations

import math
import os
import time

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm.auto import tqdm


class Budget:
    """How far a training is: its share of `steps` or, where that is more, of `minutes` over all its sessions."""

    def __init__(self, steps: int, minutes: float | None = None, seconds_before: float = 0.0):
        if steps <= 0 or (minutes is not None and minutes <= 0):
            raise ValueError(f"a budget of {steps} steps and {minutes} minutes trains nothing")
        self.steps, self.minutes = steps, minutes
        self.started = time.monotonic() - seconds_before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def progress(self, step: int, device: torch.device) -> float:
        """Share of the budget used before step `step`, in [0, 1]; the same in every process."""
        share = min(1.0, step / self.steps)
        if self.minutes is None:
            return share
        share = min(1.0, max(share, self.seconds / (60 * self.minutes)))
        if dist.is_initialized():  # clocks differ: the first process decides
            shared = torch.tensor([share], device=device)
            dist.broadcast(shared, 0)
            share = shared.item()
        return share


def step_generator(seed: int, rank: int, step: int, device: torch.device) -> torch.Generator:
    """The source of all randomness of one step of one process."""
    return torch.Generator(device).manual_seed((seed * 64 + rank) * 1_000_000_007 + step)


def cosine(progress: float, end: float, warmup: float = 0.02) -> float:
    """Factor of the learning rate: a short linear rise, then a half cosine from 1 to `end`."""
    return min(1.0, (progress + 1e-3) / warmup) * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))


class Means:
    """Running means of scalar tensors, kept on the device until they are read."""

    def __init__(self):
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}  # of each name: not every step has all of them

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Means since the last reading; waits for the device."""
        out = {name: (total / self.counts[name]).item() for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return out

    def state_dict(self) -> dict[str, dict]:
        """Sums since the last line of the history, so that a resumed run logs the same next line."""
        return dict(sums=dict(self.sums), counts=dict(self.counts))

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


class Moments:
    """`n` moments spread evenly over a training, from its first step to its end."""

    def __init__(self, n: int, share: float, steps_done: int):
        self.n = n
        self.next = math.floor(share * (n - 1)) + 1 if steps_done else 0  # after a resume, skip those that have passed

    def due(self, share: float) -> bool:
        """Whether the next moment has come."""
        if share * (self.n - 1) < self.next or self.next >= self.n:
            return False
        self.next = math.floor(share * (self.n - 1)) + 1
        return True


class Progress:
    """A progress bar in a terminal, a line every half minute elsewhere."""

    def __init__(self, label: str, show: bool):
        self.label, self.show, self.last = label, show, time.monotonic()
        self.bar = tqdm(total=1000, desc=label, unit="‰", leave=False, disable=not show or not os.isatty(2))

    def update(self, share: float, text: str) -> None:
        self.bar.n = round(1000 * share)
        self.bar.set_postfix_str(text)
        if self.show and self.bar.disable and (time.monotonic() - self.last > 30 or share >= 1):
            self.last = time.monotonic()
            print(f"{self.label} {100 * share:5.1f} %  {text}", flush=True)

    def close(self) -> None:
        self.bar.close()
