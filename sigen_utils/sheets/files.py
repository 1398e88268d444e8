"""A folder of sheets to a folder of signatures: manifest, corrections by hand, audit figures, all or nothing."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..paths import atomic_write, display
from .audit import QUIET, contact_sheet, draw_audit, save_audit
from .config import ExtractionConfig, SheetError
from .normalise import normalised
from .sheet import extract_sheet

MANIFEST = ("sheet", "row", "col", "person_id", "file", "x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3",
            "ink_fraction", "flags")  # fmt: skip
CORRECTIONS = "corrections.csv"
DOUBTFUL = {"id_unread", "id_unexpected", "id_corrected", "id_at_edge", "duplicate_id"}  # worth a line of it


@dataclass(frozen=True)
class ExtractionResult:
    """What `extract` made.

    Attributes
    ----------
    out_dir
        The folder of signatures.
    n_sheets, n_people, n_signatures
        Sheets read, people with at least one signature filed, signatures filed.
    flags
        Flag -> number of cells.
    errors
        One message a sheet that could not be used, or a correction that fits none; empty if all went well.
    """

    out_dir: Path
    n_sheets: int
    n_people: int
    n_signatures: int
    flags: dict[str, int]
    errors: list[str]


@dataclass(frozen=True)
class _SheetOutput:
    """What one worker hands back; small, so that it can cross processes."""

    sheet: str
    rows: list[dict]  # manifest rows, without file
    images: list[np.ndarray | None]  # stored signatures, None where there is nothing to file
    id_crops: list[np.ndarray]
    flags: tuple[str, ...]
    moved: frozenset[tuple[int, int]]  # (row, col) of single cells that a correction gives to somebody
    unfit: tuple[str, ...]  # one message a correction of a row or column that there is not


def extract(
    sheets_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    config: ExtractionConfig | None = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = print,
) -> ExtractionResult:
    """All sheets of a folder to ``out_dir/<person id>/{id,1,2,...}.png`` and ``out_dir/manifest.csv``.

    Parameters
    ----------
    sheets_dir
        Folder of photographs; a ``corrections.csv`` in it (``sheet,row,col,id``: column 0 for a whole row, ``skip``
        for an ID to leave a cell out) overrides what is read.
    out_dir
        Folder to make. An older extraction there is replaced only when the new one is complete.
    config
        Settings; the defaults if None.
    workers
        Processes that read sheets; None for one a core.
    progress
        Called with a line a sheet; None for silence.

    Returns
    -------
    ExtractionResult
        Sheets that failed are listed in ``errors``; the others are done.

    Raises
    ------
    SheetError
        When the folder holds no image, none of its images is a sheet, ``corrections.csv`` is malformed, or `out_dir`
        exists and holds something other than an extraction.
    """
    config, workers = config or ExtractionConfig(), workers or os.cpu_count() or 1
    sheets_dir, out_dir = Path(sheets_dir), Path(out_dir)
    say = progress or (lambda line: None)
    paths, errors = list_sheets(sheets_dir, config)
    corrections = read_corrections(sheets_dir / CORRECTIONS)
    errors += [
        f"{CORRECTIONS}: no sheet named {name} in {display(sheets_dir)}; correct the name or remove the row"
        for name in sorted(set(corrections) - {path.name for path in paths})
    ]
    for error in errors:
        say(f"  {error}")
    with _swapped_in(out_dir) as folder:
        outputs = []
        jobs = [(str(p), config, corrections.get(p.name, {}), str(folder)) for p in paths]
        for path, (output, error) in zip(paths, _run(jobs, workers), strict=True):
            if error:
                errors.append(error)
                say(f"  {error}")
            else:
                outputs.append(output)
                say(_told(path.name, output))
                errors += output.unfit
                for line in output.unfit:
                    say(f"  {line}")
        if not outputs:
            raise SheetError(f"{display(sheets_dir)}: none of its images is a usable sheet. " + " | ".join(errors))
        rows = _file(outputs, folder, say)
        if config.audit:
            _save_contact(rows, folder)
        _write_manifest(rows, folder / "manifest.csv")  # last: a folder with a manifest is complete
    filed = [row for row in rows if row["file"]]
    flags = Counter(flag for row in rows for flag in row["flags"].split() if flag)
    _suggest(rows, say)
    return ExtractionResult(
        out_dir, len(outputs), len({row["person_id"] for row in filed}), len(filed), dict(flags), errors
    )


def list_sheets(folder: Path, config: ExtractionConfig) -> tuple[list[Path], list[str]]:
    """Images of a folder in natural order (image2 before image10), and a message for each other file."""
    if not folder.is_dir():
        raise SheetError(f"{display(folder)}: no such folder; put the photographed sheets there")
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    known = [p for p in files if p.suffix.lower() in config.suffixes]
    # Images this cannot read are worth a word; truth.json, a README or corrections.csv are not.
    foreign = (".heic", ".heif", ".pdf", ".gif", ".bmp", ".avif", ".raw", ".dng")
    others = sorted(p.name for p in files if p.suffix.lower() in foreign)
    wanted = ", ".join(config.suffixes)
    if not known:
        raise SheetError(f"{display(folder)}: no sheets in it; add photographs ({wanted})")
    return sorted(known, key=_natural), [f"{name}: not read; save it as one of {wanted}" for name in others]


def _natural(path: Path) -> list:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower())]


def read_corrections(path: Path) -> dict[str, dict[tuple[int, int], str]]:
    """Corrections by hand: sheet -> {(row, col): id or "skip"}.

    Raises
    ------
    SheetError
        For a file without the columns ``sheet,row,col,id``, or a row and column that are no numbers.
    """
    found: dict[str, dict[tuple[int, int], str]] = {}
    if not path.exists():
        return found
    with open(path, newline="", encoding="utf-8-sig") as handle:
        for number, row in enumerate(csv.DictReader(handle), start=2):
            try:
                place = (int(row["row"]), int(row["col"] or 0))
                sheet, person = row["sheet"].strip(), row["id"].strip()
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise SheetError(
                    f"{path.name}, line {number}: expected sheet,row,col,id with numbers for row and col"
                ) from error
            if not sheet or not person or person != safe_name(person):
                raise SheetError(f"{path.name}, line {number}: {person!r} cannot name a folder; use letters and digits")
            found.setdefault(sheet, {})[place] = person
    return found


def safe_name(person: str) -> str:
    """A person's ID as a folder name: letters, digits, ``-``, ``_`` and inner dots."""
    return re.sub(r"[^\w.-]+", "_", person).strip(".")


