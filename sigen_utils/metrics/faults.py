"""Planted faults: which score of tables A and B sees which fault of a sampler?

Every fault is given to a sampler that is perfect otherwise, as it hands out genuine signatures that nobody has used.
The perfect one is a row too: what it scores, and how wide its intervals are, is the unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from . import known_people, new_people
from .no_model import Blank, MeanOfTwo, Warps, occurrence
from .scores import Score
from .seen import Eye

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..models.vae import VAE

FAULTS = (
    "warped copy", "redrawn copy", "thumbnail super-resolution", "ignored noise", "swapped person", "blank page",
    "average of two people",
)  # fmt: skip
PERFECT = "none"
TRAIN, HELD_OUT = 3, 2  # signatures of each known person; all further ones are a perfect sampler's
SEEN = 3.0  # half-widths of an interval beyond which a fault counts as seen
STEPS = 250  # of the network that enlarges thumbnails
THUMBNAIL = 4  # pixels of the picture for one of the thumbnail, a side


class Redrawn(Warps):
    """Warps of training signatures, drawn again by a VAE."""

    def __init__(self, train: Any, vae: VAE):
        super().__init__(train)
        self.model = vae

    @torch.inference_mode()
    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        warped = super().draw(index, generator)
        return torch.cat([self.model.reconstruct(part).float() for part in warped.split(64)])


class Enlarged(Warps):
    """Thumbnails of warped training signatures, with a little noise, drawn in full by a network that learned to.

    Enlarging without learning breaks thin strokes, which any score sees. The network learns from `train`.
    """

    def __init__(self, train: Any, batch: int = 32):
        super().__init__(train)
        layers = [nn.Conv2d(1, 48, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(48, 48, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(48, THUMBNAIL**2, 3, padding=1), nn.PixelShuffle(THUMBNAIL)]
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(*layers)
        for layer in self.net:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        optimizer = torch.optim.Adam(self.net.parameters(), 2e-3)
        warped = super().draw(torch.arange(len(self.x)).repeat(2), generator)
        for _ in range(STEPS):
            x = warped[torch.randint(len(warped), (batch,), generator=generator)]
            loss = F.binary_cross_entropy_with_logits(self.net(self._thumbnails(x, generator)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @staticmethod
    def _thumbnails(x: Tensor, generator: Generator) -> Tensor:
        small = F.avg_pool2d(x, THUMBNAIL)
        return small + 0.02 * torch.randn(small.shape, generator=generator)

    @torch.no_grad()
    def draw(self, index: Tensor, generator: Generator) -> Tensor:
        small = self._thumbnails(super().draw(index, generator), generator)
        return torch.cat([torch.sigmoid(self.net(part)) for part in small.split(64)])


class Perfect:
    """Genuine signatures that nobody has used: of the known people ``[P, s, 1, H, H]``, and of other people."""

    def __init__(self, spare: Tensor, others: Tensor):
        self.spare, self.others = spare, others

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        return self.others[:people, :per_person].flatten(0, 1)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return self.spare[y, occurrence(y) % self.spare.shape[1]]


class IgnoresNoise(Perfect):
    """All draws of a person are one picture."""

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        return self.others[:people, 0].repeat_interleave(per_person, 0)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return self.spare[y, 0]


class Swaps(Perfect):
    """Signs as the next person; each draw of an invented person is by another one."""

    def new(self, people: int, per_person: int, generator: Generator) -> Tensor:
        draw = torch.arange(per_person)
        who = (torch.arange(people)[:, None] + 7 * draw) % people
        return self.others[who, draw].flatten(0, 1)

    def known(self, y: Tensor, generator: Generator) -> Tensor:
        return super().known((y + 1) % len(self.spare), generator)


class AveragesPeople(MeanOfTwo):
    """Every known person is mixed with the next one."""

    def known_from(self, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        which = occurrence(y) % self.k
        return self._mean(self.rows[y, which], self.rows[(y + 1) % len(self.rows), which]), which


def fault_panel(x: Tensor, eye: Eye, vae: VAE, seed: int = 0) -> dict[str, dict[str, dict[str, float]]]:
    """Every score of every fault.

    Parameters
    ----------
    x
        Genuine ink ``[W, c, 1, 128, 128]``: c >= 8 signatures of each of W >= 24 people. A third of the people is
        known, one is unseen, one is what the perfect sampler invents.
    eye
        Renders and measures.
    vae
        Redraws and averages.
    seed
        Of everything.

    Returns
    -------
    dict
        ``{fault: {"A frechet ...": {"value", "perfect", "intervals"}}}``, the fault "none" (the perfect sampler)
        included. ``intervals`` says how far a value is from the perfect sampler's, in half-widths of its 95 % interval
        (at least one signature's share); beyond 3 a fault is seen.
    """
    if x.shape[0] < 24 or x.shape[1] < TRAIN + HELD_OUT + 3:
        raise ValueError(f"{x.shape[1]} signatures of {x.shape[0]} people: 8 of 24 are the least")
    known, unseen, others = x[: x.shape[0] // 3 * 3].chunk(3)
    data = _training_set(known[:, :TRAIN])
    held_out, spare = known[:, TRAIN : TRAIN + HELD_OUT], known[:, TRAIN + HELD_OUT :]
    samplers = {
        PERFECT: Perfect(spare, others), "warped copy": Warps(data), "redrawn copy": Redrawn(data, vae),
        "thumbnail super-resolution": Enlarged(data), "ignored noise": IgnoresNoise(spare, others),
        "swapped person": Swaps(spare, others), "blank page": Blank(),
        "average of two people": AveragesPeople(data, vae),
    }  # fmt: skip
    train = eye(data.x)
    each = min(unseen.shape[1], 4)
    strangers = new_people.strangers(
        eye(unseen[:, :each].flatten(0, 1)), len(unseen), {name: train.features[name] for name in eye.names}, seed
    )
    people = torch.arange(len(known))
    reference = known_people.known_people(
        train, data.labels.numpy(), eye(held_out.flatten(0, 1)), people.repeat_interleave(HELD_OUT).numpy(), eye.misfits
    )
    y = people.repeat_interleave(spare.shape[1])
    rows = {}
    for name, sampler in samplers.items():
        invented = eye(sampler.new(len(unseen), each, torch.Generator().manual_seed(seed)))
        signed = eye(sampler.known(y, torch.Generator().manual_seed(seed)))
        rows[name] = {f"A {k}": v for k, v in new_people.score_new(strangers, invented, seed).items()}
        scores = known_people.score_known(reference, signed, y.numpy(), eye.misfits, seed)
        rows[name] |= {f"B {k}": v for k, v in scores.items()}
    least = 1 / len(y)
    return {name: {k: _away(v, rows[PERFECT][k], least) for k, v in row.items()} for name, row in rows.items()}


def _away(score: Score, perfect: Score, least: float) -> dict[str, float]:
    low, high = perfect.interval()
    half = 1.96 if not len(perfect.replicates) else max((high - low) / 2, least)  # a z-score is its own unit
    return dict(value=score.value, perfect=perfect.value, intervals=abs(score.value - perfect.value) / half)


def _training_set(x: Tensor):
    """A `SignatureSet` of training signatures ``[P, k, 1, 128, 128]`` only."""
    from ..data import SignatureSet

    people, k = x.shape[:2]
    images = (x.flatten(0, 1)[:, 0] * 255).round().to(torch.uint8)
    names = [f"{person}" for person in range(people)]
    files = [f"{name}/{j + 1}.png" for name in names for j in range(k)]
    return SignatureSet(
        images, torch.arange(people).repeat_interleave(k), names, files, torch.zeros(people * k, dtype=torch.bool)
    )


def fault_figure(panel: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """Faults by scores: darker is further from a perfect sampler, a dot where a fault is seen (beyond 3 intervals)."""
    from .. import figures

    @figures.styled
    def draw() -> Figure:
        import matplotlib.pyplot as plt

        scores = list(panel[PERFECT])
        faults = [name for name in panel if name != PERFECT]
        away = np.array([[panel[fault][score]["intervals"] for fault in faults] for score in scores])
        figure = plt.figure(figsize=(figures.COLUMN_WIDTH, 0.13 * len(scores) + 1), FigureClass=figures.ShownOnce)
        axes = figure.subplots()
        axes.imshow(np.log10(1 + away), cmap="Greys", aspect="auto", vmin=0, vmax=2)
        row, column = np.nonzero(away > SEEN)
        axes.plot(column, row, "o", color=figures.COLORS[1], markersize=2.5)
        axes.set_xticks(range(len(faults)), faults, fontsize=6, rotation=40, ha="right")
        axes.set_yticks(range(len(scores)), [_short(score) for score in scores], fontsize=5.5)
        axes.tick_params(length=0)
        return figure

    return draw()


def _short(score: str) -> str:
    return score.replace("efflite0_block10/", "ImageNet ").replace("signature_crowd/", "writer ").replace("_", " ")
