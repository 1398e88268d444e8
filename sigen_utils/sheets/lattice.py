"""Which of the seen lines make the table: rows whose pitch may drift, one narrow and n equal wide columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .config import ExtractionConfig
from .lines import Straightened, candidates, long_runs

MISSING = 0.6  # cost of a line that should be seen and is not; a line seen end to end earns 1
UNEXPLAINED = 0.9  # cost of a strong line inside the table that the fit leaves out
CLUTTER = 0.42  # lines weaker than this may be writing
HALF = 0.6  # every second line weaker than this share of the others: not ruled, but writing half way between rules


@dataclass(frozen=True)
class Lattice:
    """A table in the straightened picture, `flip`ped so that the ID column is on the left."""

    rows: np.ndarray  # float [n_rows + 1], rising
    cols: np.ndarray  # float [n_columns + 2], from the ID column outwards (falling if the ID column is on the right)
    row_seen: np.ndarray  # bool, False where a line was added by rule
    col_seen: np.ndarray
    score: float
    swapped: bool = False  # rows run along y of the straightened picture

    @property
    def turn(self) -> int:
        """Quarter turns, clockwise, that make the page upright."""
        left = self.cols[0] < self.cols[-1]
        return (3 if left else 1) if self.swapped else (0 if left else 2)


def find_lattices(straight: Straightened, config: ExtractionConfig) -> list[Lattice]:
    """Every reading of the lines as a table, best first (at most one for each of the four turns)."""
    runs = long_runs(straight.dark)
    runs_t = long_runs(cv2.transpose(straight.dark))
    seen, seen_t = _Lines(runs, straight.inside), _Lines(runs_t, straight.inside.T)
    found = [replace(fit, swapped=False) for fit in _fit(seen, seen_t, config)]
    found += [replace(fit, swapped=True) for fit in _fit(seen_t, seen, config)]
    return sorted(found, key=lambda fit: -fit.score)


class _Lines:
    """Near-horizontal runs of a picture and the lines they may be."""

    def __init__(self, runs: np.ndarray, inside: np.ndarray):
        self.runs, self.inside = runs, inside
        self.at, strength = candidates(runs)
        # A table need not fill the photograph: strengths count relative to a typical strong line.
        self.strength = np.clip(strength / np.sort(strength)[-5:].mean(), 0, 1.1) if len(strength) else strength


def _fit(level: _Lines, upright: _Lines, config: ExtractionConfig) -> list[Lattice]:
    """Tables whose rows run along `level`, with the ID column on either side."""
    if len(level.at) < 3 or len(upright.at) < 3:
        return []
    chain, row_score = row_chain(level.at, level.strength)
    chain = drop_halves(chain, level.at, level.strength)
    if len(chain) < config.min_rows + 1:
        return []
    along = _presence(level.runs, chain)
    span = slice(max(0, int(chain[0])), int(chain[-1]) + 1)
    covered = level.inside[span].mean(axis=0)
    fits = []
    for mirrored in (False, True):
        fit = fit_columns(upright.at, upright.strength, along, covered, mirrored, config)
        if fit is None:
            continue
        cols, col_seen, col_score = fit
        rows, row_seen, extra = _outer_rows(chain, cols, upright.runs, level)
        shape = np.log(np.median(np.abs(np.diff(cols[1:]))) / np.median(np.diff(rows)) / 2)
        score = row_score + col_score + extra - 0.25 * min(2.0, abs(shape))
        fits.append(Lattice(rows, cols, row_seen, col_seen, float(score)))
    return fits


def row_chain(y: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, float]:
    """The chain of lines with a slowly drifting pitch that explains most.

    Parameters
    ----------
    y, strength
        Candidates, rising.

    Returns
    -------
    tuple
        line positions (lines that were jumped over are put in), score. Dynamic programming over pairs of lines:
        the pitch may change by a sixth from row to row; one line in a gap may be missing.
    """
    y, strength = y.tolist(), strength.tolist()  # plain floats: the loops below are Python
    n = len(y)
    strong = np.maximum(np.array(strength) - CLUTTER, 0) * UNEXPLAINED / (1 - CLUTTER)
    left_out = [0.0, *np.cumsum(strong).tolist()]
    smallest = 0.022 * (y[-1] - y[0])
    best: dict[tuple[int, int, int], float] = {}
    ending: list[list[tuple[tuple[int, int, int], float, float]]] = [[] for _ in range(n)]  # key, score, log pitch
    back: dict[tuple[int, int, int], tuple[int, int, int] | None] = {}
    for j in range(1, n):
        for i in range(j):
            for steps in (1, 2):
                pitch = (y[j] - y[i]) / steps
                if pitch < smallest:
                    continue
                gain = strength[j] - (left_out[j] - left_out[i + 1]) - MISSING * (steps - 1)
                if gain < -1.0:  # jumps over strong lines: no table, and most pairs are like this
                    continue
                score, parent = strength[i] + gain, None
                log_pitch = math.log(pitch)
                for key, before, log_before in ending[i]:
                    drift = abs(log_pitch - log_before)
                    if drift < 0.17 and before + gain - 2 * drift > score:
                        score, parent = before + gain - 2 * drift, key
                best[i, j, steps] = score
                back[i, j, steps] = parent
                ending[j].append(((i, j, steps), score, log_pitch))
    if not best:
        return np.zeros(0), 0.0
    outside = np.maximum(np.array(strength) - CLUTTER, 0) * 0.5
    total = [0.0, *np.cumsum(outside).tolist()]
    starts = {key: _start(back, key) for key in best}
    key = max(best, key=lambda k: best[k] - total[starts[k]] - (total[-1] - total[k[1] + 1]))
    score = best[key] - total[starts[key]] - (total[-1] - total[key[1] + 1])
    chain = [y[key[1]]]
    while key is not None:
        i, j, steps = key
        chain += [y[j] - (y[j] - y[i]) * s / steps for s in range(1, steps + 1)]
        key = back[key]
    return np.array(chain[::-1]), float(score)


def drop_halves(chain: np.ndarray, y: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A chain without the lines half way between rules: signatures written in the middle of every cell make them.

    Every second line clearly weaker than its neighbours is no ruling: print fades over a page, but not in turn.
    """
    if len(chain) < 5:
        return chain
    hit, _ = _nearest(y, strength, chain, 0.1 * float(np.median(np.diff(chain))))
    even, odd = hit[::2].mean(), hit[1::2].mean()
    if odd < HALF * even:
        return chain[::2]
    return chain[1::2] if even < HALF * odd else chain


