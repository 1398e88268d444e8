"""Sheets of other kinds than the course's own: every signature under its person, or said why not."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from forms import DESK, Form, Photo, compare, draw, quarter, scaled, warp
from PIL import Image

from sigen_utils import sheets
from sigen_utils.sheets import doubts, tables
from sigen_utils.sheets.corrections import read_corrections
from sigen_utils.sheets.sheet import NOT_FILED

PLAIN = dict(coffee=False, paper="plain")
CONFIG = sheets.ExtractionConfig(audit=False)


def read(photo, tmp_path, config=CONFIG, name="sheet.jpg"):
    return list(sheets.extract_sheets(photo.save(tmp_path / name), config))


def whole(photo, found) -> bool:
    """Everything is filed, under the right people."""
    counts = compare(photo, found, NOT_FILED)
    return counts["right"] == sum(map(len, photo.truth.values())) and not counts["misfiled"]


KINDS = {
    "a small picture": Form(columns="id sig", rows=4, first=40),
    "one signature column": Form(columns="id sig", rows=5, widths={"sig": 420}),
    "sixteen columns": Form(columns="id" + 16 * " sig", rows=4, widths={"sig": 62}),
    "printed names": Form(columns="id name sig sig", rows=5),
    "roll numbers": Form(columns="id roll sig sig", rows=5),
    "long IDs": Form(ids=("20216707", "20218049", "20210227", "20218078"), rows=4, widths={"id": 140}),
    "double header, footer": Form(rows=5, header=2, footer=True),
    "merged row": Form(rows=5, merged=(2,)),
    "a tall row": Form(rows=5, tall={3: 1.9}),
    "dotted": Form(rows=4, line="dotted"),
    "thick lines": Form(rows=4, thick=9),
    "hairlines in a frame": Form(rows=4, line="hair"),
    "squared paper": Form(rows=4, columns="id sig sig", paper="squared"),
    "lined paper": Form(rows=4, columns="id sig sig", paper="lined"),
    "letterhead": Form(rows=4, title=True, desk=40),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_sheets(kind, tmp_path):
    photo = warp(draw(KINDS[kind]), degrees=-2, pad=10)
    assert whole(photo, read(photo, tmp_path))


def test_only_level_lines_are_read_and_doubted(tmp_path):
    photo = draw(Form(rows=5, line="level"))
    found = read(photo, tmp_path)
    assert whole(photo, found) and "columns_by_content" in found[0].flags


@pytest.mark.parametrize("joined", [False, True], ids=["apart", "joined"])
def test_two_blocks_of_people(joined, tmp_path):
    photo = draw(Form(columns="id sig sig", rows=4, blocks=2, joined=joined))
    found = read(photo, tmp_path)
    assert whole(photo, found) and [sheet.ids[0] for sheet in found] == ["1", "5"]


def test_two_slips_askew_to_each_other(tmp_path):
    photo = draw(Form(slips=2, rows=4))
    found = read(photo, tmp_path)
    assert whole(photo, found) and [sheet.name for sheet in found] == ["sheet.jpg", "sheet.jpg#2"]


@pytest.mark.parametrize(
    "form",
    [
        Form(rows=1),
        Form(rows=1, header=1),
        Form(rows=1, title=True),
        Form(rows=1, columns="id sig"),
        Form(rows=1, columns="id name sig sig"),
        Form(rows=1, columns="id sig sig", desk=60),
        Form(rows=1, slips=6),
        Form(rows=1, line="hair"),
    ],
    ids=["four", "header", "title", "one column", "name", "desk", "six slips", "hair"],
)
def test_slips_of_a_single_row(form, tmp_path):
    photo = draw(form)
    assert whole(photo, read(photo, tmp_path))


@pytest.mark.parametrize("paper", ["lined", "squared"])
def test_a_slip_of_a_single_row_that_is_not_read_is_an_error(paper, tmp_path):
    with pytest.raises(sheets.SheetError, match="no ruled table found"):
        read(draw(Form(rows=1, paper=paper)), tmp_path)


SMALL = {
    "a row and a footer": Form(rows=1, footer=True),
    "a row, a name and a footer": Form(columns="id name sig sig", rows=1, footer=True),
    "a row, a remark and a footer": Form(columns="id sig sig -", rows=1, footer=True),
    "hairlines and a footer": Form(columns="id sig sig -", rows=1, footer=True, line="hair"),
    "two headers": Form(columns="id sig sig", rows=1, header=2),
    "two headers and a name": Form(columns="id name sig sig", rows=1, header=2),
    "two headers, grey": Form(columns="id sig", rows=1, header=2, line="grey", first=140),
    "two headers on a desk": Form(columns="id sig sig", rows=1, header=2, desk=60, first=20),
    "dashed": Form(columns="id sig sig", rows=2, line="dashed", first=20),
    "dashed, a single row": Form(columns="id sig sig", rows=1, line="dashed"),
    "dashed, header, footer, title": Form(
        columns="id name sig sig", rows=2, header=1, footer=True, line="dashed", title=True
    ),
    "two slips with headers": Form(columns="id name sig sig", rows=3, header=1, line="dashed", slips=2, first=140),
    "two slips with a remark": Form(columns="id sig sig -", rows=1, slips=2, first=140),
}


@pytest.mark.parametrize("kind", SMALL)
def test_small_tables(kind, tmp_path):
    """In the whole picture the lines of a few rows are no longer than strokes; most rows may be headers."""
    photo = draw(SMALL[kind])
    assert whole(photo, read(photo, tmp_path))


@pytest.mark.parametrize("line", ["solid", "hair", "dotted", "grey"])
def test_slips_of_many_rows_that_lie_askew_to_each_other(line, tmp_path):
    photo = draw(Form(columns="id sig", header=1, slips=2, line=line, first=20))
    assert whole(photo, read(photo, tmp_path))


def test_a_very_wide_cell_of_a_small_table_is_doubted(tmp_path):
    photo = draw(Form(columns="id sig", rows=1, widths={"sig": 560}))
    (sheet,) = read(photo, tmp_path)
    assert "columns_wide" in sheet.flags and "columns_wide" in doubts.SHEET_DOUBTS
    assert not any("columns_wide" in other.flags for other in read(draw(Form(columns="id sig", rows=4)), tmp_path))


def test_a_table_that_is_missed_beside_another_is_doubted(tmp_path, monkeypatch):
    photo = draw(Form(columns="id sig", rows=4, slips=2))
    assert not any("ink_outside" in sheet.flags for sheet in read(photo, tmp_path))
    upper = tables.find_readings(photo.image)[:1]
    monkeypatch.setattr(tables, "_networks", lambda straight, config, first, bridged="": upper if first else [])
    monkeypatch.setattr(tables, "_slips", lambda *args: [])
    (sheet,) = read(photo, tmp_path)
    assert "ink_outside" in sheet.flags and "ink_outside" in doubts.SHEET_DOUBTS


def test_a_table_without_a_signed_column_is_doubted(tmp_path):
    photo = draw(Form(columns="id sig", rows=2, header=2, first=20))
    assert whole(photo, read(photo, tmp_path))
    (unsigned,) = read(draw(Form(columns="id name", rows=5)), tmp_path)
    assert "no_signatures" in unsigned.flags and "no_signatures" in doubts.SHEET_DOUBTS


def test_absent_on_a_slip_of_a_single_row_is_no_signature(tmp_path):
    photo = draw(Form(rows=1, merged=(0,)))
    counts = compare(photo, read(photo, tmp_path), NOT_FILED)
    assert not counts["misfiled"]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_slip_beside_a_large_sheet(rows, tmp_path):
    large = draw(Form(rows=12))
    small = warp(draw(Form(rows=rows, columns="id sig sig", first=20)), degrees=-2, pad=20)
    width, height = large.image.shape[1], large.image.shape[0]
    beside = np.full((small.image.shape[0], width, 3), DESK, np.uint8)
    beside[:, : small.image.shape[1]] = small.image
    moved = {person: points + (0, height) for person, points in small.truth.items()}
    photo = Photo(np.concatenate([large.image, beside]), large.truth | moved)
    found = read(photo, tmp_path)
    assert whole(photo, found) and len(found) == 2


def test_a_box_beside_a_sheet_is_set_aside_and_listed(tmp_path):
    large = draw(Form(rows=6))
    below = np.full((160, large.image.shape[1], 3), 226, np.uint8)
    for corners in ((300, 40, 420, 110), (420, 40, 640, 110)):
        below[corners[1] : corners[3] + 2, [*range(corners[0], corners[0] + 2), *range(corners[2], corners[2] + 2)]] = (
            25
        )
        below[[*range(corners[1], corners[1] + 2), *range(corners[3], corners[3] + 2)], corners[0] : corners[2] + 2] = (
            25
        )
    photo = Photo(np.concatenate([large.image, below]), large.truth)
    found = read(photo, tmp_path)
    assert whole(photo, found)
    assert [(sheet.cells == [], sheet.aside != ()) for sheet in found[1:]] == [(True, True)]


def test_pages_of_a_scan(tmp_path, monkeypatch):
    pages = [draw(Form(rows=3, columns="id sig sig", first=first)) for first in (1, 4)]
    first, second = (Image.fromarray(page.image) for page in pages)
    first.save(tmp_path / "scan.tif", save_all=True, append_images=[second])
    found = list(sheets.extract_sheets(tmp_path / "scan.tif", CONFIG))
    assert [(sheet.name, sheet.ids) for sheet in found] == [
        ("scan.tif", ("1", "2", "3")),
        ("scan.tif#2", ("4", "5", "6")),
    ]
    monkeypatch.setattr("sigen_utils.images.reading.MAX_PAGES", 1)
    with pytest.raises(sheets.SheetError, match="only 1 of 2 pages are read; split the file"):
        list(sheets.extract_sheets(tmp_path / "scan.tif", CONFIG))


def test_negatives_and_quarter_turns(tmp_path):
    photo = quarter(warp(draw(Form(rows=5, columns="id name sig sig")), degrees=1, pad=10), 1)
    photo.image = 255 - photo.image
    assert whole(photo, read(photo, tmp_path))


def test_a_thumbnail_is_read_and_said_to_be_small(tmp_path):
    photo = scaled(draw(Form(rows=8)), 0.6)
    found = read(photo, tmp_path)
    assert "low_resolution" in found[0].flags and not compare(photo, found, NOT_FILED)["misfiled"]


@pytest.mark.parametrize("ids", ["B23CS107 B23CS112 B23CS121 B23CS130", "21-456 21-457 21-461 21-470"])
def test_ids_with_letters_or_dashes_are_nobodys_number(ids, tmp_path):
    found = read(draw(Form(rows=4, ids=tuple(ids.split()), widths={"id": 140})), tmp_path)
    assert len(found[0].cells) == 16 and all("id_unread" in cell.flags for cell in found[0].cells)


def test_print_among_signatures_is_left_out_and_said(tmp_path):
    photo = draw(Form(rows=8, columns="id sig sig -", absent=(2,), remarks={4: "late"}))
    found = read(photo, tmp_path)[0]
    counts = compare(photo, [found], NOT_FILED)
    assert counts["right"] == 14 and counts["misfiled"] == counts["lost"] == 0
    assert (2, "print") in found.aside
    assert {cell.row for cell in found.cells if {"printed", "column_unsure"} & set(cell.flags)} == {4}


def test_a_stamp_is_told_of(tmp_path):
    found = read(draw(Form(rows=6, stamp=True)), tmp_path)[0]
    assert {"foreign_ink", "ink_mixed"} & {flag for cell in found.cells for flag in cell.flags}


@pytest.mark.parametrize(
    "spoiled", [Form(rows=6, coffee=True), Form(rows=6, paper="squared")], ids=["coffee", "squared"]
)
def test_what_is_not_the_pens_is_taken_out_and_strokes_stay_whole(spoiled, tmp_path):
    """A ring over cells, or the paper's own rules: the same ink as on a plain page, and a stain is flagged."""
    plain, other = (
        read(warp(draw(form), degrees=1.5, pad=10), tmp_path)[0] for form in (replace(spoiled, **PLAIN), spoiled)
    )
    ink = np.array([[cell.mask.astype(bool).sum() for cell in sheet.cells] for sheet in (plain, other)])
    flagged = np.array(["foreign_ink" in cell.flags for cell in other.cells])
    more = np.abs(ink[1] / ink[0] - 1)
    assert more[~flagged].max() < 0.06 and more.max() < 0.2
    assert flagged.any() == spoiled.coffee


