"""Settings of the extraction and the one error it raises."""

from __future__ import annotations

from dataclasses import dataclass


class SheetError(ValueError):
    """A sheet cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class ExtractionConfig:
    """How sheets are read. Lengths are relative (cell or photograph), so one setting serves every resolution."""

    max_pixels: int = 120_000_000  # larger photographs are refused before they are decoded
    find_size: int = 1200  # longest side, in pixels, of the reduced photograph on which lines are searched
    columns: int = 4  # signatures a row that are expected; a prior, the data decide
    max_columns: int = 8  # most signature columns that are tried where lines are faint; there may be more
    layout: tuple[str, ...] = ()  # what the columns are, by the user: id, sig, name, - ...; empty: found
    ids: tuple[str, ...] = ()  # IDs of all rows of all sheets in turn, by the user; empty: read
    min_rows: int = 2  # fewer ruled rows are not taken for a table
    id_width: float = 0.345  # width of the ID column over that of a signature column; a prior as well
    cell_width: int = 360  # widest signature column, in pixels, that ink is read at; larger photographs are reduced
    window: float = 0.151  # side of Sauvola's window over the cell width (31 px at 205 px; Sauvola 2000)
    sauvola_k: float = 0.1  # Sauvola's k: how far below the local mean ink has to be
    min_contrast: float = 0.22  # ink strokes whose darkest part stays below this are show-through or dents
    faint_contrast: float = 0.32  # cells whose ink stays below this are flagged low_contrast
    id_distance: float = 0.62  # a digit further than this from every known shape is unread
    audit: bool = True  # draw audit figures
