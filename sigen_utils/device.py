"""Where to compute, and in which type."""

from __future__ import annotations

import os

import torch


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
