"""One photographed sheet from pixels to people: cells, their ink, their owner, and what a person should check."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ..images import ImageError, iter_pages
from .config import ExtractionConfig, SheetError
from .digits import Reading, read_number
from .doubts import CELL_DOUBTS
from .frame import Frame, make_frame
from .grid import Grid
from .ids import LONE_DISTANCE, name_rows
from .ink import InkMap, read_ink
from .plan import Block, Plan, make_plan, read_marks
from .tables import Readings, find_readings

ID_HEIGHT = 240  # px: height an ID cell is stretched to before it is read
ID_MARGIN = 4.0  # px of a typical sheet: where the table's outer line is gone, a digit may have gone with it
SMALL = 100  # px: signature columns narrower than this in the photograph leave little of a pen's stroke
WIDE = 7.0  # width over height of a signature's cell, above which an upright line may have been missed ...
FEW = 3  # ... in a table of fewer rows: the lines of one person's row are short
OUTSIDE = 0.3  # of all darkness: the title and margins of a page are less
LISTED = ("person", "merged", "print", "ink")  # rows of people, whether they signed or not
NOT_FILED = {"skipped", "empty", "printed", "column_unsure"}  # flags of cells whose ink is given to nobody


@dataclass(frozen=True)
class Cell:
    """One signature.

    Attributes
    ----------
    row, col
        Row of the table, from 0, headers included; number of the signature in its row, from 1.
    person_id
        Printed ID, or ``<sheet>_row<r>`` where it could not be read.
    quad
        float ``[4, 2]``, corners in pixels of the original photograph, clockwise from the upright top left.
    mask
        uint8 ``[h, w]``, 255 = ink of this signature, tails beyond the cell included, neighbours' ink not;
        upright, in pixels of the sheet's working picture (`Sheet.frame`).
    origin
        (x, y) of the mask's first pixel in the working picture.
    ink_fraction
        Ink over the cell's area.
    flags
        What to look at: ``id_unread``, ``id_corrected``, ``id_unexpected``, ``id_at_edge``, ``empty``,
        ``touches_border``, ``crosses_line``, ``low_contrast``, ``missing_line``, ``printed``, ``column_unsure``,
        ``foreign_ink``, ``skipped``.
    """

    row: int
    col: int
    person_id: str
    quad: np.ndarray
    mask: np.ndarray
    origin: tuple[int, int]
    ink_fraction: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A table that was read: a sheet, one of several on a photograph, or a block of columns with IDs of its own.

    `cells` runs row by row; `ids` and `id_flags` hold one entry a row of the grid, empty for rows that are set aside;
    `aside` holds (row, why) of those, see `Plan.rows`.
    """

    name: str
    photo: np.ndarray
    grid: Grid
    frame: Frame
    ids: tuple[str, ...]
    id_flags: tuple[tuple[str, ...], ...]
    cells: list[Cell]
    flags: tuple[str, ...]
    plan: Plan
    block: Block
    aside: tuple[tuple[int, str], ...] = ()
    listed: tuple[int, ...] = ()  # rows that are people's, whether they signed or not

    def ink_in(self, cell: Cell, box: tuple[int, int, int, int]) -> np.ndarray:
        """Ink of a cell inside a box (x0, y0, x1, y1) of the original photograph; uint8, 255 = ink."""
        x0, y0, x1, y1 = box
        corners = np.float32([[x0, y0], [x1, y0], [x1, y1]])
        moved = self.frame.from_photo(corners).astype(np.float32) - np.float32(cell.origin)
        matrix = cv2.getAffineTransform(moved, np.float32([[0, 0], [x1 - x0, 0], [x1 - x0, y1 - y0]]))
        flags = cv2.INTER_NEAREST if self.frame.scale == 1 else cv2.INTER_LINEAR
        ink = cv2.warpAffine(cell.mask, matrix, (x1 - x0, y1 - y0), flags=flags)
        return np.where(ink > 127, 255, 0).astype(np.uint8)

    def id_crop(self, row: int) -> np.ndarray:
        """The printed ID of a row, upright; uint8 grey ``[h, w]``."""
        quad = self.grid.quad(row, max(0, self.block.id_column))
        return _upright_cell(self.frame.grey, self.frame.from_photo(quad), 96)


