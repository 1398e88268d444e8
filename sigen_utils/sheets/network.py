"""Tables of any shape: ruled lines that cross each other make a network, and each network is a table.

Unlike `lattice`, which knows how a sheet of signatures is laid out, this asks only what is ruled: where each line
begins and ends, which lines meet, and which cells two columns share. Faint and broken lines count as much as dark
ones, because darkness is capped before it is summed along a line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .lines import Straightened, peaks
from .paper import PaperRules, paper_rules
from .ruling import BIN, Rules, find_rules

NEAR = 14  # px: lines that end this close to each other meet
SURE = 0.8  # a line that spans this share of its table is ruled
FEW_ROWS = 4  # a table of fewer may hold lines that only one of its rows has
SHORT_SEEN = 0.9  # share of such a line that is seen from one level line to the next ...
SHORT_LEVEL = 0.4, 2.5  # ... from and up to these shares of the darkness of the faintest line, and of the darkest
SHORTEST = 45  # px: in a row as low, letters reach from line to line
SHORT_GAP = 11  # px: dashes are closer to each other
WIDE_CELL = 2.5  # width over height of a cell from which on it may hold two
DASHES = 17  # px between dashes of a line, at most
COVER = 0.5  # one that spans less than this is writing, or belongs to a header only


@dataclass(frozen=True)
class Table:
    """One table in the straightened picture: positions of its lines and what is seen of them.

    `rows` and `cols` rise; `row_seen` and `col_seen` are False for lines that were added where others end.
    """

    rows: np.ndarray
    cols: np.ndarray
    row_seen: np.ndarray
    col_seen: np.ndarray
    sides: np.ndarray  # float [rows, columns + 1], share of each upright side that is seen
    tops: np.ndarray  # float [rows + 1, columns], share of each level side that is seen
    row_lines: np.ndarray  # int, which of the picture's level and upright rules the seen lines are
    col_lines: np.ndarray
    row_rules: Rules  # the seen lines themselves
    col_rules: Rules
    by_content: bool = False  # columns are not ruled, but where every row is blank

    def transposed(self) -> Table:
        """The same table with x and y exchanged."""
        return Table(self.cols, self.rows, self.col_seen, self.row_seen, self.tops.T, self.sides.T, self.col_lines,
                     self.row_lines, self.col_rules, self.row_rules, self.by_content)  # fmt: skip

    def cut(self, axis: int, first: int, last: int) -> Table:
        """The columns (axis 1) or rows (0) from `first` up to `last`."""
        lines, cells = slice(first, last + 1), slice(first, last)
        own, seen = (self.cols, self.col_seen) if axis else (self.rows, self.row_seen)
        kept = (np.flatnonzero(seen) >= first) & (np.flatnonzero(seen) <= last)
        if axis:
            return replace(self, cols=own[lines], col_seen=seen[lines], sides=self.sides[:, lines],
                           tops=self.tops[:, cells], col_lines=self.col_lines[kept],
                           col_rules=self.col_rules.chosen(kept))  # fmt: skip
        return replace(self, rows=own[lines], row_seen=seen[lines], sides=self.sides[cells], tops=self.tops[lines],
                       row_lines=self.row_lines[kept], row_rules=self.row_rules.chosen(kept))  # fmt: skip

    @property
    def tidy(self) -> float:
        """Share of all sides that are ruled."""
        return float(np.concatenate([self.sides.ravel(), self.tops.ravel()]).mean())


def find_tables(straight: Straightened, least: int = 2, bridged: str = "") -> tuple[list[Table], PaperRules | None]:
    """Tables of at least `least` rows, largest first, and the rules printed on the paper, if it has any.

    Where dashes lie far apart, `bridged` closes the gaps between them: ``"crossings"`` only when it is asked whether
    lines meet, ``"lines"`` before lines are looked for, at the risk that writing becomes lines.
    """
    dark, dark_t = straight.dark, cv2.transpose(straight.dark)
    closed = [cv2.morphologyEx(one, cv2.MORPH_CLOSE, np.ones((1, DASHES), np.uint8)) if bridged else one
              for one in (dark, dark_t)]  # fmt: skip
    if bridged == "lines":
        dark, dark_t = closed
    level, upright = replace(find_rules(dark), dark=closed[0]), replace(find_rules(dark_t), dark=closed[1])
    found = tables_of(level, upright, least)
    paper = paper_rules(level, upright, found[0]) if found else None
    if paper is not None:
        # What is as faint as the paper's rules is taken away, so that lines beside them are seen again.
        level = find_rules(np.maximum(dark - paper.level, 0))
        upright = find_rules(np.maximum(dark_t - paper.level, 0))
        found = tables_of(level, upright, least)
    return found, paper


def tables_of(level: Rules, upright: Rules, least: int = 2) -> list[Table]:
    """Networks of lines that meet, of at least `least` rows and two columns.

    With 1 as the least, tables that stand on end count too: two upright lines and three or more level ones.
    """
    across, down = level.pieces(), upright.pieces()
    if not across or not down:
        return []
    meet = _meeting(level, upright, across, down)
    groups = _connected(meet)
    found = []
    for group in np.unique(groups):
        rows = [piece for piece, g in zip(across, groups, strict=False) if g == group]
        cols = [piece for piece, g in zip(down, groups[len(across) :], strict=True) if g == group]
        table = _table(level, upright, rows, cols) if len(rows) > least and cols else None
        if table is not None and min(len(table.rows), len(table.cols)) > least:
            found += _parts(table, least)
    return sorted(found, key=lambda t: -np.ptp(t.rows) * np.ptp(t.cols))


def with_short_lines(table: Table, dark: np.ndarray) -> Table:
    """A small table with the lines that only some of its rows have, or only some of its columns.

    Beside a header or a footer, the upright lines of a few rows are no longer than strokes of a pen. So each row is
    looked at by itself: a ruled line runs straight from the line above to that below.
    """
    table = _with_short_columns(table, dark)
    return _with_short_columns(table.transposed(), cv2.transpose(dark)).transposed()


def _with_short_columns(table: Table, dark: np.ndarray) -> Table:
    rows = len(table.rows) - 1
    if rows > FEW_ROWS or not len(table.row_rules.at):
        return table
    width, levels = dark.shape[1], np.concatenate([table.row_rules.level, table.col_rules.level])
    along, path = (np.arange(table.row_rules.path.shape[1]) + 0.5) * BIN, iter(table.row_rules.smooth())
    lines = [np.interp(np.arange(width), along, next(path)) if seen else np.full(width, at)
             for at, seen in zip(table.rows, table.row_seen, strict=True)]  # fmt: skip
    bands = [
        _Band.between(dark, top, bottom, SHORT_LEVEL[0] * float(levels.min()))
        for top, bottom in zip(lines[:-1], lines[1:], strict=True)
    ]
    if rows == 1:  # its lines are as long as it is high; so are some strokes, but they are not straight
        straight = [bands[0].share_at(x) > SHORT_SEEN for x in table.cols]
        kept = np.array(straight) | ~table.col_seen | (np.arange(len(straight)) % (len(straight) - 1) == 0)
        return table if kept.all() else _chosen_columns(table, kept)
    found: dict[float, np.ndarray] = {}  # place of a line -> share of it that is seen in each row
    for row, band in enumerate(bands):
        for x, share in band.lines(table.cols, SHORT_LEVEL[1] * float(levels.max())):
            at = next((other for other in found if abs(other - x) < NEAR), x)
            found.setdefault(at, np.zeros(rows))[row] = share
    return _with_columns(table, found, float(np.median(levels))) if found else table


def _chosen_columns(table: Table, kept: np.ndarray) -> Table:
    """A table with some of its upright lines, bool ``[columns + 1]``."""
    seen, cols = kept[table.col_seen], table.cols[kept]
    tops = shares_of(table.row_rules, list(range(len(table.row_rules.at))), cols, table.row_seen)
    return replace(table, cols=cols, col_seen=table.col_seen[kept], col_lines=table.col_lines[seen],
                   col_rules=table.col_rules.chosen(seen), sides=table.sides[:, kept], tops=tops)  # fmt: skip


def _with_columns(table: Table, found: dict[float, np.ndarray], level: float) -> Table:
    """A table with more upright lines: their places, and the share of each that is seen in each row."""
    cols = np.concatenate([table.cols, list(found)])
    order = np.argsort(cols)
    bins = table.col_rules.path.shape[1]
    at, places = np.array(list(found)), (np.arange(bins) + 0.5) * BIN
    inside = [np.interp(places, (table.rows[:-1] + table.rows[1:]) / 2, share) > 0 for share in found.values()]
    every = Rules(
        np.concatenate([table.col_rules.at, at]),
        np.concatenate([table.col_rules.path, np.repeat(at[:, None], bins, axis=1)]),
        np.concatenate([table.col_rules.present, inside]),
        np.concatenate([table.col_rules.level, np.full(len(at), level)]),
        table.col_rules.dark,
    )
    seen = np.concatenate([table.col_seen, np.ones(len(at), bool)])[order]
    lines = np.concatenate([table.col_lines, np.full(len(at), -1)])  # none of the picture's
    by_place = np.argsort(every.at)
    return replace(table, cols=cols[order], col_seen=seen, col_rules=every.chosen(by_place), col_lines=lines[by_place],
                   sides=np.concatenate([table.sides, np.array(list(found.values())).T], axis=1)[:, order],
                   tops=shares_of(table.row_rules, list(range(len(table.row_rules.at))), cols[order],
                                  table.row_seen))  # fmt: skip


@dataclass(frozen=True)
class _Band:
    """What lies between two level lines, straightened: darkness ``[h, w]``, and how straight upright lines are.

    `share` is float ``[w]``: the share of a straight line through each x, tilted by a few pixels at most, that is
    inked; 0 where it does not reach both level lines. `high` is how far these are from each other.
    """

    wide: np.ndarray
    inked: np.ndarray
    share: np.ndarray
    high: float

    @classmethod
    def between(cls, dark: np.ndarray, top: np.ndarray, bottom: np.ndarray, least: float) -> _Band:
        """`top` and `bottom` are the heights of the level lines at each x; ink is darker than `least`."""
        high = float(np.median(bottom - top))
        down = np.linspace(5, max(high - 5, 6), max(int(high) - 9, 2))[:, None] / high
        y = (top + down * (bottom - top)).astype(np.float32)
        x = np.broadcast_to(np.arange(dark.shape[1], dtype=np.float32), y.shape)
        band = cv2.remap(dark, x, y, cv2.INTER_LINEAR)
        band = cv2.morphologyEx(band, cv2.MORPH_CLOSE, np.ones((SHORT_GAP, 1), np.uint8))  # dashes
        wide = cv2.dilate(band, np.ones((1, 3), np.uint8))
        inked = (wide > least).astype(np.float32)
        h, w = inked.shape
        column, middle = np.arange(w)[None], np.linspace(-0.5, 0.5, h)[:, None]
        share, end = np.zeros(w), max(h // 6, 1)
        for tilt in range(-6, 7):
            at = (column + np.rint(tilt * middle).astype(int)).clip(0, w - 1)
            sheared = np.take_along_axis(inked, at, axis=1)
            ends = np.minimum(sheared[:end].mean(axis=0), sheared[-end:].mean(axis=0))
            share = np.maximum(share, np.where(ends > 0.7, sheared.mean(axis=0), 0))
        return cls(wide, inked.mean(axis=0), share, high)

    def share_at(self, x: float) -> float:
        """The best share within a few pixels of `x`."""
        near = self.share[max(0, int(x) - 5) : int(x) + 6]
        return float(near.max(initial=0.0))

    def lines(self, cols: np.ndarray, most: float) -> list[tuple[float, float]]:
        """Lines (x, share that is seen) no darker than `most`, within cells so wide that they may be two."""
        found: list[tuple[float, float]] = []
        if self.high < SHORTEST:
            return found
        w = len(self.share)
        for place, share in zip(*peaks(self.share, 40, NEAR, SHORT_SEEN), strict=True):
            k = int(np.searchsorted(cols, place))
            if not 0 < k < len(cols) or cols[k] - cols[k - 1] < WIDE_CELL * self.high:
                continue
            own = np.median(self.wide[:, int(place)])
            beside = max(self.inked[max(0, int(place) - 9)], self.inked[min(w - 1, int(place) + 9)])
            apart = min(place - cols[k - 1], cols[k] - place) >= 2 * NEAR
            # Far darker than the table's lines is a pen, ink on both sides a blot
            if apart and own <= max(most, 0.1) and beside < 0.6:
                found.append((float(place), float(share)))
        return found


def _connected(meet: np.ndarray) -> np.ndarray:
    """A number for each piece, the same for all that meet directly or through others; int ``[n]``."""
    groups = np.full(len(meet), -1)
    for start in range(len(meet)):
        if groups[start] < 0:
            front = np.zeros(len(meet), bool)
            front[start] = True
            while front.any():
                groups[front] = start
                front = meet[front].any(axis=0) & (groups < 0)
    return groups


def _meeting(level: Rules, upright: Rules, across: list, down: list) -> np.ndarray:
    """Which pieces meet: bool ``[n, n]`` over level and then upright pieces."""
    i, x0, x1, _ = (np.array(v)[:, None] for v in zip(*across, strict=True))
    j, y0, y1, _ = (np.array(v)[None, :] for v in zip(*down, strict=True))
    y = np.broadcast_to(level.at[i], (len(across), len(down)))
    for _ in range(2):
        x = upright.path[j, np.clip(y // BIN, 0, upright.path.shape[1] - 1).astype(int)]
        y = level.path[i, np.clip(x // BIN, 0, level.path.shape[1] - 1).astype(int)]
    touch = (x >= x0 - NEAR) & (x <= x1 + NEAR) & (y >= y0 - NEAR) & (y <= y1 + NEAR)
    n = len(across)
    meet = np.zeros((n + len(down),) * 2, bool)
    meet[:n, n:], meet[n:, :n] = touch, touch.T
    return meet


def _table(level: Rules, upright: Rules, rows: list, cols: list) -> Table | None:
    """Lines of a network that span it; None where fewer than two rows or two columns are left."""
    wide, tall = _lengths(rows), _lengths(cols)
    sure_rows, sure_cols = rows, cols
    for _ in range(3):
        left, right = _span(sure_rows)
        top, bottom = _span(sure_cols)
        sure_rows = [piece for piece in rows if wide[piece[0]] >= SURE * (right - left)]
        sure_cols = [piece for piece in cols if tall[piece[0]] >= SURE * (bottom - top)]
        if not sure_rows or not sure_cols:
            return None
    row_lines, col_lines = sorted({p[0] for p in sure_rows}), sorted({p[0] for p in sure_cols})
    for _ in range(2):
        row_lines, col_lines = (
            _touching(level, upright, row_lines, col_lines),
            _touching(upright, level, col_lines, row_lines),
        )
        if len(row_lines) < 2 or not col_lines:
            return None
    xs, _ = _closed(upright.at[col_lines], left, right)
    ys, _ = _closed(level.at[row_lines], top, bottom)
    more_rows = _partial(level, {p[0] for p in rows} - set(row_lines), xs, ys)
    more_cols = _partial(upright, {p[0] for p in cols} - set(col_lines), ys, xs)
    row_lines = sorted({*row_lines, *_touching(level, upright, list(more_rows), col_lines, more_rows)})
    col_lines = sorted({*col_lines, *_touching(upright, level, list(more_cols), row_lines, more_cols)})
    rows_at, row_seen = _closed(level.at[row_lines], top, bottom)
    cols_at, col_seen = _closed(upright.at[col_lines], left, right)
    if max(len(rows_at), len(cols_at)) < 3:
        return None
    sides = shares_of(upright, col_lines, rows_at, col_seen)
    tops = shares_of(level, row_lines, cols_at, row_seen)
    return Table(rows_at, cols_at, row_seen, col_seen, sides.T, tops, np.array(row_lines), np.array(col_lines),
                 level.chosen(row_lines), upright.chosen(col_lines))  # fmt: skip


def _parts(table: Table, least: int) -> list[Table]:
    """A table, or those beside and above each other that it is made of: no line runs through the gaps between them."""
    for gaps, along in ((table.tops.mean(axis=0), 1), (table.sides.mean(axis=1), 0)):
        for gap in np.flatnonzero(gaps < 0.3):
            if 0 < gap < len(gaps) - 1:
                parts = [table.cut(along, 0, int(gap)), table.cut(along, int(gap) + 1, len(gaps))]
                parts = [part for part in parts if min(len(part.rows), len(part.cols)) > least]
                return [small for part in parts for small in _parts(part, least)]
    return [table]


def _partial(rules: Rules, lines: set[int], across: np.ndarray, others: np.ndarray) -> dict[int, float]:
    """Lines that bound whole cells over half of the table: they end at ruled lines, as no writing does.

    With the share of the crossing lines that each has to touch: most of those at which its cells end, where there are
    so many that a row of signatures in narrow columns reaches half of them.
    """
    chosen = {}
    for line in lines:
        if np.abs(others - rules.at[line]).min() < 10:
            continue
        shares = shares_of(rules, [line], across, np.array([True]))[0]
        cover = np.diff(across)[shares > 0.9].sum() / (across[-1] - across[0])
        if cover >= COVER:
            chosen[line] = max(COVER, 0.75 * cover) if len(across) > 8 else COVER
    return chosen


def _touching(
    rules: Rules, crossing: Rules, lines: list[int], others: list[int], least: dict[int, float] | None = None
) -> list[int]:
    """Lines with ink right beside most of the lines that they cross: a row of signatures has gaps there.

    `least` is that share for each line, 0.7 by default.
    """
    if not len(lines) or not len(others):
        return list(lines)
    h, w = rules.dark.shape
    own, across = np.array(lines)[:, None, None], np.array(others)
    place = (rules.at[lines] / BIN).astype(int).clip(0, crossing.path.shape[1] - 1)
    x = crossing.path[across, place[:, None]]  # [lines, others]
    beside = (x[..., None] + np.array([-8, -7, -6, -5, 5, 6, 7, 8])).astype(int)
    inside = (beside >= 0) & (beside < w)
    beside = beside.clip(0, w - 1)
    y = rules.path[own, (beside // BIN).clip(0, rules.path.shape[1] - 1)]
    rows = (np.rint(y).astype(int)[..., None] + np.arange(-3, 4)).clip(0, h - 1)
    ink = rules.dark[rows, beside[..., None]].max(axis=3) > np.minimum(0.4 * rules.level[own], 0.15)
    sides = (ink & inside).reshape(*x.shape, 2, 4).sum(axis=3) >= 2
    possible = inside.reshape(*x.shape, 2, 4).any(axis=3)
    met = (sides & possible).sum(axis=(1, 2)) / np.maximum(possible.sum(axis=(1, 2)), 1)
    # At the first and last line of a table only one side is ruled
    share = np.array([least[line] for line in lines]) if least else 0.7
    kept = (met >= share * (1 - 1 / max(len(others), 2))) | ~possible.any(axis=(1, 2))
    return [line for line, keep in zip(lines, kept, strict=True) if keep]


def _span(pieces: list) -> tuple[float, float]:
    """Where most of the pieces' lines begin and end."""
    ends: dict[int, list[float]] = {}
    for line, a, b, _ in pieces:
        low, high = ends.get(line, (a, b))
        ends[line] = [min(a, low), max(b, high)]
    both = np.array(list(ends.values()))
    length = both[:, 1] - both[:, 0]
    long = both[length >= 0.6 * length.max()]
    return float(np.median(long[:, 0])), float(np.median(long[:, 1]))


