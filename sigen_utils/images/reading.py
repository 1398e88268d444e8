"""Any picture file to pages of pixels: what a phone, a scanner, an export or a bad download has made of it."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, ImageSequence, UnidentifiedImageError

MAX_PIXELS = 120_000_000  # a page with more is refused before it is decoded
MAX_PAGES = 100  # pages of one file that are read
PDF_SIDE = 3508  # px: longest side that a PDF page is drawn at, A4 at 300 dpi
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jfif .jpe .tif .tiff .bmp .dib .webp .gif .avif .jp2 .ppm .pgm .pbm .heic .heif .hif .pdf".split()
)
SRGB = ImageCms.createProfile("sRGB")

_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1"}
_HEIC_REMEDY = (
    "run `pip install pillow-heif` and read it again, or convert it: `sips -s format jpeg {name} --out {stem}.jpg` "
    "(macOS), `heif-convert {name} {stem}.jpg` (Linux)"
)
_PDF_REMEDY = (
    "run `pip install pypdfium2` and read it again, or convert it: `pdftoppm -r 300 -png {name} {stem}` "
    "(Linux, macOS), or save its pages as PNG"
)
_NO_PICTURE = (  # first bytes of files that are often named like pictures
    (b"version https://git-lfs", "a Git LFS pointer, not the picture; run `git lfs pull`"),
    (b"<!doctype", "a web page, not a picture; download the picture again"),
    (b"<html", "a web page, not a picture; download the picture again"),
    (b"<?xml", "an XML or SVG file; export it as PNG"),
    (b"<svg", "an SVG drawing; export it as PNG"),
    (b"pk\x03\x04", "an archive or office document; unpack it, or export the picture as PNG"),
    (b"\x00\x05\x16\x07", "macOS metadata without a picture; remove it"),
)
_PICTURE = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*", b"%PDF")


class ImageError(ValueError):
    """A picture cannot be used; the message names the file and the remedy."""


class Page(NamedTuple):
    """One page of a picture file.

    Attributes
    ----------
    name
        The file's name; from the second page on with the number, ``scan.tif#2``.
    image
        uint8 RGB ``[H, W, 3]``, upright as its EXIF orientation says, eight bits a channel, without alpha.
    notes
        What was done to get there, in words: ``turned by EXIF``, ``16 bits``, ``ink in alpha``, ...
    """

    name: str
    image: np.ndarray
    notes: tuple[str, ...] = ()


def shown(name: str | os.PathLike) -> str:
    """The name of a file as it may be printed: control characters and lone surrogates are escaped."""
    name = os.path.basename(os.fspath(name))
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def read_pages(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> list[Page]:
    """All pages of a picture file; see `iter_pages`, which holds one in memory at a time."""
    with quietly():
        return list(iter_pages(path, max_pixels))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence Pillow's warnings about a file, of which the reader says what matters.

    Not inside `iter_pages`: filters of warnings are shared by all threads, and by whoever takes a page in between.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is the limit
        yield


def iter_pages(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Iterator[Page]:
    """Decode a picture file page by page.

    Parameters
    ----------
    path
        A picture in any format that Pillow knows, whatever its suffix says; HEIC and PDF where ``pillow-heif`` and
        ``pypdfium2`` are installed.
    max_pixels
        Largest page, known from the header before anything is decoded.

    Yields
    ------
    Page
        Every page of a TIFF or PDF; of an animation the frame that shows most; else one.

    Raises
    ------
    ImageError
        For a missing, empty, truncated, foreign or too large file, or a format whose reader is not installed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # to open a pipe is to wait for ever
        raise ImageError(f"{shown(path)}: a folder, pipe or device, no file; name a picture")
    try:
        with open(path, "rb") as handle:
            head = handle.read(64)
    except FileNotFoundError as error:
        raise ImageError(f"{shown(path)}: no such file; check the folder's name") from error
    except OSError as error:
        raise ImageError(f"{shown(path)}: cannot be opened ({error.strerror}); check its permissions") from error
    _refuse(path, head)
    try:
        if head.startswith(b"%PDF"):
            yield from _pdf_pages(path, max_pixels)
        else:
            yield from _picture_pages(path, head, max_pixels)
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(path, None, max_pixels)) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{shown(path)}: not a readable picture; export or photograph it again") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, OverflowError) as error:
        # Pillow's decoders raise all of these on damaged files
        raise ImageError(f"{shown(path)}: damaged or truncated ({error}); copy the file again") from error


