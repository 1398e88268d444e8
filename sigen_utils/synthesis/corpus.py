"""The pretraining corpus: signatures of many synthetic writers, a bit a pixel.

A signature takes 2 KB, so 100,000 of them fit in 200 MB of memory, and a hundred thousand writers on a laptop.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..paths import atomic_write
from .crowd import CrowdConfig, draw_blocks


@dataclass(frozen=True)
class Corpus:
    """Ink of `n_writers` writers with equally many signatures each.

    Attributes
    ----------
    bits
        uint8 ``[n_writers, per_writer, 128, 16]``, eight pixels a byte, 1 = ink.
    """

    bits: np.ndarray
    held_out: int = 0  # the last writers, that many, are to check on

    def __post_init__(self):
        if self.bits.dtype != np.uint8 or self.bits.ndim != 4 or self.bits.shape[2:] != (128, 16):
            found = f"{self.bits.dtype} {self.bits.shape}"
            raise ValueError(f"a corpus is uint8 [writers, signatures, 128, 16], not {found}")
        if not 0 <= self.held_out < max(1, len(self.bits)):
            raise ValueError(f"cannot hold {self.held_out} of {len(self.bits)} writers out")

    def __len__(self) -> int:
        return self.bits.shape[0] * self.bits.shape[1]

    @property
    def n_writers(self) -> int:
        return self.bits.shape[0]

    @property
    def per_writer(self) -> int:
        return self.bits.shape[1]

    def ink(self, index: torch.Tensor, device: str | torch.device = "cpu") -> torch.Tensor:
        """Signatures `index` ``[n]``, counted writer by writer, as float32 ink ``[n, 1, 128, 128]`` in {0, 1}."""
        rows = self.bits.reshape(-1, 128, 16)[index.cpu().numpy()]
        return torch.from_numpy(np.unpackbits(rows, axis=-1)).to(device).float()[:, None]

    # What a `training.loop.Trainer` asks of a set of signatures
    @property
    def train(self) -> Corpus:
        """The writers to train on."""
        return Corpus(self.bits[: self.n_writers - self.held_out])

    @property
    def test(self) -> Corpus:
        """The writers to check on."""
        return Corpus(self.bits[self.n_writers - self.held_out :])

    @property
    def is_test(self) -> torch.Tensor:
        """bool ``[N]``, which signatures are held out."""
        return torch.arange(len(self)) >= (self.n_writers - self.held_out) * self.per_writer

    @property
    def people(self) -> list[str]:
        """Nobody: synthetic writers have no names, and a model does not remember them."""
        return []

    def to(self, device: str | torch.device) -> Corpus:
        """The corpus itself; `ink` brings what is asked for to a device."""
        return self

    def fingerprint(self) -> str:
        """Twelve hex digits that change with the ink of any signature."""
        return hashlib.sha256(np.ascontiguousarray(self.bits)).hexdigest()[:12]

    @classmethod
    def draw(
        cls, config: CrowdConfig, workers: int | None = None, progress: Callable[[str], None] | None = print
    ) -> Corpus:
        """Draw the writers of `config`; the result does not depend on the number of `workers`."""
        blocks = list(draw_blocks(config, workers, progress))
        return cls(np.concatenate(blocks).reshape(config.writers, config.per_writer, 128, 16))

    def save(self, path: str | os.PathLike) -> Path:
        """Write ``<path>.npz`` atomically."""
        path = Path(path).with_suffix(".npz")
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, bits=self.bits)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike, held_out: int = 128) -> Corpus:
        """Read what `save` wrote, and hold the last writers out.

        Raises
        ------
        ValueError
            If the file is no corpus; nothing pickled is read.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(np.asarray(archive["bits"]), held_out)
        except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a corpus ({error}); make one with `python -m sigen_utils crowd`") from error
