"""The signature of a cell as it is stored: upright, and normalised as all ink is."""

from __future__ import annotations

import numpy as np

from ..images import normalise_mask
from .config import ExtractionConfig
from .sheet import Cell, Sheet


def normalised(sheet: Sheet, cell: Cell, config: ExtractionConfig | None = None) -> np.ndarray:
    """The signature of one cell as it is stored.

    Parameters
    ----------
    sheet, cell
        What `extract_sheet` found.
    config
        ``size``, ``longest``, ``stroke``.

    Returns
    -------
    numpy.ndarray
        uint8 ``[size, size]``, ink 0 on paper 255 and nothing between. Turn and perspective are undone by the cell's
        corners; the ink's bounding box is scaled so that its longest side is ``config.longest``, and centred.
    """
    config = config or ExtractionConfig()
    quad = sheet.frame.from_photo(cell.quad) - np.array(cell.origin)
    return 255 - normalise_mask(cell.mask, quad, size=config.size, longest=config.longest, stroke=config.stroke)
