"""The score of an extraction against the truth: full marks for the truth itself, and every kind of fault counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sigen_utils.sheets import SheetError, extract
from sigen_utils.sheets.truth import FOUND, overlaps, score_against_truth, score_cells
from sigen_utils.synthesis import SynthesisConfig, synthesize


def square(x: float, y: float, side: float = 10.0) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]])


QUADS = np.array([square(x, y) for y in (0, 10, 20) for x in (0, 10)])
PEOPLE = ["1", "1", "2", "2", "3", "3"]


def test_overlap_of_squares():
    iou, share = overlaps([square(0, 0)], [square(0, 0), square(5, 0), square(20, 0), square(0, 0, 20)])
    assert iou[0] == pytest.approx([1, 1 / 3, 0, 1 / 4], abs=1e-5)
    assert share[0] == pytest.approx([1, 1 / 2, 0, 1], abs=1e-5)


def test_corners_may_begin_anywhere_and_turn_either_way():
    for turned in (np.roll(square(3, 4), 2, axis=0), square(3, 4)[::-1]):
        assert overlaps([turned], [square(3, 4)])[0][0, 0] == pytest.approx(1, abs=1e-5)


def test_the_truth_has_full_marks():
    scores = score_cells(QUADS, PEOPLE, QUADS, PEOPLE)
    assert (scores["cells"], scores["found"], scores["misfiled"]) == (6, 6, 0)
    assert scores["iou"].min() == pytest.approx(1, abs=1e-5)


def test_a_missing_cell_is_not_found_and_misfiles_nobody():
    scores = score_cells(QUADS[1:], PEOPLE[1:], QUADS, PEOPLE)
    assert (scores["found"], scores["misfiled"]) == (5, 0) and scores["iou"].min() == 0


def test_one_missing_cell_shifts_every_later_group():
    counted = [str(1 + k // 2) for k in range(5)]  # groups of two, counted off without the first cell
    assert score_cells(QUADS[1:], counted, QUADS, PEOPLE)["misfiled"] == 2


def test_half_a_cell_is_neither_found_nor_misfiled():
    halves = QUADS.copy()
    halves[:, 1:3, 0] -= 5
    scores = score_cells(halves, PEOPLE, QUADS, PEOPLE)
    assert (scores["found"], scores["misfiled"]) == (0, 0) and (scores["iou"] < FOUND).all()


def test_a_cell_on_nothing_is_misfiled_unless_it_was_not_filed():
    beyond = np.concatenate([QUADS, [square(100, 100)]])
    assert score_cells(beyond, [*PEOPLE, "3"], QUADS, PEOPLE)["misfiled"] == 1
    assert score_cells(beyond, [*PEOPLE, None], QUADS, PEOPLE)["misfiled"] == 0


def test_nothing_found_at_all():
    assert score_cells([], [], QUADS, PEOPLE)["found"] == 0


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> tuple[Path, Path]:
    """A small class, photographed kindly, and its extraction."""
    root = tmp_path_factory.mktemp("class")
    kind = dict(tight_share=0.0, rotation=0.0, perspective=0.0, curl=0.0, shadow=0.0, bleed=0.0)
    synthesize(root / "sheets", SynthesisConfig(people=6, first_id=41, **kind), progress=None, workers=1)
    extract(root / "sheets", root / "out", progress=None)
    return root / "sheets", root / "out"


def changed(extracted, tmp_path: Path, change) -> dict:
    """The score when every manifest row has gone through `change`; None drops it."""
    with open(extracted[1] / "manifest.csv", newline="", encoding="utf-8") as handle:
        rows = [row for row in map(change, csv.DictReader(handle)) if row]
    with open(tmp_path / "manifest.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return score_against_truth(extracted[0], tmp_path)


def test_an_easy_class_scores_well(extracted):
    scores = score_against_truth(*extracted)
    assert scores["cells"] == scores["found"] == 24 and scores["min_iou"] > 0.9
    assert scores["ids_right"] == 6 and scores["misfiled"] == 0
    assert scores["ink_recall"] > 0.95 and scores["ink_precision"] > 0.9


def test_faults_in_the_manifest_are_counted(extracted, tmp_path):
    swap = {"41": "42", "42": "41"}
    scores = changed(extracted, tmp_path, lambda row: row | {"person_id": swap.get(k := row["person_id"], k)})
    assert scores["ids_right"] == 4 and scores["misfiled"] == 8 and scores["found"] == 24
    scores = changed(extracted, tmp_path, lambda row: row if row["row"] != "0" else None)
    assert scores["found"] == 20 and scores["min_iou"] < 0.01 and scores["ids_right"] == 5 and scores["misfiled"] == 0


def test_ink_under_another_signature_is_wrong(extracted, tmp_path):
    """Two masks exchanged: their ink is now in the wrong cells."""
    truth = json.loads((extracted[0] / "truth.json").read_text())
    cells = truth["sheets"][0]["cells"]
    cells[0]["mask_value"], cells[1]["mask_value"] = cells[1]["mask_value"], cells[0]["mask_value"]
    for path in extracted[0].rglob("*.*"):
        target = tmp_path / path.relative_to(extracted[0])
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    before, after = score_against_truth(*extracted), score_against_truth(tmp_path, extracted[1])
    assert after["ink_recall"] < before["ink_recall"] - 0.1 and after["ink_precision"] < before["ink_precision"] - 0.1


def test_without_truth_there_is_no_score(extracted, tmp_path):
    assert score_against_truth(tmp_path, extracted[1]) is None


def test_missing_parts_are_named(extracted, tmp_path):
    with pytest.raises(SheetError, match="extract the sheets first"):
        score_against_truth(extracted[0], tmp_path)
    (tmp_path / "truth.json").write_text((extracted[0] / "truth.json").read_text())
    with pytest.raises(SheetError, match="masks"):
        score_against_truth(tmp_path, extracted[1])
