"""What strokes look like, in numbers that a network's features hardly see.

ImageNet features are nearly blind to broken strokes; counting components is not.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.stats import wasserstein_distance

SPECK = 6  # pixels: a component smaller than this is dust, not a stroke
STROKE_NAMES = ("ink", "components", "specks", "width", "grey", "aspect")


def _statistics(picture: np.ndarray) -> tuple[float, ...]:
    """The statistics of one picture ``[H, W]``, in the order of STROKE_NAMES."""
    ink = (picture > 0.5).astype(np.uint8)
    area = int(ink.sum())
    visible = int((picture > 0.2).sum())
    grey = int(((picture > 0.2) & (picture < 0.8)).sum()) / visible if visible else 0.0
    if not area:
        return 0.0, 0.0, 0.0, 0.0, grey, 1.0
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    outlines, _ = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # An outline runs through the centres of edge pixels, there and back: its length is twice the stroke's
    length = sum(cv2.arcLength(outline, True) for outline in outlines) / 2
    width = area / length if length else 1.0  # a lone pixel has no length
    _, _, box_width, box_height = cv2.boundingRect(ink)
    specks = int((sizes < SPECK).sum())
    return area / ink.size, float(len(sizes) - specks), float(specks), width, grey, box_width / box_height


def stroke_statistics(x: torch.Tensor) -> dict[str, np.ndarray]:
    """Stroke statistics of each picture.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, ink = 1.

    Returns
    -------
    dict
        float64 ``[N]`` each: ``ink`` (share of pixels above one half), ``components`` (connected, of 6 pixels
        or more), ``specks`` (connected, smaller), ``width`` (mean stroke width, pixels: twice the area over
        the outline), ``grey`` (pixels between .2 and .8 as a share of those above .2), ``aspect`` (width over
        height of the ink's box). A blank picture has width 0 and aspect 1.
    """
    pictures = x.detach().float().cpu().numpy().reshape(-1, *x.shape[-2:])
    table = np.array([_statistics(one) for one in pictures], np.float64).reshape(-1, len(STROKE_NAMES))
    return dict(zip(STROKE_NAMES, table.T, strict=True))


def compare_strokes(real: dict[str, np.ndarray], fake: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Wasserstein-1 distance of each statistic, in standard deviations of the real one.

    Parameters
    ----------
    real, fake
        As `stroke_statistics` returns them.

    Returns
    -------
    dict
        ``{name: {"mean": generated mean, "w1_sd": distance}}``. Where the real statistic does not vary at
        all (no speck anywhere) the unit is 1.
    """
    out = {}
    for name in STROKE_NAMES:
        unit = float(real[name].std()) or 1.0
        distance = float(wasserstein_distance(real[name], fake[name])) / unit
        out[name] = {"mean": float(fake[name].mean()), "w1_sd": distance}
    return out