def _start(back: dict, key: tuple[int, int, int]) -> int:
    while back[key] is not None:
        key = back[key]
    return key[0]


def _presence(runs: np.ndarray, chain: np.ndarray, bow: int = 9) -> np.ndarray:
    """Share of the chain's lines that are seen at every x; float ``[w]``."""
    levels = []
    for y in chain:
        low, high = int(max(0, y - bow)), int(y + bow + 1)
        if low < runs.shape[0] and high > 0:
            levels.append(runs[low:high].max(axis=0))
    levels = np.array(levels)
    floor = max(0.02, 0.3 * float(np.median(levels)))
    return (levels > floor).mean(axis=0)


def fit_columns(x, strength, along, covered, mirrored, config):
    """One narrow column and n equal wide ones.

    Parameters
    ----------
    x, strength
        Candidate upright lines.
    along
        Share of row lines seen at every x: columns exist only where row lines go on.
    covered
        Share of the table's height that the photograph covers at every x.
    mirrored
        The narrow column is on the right (the page lies upside down).

    Returns
    -------
    tuple or None
        line positions from the narrow column outwards, which of them were seen, score.
    """
    width = len(along)
    if mirrored:
        x, strength, along, covered = width - 1 - x[::-1], strength[::-1], along[::-1], covered[::-1]
    best = None
    for n in range(2, config.max_columns + 1):
        first, pitch = _column_hypotheses(x, strength, n, width)
        if not len(first):
            continue
        score, lines, seen = _score_columns(x, strength, along, covered, first, pitch, n, config)
        k = int(score.argmax())
        if best is None or score[k] > best[2]:
            best = lines[k], seen[k], float(score[k])
    if best is None:
        return None
    lines, seen, score = best
    return (width - 1 - lines if mirrored else lines), seen, score


def _column_hypotheses(x, strength, n, width):
    """Where the first wide column may begin and how wide it may be: two seen lines as its m-th and k-th line."""
    anchors = np.sort(x[np.argsort(-strength)[:18]])
    i, j = np.triu_indices(len(anchors), 1)
    steps = [(m, k - m) for m in range(n) for k in range(m + 1, n + 1)]
    m, gaps = np.array(steps).T
    pitch = ((anchors[j] - anchors[i])[:, None] / gaps).ravel()
    first = (anchors[i][:, None] - m * pitch.reshape(len(i), -1)).ravel()
    possible = (pitch > 0.04 * width) & (pitch < 0.6 * width)
    possible &= (first > -0.2 * pitch) & (first + n * pitch < width + 0.6 * pitch)
    first, pitch = first[possible], pitch[possible]
    hit, _ = _nearest(x, strength, first[:, None] + pitch[:, None] * np.arange(n + 1), 0.06 * pitch[:, None])
    best = np.argsort(-hit.sum(axis=1))[:120]  # the narrow column is only sought beside the likely ones
    return first[best], pitch[best]


def _nearest(x, strength, at, tolerance):
    """Strongest-nearest candidate to each position: (strength or 0, its place or the position itself)."""
    last = len(x) - 1
    right = np.minimum(np.maximum(np.searchsorted(x, at), 1), last)
    near = np.where(np.abs(x[right] - at) < np.abs(x[right - 1] - at), right, right - 1)
    best = np.where(np.abs(x[near] - at) <= tolerance, strength[near], 0.0)
    place = np.where(best > 0, x[near], at)
    for other in (np.maximum(near - 1, 0), np.minimum(near + 1, last)):
        better = (np.abs(x[other] - at) <= tolerance) & (strength[other] > best + 0.3)
        best, place = np.where(better, strength[other], best), np.where(better, x[other], place)
    return best, place


