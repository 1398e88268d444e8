"""Pictures that this project generates say so: PNG with the keys ``Software`` and ``synthetic``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..paths import atomic_write


def save_generated(picture: np.ndarray, path: str | Path) -> Path:
    """Write a generated picture uint8 ``[H, W]``, black on white, as PNG, whole or not at all."""
    about = PngInfo()
    about.add_text("Software", "sigen")
    about.add_text("synthetic", "drawn by a model or a program; nobody's signature")
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", pnginfo=about, optimize=True)
    return Path(path)