def is_picture(path: Path) -> bool:
    """Whether a file claims to be a picture by its suffix, or is one by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as handle:
            head = handle.read(12)
    except OSError:
        return False
    raw = path.suffix.lower() in {".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2"}  # TIFFs of a camera's sensor
    return not raw and head.startswith(_PICTURE) and (not head.startswith(b"RIFF") or head[8:12] == b"WEBP")


def _refuse(path: Path, head: bytes) -> None:
    """Say what a file is that is no picture."""
    if not head:
        raise ImageError(f"{shown(path)}: an empty file; copy it again")
    for start, message in _NO_PICTURE:
        if head.lower().lstrip(b"\xef\xbb\xbf \r\n\t").startswith(start):
            raise ImageError(f"{shown(path)}: {message}")


def _too_large(path: Path, pixels: int | None, limit: int) -> str:
    size = "far too many pixels" if pixels is None else f"{pixels / 1e6:.0f} megapixels"
    return f"{shown(path)}: {size}, the limit is {limit / 1e6:.0f}; scale the picture down"


def _named(path: Path, k: int) -> str:
    return shown(path) if k == 0 else f"{shown(path)}#{k + 1}"


def _picture_pages(path: Path, head: bytes, max_pixels: int) -> Iterator[Page]:
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            remedy = _HEIC_REMEDY.format(name=shown(path), stem=Path(shown(path)).stem)
            raise ImageError(f"{shown(path)}: a HEIC picture, and no reader is installed; {remedy}") from error
        register_heif_opener()
    with Image.open(path) as picture:
        if picture.width * picture.height > max_pixels:
            raise ImageError(_too_large(path, picture.width * picture.height, max_pixels))
        frames = getattr(picture, "n_frames", 1)
        if _misread(picture):
            yield from _uncompressed_pages(path)
        elif frames > 1 and picture.format == "TIFF":
            yield from _tiff_pages(path, picture, frames, max_pixels)
        elif frames > 1 and picture.format in ("GIF", "WEBP", "PNG", "AVIF"):
            frame, notes = _fullest_frame(picture)
            yield Page(shown(path), frame, (f"an animation of {frames} frames", *notes))
        else:  # of a phone's MPO and HEIC the first picture; the others are depth or gain maps
            yield Page(shown(path), *_to_rgb(picture))


def _misread(picture: Image.Image) -> bool:
    """Whether Pillow would scramble a picture: uncompressed TIFFs that lie on their side (Pillow 13 does)."""
    return picture.format == "TIFF" and picture.info.get("compression") == "raw" and picture.tag_v2.get(0x0112, 1) > 4


def _uncompressed_pages(path: Path) -> Iterator[Page]:
    """Pages of such a TIFF, read and turned by OpenCV."""
    done, pages = cv2.imdecodemulti(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    if not done:
        raise ImageError(f"{shown(path)}: an uncompressed TIFF that cannot be read; save it as PNG")
    for k, page in enumerate(pages):
        yield Page(_named(path, k), page, ("turned by EXIF",))


def _tiff_pages(path: Path, picture: Image.Image, frames: int, max_pixels: int) -> Iterator[Page]:
    """Pages of a TIFF but for thumbnails and masks, which its subfile type marks."""
    number = 0
    for k in range(min(frames, MAX_PAGES)):
        picture.seek(k)
        if k and picture.tag_v2.get(254, 0) & 5:
            continue
        if picture.width * picture.height > max_pixels:
            raise ImageError(_too_large(path, picture.width * picture.height, max_pixels))
        image, notes = _to_rgb(picture)
        if k == MAX_PAGES - 1 and frames > MAX_PAGES:
            notes = (*notes, f"only {MAX_PAGES} of {frames} pages are read")
        yield Page(_named(path, number), image, notes)
        number += 1


def _fullest_frame(picture: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """The first or the last frame of an animation, whichever shows more: many draw the signature bit by bit."""
    last = first = _to_rgb(picture)
    for frame in ImageSequence.Iterator(picture):
        last = frame
    last = _to_rgb(last)
    return last if last[0].std() > first[0].std() else first


def _pdf_pages(path: Path, max_pixels: int) -> Iterator[Page]:
    try:
        import pypdfium2
    except ImportError as error:
        remedy = _PDF_REMEDY.format(name=shown(path), stem=Path(shown(path)).stem)
        raise ImageError(f"{shown(path)}: a PDF, and no reader is installed; {remedy}") from error
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise ImageError(f"{shown(path)}: a PDF that cannot be opened ({error}); print it to a new PDF") from error
    try:
        for k in range(min(len(document), MAX_PAGES)):
            page = document[k]
            scale = min(PDF_SIDE / max(page.get_size()), (max_pixels / (page.get_width() * page.get_height())) ** 0.5)
            image = np.ascontiguousarray(np.asarray(page.render(scale=scale).to_pil().convert("RGB")))
            notes = [f"drawn at {72 * scale:.0f} dpi"]
            if k == MAX_PAGES - 1 and len(document) > MAX_PAGES:
                notes.append(f"only {MAX_PAGES} of {len(document)} pages are read")
            yield Page(_named(path, k), image, tuple(notes))
    except pypdfium2.PdfiumError as error:
        raise ImageError(f"{shown(path)}: a PDF with a damaged page ({error}); print it to a new PDF") from error
    finally:
        document.close()


def _to_rgb(picture: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 RGB ``[H, W, 3]`` of an opened picture, and what was done."""
    notes = []
    turned = ImageOps.exif_transpose(picture)
    if turned.size != picture.size or picture.getexif().get(0x0112, 1) != 1:
        notes.append("turned by EXIF")
    picture = turned
    if picture.mode.startswith("I") or picture.mode == "F":
        notes.append("16 bits" if picture.mode != "F" else "floating point")
        grey = _eight_bits(np.asarray(picture))
        return cv2.merge([grey] * 3), tuple(notes)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgb, note = _without_alpha(np.asarray(picture.convert("RGBA")))
        return rgb, tuple(notes + note)
    managed = _through_profile(picture)
    if managed is not None:
        notes.append("colour profile applied")
        picture = managed
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"))), tuple(notes)


