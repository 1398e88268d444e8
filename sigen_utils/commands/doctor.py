"""Command: what this machine has of what the project needs, and the one command that brings what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import __version__, paths

MEMORY, DISK = 4, 3  # GB: less is too little for `make`
FONT = "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf"  # of IDs on synthetic sheets
BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # as the tests look for them


class Finding(NamedTuple):
    """One line of the report; `remedy` is a command, or empty where all is well."""

    subject: str
    found: str
    remedy: str = ""
    required: bool = True


def doctor(args: argparse.Namespace) -> int:
    """Print one line a finding; 1 if something required is missing, else 0."""
    lacking = 0
    for finding in findings():
        mark = "ok" if not finding.remedy else "MISSING" if finding.required else "optional"
        lacking += mark == "MISSING"
        remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
        print(f"{mark:9}{finding.subject:13}{finding.found}{remedy}")
    print("all that is required is here" if not lacking else f"{lacking} required missing: run the commands behind ->")
    return int(lacking > 0)


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in order. Nothing is changed, and no connection is opened."""
    found = f"{platform.python_version()} at {sys.executable}"
    yield Finding("python", found, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer: python.org")
    yield Finding("sigen", f"{__version__}, writes to {paths.home()}")
    yield from _packages()
    yield _device()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0.0
    more = f"close other programs, or use a machine with {MEMORY} GB or more"
    yield Finding("memory", f"{memory:.1f} GB" if memory else "unknown", more if 0 < memory < MEMORY else "", False)
    yield _disk()
    spec = importlib.util.find_spec("matplotlib")
    there = spec is not None and (Path(spec.origin).parent / FONT).is_file()
    remedy = f"{sys.executable} -m pip install --force-reinstall matplotlib"
    yield Finding("fonts", Path(FONT).stem, "" if there else remedy)
    tex = all(map(shutil.which, ("latexmk", "pdflatex", "kpsewhich")))
    tex = tex and subprocess.run(["kpsewhich", "IEEEtran.cls"], capture_output=True).returncode == 0
    what = "latexmk, pdflatex, IEEEtran" if tex else "not all of latexmk, pdflatex, IEEEtran: no PDF of the report"
    yield Finding("TeX", what, "" if tex else _setup("tex"), False)
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    what = browser or "none: the browser tests are skipped"
    yield Finding("Chromium", what, "" if browser else _setup("browser"), False)
    for module, package, what in (("pillow_heif", "pillow-heif", "HEIC"), ("pypdfium2", "pypdfium2", "PDF")):
        there = importlib.util.find_spec(module) is not None
        remedy = "" if there else f"{sys.executable} -m pip install {package}"
        yield Finding(f"{what} files", "can be read" if there else "cannot be read", remedy, False)


def _packages() -> Iterator[Finding]:
    """Packages of requirements.txt that are not here or too old, or one line that all are."""
    file = paths.REPO / "requirements.txt"
    lines = file.read_text().splitlines() if file.exists() else importlib.metadata.requires("sigen") or []
    wanted, bad = re.findall(r"^([\w-]+)>=([\d.]+)$", "\n".join(lines), re.MULTILINE), 0
    for name, least in wanted:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or _numbers(version) < _numbers(least):
            bad += 1
            found = f"{version or 'not installed'}, {least} or newer is needed"
            yield Finding(name, found, f'{sys.executable} -m pip install "{name}>={least}"')
    if not bad:
        yield Finding("packages", ", ".join(f"{n} {importlib.metadata.version(n)}" for n, _ in wanted[:3]) + ", ...")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _device() -> Finding:
    """The device of trainings and the type it multiplies in."""
    if importlib.util.find_spec("torch") is None:
        return Finding("device", "unknown without torch")  # which has a line of its own
    import torch

    from ..device import pick_device, precision

    device = pick_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    return Finding("device", f"{name}, {str(precision(device)).removeprefix('torch.')}")


def _disk() -> Finding:
    """Room and permission where everything is written."""
    there = next(path for path in (paths.home(), *paths.home().parents) if path.exists())
    free, move = shutil.disk_usage(there).free / 1e9, "export SIGEN_HOME=/a/folder/with/room"
    able = os.access(there, os.W_OK)
    found = f"{free:.1f} GB free in {there}{'' if able else ', which cannot be written to'}"
    return Finding("disk", found, "" if able and free >= DISK else move)


def _setup(part: str) -> str:
    return f"sudo sh {paths.REPO / 'tools' / 'setup.sh'} {part}"
