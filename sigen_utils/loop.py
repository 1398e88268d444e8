"""Parts of a training loop: device, precision, processes, budget, averaged weights, means, progress.

References: Karras et al. 2020 (averaged generator with a half-life in images).
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm


def pick_device() -> torch.device:
    """CUDA where there is one (this process's own under torchrun), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def precision(device: torch.device) -> torch.dtype:
    """The type to multiply in: bfloat16 or float16 where the chip does it in hardware, else float32.

    A T4 answers that it supports bfloat16 but emulates it, hence the compute capability; a CPU without AMX or
    AVX512-BF16 is five times slower in bfloat16 than in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return torch.bfloat16 if any(check is not None and check() for check in checks) else torch.float32


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


class Budget:
    """How far a training is: by steps, or by minutes of the clock over all its sessions."""

    def __init__(self, steps: int | None, minutes: float | None, seconds_before: float = 0.0):
        if (steps is None) == (minutes is None):
            raise ValueError("give either steps or minutes")
        if (minutes if steps is None else steps) <= 0:
            raise ValueError(f"a budget of {minutes if steps is None else steps} trains nothing")
        self.steps, self.minutes = steps, minutes
        self.started = time.monotonic() - seconds_before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def progress(self, step: int, device: torch.device) -> float:
        """Share of the budget used before step `step`, in [0, 1]; the same in every process."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        share = min(1.0, self.seconds / (60 * self.minutes))
        if dist.is_initialized():  # clocks differ: the first process decides
            shared = torch.tensor([share], device=device)
            dist.broadcast(shared, 0)
            share = shared.item()
        return share


class Average:
    """Exponential moving average of a model's weights, with a half-life counted in images."""

    def __init__(self, model: nn.Module, half_life: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, model: nn.Module, images_seen: int, batch: int) -> None:
        half_life = min(self.half_life, 0.1 * images_seen + batch)  # short at first: early weights are worthless
        weight = 1 - 0.5 ** (batch / half_life)
        mine, new = list(self.model.parameters()), list(model.parameters())
        torch._foreach_lerp_(mine, new, weight)
        for old, current in zip(self.model.buffers(), model.buffers(), strict=True):
            old.copy_(current)


class Best:
    """The weights of the moment at which a distance was smallest; nothing until the first `offer`."""

    def __init__(self):
        self.distance, self.step, self.weights = math.inf, 0, {}

    def offer(self, distance: float, step: int, model: nn.Module) -> None:
        """Keep a copy of the weights if the distance is the smallest so far."""
        if distance < self.distance:
            self.distance, self.step = distance, step
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, object]:
        return dict(distance=self.distance, step=self.step, weights=self.weights)

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.distance, self.step, self.weights = state["distance"], state["step"], state["weights"]


def step_generator(seed: int, rank: int, step: int, device: torch.device) -> torch.Generator:
    """The source of all randomness of one step of one process."""
    return torch.Generator(device).manual_seed((seed * 64 + rank) * 1_000_000_007 + step)


def cosine(progress: float, end: float, warmup: float = 0.02) -> float:
    """Factor of the learning rate: a short linear rise, then a half cosine from 1 to `end`."""
    return min(1.0, (progress + 1e-3) / warmup) * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))


class Means:
    """Running sums of scalar tensors that stay on the device until someone reads them."""

    def __init__(self):
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}  # of each name: a penalty comes only every few steps

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
        """Sums begun before a checkpoint belong to the next line of the history, also after a resume."""
        return dict(sums=dict(self.sums), counts=dict(self.counts))

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


class Moments:
    """`n` moments spread evenly over a training, the first after its first step, the last at its end."""

    def __init__(self, n: int, share: float, steps_done: int):
        self.n = n
        self.next = math.floor(share * (n - 1)) + 1 if steps_done else 0  # those before a resume are over

    def due(self, share: float) -> bool:
        """Whether a moment has come; each comes once."""
        if share * (self.n - 1) < self.next or self.next >= self.n:
            return False
        self.next = math.floor(share * (self.n - 1)) + 1
        return True


class Progress:
    """A bar for people, a line every half minute for logs."""

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
