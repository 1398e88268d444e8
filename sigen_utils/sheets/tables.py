"""The tables in one photograph, and the ways in which each may be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, cmp_to_key

import cv2
import numpy as np

from .config import ExtractionConfig, SheetError
from .grid import Grid, refined
from .lattice import Lattice, find_lattices
from .lines import Straightened, straighten
from .network import Table, find_tables, with_short_lines
from .paper import PaperRules
from .slips import darkness, find_slips
from .unruled import open_table

TIDY = 0.8  # share of the sides of cells that are ruled, from which on a network of lines is a table
MOST_TABLES = 6  # rounds of looking for tables: each straightens what is left, because slips lie askew to each other
LEFT_OVER = 0.04  # share of the darkness outside of the tables found that may hold another one, of two rows or more
RULED = 0.12  # the same where the paper itself is ruled
MOSTLY = 0.35  # the same that slips may leave, if nothing else is a table: titles, a desk
CRUMBS = 0.0005  # share of the photograph that is dark beside the tables, below which there is no room for a slip


def find_grid(photo: np.ndarray, config: ExtractionConfig | None = None, name: str = "photograph") -> Grid:
    """Find the ruled table.

    Parameters
    ----------
    photo
        uint8 RGB ``[H, W, 3]``, any quarter turn, turned further by up to about 45 degrees.
    config
        Settings; the defaults if None.
    name
        The file's name, for the error.

    Raises
    ------
    SheetError
        When no table is found.
    """
    return find_readings(photo, config, name)[0].first


@dataclass
class Readings:
    """One table of a photograph and the ways in which it may be read, the likeliest first."""

    straight: Straightened
    fits: list[Lattice]
    table: Table | None = None  # where the table was found as a network of lines
    paper: PaperRules | None = None
    outside: float = 0.0  # share of the photograph's darkness outside of all of its tables

    @cached_property
    def first(self) -> Grid:
        """The likeliest reading."""
        return refined(self.straight, self.fits[0], self.table, self.paper)

    def grids(self) -> Iterator[Grid]:
        """All of them."""
        yield self.first
        for fit in self.fits[1:]:
            yield refined(self.straight, fit, self.table, self.paper)


def find_readings(
    photo: np.ndarray, config: ExtractionConfig | None = None, name: str = "photograph"
) -> list[Readings]:
    """Every table of a photograph, in reading order. See `find_grid`."""
    config = config or ExtractionConfig()
    if min(photo.shape[:2]) < 64:
        raise SheetError(f"{name}: {photo.shape[1]} x {photo.shape[0]} pixels is too small; photograph the whole page")
    every, scale = darkness(photo, config)
    dark = every
    found: list[Readings] = []
    for _ in range(MOST_TABLES):
        straight = straighten(dark, scale)
        new = _networks(straight, config, first=not found)
        rest = _without(dark, [readings.first for readings in new], scale) if new else dark
        if not found and not (_all_seen(new) and _nearly_all(dark, rest, new)):
            new = _first_tables(straight, new, _slips(photo, dark, scale, config), dark, scale, config)
            rest = _without(dark, [readings.first for readings in new], scale)
        if not new:
            break
        found += new
        paper = max((readings.paper.level for readings in new if readings.paper), default=0.0)
        done = _nearly_all(dark, rest, new)
        dark = np.maximum(rest - paper, 0) if paper else rest
        if done:
            break
    if found and float((dark > 0.1).sum()) > CRUMBS * dark.size:
        found += _slips(photo, dark, scale, config, [rule for readings in found for rule in readings.first.rules])
    if not found:
        small = max(photo.shape) < 800
        raise SheetError(
            f"{name}: no ruled table found; "
            + (f"it has only {photo.shape[1]} x {photo.shape[0]} pixels: send the original, no thumbnail; " * small)
            + "photograph the whole page, flat and in even light, or remove the file"
        )
    rest = float((_without(every, [readings.first for readings in found], scale) > 0.1).sum())
    found = _in_reading_order(found)
    found[0].outside = rest / max(float((every > 0.1).sum()), 1.0)
    return found


def _nearly_all(dark: np.ndarray, rest: np.ndarray, found: list[Readings]) -> bool:
    """Whether so little of the darkness lies outside of some tables that there is no other one."""
    ruled = any(readings.paper for readings in found)
    before, left = (float((picture > 0.1).sum()) for picture in (dark, rest))
    return left < (RULED if ruled else LEFT_OVER) * before


def _first_tables(straight, tables: list[Readings], slips: list[Readings], dark, scale, config) -> list[Readings]:
    """The first tables of a photograph: as networks of lines, as slips looked at one by one, or guessed."""
    cells = [sum(one.table.sides.size for one in some) for some in (slips, tables)]
    even = all(_even(slip.table) for slip in slips)
    if slips and even and (len(slips) > 1 or cells[0] > cells[1] or not _all_seen(tables)):
        shares = [_common(_outline(slip.first), _outline(table.first)) for slip in slips for table in tables]
        covered = sum(shares) >= 0.7 * sum(cv2.contourArea(_outline(table.first)) for table in tables)
        rest = _without(dark, [slip.first for slip in slips], scale)
        left = float((rest > 0.1).sum()) / float((dark > 0.1).sum())
        if left < LEFT_OVER or (covered and left < MOSTLY):
            return slips  # each is straight by itself; as they lie askew, the photograph is straight for none of them
    if not _all_seen(tables):
        dashed = (_networks(straight, config, first=True, bridged=how) for how in ("crossings", "lines"))
        tables = next(filter(_all_seen, dashed), tables)
    if not _all_seen(tables):
        tables = _either(slips, _guessed(straight, tables, config) or tables)
    return tables


def _networks(straight: Straightened, config: ExtractionConfig, first: bool, bridged: str = "") -> list[Readings]:
    """Readings of every network of lines that lies straight in a straightened picture, the largest first.

    See `find_tables` for `bridged`.
    """
    tables, paper = find_tables(straight, bridged=bridged)
    tables = [table for table in tables if table.tidy >= TIDY]
    tables = [table for table in tables if not any(_within(other, table) for other in tables)]  # a page's own edge
    largest = max((_area(table) for table in tables), default=0.0)
    least = max(0.1 * largest, (0.01 if first else 0.03) * straight.dark.size)
    main = tables[0] if first and tables else None
    tables = [table for table in tables if _area(table) >= least and (table is main or _certain(table))]
    dark = straight.dark if paper is None else np.maximum(straight.dark - paper.level, 0)
    tables = [with_short_lines(table, dark) for table in tables]
    return [Readings(straight, _turns(table, config), table, paper) for table in tables]


def _guessed(straight: Straightened, networks: list[Readings], config: ExtractionConfig) -> list[Readings]:
    """A table without upright lines, or one with lines that are not seen, where it explains more than the networks."""
    level = None if networks else _open(straight)
    if level is not None:
        return [Readings(straight, _turns(level, config), level)]
    fits = [fit for fit in find_lattices(straight, config) if _plausible(fit)]
    if fits and (not networks or (len(networks) == 1 and _better(fits[0], networks[0].table, straight.dark))):
        return [Readings(straight, [fit for fit in fits if fit.score > 0.72 * fits[0].score][:4])]
    return []


def _slips(photo, dark, scale, config, lines: list[np.ndarray] | None = None) -> list[Readings]:
    """Readings of small tables, each straightened by itself; `lines` are printed on the paper around them."""
    found = find_slips(photo, dark, scale, config, lines or [])
    found = [(straight, with_short_lines(table, straight.dark)) for straight, table in found]
    slips = [Readings(straight, _turns(table, config), table) for straight, table in found]
    outlines = [_outline(slip.first) for slip in slips]
    areas = [cv2.contourArea(outline) for outline in outlines]
    inside = [
        any(
            area < other and _common(outline, around) > 0.5 * area
            for around, other in zip(outlines, areas, strict=True)
        )
        for outline, area in zip(outlines, areas, strict=True)
    ]  # a signature that has the look of a table
    return [slip for slip, within in zip(slips, inside, strict=True) if not within]


def _either(slips: list[Readings], tables: list[Readings]) -> list[Readings]:
    """Slips of a single row, and the tables that do not lie over them.

    Rules that a guess joins across several slips are no table; a slip within a table that holds much else is none.
    """
    if all(readings.first.n_rows > 1 for readings in slips):
        return tables
    kept = []
    for readings in tables:
        outline = _outline(readings.first)
        own = cv2.contourArea(outline)
        shares = [_common(outline, _outline(slip.first)) for slip in slips]
        over = [part > 0.2 * min(own, cv2.contourArea(_outline(slip.first)))
                for part, slip in zip(shares, slips, strict=True)]  # fmt: skip
        if sum(over) < 2 and sum(shares) < 0.15 * own:
            kept.append(readings)
            slips = [slip for slip, lies in zip(slips, over, strict=True) if not lies]
    return slips + kept


def _outline(grid: Grid) -> np.ndarray:
    """The convex outline of a table in the photograph, float32 ``[n, 2]``."""
    return cv2.convexHull(grid.points.reshape(-1, 2).astype(np.float32))[:, 0]


def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Area that two convex outlines share."""
    return float(cv2.intersectConvexConvex(one, other)[0])


