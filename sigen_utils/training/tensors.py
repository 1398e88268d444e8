"""Files of tensors: written whole or not at all, and packed into a quarter of their size to be published."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from .. import paths

STEP, PACKED_FROM = ".step", 4096  # suffix of the rows' step sizes; smaller tensors are not packed


def save_tensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, whole or not at all.

    The library's `save_file` makes a temporary file of its own beside the one it is given, which a kill would
    leave behind under a name nobody knows; written from memory there is only ours, which `paths.sweep` finds.
    """
    with paths.atomic_write(path) as temporary:
        temporary.write_bytes(serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, packed or not."""
    return unpacked(load_file(path))


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict, what is floating in it in half precision, on the CPU."""
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in about a quarter of its size, on the CPU; `unpacked` reads it.

    Each row of a matrix or kernel (an index of the first dimension) becomes signed bytes and a step size, stored under
    the name plus `STEP`. Rows are symmetric about zero (Jacob et al. 2018, sec. 3). The largest error is half a step,
    1/254 of the row's largest weight. Small tensors and vectors stay in half precision, integers stay as they are.
    """
    out = {}
    for name, value in halved(state).items():
        if not value.is_floating_point() or value.dim() < 2 or value.numel() < PACKED_FROM:
            out[name] = value
            continue
        rows = state[name].detach().cpu().float().flatten(1)
        step = (rows.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        out[name] = (rows / step[:, None]).round().to(torch.int8).reshape(value.shape).contiguous()
        out[name + STEP] = step
    return out


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that `packed` was given, to within its rounding; any other one as it is."""
    out = {name: value for name, value in state.items() if not name.endswith(STEP)}
    for name in state.keys() - out.keys():
        rows = name.removesuffix(STEP)
        out[rows] = (state[rows].float().flatten(1) * state[name][:, None]).reshape(state[rows].shape)
    return out
