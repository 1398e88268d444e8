"""Typesetting the report, and reading what TeX says of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .. import paths
from .results import ReportError
from .templates import write_report_source

APT = "apt-get install -y --no-install-recommends latexmk texlive-latex-recommended texlive-publishers \
texlive-fonts-recommended"


def figures_used(tex: str) -> list[str]:
    """File names that LaTeX source includes, by ``\\sigenfigure`` or plain ``\\includegraphics``, in order."""
    return re.findall(r"\\(?:sigenfigure|includegraphics)(?:\[[^\]]*\])?\{([^}#]+)\}", tex)


def overfull_boxes(log: str, points: float = 5.0) -> list[str]:
    """Lines of a TeX log that tell of boxes more than `points` too wide or too high."""
    lines = re.findall(r"^Overfull \\[hv]box \([\d.]+pt too (?:wide|high)\).*$", log, re.M)
    return [line for line in lines if float(re.search(r"\(([\d.]+)pt", line)[1]) > points]


def tex_errors(log: str, context: int = 4) -> str:
    """The errors of a TeX log with the lines that follow each, else the log's last lines."""
    lines = log.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("!") or re.match(r"[^\s:]+\.\w+:\d+: ", line)]
    picked = [line for k in starts[-3:] for line in lines[k : k + context]] or lines[-15:]
    return "\n".join(picked)


def _gather_sources() -> Path:
    """The folder to compile in, with ``main.tex`` and ``refs.bib`` in it and every figure at hand."""
    target = paths.generated_dir()
    source = write_report_source()
    with paths.atomic_write(target / "refs.bib") as temporary:
        shutil.copyfile(paths.REPO / "report" / "refs.bib", temporary)
    missing = [
        name for name in figures_used(source.read_text(encoding="utf-8")) if not (paths.figures_dir() / name).is_file()
    ]
    if missing:
        where = paths.display(paths.figures_dir())
        raise ReportError(f"{where}: no {', '.join(missing)}; the notebooks 01 to 06 make them, run those first")
    return target


def build_pdf(progress: Callable[[str], None] = print) -> Path | None:
    """Typeset the report from ``results.json`` and the figures to ``report/report.pdf``.

    Numbers and tables are written anew first, so the PDF cannot disagree with the results. The same inputs give
    the same bytes: no date enters.

    Parameters
    ----------
    progress
        Told about boxes more than 5 pt too wide, unresolved references, or a missing TeX.

    Returns
    -------
    Path or None
        The PDF; None where latexmk or pdflatex is not installed.

    Raises
    ------
    ReportError
        If there are no results, a figure is missing or TeX stops at an error (with the log's lines about it).
    """
    target = _gather_sources()
    if not (shutil.which("latexmk") and shutil.which("pdflatex")):
        progress(f"no PDF: latexmk or pdflatex is not installed; on Debian or Ubuntu: {APT}")
        return None
    build = target / "build"
    shutil.rmtree(build, ignore_errors=True)  # a fresh build: nothing of an earlier, broken one can leak in
    build.mkdir()
    # Lines of the log unbroken, and a fixed clock
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    command = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-outdir=build", "main.tex"]
    run = subprocess.run(
        command, cwd=target, env=environment, capture_output=True, text=True, errors="replace", timeout=600
    )
    log_file = build / "main.log"
    log = log_file.read_text(encoding="utf-8", errors="replace") if log_file.exists() else run.stdout + run.stderr
    if run.returncode or not (build / "main.pdf").exists():
        hint = f"\nA file that is not found belongs to a TeX package: {APT}" if "not found" in log else ""
        raise ReportError(f"{paths.display(target / 'main.tex')} does not typeset:\n{tex_errors(log)}{hint}")
    for line in overfull_boxes(log) + re.findall(r"^LaTeX Warning: .*undefined.*$", log, re.M):
        progress(f"report: {line}")
    pdf = paths.report_dir() / "report.pdf"
    with paths.atomic_write(pdf) as temporary:
        shutil.copyfile(build / "main.pdf", temporary)
    shutil.rmtree(build)
    return pdf
