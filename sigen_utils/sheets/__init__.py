"""Photographed sheets to signatures: ruled table -> cells -> ink by owner -> 128 x 128 signatures and a manifest.

A sheet is a ruled table, one person a row: the printed ID first, then the signatures. Modules in reading order:
`photo` (decoding); `lines`, `ruling`, `network`, `lattice`, `paper`, `unruled` (which lines make the table); `curves`,
`grid` (crossings); `tables` (all of a photograph); `frame`, `ink`, `foreign` (binarise, remove lines and stains, give
strokes to people); `plan` (columns and rows); `digits`, `ids`; `sheet` (one sheet); `normalise` (128 x 128); `doubts`
(what to check, in words); `audit` (figures); `corrections`; `files` (folders).
"""

from .audit import contact_sheet, draw_audit
from .config import ExtractionConfig, SheetError
from .corrections import read_corrections
from .doubts import DOUBTS
from .files import ExtractionResult, extract, list_sheets
from .grid import Grid
from .ids import read_ids
from .normalise import normalised
from .photo import read_photo
from .plan import read_layout
from .sheet import NOT_FILED, Cell, Sheet, extract_sheet, extract_sheets
from .tables import find_grid

__all__ = [
    "DOUBTS",
    "NOT_FILED",
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
    "list_sheets",
    "normalised",
    "read_corrections",
    "read_ids",
    "read_layout",
    "read_photo",
]
