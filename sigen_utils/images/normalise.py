"""Ink as the models see it, of sheets, pictures and synthetic writers alike: tight, centred, even strokes."""

from __future__ import annotations

import cv2
import numpy as np

from .parts import ridge_of

SIZE = 128  # side of a stored signature
LONGEST = 116  # longest side of the ink inside it, so that 6 px of paper stay free
STROKE = (2.2, 3.0)  # stroke width, in stored pixels, that is aimed at
FINE = 4  # drawing is done this many times larger, then reduced by area averaging


def normalise_mask(
    mask: np.ndarray,
    quad: np.ndarray | None = None,
    cell: float = 0.0,
    size: int = SIZE,
    longest: int = LONGEST,
    stroke: tuple[float, float] = STROKE,
) -> np.ndarray:
    """Normalise an ink mask.

    Parameters
    ----------
    mask
        uint8 ``[h, w]``, ink > 127.
    quad
        float ``[4, 2]``, corners of the mask's cell in the same pixels, clockwise from the top left: its perspective is
        undone. None where the picture is upright.
    cell
        Width of the place that was signed, in pixels, where it is known: ink is not enlarged more than a fifth of it
        would be, so that a lone dot stays a dot. With a `quad` its upper edge, or 2.4 times its height if less.
    size, longest
        Side of the result, and of the ink's longer side in it, in pixels.
    stroke
        Bounds of the typical stroke width, in pixels of the result.

    Returns
    -------
    numpy.ndarray
        uint8 ``[size, size]``, 255 = ink, 0 = paper and nothing between; all 0 for an empty mask.
    """
    ys, xs = np.nonzero(mask > 127)
    if not len(xs):
        return np.zeros((size, size), np.uint8)
    if quad is None:
        mask, loss = _reduced(mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1], longest * FINE)
        ys, xs, cell = *np.nonzero(mask > 127), cell * loss
    else:
        # A wide column does not make for wide signatures
        cell = float(min(np.linalg.norm(quad[1] - quad[0]), 2.4 * np.linalg.norm(quad[3] - quad[0])))
    upright = np.eye(3) if quad is None else _upright(quad)
    points = np.stack([xs, ys], axis=-1).astype(np.float64)[:, None]
    placed = cv2.perspectiveTransform(points, upright)[:, 0]
    low, high = placed.min(axis=0) - 0.5, placed.max(axis=0) + 0.5
    zoom = longest * FINE / max(float((high - low).max()), 0.2 * cell)
    side = size * FINE
    shift = side / 2 - 0.5 - zoom * (low + high) / 2
    fit = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]])
    soft = _softened(cv2.copyMakeBorder(mask, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0))
    matrix = fit @ upright @ np.array([[1, 0, -4.0], [0, 1, -4.0], [0, 0, 1]])
    drawn = cv2.warpPerspective(soft, matrix, (side, side), flags=cv2.INTER_CUBIC) > 118
    drawn = even_strokes(drawn, stroke[0] * FINE, stroke[1] * FINE)
    small = cv2.resize(drawn.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.where(small >= 0.5, 255, 0).astype(np.uint8)


def _reduced(mask: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """A mask larger than the drawing, averaged over areas without losing or breaking a stroke; and its scale.

    A stroke of a fraction of a pixel covers that fraction only, so the fewer a stroke's pixels the less coverage is
    asked for; `even_strokes` gives it its width again.
    """
    scale = longest / max(mask.shape)
    if scale > 0.9:
        return mask, 1.0
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    ink = (mask > 127).astype(np.uint8)
    small = cv2.resize(ink * np.float32(1), size, interpolation=cv2.INTER_AREA)
    inner = cv2.distanceTransform(np.pad(ink, 1), cv2.DIST_L2, 3)
    ridge = ridge_of(inner)
    thin = 2 * float(np.percentile(inner[ridge], 10)) * scale  # width of the thinnest strokes in the small picture
    asked = float(np.clip(0.3 * thin, 0.05, 0.46))
    return np.where(small > asked, 255, 0).astype(np.uint8), scale


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
    ridge = ridge_of(inner)
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
