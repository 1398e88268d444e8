"""The stress test: easy grades are read whole, what is not read is counted and listed, and the status says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigen_utils import sheets
from sigen_utils.__main__ import main
from sigen_utils.sheets import stress
from sigen_utils.synthesis import synthesize

FEW = dict(rows_per_sheet=4)
EASY = (
    stress.Condition("clean", (stress.Grade("flat", stress.CLEAN | FEW),)),
    stress.Condition("turned", (stress.Grade("2°", FEW | dict(rotation=2.0, rotation_least=2.0)),)),
)
NO_TABLE = stress.Condition("no lines", (stress.Grade("100 %", FEW | dict(line_fade=1.0)),))


def run(out: Path, conditions, monkeypatch, capsys) -> tuple[int, dict, str, str]:
    """Exit status, stress.json, output and errors of the command on other conditions."""
    monkeypatch.setattr(stress, "CONDITIONS", conditions)
    status = main(["stress", "--out", str(out), "--seeds", "1", "--workers", "1"])
    printed = capsys.readouterr()
    return status, json.loads((out / "stress.json").read_text(encoding="utf-8")), printed.out, printed.err


def test_easy_conditions_are_read_whole(tmp_path, monkeypatch, capsys):
    status, content, out, err = run(tmp_path, EASY, monkeypatch, capsys)
    assert status == 0 and err == ""
    assert content["seeds"] == [0] and content["n_sheets"] == 2 and content["n_cells"] == 32
    assert {"python", "numpy", "opencv"} <= set(content["versions"]) and content["machine"]["cores"] >= 1
    for grade in content["grades"]:
        assert (grade["cells"], grade["found"], grade["misfiled"], grade["silent"]) == (16, 16, 0, 0)
        assert grade["share"] == 1 and grade["seconds"] > 0
    lines = out.splitlines()
    assert lines[0] == stress.HEADER and [line.split()[0] for line in lines[1:3]] == ["clean", "turned"]
    assert not (tmp_path / "failures").exists()
    assert (tmp_path / "stress.pdf").read_bytes().startswith(b"%PDF")
    assert np.asarray(Image.open(tmp_path / "stress.png")).std() > 5


def test_a_sheet_without_lines_is_lost_flagged_and_fails_the_command(tmp_path, monkeypatch, capsys):
    status, content, out, err = run(tmp_path, (NO_TABLE,), monkeypatch, capsys)
    (grade,) = content["grades"]
    assert status == 1 and "no lines 100 %: 0 of 16 cells found" in err and "<- fails" in out
    assert (grade["found"], grade["flagged"], grade["misfiled"], grade["silent"]) == (0, 16, 0, 0)
    assert "no ruled table found" in grade["errors"][0]
    assert [path.suffix for path in (tmp_path / "failures").iterdir()] == [".jpg"]  # no sheet, so no audit figure


def test_what_lies_beyond_the_bar_may_fail(tmp_path, monkeypatch, capsys):
    beyond = replace(NO_TABLE, grades=tuple(replace(grade, required=False) for grade in NO_TABLE.grades))
    status, content, _, _ = run(tmp_path, (beyond,), monkeypatch, capsys)
    assert status == 0 and content["grades"][0]["found"] == 0


def test_at_least_one_sheet(tmp_path, capsys):
    assert main(["stress", "--out", str(tmp_path), "--seeds", "0"]) == 2
    assert "seeds=0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def easy(tmp_path_factory) -> tuple[Path, dict]:
    """An easy sheet and its truth."""
    folder = tmp_path_factory.mktemp("easy")
    (photo,) = synthesize(folder, stress.class_of(EASY[0].grades[0], 1), progress=None, workers=1)
    return photo, json.loads((folder / "truth.json").read_text())["sheets"][0]


def test_a_wrong_person_without_a_flag_is_silent(easy):
    """The truth exchanged for two people: the same as two printed numbers read wrong."""
    photo, truth = easy
    swap = dict(zip(truth["ids"][:2], truth["ids"][1::-1], strict=True))
    cells = [cell | {"person_id": swap.get(cell["person_id"], cell["person_id"])} for cell in truth["cells"]]
    scores, sheet = stress.score_photo(photo, truth | {"cells": cells})
    flagged = sum(bool(set(cell.flags) - {"crosses_line"}) for cell in sheet.cells if cell.row < 2)
    assert not sheet.flags and scores["found"] == 16
    assert (scores["misfiled"], scores["silent"]) == (8, 8 - flagged) and scores["silent"] > 0


def test_a_lost_row_is_told_of_only_by_a_flag(easy, monkeypatch):
    photo, truth = easy
    whole = sheets.extract_sheet(photo)

    def short(flags=()):
        cells = [replace(cell, flags=()) for cell in whole.cells if cell.row < 3]
        monkeypatch.setattr(stress, "extract_sheet", lambda *_: replace(whole, cells=cells, flags=flags))
        return stress.score_photo(photo, truth)[0]

    assert [short()[key] for key in ("found", "flagged", "misfiled")] == [12, 0, 0]
    assert [short(("missing_line",))[key] for key in ("found", "flagged", "misfiled")] == [12, 4, 0]


def test_every_condition_is_a_class_that_can_be_drawn():
    names = [condition.name for condition in stress.CONDITIONS]
    assert len(set(names)) == len(names) and "clean reference" in names
    for condition in stress.CONDITIONS:
        assert condition.grades[0].required
        assert len({grade.label for grade in condition.grades}) == len(condition.grades)
        assert all(stress.class_of(grade, 2).n_sheets == 1 for grade in condition.grades)
