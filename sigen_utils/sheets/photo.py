"""Reading one photograph, whatever a phone, a scanner or a bad download has made of it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .config import ExtractionConfig, SheetError


def read_photo(path: str | os.PathLike, config: ExtractionConfig | None = None) -> np.ndarray:
    """Decode a photograph the way it was held.

    Parameters
    ----------
    path
        An image file with one of ``config.suffixes``.
    config
        Limits; the defaults if None.

    Returns
    -------
    numpy.ndarray
        uint8 RGB ``[H, W, 3]``, turned by its EXIF orientation; transparent parts are white.

    Raises
    ------
    SheetError
        For a missing file, an unknown suffix, an unreadable or truncated file, or more than
        ``config.max_pixels`` pixels (told from the header, before anything is decoded).
    """
    config = config or ExtractionConfig()
    path = Path(path)
    if path.suffix.lower() not in config.suffixes:
        raise SheetError(f"{path.name}: not an image this reads; save it as one of {', '.join(config.suffixes)}")
    try:
        with warnings.catch_warnings():
            # The limit is checked below against max_pixels, so Pillow's own warning would only repeat it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                pixels = image.width * image.height
                if pixels > config.max_pixels:
                    raise SheetError(_too_large(path, pixels, config))
                return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise SheetError(f"{path.name}: no such file; check the folder's name") from error
    except Image.DecompressionBombError as error:
        raise SheetError(_too_large(path, None, config)) from error
    except UnidentifiedImageError as error:
        raise SheetError(f"{path.name}: not a readable image; export or photograph the sheet again") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, SheetError):
            raise
        raise SheetError(f"{path.name}: damaged or truncated ({error}); copy the file again") from error


def _too_large(path: Path, pixels: int | None, config: ExtractionConfig) -> str:
    size = "far too many pixels" if pixels is None else f"{pixels / 1e6:.0f} megapixels"
    return (
        f"{path.name}: {size}, the limit is {config.max_pixels / 1e6:.0f};"
        " scale the photograph down or raise ExtractionConfig.max_pixels"
    )


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit scans: Pillow would clip, not scale
        deep = np.asarray(image, np.float32)
        top = 65535.0 if deep.max(initial=0) > 255 else 255.0
        return np.repeat(np.clip(deep / top * 255, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def darkest_channel(photo: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The smallest of R, G, B per pixel: blue, red and black ink are all dark in it.

    Parameters
    ----------
    photo
        uint8 RGB ``[H, W, 3]``.
    scale
        Size of the result over that of the photograph, at most 1. Reduced by area averaging.

    Returns
    -------
    numpy.ndarray
        uint8 ``[H * scale, W * scale]``.
    """
    red, green, blue = cv2.split(reduced(photo, scale))
    return cv2.min(cv2.min(red, green), blue)


def reduced(photo: np.ndarray, scale: float) -> np.ndarray:
    """The photograph made smaller by area averaging; itself for a scale of 1 or more."""
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