def _open(straight: Straightened) -> Table | None:
    """A table with lines in one direction only."""
    found = [table for table in (open_table(straight), open_table(straight, flipped=True)) if table is not None]
    return max(found, key=lambda table: len(table.row_lines) + len(table.col_lines), default=None)


def _area(table: Table) -> float:
    return float(np.ptp(table.rows) * np.ptp(table.cols))


def _within(table: Table, frame: Table) -> bool:
    """Whether a table lies inside of another one that has fewer cells."""
    if table is frame or table.sides.size <= frame.sides.size:
        return False
    pairs = ((table.rows, frame.rows), (table.cols, frame.cols))
    return all(outer[0] < inner.mean() < outer[-1] and np.ptp(outer) > np.ptp(inner) for inner, outer in pairs)


def _certain(table: Table) -> bool:
    """Whether what is left of a photograph is a table too, and no texture of the desk."""
    level = min(float(np.median(table.row_rules.level)), float(np.median(table.col_rules.level)))
    return bool(table.tidy > 0.9 and table.row_seen.all() and table.col_seen.all() and level > 0.1)


def _all_seen(found: list[Readings]) -> bool:
    """Whether there are tables, and nothing hints at a line of one of them that was not seen."""
    return bool(found) and all(map(_regular, found))


def _regular(readings: Readings) -> bool:
    table, shape = readings.table, readings.straight.dark.shape
    gaps = np.diff(table.rows)
    edges = np.array([[table.rows[0], shape[0] - table.rows[-1]], [table.cols[0], shape[1] - table.cols[-1]]])
    outside = edges < 0.02 * np.array(shape)[:, None]  # a line that the photograph ends at cannot be seen
    ends = np.array([table.row_seen[[0, -1]], table.col_seen[[0, -1]]])
    seen = table.row_seen[1:-1].all() and table.col_seen[1:-1].all() and (ends | outside).all()
    usual = np.median(gaps) if len(gaps) > 4 else gaps.min()
    return bool(seen and table.tidy > 0.88 and gaps.max() < 1.7 * usual)


