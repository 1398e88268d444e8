"""Held-out reconstruction, and the trivial answers that it has to beat.

Pixel error alone cannot rank models: thin strokes a pixel apart cost twice what a blank page costs, so the
nearest other genuine signature of the same person is *worse* than no signature. Hence the baselines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from ..data import SignatureSet


def squared_error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared error summed over the pixels of each image; ``[N, 1, H, W]`` twice to ``[N]``."""
    if x.shape != y.shape:
        raise ValueError(f"pictures of one shape are needed, not {list(x.shape)} and {list(y.shape)}")
    return (x.float() - y.to(x.device).float()).square().flatten(1).sum(1)


def ink_f1(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """F1 of the ink of `y` against that of `x`, each found as in rendering, forgiving one pixel.

    Precision is the share of `y`'s ink within one pixel of `x`'s (8 neighbours), recall the reverse.

    Parameters
    ----------
    x, y
        Truth and reconstruction ``[N, 1, H, W]``, ink = 1; binary ink is used as it is, see `render.find_ink`.

    Returns
    -------
    numpy.ndarray
        float64 ``[N]`` in [0, 1]; 0 where one side is blank, 1 where both are.
    """
    from ..render import find_ink  # scores do not need the data module otherwise

    kernel, out = np.ones((3, 3), np.uint8), []
    truths, guesses = (find_ink(t)[:, 0].cpu().numpy() for t in (x, y))
    for truth, guess in zip(truths, guesses, strict=True):
        near_truth, near_guess = (cv2.dilate(m.astype(np.uint8), kernel) > 0 for m in (truth, guess))
        precision = (guess & near_truth).sum() / max(guess.sum(), 1)
        recall = (truth & near_guess).sum() / max(truth.sum(), 1)
        blank = not truth.any() and not guess.any()
        out.append(1.0 if blank else 2 * precision * recall / max(precision + recall, 1e-12))
    return np.array(out, np.float64)


def score_reconstruction(x: torch.Tensor, reconstructed: torch.Tensor) -> dict[str, float]:
    """Scores of reconstructions of held-out signatures, both ``[N, 1, H, W]``, as the model gives them.

    Returns
    -------
    dict
        ``squared_error`` (mean over images of the sum over pixels), ``percent_of_blank`` (100 is what
        a blank page gets), ``f1`` (mean of `ink_f1`).
    """
    error = squared_error(x, reconstructed).mean().item()
    blank = squared_error(x, torch.zeros_like(x)).mean().item()
    f1 = float(ink_f1(x, reconstructed).mean())
    return {"squared_error": error, "percent_of_blank": 100 * error / max(blank, 1e-12), "f1": f1}


def reconstruction_baselines(data: SignatureSet) -> dict[str, float]:
    """Squared error per held-out signature of answers that know the training side of `data` and need no model.

    Returns
    -------
    dict
        ``blank`` (page), ``mean_image`` (of the training side), ``same_person_mean`` and ``nearest_same_person`` (of
        the person's training signatures), and ``moved_half_pixel``: the held-out signature itself, half a pixel to the
        right and down, which tells how much of an error is precision: the thinner the pen, the more.

    Raises
    ------
    ValueError
        If no held-out signature has a training signature by the same person.
    """
    train, test = data.train, data.test
    known = torch.isin(test.labels, train.labels)
    if not known.any():
        raise ValueError("no held-out signature has a training signature by the same person to compare with")
    x, labels, train_x = test.x[known], test.labels[known], train.x
    own = [train_x[train.labels == label] for label in labels]
    nearest = [squared_error(o, one.expand_as(o)).min() for o, one in zip(own, x, strict=True)]
    return {
        "blank": squared_error(x, torch.zeros_like(x)).mean().item(),
        "mean_image": squared_error(x, train_x.mean(0, keepdim=True).expand_as(x)).mean().item(),
        "same_person_mean": squared_error(x, torch.stack([o.mean(0) for o in own])).mean().item(),
        "nearest_same_person": torch.stack(nearest).mean().item(),
        "moved_half_pixel": squared_error(x, _half_a_pixel(x)).mean().item(),
    }


def _half_a_pixel(x: torch.Tensor) -> torch.Tensor:
    """Pictures ``[N, 1, H, W]`` moved right and down by half a pixel: each pixel the mean of four."""
    return F.avg_pool2d(F.pad(x, (1, 0, 1, 0)), 2, stride=1)
