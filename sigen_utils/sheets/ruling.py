"""Every line of a picture that may be ruled, and where each is seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .lines import RUN, STRIPS, long_runs, peaks, vote

CAP = 0.1  # darkness above this counts no more: a hairline weighs as much as a frame
BIN = 8  # px along a line for which its presence is asked


@dataclass(frozen=True)
class Rules:
    """Near-horizontal lines of a picture.

    Attributes
    ----------
    at
        float ``[n]``, height of each line, rising.
    path
        float ``[n, bins]``, its height in each bin of `BIN` pixels along x.
    present
        bool ``[n, bins]``, where it is seen.
    level
        float ``[n]``, median darkness where it is seen, not capped.
    dark
        The picture itself, float32 ``[h, w]``.
    """

    at: np.ndarray
    path: np.ndarray
    present: np.ndarray
    level: np.ndarray
    dark: np.ndarray

    def chosen(self, lines: np.ndarray | list[int]) -> Rules:
        """Some of the lines."""
        return Rules(self.at[lines], self.path[lines], self.present[lines], self.level[lines], self.dark)

    def smooth(self, degree: int = 2) -> np.ndarray:
        """Paths as gentle bows, so that what they cross does not bend them; float ``[n, bins]``."""
        u = np.linspace(-1, 1, self.path.shape[1])
        fits = []
        for path, seen in zip(self.path, self.present, strict=True):
            weight = seen.astype(float)
            for _ in range(3):
                bow = np.polynomial.legendre.legfit(u, path, degree, w=weight + 1e-6)
                smooth = np.polynomial.legendre.legval(u, bow)
                weight = seen * (np.abs(path - smooth) < 2.0)
            fits.append(smooth)
        return np.array(fits).reshape(-1, len(u))

    def extents(self) -> np.ndarray:
        """Where the longest stretch of each line begins and ends; float ``[n, 2]``, in pixels."""
        ends = np.zeros((len(self.at), 2))
        for line, a, b, _ in self.pieces():
            if b - a > ends[line, 1] - ends[line, 0]:
                ends[line] = a, b
        return ends

    def pieces(self, shortest: int = 5) -> list[tuple[int, float, float, float]]:
        """Stretches (line, from, to, length that is seen) in pixels; gaps of up to four bins are bridged."""
        if not len(self.present):
            return []
        closed = cv2.morphologyEx(self.present.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, 5), np.uint8))
        edges = np.diff(np.pad(closed, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (line, begin), (_, end) = np.nonzero(edges > 0), np.nonzero(edges < 0)
        seen = np.pad(self.present.cumsum(axis=1), ((0, 0), (1, 0)))
        length = seen[line, end] - seen[line, begin]
        long = end - begin >= shortest
        pieces = np.stack([line, begin * BIN, end * BIN, length * BIN], axis=1)[long]
        return list(map(tuple, pieces.tolist()))


def find_rules(dark: np.ndarray, limit: int = 90) -> Rules:
    """Every line that may be ruled, seen end to end or not."""
    h, w = dark.shape
    bins = max(2, w // BIN)

    def binned(picture: np.ndarray) -> np.ndarray:
        thick = cv2.dilate(picture, np.ones((3, 1), np.uint8))
        return cv2.transpose(cv2.resize(thick, (bins, h), interpolation=cv2.INTER_AREA))

    inner = dark[:, : bins * BIN] if w > BIN * bins else dark
    half = cv2.resize(cv2.min(inner, CAP), (bins * BIN // 2, h), interpolation=cv2.INTER_AREA)
    runs = long_runs(half, RUN // 2)
    floor = max(0.014, 2.5 * float(np.median(runs[::3, ::3])))
    seen = np.clip((binned(runs) - floor) / 0.012, 0, 1)
    strips = seen if bins >= STRIPS else np.repeat(seen, -(-STRIPS // bins), axis=0)  # a low slip has few bins
    votes, shape = vote(np.stack([part.mean(axis=0) for part in np.array_split(strips, STRIPS)]))
    at, _ = peaks(votes, limit, 9, 0.1)
    if not len(at):
        return Rules(at, np.zeros((0, bins)), np.zeros((0, bins), bool), at, dark)
    along = np.linspace(-1, 1, bins)
    bow, tilt = shape[np.rint(at).astype(int)].T
    path = at[:, None] + bow[:, None] * (along**2 - 0.5) + tilt[:, None] * along
    column, edge, steps = np.arange(bins)[None], ((0, 0), (16, 16)), np.arange(-4, 5, dtype=np.float32)
    seen = np.pad(seen, edge)
    # At each height: the most that is seen within 4 px, how much in all, and how far up or down that lies
    near = cv2.dilate(seen, np.ones((1, 9), np.uint8))
    mass = cv2.boxFilter(seen, -1, (9, 1), normalize=False) + 9e-6
    off = cv2.filter2D(seen, -1, steps[None]) / mass
    bends = np.polynomial.legendre.legvander(along, 3)
    products = (bends[:, :, None] * bends[:, None]).reshape(bins, -1)
    for _ in range(2):  # from gentle bows and tilts to the line itself, end by end
        row = np.rint(path).astype(int).clip(-6, h + 5) + 16
        weight = near[column, row] ** 2 + 1e-4
        right = (weight * (path + off[column, row])) @ bends
        path = np.linalg.solve((weight @ products).reshape(-1, 4, 4), right[..., None])[..., 0] @ bends.T
    row = np.rint(path).astype(int).clip(-6, h + 5) + 16
    beside = cv2.boxFilter(seen, -1, (4, 1), anchor=(0, 0))  # of four heights from each on
    writing = np.minimum(beside[column, row - 10], beside[column, row + 7]) >= 0.5  # dark on both sides
    present = (near[column, row] > 0.5) & ~writing
    at = (path * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)  # readings of one line have become alike
    kept = _distinct(path, present)
    kept = kept[np.argsort(at[kept])]
    depth = cv2.dilate(np.pad(binned(inner), edge), np.ones((1, 9), np.uint8))[column, row]
    n, depth = present[kept].sum(axis=1)[:, None], np.sort(np.where(present[kept], depth[kept], np.inf), axis=1)
    level = np.take_along_axis(depth, np.hstack([(n - 1) // 2, n // 2]), axis=1).mean(axis=1).astype(float)  # medians
    return Rules(at[kept], path[kept], present[kept], level, dark)


def _distinct(path: np.ndarray, present: np.ndarray, apart: float = 12.0) -> np.ndarray:
    """Indices of lines, each seen on at least a tenth of the width, without second readings of the same one."""
    seen = present.sum(axis=1)
    path = path.astype(np.float32)
    away = path[:, None] - path[None]
    np.abs(away, out=away)
    away = np.einsum("kjb,kb->kj", away, present.astype(np.float32)) / np.maximum(seen, 1)[:, None]
    chosen: list[int] = []
    for k in np.argsort(-seen, kind="stable"):
        if seen[k] < 0.08 * path.shape[1]:
            break
        if not chosen or away[k, chosen].min() > apart:
            chosen.append(int(k))
    return np.sort(np.array(chosen, int))
