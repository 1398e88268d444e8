"""The copy test: is a sample a deformed training signature?

Each sample is registered with each reference of its person, and so is each genuine held-out signature. What
registration cannot explain of a genuine signature is what the person did differently that time. A warped copy, redrawn
or not, leaves next to nothing over, however far it was warped: the strength of an augmentation cannot be tuned against
this test, because registration undoes it.

Numbers are compared within a person, as a simple signature leaves less over than a rich one. There are two yardsticks:
held-out signatures, which may have been written later and then lie further away than a perfect sampler's would, and
training signatures, each registered with the other ones as if it had been held out. A copier is below both.

References: van Elteren 1960 (Mann-Whitney tests of several strata added up).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from . import registering
from .scores import Goal, Score, mean_over_people
from .store import keys_of

GOALS = {
    "copy_auc": Goal("genuine .5, copies 0", 0.5),
    "copy_auc_leave_one_out": Goal("genuine .5, copies 0", 0.5),
    "copy_below_median": Goal("genuine .5, copies 1", 0.5),
    "copy_below_tenth": Goal("genuine .1, copies 1", 0.1),
    "copy_margin_auc": Goal("genuine .5, one source 1", 0.5),
    "copy_auc_redrawn": Goal("a perfect code .5", 0.5),
}


OTHERS = 4  # training signatures of each person that are judged as if they had been held out, at most


class Misfits:
    """`registering.misfit`, each pair of pictures registered once.

    Parameters
    ----------
    values
        The dictionary that remembers, for instance that of a `store.Store`.
    """

    def __init__(self, values: dict[bytes, np.ndarray] | None = None, device: str | torch.device = "cpu"):
        self.values, self.device = {} if values is None else values, device

    def __call__(self, references: torch.Tensor, x: torch.Tensor) -> np.ndarray:
        """What is left over of pictures ``[n, 1, H, H]`` when each of ``[n, k, 1, H, H]`` is laid onto them: [n, k]."""
        n, k = references.shape[:2]
        mine, theirs = keys_of(x), keys_of(references.flatten(0, 1))
        pairs = [_both(theirs[i * k + j], mine[i]) for i in range(n) for j in range(k)]
        missing = list({key: place for place, key in enumerate(pairs) if key not in self.values}.values())
        for start in range(0, len(missing), 8 * registering.BATCH):
            places = torch.tensor(missing[start : start + 8 * registering.BATCH])
            moving = references[places // k, places % k].to(self.device)
            left = registering.misfit(moving, x[places // k].to(self.device)).cpu().numpy()
            for place, value in zip(places.tolist(), left, strict=True):
                self.values[pairs[place]] = np.array([value], np.float32)
        return np.array([self.values[key][0] for key in pairs], np.float64).reshape(n, k)


def _both(first: bytes, second: bytes) -> bytes:
    """One key of a pair; which of the two is deformed counts."""
    a, b = (int.from_bytes(key, "little") for key in (first, second))
    return ((3 * a + b) % 2**128).to_bytes(16, "little")


@dataclass(frozen=True)
class CopyReference:
    """What genuine signatures leave over; made by `copy_reference`.

    Attributes
    ----------
    references
        Rendered training signatures ``[P, k, 1, 128, 128]``, k of each person.
    held_out
        Left over by each person's held-out signatures: ``[P]`` arrays ``[h, k]``.
    others
        The same for training signatures in their place, each registered with the other ones and one that was held out.
    """

    references: torch.Tensor
    held_out: list[np.ndarray]
    others: list[np.ndarray]


def copy_reference(train: Sequence[torch.Tensor], held_out: Sequence[torch.Tensor], misfits: Misfits) -> CopyReference:
    """Register the genuine signatures.

    Parameters
    ----------
    train, held_out
        Rendered signatures of each person, ``[>= k, 1, H, H]`` and ``[h, 1, H, H]``, h >= 1; of the training ones the
        first k count, k being the least that somebody has.
    misfits
        Registers.
    """
    k = min(len(own) for own in train)
    references = torch.stack([own[:k] for own in train])
    genuine, swapped = [], []
    for own, new in zip(references, held_out, strict=True):
        genuine.append(misfits(own[None].expand(len(new), *own.shape), new))
        swapped.append(misfits(_leave_one_out(own, new[0]), own[:OTHERS]))
    return CopyReference(references, genuine, swapped)


def _leave_one_out(own: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """References ``[k, 1, H, H]`` of each of the first `OTHERS` of `own`: the other ones, and `new` in its place."""
    return torch.stack([torch.cat([own[:j], own[j + 1 :], new[None]]) for j in range(min(len(own), OTHERS))])


def copy_test_of_redrawn(
    reference: CopyReference,
    held_out: Sequence[torch.Tensor],
    redraw: Callable[[torch.Tensor], torch.Tensor],
    misfits: Misfits,
    times: np.ndarray,
) -> Score:
    """``copy_auc`` of training signatures that a model has drawn again: what its code alone costs.

    Parameters
    ----------
    reference, held_out
        `copy_reference` and what it was made of.
    redraw
        Rendered reconstructions of rendered signatures, both ``[n, 1, H, H]``.
    misfits, times
        As in `copy_reference` and `copy_test`.
    """
    drawn = redraw(reference.references[:, :OTHERS].flatten(0, 1)).unflatten(0, (len(held_out), -1))
    people = zip(reference.references, held_out, drawn, strict=True)
    left = np.concatenate([misfits(_leave_one_out(own, new[0]), x) for own, new, x in people])
    return copy_test(reference, left, np.arange(len(held_out)).repeat(drawn.shape[1]), times)["copy_auc"]


def copy_test(
    reference: CopyReference, left: np.ndarray, y: np.ndarray, times: np.ndarray, sources: np.ndarray | None = None
) -> dict[str, Score]:
    """Scores of samples that left ``[n, k]`` over, beside genuine signatures of the same people.

    Parameters
    ----------
    reference
        `copy_reference`.
    left, y
        What each sample leaves over for each reference, and whose it is ``[n]``; every person has at least one.
    times
        `scores.draws_of_people`.
    sources
        The reference that each sample was made from ``[n]``, where it is known.

    Returns
    -------
    dict
        ``copy_auc``: how often a sample leaves more over than a held-out signature of the same person (.5 for genuine
        ones, 0 for copies, above .5 for pictures that are not like the person). ``copy_z``: the same as a z-score.
        ``copy_auc_leave_one_out``, ``copy_z_leave_one_out``: the same beside training signatures held out in turn.
        ``copy_below_median``, ``copy_below_tenth``: share of samples that leave less over than one half, or one tenth,
        of all held-out signatures do; the second sees a sampler that copies only now and then. ``copy_margin_auc``: how
        often one reference stands out more clearly than for a held-out signature. ``copy_named``: share of samples
        whose source leaves the least over (chance: 1 / k); only where `sources` are known.
    """
    people, least = len(reference.held_out), left.min(1)
    own = [np.flatnonzero(y == person) for person in range(people)]
    if any(len(rows) == 0 for rows in own):
        raise ValueError("the copy test compares within people: every person needs a sample")
    out: dict[str, Score] = {}
    for ending, genuine in (("", reference.held_out), ("_leave_one_out", reference.others)):
        wins = [_wins(least[rows], one.min(1)) for rows, one in zip(own, genuine, strict=True)]
        out[f"copy_auc{ending}"] = mean_over_people(np.array([won.mean() for won in wins]), times)
        spread = sum(a * b * (a + b + 1) / 12 for a, b in (won.shape for won in wins))
        z = sum(won.sum() - won.size / 2 for won in wins) / np.sqrt(spread)
        out[f"copy_z{ending}"] = Score(float(z), np.zeros(0), people)
    pooled = np.concatenate([one.min(1) for one in reference.held_out])
    for name, share in (("median", 0.5), ("tenth", 0.1)):
        below = least < np.quantile(pooled, share)
        out[f"copy_below_{name}"] = mean_over_people(np.array([below[rows].mean() for rows in own]), times)
    if left.shape[1] > 1:
        both = zip(own, reference.held_out, strict=True)
        margins = [_wins(_margin(left[rows]), _margin(one)).mean() for rows, one in both]
        out["copy_margin_auc"] = mean_over_people(np.array(margins), times)
    if sources is not None:
        named = left.argmin(1) == sources
        out["copy_named"] = mean_over_people(np.array([named[rows].mean() for rows in own]), times)
    return out


def copy_test_of_genuine(reference: CopyReference, times: np.ndarray) -> dict[str, Score]:
    """What genuine signatures get: training signatures beside held-out ones, and these beside those."""
    out: dict[str, Score] = {}
    for samples, stratified in ((reference.others, False), (reference.held_out, True)):
        y = np.repeat(np.arange(len(samples)), [len(one) for one in samples])
        found = copy_test(reference, np.concatenate(samples), y, times)
        out |= {name: score for name, score in found.items() if name.endswith("_leave_one_out") == stratified}
    return out


def _wins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``[n, m]``: 1 where the first number is larger, one half where they are equal."""
    return (first[:, None] > second) + 0.5 * (first[:, None] == second)


def _margin(left: np.ndarray) -> np.ndarray:
    """How far the best reference is ahead of the second best, as a share: ``[n]``."""
    two = np.partition(left, 1, axis=1)[:, :2]
    return 1 - two[:, 0] / np.maximum(two[:, 1], 1e-9)
