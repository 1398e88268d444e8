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


def take_turns(
    ways: Mapping[str, Callable[[], int]], seconds: float, wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds an item of every way, a number a round, in rounds A B C A B C ... for about so many `seconds`."""

    def timed(run: Callable[[], int], times: int) -> tuple[float, int]:
        started = time.perf_counter()
        items = sum(run() for _ in range(times))
        wait()
        return time.perf_counter() - started, items

    times = {name: max(1, math.ceil(SHORT / max(timed(run, 1)[0], 1e-9))) for name, run in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < ROUNDS or time.perf_counter() < end:
        for name, run in ways.items():
            took, items = timed(run, times[name])
            found[name].append(took / items)
        rounds += 1
    return found


def speed_up(plain: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How many times as fast as the plain way, by rounds: median, 10th and 90th percentile."""
    low, middle, high = np.quantile(np.divide(plain, other), (0.1, 0.5, 0.9)).tolist()
    return dict(speed_up=middle, low=low, high=high)


def measure(
    benchmark: cases.Benchmark, setting: cases.Setting, seconds: float, wait: Callable[[], None] = lambda: None
) -> dict[str, dict]:
    """Of every way its median, speed-up and notes, or its problem."""
    ways = benchmark.ways(setting)
    problems = {name: way.problem for name, way in ways.items() if way.problem}
    for name, way in ways.items():  # once untimed: what is made only once
        try:
            if not way.problem:
                way.run()
        except Exception as error:
            if name in ("plain", "ours"):
                raise
            problems[name] = f"failed: {type(error).__name__}: {error}"
    found = take_turns({name: way.run for name, way in ways.items() if name not in problems}, seconds, wait)
    unit, out = cases.UNITS[benchmark.unit], {}
    for name, way in ways.items():
        if name in problems:
            out[name] = dict(problem=problems[name])
            continue
        times = found[name]
        out[name] = dict(median=unit(float(np.median(times))), rounds=len(times)) | speed_up(found["plain"], times)
        out[name] |= dict(notes=way.notes())
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
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    print(record.describe(machine))
    with tempfile.TemporaryDirectory() as folder:
        setting = cases.Setting(device, Path(folder))
        for one in cases.BENCHMARKS:
            if one.name not in args.only:
                continue
            line = dict(benchmark=one.name, what=one.what, unit=one.unit)
            line |= dict(ways=measure(one, setting, args.seconds, wait))
            print("\n" + record.as_text(line), flush=True)
            if args.record:
                record.append(line | machine)


if __name__ == "__main__":
    main()
