"""Where the paper lies in a picture, and whether its ink is darker or lighter than it."""

from __future__ import annotations

import cv2
import numpy as np

REDUCED = 320  # px: the longer side at which a picture is judged as a whole
FILLED = 0.9  # share of its convex hull that a page fills
STEP = 0.30  # relative step of brightness that an edge of the page has, and a soft shadow has not
SHADOW = 0.4  # of the page's brightness: darker surroundings are no shadow on it


def find_page(rgb: np.ndarray) -> np.ndarray | None:
    """The sheet of paper that a photograph shows before something darker.

    Parameters
    ----------
    rgb
        uint8 RGB ``[H, W, 3]``.

    Returns
    -------
    numpy.ndarray or None
        bool ``[h, w]``, the picture reduced to `REDUCED` px: True on the page. None where the picture shows paper only,
        however it is lit.
    """
    small = reduced_to(rgb, REDUCED)
    if min(small.shape[:2]) < 16:
        return None
    side = int(REDUCED / 7) | 1
    # What lies along an edge goes on beyond it, or a narrow strip of desk would be closed like a stroke
    wider = cv2.copyMakeBorder(cv2.GaussianBlur(small, (3, 3), 0), side, side, side, side, cv2.BORDER_REPLICATE)
    paper = cv2.morphologyEx(wider, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))[side:-side, side:-side]
    light = np.log(cv2.cvtColor(paper, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8)
    near = 3
    steep = cv2.dilate(light, np.ones((near, near))) - cv2.erode(light, np.ones((near, near)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats((steep < STEP).astype(np.uint8), connectivity=4)
    large = [k for k in range(1, len(stats)) if stats[k, cv2.CC_STAT_AREA] > 0.005 * labels.size]
    if len(large) < 2:
        return None
    level = {k: float(np.median(light[labels == k])) for k in large}
    page = max(large, key=lambda k: stats[k, cv2.CC_STAT_AREA] * np.exp(level[k]))
    colour = _hue(paper, labels == page)
    for k in large:  # a part of the page that lies in a hard shadow
        same = np.abs(_hue(paper, labels == k) - colour).max() < 0.03
        if k != page and same and np.exp(level[k] - level[page]) > SHADOW:
            labels[labels == k] = page
    others = [k for k in large if k != page and (labels == k).any()]
    if not others or max(level[k] for k in others) >= level[page]:
        return None  # all of it is the page; or something lighter lies beside it: a reflection, a second sheet
    # The steep rim between belongs to the nearer side
    to_page, to_others = (
        cv2.distanceTransform((~where).astype(np.uint8), cv2.DIST_L2, 3)
        for where in (labels == page, np.isin(labels, others))
    )
    inside = cv2.morphologyEx((to_page < to_others).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    outline, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outline:
        return None
    outline = max(outline, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    if cv2.contourArea(hull) < 0.1 * inside.size or cv2.contourArea(outline) < FILLED * cv2.contourArea(hull):
        return None
    mask = np.zeros_like(inside)
    cv2.fillPoly(mask, [outline], 1)
    mask = cv2.erode(mask, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return mask > 0


def _hue(paper: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Shares of red, green and blue in a part of a picture."""
    mean = paper[where].mean(axis=0) + 1
    return mean / mean.sum()


def is_negative(rgb: np.ndarray, page: np.ndarray | None = None) -> tuple[bool, bool]:
    """Whether ink is lighter than its paper, as on a blackboard or in a preprocessed set.

    Three witnesses are heard, each from -1 (dark paper) to 1 (light paper): on which side of the picture's middle grey
    most of it lies, and its rim, and to which side it deviates most from its surroundings.

    Parameters
    ----------
    rgb
        uint8 RGB ``[H, W, 3]``.
    page
        Where the paper lies, as `find_page` gives it.

    Returns
    -------
    negative, unsure
    """
    grey = cv2.cvtColor(reduced_to(rgb, REDUCED), cv2.COLOR_RGB2GRAY).astype(np.float32)
    page = np.ones(grey.shape, bool) if page is None else page
    low, high = np.percentile(grey[page], (0.2, 99.8))
    if high - low < 2:
        low, high = float(grey[page].min()), float(grey[page].max())
    half = max((high - low) / 2, 1.0)
    place = np.clip((grey - (low + high) / 2) / half, -1, 1)
    rim = page & ~cv2.erode(page.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)
    side = int(REDUCED / 2.5) | 1
    weight = cv2.blur(page.astype(np.float32), (side, side))
    around = cv2.blur(np.where(page, grey, 0), (side, side)) / np.maximum(weight, 1e-3)
    cube = ((grey - around)[page] / half) ** 3
    skew = float(cube.mean() / max(np.abs(cube).mean(), 1e-9))
    score = 0.7 * float(np.median(place[page])) + 0.5 * float(np.median(place[rim])) - skew
    return score < 0, abs(score) < 0.4


def reduced_to(image: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side is at most `side`."""
    return reduced(image, side / max(image.shape[:2]))


def reduced(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture made smaller by area averaging; itself for a scale of 1 or more."""
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
