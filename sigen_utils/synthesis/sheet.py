"""A page of a ruled table that a class has signed, before any camera sees it, and where its truth lies.

Units: px of the sheet, in which a signature cell is 205 x 100 and the table's top left corner is (0, 0). Layers
are rasters of the page at `SCALE` pixels a px.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ..images import normalise_mask
from . import ink
from .config import SynthesisConfig
from .kinematics import move, plan_movement
from .writers import Writer, make_writer, vary

CELL_W, CELL_H, ID_W = 205.0, 100.0, 71.0
MARGIN_X, MARGIN_Y = 118.0, 150.0  # paper beyond the table
SCALE = 2


@dataclass(frozen=True)
class Page:
    """A signed page.

    Attributes
    ----------
    columns, rows
        Offsets of the ruled lines, px: [per_person + 2] and [n + 1].
    absorb
        float32 [H, W, 3], absorbance (ln) of print and ink for blue, green, red (OpenCV's order).
    coverage, label
        uint8 [H, W] ink coverage in 1/255, and uint16 [H, W] the signature on top: 1 + (row * per_person +
        column), 0 for none.
    back
        float32 [H, W] in [0, 1]: ink of the back page, as far as it shows or dents.
    ids
        Person of each row.
    """

    columns: np.ndarray
    rows: np.ndarray
    absorb: np.ndarray
    coverage: np.ndarray
    label: np.ndarray
    back: np.ndarray
    ids: list[int]


def signature_strokes(config: SynthesisConfig, writer: Writer, repetition: int):
    """Pen strokes of one signature as `ink.trace` returns them, centred on the usual place in the cell."""
    rng = config.stream("signature", writer.person_id, repetition)
    components = vary(writer, rng, config.variation)
    plan = plan_movement(components, writer.hand, rng, config.variation * writer.hand.unsteady)
    shift = writer.place + config.variation * rng.normal(0, 1, 2) * [9.0, 3.5]
    return [(xy + shift, r, d) for xy, r, d in ink.trace(move(plan), writer.pen, writer.hand.taper, rng)]


def _paste_window(shape, corner, size):
    """Slices of a canvas of `shape` and of a patch of `size` placed at `corner` (x, y), clipped to the canvas."""
    x0, y0 = np.maximum(corner, 0)
    x1, y1 = min(corner[0] + size[1], shape[1]), min(corner[1] + size[0], shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    inner = (slice(y0 - corner[1], y1 - corner[1]), slice(x0 - corner[0], x1 - corner[0]))
    return (slice(y0, y1), slice(x0, x1)), inner


@lru_cache(maxsize=2)
def _id_font(size: int):
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size)


def _stamp_id(layer: np.ndarray, text: str, left: float, middle: float) -> None:
    """Print `text` bold and condensed into `layer` (coverage), vertically centred on `middle`; page pixels."""
    from PIL import Image, ImageDraw

    font = _id_font(18 * SCALE * 2)
    box = font.getbbox(text)
    image = Image.new("L", (box[2] - box[0] + 8, box[3] - box[1] + 8))
    ImageDraw.Draw(image).text((4 - box[0], 4 - box[1]), text, fill=255, font=font)
    patch = cv2.resize(np.asarray(image, np.float32) / 255, None, fx=0.5 * 0.80, fy=0.5, interpolation=cv2.INTER_AREA)
    corner = np.array([round(left), round(middle - patch.shape[0] / 2)])
    window = _paste_window(layer.shape, corner, patch.shape)
    if window:
        layer[window[0]] = np.maximum(layer[window[0]], patch[window[1]])


def _rule_lines(layer: np.ndarray, columns, rows, rng) -> None:
    """The ruled lines into a coverage layer: as wide and as black as this sheet's printer made them."""
    half = rng.uniform(0.42, 0.72) * SCALE  # half a line's width
    x = (columns + MARGIN_X) * SCALE
    y = (rows + MARGIN_Y) * SCALE
    across, down = np.arange(layer.shape[1]), np.arange(layer.shape[0])
    inside_x = np.clip(across - x[0] + half, 0, 1) * np.clip(x[-1] + half - across, 0, 1)
    inside_y = np.clip(down - y[0] + half, 0, 1) * np.clip(y[-1] + half - down, 0, 1)
    for at in y:
        span = slice(int(at - half - 2), int(at + half + 3))
        line = np.clip(half + 0.5 - np.abs(down[span] - at), 0, 1)
        layer[span] = np.maximum(layer[span], line[:, None] * inside_x[None, :])
    for at in x:
        span = slice(int(at - half - 2), int(at + half + 3))
        line = np.clip(half + 0.5 - np.abs(across[span] - at), 0, 1)
        layer[:, span] = np.maximum(layer[:, span], line[None, :] * inside_y[:, None])
    layer *= rng.uniform(0.7, 0.95)


def _grow_labels(label: np.ndarray, times: int) -> np.ndarray:
    """Labels let out into their empty surroundings, so that sampling at an edge still meets one."""
    for _ in range(times):
        label = np.where(label > 0, label, cv2.dilate(label, np.ones((3, 3), np.uint8)))
    return label


def draw_page(config: SynthesisConfig, sheet: int, rng: np.random.Generator) -> Page:
    """Print the table of a sheet and let its people sign.

    Parameters
    ----------
    config
        The class.
    sheet
        Number of the sheet, from 0.
    rng
        Stream of the sheet; people have their own.
    """
    ids = config.ids(sheet)
    columns = np.concatenate([[0.0, ID_W], ID_W + CELL_W * np.arange(1, config.per_person + 1)])
    rows = CELL_H * np.arange(len(ids) + 1)
    width = int((columns[-1] + 2 * MARGIN_X) * SCALE)
    height = int((rows[-1] + 2 * MARGIN_Y) * SCALE)
    table, numbers = np.zeros((2, height, width), np.float32)
    _rule_lines(table, columns, rows, rng)
    indent = MARGIN_X + rng.uniform(4, 7)
    for row, person in enumerate(ids):
        middle = MARGIN_Y + (rows[row] + rows[row + 1]) / 2 + rng.uniform(-1, 1)
        _stamp_id(numbers, str(person), indent * SCALE, middle * SCALE)
    printed = np.maximum(table * np.float32(1 - config.line_fade), numbers)
    absorb = printed[..., None] * np.array([1.22, 1.28, 1.25], np.float32)
    coverage = np.zeros((height, width), np.float32)
    label = np.zeros((height, width), np.uint16)
    for row, person in enumerate(ids):
        writer = make_writer(config, person)
        for col in range(config.per_person):
            patch, corner = ink.deposit(signature_strokes(config, writer, col + 1), SCALE)
            centre = np.array([columns[col + 1] + columns[col + 2], rows[row] + rows[row + 1]]) / 2
            corner = corner + np.rint((centre + [MARGIN_X, MARGIN_Y]) * SCALE).astype(int)
            window = _paste_window(coverage.shape, corner, patch.shape)
            if window is None:
                continue
            outer, patch = window[0], patch[window[1]]
            shape = np.minimum(patch / np.float32(writer.pen.flow), 1)  # a faint pen covers as much as a dark one
            on_top = shape > np.maximum(coverage[outer], 0.02)
            label[outer][on_top] = row * config.per_person + col + 1
            coverage[outer] = np.maximum(coverage[outer], shape)
            absorb[outer] += patch[..., None] * np.array(writer.pen.absorbance[::-1], np.float32)
    back = _back_page(coverage, rng)
    return Page(columns, rows, absorb, np.rint(255 * coverage).astype(np.uint8), _grow_labels(label, 3), back, ids)


def _back_page(coverage: np.ndarray, rng) -> np.ndarray:
    """The back page's ink, seen from here: mirrored writing of other rows, in some places only."""
    rows = int(CELL_H * SCALE)
    shift = int(rng.integers(2, 6)) * rows + int(rng.integers(-30, 30)), int(rng.integers(-60, 60))
    mirrored = np.roll(coverage[:, ::-1], shift, (0, 1))
    coarse = rng.normal(-0.25, 1.0, (coverage.shape[0] // rows + 2, coverage.shape[1] // (rows * 2) + 2))
    places = cv2.resize(coarse.astype(np.float32), mirrored.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return mirrored * np.clip(places, 0, 1)


def stored_ink(inked: np.ndarray, scale: float) -> np.ndarray:
    """Ink as the models see it, of a signature on a canvas of its own.

    Parameters
    ----------
    inked
        bool ``[h, w]``: where `ink.deposit` has left enough.
    scale
        Canvas pixels a px of the sheet.

    Returns
    -------
    numpy.ndarray
        uint8 ``[128, 128]``, 255 = ink, 0 = paper; what a faultless extraction makes of the cell.
    """
    mask = inked.view(np.uint8) * np.uint8(255)
    return normalise_mask(mask, cell=CELL_W * scale)
