"""The signature of a cell as it is stored: upright, and normalised as all ink is."""

from __future__ import annotations

import numpy as np

from ..images import normalise_mask
from .sheet import Cell, Sheet


def normalised(sheet: Sheet, cell: Cell) -> np.ndarray:
    """The signature of one cell as it is stored: uint8 ``[128, 128]``, ink 0 on paper 255.

    Turn and perspective are undone by the cell's corners; the rest is `images.normalise_mask`.
    """
    quad = sheet.frame.from_photo(cell.quad) - np.array(cell.origin)
    return 255 - normalise_mask(cell.mask, quad)
