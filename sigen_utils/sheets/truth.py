"""How well an extraction did, where the truth is known: synthetic sheets carry it in ``truth.json`` and ``masks/``."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np

from ..paths import display
from .config import ExtractionConfig, SheetError
from .sheet import Sheet, extract_sheet

FOUND = 0.8  # intersection over union from which on a cell counts as found


def overlaps(quads: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far quadrilaterals cover each other.

    Parameters
    ----------
    quads, others
        float ``[n, 4, 2]`` and ``[m, 4, 2]``, convex, corners in order.

    Returns
    -------
    tuple
        intersection over union ``[n, m]``, and the share of each quad that lies in each other one ``[n, m]``.
    """
    quads = np.asarray(quads, np.float32).reshape(-1, 4, 2)
    others = np.asarray(others, np.float32).reshape(-1, 4, 2)
    area = [abs(cv2.contourArea(q)) for q in quads]
    other_area = [abs(cv2.contourArea(q)) for q in others]
    common = np.zeros((len(quads), len(others)))
    for i, a in enumerate(quads):
        for j, b in enumerate(others):
            if (a.max(0) > b.min(0)).all() and (b.max(0) > a.min(0)).all():  # most pairs lie far apart
                common[i, j] = cv2.intersectConvexConvex(a, b)[0]
    union = np.add.outer(area, other_area) - common
    return common / np.maximum(union, 1e-9), common / np.maximum(area, 1e-9)[:, None]


def score_cells(quads, people, true_quads, true_people) -> dict:
    """Cells found and signatures filed under a wrong person, for any way of finding cells.

    Parameters
    ----------
    quads, people
        What was found: float ``[n, 4, 2]`` and the person each cell was given to (None: nothing was filed).
    true_quads, true_people
        The truth, or whatever is trusted instead of it.

    Returns
    -------
    dict
        ``cells`` in the truth, ``found`` at an intersection over union of at least 0.8, ``iou`` the best of each true
        cell ``[m]``, ``misfiled``: filed cells that lie mostly on another person's cell, or on none.
    """
    if not len(quads):
        return {"cells": len(true_quads), "found": 0, "iou": np.zeros(len(true_quads)), "misfiled": 0}
    iou, inside = overlaps(quads, true_quads)
    best = iou.max(axis=0)
    owner = [true_people[j] if inside[i, j] > 0 else None for i, j in enumerate(inside.argmax(axis=1))]
    wrong = sum(person is not None and person != owner[i] for i, person in enumerate(people))
    return {"cells": len(true_quads), "found": int((best >= FOUND).sum()), "iou": best, "misfiled": wrong}


def score_ink(sheet: Sheet, truth: dict, labels: np.ndarray, slack: int = 1) -> np.ndarray:
    """Pixels of ink right and in all, in the photograph.

    Parameters
    ----------
    sheet
        What `extract_sheet` found.
    truth
        The sheet's entry of ``truth.json``.
    labels
        Its mask, ``[H, W]``: a cell's ``mask_value`` where that signature has ink.
    slack
        Pixels that an edge may be off: where paper ends and ink begins is a matter of threshold.

    Returns
    -------
    numpy.ndarray
        int ``[4]``: true ink that was found, true ink, found ink that is true, found ink. Every cell is compared
        with the ink of the true cell that it overlaps most, so ink given to a neighbour counts as wrong.
    """
    _, inside = overlaps([cell.quad for cell in sheet.cells], [cell["quad"] for cell in truth["cells"]])
    found = np.zeros(labels.shape, np.int16)  # 1 + the true cell that the ink's own cell overlaps most
    size = np.array(labels.shape[::-1])
    for cell, belongs in zip(sheet.cells, inside.argmax(axis=1), strict=True):
        if not cell.mask.any():
            continue
        h, w = cell.mask.shape
        corners = np.array(cell.origin) + np.array([(0, 0), (w, 0), (w, h), (0, h)])
        placed = sheet.frame.to_photo(corners)
        low = np.clip(np.floor(placed.min(axis=0)) - 4, 0, size).astype(int)
        high = np.clip(np.ceil(placed.max(axis=0)) + 4, 0, size).astype(int)
        ink = sheet.ink_in(cell, (*low.tolist(), *high.tolist()))
        found[low[1] : high[1], low[0] : high[0]][ink > 0] = 1 + belongs
    near = np.ones((2 * slack + 1, 2 * slack + 1), np.uint8)
    counts = np.zeros(4, np.int64)
    for j, cell in enumerate(truth["cells"]):
        counts += _agreement(labels == cell["mask_value"], found == 1 + j, near)
    return counts