def _even(table: Table) -> bool:
    """Whether rows are of such heights that none may be several, whose lines were not seen."""
    gaps = np.diff(table.rows)
    return bool(gaps.max() < 3 * gaps.min())


def _better(fit: Lattice, table: Table, dark: np.ndarray) -> bool:
    """Whether a lattice is to be preferred to a network.

    It is where it holds all lines of the network and one more that was seen, or where the network is untidy and holds
    all lines of the lattice: writing has made some of its lines.
    """
    level = 0.4 * float(np.median(table.row_rules.level))
    pairs = (table.cols, table.rows) if fit.swapped else (table.rows, table.cols)
    pictures = (cv2.transpose(dark), dark) if fit.swapped else (dark, cv2.transpose(dark))
    unknown = extra = 0
    for own, across, lines, seen, picture in zip(
        pairs, pairs[::-1], (fit.rows, fit.cols), (fit.row_seen, fit.col_seen), pictures, strict=True
    ):
        unknown += int((np.abs(own[:, None] - lines[None]).min(axis=1) > 10).sum())
        new = seen & (np.abs(lines[:, None] - own[None]).min(axis=1) > 10)
        extra += sum(_ruled(picture, at, across, level) for at in lines[new])
    all_seen = fit.row_seen.all() and fit.col_seen.all()
    return (not unknown and extra > 0) or (unknown > 0 and not extra and bool(all_seen) and table.tidy < 0.93)


