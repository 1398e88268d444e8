"""What each column and row of a table is: printed numbers, other print, signatures; people, headers, merged rows.

Print is parted from handwriting by what a column shows over its rows: letters of one font have one height, signatures
of different people do not. Nothing here looks at meaning: a handwritten name beside the signatures is taken for one
of them, unless the user says otherwise (`ExtractionConfig.layout`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..images.parts import parts_of
from .config import ExtractionConfig, SheetError
from .digits import Reading
from .frame import Frame
from .grid import Grid
from .ink import InkMap

PRINT_HEIGHT = 0.45  # of the row: larger letters are not taken for print
SAME_HEIGHT = 0.2  # by how much letters of one font may differ in height
SHARP = 0.3  # distance below which a printed digit is read beyond doubt
UNRULED = 0.35  # a side of a cell that is seen on less than this is not there: cells are merged
ROLES = {
    "id": "id", "sig": "sig", "signature": "sig", "name": "print", "print": "print", "remark": "print", "-": "print"
}  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """What is in one cell. Heights over that of the row, widths over that of the cell.

    Attributes
    ----------
    count
        Connected parts, dust left out; `letters` of them are at least half as high as the highest.
    tall, spread, baseline
        Height of the highest part; deviation of the heights of the letters over their mean; deviation of where they
        stand.
    box
        Left, top, width and height of all ink.
    slim
        Median width over height of the letters; `widest` is that of the widest.
    tint
        Mean tint of the ink, see `Frame.tint`.
    high
        Height of the row, in pixels of the working picture.
    """

    count: int
    letters: int
    tall: float
    spread: float
    baseline: float
    box: tuple[float, float, float, float]
    slim: float
    widest: float
    tint: float
    high: float


@dataclass(frozen=True)
class Block:
    """People side by side on one table have a block of columns each: the column of IDs (-1: none), the signatures."""

    id_column: int
    signatures: tuple[int, ...]
    unsure: tuple[int, ...] = ()  # columns with ink in few rows: a remark, or a session that few came to


@dataclass(frozen=True)
class Plan:
    """The layout of one table.

    Attributes
    ----------
    columns
        ``id``, ``print``, ``sig``, ``unsure`` or ``empty`` for each ruled column.
    blocks
        Columns that belong together, left to right.
    rows
        For each block, what each row is: ``person``, or why it is set aside: ``header``, ``merged``, ``blank``,
        ``print``, ``ink`` (merged, but with writing in it), ``no_id``.
    printed
        Cells (row, column) of signature columns that hold print.
    by_user
        Whether the user named the columns.
    """

    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    rows: tuple[tuple[str, ...], ...]
    printed: frozenset[tuple[int, int]]
    by_user: bool = False


def read_layout(text: str | None) -> tuple[str, ...]:
    """The user's word on the columns, ``id,name,sig,sig,-``, as ``ExtractionConfig.layout``."""
    words = tuple(word.strip().lower() for word in (text or "").split(",") if word.strip())
    unknown = [word for word in words if word not in ROLES]
    if unknown or (words and "sig" not in [ROLES[word] for word in words]):
        raise SheetError(
            f"--columns {text}: " + (f"{unknown[0]!r} is none of {', '.join(ROLES)}" if unknown else "no column is sig")
        )
    return words


def read_marks(frame: Frame, ink: InkMap, grid: Grid) -> dict[tuple[int, int], Marks]:
    """What every cell holds; cells without ink are left out."""
    columns = grid.n_columns + 1
    count, labels, stats = parts_of(ink.owner > 0)
    at = np.flatnonzero(ink.owner > 0)
    part = labels.ravel()[at]
    owner = np.zeros(count, int)
    owner[part] = ink.owner.ravel()[at]
    tint = np.zeros(count)
    if frame.tint is not None:
        tint = np.bincount(part, weights=frame.tint.ravel()[at], minlength=count)
    parts: dict[int, list[list[float]]] = {}
    for who, box, hue in zip(owner[1:].tolist(), stats[1:].tolist(), tint[1:].tolist(), strict=True):
        if who and box[-1] >= 6 * frame.unit**2:
            parts.setdefault(who, []).append([*box, hue])
    points = frame.from_photo(grid.points)
    found = {}
    for index, own in parts.items():
        row, col = divmod(index - 1, columns)
        quad = points[[row, row, row + 1, row + 1], [col, col + 1, col + 1, col]]
        found[row, col] = _marks(own, quad.tolist())
    return found