def _agreement(true: np.ndarray, ink: np.ndarray, near: np.ndarray) -> list[int]:
    """The four counts of `score_ink` for one signature, looked at where there is any ink."""
    both = true | ink
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    true, ink = true[part].astype(np.uint8), ink[part].astype(np.uint8)
    found, sound = true & cv2.dilate(ink, near), ink & cv2.dilate(true, near)
    return [int(found.sum()), int(true.sum()), int(sound.sum()), int(ink.sum())]


def score_against_truth(
    sheets_dir: str | os.PathLike, out_dir: str | os.PathLike, config: ExtractionConfig | None = None
) -> dict | None:
    """Score an extraction of synthetic sheets.

    Parameters
    ----------
    sheets_dir
        The sheets, with ``truth.json`` and ``masks/``.
    out_dir
        What `extract` made of them: cells and people are taken from its ``manifest.csv``.
    config
        Settings of the extraction; ink is read once more, because the manifest does not hold it.

    Returns
    -------
    dict or None
        ``cells``, ``found`` (intersection over union of at least 0.8), ``min_iou``, ``ids_right`` (rows whose person
        is right), ``misfiled`` (signatures filed under another person), ``ink_recall`` and ``ink_precision`` (with
        one pixel of slack; None where no sheet could be read). None where there is no truth.

    Raises
    ------
    SheetError
        For a truth without its masks, or an `out_dir` without a manifest.
    """
    sheets_dir, manifest = Path(sheets_dir), Path(out_dir) / "manifest.csv"
    if not (sheets_dir / "truth.json").is_file():
        return None
    if not manifest.is_file():
        raise SheetError(f"{display(manifest)}: no such file; extract the sheets first")
    sheets = json.loads((sheets_dir / "truth.json").read_text(encoding="utf-8"))["sheets"]
    with open(manifest, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    ious, ids_right, misfiled, ink = [], 0, 0, np.zeros(4, np.int64)
    for truth in sheets:
        own = [row for row in rows if row["sheet"] == truth["file"]]
        quads = [[(float(row[f"x{k}"]), float(row[f"y{k}"])) for k in range(4)] for row in own]
        quads = np.clip(np.array(quads).reshape(-1, 4, 2), 0, np.array(truth["size"]) - 1.0)  # as the truth is
        true_quads, true_people = ([cell[key] for cell in truth["cells"]] for key in ("quad", "person_id"))
        people = [row["person_id"] if row["file"] else None for row in own]
        scores = score_cells(quads, people, true_quads, true_people)
        ious += scores["iou"].tolist()
        misfiled += scores["misfiled"]
        ids_right += len({int(row["row"]) for row in own if _named_right(row, truth["ids"])})
        if own:
            labels = _read_labels(sheets_dir / truth["cells"][0]["mask_file"])
            ink += score_ink(extract_sheet(sheets_dir / truth["file"], config), truth, labels)
    return {
        "cells": len(ious), "found": int(np.sum(np.array(ious) >= FOUND)), "min_iou": float(min(ious)),
        "ids_right": ids_right, "misfiled": int(misfiled),
        "ink_recall": float(ink[0] / ink[1]) if ink[1] else None,
        "ink_precision": float(ink[2] / ink[3]) if ink[3] else None,
    }  # fmt: skip


def _named_right(row: dict, ids: list[str]) -> bool:
    return int(row["row"]) < len(ids) and row["person_id"] == ids[int(row["row"])]


def _read_labels(path: Path) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if labels is None:
        raise SheetError(f"{path.parent.name}/{path.name}: missing or unreadable; synthesise the sheets again")
    return labels