def _eight_bits(deep: np.ndarray) -> np.ndarray:
    """Deep grey ``[H, W]`` to uint8: full scale is the number of bits in use (8, 10, 12, 14, 16), or 1 for shares."""
    shares = deep.dtype.kind == "f"
    deep = np.nan_to_num(deep.astype(np.float32))
    low, high = float(deep.min(initial=0)), float(deep.max(initial=0))
    if shares and high <= 1 and low >= 0:
        top = 1.0
    else:
        top = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)
    return np.clip((deep - min(low, 0)) * (255 / (top - min(low, 0))) + 0.5, 0, 255).astype(np.uint8)


def _without_alpha(rgba: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Colours of RGBA ``[H, W, 4]`` on the paper that lets their ink be seen.

    What a signature pad exports is strokes only: light ones would vanish on white, so they become black on white.
    Opaque paper with transparent surroundings is laid on white.
    """
    alpha = rgba[..., 3]
    rgb = np.ascontiguousarray(rgba[..., :3])
    if alpha.min(initial=255) == 255:
        return rgb, []
    if alpha.max(initial=0) == 0:  # the colours are there all the same
        return rgb, ["alpha ignored, all transparent"]
    share = alpha[..., None].astype(np.float32) / 255
    on_white = (rgb * share + 255 * (1 - share) + 0.5).astype(np.uint8)
    solid = alpha > 127
    if not solid.any():
        solid = alpha > 0.5 * alpha.max()
    light = float(np.median(rgb[solid].max(axis=1))) > 127
    thickness = 2 * float(cv2.distanceTransform(np.pad(solid, 1).view(np.uint8), cv2.DIST_L2, 3).max())
    if light and thickness < 0.2 * min(alpha.shape) and solid.mean() < 0.5:
        return cv2.merge([255 - alpha] * 3), ["light ink in alpha"]
    return on_white, ["ink in alpha" if thickness < 0.2 * min(alpha.shape) else "alpha laid on white"]


def _through_profile(picture: Image.Image) -> Image.Image | None:
    """The picture in sRGB where its colour profile makes a difference to greys; None to take it as it is.

    The common profiles (sRGB, Display P3, Adobe RGB, a grey gamma) move neutral greys by a few levels only.
    """
    mode, profile = picture.mode, picture.info.get("icc_profile")
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, lab, SRGB, outputMode="RGB")
    if not profile or mode not in ("RGB", "L", "CMYK"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, SRGB, mode, "RGB")
        ramp = np.linspace(0, 255, 9).astype(np.uint8)[None]
        patch = Image.fromarray(ramp) if mode == "L" else Image.merge(mode, [Image.fromarray(ramp)] * len(mode))
        moved = np.asarray(ImageCms.applyTransform(patch, transform)).astype(int)
        if np.abs(moved - np.asarray(patch.convert("RGB")).astype(int)).max() < 32:
            return None
        return ImageCms.applyTransform(picture, transform)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None  # a damaged profile says nothing; the pixels are whole
