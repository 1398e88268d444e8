"""Connected parts of a mask, and strokes that go on over a gap."""

from __future__ import annotations

import cv2
import numpy as np


def parts_of(mask: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Parts that touch at sides or corners.

    Parameters
    ----------
    mask
        bool or uint8 ``[h, w]``.

    Returns
    -------
    tuple
        How many parts there are, paper included; int32 ``[h, w]``, the number of each pixel's part, 0 on paper; and
        int32 ``[parts, 5]``, left, top, width, height and area.
    """
    mask = mask.view(np.uint8)
    return cv2.connectedComponentsWithStatsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_GRANA)[:3]  # the fastest


def ridge_of(inner: np.ndarray) -> np.ndarray:
    """The strokes' middle lines, bool ``[h, w]``, where `inner` is each pixel's distance to paper, 0 on it."""
    return (inner > 0) & (inner >= cv2.dilate(inner, np.ones((3, 3), np.uint8)) - 0.2)


def bridged(strokes: np.ndarray, height: int, angles: tuple[int, ...]) -> np.ndarray:
    """Strokes closed by straight segments that span `height` rows, in directions given in degrees from the horizontal.

    A pixel is filled when along some direction every segment through it meets ink on both sides.
    """
    near = strokes.astype(np.uint8)
    total = np.zeros_like(near)
    for angle in angles:
        radians = np.deg2rad(angle)
        half = height / 2 / np.sin(radians)
        dx, dy = half * np.cos(radians), half * np.sin(radians)
        rx, ry = int(np.ceil(abs(dx))), int(np.ceil(abs(dy)))
        kernel = np.zeros((2 * ry + 1, 2 * rx + 1), np.uint8)
        cv2.line(kernel, (round(rx - dx), round(ry + dy)), (round(rx + dx), round(ry - dy)), 1)
        wide = cv2.dilate(near, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        total |= cv2.erode(wide, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return total > 0
