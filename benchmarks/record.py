"""The history of measurements, a JSON line each, and the table that is made of it."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from sigen_utils.device import precision
from sigen_utils.paths import REPO, atomic_write
from sigen_utils.provenance import commit

HISTORY, PAGE = REPO / "benchmarks" / "results.jsonl", REPO / "docs" / "speed.md"
START, END = "<!-- speed: written by `python benchmarks/run.py --page` -->", "<!-- /speed -->"
PACKAGES = "torch torchvision numpy scipy pillow opencv-python-headless opencv-contrib-python".split()
OPTIONAL = "kornia img2table torch-fidelity clean-fid".split()
BUSY = 0.5  # load before the start, a core


def machine(device: torch.device) -> dict[str, Any]:
    """Date, commit, machine, versions and number type of what is measured now."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES + OPTIONAL:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        cpu = next((value.strip() for key, _, value in lines if key.strip() == "model name"), cpu)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return dict(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        commit=commit(),
        machine=dict(cpu=cpu, cores=cores, threads=torch.get_num_threads(), gpu=gpu, load=load),
        number_type=str(precision(device)).removeprefix("torch."),
        versions=versions,
    )


def describe(line: Mapping[str, Any]) -> str:
    """The machine of a line, in words."""
    on, versions = line["machine"], line["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    load = on["load"]
    busy = "" if load is None else f" Load before the start: {load:g}"
    busy += ", so the machine was busy with other work." if load and load > BUSY * on["cores"] else "." if busy else ""
    where = (f"{on['gpu']}, " if on["gpu"] else "") + f"{on['cpu']}, {on['cores']} cores, {on['threads']} threads"
    return f"{line['date']}, commit {line['commit']}: {where}, {line['number_type']}.{busy} {packages}."


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(line: Mapping[str, Any]) -> Iterable[tuple[str, str, str, str]]:
    """(way, its median, its speed-up, notes) of every way of a line, in words."""
    for name, way in line["ways"].items():
        if "problem" in way:
            yield name, way["problem"], "", ""
            continue
        spread = f"{number(way['speed_up'])} [{number(way['low'])}, {number(way['high'])}]"
        notes = ", ".join(f"{key} {number(value)}" for key, value in way["notes"].items())
        yield name, f"{number(way['median'])} {line['unit']}", "1" if name == "plain" else spread, notes


def as_text(line: Mapping[str, Any]) -> str:
    """A line for a terminal."""
    rows = [(name, median, fast and f"x {fast}", notes) for name, median, fast, notes in cells(line)]
    width = max(len(row[0]) for row in rows)
    found = [f"  {name:{width}}  {median:26} {fast:24} {notes}".rstrip() for name, median, fast, notes in rows]
    return "\n".join([f"{line['benchmark']}: {line['what']}", *found])


def append(line: Mapping[str, Any], path: Path = HISTORY) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Tables in Markdown, one a machine, of the last line of every benchmark there."""
    machines: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        key = tuple(line["machine"][name] for name in ("gpu", "cpu", "cores", "threads"))
        machines.setdefault(key, {})[line["benchmark"]] = line
    parts = []
    for last in machines.values():
        rows = ["| benchmark | way | measured | times as fast as plain | also |", "|---|---|---:|---:|---|"]
        for line in last.values():
            first = f"`{line['benchmark']}`: {line['what']}"
            for name, *others in cells(line):
                bold = "**" if name == "ours" else ""
                rows.append(" | ".join((f"| {first}", f"{bold}{name}{bold}", *others)).rstrip() + " |")
                first = ""
        parts.append("\n".join(rows))
        parts += [f"- {one}" for one in dict.fromkeys(map(describe, last.values()))]
    return "\n\n".join(parts)


def write_page(page: Path = PAGE, history: Path = HISTORY) -> None:
    """Write the table of `history` between the marks of `page`."""
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines() if line]
    head, rest = page.read_text(encoding="utf-8").split(START)
    with atomic_write(page) as temporary:
        temporary.write_text(f"{head}{START}\n\n{table(lines)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