@contextlib.contextmanager
def _swapped_in(out_dir: Path) -> Iterator[Path]:
    """A temporary sibling that takes the place of `out_dir` when the block ends well."""
    foreign = out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / "manifest.csv").exists()
    if foreign or (out_dir.exists() and not out_dir.is_dir()):
        raise SheetError(
            f"{display(out_dir)}: exists and is not an earlier extraction (no manifest.csv); choose another folder"
        )
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}.new."))
    old = folder.with_name(folder.name.replace(".new.", ".old."))
    try:
        yield folder
        folder.chmod(0o755)
        if out_dir.exists():
            out_dir.rename(old)
        try:
            folder.rename(out_dir)
        except OSError:
            if old.exists():  # put the earlier extraction back rather than leave none
                old.rename(out_dir)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _run(jobs: list[tuple], workers: int) -> Iterator[tuple[_SheetOutput | None, str | None]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_work, jobs)
        return
    # Spawned, not forked: the caller may hold threads (Jupyter, torch), and Windows knows no fork.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield None, f"{Path(job[0]).name}: a worker died on it (out of memory?); use fewer workers"


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _work(job: tuple) -> tuple[_SheetOutput | None, str | None]:
    """Read one sheet; a bad one comes back as a message."""
    path, config, corrections, folder = Path(job[0]), job[1], job[2], Path(job[3])
    try:
        sheet = extract_sheet(path, config, corrections)
    except SheetError as error:
        return None, str(error)
    except MemoryError:
        return None, f"{path.name}: not enough memory for it; scale the photograph down or use fewer workers"
    rows, images = [], []
    for cell in sheet.cells:
        corners = {f"{axis}{k}": f"{cell.quad[k, i]:.1f}" for k in range(4) for i, axis in enumerate("xy")}
        rows.append({"sheet": sheet.name, "row": cell.row, "col": cell.col, "person_id": safe_name(cell.person_id),
                     **corners, "ink_fraction": f"{cell.ink_fraction:.4f}", "flags": list(cell.flags)})  # fmt: skip
        images.append(None if {"skipped", "empty"} & set(cell.flags) else normalised(sheet, cell, config))
    if config.audit:
        save_audit(draw_audit(sheet), folder / "audit" / f"{path.stem}.png")
    crops = [sheet.id_crop(row) for row in range(sheet.grid.n_rows)]
    known = {(cell.row, col) for cell in sheet.cells for col in (0, cell.col)}
    size = f"rows 0 to {sheet.grid.n_rows - 1}, columns 0 (the whole row) to {max(cell.col for cell in sheet.cells)}"
    unfit = tuple(
        f"{CORRECTIONS}: {path.name} has no row {row}, column {col}; it has {size}"
        for row, col in sorted(set(corrections) - known)
    )
    moved = frozenset(place for place, person in corrections.items() if place[1] and person != "skip")
    return _SheetOutput(sheet.name, rows, images, crops, sheet.flags, moved, unfit), None


