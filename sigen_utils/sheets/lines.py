"""Where the ruled lines of a table may run: darkness, rotation, vanishing points, one straightened picture.

Steps: thin dark structures are made visible whatever the light (black top-hat); the common rotation is the one
under which long horizontal and vertical runs hold most darkness; a vote over offset and slope shows how slopes
drift across the page (perspective), which gives a homography; in the straightened picture lines lie along the
axes up to a bow of a few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

RUN = 33  # px: a run this long, at the finding scale, is taken for ruling rather than writing
BOWS = range(-8, 9, 2)  # px: how far a line may bow in the straightened picture while lines are voted for
TILTS = range(-6, 7, 3)  # px: how far a line may still fall from end to end of it
STRIPS = 16  # upright strips of a picture that vote for lines


@dataclass(frozen=True)
class Straightened:
    """The photograph's darkness seen along the table's axes."""

    dark: np.ndarray  # float32 [h, w], 0 paper .. 1 ink, thin structures only
    to_photo: np.ndarray  # float64 [3, 3], straightened (x, y, 1) -> photograph
    size: tuple[int, int]  # height and width of the photograph

    @cached_property
    def inside(self) -> np.ndarray:
        """bool ``[h, w]``, False where the photograph does not reach."""
        full, back = np.ones((64, 64), np.uint8), np.diag([64 / self.size[1], 64 / self.size[0], 1.0])
        size = self.dark.shape[::-1]
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(full, back @ self.to_photo, size, flags=flags) > 0


def thin_darkness(grey: np.ndarray) -> np.ndarray:
    """Darkness of thin structures relative to what surrounds them.

    Parameters
    ----------
    grey
        uint8 ``[h, w]``.

    Returns
    -------
    numpy.ndarray
        float32 ``[h, w]`` in [0, 1]. Shadows, paper edges and the desk vanish: a closing leaves straight
        edges where they are.
    """
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    closed = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, np.ones((13, 13), np.uint8))
    closed = closed.astype(np.float32)
    return (closed - smooth) / np.maximum(closed, 24)


def long_runs(dark: np.ndarray, run: int = RUN) -> np.ndarray:
    """Darkness that goes on for `run` pixels along x, in lines that may fall by up to about a tenth."""
    levels = cv2.multiply(dark, 65535.0, dtype=cv2.CV_16U)  # filtered at twice the speed of floats
    along = cv2.blur(levels, (max(3, run // 4) | 1, 1))
    wide = cv2.dilate(along, np.ones((3, 1), np.uint8))
    runs = cv2.morphologyEx(wide, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    return cv2.multiply(runs, 1 / 65535, dtype=cv2.CV_32F)


def rotation(dark: np.ndarray) -> float:
    """Angle in degrees, within -45..45, by which the table is turned (positive: clockwise on screen)."""
    scale = min(1.0, 400 / max(dark.shape))
    small = cv2.dilate(dark, np.ones((3, 3), np.uint8))
    small = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = np.clip(small * 400, 0, 255).astype(np.uint8)

    def held(picture: np.ndarray, angle: float, run: int) -> float:
        turned = _rotated(picture, angle)
        rows = cv2.morphologyEx(turned, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
        cols = cv2.morphologyEx(turned, cv2.MORPH_OPEN, np.ones((run, 1), np.uint8))
        return cv2.sumElems(rows)[0] + cv2.sumElems(cols)[0]

    coarse = np.arange(-45, 45, 2.0)
    half = cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    scores = np.array([held(half, a, 11) for a in coarse])
    scores = scores + 0.5 * (np.roll(scores, 1) + np.roll(scores, -1))  # converging lines spread over angles
    best = coarse[int(scores.argmax())]
    fine = best + np.arange(-2, 2.01, 1.0)
    return float(fine[int(np.argmax([held(small, a, 21) for a in fine]))])


def _rotation_matrix(shape: tuple[int, int], angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    h, w = shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1.0)
    c, s = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (int(np.ceil(w * c + h * s)), int(np.ceil(w * s + h * c)))
    matrix[:, 2] += (np.array(size) - (w, h)) / 2
    return np.vstack([matrix, (0, 0, 1)]), size


def _rotated(image: np.ndarray, angle: float) -> np.ndarray:
    matrix, size = _rotation_matrix(image.shape, angle)
    return cv2.warpAffine(image, matrix[:2], size, flags=cv2.INTER_LINEAR)


def slope_drift(dark: np.ndarray, steepest: float = 0.14) -> tuple[float, float]:
    """How the slope of near-horizontal lines depends on their height.

    Returns
    -------
    tuple
        (slope at the middle, change of slope per pixel of height), from a vote over offset and slope in which
        every line is one peak: the pair whose path through the vote collects most squared votes.
    """
    step = 16
    w = dark.shape[1] // step * step
    half = cv2.resize(dark[:, :w], (w // 2, len(dark)), interpolation=cv2.INTER_AREA)
    runs = cv2.dilate(long_runs(half, RUN // 2), np.ones((3, 1), np.uint8))[::2]
    h = len(runs)
    runs = cv2.resize(runs, (w // step, h), interpolation=cv2.INTER_AREA)
    runs = cv2.multiply(runs, 400, dtype=cv2.CV_8U)  # sheared at twice the speed of floats
    slopes = np.linspace(-steepest, steepest, 57)
    vote = np.empty((len(slopes), h), np.float32)
    for i, slope in enumerate(slopes):
        # Only every second row is kept, so a slope counts half in these rows.
        shear = np.float64([[1, 0, 0], [-slope * step / 2, 1, slope * w / 4]])
        sheared = cv2.warpAffine(runs, shear, (runs.shape[1], h), flags=cv2.INTER_LINEAR)
        vote[i] = cv2.reduce(sheared, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0]
    vote = np.maximum(vote[:, : h // 2 * 2 : 2], vote[:, 1::2][:, : h // 2]) ** 2
    h //= 2
    y = (np.arange(h) - h / 2) / h
    drifts = np.linspace(-0.24, 0.24, 33)
    # A drift's path through the vote is the same for every middle slope, only begun elsewhere; beyond the steepest
    # slopes the outermost votes count.
    path = np.rint(drifts[:, None] * y / (slopes[1] - slopes[0])).astype(np.intp)
    beyond = int(np.abs(path).max(initial=0))
    vote = np.pad(vote, ((beyond, beyond), (0, 0)), mode="edge")
    path = (path + beyond) * h + np.arange(h)
    straightness = 1 - 0.05 * np.abs(drifts) / 0.24
    best = (-1.0, 0.0, 0.0)
    for i, middle in enumerate(slopes):
        score = vote[i:].ravel().take(path).sum(axis=1) * straightness
        k = int(score.argmax())
        best = max(best, (float(score[k]), float(middle), float(drifts[k])))
    h = dark.shape[0]
    return best[1], best[2] / h


def straighten(dark: np.ndarray, photo_scale: float) -> Straightened:
    """Rotate, then undo the perspective, so that the table's lines lie along the axes.

    Parameters
    ----------
    dark
        `thin_darkness` of the reduced photograph, float32 ``[h, w]``.
    photo_scale
        Size of the reduced photograph over that of the original, to give coordinates in the original.
    """
    turn, size = _rotation_matrix(dark.shape, rotation(dark))
    turned = dark if size == dark.shape[::-1] else cv2.warpAffine(dark, turn[:2], size, flags=cv2.INTER_LINEAR)
    h, w = turned.shape
    row, row_drift = slope_drift(turned)
    col, col_drift = slope_drift(cv2.transpose(turned))
    ys, xs = (0.15 * h, 0.85 * h), (0.15 * w, 0.85 * w)
    source, target = [], []
    for y in ys:
        slope = row + row_drift * (y - h / 2)
        for x in xs:
            lean = col + col_drift * (x - w / 2)
            # y_ = y + slope (x_ - w/2) and x_ = x + lean (y_ - h/2), solved for the crossing
            cross_y = (y + slope * (x - lean * h / 2 - w / 2)) / (1 - slope * lean)
            source.append((x + lean * (cross_y - h / 2), cross_y))
            target.append((x, y))
    warp = cv2.getPerspectiveTransform(np.float32(source), np.float32(target))
    full, size = _fit_canvas(warp @ turn, dark.shape)
    straight = cv2.warpPerspective(dark, full, size, flags=cv2.INTER_LINEAR)
    # Pixel centres: the reduced picture's (x + .5) is scale times the photograph's (x + .5).
    k = 1 / photo_scale
    enlarge = np.array([[k, 0, (k - 1) / 2], [0, k, (k - 1) / 2], [0, 0, 1]])
    photo = round(dark.shape[0] * k), round(dark.shape[1] * k)
    return Straightened(straight, enlarge @ np.linalg.inv(full), photo)


def _fit_canvas(matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Shift and scale so that the whole photograph lands on the canvas at about its own size."""
    h, w = shape
    corners = cv2.perspectiveTransform(np.float64([[[0, 0], [w, 0], [w, h], [0, h]]]), matrix)[0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = high - low
    scale = min(1.0, 1.5 * max(h, w) / max(size))  # strong perspective would blow one corner up
    shift = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale], [0, 0, 1.0]])
    return shift @ matrix, (int(np.ceil(size[0] * scale)) + 1, int(np.ceil(size[1] * scale)) + 1)


