"""Valid pictures, broken at random, through the reader: ``python tools/fuzz.py --n 10000`` prints what became of them.

Each is read, or refused with a message that names the file. Anything else is a fault: its seed is printed, and the
status is 1.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from sigen_utils.images import ImageError, read_pages  # noqa: E402

FORMATS = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "pdf")


def valid(rng: np.random.Generator) -> dict[str, bytes]:
    """Format -> a small picture in it; some with a palette, alpha, several pages or EXIF."""
    found = {}
    pixels = rng.integers(0, 256, (24, 40, 3), np.uint8)
    plain = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {f"{name}": (plain, dict(format=name)) for name in FORMATS}
    kinds |= {"palette": (plain.convert("P"), dict(format="png", transparency=0))}
    kinds |= {"alpha": (plain.convert("RGBA"), dict(format="png"))}
    kinds |= {"deep": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), dict(format="tiff"))}
    kinds |= {"pages": (plain, dict(format="tiff", save_all=True, append_images=[plain], compression="tiff_lzw"))}
    kinds |= {"animation": (plain, dict(format="gif", save_all=True, append_images=[plain.rotate(9)]))}
    kinds |= {"turned": (plain, dict(format="jpeg", exif=exif)), "cmyk": (plain.convert("CMYK"), dict(format="jpeg"))}
    for name, (picture, options) in kinds.items():
        stream = io.BytesIO()
        picture.save(stream, **options)
        found[name] = stream.getvalue()
    return found


def broken(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to four mutations, half of them in the header: changed, cut, doubled, zeroed."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(min(len(found), 64 if rng.random() < 0.5 else len(found)))) if found else 0
        length = int(rng.integers(1, 33))
        match int(rng.integers(6)):
            case 0:
                found[at : at + 1] = rng.bytes(1)
            case 1:
                found[at : at + 4] = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"][rng.integers(3)]
            case 2:
                del found[at:]
            case 3:
                found[at:at] = found[at : at + length]
            case 4:
                found[at : at + length] = bytes(length)
            case 5:
                del found[at : at + length]
    return bytes(found)


def run(n: int, seed: int = 0) -> Counter:
    """Read `n` broken pictures; the counts of what became of them."""
    counts = Counter(read=0, refused=0, faults=0)
    pictures = list(valid(np.random.default_rng(seed)).items())
    with tempfile.TemporaryDirectory() as folder:
        for k in range(n):
            rng = np.random.default_rng((seed, k))
            name, data = pictures[k % len(pictures)]
            path = Path(folder) / f"{name}.png"
            path.write_bytes(broken(data, rng))
            try:
                pages = read_pages(path, max_pixels=4_000_000)
                assert all(page.image.ndim == 3 and page.image.dtype == np.uint8 for page in pages)
                counts["read"] += 1
            except ImageError as error:
                fault = path.name not in str(error) or "\n" in str(error)
                counts["faults" if fault else "refused"] += 1
                if fault:
                    print(f"fault: seed {seed}, number {k} ({name}): its message is {str(error)!r}")
            except Exception as error:
                counts["faults"] += 1
                print(f"fault: seed {seed}, number {k} ({name}): {type(error).__name__}: {error}")
        left = [path.name for path in Path(folder).iterdir() if path.suffix != ".png"]
        counts["faults"] += len(left)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff has a word for each
    result = run(args.n, args.seed)
    print(", ".join(f"{count} {name}" for name, count in result.items()))
    sys.exit(1 if result["faults"] else 0)
