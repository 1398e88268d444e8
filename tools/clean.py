"""Remove what `make` made: runs, extracted signatures, synthetic sheets, stamps, LaTeX's leavings.

Photographs, corrections, foreign signature sets and committed files stay: in ``data/`` only files that the
project's own lists (``truth.json`` of the synthesis, ``manifest.csv`` of the extraction) name are removed.
Needs nothing but Python, so that it works without the environment.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
LATEX = ("aux", "bbl", "blg", "fdb_latexmk", "fls", "log", "out")


def inside(folder: Path, name: str) -> Path | None:
    """The file `name` below `folder`, or None where the name leads out of it or to nothing."""
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def synthetic_sheets(folder: Path) -> list[Path]:
    """The files that the synthesis wrote: masks, and photographs with the contents that ``truth.json`` knows."""
    truth = folder / "truth.json"
    if not truth.is_file():
        return []
    sheets = json.loads(truth.read_text())["sheets"]
    if not all("sha256" in sheet for sheet in sheets):
        return []  # drawn by an earlier version: nothing tells an own photograph in the place of one of these
    photographs = [path for sheet in sheets if (path := inside(folder, sheet["file"])) and is_as_written(path, sheet)]
    masks = {cell["mask_file"] for sheet in sheets for cell in sheet["cells"]}
    return [*photographs, *(path for name in sorted(masks) if (path := inside(folder, name))), truth]


def is_as_written(path: Path, sheet: dict) -> bool:
    """Whether nobody put a photograph of their own in the place of a synthetic one."""
    return hashlib.sha256(path.read_bytes()).hexdigest() == sheet.get("sha256")


def extracted_signatures(folder: Path) -> list[Path]:
    """The files that the extraction wrote: those ``manifest.csv`` names, the IDs' images and the audit."""
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return []  # a signature set from elsewhere
    with manifest.open(newline="", encoding="utf-8") as lines:
        named = {row["file"] for row in csv.DictReader(lines) if row.get("file")}
    found = [path for name in sorted(named) if (path := inside(folder, name))]
    found += [path for person in {path.parent for path in found} if (path := inside(person, "id.png"))]
    found += [path for path in (folder / "audit").rglob("*") if path.is_file()]
    return [*found, *(path for path in [folder / "corrections.suggested.csv"] if path.is_file()), manifest]


def remove_files(root: Path, paths: list[Path]) -> None:
    """Remove files, then the folders that this left empty, up to `root`."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
        if folder.is_relative_to(root) and folder != root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def main() -> None:
    """Clean the repository and, where ``SIGEN_HOME`` names one, the other root."""
    argparse.ArgumentParser(description=__doc__).parse_args()  # an argument it does not know removes nothing
    home = Path(os.environ.get("SIGEN_HOME") or REPO).expanduser().resolve()
    data = home / "data"
    files = synthetic_sheets(data / "sheets") + extracted_signatures(data / "signatures")
    files += [path for ending in LATEX for path in (home / "report").glob(f"*.{ending}")]
    folders = [
        home / "runs",
        REPO / "own",
        REPO / "build",
        REPO / ".smoke",
        REPO / ".pytest_cache",
        REPO / ".ruff_cache",
    ]
    folders += [path for path in REPO.glob("**/__pycache__") if ".venv" not in path.parts]
    remove_files(home, files)
    for folder in filter(Path.is_dir, folders):
        shutil.rmtree(folder)
    left = sum(path.suffix.lower() in IMAGES for path in (data / "sheets").glob("*"))
    print(
        f"clean: removed {len(files)} files and the run, build and scratch folders; .venv stays"
        + (f"; {left} photographs in data/sheets stay" if left else "")
    )


if __name__ == "__main__":
    main()
