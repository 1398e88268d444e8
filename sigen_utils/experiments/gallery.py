"""What a VAE with a learned prior draws, question by question, in one figure: uncurated, of one seed."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .. import figures
from ..data import SignatureSet
from ..models.prior_vae import PriorVAE
from ..render import render

COLUMNS = 8


def gallery_rows(model: PriorVAE, data: SignatureSet, seed: int = 0, known: bool = False) -> dict[str, Tensor]:
    """Rendered signatures ``[8, 1, 128, 128]`` of each row of the figure, by the row's label.

    Parameters
    ----------
    model
        Draws the rows "new" and "stranger", and with `known` a person that it keeps references of.
    data
        Genuine signatures. Without `known` all its people are strangers to the model.
    seed
        Of the noise. The people shown are the first ones of `data`.
    known
        Whether the model met this class, `train prior --data`.
    """
    generator = torch.Generator().manual_seed(seed)
    last = [(data.labels == person).nonzero()[-1, 0] for person in range(min(COLUMNS, data.n_people))]
    own = data.x[data.labels == 0]
    rows = {
        "genuine,\none each of eight people": data.x[torch.stack(last)],
        "new people,\none each": model.new(COLUMNS, 1, generator),
        "a new person,\neight times": model.new(1, COLUMNS, generator),
    }
    if known:
        trained = data.train
        references = trained.x[trained.labels == 0][:2]
        drawn = model.known(torch.zeros(COLUMNS - len(references), dtype=torch.int64), generator)
        rows["a known person:\ntwo genuine, then drawn"] = torch.cat([references, drawn])
    else:
        drawn = model.like(own[:1][None].expand(COLUMNS - 2, -1, -1, -1, -1), generator)
        rows["a stranger: the reference,\nanother genuine, then drawn"] = torch.cat([own[:2], drawn])
    return {name: render(x) for name, x in rows.items()}


def gallery(model: PriorVAE, data: SignatureSet, seed: int = 0, known: bool = False) -> Figure:
    """`gallery_rows` as a figure."""
    rows = gallery_rows(model, data, seed, known)
    return figures.comparison_rows({name: x.numpy() for name, x in rows.items()}, ncols=COLUMNS)
