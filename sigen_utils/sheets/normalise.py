"""A signature's ink as the models see it: upright, tight, centred, 128 x 128, black on white, even strokes."""

from __future__ import annotations

import cv2
import numpy as np

from .config import ExtractionConfig
from .sheet import Cell, Sheet

FINE = 4  # drawing is done this many times larger, then reduced by area averaging


def normalised(sheet: Sheet, cell: Cell, config: ExtractionConfig | None = None) -> np.ndarray:
    """The signature of one cell as it is stored.

    Parameters
    ----------
    sheet, cell
        What `extract_sheet` found.
    config
        ``size``, ``longest``, ``stroke``.

    Returns
    -------
    numpy.ndarray
        uint8 ``[size, size]``, ink 0 on paper 255 and nothing between. Turn and perspective are undone by the cell's
        corners; the ink's bounding box is scaled so that its longest side is ``config.longest``, and centred.
    """
    config = config or ExtractionConfig()
    quad = sheet.frame.from_photo(cell.quad) - np.array(cell.origin)
    return normalise_mask(cell.mask, config, quad)


def normalise_mask(mask: np.ndarray, config: ExtractionConfig, quad: np.ndarray | None = None) -> np.ndarray:
    """Normalise an ink mask (uint8 ``[h, w]``, ink > 127); `quad` are its cell's corners in the same pixels."""
    ys, xs = np.nonzero(mask > 127)
    if not len(xs):
        return np.full((config.size, config.size), 255, np.uint8)
    upright = np.eye(3) if quad is None else _upright(quad)
    points = np.stack([xs, ys], axis=-1).astype(np.float64)[:, None]
    placed = cv2.perspectiveTransform(points, upright)[:, 0]
    low, high = placed.min(axis=0) - 0.5, placed.max(axis=0) + 0.5
    # A lone dot is not blown up to a full page: no ink is enlarged more than a tenth of a cell would be.
    cell = float(max(mask.shape))
    if quad is not None:  # a wide column does not make for wide signatures
        cell = float(min(np.linalg.norm(quad[1] - quad[0]), 2.4 * np.linalg.norm(quad[3] - quad[0])))
    zoom = config.longest * FINE / max(float((high - low).max()), 0.2 * cell)
    side = config.size * FINE
    middle = (low + high) / 2
    shift = side / 2 - 0.5 - zoom * middle
    fit = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]])
    soft = _softened(cv2.copyMakeBorder(mask, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0))
    matrix = fit @ upright @ np.array([[1, 0, -4.0], [0, 1, -4.0], [0, 0, 1]])
    drawn = cv2.warpPerspective(soft, matrix, (side, side), flags=cv2.INTER_CUBIC) > 118
    drawn = even_strokes(drawn, config.stroke[0] * FINE, config.stroke[1] * FINE)
    small = cv2.resize(drawn.astype(np.float32), (config.size, config.size), interpolation=cv2.INTER_AREA)
    return np.where(small >= 0.5, 0, 255).astype(np.uint8)


def _softened(mask: np.ndarray) -> np.ndarray:
    """Round the steps of a mask's edges without losing strokes of one pixel; uint8 ``[h, w]``."""
    thin = mask - cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    soft, hair = cv2.GaussianBlur(mask, (0, 0), 0.7), cv2.GaussianBlur(thin, (0, 0), 0.7)
    return cv2.max(soft, cv2.add(hair, hair))


def _upright(quad: np.ndarray) -> np.ndarray:
    """Homography from a cell's corners to a rectangle of its own mean width and height."""
    width = (np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])) / 2
    height = (np.linalg.norm(quad[3] - quad[0]) + np.linalg.norm(quad[2] - quad[1])) / 2
    target = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    return cv2.getPerspectiveTransform(quad.astype(np.float32), target)


def even_strokes(ink: np.ndarray, thinnest: float, widest: float) -> np.ndarray:
    """Widen or narrow all strokes alike, so that the typical width lies between two bounds.

    Parameters
    ----------
    ink
        bool ``[h, w]``.
    thinnest, widest
        Bounds of the typical stroke width, in pixels. Signatures are scaled to one size, so without this a small
        one would be drawn with a felt pen and a long one with a hair.
    """
    inner = cv2.distanceTransform(ink.astype(np.uint8), cv2.DIST_L2, 5)
    ridge = ink & (inner >= cv2.dilate(inner, np.ones((3, 3), np.uint8)) - 0.2)
    if not ridge.any():
        return ink
    width = 2 * float(np.median(inner[ridge])) - 0.5
    if width < thinnest:
        return cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, 5) <= (thinnest - width) / 2
    if width > widest:
        core = inner > (width - widest) / 2
        kept = cv2.distanceTransform((~ridge).astype(np.uint8), cv2.DIST_L2, 5) <= thinnest / 2
        return core | (kept & ink)
    # Hairlines between thicker strokes must survive the reduction: the middle line keeps the least width.
    thin = ridge & (inner < thinnest / 2)
    return ink | (cv2.distanceTransform((~thin).astype(np.uint8), cv2.DIST_L2, 5) <= thinnest / 2)
