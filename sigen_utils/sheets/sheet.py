"""One photographed sheet from pixels to people: cells, their ink, their owner, and what a person should check."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from .config import ExtractionConfig
from .digits import Reading, read_number
from .grid import Grid, find_grids
from .ink import Frame, InkMap, make_frame, read_ink
from .photo import read_photo

ID_HEIGHT = 240  # px: height an ID cell is stretched to before it is read
ID_MARGIN = 4.0  # px of a typical sheet: where the table's outer line is gone, a digit may have gone with it


@dataclass(frozen=True)
class Cell:
    """One signature.

    Attributes
    ----------
    row, col
        Place on the upright page; rows from 0, signature columns from 1 (0 is the printed ID).
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
        ``touches_border``, ``crosses_line``, ``low_contrast``, ``missing_line``, ``skipped``.
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
    """A sheet that was read. `cells` runs row by row; `ids` and `id_flags` hold one entry a row."""

    name: str
    photo: np.ndarray
    grid: Grid
    frame: Frame
    ids: tuple[str, ...]
    id_flags: tuple[tuple[str, ...], ...]
    cells: list[Cell]
    flags: tuple[str, ...]

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
        return _upright_cell(self.frame.grey, self.frame.from_photo(self.grid.quad(row, 0)), 96)


def extract_sheet(
    path: str | os.PathLike,
    config: ExtractionConfig | None = None,
    corrections: dict[tuple[int, int], str] | None = None,
) -> Sheet:
    """Read one sheet.

    Parameters
    ----------
    path
        The photograph.
    config
        Settings; the defaults if None.
    corrections
        ``(row, col) -> id`` or ``"skip"``, overriding what is read; column 0 stands for the whole row.

    Returns
    -------
    Sheet

    Raises
    ------
    SheetError
        For a file that cannot be read or a photograph without a table.
    """
    config = config or ExtractionConfig()
    path = Path(path)
    photo = read_photo(path, config)
    grid, frame, ink, readings = _best_reading(photo, config, path.name)
    ids, id_flags = name_rows(readings, path.stem, config)
    cells = _cells(grid, frame, ink, ids, id_flags, corrections or {}, config)
    for row in range(grid.n_rows):
        fixed = (corrections or {}).get((row, 0))
        if fixed and fixed != "skip":
            ids[row] = fixed
    flags = list(grid.flags)
    if sum(r.worst > config.id_distance for r in readings) > 0.5 * len(readings):
        flags.append("ids_unread")
    return Sheet(path.name, photo, grid, frame, tuple(ids), tuple(map(tuple, id_flags)), cells, tuple(flags))


def _best_reading(photo, config, name):
    """Settle the turn: the best grid, unless its IDs cannot be read and those of a close rival can."""
    best = None
    for grid in find_grids(photo, config, name):
        frame = make_frame(photo, grid, config)
        ink = read_ink(frame, grid, config)
        readings = [_read_id(frame, ink, grid, row) for row in range(grid.n_rows)]
        legible = float(np.mean([r.worst < config.id_distance for r in readings]))
        if best is None or legible > best[0] + 0.34:
            best = (legible, grid, frame, ink, readings)
        if legible > 0.5:
            break
    return best[1:]


def _upright_cell(image: np.ndarray, quad: np.ndarray, height: int) -> np.ndarray:
    """A cell of the working picture as an upright rectangle of the given height."""
    across = np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])
    down = np.linalg.norm(quad[3] - quad[0]) + np.linalg.norm(quad[2] - quad[1])
    width = int(np.clip(round(height * across / max(down, 1)), 8, 8 * height))
    target = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _read_id(frame: Frame, ink: InkMap, grid: Grid, row: int) -> Reading:
    """Read a row's printed ID from its own ink; if that holds no number, from the cell as it is."""
    quad = frame.from_photo(grid.quad(row, 0))
    low = np.floor(quad.min(axis=0) - 4).astype(int).clip(0)
    high = np.ceil(quad.max(axis=0) + 4).astype(int)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    contrast = ink.contrast[part]
    if min(contrast.shape) < 6:
        return Reading("", np.zeros((0, 10)))
    own = (ink.owner[part] == 1 + row * (grid.n_columns + 1)).astype(np.uint8)
    near = cv2.dilate(own, np.ones((3, 3), np.uint8))
    reading = read_number(_upright_cell(contrast * near, quad - low, ID_HEIGHT))
    if reading.text:
        begins = quad[[0, 3], 0].mean() + reading.left * np.linalg.norm(quad[3] - quad[0]) / ID_HEIGHT
        return replace(reading, at_edge=bool(grid.col_seen[0] < 0.3 and begins < ID_MARGIN * frame.unit))
    whole = _upright_cell(contrast, quad - low, ID_HEIGHT)
    inset = (int(0.06 * whole.shape[0]), max(2, int(0.05 * whole.shape[1])))
    return read_number(whole[inset[0] : -inset[0], inset[1] : -inset[1]])


def name_rows(readings: list[Reading], sheet: str, config: ExtractionConfig) -> tuple[list[str], list[list[str]]]:
    """IDs of a page's rows and their flags.

    Printed IDs rise by one down a page. Where at least half of the rows (and three) agree on that count, a doubtful
    reading, or one that another row has too, is replaced by the count (``id_corrected``); a clear one that disagrees
    is kept (``id_unexpected``). One at the photograph's edge may lack a digit (``id_at_edge``).
    """
    clear = [r.text if r.worst <= config.id_distance else "" for r in readings]
    start = _count_from(clear) if config.id_sequence else None
    ids, flags = [], []
    for row, (reading, text) in enumerate(zip(readings, clear, strict=True)):
        expected = "" if start is None else str(start + row)
        if text and (not expected or text == expected):
            ids.append(text)
            flags.append([])
        elif expected and (reading.worst > 0.25 or reading.cost_of(expected) < 0.15 or clear.count(text) > 1):
            ids.append(expected)
            flags.append(["id_corrected"])
        elif text:
            ids.append(text)
            flags.append(["id_unexpected"])
        else:
            ids.append(f"{sheet}_row{row}")
            flags.append(["id_unread"])
        if text and reading.at_edge:
            flags[-1].append("id_at_edge")
    return ids, flags


def _count_from(texts: list[str]) -> int | None:
    """The first row's number on which most rows agree, if they do."""
    votes = Counter(int(text) - row for row, text in enumerate(texts) if text)
    if not votes:
        return None
    start, support = votes.most_common(1)[0]
    return start if support >= 3 and support >= 0.5 * len(texts) and start >= 0 else None


def _cells(grid, frame, ink, ids, id_flags, corrections, config) -> list[Cell]:
    n_cols = grid.n_columns + 1
    boxes = _boxes(ink.owner, grid.n_rows * n_cols)
    cells = []
    for row in range(grid.n_rows):
        for col in range(1, n_cols):
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
            person = ids[row]
            fixed = corrections.get((row, col), corrections.get((row, 0)))
            if fixed is not None:
                flags = [f for f in flags if not f.startswith("id_")]
                flags.append("skipped" if fixed == "skip" else "id_by_hand")
                person = person if fixed == "skip" else fixed
            mask = np.where(own, 255, 0).astype(np.uint8)
            cells.append(Cell(row, col, person, quad, mask, (int(x0), int(y0)), fraction, tuple(flags)))
    return cells


def _boxes(owner: np.ndarray, count: int) -> np.ndarray:
    """Bounding box (x0, y0, x1, y1) of every owner's ink, int ``[count + 1, 4]``; zeros where there is none."""
    ys, xs = np.nonzero(owner)
    who = owner[ys, xs]
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
