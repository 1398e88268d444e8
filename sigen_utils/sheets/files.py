"""A folder of sheets to a folder of signatures: manifest, corrections by hand, audit figures, all or nothing."""

from __future__ import annotations

import contextlib
import csv
import glob
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from ..images import is_picture
from ..layouts import JUNK, Found, natural
from ..locks import locked
from ..paths import atomic_write, display, writing
from ..processes import can_spawn
from .audit import contact_sheet, draw_audit, save_audit
from .config import ExtractionConfig, SheetError
from .corrections import CORRECTIONS, SUGGESTED, Fixes, fixes_of, read_corrections, safe_name, write_suggested
from .doubts import QUIET, doubts_of, set_aside, summary_of
from .normalise import normalised
from .sheet import NOT_FILED, Sheet, extract_sheets

MANIFEST = ("sheet", "row", "col", "person_id", "file", "x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3",
            "ink_fraction", "flags")  # fmt: skip


@dataclass(frozen=True)
class ExtractionResult:
    """What `extract` made.

    Attributes
    ----------
    out_dir
        The folder of signatures.
    n_sheets, n_people, n_signatures
        Tables read, people with at least one signature filed, signatures filed.
    flags
        Flag -> number of cells.
    errors
        One message a sheet that could not be used, or a correction that fits none; empty if all went well.
    doubts
        One message a row or cell that a person should look at; ``corrections.suggested.csv`` has a line for each.
    aside
        One message a table with rows that are no people's.
    """

    out_dir: Path
    n_sheets: int
    n_people: int
    n_signatures: int
    flags: dict[str, int]
    errors: list[str]
    doubts: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0: all is filed and sure; 1: something could not be read; 3: read, but something is to be checked."""
        return 1 if self.errors else 3 if self.doubts else 0


@dataclass(frozen=True)
class SheetOutput:
    """What one worker hands back; small, so that it can cross processes."""

    sheet: str
    rows: list[dict]  # manifest rows, without file
    images: list[np.ndarray | None]  # stored signatures, None where there is nothing to file
    id_crops: dict[int, np.ndarray]  # by row
    flags: tuple[str, ...]
    columns: tuple[str, ...]  # what the columns are, see `Plan`
    moved: frozenset[tuple[int, int]]  # (row, col) of single cells that a correction gives to somebody
    unfit: tuple[str, ...]  # one message a correction of a row or column that there is not
    aside: tuple[tuple[int, str], ...]  # rows that are no people's, and why
    listed: tuple[int, ...]  # rows that are, whether they signed or not


def extract(
    sheets_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    config: ExtractionConfig | None = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = print,
    corrections: str | os.PathLike | None = None,
) -> ExtractionResult:
    """All sheets of a folder to ``out_dir/<person id>/{id,1,2,...}.png`` and ``out_dir/manifest.csv``.

    Parameters
    ----------
    sheets_dir
        Folder of photographs and scans, sub-folders included.
    out_dir
        Folder to make. An older extraction there is replaced only when the new one is complete.
    config
        Settings; the defaults if None.
    workers
        Processes that read sheets; None for one a core.
    progress
        Called with a line a sheet; None for silence.
    corrections
        File of corrections (``sheet,row,col,id``: column 0 for a whole row, ``skip`` for an ID to leave a cell out),
        ``corrections.csv`` beside the photographs by default. They override what is read.

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
    sheets = list_sheets(sheets_dir, out_dir, say)
    file = sheets_dir / CORRECTIONS if corrections is None else Path(corrections)
    if corrections is not None and not file.is_file():
        raise SheetError(f"{display(file)}: no such file; give the corrections' name, or none")
    fixes, unknown = fixes_of(read_corrections(file), list(sheets))
    errors = [
        f"{CORRECTIONS}: no sheet named {name} in {display(sheets_dir)}; correct the name or remove the row"
        for name in sorted(unknown)
    ]
    for error in errors:
        say(f"  {error}")
    with _swapped_in(out_dir) as folder:
        outputs = []
        jobs = [
            (str(path), name, label, config, {k: v for k, v in fixes.items() if _file_of(k) == name}, str(folder))
            for (name, path), label in zip(sheets.items(), _labels(list(sheets)), strict=True)
        ]
        for tables, error in _run(jobs, workers):
            for output in tables:
                outputs.append(output)
                for line in (summary_of(output), *output.unfit):
                    say(line)
                errors += output.unfit
            if error:
                errors.append(error)
                say(f"  {error}")
        if not outputs:
            raise SheetError(f"{display(sheets_dir)}: none of its pictures is a usable sheet. " + " | ".join(errors))
        gone = sorted(set(fixes) - {output.sheet for output in outputs} - {name for name in sheets})
        errors += [f"{CORRECTIONS}: {name}: the photograph has no such table; correct the name" for name in gone]
        if config.ids:
            _name_all(outputs, config.ids)
        rows = _file(outputs, folder, say)
        if config.audit:
            _save_contact(rows, folder)
        doubts = doubts_of(rows, outputs)
        write_suggested(folder / SUGGESTED, fixes, doubts)
        _write_manifest(rows, folder / "manifest.csv")  # last: a folder with a manifest is complete
    filed = [row for row in rows if row["file"]]
    flags = Counter(flag for row in rows for flag in row["flags"].split() if flag)
    listed = [f"{sheet}, row {row}{f', column {col}' * (col > 0)}: {why}" for sheet, row, col, _, why in doubts]
    if listed:
        say(f"{len(listed)} to check; {display(out_dir / SUGGESTED)} has a line for each: edit it, and save it as "
            f"{CORRECTIONS} beside the sheets")  # fmt: skip
    return ExtractionResult(
        out_dir, len(outputs), len({row["person_id"] for row in filed}), len(filed), dict(flags), errors, listed,
        [line for output in outputs for line in [set_aside(output)] if line],
    )  # fmt: skip


