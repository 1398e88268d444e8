"""A picture of one signature to stored ink, with what was done and what a person should look at."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from .cleaning import find_ink
from .normalise import LONGEST, SIZE, normalise_mask
from .reading import Page, iter_pages

FLAGS = {  # what was done
    "negative": "light ink on dark paper: inverted",
    "page_edge": "only the page is read, not what it lies on",
    "scanner_edge": "a dark rim of the picture is left out",
    "rules": "printed lines are taken out",
    "stamp": "a stamp or print in another colour is left out",
    "dust": "specks far from the signature are left out",
}
DOUBTS = {  # what to look at
    "polarity_unsure": "neither light nor dark is clearly the paper",
    "two_inks": "ink of two colours: all of it is kept",
    "faint": "the ink is hardly darker than the paper",
    "coarse": "the signature is only a few pixels wide",
    "crowded": "more ink than a signature has: a photograph of something else, or a blot",
}
REMEDIES = {  # why a picture is left out, and what to do
    "blank": "no ink in it; scan or photograph the signature again, or remove the file",
    "solid": "a solid area, no strokes; scan or photograph the signature again, or remove the file",
}


@dataclass(frozen=True)
class Signature:
    """A signature that was read.

    Attributes
    ----------
    name
        Of the page, see `Page`.
    image
        uint8 ``[128, 128]``, 255 = ink; all 0 where nothing could be read.
    flags
        Of `FLAGS`, `DOUBTS` and `REMEDIES`.
    notes
        What the reader did, in words.
    """

    name: str
    image: np.ndarray
    flags: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Flags that ask a person to look."""
        return tuple(flag for flag in self.flags if flag in DOUBTS)

    @property
    def problem(self) -> str | None:
        """Why there is no ink, with the remedy; None if all is well."""
        reason = next((flag for flag in self.flags if flag in REMEDIES), None)
        return None if reason is None else f"{self.name}: {REMEDIES[reason]}"


def read_signatures(path: str | os.PathLike) -> list[Signature]:
    """The signature on each page of a picture file.

    Raises
    ------
    ImageError
        If the file cannot be read; the message names it and the remedy.
    """
    return [clean_signature(page) for page in iter_pages(path)]


def clean_signature(page: Page) -> Signature:
    """The signature on one page."""
    stored = as_stored(page.image)
    if stored is not None:
        return Signature(page.name, *stored, page.notes)
    ink = find_ink(page.image)
    return Signature(page.name, normalise_mask(ink.mask), ink.flags, page.notes)


def normalise_signature(grey: np.ndarray) -> np.ndarray:
    """A picture of a signature in memory to stored ink.

    Parameters
    ----------
    grey
        uint8 ``[H, W]`` or RGB ``[H, W, 3]``, any size, light and polarity.

    Returns
    -------
    numpy.ndarray
        uint8 ``[128, 128]``, 255 = ink; all 0 when the picture has no ink.
    """
    rgb = grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    return clean_signature(Page("picture", rgb)).image


def as_stored(image: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """A picture that is stored ink already, as it is; None if it has to be read.

    Stored ink is black or white, of the models' size, centred, and fills the square as `normalise_mask` leaves it.
    """
    if image.shape[:2] != (SIZE, SIZE) or not (image == image[..., :1]).all():
        return None
    grey = image[..., 0]
    if not ((grey == 0) | (grey == 255)).all():
        return None
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    negative = not rim.any()
    ink = grey > 0 if negative else grey == 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows) or (not negative and not rim.all()):
        return None
    off = max(abs(rows[0] + rows[-1] - SIZE + 1), abs(columns[0] + columns[-1] - SIZE + 1))
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    if off > 4 or not LONGEST - 4 <= longest <= LONGEST + 6:
        return None
    return (ink * np.uint8(255)), ("negative",) if negative else ()