def extract_sheet(
    path: str | os.PathLike,
    config: ExtractionConfig | None = None,
    corrections: dict[tuple[int, int], str] | None = None,
) -> Sheet:
    """Read the first table of a file; see `extract_sheets`, and for its errors.

    Parameters
    ----------
    corrections
        ``(row, col) -> id`` or ``"skip"``, overriding what is read; column 0 stands for the whole row.
    """
    return next(extract_sheets(path, config, {Path(path).name: corrections or {}}))


def extract_sheets(
    path: str | os.PathLike,
    config: ExtractionConfig | None = None,
    corrections: dict[str, dict[tuple[int, int], str]] | None = None,
    name: str | None = None,
    label: str | None = None,
) -> Iterator[Sheet]:
    """Read every table on every page of a file.

    Parameters
    ----------
    path
        A photograph, or a scan of several pages.
    config
        Settings; the defaults if None.
    corrections
        For the name of each table, ``(row, col) -> id`` or ``"skip"``: see `extract_sheet`.
    name, label
        What the first table is called, the file's name by default; further ones get ``#2``, ``#3``. And what people
        whose ID cannot be read are called after, the name without suffix by default.

    Yields
    ------
    Sheet

    Raises
    ------
    SheetError
        For a file that cannot be read, or one without a table.
    """
    config, corrections = config or ExtractionConfig(), corrections or {}
    path = Path(path)
    name, label = name or path.name, label or path.stem
    number, failures = 0, []
    try:
        for page in iter_pages(path, config.max_pixels):
            try:
                for sheet in _sheets_of(page.image, config, name, label, number, corrections):
                    number += 1
                    yield sheet
            except SheetError as error:
                failures.append(str(error) if page.name == path.name else f"{page.name}: {error}")
            failures += [f"{path.name}: {note}; split the file" for note in page.notes if note.startswith("only ")]
    except ImageError as error:
        raise SheetError(str(error)) from error
    if failures:
        raise SheetError(" | ".join(failures))


def _sheets_of(photo, config, name, label, number, corrections) -> Iterator[Sheet]:
    """Tables of one page, and of each table its blocks; `number` tables of the file came before."""
    photo, tables = _upright_tables(photo, config, name)
    for readings in tables:
        grid, frame, ink, plan, read, flags = _best_reading(photo, readings, config, name)
        for block, roles in zip(plan.blocks, plan.rows, strict=True):
            full = name if number == 0 else f"{name}#{number + 1}"
            rows = label if number == 0 else f"{label}_{number + 1}"
            fixed = corrections.get(full, {})
            yield _sheet(full, rows, photo, grid, frame, ink, plan, block, roles, read, flags, fixed, config)
            number += 1


def _upright_tables(photo: np.ndarray, config: ExtractionConfig, name: str) -> tuple[np.ndarray, list[Readings]]:
    """The photograph, turned into dark on light where it is a negative, and its tables."""

    def size(tables: list[Readings]) -> int:
        return sum(readings.first.n_rows * readings.first.n_columns for readings in tables)

    tables, reason = [], None
    try:
        tables = find_readings(photo, config, name)
        if any(readings.table is not None for readings in tables):
            return photo, tables
    except SheetError as error:
        reason = error
    try:
        negative = np.ascontiguousarray(255 - photo)
        found = find_readings(negative, config, name)
        if any(readings.table is not None for readings in found) and size(found) > size(tables):
            return negative, found
    except SheetError:
        pass  # no table either way: the message about the photograph as it is tells more
    if reason:
        raise reason
    return photo, tables


