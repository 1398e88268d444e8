"""Photographed sheets to signatures: ruled table -> cells -> ink by owner -> 128 x 128 signatures and a manifest.

A sheet is a ruled table, one person a row: the printed ID first, then the signatures. Modules in reading order:
`photo` (decoding), `lines` and `lattice` (which lines make the table), `grid` (curves and crossings), `ink` (binarise,
remove printed lines, give strokes to people), `digits` (printed IDs), `sheet` (one sheet), `normalise` (128 x 128),
`audit` (figures), `files` (whole folders).
"""

from .audit import contact_sheet, draw_audit
from .config import ExtractionConfig, SheetError
from .corrections import read_corrections
from .files import ExtractionResult, extract
from .grid import Grid, find_grid
from .normalise import normalised
from .photo import read_photo
from .plan import read_ids, read_layout
from .sheet import Cell, Sheet, extract_sheet, extract_sheets

__all__ = [
    "Cell",
    "ExtractionConfig",
    "ExtractionResult",
    "Grid",
    "Sheet",
    "SheetError",
    "contact_sheet",
    "draw_audit",
    "extract",
    "extract_sheet",
    "extract_sheets",
    "find_grid",
    "normalised",
    "read_corrections",
    "read_ids",
    "read_layout",
    "read_photo",
]
