"""Seconds that a new process takes for the first page it reads, and its peak memory in MB, as JSON.

python benchmarks/first_page.py FILE
"""

import json
import sys
import time
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigen_utils.sheets import extract_sheet  # noqa: E402

cv2.setNumThreads(1)
started = time.perf_counter()
extract_sheet(sys.argv[1])
found, status = {"first page (s)": time.perf_counter() - started}, Path("/proc/self/status")
if status.is_file():  # getrusage may count what the parent held when it started this process
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    found["peak (MB)"] = peak / 2**10
elif sys.platform == "darwin":
    import resource  # there is none on Windows

    found["peak (MB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps(found))
