"""Figures: grids of signatures, curves, intervals, and the one function that writes them to disk.

Every function takes plain arrays, applies ``sigen.mplstyle`` to its own figure, and returns the figure at
the size at which the paper prints it, so that no font is ever rescaled. Pictures given as floats are ink
(1 = ink, 0 = paper), pictures given as uint8 are black ink on white paper; both are drawn black on white.
"""

from .curves import dot_panels, dots_by_seed, loss_curves, metric_over_time
from .grids import comparison_rows, image_grid, panels, traversal
from .style import (
    COLORS,
    COLUMN_WIDTH,
    FONT,
    LINES,
    SCREEN_DPI,
    STYLE,
    TEXT_WIDTH,
    ShownOnce,
    save_figure,
    styled,
    use_style,
)

__all__ = [
    "COLORS",
    "COLUMN_WIDTH",
    "FONT",
    "LINES",
    "SCREEN_DPI",
    "STYLE",
    "TEXT_WIDTH",
    "ShownOnce",
    "comparison_rows",
    "dot_panels",
    "dots_by_seed",
    "image_grid",
    "loss_curves",
    "metric_over_time",
    "panels",
    "save_figure",
    "styled",
    "traversal",
    "use_style",
]
