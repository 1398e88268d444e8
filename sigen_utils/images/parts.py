"""Connected parts of a mask."""

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
