"""The upright working picture of a sheet: turned, reduced, its darkest channel, its colour, its contrast to paper."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from ..images.page import reduced
from .config import ExtractionConfig
from .grid import Grid
from .photo import darkest_channel

TYPICAL = 205.0  # px: the cell width at which the pixel lengths below were chosen


@dataclass(frozen=True)
class Frame:
    """The upright working picture and how it lies in the photograph."""

    grey: np.ndarray  # uint8 [h, w], darkest channel
    scale: float  # size over that of the photograph
    turn: int  # quarter turns, clockwise, from the photograph to here
    unit: float  # width of a signature column over `TYPICAL`
    tint: np.ndarray | None = None  # float32 [h, w], blue minus red beside the paper around; None: a grey photograph
    light: np.ndarray | None = None  # uint8 [h, w], brightest channel: coloured ink is light in it; None: grey

    def from_photo(self, points: np.ndarray) -> np.ndarray:
        """Photograph pixels -> pixels of this picture; float ``[..., 2]``."""
        h, w = self.grey.shape
        x, y = np.moveaxis((np.asarray(points, float) + 0.5) * self.scale - 0.5, -1, 0)
        if self.turn == 1:
            x, y = w - 1 - y, x
        elif self.turn == 2:
            x, y = w - 1 - x, h - 1 - y
        elif self.turn == 3:
            x, y = y, h - 1 - x
        return np.stack([x, y], axis=-1)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `from_photo`."""
        h, w = self.grey.shape
        x, y = np.moveaxis(np.asarray(points, float), -1, 0)
        if self.turn == 1:
            x, y = y, w - 1 - x
        elif self.turn == 2:
            x, y = w - 1 - x, h - 1 - y
        elif self.turn == 3:
            x, y = h - 1 - y, x
        return (np.stack([x, y], axis=-1) + 0.5) / self.scale - 0.5


def make_frame(photo: np.ndarray, grid: Grid, config: ExtractionConfig) -> Frame:
    """The upright working picture of a photograph whose table is known."""
    width = float(np.median(np.linalg.norm(np.diff(grid.points[:, 1:], axis=1), axis=-1)))
    height = float(np.median(np.linalg.norm(np.diff(grid.points, axis=0), axis=-1)))
    width = float(np.clip(width, 1.2 * height, 2.4 * height))  # people write as large in a wide column
    scale = min(1.0, config.cell_width / width)
    unit = width * scale / TYPICAL
    photo = np.rot90(reduced(photo, scale), -grid.turn)
    tint = _tint(photo, unit)
    light = None if tint is None else functools.reduce(cv2.max, cv2.split(photo))
    return Frame(darkest_channel(photo), scale, grid.turn, unit, tint, light)


def _tint(photo: np.ndarray, unit: float) -> np.ndarray | None:
    """How blue (positive) or red (negative) each pixel is beside the paper around it; None where there is no colour."""
    red, _, blue = (channel.astype(np.float32) for channel in cv2.split(photo))
    tint = cv2.GaussianBlur(2 * (blue - red) / (blue + red + 32), (0, 0), max(0.6, unit))
    if float(tint[::8, ::8].std()) < 1e-4:
        return None
    side = int(61 * unit) | 1
    return tint - cv2.blur(tint, (side, side))


def paper_contrast(grey: np.ndarray, unit: float) -> np.ndarray:
    """Darkness relative to the paper around; float32, 0 paper .. 1 black."""
    side = int(25 * unit) | 1
    paper = cv2.morphologyEx(cv2.GaussianBlur(grey, (3, 3), 0), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    paper = cv2.blur(paper, (side, side)).astype(np.float32)
    return np.clip(1 - grey / np.maximum(paper, 16), 0, 1)
