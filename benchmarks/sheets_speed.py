"""Seconds a sheet and peak memory of the extraction, at one and at forty-eight megapixels, on one core.

python benchmarks/sheets_speed.py

Each size is read in a process of its own, so that its peak memory is its own: once for what is loaded and drawn only
once (`first`), then three times, of which the median counts.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigen_utils.sheets import ExtractionConfig, extract_sheet  # noqa: E402
from sigen_utils.synthesis import SynthesisConfig, synthesize  # noqa: E402

try:
    import resource
except ModuleNotFoundError:  # Windows does not tell the peak this way
    resource = None


def peak_memory() -> float:
    """Most memory this process has held, in MB; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held when it started this process
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 2**10
    if resource:  # bytes on macOS, kilobytes elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return float("nan")


def measure(path: Path) -> tuple[float, float, int, float]:
    """Seconds of the first and of a later extraction, cells found, peak memory in MB."""
    cv2.setNumThreads(1)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        found = extract_sheet(path, ExtractionConfig())
        seconds.append(time.perf_counter() - started)
    return seconds[0], sorted(seconds[1:])[1], len(found.cells), peak_memory()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sheet = synthesize(Path(folder) / "sheets", SynthesisConfig(people=12), progress=None)[0]
        print(f"{'megapixels':>12}{'first (s)':>12}{'later (s)':>12}{'cells':>8}{'peak MB':>10}")
        for target in (1e6, 48e6):
            path = Path(folder) / f"{target:.0f}.jpg"
            with Image.open(sheet) as photo:
                scale = (target / (photo.width * photo.height)) ** 0.5
                size = (round(photo.width * scale), round(photo.height * scale))
                photo.resize(size, Image.Resampling.BICUBIC).save(path)
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
                first, later, cells, peak = fresh.submit(measure, path).result()
            print(f"{target / 1e6:12.0f}{first:12.2f}{later:12.2f}{cells:8d}{peak:10.0f}")


if __name__ == "__main__":
    main()