def list_sheets(
    folder: Path, out_dir: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """Pictures of a folder and its sub-folders by name, in natural order (image2 before image10).

    Hidden folders, what other programs leave (``__MACOSX``), earlier extractions and the masks of synthetic sheets
    are left out; `say` is called with a line on files that are no pictures.
    """
    if folder.is_file():
        raise SheetError(f"{display(folder)}: a file; name the folder with the photographs, unpacked")
    if not folder.is_dir():
        raise SheetError(f"{display(folder)}: no such folder; put the photographed sheets there")
    found, others = [], Found()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [
            name for name in folders
            if not name.startswith((".", "__")) and name.lower() not in JUNK
            and not (here / name / "manifest.csv").exists()
            and not (name == "masks" and (here / "truth.json").exists())
            and not (out_dir and (here / name).resolve() == out_dir.resolve())
        ]  # fmt: skip
        for path in (here / name for name in files if not name.startswith(".") and name.lower() not in JUNK):
            if is_picture(path):
                found.append(path)
            else:
                others.skip(path)
    if not found:
        raise SheetError(
            f"{display(folder)}: no sheets in it; add photographs or scans (JPEG, PNG, TIFF, WebP; HEIC and PDF too)"
            + (others.summary() and f"; {others.summary()}")
        )
    if others.summary():
        say(f"  {others.summary()}")
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: names[name] for name in sorted(names, key=lambda name: natural(name.lower()))}


def _file_of(sheet: str) -> str:
    """The file that a table is on: ``scan.tif#2`` is on ``scan.tif``."""
    return sheet.partition("#")[0]


def _labels(names: list[str]) -> list[str]:
    """What sheets are called in file names: without suffix and folders, unless two would be called the same."""
    stems = [safe_name(Path(name).stem) for name in names]
    count = Counter(stem.lower() for stem in stems)
    return [s if count[s.lower()] == 1 else safe_name(n.replace(".", "_")) for s, n in zip(stems, names, strict=True)]


