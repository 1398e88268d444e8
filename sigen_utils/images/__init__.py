"""The one reader and the one normaliser of pictures: of sheets, signatures, uploads and synthetic ink.

The story runs through the modules in this order: `reading` (any file to pages of pixels), `page` (where the paper lies,
and whether ink is darker than it), `cleaning` (which pixels are ink), `rules` (printed lines), `normalise` (ink as the
models see it), `signature` (all of it, with flags).
"""

from .cleaning import find_ink
from .contact import contact_sheet
from .normalise import LONGEST, SIZE, STROKE, even_strokes, normalise_mask
from .reading import ImageError, Page, is_picture, iter_pages, quietly, read_pages, shown
from .signature import DOUBTS, FLAGS, REMEDIES, Signature, clean_signature, normalise_signature, read_signatures
from .writing import save_generated, synthetic_note

__all__ = [
    "DOUBTS",
    "FLAGS",
    "LONGEST",
    "REMEDIES",
    "SIZE",
    "STROKE",
    "ImageError",
    "Page",
    "Signature",
    "clean_signature",
    "contact_sheet",
    "even_strokes",
    "find_ink",
    "is_picture",
    "iter_pages",
    "normalise_mask",
    "normalise_signature",
    "quietly",
    "read_pages",
    "read_signatures",
    "save_generated",
    "shown",
    "synthetic_note",
]
