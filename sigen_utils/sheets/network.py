"""Tables of any shape: ruled lines that cross each other make a network, and each network is a table.

Unlike `lattice`, which knows how a sheet of signatures is laid out, this asks only what is ruled: where each line
begins and ends, which lines meet, and which cells two columns share. Faint and broken lines count as much as dark
ones, because darkness is capped before it is summed along a line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .lines import RUN, STRIPS, Straightened, long_runs, peaks, vote

CAP = 0.1  # darkness above this counts no more: a hairline weighs as much as a frame
BIN = 8  # px along a line for which its presence is asked
NEAR = 14  # px: lines that end this close to each other meet
SURE = 0.8  # a line that spans this share of its table is ruled
COVER = 0.5  # one that spans less than this is writing, or belongs to a header only


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

    def cut(self, axis: int, first: int, last: int) -> Table | None:
        """The columns (axis 1) or rows (0) from `first` up to `last`; None for less than two."""
        if last - first < 2:
            return None
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
    votes, shape = vote(np.stack([part.mean(axis=0) for part in np.array_split(seen, STRIPS)]))
    at, _ = peaks(votes, limit, 9, 0.1)
    if not len(at):
        return Rules(at, np.zeros((0, bins)), np.zeros((0, bins), bool), at, dark)
    along = np.linspace(-1, 1, bins)
    bow, tilt = shape[np.rint(at).astype(int)].T
    path = at[:, None] + bow[:, None] * (along**2 - 0.5) + tilt[:, None] * along
    column, edge, reach = np.arange(bins)[None], ((0, 0), (16, 16)), np.arange(-4, 5, dtype=np.float32)
    seen = np.pad(seen, edge)
    # At each height: the most that is seen within 4 px, how much in all, and how far up or down that lies
    near = cv2.dilate(seen, np.ones((1, 9), np.uint8))
    mass = cv2.boxFilter(seen, -1, (9, 1), normalize=False) + 9e-6
    off = cv2.filter2D(seen, -1, reach[None]) / mass
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


def _distinct(path: np.ndarray, present: np.ndarray, apart: float = 7.0) -> np.ndarray:
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


def find_tables(straight: Straightened) -> tuple[list[Table], PaperRules | None]:
    """Tables of the picture, largest first, and the rules printed on the paper, if it has any."""
    dark, dark_t = straight.dark, cv2.transpose(straight.dark)
    level, upright = find_rules(dark), find_rules(dark_t)
    found = tables_of(level, upright)
    paper = _paper_rules(level, upright, found[0]) if found else None
    if paper is not None:
        # What is as faint as the paper's rules is taken away, so that lines beside them are seen again.
        level = find_rules(np.maximum(dark - paper.level, 0))
        upright = find_rules(np.maximum(dark_t - paper.level, 0))
        found = tables_of(level, upright)
    return found, paper


@dataclass(frozen=True)
class PaperRules:
    """Squared or lined paper: paths in the straightened picture, ``[n, 2, points]`` x and y, and their darkness."""

    lines: list[np.ndarray]
    level: float


def open_table(straight: Straightened, flipped: bool = False) -> Table | None:
    """A table that has no upright lines: its columns are where every row is blank.

    `flipped` looks for lines along y. The columns' lines are not seen, so nothing can say that a gap between two words
    is none between two columns: whoever takes this has to say so.
    """
    dark = cv2.transpose(straight.dark) if flipped else straight.dark
    level = find_rules(dark)
    ends = level.extents()
    length = ends[:, 1] - ends[:, 0]
    strong = level.level > 0.4 * np.quantile(level.level, 0.9) if len(ends) else np.zeros(0, bool)
    long = np.flatnonzero(strong & (length > 0.4 * dark.shape[1]))
    if len(long) < 4:
        return None
    slack = 0.06 * float(np.median(length[long]))
    sides = [_leaning(level.at[long], ends[long, k]) for k in (0, 1)]  # where the lines begin and end, over y
    off = [np.abs(ends[long, k] - np.polyval(sides[k], level.at[long])) for k in (0, 1)]
    lines = long[(off[0] < slack) & (off[1] < slack)]
    gaps = np.diff(level.at[lines])
    if len(lines) < 4 or gaps.max() > 3 * np.median(gaps):
        return None
    rows, share = [], np.linspace(0, 1, int(np.median(length[lines])))
    paths = level.chosen(lines).smooth()
    along = (np.arange(paths.shape[1]) + 0.5) * BIN
    ink = (dark > 0.2).astype(np.uint8)
    for above, below in zip(paths[:-1], paths[1:], strict=True):
        middle = float(above.mean() + below.mean()) / 2
        left, right = (float(np.polyval(side, middle)) for side in sides)
        x = left + share * (right - left)
        top, bottom = np.interp(x, along, above), np.interp(x, along, below)
        y = np.rint(top + np.linspace(0.12, 0.88, 40)[:, None] * (bottom - top)).astype(int).clip(0, dark.shape[0] - 1)
        rows.append(ink[y, np.rint(x).astype(int).clip(0, dark.shape[1] - 1)].any(axis=0))
    blank = np.array(rows).sum(axis=0) <= 0.12 * len(rows)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blank, [0]]))).reshape(-1, 2)
    inner = [(a + b) / 2 / len(share) for a, b in edges if a > 0 and b < len(share) and b - a >= 10]
    upright = find_rules(cv2.transpose(dark)).present
    span = slice(int(level.at[lines[0]] // BIN), int(level.at[lines[-1]] // BIN) + 1)
    if not inner or (upright[:, span].mean(axis=1) > 0.75).sum() > 1:
        return None
    at = np.array([0.0, *inner, 1.0])[:, None]
    y = (np.arange(dark.shape[0] // BIN) + 0.5) * BIN
    path = (1 - at) * np.polyval(sides[0], y) + at * np.polyval(sides[1], y)
    cols = (1 - at[:, 0]) * np.polyval(sides[0], level.at[lines].mean()) + at[:, 0] * np.polyval(
        sides[1], level.at[lines].mean()
    )
    by_content = Rules(cols, path, np.ones(path.shape, bool), np.zeros(len(cols)), cv2.transpose(dark))
    tops = _shares(level, lines.tolist(), cols, np.ones(len(lines), bool))
    table = Table(level.at[lines], cols, np.ones(len(lines), bool), np.ones(len(cols), bool),
                  np.zeros((len(lines) - 1, len(cols))), tops, lines, np.zeros(0, int), level.chosen(lines),
                  by_content, by_content=True)  # fmt: skip
    return table.transposed() if flipped else table


def _leaning(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A straight line x over y through most of the points."""
    weight = np.ones(len(y))
    for width in (40.0, 20.0, 10.0, 10.0):
        fit = np.polyfit(y, x, 1, w=np.sqrt(weight) + 1e-3)
        weight = np.clip(1 - ((x - np.polyval(fit, y)) / width) ** 2, 0, None)
    return fit


