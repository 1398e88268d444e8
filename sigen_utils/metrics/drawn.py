"""Signatures that another program drew, judged like a model of this project."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from .few_shot import DUPLICATES
from .no_model import occurrence

QUESTIONS = ("new", "known", "like")


class Drawn:
    """A `sampling.Sampler` that reads from a file what was drawn for the same questions. The seed plays no part.

    Parameters
    ----------
    path
        A ``.npz`` with one or more of three arrays uint8 ``[people, k, 128, 128]``, 255 = ink. ``new``: people who do
        not exist, k >= 4. ``known``: the people of the data in the order of their folders, k >= 4 (8 for 50 people or
        fewer). ``like``: for the first signature of each unseen person, in the order of their folders, k >= 16.

    Raises
    ------
    ValueError
        If the file is none of these, or holds too few signatures for what is asked.
    """

    def __init__(self, path: str | Path):
        self.path, self.label = Path(path), Path(path).stem
        try:
            with np.load(path, allow_pickle=False) as archive:
                self.x = {name: torch.from_numpy(np.asarray(archive[name])) for name in QUESTIONS if name in archive}
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not an archive of drawn signatures ({error})") from error
        for name, x in self.x.items():
            if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[2:] != (128, 128):
                raise ValueError(f"{path}: {name} is {x.dtype} {list(x.shape)}, not uint8 [people, k, 128, 128]")
        if not self.x:
            raise ValueError(f"{path}: none of the arrays {', '.join(QUESTIONS)} is in it")
        for name in self.x:
            setattr(self, name, getattr(self, f"_{name}"))  # a sampler has the methods of what it can be asked

    def _new(self, people: int, per_person: int, generator: Generator | None = None) -> Tensor:
        return self._some("new", people, per_person)

    def _known(self, y: Tensor, generator: Generator | None = None) -> Tensor:
        place = occurrence(y)
        self._some("known", int(y.max()) + 1, int(place.max()) + 1)
        return self.x["known"][y, place][:, None].float() / 255

    def _like(self, references: Tensor, generator: Generator | None = None) -> Tensor:
        return self._some("like", len(references) // max(DUPLICATES), max(DUPLICATES))

    def _some(self, name: str, people: int, each: int) -> Tensor:
        x = self.x[name]
        if len(x) < people or x.shape[1] < each:
            asked = f"asked for are {each} of {people}"
            raise ValueError(f"{self.path}: {name} holds {x.shape[1]} signatures of {len(x)} people, {asked}")
        return x[:people, :each].flatten(0, 1)[:, None].float() / 255
