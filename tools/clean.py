"""Remove what `make` made: runs, extracted signatures, synthetic sheets, stamps, LaTeX's leavings.

Photographs, corrections, foreign signature sets and committed files stay: in ``data/`` only files that the
project's own lists (``truth.json`` of the synthesis, ``manifest.csv`` of the extraction) name are removed.
Needs nothing but Python, so that it works without the environment.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
LATEX = ("aux", "bbl", "blg", "fdb_latexmk", "fls", "log", "out")


def strings(value: object) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def inside(folder: Path, name: str) -> Path | None:
    """The file `name` below `folder`, or None where the name leads out of it or to nothing."""
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def synthetic_sheets(folder: Path) -> list[Path]:
    """The files that the synthesis wrote: those ``truth.json`` names, unless replaced after it was written."""
    truth = folder / "truth.json"
    if not truth.is_file():
        return []
    written = truth.stat().st_mtime + 5  # truth.json is written last; a younger image is somebody's own
    named = {name for name in strings(json.loads(truth.read_text())) if Path(name).suffix.lower() in IMAGES}
    found = [path for name in sorted(named) if (path := inside(folder, name))]
    found += [mask for path in found for mask in sorted((folder / "masks").glob(f"{path.stem}*.png"))]
    return [*(path for path in found if path.stat().st_mtime <= written), truth]


def extracted_signatures(folder: Path) -> list[Path]:
    """The files that the extraction wrote: those ``manifest.csv`` names, the IDs' images and the audit."""
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return []  # a signature set from elsewhere
    with manifest.open(newline="", encoding="utf-8") as lines:
        named = {row["file"] for row in csv.DictReader(lines) if row.get("file")}
    found = [path for name in sorted(named) if (path := inside(folder, name))]
    found += [path for person in {path.parent for path in found} if (path := inside(person, "id.png"))]
    return [*found, *(path for path in (folder / "audit").rglob("*") if path.is_file()), manifest]


def remove_files(root: Path, paths: list[Path]) -> None:
    """Remove files, then the folders that this left empty, up to `root`."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
        if folder.is_relative_to(root) and folder != root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def main() -> None:
    """Clean the repository and, where ``SIGEN_HOME`` names one, the other root."""
    home = Path(os.environ.get("SIGEN_HOME") or REPO).expanduser().resolve()
    data = home / "data"
    files = synthetic_sheets(data / "sheets") + extracted_signatures(data / "signatures")
    files += [path for ending in LATEX for path in (home / "report").glob(f"*.{ending}")]
    folders = [home / "runs", REPO / "build", REPO / ".smoke", REPO / ".pytest_cache", REPO / ".ruff_cache"]
    folders += [path for path in REPO.glob("**/__pycache__") if ".venv" not in path.parts]
    remove_files(home, files)
    for folder in filter(Path.is_dir, folders):
        shutil.rmtree(folder)
    left = sum(path.suffix.lower() in IMAGES for path in (data / "sheets").glob("*"))
    print(f"clean: removed {len(files)} files and the run, build and scratch folders; .venv stays"
          + (f"; {left} photographs in data/sheets stay" if left else ""))


if __name__ == "__main__":
    main()