def _paper_rules(level: Rules, upright: Rules, table: Table) -> PaperRules | None:
    """Rules of the paper: many faint lines that go on beyond the far darker ones of a table."""
    depth = np.concatenate([level.level[table.row_lines], upright.level[table.col_lines]])
    if len(depth) < 10:
        return None
    strong = 0.6 * float(np.sort(depth)[-3:].mean())
    lines, depths = [], []
    for rules, own, others, crossing, flipped in (
        (level, table.row_lines, upright, table.col_lines, False),
        (upright, table.col_lines, level, table.row_lines, True),
    ):
        frame = others.at[crossing[others.level[crossing] >= strong]]
        if len(frame) < 2:
            continue
        margin = 0.045 * np.ptp(frame)
        ends = rules.extents()
        before, behind = ends[:, 0] < frame.min() - margin, ends[:, 1] > frame.max() + margin
        faint, share = rules.level < strong, rules.present.mean(axis=1)
        weak = own[faint[own]]
        if len(weak) >= 6 and (before | behind)[weak].mean() >= 0.6:
            usual = float(np.median(rules.level[weak]))
            alike = (rules.level < min(strong, 1.6 * usual)) & (share > 0.25)
            chosen = _every_rule(rules.chosen(alike))
        else:  # a margin is a line of its own
            weak = np.flatnonzero(faint & before & behind & (share > 0.6))
            chosen = rules.chosen(weak).smooth()
        along = (np.arange(rules.path.shape[1]) + 0.5) * BIN
        lines += [np.stack([path, along] if flipped else [along, path]) for path in chosen]
        depths += rules.level[weak].tolist()
    return PaperRules(lines, 1.35 * float(np.quantile(depths, 0.8))) if len(lines) > 5 else None