def _ruled(dark: np.ndarray, at: float, across: np.ndarray, level: float) -> bool:
    """Whether there is ink along more of a level line, between the lines that it crosses, than writing leaves."""
    low, high = int(max(across.min(), 0)) + 6, int(across.max()) - 6
    near = dark[max(0, int(at) - 5) : int(at) + 6, low:high]
    return near.size > 0 and float((near.max(axis=0) > level).mean()) > 0.55


def _turns(table: Table, config: ExtractionConfig) -> list[Lattice]:
    """A table after each quarter turn, the likeliest first: a narrow first column, cells wider than high."""
    fits = []
    sideways = (len(table.rows) == 2, len(table.cols) == 2)  # one cell across is no row of signatures
    for turn in (turn for turn in range(4) if not sideways[turn % 2 == 0]):
        rows, cols = (table.rows, table.cols) if turn in (0, 2) else (table.cols, table.rows)
        row_seen, col_seen = (table.row_seen, table.col_seen) if turn in (0, 2) else (table.col_seen, table.row_seen)
        flip = turn in (1, 2)
        cols, col_seen = (cols[::-1], col_seen[::-1]) if flip else (cols, col_seen)
        widths = np.abs(np.diff(cols))
        heights = np.diff(rows) if turn in (0, 3) else np.diff(rows)[::-1]
        others = np.median(widths[1:])
        narrow = 1.0 - min(1.0, 1.5 * abs(widths[0] / others - config.id_width))
        aspect = float(np.clip(np.log(np.median(widths) / np.median(heights)), -1, 1))
        score = len(rows) + len(cols) + narrow + 1.5 * aspect + 0.3 * (turn == 0)
        fits.append(Lattice(rows, cols, row_seen, col_seen, float(score), swapped=turn in (1, 3)))
    return sorted(fits, key=lambda fit: -fit.score)


def _without(dark: np.ndarray, grids: list[Grid], scale: float) -> np.ndarray:
    """The darkness outside of tables that were found."""
    rest = dark.copy()
    for grid in grids:
        outline = np.concatenate([grid.points[0], grid.points[:, -1], grid.points[-1, ::-1], grid.points[::-1, 0]])
        middle = outline.mean(axis=0)
        corners = cv2.convexHull(((outline - middle) * 1.03 + middle).astype(np.float32) * scale)
        cv2.fillConvexPoly(rest, np.rint(corners).astype(np.int32), 0.0)
    return rest


def _in_reading_order(found: list[Readings]) -> list[Readings]:
    """Top to bottom, and left to right where tables stand side by side, on the page as the first table turns it."""
    if len(found) < 2:
        return found
    turn = found[0].first.turn
    boxes = []
    for readings in found:
        points = readings.first.points.reshape(-1, 2)
        x, y = points.T
        x, y = ((x, y), (-y, x), (-x, -y), (y, -x))[turn]
        boxes.append((x.min(), y.min(), x.max(), y.max()))

    def before(a: int, b: int) -> int:
        (ax0, ay0, _, ay1), (bx0, by0, _, by1) = boxes[a], boxes[b]
        beside = min(ay1, by1) - max(ay0, by0) > 0.5 * min(ay1 - ay0, by1 - by0)
        return int(np.sign(ax0 - bx0 if beside else ay0 - by0))

    order = sorted(range(len(found)), key=cmp_to_key(before))
    return [found[k] for k in order]


def _plausible(fit: Lattice) -> bool:
    lines = len(fit.rows) + len(fit.cols)
    seen = int(fit.row_seen.sum() + fit.col_seen.sum())
    return fit.score > 0.45 * lines and seen >= 0.6 * lines
