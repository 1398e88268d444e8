"""Whose rows are these? The count of printed IDs down a page, and IDs that the user gives."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from .config import ExtractionConfig, SheetError
from .digits import Reading

LONE_DISTANCE = 0.35  # a number that no count confirms has to be read this clearly


def name_rows(
    readings: list[Reading], label: str, config: ExtractionConfig, rows: list[int]
) -> tuple[list[str], list[list[str]]]:
    """IDs of a page's people and their flags; `rows` are their rows, to name those after who cannot be read.

    Printed IDs rise by one down a page. Where at least half of the rows (and three) agree on that count, a doubtful
    reading, or one that another row has too, is replaced by the count (``id_corrected``); a clear one that disagrees
    is kept (``id_unexpected``). One at the photograph's edge may lack a digit (``id_at_edge``). Where nothing is
    printed, or letters are, nothing is guessed (``id_unread``).
    """
    clear = [r.text if r.worst <= config.id_distance else "" for r in readings]
    start = _count_from(clear)
    digits = min(map(len, filter(None, clear)), default=0) if any(text.startswith("0") for text in clear) else 0
    ids, flags = [], []
    for k, (reading, text) in enumerate(zip(readings, clear, strict=True)):
        expected = "" if start is None else str(start + k).zfill(digits)
        lone = not expected and reading.text and reading.worst > LONE_DISTANCE
        if text and not lone and (not expected or text == expected):
            ids.append(text)
            flags.append([])
        elif (
            expected
            and reading.text
            and (reading.worst > 0.25 or reading.cost_of(expected) < 0.15 or clear.count(text) > 1)
        ):
            ids.append(expected)
            flags.append(["id_corrected"])
        elif text and not lone:
            ids.append(text)
            flags.append(["id_unexpected"])
        else:
            ids.append(f"{label}_row{rows[k]}")
            flags.append(["id_unread"])
        if text and reading.at_edge:
            flags[-1].append("id_at_edge")
    return ids, flags


def _count_from(texts: list[str]) -> int | None:
    """The first row's number on which most rows agree, if they do."""
    votes = Counter(int(text) - row for row, text in enumerate(texts) if text)
    if not votes:
        return None
    start, support = votes.most_common(1)[0]
    return start if support >= 3 and support >= 0.5 * len(texts) and start >= 0 else None


def read_ids(text: str | None) -> tuple[str, ...]:
    """IDs for all rows in turn: ``1-12,17``, or a text file that has them separated by lines, commas or spaces."""
    if not text:
        return ()
    path = Path(text)
    words = re.split(r"[\s,;]+", path.read_text(encoding="utf-8-sig") if path.is_file() else text)
    ids: list[str] = []
    for word in filter(None, words):
        ends = re.fullmatch(r"(\d+)-(\d+)", word)
        low, high = (int(end) for end in ends.groups()) if ends else (0, -1)
        counted = bool(ends) and 0 <= high - low < 10_000  # 2023-0456 is an ID, no range
        counted = counted and len(ends.group(1)) <= len(ends.group(2)) and not ends.group(2).startswith("0")
        ids += [str(k) for k in range(low, high + 1)] if counted else [word]
    if len(set(ids)) < len(ids):
        twice = next(person for person in ids if ids.count(person) > 1)
        raise SheetError(f"--ids: {twice} is given twice; every row needs an ID of its own")
    return tuple(ids)