def _lengths(pieces: list) -> dict[int, float]:
    total: dict[int, float] = {}
    for line, *_, seen in pieces:
        total[line] = total.get(line, 0.0) + seen
    return total


def _closed(at: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Lines, with one added at either end where the crossing ones go on for more than a third of a usual gap."""
    gap = float(np.median(np.diff(at))) if len(at) > 1 else high - low
    least = max(24.0, 0.33 * min(gap, 0.3 * (high - low)))
    at, seen = list(at), [True] * len(at)
    if at[0] - low > least:
        at.insert(0, low)
        seen.insert(0, False)
    if high - at[-1] > least:
        at.append(high)
        seen.append(False)
    return np.array(at), np.array(seen)


def shares_of(rules: Rules, lines: list[int], between: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Share of each line that is seen between the crossing lines; float ``[lines, gaps]``, 0 for added lines."""
    bins = rules.present.shape[1]
    low = np.maximum(np.ceil((between[:-1] + 6) / BIN).astype(int), 0)
    high = np.maximum(((between[1:] - 6) / BIN).astype(int), low + 1).clip(0, bins)
    low = low.clip(0, bins)
    count = np.pad(rules.present[lines].cumsum(axis=1), ((0, 0), (1, 0)))
    shares = np.zeros((len(seen), len(between) - 1))
    shares[seen] = (count[:, high] - count[:, low]) / np.maximum(high - low, 1)
    return shares