def test_the_user_has_the_word_on_columns(tmp_path):
    photo = draw(Form(rows=4, columns="id sig sig"))
    config = sheets.ExtractionConfig(layout=sheets.read_layout("id,-,sig"), audit=False)
    found = read(photo, tmp_path, config)[0]
    assert {cell.col for cell in found.cells} == {1} and len(found.cells) == 4
    assert found.cells[0].quad[0, 0] > photo.truth["1"][0, 0]  # the second one
    with pytest.raises(sheets.SheetError, match="3 ruled columns are found, but --columns names 2"):
        read(photo, tmp_path, sheets.ExtractionConfig(layout=("id", "sig"), audit=False))
    with pytest.raises(sheets.SheetError, match="'nmae' is none of"):
        sheets.read_layout("id,nmae,sig")


def test_the_user_has_the_word_on_ids(tmp_path):
    draw(Form(rows=3, columns="id sig sig", ids=("", "", ""))).save(tmp_path / "a.png")
    given = sheets.ExtractionConfig(ids=sheets.read_ids("7-8, K3"), audit=False)
    result = sheets.extract(tmp_path, tmp_path / "out", given, workers=1, progress=None)
    assert all("upright" in doubt for doubt in result.doubts)
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_dir()} == {"7", "8", "K3"}
    with pytest.raises(sheets.SheetError, match="4 IDs are given, but 3 rows"):
        sheets.extract(tmp_path, tmp_path / "out", sheets.ExtractionConfig(ids=tuple("abcd"), audit=False), workers=1)
    assert sheets.read_ids("2023-0456 12") == ("2023-0456", "12")