@contextlib.contextmanager
def _swapped_in(out_dir: Path) -> Iterator[Path]:
    """A temporary sibling that takes the place of `out_dir` when the block ends well; what a kill left goes too."""
    foreign = out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / "manifest.csv").exists()
    if foreign or (out_dir.exists() and not out_dir.is_dir()):
        raise SheetError(
            f"{display(out_dir)}: exists and is not an earlier extraction (no manifest.csv); choose another folder"
        )
    with locked(out_dir), writing(out_dir):
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
            for kind in ("new", "old"):
                for left in out_dir.parent.glob(f".{glob.escape(out_dir.name)}.{kind}.*"):
                    shutil.rmtree(left, ignore_errors=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _run(jobs: list[tuple], workers: int) -> Iterator[tuple[list[SheetOutput], str | None]]:
    if workers <= 1 or len(jobs) <= 1 or not can_spawn():
        yield from map(_work, jobs)
        return
    # Spawned, not forked: the caller may hold threads (Jupyter, torch), and Windows knows no fork.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        done = 0
        for job, future in zip(jobs, futures, strict=True):
            try:
                result = future.result()
            except BrokenProcessPool as error:
                if not done:
                    raise SheetError(
                        "the processes that read sheets died at once; a script has to call extract() under "
                        '`if __name__ == "__main__":`, or pass workers=1'
                    ) from error
                result = [], f"{Path(job[0]).name}: a worker died on it (out of memory?); use fewer workers"
            done += 1
            yield result


def _one_thread() -> None:
    """Every core has a worker of its own: more threads in each would wait for one another."""
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _work(job: tuple) -> tuple[list[SheetOutput], str | None]:
    """Read one file; what cannot be read of it comes back as a message."""
    path, name, label, config, fixes, folder = job
    outputs = []
    try:
        for sheet in extract_sheets(path, config, fixes, name, label):
            mark = sheet.name[len(name) :].replace("#", "_")
            outputs.append(_output(sheet, label + mark, config, fixes.get(sheet.name, {}), Path(folder)))
    except SheetError as error:
        return outputs, str(error)
    except MemoryError:
        return outputs, f"{name}: not enough memory for it; scale the photograph down or use fewer workers"
    return outputs, None


def _output(sheet: Sheet, label: str, config: ExtractionConfig, fixes: Fixes, folder: Path) -> SheetOutput:
    rows, images = [], []
    for cell in sheet.cells:
        corners = {f"{axis}{k}": f"{cell.quad[k, i]:.1f}" for k in range(4) for i, axis in enumerate("xy")}
        rows.append({"sheet": sheet.name, "row": cell.row, "col": cell.col, "person_id": safe_name(cell.person_id),
                     **corners, "ink_fraction": f"{cell.ink_fraction:.4f}", "flags": list(cell.flags)})  # fmt: skip
        images.append(None if NOT_FILED & set(cell.flags) else normalised(sheet, cell))
    if config.audit:
        save_audit(draw_audit(sheet), folder / "audit" / f"{label}.png")
    signed = sorted({cell.row for cell in sheet.cells})
    last = max((cell.col for cell in sheet.cells), default=0)
    size = f"rows 0 to {sheet.grid.n_rows - 1}, columns 0 (the whole row) to {last}"
    unfit = tuple(
        f"{CORRECTIONS}: {sheet.name} has no row {row}, column {col}; it has {size}"
        for row, col in sorted(fixes)
        if not (0 <= row < sheet.grid.n_rows and 0 <= col <= last)
    )
    moved = frozenset(place for place, person in fixes.items() if place[1] and person != "skip")
    crops = {row: sheet.id_crop(row) for row in signed}
    return SheetOutput(sheet.name, rows, images, crops, sheet.flags, sheet.plan.columns, moved, unfit, sheet.aside,
                       sheet.listed)  # fmt: skip


def _name_all(outputs: list[SheetOutput], ids: tuple[str, ...]) -> None:
    """Give the user's IDs to all people's rows in turn; changes the manifest rows of `outputs`."""
    total = sum(len(output.listed) for output in outputs)
    if total != len(ids):
        counts = ", ".join(f"{output.sheet}: {len(output.listed)}" for output in outputs)
        raise SheetError(f"{len(ids)} IDs are given, but {total} rows of people are found ({counts}); nothing is filed")
    given = iter(ids)
    for output in outputs:
        names = {row: next(given) for row in output.listed}
        for row in output.rows:
            if "id_by_hand" in row["flags"]:
                continue
            word = safe_name(names[row["row"]])
            clear = not {"id_unread", "id_corrected", "id_at_edge"} & set(row["flags"])
            row["flags"] = [flag for flag in row["flags"] if not flag.startswith("id_")]
            row["flags"] += ["id_by_hand"] + ["id_unexpected"] * (clear and row["person_id"] != word)
            row["person_id"] = word


def _file(outputs: list[SheetOutput], folder: Path, say: Callable[[str], None]) -> list[dict]:
    """Write every signature to its person; a second row with the same ID is left out and flagged.

    A single cell that a correction gives to somebody comes after that person's own row, under the next free number.
    """
    first_rows: dict[str, tuple[str, int]] = {}
    listed: set[tuple[str, int, str]] = set()
    cells = [(output, *cell) for output in outputs for cell in zip(output.rows, output.images, strict=True)]
    alone = [(row["row"], row["col"]) in output.moved for output, row, _ in cells]
    done: dict[int, dict] = {}
    for k in sorted(range(len(cells)), key=alone.__getitem__):
        output, row, image = cells[k]
        person, place, flags = row["person_id"], (output.sheet, row["row"]), row["flags"]
        first = place
        if not alone[k]:
            first = first_rows.setdefault(person, place) if image is not None else first_rows.get(person, place)
        if first != place and "skipped" not in flags:
            flags = [*flags, "duplicate_id"]
            if (*place, person) not in listed:
                listed.add((*place, person))
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
