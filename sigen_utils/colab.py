"""Google Colab: what is missing is installed, Colab's own versions stay; data and runs are kept on Drive on request.

The first cell of every notebook imports this before anything is installed, so it needs the standard library alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

DRIVE = Path("/content/drive")
RESULTS = Path("report", "generated", "results.json")  # holds the stored studies, which take hours


def set_up(root: Path, keep_on_drive: bool = False) -> None:
    """Install what `root`, a clone of the repository, requires; with `keep_on_drive`, write to the user's Drive."""
    install(root)
    if keep_on_drive:
        home = write_to_drive(root)
        print(f"data, runs and results are kept in {home}: after a disconnect run the notebook again, it goes on there")
    else:
        print("data and runs end with this machine; KEEP_ON_DRIVE keeps them")


def install(root: Path) -> None:
    """Install the requirements. Every version that is there stays: to replace torch is an error, no silent download."""
    whole = re.compile(r"[\d.]+(\+[\w.]+)?")
    pins = {f"{d.name}=={d.version}" for d in distributions() if d.name and whole.fullmatch(d.version or "")}
    (root / "build").mkdir(exist_ok=True)
    (root / "build" / "pins.txt").write_text("\n".join(sorted(pins)))
    pip = [sys.executable, "-m", "pip", "install", "-q", "-r", "requirements.txt", "-c", "build/pins.txt"]
    subprocess.run(pip, cwd=root, check=True)


def write_to_drive(root: Path) -> Path:
    """Mount the user's Drive (Colab asks for leave) and write everything below ``MyDrive/sigen``; returns that."""
    from google.colab import drive

    drive.mount(str(DRIVE))
    home = DRIVE / "MyDrive" / "sigen"
    if not (home / RESULTS).exists():
        (home / RESULTS).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / RESULTS, home / RESULTS)
    os.environ["SIGEN_HOME"] = str(home)
    return home