def candidates(runs: np.ndarray, limit: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Heights at which a near-horizontal line may run, with the share of the width it is seen on.

    Each of 16 upright strips of `runs` (from `long_runs`) votes for heights; strips are added along every gentle bow
    and tilt.

    Returns
    -------
    tuple
        positions float ``[n]`` in rising order, strengths float ``[n]`` in (0, 1].
    """
    strips = cv2.resize(runs, (STRIPS, runs.shape[0]), interpolation=cv2.INTER_AREA).T  # [strips, h]
    strips = cv2.dilate(np.ascontiguousarray(strips), np.ones((1, 3), np.uint8))
    noise = np.median(strips, axis=1, keepdims=True)
    top = np.quantile(strips, 0.985)
    votes, _ = vote(np.clip((strips - noise - 0.012) / max(0.35 * top, 0.02), 0, 1))
    return peaks(votes, limit, 12, 0.12)


def vote(strips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Votes of upright strips for heights, added along every gentle bow and tilt.

    Parameters
    ----------
    strips
        float32 ``[STRIPS, h]`` in [0, 1], whether a line is seen.

    Returns
    -------
    tuple
        The share of strips that agree on a height, float32 ``[h]``, and the (bow, tilt) they agree on, ``[h, 2]``.
    """
    u = np.linspace(-1, 1, STRIPS)
    h = strips.shape[1]
    beyond = max(map(abs, BOWS)) + max(map(abs, TILTS))
    strips = np.pad(strips, ((0, 0), (beyond, beyond)))  # nothing is seen past the ends
    best, shape = np.zeros(h, np.float32), np.zeros((h, 2), np.float32)
    for bow in BOWS:
        for tilt in TILTS:
            shift = np.rint(bow * (u**2 - 0.5) + tilt * u).astype(int)
            total = np.zeros(h, np.float32)
            for strip, s in zip(strips, (shift + beyond).tolist(), strict=True):
                total += strip[s : s + h]
            total *= (1 - 0.004 * (abs(bow) + abs(tilt))) / STRIPS
            better = total > best
            best[better], shape[better] = total[better], (bow, tilt)
    return best, shape


def peaks(profile: np.ndarray, limit: int, apart: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of the highest values, rising and more than `apart` from each other, and the values."""
    left, where, strength = profile.copy(), [], []
    for _ in range(limit):
        at = int(left.argmax())
        if left[at] < least:
            break
        level = profile[max(0, at - 4) : at + 5].tolist()
        flat = [k for k, value in enumerate(level, start=max(0, at - 4)) if value >= 0.98 * max(level)]
        where.append(sum(flat) / len(flat))  # the middle of a plateau, not its first pixel
        strength.append(float(left[at]))
        left[max(0, at - apart) : at + apart + 1] = 0
    order = np.argsort(where)
    return np.array(where)[order], np.array(strength)[order]
