"""Pictures beside the ink that was read from them, on one page to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

COLUMNS = 6
TILE = (300, 180)  # px
PICTURE = (160, 140)  # px, at most


def contact_sheet(tiles: Sequence[tuple[np.ndarray, np.ndarray, str, str]]) -> Image.Image:
    """One picture of many.

    Parameters
    ----------
    tiles
        For each: the page uint8 RGB ``[H, W, 3]``, the ink uint8 ``[128, 128]`` (255 = ink), its name, and a line
        about it.
    """
    width, height = TILE
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (page, ink, name, line) in enumerate(tiles):
        left, top = k % COLUMNS * width, k // COLUMNS * height
        draw.rectangle((left, top, left + width - 2, top + height - 2), fill=(214, 214, 235))
        picture = Image.fromarray(page)
        picture.thumbnail(PICTURE)
        sheet.paste(picture, (left + 3, top + 3))
        sheet.paste(Image.fromarray(255 - ink), (left + width - 132, top + 3))
        draw.text((left + 3, top + height - 34), line[:50], fill=(170, 0, 0) if line.startswith("out") else (0, 0, 120))
        draw.text((left + 3, top + height - 18), name[-48:], fill="black")
    return sheet
