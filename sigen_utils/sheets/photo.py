"""Reading one photograph, and the channels and sizes at which it is looked at."""

from __future__ import annotations

import os

import cv2
import numpy as np

from ..images import ImageError, iter_pages, quietly
from ..images.page import reduced
from .config import ExtractionConfig, SheetError


def read_photo(path: str | os.PathLike, config: ExtractionConfig | None = None) -> np.ndarray:
    """Decode a photograph the way it was held.

    Parameters
    ----------
    path
        A picture file; of several pages the first.
    config
        Limits; the defaults if None.

    Returns
    -------
    numpy.ndarray
        uint8 RGB ``[H, W, 3]``, turned by its EXIF orientation; transparent parts are white.

    Raises
    ------
    SheetError
        For a file that is missing, no picture, damaged, or larger than ``config.max_pixels``.
    """
    try:
        with quietly():
            return next(iter_pages(path, (config or ExtractionConfig()).max_pixels)).image
    except ImageError as error:
        raise SheetError(str(error)) from error


def darkest_channel(photo: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The smallest of R, G, B per pixel: blue, red and black ink are all dark in it.

    Parameters
    ----------
    photo
        uint8 RGB ``[H, W, 3]``.
    scale
        Size of the result over that of the photograph, at most 1. Reduced by area averaging.

    Returns
    -------
    numpy.ndarray
        uint8 ``[H * scale, W * scale]``.
    """
    red, green, blue = cv2.split(reduced(photo, scale))
    return cv2.min(cv2.min(red, green), blue)