def _marks(parts: list[list[float]], quad: list[list[float]]) -> Marks:
    """Marks of parts (left, top, width, height, area, tint) in a cell; plain floats, because there are few of them."""
    (x0, y0), (x1, y1), _, (x3, y3) = quad
    high, wide = max(math.hypot(x3 - x0, y3 - y0), 1.0), max(math.hypot(x1 - x0, y1 - y0), 1.0)
    tall = max(part[3] for part in parts)
    letters = [part for part in parts if part[3] > 0.5 * tall]
    left, top = min(part[0] for part in parts), min(part[1] for part in parts)
    right, bottom = max(part[0] + part[2] for part in parts), max(part[1] + part[3] for part in parts)
    box = (left - (x0 + x3) / 2) / wide, (top - (y0 + y1) / 2) / high, (right - left) / wide, (bottom - top) / high
    heights, ratios = [part[3] for part in letters], [part[2] / part[3] for part in letters]
    return Marks(
        len(parts),
        len(letters),
        tall / high,
        statistics.pstdev(heights) / statistics.fmean(heights),
        statistics.pstdev([part[1] + part[3] for part in letters]) / high,
        box,
        statistics.median(ratios),
        max(ratios),
        sum(part[5] for part in parts) / sum(part[4] for part in parts),
        high,
    )


def make_plan(
    grid: Grid,
    marks: dict[tuple[int, int], Marks],
    read: Callable[[int, int], Reading],
    config: ExtractionConfig,
    name: str = "photograph",
) -> Plan:
    """Find the layout of a table.

    Parameters
    ----------
    grid, marks
        The table and what its cells hold.
    read
        Reads the number printed in a cell (row, column).
    config
        ``layout`` is the user's word on the columns.
    name
        The file's name, for the error.

    Raises
    ------
    SheetError
        Where the user names more or fewer columns than are ruled.
    """
    merged = merged_rows(grid)
    printed_rows = _printed_rows(grid, marks, read)
    merged[printed_rows] = True
    core = [row for row in range(grid.n_rows) if not merged[row]]
    columns = _named(grid, config, name) or _found_columns(grid, marks, read, core, printed_rows, config)
    blocks = _blocks(columns)
    usual = _usual(marks, columns, core)
    printed = frozenset(
        place for place, cell in marks.items() if columns[place[1]] in ("sig", "unsure") and _is_print(cell, usual)
    )
    rows = tuple(_rows(block, grid, marks, read, merged, printed, config) for block in blocks)
    return Plan(tuple(columns), blocks, rows, printed, bool(config.layout))


def merged_rows(grid: Grid) -> np.ndarray:
    """Rows that lack an upright line which the others have; bool ``[rows]``."""
    inner = grid.sides[:, 1:-1]
    if not inner.size:
        return np.zeros(grid.n_rows, bool)
    usual = np.median(inner, axis=0) >= 0.7
    return ((inner < UNRULED) & usual).any(axis=1)


def _printed_rows(grid, marks, read) -> list[int]:
    """Rows of nothing but print, such as headers: no letter is higher than the IDs, and no ID stands in front."""
    rows = {row: [col for col in range(grid.n_columns + 1) if (row, col) in marks] for row in range(grid.n_rows)}
    numbered = [row for row, cols in rows.items() if cols and read(row, cols[0]).worst <= SHARP]
    if not numbered:
        return []
    high = max(marks[row, rows[row][0]].tall * marks[row, rows[row][0]].high for row in numbered)
    return [
        row
        for row, cols in rows.items()
        if row not in numbered
        and len(cols) > (cols[:1] == [0])
        and all(marks[row, col].tall * marks[row, col].high < 1.3 * high for col in cols)
        and any(marks[row, col].letters > 3 for col in cols)
    ]


def _named(grid: Grid, config: ExtractionConfig, name: str) -> list[str] | None:
    """The user's columns; those of one block stand for all blocks."""
    if not config.layout:
        return None
    given = [ROLES[word] for word in config.layout]
    times, over = divmod(grid.n_columns + 1, len(given))
    if over:
        raise SheetError(
            f"{name}: {grid.n_columns + 1} ruled columns are found, but --columns names {len(given)}; "
            "name every column of the table, or photograph it whole"
        )
    return given * times


