"""Commands: the notebooks in order, and the report.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

NOTEBOOKS = ("01_data_extraction", "02_vae", "03_gan", "04_comparison", "05_usefulness", "06_what_matters")


def report(args: argparse.Namespace) -> int:
    from .. import paths, report

    report.write_numbers()
    report.write_tables()
    if paths.home() == paths.REPO:
        report.update_readme(paths.REPO / "README.md")
    report.build_pdf()
    return 0


def run_all(args: argparse.Namespace) -> int:
    """Notebooks 01 to 06 by papermill, each kept as executed, then the report."""
    from .. import paths
    from ..profiles import get_profile

    profile = get_profile(args.profile)
    environment = dict(os.environ, SIGEN_PROFILE=profile.name, PYTHONUNBUFFERED="1")
    started = time.monotonic()
    for number, name in enumerate(NOTEBOOKS, 1):
        print(f"[{number}/{len(NOTEBOOKS)}] {name} (profile {profile.name})", flush=True)
        out = paths.runs_dir() / "notebooks" / f"{name}.ipynb"
        out.parent.mkdir(parents=True, exist_ok=True)
        source = paths.REPO / "notebooks" / f"{name}.ipynb"
        command = [sys.executable, "-m", "papermill", str(source), str(out), "--cwd", str(source.parent)]
        command += ["--log-output", "--no-progress-bar", "--kernel", "python3"]
        command += ["--start-timeout", "300"]  # a busy machine can need minutes to start a kernel
        code = subprocess.run(command, env=environment, check=False).returncode
        if code:
            print(f"{name} stopped; the part that ran is kept in {out}", file=sys.stderr)
            return code
        print(f"[{number}/{len(NOTEBOOKS)}] done after {(time.monotonic() - started) / 60:.1f} min", flush=True)
    return report(args)