def _sheet(name, label, photo, grid, frame, ink, plan, block, roles, read, flags, fixed, config) -> Sheet:
    """One block of a table as a sheet."""
    forced = {row for (row, _), person in fixed.items() if person != "skip"}
    rows = [row for row, role in enumerate(roles) if role == "person" or row in forced]
    listed = [row for row, role in enumerate(roles) if role in LISTED or row in forced]
    aside = tuple((row, role) for row, role in enumerate(roles) if row not in rows)
    nothing = Reading("", np.zeros((0, 10)))
    readings = [read(row, block.id_column) if block.id_column >= 0 else nothing for row in listed]
    named, named_flags = name_rows(readings, label, config, listed)
    ids, id_flags = [""] * grid.n_rows, [[] for _ in range(grid.n_rows)]
    for row, person, own in zip(listed, named, named_flags, strict=True):
        if row in rows:
            ids[row], id_flags[row] = person, own
    cells = _cells(grid, frame, ink, plan, block, rows, ids, id_flags, fixed, config)
    for row in rows:
        word = fixed.get((row, 0))
        if word and word != "skip":
            ids[row] = word
    flags = [*grid.flags, *flags]
    if sum(not reading.text or reading.worst > config.id_distance for reading in readings) > 0.5 * len(readings):
        flags.append("ids_unread")
    alone = len(block.signatures) == 1 and aside  # a footer is as high as the row, and has no upright lines
    if grid.n_rows < FEW and (alone or any(_aspect(cell.quad) > WIDE for cell in cells)):
        flags.append("columns_wide")
    if listed and not block.signatures:
        flags.append("no_signatures")
    if float(np.median([np.linalg.norm(cell.quad[1] - cell.quad[0]) for cell in cells] or [SMALL])) < SMALL:
        flags.append("low_resolution")
    return Sheet(name, photo, grid, frame, tuple(ids), tuple(map(tuple, id_flags)), cells, tuple(flags), plan, block,
                 aside, tuple(listed))  # fmt: skip


def _aspect(quad: np.ndarray) -> float:
    """Width over height of a cell's corners ``[4, 2]``, clockwise from the upper left."""
    return float(np.linalg.norm(quad[1] - quad[0]) / max(np.linalg.norm(quad[3] - quad[0]), 1.0))


def _best_reading(photo, readings: Readings, config, name):
    """Settle the turn by what is printed: numbers that can be read, or else letters that look like letters."""
    tried, failure = [], None
    for grid in readings.grids():
        frame = make_frame(photo, grid, config)
        ink = read_ink(frame, grid, config)
        read = lru_cache(maxsize=None)(lambda row, col, f=frame, i=ink, g=grid: _read_id(f, i, g, row, col))
        try:
            plan = make_plan(grid, read_marks(frame, ink, grid), read, config, name)
        except SheetError as error:  # the user names as many columns as the table has, the right way up
            failure = failure or error
            continue
        numbered = [block.id_column for block in plan.blocks if block.id_column >= 0]
        seen = [read(row, col) for col in numbered for row in range(grid.n_rows)]
        clear = config.id_distance if not tried else LONE_DISTANCE  # writing that lies askew has something of digits
        legible = float(np.mean([reading.worst < clear for reading in seen])) if seen else 0.0
        fit = float(np.median([reading.fit for reading in seen])) if seen else float("inf")
        tried.append((legible, fit, (grid, frame, ink, plan, read)))
        if legible > 0.5 or fit < 0.2:
            break
    if failure and not any(legible > 0.5 for legible, *_ in tried):
        raise failure
    best = max(tried, key=lambda t: t[0])
    if best[0] <= max(0.5, tried[0][0] + 0.34):
        best = tried[0]
    if best[0] <= 0.34:
        best = min(tried, key=lambda t: t[1] - 0.08 * (t is tried[0]))
        best = best if best[1] < 0.25 else tried[0]  # nothing reads as print: the look of the table decides
    unsure = best[0] <= 0.34 and best[1] > 0.3 and len(tried) > 1
    flags = ["turn_unsure"] * unsure + ["ink_outside"] * (readings.outside > OUTSIDE)
    return *best[2], flags


