"""Planted defects: which score sees which fault?

A score that no defect moves is worth nothing, and one score alone is blind to some. Each defect is put on one
half of the real signatures, which is then scored against the other, undamaged half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from . import distances
from .features import FeatureExtractor
from .protocol import Render, make_reference, rendered
from .strokes import STROKE_NAMES, compare_strokes, stroke_statistics

if TYPE_CHECKING:
    from ..data import SignatureSet

DEFECTS = ("blur", "ghosting", "dust", "broken strokes", "collapse")
COLLAPSED_PEOPLE = 20


def blur(picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Gaussian blur of `strength` pixels, the haze of a VAE."""
    return cv2.GaussianBlur(picture, (0, 0), strength) if strength > 0 else picture


def ghosting(picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A paler copy (ink .35), shifted by 4 to 7 pixels: two signatures averaged."""
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(4, 7)
    move = np.float32([[1, 0, radius * np.cos(angle)], [0, 1, radius * np.sin(angle)]])
    ghost = cv2.warpAffine(picture, move, picture.shape[::-1])
    return np.maximum(picture, np.float32(0.35 * strength) * ghost)


def dust(picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Dark dots of one or two pixels a side anywhere, 12 on average: a GAN's spatter."""
    out = picture.copy()
    for _ in range(rng.poisson(12 * strength)):
        row, column = rng.integers(0, np.array(picture.shape) - 2)
        side = rng.integers(1, 3)
        out[row : row + side, column : column + side] = 1.0
    return out


def broken_strokes(picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Gaps of about 5 pixels in the strokes, 8 on average."""
    out, ink = picture.copy(), np.argwhere(picture > 0.5)
    for row, column in rng.permutation(ink)[: rng.poisson(8 * strength)]:
        cv2.circle(out, (int(column), int(row)), 2, 0.0, -1)
    return out


_FUNCTIONS = {"blur": blur, "ghosting": ghosting, "dust": dust, "broken strokes": broken_strokes}


def damage(x: torch.Tensor, defect: str, seed: int = 0, strength: float = 1.0) -> torch.Tensor:
    """Put a defect on every picture.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1].
    defect
        One of DEFECTS but "collapse", which is a fault of a set (see `defect_panel`).
    seed
        Of the places.
    strength
        1 is the panel's; 0 is none.

    Returns
    -------
    torch.Tensor
        float32 ``[N, 1, H, W]`` on the CPU.
    """
    if defect not in _FUNCTIONS:
        raise ValueError(f"{defect!r} is not one of {', '.join(_FUNCTIONS)}")
    rng = np.random.default_rng(seed)
    pictures = [_FUNCTIONS[defect](picture, rng, strength) for picture in x[:, 0].cpu().numpy()]
    return torch.from_numpy(np.stack(pictures))[:, None]


def defect_panel(
    data: SignatureSet, extractor: FeatureExtractor, seed: int = 0, n_splits: int = 5, render: Render | None = None
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Every score of every planted defect.

    Parameters
    ----------
    data
        Real signatures.
    feature extractor
        Features to measure in.
    seed, n_splits
        Random halves; one is damaged after rendering, the other is not.
    render
        As in `evaluate_runs`.

    Returns
    -------
    dict
        ``{defect: {score: {"value", "floor", "floors", "intervals"}}}``. Scores are frechet, kernel,
        precision, recall, density, coverage, top1 and ``stroke_<name>`` (Wasserstein-1 in sd). ``floors`` is
        value / floor, the reading for distances (None where the floor is zero). ``intervals`` is how far the
        value is from the floor's mean, in half-widths of the floor's 95 % interval (at least one signature's
        share, 1 / n), positive where the score says "worse": one unit for all; beyond 3 a defect is seen.
    """
    clean = rendered(data, render).to("cpu")
    reference = make_reference(clean, extractor, seed, n_splits, render=lambda x: x)
    labels, x = reference.labels, clean.x
    pools = {"none": x, **{name: damage(x, name, seed) for name in _FUNCTIONS}, "collapse": x}
    measured = {name: [] for name in pools}
    for k, (first, second) in enumerate(reference.splits):
        for name, pool in pools.items():
            index = _collapsed(second, labels, seed + k) if name == "collapse" else second
            scores = _all_scores(extractor, x[first], labels[first], pool[index], labels[index], seed + k)
            measured[name].append(scores)
    n_half = len(reference.splits[0][0])
    return {name: _against_floor(measured["none"], measured[name], n_half) for name in DEFECTS}


def _collapsed(index: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """As many draws from the signatures of few people as there were signatures of all."""
    rng, people = np.random.default_rng(seed), np.unique(labels[index])
    few = rng.choice(people, max(1, min(COLLAPSED_PEOPLE, len(people) // 2)), replace=False)
    return rng.choice(index[np.isin(labels[index], few)], len(index))


def _all_scores(
    extractor: FeatureExtractor, x: torch.Tensor, y: np.ndarray, fake: torch.Tensor, fake_y: np.ndarray, seed: int
) -> dict[str, float]:
    real_features, fake_features = extractor.features(x), extractor.features(fake)
    strokes = compare_strokes(stroke_statistics(x), stroke_statistics(fake))
    return {
        **distances.compare(real_features, fake_features, seed),
        "top1": distances.top1(fake_features, fake_y, real_features, y),
        **{f"stroke_{name}": strokes[name]["w1_sd"] for name in STROKE_NAMES},
    }


def _against_floor(
    none: list[dict[str, float]], some: list[dict[str, float]], n_half: int
) -> dict[str, dict[str, float | None]]:
    """Every score of damaged halves, over the splits, beside that of undamaged ones."""
    out = {}
    for score in none[0]:
        base, value = np.array([s[score] for s in none]), float(np.mean([s[score] for s in some]))
        # The kernel distance's floor is no mean: see `real_floor`
        floor = float(np.sqrt((base**2).mean())) if score == "kernel" else float(base.mean())
        worse_is_less = score in ("precision", "recall", "density", "coverage", "top1")
        away = (base.mean() - value) if worse_is_less else (value - base.mean())
        half_width = max(distances.Z95 * float(base.std(ddof=1)) if len(base) > 1 else 0.0, 1 / n_half)
        ratio = value / floor if floor > 1e-9 else None
        out[score] = {"value": value, "floor": floor, "floors": ratio, "intervals": float(away / half_width)}
    return out
