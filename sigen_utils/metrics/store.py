"""Numbers that belong to pictures, kept by the pictures' content, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .. import paths


def keys_of(x: torch.Tensor) -> list[bytes]:
    """A short digest of each picture ``[N, 1, H, W]`` of ink in [0, 1], rounded to 8 bits."""
    return digests((x.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8), x.shape[1:])


def digests(pictures: torch.Tensor, shape: Sequence[int]) -> list[bytes]:
    """Sixteen bytes that change with a picture of ``[N, ...]``, on the CPU, and with `shape`."""
    salt = str(tuple(shape)).encode()
    return [hashlib.blake2b(salt + one.numpy().tobytes(), digest_size=16).digest() for one in pictures]


class Store:
    """A dictionary from digests (16 bytes) to vectors of one length, which can outlive the process.

    Parameters
    ----------
    path
        A file ``.npz``; None keeps nothing. One that cannot be read raises ValueError: delete it.
    """

    def __init__(self, path: str | Path | None = None):
        self.path, self.values, self._saved = Path(path) if path else None, {}, 0
        if self.path and self.path.exists():
            try:
                with np.load(self.path, allow_pickle=False) as archive:
                    keys, values = archive["keys"], archive["values"]
            except (OSError, ValueError, KeyError, EOFError) as error:
                raise ValueError(f"{self.path}: a damaged cache ({error}); delete it") from error
            self.values = {key.tobytes(): value for key, value in zip(keys, values, strict=True)}
            self._saved = len(self.values)

    def save(self) -> None:
        """Write what is new, if there is a file and anything is."""
        if self.path is None or len(self.values) == self._saved:
            return
        keys = np.frombuffer(b"".join(self.values), np.uint8).reshape(-1, 16)
        with paths.atomic_write(self.path) as temporary:
            np.savez(temporary, keys=keys, values=np.stack(list(self.values.values())))
        self._saved = len(self.values)