def test_folders_status_and_suggestions(tmp_path):
    """Sub-folders are read; what is unread makes status 3, and its suggestion, filled in, settles it."""
    folder = tmp_path / "sheets"
    (folder / "class A").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    form = Form(rows=3, columns="id sig sig")
    draw(form).save(folder / "class A" / "1.png")
    draw(form).save(folder / "__MACOSX" / "1.png")
    draw(Form(rows=3, columns="id sig sig", ids=("", "", ""))).save(folder / "class A" / "1.bmp")
    result = sheets.extract(folder, tmp_path / "out", CONFIG, workers=1, progress=None)
    assert (result.n_sheets, result.n_people, result.status, len(result.doubts)) == (2, 6, 3, 3)
    suggested = tmp_path / "out" / "corrections.suggested.csv"
    assert sheets.extract(folder, tmp_path / "out2", CONFIG, 1, None, suggested).n_people == 6  # usable as it is
    rows = list(csv.DictReader(suggested.open(encoding="utf-8")))
    words = iter("xyz")
    for row in rows:
        row["id"] = next(words) if "cannot be read" in row["note"] else row["id"]
    with suggested.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    result = sheets.extract(folder, tmp_path / "out2", CONFIG, 1, None, suggested)
    assert result.n_people == 6 and (tmp_path / "out2" / "x").is_dir() and not any("cannot" in d for d in result.doubts)