def _told(name: str, output: _SheetOutput) -> str:
    ids = list(dict.fromkeys(row["person_id"] for row in output.rows))
    looked = sum(bool(set(row["flags"]) - QUIET) for row in output.rows)
    note = f", {looked} flagged" if looked else ""
    note += f" [{', '.join(output.flags)}]" if output.flags else ""
    return f"  {name}: {len(ids)} people ({ids[0]} .. {ids[-1]}), {len(output.rows)} cells{note}"


def _file(outputs: list[_SheetOutput], folder: Path, say: Callable[[str], None]) -> list[dict]:
    """Write every signature to its person; a second row with the same ID is left out and flagged.

    A single cell that a correction gives to somebody comes after that person's own row, under the next free number.
    """
    taken: dict[str, tuple[str, int]] = {}
    told: set[tuple[str, int, str]] = set()
    cells = [(output, *cell) for output in outputs for cell in zip(output.rows, output.images, strict=True)]
    alone = [(row["row"], row["col"]) in output.moved for output, row, _ in cells]
    done: dict[int, dict] = {}
    for k in sorted(range(len(cells)), key=alone.__getitem__):
        output, row, image = cells[k]
        person, place, flags = row["person_id"], (output.sheet, row["row"]), row["flags"]
        first = place
        if not alone[k]:
            first = taken.setdefault(person, place) if image is not None else taken.get(person, place)
        if first != place and "skipped" not in flags:
            flags = [*flags, "duplicate_id"]
            if (*place, person) not in told:
                told.add((*place, person))
                say(f"  {output.sheet}, row {row['row']}: ID {person} is already filed from {first[0]}, row "
                    f"{first[1]}; left out. If it is another person, name it in {CORRECTIONS}")  # fmt: skip
            image = None
        name = ""
        if image is not None:
            (folder / person).mkdir(exist_ok=True)
            number = row["col"]
            while (folder / person / f"{number}.png").exists():
                number += 1
            name = f"{person}/{number}.png"
            Image.fromarray(image).save(folder / name, optimize=True)
            if not (folder / person / "id.png").exists():
                Image.fromarray(output.id_crops[row["row"]]).save(folder / person / "id.png")
        done[k] = {**row, "file": name, "flags": " ".join(flags)}
    return [done[k] for k in range(len(cells))]


def _write_manifest(rows: list[dict], path: Path) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, MANIFEST)
        writer.writeheader()
        writer.writerows(rows)


def _save_contact(rows: list[dict], folder: Path) -> None:
    people: dict[str, list[np.ndarray]] = {}
    flagged = set()
    for row in rows:
        if row["file"]:
            people.setdefault(row["person_id"], []).append(np.asarray(Image.open(folder / row["file"])))
        if set(row["flags"].split()) - QUIET:
            flagged.add(row["person_id"])
    with atomic_write(folder / "audit" / "contact_sheet.png") as temporary:
        Image.fromarray(contact_sheet(people, flagged)).save(temporary)


def _suggest(rows: list[dict], say: Callable[[str], None]) -> None:
    """Print the rows of corrections.csv that would settle what could not be read for certain."""
    doubtful = {}
    for row in rows:
        found = DOUBTFUL & set(row["flags"].split())
        if found:
            doubtful.setdefault((row["sheet"], row["row"]), (row["person_id"], sorted(found)[0]))
    if doubtful:
        say(f"Check these IDs; to change one, put its line into {CORRECTIONS} beside the sheets (or 'skip' as ID):")
        say("sheet,row,col,id")
        for (sheet, row), (person, why) in doubtful.items():
            say(f"{sheet},{row},0,{person}    <- {why}")
