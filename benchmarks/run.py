"""Speed of the plain way, of ours and of public alternatives, side by side in one process.

    python benchmarks/run.py [--only NAME ...] [--seconds S] [--record]
    python benchmarks/run.py --page

The ways of a benchmark take turns, round after round. A speed-up is the median over rounds of the plain way's time over
the other's, with the 10th and the 90th percentile: what slows the machine for a while slows a whole round.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cases  # noqa: E402
import record  # noqa: E402

from sigen_utils.device import pick_device  # noqa: E402

ROUNDS = 5  # at least
SHORT = 0.05  # seconds; what takes less is repeated within a round


def take_turns(runs: Mapping[str, Callable[[], int]], seconds: float, wait: Callable[[], None]) -> dict[str, list]:
    """Seconds an item of every way, a number a round, in rounds A B C A B C ... for about so many `seconds`."""

    def timed(run: Callable[[], int], times: int) -> tuple[float, int]:
        started = time.perf_counter()
        items = sum(run() for _ in range(times))
        wait()
        return time.perf_counter() - started, items

    times = {name: max(1, math.ceil(SHORT / timed(run, 1)[0])) for name, run in runs.items()}
    found, end = {name: [] for name in runs}, time.perf_counter() + seconds
    while min(map(len, found.values())) < ROUNDS or time.perf_counter() < end:
        for name, run in runs.items():
            took, items = timed(run, times[name])
            found[name].append(took / items)
    return found


def speed_up(plain: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How many times as fast as the plain way, over rounds: median, 10th and 90th percentile."""
    low, middle, high = np.quantile(np.divide(plain, other), (0.1, 0.5, 0.9)).tolist()
    return dict(speed_up=middle, low=low, high=high)


def problem_of(way: cases.Way) -> str:
    """Why an alternative cannot run, or nothing; the first call is not timed, as it makes what is made only once."""
    try:
        way.run()
    except Exception as error:
        if not way.package:
            raise
        missing = isinstance(error, ModuleNotFoundError)
        return f"not installed: pip install {way.package}" if missing else f"failed: {type(error).__name__}: {error}"
    return ""


def measure(ways: cases.Ways, unit: str, seconds: float, wait: Callable[[], None] = lambda: None) -> dict[str, dict]:
    """Of every way its median, speed-up and notes, or its problem."""
    out = {name: dict(problem=problem_of(way)) for name, way in ways.items()}
    runs = {name: way.run for name, way in ways.items() if not out[name]["problem"]}
    found = take_turns(runs, seconds, wait)
    for name, times in found.items():
        out[name] = dict(median=cases.UNITS[unit](float(np.median(times))), rounds=len(times))
        out[name] |= speed_up(found["plain"], times) | dict(notes=ways[name].notes())
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [one.name for one in cases.BENCHMARKS]
    options.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    options.add_argument("--seconds", type=float, default=15.0, help="for each benchmark; five rounds at least")
    options.add_argument("--record", action="store_true", help=f"append the results to {record.HISTORY.name}")
    options.add_argument("--page", action="store_true", help=f"measure nothing, write the table of {record.PAGE.name}")
    args = options.parse_args(arguments)
    if args.page:
        record.write_page()
        return
    device = pick_device()
    machine = record.machine(device)
    print(record.described(machine))
    with tempfile.TemporaryDirectory() as folder:
        setting = cases.Setting(device, Path(folder))
        for one in (one for one in cases.BENCHMARKS if one.name in args.only):
            wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
            ways = measure(one.ways(setting), one.unit, args.seconds, wait)
            line = dict(benchmark=one.name, what=one.what, unit=one.unit, ways=ways) | machine
            print("\n" + record.as_text(line), flush=True)
            if args.record:
                record.append(line)


if __name__ == "__main__":
    main()