def test_what_is_not_read_or_not_filed_is_said(tmp_path):
    """Files that are no pictures, and columns of print; what computers leave behind is not worth a word."""
    folder = tmp_path / "sheets"
    (folder / "$RECYCLE.BIN").mkdir(parents=True)
    photo = draw(Form(rows=3, columns="id name sig sig"))
    photo.save(folder / "1.png"), photo.save(folder / "$RECYCLE.BIN" / "2.png")
    for name in ("class.zip", "scan.docx", "Thumbs.db", "corrections.csv"):
        (folder / name).write_bytes(b"PK\x03\x04" * name.endswith(("zip", "docx")))
    said = []
    result = sheets.extract(folder, tmp_path / "out", CONFIG, workers=1, progress=said.append)
    assert result.n_sheets == 1 and "columns id, print, sig, sig" in said[1]
    assert said[0] == "  2 files that are no pictures left out (1 .docx, 1 .zip)"
    (folder / "1.png").unlink()
    with pytest.raises(sheets.SheetError, match=r"no sheets in it; .*; 2 files that are no pictures left out"):
        sheets.extract(folder, tmp_path / "out", CONFIG, workers=1)


GOOD = {"sheet.jpg": {(0, 0): "142", (3, 2): "skip"}}


@pytest.mark.parametrize(
    "text",
    [
        b"sheet,row,col,id\nsheet.jpg,0,0,142\n,,,\n\nsheet.jpg,3,2,Skip\n",
        b"Sheet;Row;Column;ID;note\nsheet.jpg;0;;142;x\nsheet.jpg;3;2;skip;y\n",
        b"sheet, row, col, id\n sheet.jpg, 0, 0, 142 \nsheet.jpg, 3, 2, skip\n",
        b"\xef\xbb\xbfsheet,row,col,id\r\nsheet.jpg,0,0,142.0\r\nsheet.jpg,3,2,SKIP\r\n",
        "sheet\trow\tcol\tid\nsheet.jpg\t0\t0\t142\nsheet.jpg\t3\t2\tskip\n".encode("utf-16"),
        b"# by J\xf6rg\nsheet,row,col,id\nsheet.jpg,0,0,142\nsheet.jpg,3,2,skip\n",
        b"sheet.jpg,0,0,142   <- id_unexpected\nsheet.jpg,3,2,skip\nsheet.jpg,5,0,sheet_row5    <- id_unread\n",
        b'"id","sheet","row","col"\n"142","sheet.jpg","0","0"\nskip,sheet.jpg,3,2\n,sheet.jpg,4,0\n',
    ],
    ids="blank semicolons spaces bom utf16 cp1252 pasted reordered".split(),
)
def test_corrections_as_people_write_them(text, tmp_path):
    (tmp_path / "corrections.csv").write_bytes(text)
    assert read_corrections(tmp_path / "corrections.csv") == GOOD


@pytest.mark.parametrize(
    "line, said",
    [
        ("sheet.jpg,first,0,142", "line 2: row and col have to be numbers"),
        ("sheet.jpg,0,0,../x", "cannot name a folder"),
        ("sheet.jpg,0", "too few fields"),
        (",0,0,142", "the sheet's name is missing"),
        ("sheet.jpg,0,0,21/CS\nsheet.jpg,1,0,21_CS", "would both be filed as 21_CS"),
    ],
)
def test_corrections_that_cannot_be_followed(line, said, tmp_path):
    (tmp_path / "corrections.csv").write_text("sheet,row,col,id\n" + line + "\n")
    with pytest.raises(sheets.SheetError, match=said):
        read_corrections(tmp_path / "corrections.csv")
