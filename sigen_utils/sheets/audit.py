"""Pictures that show in ten seconds whether an extraction went well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..paths import atomic_write
from .doubts import QUIET
from .sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID, FLAGGED, EMPTY = "#0072B2", "#D55E00", "#CC79A7"  # Okabe-Ito: blue, vermilion, purple


def draw_audit(sheet: Sheet, longest: int = 1100) -> Figure:
    """The upright photograph with grid, IDs and flags drawn on it.

    Parameters
    ----------
    sheet
        What `extract_sheet` returned.
    longest
        Longest side of the drawn photograph, in pixels.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # only figures need it, and it loads slowly
    from matplotlib.figure import Figure

    scale = min(1.0, longest / max(sheet.photo.shape))
    size = (round(sheet.photo.shape[1] * scale), round(sheet.photo.shape[0] * scale))
    small = np.rot90(cv2.resize(sheet.photo, size, interpolation=cv2.INTER_AREA), -sheet.grid.turn)
    h, w = small.shape[:2]
    ratio = w / sheet.frame.grey.shape[1]

    def place(points):
        return (sheet.frame.from_photo(points) + 0.5) * ratio - 0.5

    figure = Figure(figsize=(w / 100, h / 100 + 0.5), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes([0, 0, 1, (h / 100) / (h / 100 + 0.5)])
    axes.imshow(_tinted(small, sheet, ratio), interpolation="none", aspect="auto")
    axes.set_axis_off()
    _draw_lines(axes, sheet, place)
    _label(axes, sheet, place)
    axes.set_xlim(-0.5, w - 0.5)
    axes.set_ylim(h - 0.5, -0.5)
    flagged = sum(bool(set(cell.flags) - QUIET) for cell in sheet.cells)
    columns = len(sheet.block.signatures) + len(sheet.block.unsure)
    title = f"{sheet.name}: {sheet.grid.n_rows} rows x {columns} signatures, {flagged} cells flagged"
    if sheet.flags:
        title += f"  [{', '.join(sheet.flags)}]"
    figure.text(0.01, 1 - 0.32 / (h / 100 + 0.5), title, fontsize=11, color=FLAGGED if sheet.flags else "black")
    return figure


def _draw_lines(axes, sheet: Sheet, place) -> None:
    """Every line from its first to its last crossing; dashed where it was not seen."""
    grid = sheet.grid
    lines = [*zip(grid.row_lines, grid.points, grid.row_seen, strict=True)]
    lines += [*zip(grid.col_lines, np.moveaxis(grid.points, 1, 0), grid.col_seen, strict=True)]
    for line, crossings, seen in lines:
        line, (first, last) = place(line), place(crossings[[0, -1]])
        share = (line - first) @ (last - first) / max(float((last - first) @ (last - first)), 1e-9)
        x, y = np.concatenate([[first], line[(share > 0) & (share < 1)], [last]]).T
        style = {"color": GRID, "ls": "-"} if seen >= 0.3 else {"color": FLAGGED, "ls": "--"}
        axes.plot(x, y, lw=1.1, alpha=0.8, **style)


def _tinted(small: np.ndarray, sheet: Sheet, ratio: float) -> np.ndarray:
    """Colour every signature's ink by its owner: neighbours in two colours, so that a misfiled tail shows."""
    colours = np.array([[0, 114, 178], [0, 158, 115], [213, 94, 0], [204, 121, 167]])
    image = small.copy()
    for cell in sheet.cells:
        if not cell.mask.any():
            continue
        x0, y0 = cell.origin
        left, top = int(x0 * ratio), int(y0 * ratio)
        right = min(image.shape[1], int(np.ceil((x0 + cell.mask.shape[1]) * ratio)))
        bottom = min(image.shape[0], int(np.ceil((y0 + cell.mask.shape[0]) * ratio)))
        if right <= left or bottom <= top:
            continue
        ink = cv2.resize(cell.mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA) > 90
        image[top:bottom, left:right][ink] = colours[(cell.row % 2) * 2 + cell.col % 2]
    return image


def _label(axes, sheet: Sheet, place) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
    reasons = dict(sheet.aside)
    for row, person in enumerate(sheet.ids):
        corner = place(sheet.grid.quad(row, max(0, sheet.block.id_column)))
        left = place(sheet.grid.quad(row, 0))[[0, 3]].mean(axis=0)
        axes.text(left[0] - 4, left[1], str(row), ha="right", va="center", fontsize=7, color="0.35", bbox=box)
        person = person or f"({reasons.get(row, 'set aside')})"
        x, y = (corner[0] + corner[3]) / 2 * (0.0, 1.0) + corner[:, :].mean(axis=0) * (1.0, 0.0)
        y = 0.82 * corner[3, 1] + 0.18 * corner[0, 1]
        colour = FLAGGED if sheet.id_flags[row] else GRID
        axes.text(x, y, person, ha="center", va="center", fontsize=9, color=colour, weight="bold", bbox=box)
    for cell in sheet.cells:
        shown = [flag for flag in cell.flags if flag not in QUIET]
        if not shown:
            continue
        quad = place(cell.quad)
        colour = EMPTY if "empty" in shown else FLAGGED
        axes.fill(*quad.T, facecolor=colour, alpha=0.12, edgecolor=colour, lw=1.5)
        x, y = quad[0] + (quad[2] - quad[0]) * (0.03, 0.1)
        axes.text(x, y, ", ".join(shown), fontsize=7, color=colour, va="center", bbox=box)


def save_audit(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=figure.dpi, metadata={"Software": None})


def contact_sheet(people: dict[str, list[np.ndarray]], flagged: set[str], across: int = 4) -> np.ndarray:
    """All people on one picture.

    Parameters
    ----------
    people
        ID -> stored signatures, uint8 ``[size, size]``, black on white.
    flagged
        IDs to mark.
    across
        People side by side.

    Returns
    -------
    numpy.ndarray
        uint8 RGB, half size: the ID, then the signatures, `across` people a line.
    """
    each = max([4, *(len(images) for images in people.values())])
    tile, name = 64, 84
    width, height = name + each * tile + 12, tile + 4
    lines = -(-len(people) // across)
    page = np.full((max(1, lines) * height + 8, across * width + 8, 3), 255, np.uint8)
    for k, (person, images) in enumerate(people.items()):
        x, y = 8 + (k % across) * width, 8 + (k // across) * height
        colour = (213, 94, 0) if person in flagged else (0, 0, 0)
        text = person if len(person) <= 10 else "..." + person[-8:]
        cv2.putText(page, text, (x, y + 36), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        for j, image in enumerate(images):
            left = x + name + j * tile
            small = cv2.resize(image, (tile - 4, tile - 4), interpolation=cv2.INTER_AREA)
            page[y : y + tile - 4, left : left + tile - 4] = small[..., None]
            cv2.rectangle(page, (left - 1, y - 1), (left + tile - 4, y + tile - 4), (215, 215, 215), 1)
    return page
