"""The history of measurements, a JSON line each, and the table that is made of it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sigen_utils.device import precision
from sigen_utils.paths import REPO, atomic_write
from sigen_utils.provenance import commit

HISTORY, PAGE = REPO / "benchmarks" / "results.jsonl", REPO / "docs" / "speed.md"
START, END = "<!-- speed: written by `python benchmarks/run.py --page` -->", "<!-- /speed -->"
ALTERNATIVES = "kornia img2table torch-fidelity clean-fid".split()
PACKAGES = "torch torchvision numpy scipy pillow opencv-python-headless".split() + ALTERNATIVES
BUSY = 0.5  # a load a core above which the page says that the machine was busy
Line = Mapping[str, Any]


def machine(device: torch.device) -> dict[str, Any]:
    """Date, commit, machine, versions and number type of what is measured now."""
    installed = {one.name.lower().replace("_", "-"): one.version for one in metadata.distributions() if one.name}
    cpu, known = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if known.is_file():
        pairs = (line.partition(":") for line in known.read_text().splitlines())
        cpu = next((value.strip() for key, _, value in pairs if key.strip() == "model name"), cpu)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None  # not on Windows
    return dict(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        commit=commit(),
        machine=dict(cpu=cpu, gpu=gpu, cores=os.cpu_count(), threads=torch.get_num_threads(), load=load),
        number_type=str(precision(device)).removeprefix("torch."),
        versions=dict(python=platform.python_version()) | {k: installed[k] for k in PACKAGES if k in installed},
    )


def described(line: Line) -> str:
    """When and on what a line was measured, in words."""
    on = line["machine"]
    where = ", ".join(filter(None, (on["gpu"], on["cpu"], f"{on['cores']} cores", f"torch on {on['threads']}")))
    busy = on["load"] is not None and on["load"] > BUSY * on["cores"]
    load = f"load {on['load']} before the start" + (": **the machine was busy**" if busy else "")
    versions = ", ".join(f"{name} {version}" for name, version in line["versions"].items())
    text = f"{line['date']}, commit {line['commit']}, {where}, {line['number_type']}, {load}. {versions}."
    return textwrap.fill(text, 120, break_on_hyphens=False)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rows(line: Line) -> Iterator[tuple[str, str, str, str]]:
    """Of every way its name, median, speed-up and notes, in words."""
    for name, way in line["ways"].items():
        if "problem" in way:
            yield name, way["problem"], "", ""
            continue
        faster = f"{number(way['speed_up'])} [{number(way['low'])}, {number(way['high'])}]"
        notes = ", ".join(f"{key} {number(value)}" for key, value in way["notes"].items()).replace(", of", " of")
        yield name, f"{number(way['median'])} {line['unit']}", "1" if name == "plain" else faster, notes


def as_text(line: Line) -> str:
    """A line for a terminal."""
    found = ("  {:46}{:28}{:26}{}".format(*row).rstrip() for row in rows(line))
    return "\n".join([f"{line['benchmark']}: {line['what']}", *found])


def append(line: Line, path: Path = HISTORY) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def table(lines: Iterable[Line]) -> str:
    """Tables in Markdown, one a machine, of the last line of every benchmark there."""
    machines: dict[tuple, dict[str, Line]] = {}
    for line in lines:
        key = tuple(line["machine"][name] for name in ("gpu", "cpu", "cores"))
        machines.setdefault(key, {})[line["benchmark"]] = line
    parts = []
    for last in machines.values():
        found = ["| benchmark | way | measured | times as fast as plain | also |", "|---|---|---:|---:|---|"]
        for line in last.values():
            first = f"`{line['benchmark']}`: {line['what']}"
            for name, *others in rows(line):
                found.append(" | ".join((f"| {first}", f"**{name}**" if name == "ours" else name, *others)) + " |")
                first = ""
        parts += ["\n".join(found), *dict.fromkeys(map(described, last.values()))]
    return "\n\n".join(parts)


def write_page(page: Path = PAGE, history: Path = HISTORY) -> None:
    """Write the table of `history` between the marks of `page`."""
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    head, rest = page.read_text(encoding="utf-8").split(START)
    with atomic_write(page) as temporary:
        temporary.write_text(f"{head}{START}\n\n{table(lines)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