def _score_columns(x, strength, along, covered, first, pitch, n, config):
    width = len(along)
    at = first[:, None] + pitch[:, None] * np.arange(n + 1)
    hit, place = _nearest(x, strength, at, 0.06 * pitch[:, None])
    ratios = np.linspace(0.16, 0.8, 33)  # as far apart as a line may lie from where it is expected
    narrow = first[:, None] - ratios * pitch[:, None]
    narrow_hit, narrow_place = _nearest(x, strength, narrow, 0.02 * pitch[:, None])
    off = 1 - _at(covered, narrow, width)
    worth = narrow_hit - MISSING * (narrow_hit < 0.2) * (1 - off) - 1.2 * np.abs(ratios - config.id_width)
    pick = worth.argmax(axis=1)[:, None]
    lines = np.concatenate([np.take_along_axis(narrow_place, pick, 1), place], axis=1)
    hits = np.concatenate([np.take_along_axis(narrow_hit, pick, 1), hit], axis=1)
    seen = hits >= 0.2
    missing = MISSING * (~seen * _at(covered, lines, width)).sum(axis=1)
    misfit = 4 * np.abs(place - at).mean(axis=1) / pitch
    totals = np.concatenate([[0], np.cumsum(np.maximum(strength - CLUTTER, 0) / (1 - CLUTTER))])
    low, high = np.searchsorted(x, lines[:, 0] - 1), np.searchsorted(x, lines[:, -1] + 1)
    matched = (np.maximum(hits - CLUTTER, 0) / (1 - CLUTTER)).sum(axis=1)
    within = np.maximum(totals[high] - totals[low] - matched, 0)
    beyond = totals[-1] - (totals[high] - totals[low])
    prior = 0.4 * (n == config.columns) - 0.9 * np.abs(ratios[pick[:, 0]] - config.id_width)
    cover = _coverage(along, covered, lines, pitch)
    halves = 3.0 * (hits[:, 2::2].mean(axis=1) < HALF * hits[:, 1::2].mean(axis=1)) * (n % 2 == 0) * (n >= 4)
    score = hits.sum(axis=1) - missing - misfit - UNEXPLAINED * within - 0.5 * beyond + prior - cover - halves
    return score, lines, seen


def _at(profile, where, width):
    """Profile read at positions, 0 outside the picture."""
    index = np.rint(where).astype(int)
    return np.where((index >= 3) & (index < width - 3), profile[np.clip(index, 0, width - 1)], 0.0)


def _coverage(along, covered, lines, pitch):
    """Cost of columns without row lines, and of row lines that go on beyond the last column."""
    sums = np.concatenate([[0], np.cumsum(along * covered)])
    area = np.concatenate([[0], np.cumsum(covered)])

    def share(a, b):
        a = np.clip(np.rint(a).astype(int), 0, len(along))
        b = np.clip(np.rint(b).astype(int), 0, len(along))
        size = area[b] - area[a]
        return np.where(size > 0, (sums[b] - sums[a]) / np.maximum(size, 1e-6), np.nan), size

    inside, size = share(lines[:, :-1], lines[:, 1:])
    empty = np.where(size > 0.05 * pitch[:, None], np.maximum(0.75 - inside, 0) * 2.0, 1.2).sum(axis=1)
    after, after_size = share(lines[:, -1] + 0.04 * pitch, lines[:, -1] + 0.6 * pitch)
    before, before_size = share(lines[:, 0] - 0.3 * pitch, lines[:, 0] - 0.04 * pitch)
    goes_on = np.where(after_size > 0.06 * pitch, np.nan_to_num(after), 0) * 1.5
    return empty + goes_on + np.where(before_size > 0.06 * pitch, np.nan_to_num(before), 0) * 1.5


def _outer_rows(chain, cols, upright_runs, level):
    """Add a first or last row line where the upright lines go on past the chain by about a row."""
    low, high = sorted((cols[0], cols[-1]))
    span = slice(max(0, int(low)), int(high) + 1)
    covered = level.inside[:, span].mean(axis=1)
    along = _presence(upright_runs, cols)
    rows, seen = list(chain), [bool(np.abs(level.at - r).min() < 6) for r in chain]
    added = 0.0
    for end in (0, -1):
        pitch = rows[1] - rows[0] if end == 0 else rows[-1] - rows[-2]
        new = rows[end] + (-pitch if end == 0 else pitch)
        a, b = sorted((rows[end] + (-0.06 if end == 0 else 0.06) * pitch, new))
        a, b = int(np.clip(a, 0, len(along))), int(np.clip(b, 0, len(along)))
        here = covered[a:b] > 0.6
        if here.sum() < 0.5 * pitch or along[a:b][here].mean() < 0.6:
            continue
        rows.insert(0, new) if end == 0 else rows.append(new)
        seen.insert(0, False) if end == 0 else seen.append(False)
        added += 0.3
    return np.array(rows), np.array(seen), added
