"""What a person should check after an extraction, in words: flags of sheets, rows and cells, and rows set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .files import SheetOutput

QUIET = {"crosses_line"}  # stands in the manifest; nothing to repair
# Flags that a person has to look at, and what the file of suggestions says of each
ROW_DOUBTS = {
    "id_unread": "the ID cannot be read; write it",
    "id_unexpected": "the ID breaks the count of the others; check it",
    "id_corrected": "the ID is doubtful and was set by the count of the others; check it",
    "id_at_edge": "the photograph ends beside the ID; a digit may be missing",
    "duplicate_id": "the ID is filed from another row already; if it is somebody else, write another ID",
}
CELL_DOUBTS = {
    "printed": "looks printed and was left out; write the ID if it is a signature",
    "column_unsure": "a column that few signed or a remark, left out; write the ID if it is a signature",
    "ink_mixed": "a stroke of another cell, a stamp or a stain may lie over it; look at it, write skip to leave it out",
    "foreign_ink": "a stamp or stain was taken out; look at what is left",
}
SHEET_DOUBTS = {
    "columns_by_content": "no column of this sheet is ruled: check that none was cut in two, or use --columns",
    "columns_wide": "a table of so few rows that an upright line may have been missed: check the columns; if one was, "
    "photograph the people's rows alone",
    "no_signatures": "no column looks signed: if one is, name the columns with --columns",
    "ink_outside": "much of the photograph lies outside of the tables that were found: check that none is missing",
    "turn_unsure": "nothing printed can be read on this sheet: check that it is read upright",
}
SET_ASIDE = {
    "header": "no person, a header or footer", "merged": "cells are merged", "print": "only print in it",
    "blank": "nothing in it", "no_id": "ink, but no ID", "ink": "cells are merged, with writing in them",
}  # fmt: skip
DOUBTS = ROW_DOUBTS | CELL_DOUBTS


def summary_of(output: SheetOutput) -> str:
    """What was read of a table, for the console: people, cells, flags, columns that are not filed, rows set aside."""
    ids = list(dict.fromkeys(row["person_id"] for row in output.rows))
    flagged = sum(bool(set(row["flags"]) - QUIET) for row in output.rows)
    people = f"{len(ids)} people ({ids[0]} .. {ids[-1]})" if ids else "no people"
    note = f", {flagged} flagged" if flagged else ""
    note += f" [{', '.join(output.flags)}]" if output.flags else ""
    note += f", columns {', '.join(output.columns)}" if {"print", "empty"} & set(output.columns) else ""
    if "low_resolution" in output.flags:
        note += "; small: send the original photograph, no thumbnail or messenger's copy"
    aside = f"\n    {set_aside(output)}" if output.aside else ""
    return f"  {output.sheet}: {people}, {len(output.rows)} cells{note}{aside}"


def set_aside(output: SheetOutput) -> str:
    """One line on the rows of a table that are no people's; empty where there are none."""
    reasons: dict[str, list[str]] = {}
    for row, why in output.aside:
        reasons.setdefault(SET_ASIDE[why], []).append(str(row))
    parts = [f"row{'s' * (len(rows) > 1)} {', '.join(rows)} ({why})" for why, rows in reasons.items()]
    return f"{output.sheet}: set aside: {'; '.join(parts)}" if parts else ""


def doubts_of(rows: list[dict], outputs: list[SheetOutput]) -> list[tuple[str, int, int, str, str]]:
    """(sheet, row, col, id, note) for all that could not be read for certain, ready for corrections.csv."""
    found: dict[tuple[str, int, int], tuple[str, str]] = {}
    for row in rows:
        flags = row["flags"].split()
        for flag, why in ROW_DOUBTS.items():
            if flag in flags:
                person = "" if flag == "id_unread" else row["person_id"]
                found.setdefault((row["sheet"], row["row"], 0), (person, why))
        for flag, why in CELL_DOUBTS.items():
            if flag in flags and "skipped" not in flags:
                kept = row["person_id"] if row["file"] and "id_unread" not in flags else ""
                found.setdefault((row["sheet"], row["row"], row["col"]), (kept or "skip" * (not row["file"]), why))
    for output in outputs:
        for row, why in output.aside:
            if why in ("ink", "print", "no_id"):
                found[output.sheet, row, 0] = ("skip", f"{SET_ASIDE[why]}, and was set aside; write the ID to take it")
        for flag, why in SHEET_DOUBTS.items():
            if flag in output.flags:
                person, note = found.get((output.sheet, 0, 0), ("", ""))
                found[output.sheet, 0, 0] = (person, "; ".join(filter(None, (note, why))))
    order = {output.sheet: k for k, output in enumerate(outputs)}
    return [(*place, *found[place]) for place in sorted(found, key=lambda p: (order[p[0]], p[1], p[2]))]