def _found_columns(grid, marks, read, core, printed_rows, config) -> list[str]:
    n = grid.n_columns + 1
    cells = [[marks[row, col] for row in core if (row, col) in marks] for col in range(n)]
    share = np.array([len(own) / max(1, len(core)) for own in cells])
    heads = [[marks[row, col] for row in printed_rows if (row, col) in marks] for col in range(n)]
    fonts = [_one_font(own, len(core)) or _font_of(head, own) for head, own in zip(heads, cells, strict=True)]
    columns = ["print" if font else "sig" for font in fonts]
    if len(core) == 1:  # no other row shows what is print, but a number that is plainly read is none's signature
        plain = [bool(own) and own[0].tall < PRINT_HEIGHT and read(core[0], col).worst <= SHARP
                 for col, own in enumerate(cells)]  # fmt: skip
        if plain[0]:  # else the slip may lie upside down, and 61 read as 19
            columns = ["print" if number else "sig" for number in plain]
    numbers = [col for col in range(n) if columns[col] == "print" or col == 0]
    numbers = [col for col in numbers if _legible([read(row, col) for row in core if (row, col) in marks], config)]
    widths = np.linalg.norm(grid.points[0, 1:] - grid.points[0, :-1], axis=-1)
    if numbers:
        for col in numbers:
            columns[col] = "print"
        # Beside the serial number the next number is a roll number; after signatures it begins another block.
        block = [numbers[0]]
        for col in numbers[1:]:
            between, after = columns[block[-1] + 1 : col], columns[col + 1 :]
            if "sig" in between and "sig" in after:
                block.append(col)
        for col in block:
            columns[col] = "id"
    elif "print" in columns:
        columns[columns.index("print")] = "id"
    elif n > 1 and (share[0] < 0.2 or widths[0] < 0.6 * np.median(widths[1:])):
        columns[0] = "id"
    signed = [share[col] for col in range(n) if columns[col] == "sig" and share[col] > 0]
    for col in range(n):
        if columns[col] == "sig" and share[col] < 0.5 * max(signed, default=0):
            columns[col] = "unsure" if share[col] > 0 else "empty"
    return columns


def _one_font(cells: list[Marks], rows: int) -> bool:
    """Whether most cells of a column hold letters of one height."""
    if len(cells) < max(2, 0.3 * rows):
        return False
    usual = statistics.median([cell.high for cell in cells])
    tall = np.array([cell.tall * cell.high / usual for cell in cells])  # a header's row is lower than the others
    alike = np.abs(tall / np.median(tall) - 1) < SAME_HEIGHT
    tops = np.array([[cell.box[1], cell.box[1] + cell.box[3] / 2] for cell in cells])  # and of the middle
    level = (np.abs(tops - np.median(tops, axis=0)) < 0.06).any(axis=1)
    if len(cells) < 4:  # what two or three cells share may be chance: their letters have to stand in line as well
        set_in_line = [cell.letters > 1 and cell.spread < 0.16 and cell.baseline < 0.03 for cell in cells]
        return bool(tall.max() < 0.3 and alike.all() and level.all() and all(set_in_line))
    separate = np.mean([cell.widest < 1.7 and (cell.letters > 1 or cell.slim < 1.1) for cell in cells])
    if np.median(tall) > PRINT_HEIGHT or (separate < 0.5 and np.median(tall) > 0.24):
        return False  # letters run together only where print is small
    return bool(alike.mean() >= 0.75 and level.mean() >= 0.6)


def _font_of(heads: list[Marks], cells: list[Marks]) -> bool:
    """Whether the few cells of a column are printed as its header is."""
    if not heads or not 0 < len(cells) < 4:
        return False
    usual = statistics.median([head.tall * head.high for head in heads])
    alike = [abs(cell.tall * cell.high / usual - 1) < SAME_HEIGHT for cell in cells]
    return all(alike) and np.mean([_line_of_letters(cell) for cell in cells]) > 0.5


def _legible(readings: list[Reading], config: ExtractionConfig) -> bool:
    clear = [bool(reading.text) and reading.worst <= config.id_distance for reading in readings]
    sharp = [bool(reading.text) and reading.worst <= SHARP for reading in readings]
    return len(clear) > 0 and np.mean(clear) >= 0.5 and any(sharp)


def _blocks(columns: list[str]) -> tuple[Block, ...]:
    starts = [col for col, role in enumerate(columns) if role == "id"] or [-1]
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(columns)], strict=True):
        # Signatures left of the first ID are its own; an ID stands first as a rule.
        low = 0 if start == starts[0] else start
        own = [col for col in range(low, end) if columns[col] in ("sig", "unsure")]
        sure = tuple(col for col in own if columns[col] == "sig")
        blocks.append(Block(start, sure, tuple(col for col in own if columns[col] == "unsure")))
    return tuple(blocks)


