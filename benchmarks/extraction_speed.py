"""Seconds a sheet and peak memory of the extraction, at one and at forty-eight megapixels, on one core.

python benchmarks/extraction_speed.py
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigen_utils.extraction import ExtractionConfig, extract_sheet  # noqa: E402
from sigen_utils.synthesis import SynthesisConfig, synthesize  # noqa: E402


def main() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        sheet = synthesize(Path(folder) / "sheets", SynthesisConfig(people=12), progress=lambda line: None)[0]
        with Image.open(sheet) as photo:
            width, height = photo.size
            print(f"{'megapixels':>12}{'seconds':>10}{'cells':>8}{'peak MB':>10}")
            for target in (1e6, 48e6):
                scale = (target / (width * height)) ** 0.5
                path = Path(folder) / f"{target:.0f}.jpg"
                photo.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC).save(path)
                started = time.perf_counter()
                found = extract_sheet(path, ExtractionConfig())
                seconds = time.perf_counter() - started
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{target / 1e6:12.0f}{seconds:10.2f}{len(found.cells):8d}{peak:10.0f}")


if __name__ == "__main__":
    main()
