"""Sheets that are hard in several ways at once, drawn at random: what is lost or misfiled is doubted, not silent."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from forms import Form, compare, draw

from sigen_utils import sheets
from sigen_utils.sheets.doubts import DOUBTS, SHEET_DOUBTS
from sigen_utils.sheets.sheet import NOT_FILED, Sheet

CONFIG = sheets.ExtractionConfig(audit=False)


def form_of(rng: random.Random) -> Form:
    """Columns, rows, headers, lines, slips and what surrounds them, each at random."""
    return Form(
        columns=rng.choice(["id sig", "id sig sig", "id sig sig sig sig", "id name sig sig", "id sig sig -"]),
        rows=rng.choice([1, 2, 3, 5, 8]),
        header=rng.choice([0, 0, 1, 2]),
        footer=rng.random() < 0.25,
        line=rng.choice(["solid", "solid", "dashed", "dotted", "hair", "grey"]),
        title=rng.random() < 0.3,
        desk=rng.choice([0, 0, 60]),
        slips=rng.choice([1, 1, 1, 2]),
        first=rng.choice([1, 20, 140]),
    )


def doubted(found: list[Sheet]) -> bool:
    """Whether the last line of an extraction asks somebody to look at something."""
    flags = {flag for sheet in found for flag in sheet.flags}
    flags |= {flag for sheet in found for cell in sheet.cells for flag in cell.flags}
    flags |= {flag for sheet in found for row in sheet.id_flags for flag in row}
    aside = {why for sheet in found for _, why in sheet.aside}
    return bool(flags & {*DOUBTS, *SHEET_DOUBTS} or aside & {"ink", "print", "no_id"})


@pytest.mark.long
def test_what_is_lost_of_a_hard_sheet_is_doubted(tmp_path):
    rng, counts, silent = random.Random(2026), Counter(), []
    for _ in range(400):
        form = form_of(rng)
        photo = draw(form)
        counts["sheets"] += 1
        try:
            found = list(sheets.extract_sheets(photo.save(tmp_path / "sheet.jpg"), CONFIG))
        except sheets.SheetError:
            counts["errors"] += 1
            continue
        seen = compare(photo, found, NOT_FILED)
        if seen["right"] < sum(map(len, photo.truth.values())) or seen["misfiled"]:
            counts["doubted" if doubted(found) else "silent"] += 1
            silent += [] if doubted(found) else [(form, seen)]
    print(dict(counts))
    assert not silent
    assert counts["doubted"] + counts["errors"] < 0.06 * counts["sheets"]  # most are read right