@dataclass(frozen=True)
class _Usual:
    """What print and signatures of this table look like: heights in pixels, tint."""

    print_tall: float
    print_tint: float
    signed_tall: float
    signed_tint: float
    few: bool  # one or two rows, which hardly show what is usual


def _usual(marks, columns, core) -> _Usual:
    rows = set(core)
    prints = [cell for (row, col), cell in marks.items() if columns[col] in ("id", "print") and row in rows]
    signed = [cell for (row, col), cell in marks.items() if columns[col] == "sig" and row in rows]
    high = float(np.median([cell.high for cell in [*prints, *signed]] or [1.0]))
    few = len(core) < 3
    if few:  # most of so few cells may be print: a header, or ABSENT
        signed = [cell for cell in signed if not _line_of_letters(cell)]
    prints = prints or [Marks(0, 0, 0.16, 0, 0, (0, 0, 0, 0), 0, 0, 0, high)]
    signed = signed or [Marks(0, 0, 0.6, 0, 0, (0, 0, 0, 0), 0, 0, 0, high)]
    return _Usual(
        float(np.median([cell.tall * cell.high for cell in prints])),
        float(np.median([cell.tint for cell in prints])),
        float(np.median([cell.tall * cell.high for cell in signed])),
        float(np.median([cell.tint for cell in signed])),
        few,
    )


def _line_of_letters(cell: Marks) -> bool:
    """Whether a cell holds several small letters in line, of which two may touch: print, or a very neat hand."""
    alike = cell.spread < 0.2 and cell.baseline < 0.03 and cell.widest < 2.2
    return cell.letters >= 3 and cell.tall < 0.35 and alike


def _is_print(cell: Marks, usual: _Usual) -> bool:
    """Whether a single cell holds print: letters of one height on one line, in the ink of the IDs."""
    apart = abs(usual.signed_tint - usual.print_tint)
    coloured = apart > 0.06
    neutral = coloured and abs(cell.tint - usual.print_tint) < 0.3 * apart
    set_in_line = cell.letters >= 3 and cell.spread < 0.16 and cell.baseline < 0.025 and cell.widest < 1.7
    set_in_line = set_in_line or (usual.few and _line_of_letters(cell))
    tall, box = cell.tall * cell.high, cell.box[3] * cell.high
    low = box < 2.6 * usual.print_tall  # a whole signature is taller than a line of print
    small = tall < min(1.9 * usual.print_tall, 0.75 * usual.signed_tall) and low
    words = small and cell.letters > 1  # a lone mark is a speck, or what a line has left of a large signature
    if coloured:
        return (neutral and (words or (set_in_line and low))) or (
            set_in_line and small and cell.tint < 0.6 * usual.signed_tint
        )
    return set_in_line and small


def _rows(block, grid, marks, read, merged, printed, config) -> tuple[str, ...]:
    """What each row is to a block."""
    own = [*block.signatures, *block.unsure]
    with_id = [(row, block.id_column) in marks for row in range(grid.n_rows)]
    core = ~merged
    mostly = bool(np.mean([has for has, ok in zip(with_id, core, strict=True) if ok] or [0]) >= 0.5)
    number = [with_id[row] and bool(read(row, block.id_column).text) for row in range(grid.n_rows)]
    numeric = mostly and sum(number) >= 0.5 * sum(with_id)
    roles = []
    for row in range(grid.n_rows):
        inked = [col for col in own if (row, col) in marks]
        written = [col for col in inked if (row, col) not in printed]
        if len(written) < 0.5 * len(inked) and with_id[row] and numeric and not number[row]:
            written = []  # a header with a word or two that might be handwriting
        foreign = with_id[row] and read(row, block.id_column).foreign
        if merged[row] and written and (number[row] or not with_id[row]):
            role = "ink"
        elif merged[row]:
            role = "merged" if with_id[row] and (number[row] or not numeric) and row > 0 else "header"
        elif number[row] and numeric:
            role = "print" if inked and not written else "person"
        elif not inked:
            role = "header" if foreign and (numeric or row == 0) else "person" if with_id[row] else "blank"
        elif not written:
            role = "header" if not with_id[row] or (foreign and (numeric or row == 0)) else "print"
        elif with_id[row] or not mostly:
            role = "person"
        else:
            role = "no_id"
        roles.append(role)
    return tuple(roles)