def _every_rule(rules: Rules) -> np.ndarray:
    """Rules of paper, float ``[n, bins]``: evenly apart, so that hidden ones are put between the others.

    All of them share one smooth surface over number and place, which writing and a table's lines cannot bend.
    """
    order = np.argsort(rules.at)
    gaps = np.diff(rules.at[order])
    number = np.concatenate([[0], np.cumsum(np.minimum(np.rint(gaps / np.median(gaps)), 20))])  # writing beside one: 0
    u = np.linspace(-1, 1, rules.path.shape[1])
    v = 2 * number / number[-1] - 1

    def basis(v: np.ndarray) -> np.ndarray:
        over, along = np.polynomial.legendre.legvander(v, 3), np.polynomial.legendre.legvander(u, 3)
        return (over[:, None, :, None] * along[None, :, None, :]).reshape(len(v) * len(u), -1)

    target, seen = rules.path[order].ravel(), rules.present[order].ravel()
    weight, terms = seen.astype(float), basis(v)
    for width in (8.0, 4.0, 2.5, 2.0):
        weighted = terms * weight[:, None]
        fit = np.linalg.solve(weighted.T @ terms + 1e-6 * np.eye(terms.shape[1]), weighted.T @ target)
        weight = seen * np.clip(1 - ((target - terms @ fit) / width) ** 2, 0, None)
    full = 2 * np.arange(number[-1] + 1) / number[-1] - 1
    return (basis(full) @ fit).reshape(len(full), -1)


def tables_of(level: Rules, upright: Rules) -> list[Table]:
    """Networks of lines that meet."""
    across, down = level.pieces(), upright.pieces()
    if not across or not down:
        return []
    meet = _meeting(level, upright, across, down)
    groups = _connected(meet)
    found = []
    for group in np.unique(groups):
        rows = [piece for piece, g in zip(across, groups, strict=False) if g == group]
        cols = [piece for piece, g in zip(down, groups[len(across) :], strict=True) if g == group]
        table = _table(level, upright, rows, cols) if len(rows) > 2 and cols else None
        if table is not None:
            found += _parts(table)
    return sorted(found, key=lambda t: -np.ptp(t.rows) * np.ptp(t.cols))


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
    if len(rows_at) < 3 or len(cols_at) < 3:
        return None
    sides = _shares(upright, col_lines, rows_at, col_seen)
    tops = _shares(level, row_lines, cols_at, row_seen)
    return Table(rows_at, cols_at, row_seen, col_seen, sides.T, tops, np.array(row_lines), np.array(col_lines),
                 level.chosen(row_lines), upright.chosen(col_lines))  # fmt: skip


def _parts(table: Table) -> list[Table]:
    """A table, or those beside and above each other that it is made of: no line runs through the gaps between them."""
    for gaps, along in ((table.tops.mean(axis=0), 1), (table.sides.mean(axis=1), 0)):
        for gap in np.flatnonzero(gaps < 0.3):
            if 0 < gap < len(gaps) - 1:
                parts = [table.cut(along, 0, int(gap)), table.cut(along, int(gap) + 1, len(gaps))]
                return [small for part in parts if part is not None for small in _parts(part)]
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
        shares = _shares(rules, [line], across, np.array([True]))[0]
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


def _shares(rules: Rules, lines: list[int], between: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Share of each line that is seen between the crossing lines; float ``[lines, gaps]``, 0 for added lines."""
    bins = rules.present.shape[1]
    low = np.maximum(np.ceil((between[:-1] + 6) / BIN).astype(int), 0)
    high = np.maximum(((between[1:] - 6) / BIN).astype(int), low + 1).clip(0, bins)
    low = low.clip(0, bins)
    count = np.pad(rules.present[lines].cumsum(axis=1), ((0, 0), (1, 0)))
    shares = np.zeros((len(seen), len(between) - 1))
    shares[seen] = (count[:, high] - count[:, low]) / np.maximum(high - low, 1)
    return shares