def _upright_cell(image: np.ndarray, quad: np.ndarray, height: int) -> np.ndarray:
    """A cell of the working picture as an upright rectangle of the given height."""
    across = np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])
    down = np.linalg.norm(quad[3] - quad[0]) + np.linalg.norm(quad[2] - quad[1])
    width = int(np.clip(round(height * across / max(down, 1)), 8, 8 * height))
    target = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _read_id(frame: Frame, ink: InkMap, grid: Grid, row: int, col: int) -> Reading:
    """Read a row's printed ID from its own ink; if that holds no number, from the cell as it is."""
    quad = frame.from_photo(grid.quad(row, col))
    low = np.floor(quad.min(axis=0) - 4).astype(int).clip(0)
    high = np.ceil(quad.max(axis=0) + 4).astype(int)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    contrast = ink.contrast[part]
    if min(contrast.shape) < 6:
        return Reading("", np.zeros((0, 10)))
    own = (ink.owner[part] == 1 + row * (grid.n_columns + 1) + col).astype(np.uint8)
    near = cv2.dilate(own, np.ones((3, 3), np.uint8))
    reading = read_number(_upright_cell(contrast * near, quad - low, ID_HEIGHT))
    if reading.foreign:
        return reading
    if reading.text:
        begins = quad[[0, 3], 0].mean() + reading.left * np.linalg.norm(quad[3] - quad[0]) / ID_HEIGHT
        return replace(reading, at_edge=bool(col == 0 and grid.col_seen[0] < 0.3 and begins < ID_MARGIN * frame.unit))
    cell_picture = _upright_cell(contrast, quad - low, ID_HEIGHT)
    inset = (int(0.06 * cell_picture.shape[0]), max(2, int(0.05 * cell_picture.shape[1])))
    return read_number(cell_picture[inset[0] : -inset[0], inset[1] : -inset[1]])


def _cells(grid, frame, ink, plan, block, rows, ids, id_flags, corrections, config) -> list[Cell]:
    n_cols = grid.n_columns + 1
    boxes = _boxes(ink.owner, grid.n_rows * n_cols)
    cells = []
    for row in rows:
        for number, col in enumerate(sorted((*block.signatures, *block.unsure)), start=1):
            index = 1 + row * n_cols + col
            x0, y0, x1, y1 = boxes[index]
            own = ink.owner[y0:y1, x0:x1] == index
            quad = grid.quad(row, col)
            corners = frame.from_photo(quad).astype(np.float32)
            fraction = float(own.sum() / max(cv2.contourArea(corners), 1.0))
            flags = list(id_flags[row])
            flags += _ink_flags(own, ink, index, (x0, y0, x1, y1), fraction, frame, config)
            if min(grid.row_seen[row : row + 2].min(), grid.col_seen[col : col + 2].min()) < 0.3:
                flags.append("missing_line")
            if "empty" not in flags:
                flags += ["foreign_ink" if ink.parted else "ink_mixed"] * (index in ink.foreign)
                flags += ["printed"] * ((row, col) in plan.printed) + ["column_unsure"] * (col in block.unsure)
            person = ids[row]
            fixed = corrections.get((row, number), corrections.get((row, 0)))
            if fixed is not None:
                settled = set(CELL_DOUBTS) if (row, number) in corrections else set()
                flags = [f for f in flags if not f.startswith("id_") and f not in settled]
                flags.append("skipped" if fixed == "skip" else "id_by_hand")
                person = person if fixed == "skip" else fixed
            mask = np.where(own, 255, 0).astype(np.uint8)
            cells.append(Cell(row, number, person, quad, mask, (int(x0), int(y0)), fraction, tuple(flags)))
    return cells


def _boxes(owner: np.ndarray, count: int) -> np.ndarray:
    """Bounding box (x0, y0, x1, y1) of every owner's ink, int ``[count + 1, 4]``; zeros where there is none."""
    at = np.flatnonzero(owner > 0)
    who = owner.ravel()[at]
    ys, xs = np.divmod(at, owner.shape[1])
    low = np.full((count + 1, 2), 1 << 30)
    high = np.zeros((count + 1, 2), int)
    for axis, place in ((0, xs), (1, ys)):
        np.minimum.at(low[:, axis], who, place)
        np.maximum.at(high[:, axis], who, place + 1)
    low[high[:, 0] == 0] = 0
    return np.concatenate([low, high], axis=1)


def _ink_flags(own, ink, index, box, fraction, frame, config) -> list[str]:
    x0, y0, x1, y1 = box
    if own.sum() < 40 * frame.unit**2 or fraction < 0.002:
        return ["empty"]
    flags = []
    h, w = ink.owner.shape
    if x0 <= 0 or y0 <= 0 or x1 >= w or y1 >= h or index in ink.cut:
        flags.append("touches_border")
    elif index in ink.crossing:
        flags.append("crosses_line")
    if float(np.median(ink.contrast[y0:y1, x0:x1][own])) < config.faint_contrast:
        flags.append("low_contrast")
    return flags
