"""corrections.csv: what the user says about rows and cells, as people write it, and a suggestion to begin from."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from ..paths import atomic_write
from .config import SheetError

CORRECTIONS = "corrections.csv"
SUGGESTED = "corrections.suggested.csv"
FIELDS = ("sheet", "row", "col", "id")
NAMES = {  # what the columns are called, in lower case
    "sheet": "sheet", "file": "sheet", "photo": "sheet", "image": "sheet", "row": "row", "line": "row",
    "col": "col", "column": "col", "cell": "col", "id": "id", "person": "id", "person_id": "id", "number": "id",
    "note": "note", "comment": "note", "why": "note",
}  # fmt: skip

Fixes = dict[tuple[int, int], str]


def read_corrections(path: Path) -> dict[str, Fixes]:
    """Corrections by hand: sheet -> {(row, col): id or "skip"}.

    Parameters
    ----------
    path
        A table with the columns ``sheet``, ``row``, ``col``, ``id``, in any order and any capitals: separated by
        commas, semicolons or tabs, in UTF-8, UTF-16 or Windows' code page 1252, blank lines and lines that begin with
        ``#`` left out. Without a header the columns come in that order. An empty ``col`` means the whole row, as 0
        does; a line without an ``id`` says nothing yet.

    Returns
    -------
    dict
        Empty if there is no such file. IDs are as folders are named: ``21/CS/05`` becomes ``21_CS_05``.

    Raises
    ------
    SheetError
        For a file without these columns, a row or column that is no number, an ID that cannot name a folder, or two
        IDs that would name the same one.
    """
    found: dict[str, Fixes] = {}
    if not path.exists():
        return found
    written: dict[str, tuple[str, int]] = {}
    for number, line in _lines(path):
        where = f"{path.name}, line {number}"
        # What the extraction printed may have been pasted with its arrow, and people whose ID is unread with their row
        person = re.sub(r"\s*<-.*$", "", line["id"]).strip()
        if not person or re.fullmatch(r".*_row\d+", person):
            continue
        try:
            place = (_integer(line["row"]), _integer(line["col"] or "0"))
        except ValueError as error:
            wrong = f"{line['row']!r}, {line['col']!r}"
            raise SheetError(f"{where}: row and col have to be numbers, not {wrong}") from error
        if not line["sheet"]:
            raise SheetError(f"{where}: the sheet's name is missing; write the photograph's file name")
        if person.lower() == "skip":
            person = "skip"
        folder = safe_name(re.sub(r"^(\d+)\.0$", r"\1", person))  # spreadsheets make 142.0 of 142
        if not folder.strip("_") or ".." in person:
            raise SheetError(f"{where}: {person!r} cannot name a folder; use letters and digits")
        first, at = written.setdefault(folder, (person, number))
        if first != person:
            raise SheetError(
                f"{where}: {person!r} and {first!r} (line {at}) would both be filed as {folder}; write one of them anew"
            )
        found.setdefault(line["sheet"], {})[place] = folder
    return found


def safe_name(person: str) -> str:
    """A person's ID as a folder name: letters, digits, ``-``, ``_`` and inner dots."""
    return re.sub(r"[^\w.-]+", "_", person).strip(".")


def _integer(text: str) -> int:
    return int(re.sub(r"\.0+$", "", text))


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Lines that say something, with their numbers, as fields by name."""
    text = _decoded(path.read_bytes())
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t|", key=first.count)
    rows = [
        (number, [cell.strip().strip("'\"\u201c\u201d").strip() for cell in row])
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True), start=1)
    ]
    rows = [(number, row) for number, row in rows if any(row) and not row[0].startswith("#")]
    if not rows:
        return []
    names = [NAMES.get(re.sub(r"[\s_]+", "_", cell.lower()), cell.lower()) for cell in rows[0][1]]
    if set(FIELDS) <= set(names):
        rows = rows[1:]
    elif len(rows[0][1]) >= 4 and re.fullmatch(r"\d+(\.0)?", rows[0][1][1]):
        names = [*FIELDS, "note"]
    else:
        raise SheetError(
            f"{path.name}, line {rows[0][0]}: expected a header with sheet,row,col,id, found {','.join(rows[0][1])!r}"
        )
    short = next((number for number, row in rows if len(row) < 1 + max(names.index(field) for field in FIELDS)), None)
    if short:
        raise SheetError(f"{path.name}, line {short}: too few fields; write sheet,row,col,id")
    return [(number, {field: row[names.index(field)] for field in FIELDS}) for number, row in rows]


def _decoded(data: bytes) -> str:
    """The text of a file from an editor or a spreadsheet, whatever its encoding."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").lstrip("\ufeff")
    if data[:200].count(0) > 20:  # UTF-16 without its mark
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def fixes_of(corrections: dict[str, Fixes], names: list[str]) -> tuple[dict[str, Fixes], list[str]]:
    """Corrections under the names of sheets, and those that fit none.

    A sheet may be written in other capitals, without its folder, or without its suffix, as long as only one fits.
    """
    fitting, unknown = {}, []
    for written, fixes in corrections.items():
        base, mark, table = written.replace("\\", "/").partition("#")
        matches = [name for name in names if name == base]
        for form in (str.lower, lambda n: Path(n.lower()).name, lambda n: Path(n.lower()).stem):
            matches = matches or [name for name in names if form(name) == form(base)]
        if len(matches) == 1:
            for place, person in fixes.items():
                fitting.setdefault(matches[0] + mark + table, {})[place] = person
        else:
            unknown.append(written)
    return fitting, unknown


def write_suggested(path: Path, known: dict[str, Fixes], lines: list[tuple[str, int, int, str, str]]) -> None:
    """A file to begin from: the corrections so far, and (sheet, row, col, id, note) for all that is in doubt."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow([*FIELDS, "note"])
        for sheet, fixes in known.items():
            writer.writerows([sheet, row, col, person, "by hand"] for (row, col), person in fixes.items())
        writer.writerows(lines)
