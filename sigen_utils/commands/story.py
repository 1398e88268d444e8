"""Commands: the notebooks in order, and the report.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

NOTEBOOKS = ("01_data_extraction", "02_vae", "03_gan", "04_comparison", "05_usefulness", "06_what_matters")
WIDGET = "application/vnd.jupyter.widget-view+json"
FORK = re.compile(r'^(REPO|BRANCH) = "[^"\n]*"  # @param .*$', re.MULTILINE)  # the form fields of a set-up cell
HEAVY = 30_000  # characters of a picture in a notebook above which it is kept in ...
SHADES, COLORS = 16, 128  # ... so many shades of grey, or so many colours where it has any


def report(args: argparse.Namespace) -> int:
    from .. import paths, report

    if paths.results_root() == paths.REPO:
        report.write_markdown()
    report.build_pdf()
    return 0


def run_all(args: argparse.Namespace) -> int:
    """Notebooks 01 to 06 by papermill, each kept as executed, then the report, then what the committed results say."""
    from .. import paths
    from ..profiles import get_profile
    from ..report import load_results
    from ..report.verdict import verdicts

    profile = get_profile(args.profile)
    environment = dict(os.environ, SIGEN_PROFILE=profile.name, PYTHONUNBUFFERED="1")
    started = time.monotonic()
    for number, name in enumerate(NOTEBOOKS, 1):
        if number < args.first:
            continue
        print(f"[{number}/{len(NOTEBOOKS)}] {name} (profile {profile.name})", flush=True)
        out = executed(name)
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
    status = report(args)
    if paths.results_root() != paths.REPO:
        print("\n".join(verdicts(load_results(), load_results(paths.REPO))))
    return status


def executed(name: str) -> Path:
    """The notebook `name` as `run_all` executed it."""
    from .. import paths

    return paths.runs_dir() / "notebooks" / f"{name}.ipynb"


def regenerate(args: argparse.Namespace) -> int:
    """Put the results of a whole run in the place of the committed ones: numbers, figures, notebooks, README, report.

    Raises
    ------
    ReportError
        If the run was not whole, a training is unfinished or one of our models has not converged: then nothing changes.
    """
    from .. import paths, report
    from ..report.verdict import refuse_unfit

    root = paths.results_root()
    if root == paths.REPO:
        raise report.ReportError("SIGEN_HOME is the repository itself: its results are the committed ones already")
    results = report.load_results()
    refuse_unfit(results)
    committed = sorted(path for path in (paths.REPO / "figures").iterdir() if path.suffix in (".png", ".pdf", ".gif"))
    numbers = root / "report" / "generated" / "results.json"
    pairs = [(executed(name), paths.REPO / "notebooks" / f"{name}.ipynb") for name in NOTEBOOKS]
    for done, source in pairs:  # all of them before the first is written
        if not done.is_file() or digest_of_code(_read(done)) != digest_of_code(_read(source)):
            raise report.ReportError(f"{paths.display(source)}: not executed as it is now; run `make` first")
    for done, source in pairs:
        keep_outputs(done, source)
    made = [root / "figures" / path.name for path in committed]
    for source in [numbers, *(path for path in made if path.is_file())]:
        with paths.atomic_write(paths.REPO / source.relative_to(root)) as temporary:
            shutil.copyfile(source, temporary)
    os.environ["SIGEN_HOME"] = str(paths.REPO)  # what is written from here on is what is committed
    report.write_markdown()
    report.build_pdf()
    return 0


def keep_outputs(executed: Path, source: Path) -> None:
    """Copy what a notebook showed when it was executed into the one that is read.

    What warnings said of the machine and widgets without a kernel are left out, and heavy pictures are made lighter.
    ``metadata.executed`` keeps the digest of the code that ran, so that outputs of other code are found out.

    Raises
    ------
    ValueError
        If the code of the two differs.
    """
    from .. import paths

    done, notebook = _read(executed), _read(source)
    if digest_of_code(done) != digest_of_code(notebook):
        raise ValueError(f"{paths.display(source)}: its code was changed while it ran; run it again")
    for cell, ran in zip(_code(notebook), _code(done), strict=True):
        cell["execution_count"] = ran["execution_count"]
        shown = (one for one in ran["outputs"] if one.get("name") != "stderr")
        cell["outputs"] = [one for one in shown if WIDGET not in one.get("data", ())]
        for data in (one.get("data", {}) for one in cell["outputs"]):
            if len(data.get("image/png", "")) > HEAVY:
                data["image/png"] = _lighter(data["image/png"])
    notebook["metadata"]["executed"] = dict(code=digest_of_code(notebook))
    with paths.atomic_write(source) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lighter(png: str) -> str:
    """A picture, base64 of PNG, in fewer colours if it is smaller so: `SHADES` for signatures, `COLORS` for curves.

    The colours are those that cover most of the range, not those that most pixels have: lines are thin, and a palette
    by pixels gives two of them one colour.
    """
    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        rgb = picture.convert("RGB")
    pixels = np.asarray(rgb)
    grey = (pixels == pixels[..., :1]).all()
    few = dict(colors=SHADES) if grey else dict(colors=COLORS, method=Image.Quantize.MAXCOVERAGE)
    rgb.quantize(**few, dither=Image.Dither.NONE).save(out, format="PNG", optimize=True)
    return min(png, base64.b64encode(out.getvalue()).decode(), key=len)


def digest_of_code(notebook: dict) -> str:
    """A short digest of the code cells of a notebook, read from JSON; whose fork they name does not count."""
    code = FORK.sub("", "\0".join("".join(cell["source"]) for cell in _code(notebook)))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
