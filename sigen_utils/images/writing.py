"""Pictures that this project generates say so: PNG with the keys ``Software`` and ``synthetic``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import __version__
from ..paths import atomic_write


def synthetic_note() -> PngInfo:
    """Text chunks of every PNG of signatures that a model drew: whoever finds the file can see what it is."""
    note = PngInfo()
    note.add_text("Software", f"sigen {__version__}")
    note.add_text("synthetic", "drawn by a model; no person has signed this")
    return note


def save_generated(picture: np.ndarray, path: str | Path) -> Path:
    """Write a generated picture uint8 ``[H, W]``, black on white, as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", pnginfo=synthetic_note(), optimize=True)
    return Path(path)
