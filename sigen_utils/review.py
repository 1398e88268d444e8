"""A page in the notebook that asks about everything in doubt after an extraction, and writes ``corrections.csv``."""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path

import cv2
import ipywidgets
import numpy as np
from PIL import Image

from .paths import atomic_write, display
from .sheets import SheetError, read_photo
from .sheets.corrections import CORRECTIONS, FIELDS, SUGGESTED, read_corrections

HEIGHT = 72  # px of a shown row
LATER, ACCEPT, SKIP = "later", "accept", "skip"


def _crop(photo: np.ndarray, quads: np.ndarray, of_row: bool) -> bytes:
    """A row of the photograph (with what stands left of it) or one cell, upright, as PNG."""
    left, right = quads[0], quads[-1]
    corners = np.float32([left[0], right[1], right[2], left[3]])
    if of_row:
        corners[[0, 3]] -= 0.7 * (left[[1, 2]] - left[[0, 3]])
    wide, high = (float(np.linalg.norm(corners[k] - corners[0])) for k in (1, 3))
    size = (int(np.clip(HEIGHT * wide / max(high, 1), HEIGHT, 12 * HEIGHT)), HEIGHT)
    target = np.float32([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]])
    out = io.BytesIO()
    image = cv2.warpPerspective(photo, cv2.getPerspectiveTransform(corners, target), size, flags=cv2.INTER_AREA)
    Image.fromarray(image).save(out, format="PNG")
    return out.getvalue()


def _quads(rows: dict[int, list], row: int) -> np.ndarray:
    """Corners of a row's cells, float32 ``[cells, 4, 2]``; of a row set aside as those of the nearest row lie."""
    if not rows:
        return np.zeros((0, 4, 2), np.float32)
    nearest = min(rows, key=lambda other: abs(other - row))
    quads = np.float32(rows[nearest])
    down = quads[:, [3, 2]] - quads[:, [0, 1]]
    return quads + (row - nearest) * down[:, [0, 1, 1, 0]]


class Review:
    """Every doubt with its picture, a guess to write over, and a choice: accept the ID as it stands, skip, or later.

    Parameters
    ----------
    sheets_dir, out_dir
        The photographs, and what `sheets.extract` made of them.

    Attributes
    ----------
    lines
        (doubt, choice, text) of each: its fields in ``corrections.suggested.csv`` and the two controls.
    widget
        The page; the review also shows itself as a cell's last value.
    """

    def __init__(self, sheets_dir: str | Path, out_dir: str | Path):
        self.folder, self.lines, shown = Path(sheets_dir), [], []
        rows: dict[str, dict[int, list]] = {}  # sheet -> row -> corners of its cells
        for cell in _rows(Path(out_dir) / "manifest.csv"):
            corners = [(float(cell[f"x{k}"]), float(cell[f"y{k}"])) for k in range(4)]
            rows.setdefault(cell["sheet"], {}).setdefault(int(cell["row"]), []).append(corners)
        doubts = _rows(Path(out_dir) / SUGGESTED)
        self.known = [doubt for doubt in doubts if doubt["note"] == "by hand"]
        photos: dict[str, np.ndarray] = {}
        for doubt in (doubt for doubt in doubts if doubt["note"] != "by hand"):
            file, of_row = doubt["sheet"].partition("#")[0], doubt["col"] == "0"
            choice = ipywidgets.ToggleButtons(options=[LATER, ACCEPT, SKIP], style={"button_width": "70px"})
            text = ipywidgets.Text(doubt["id"] if doubt["id"] != SKIP else "", placeholder="ID")
            self.lines.append((doubt, choice, text))
            where = f"{doubt['sheet']}, row {doubt['row']}" + f", column {doubt['col']}" * (not of_row)
            quads, picture = _quads(rows.get(doubt["sheet"], {}), int(doubt["row"])), []
            quads = quads if of_row else quads[int(doubt["col"]) - 1 : int(doubt["col"])]
            if len(quads) and Path(file).suffix.lower() not in (".pdf", ".tif", ".tiff"):  # may have several pages
                if file not in photos:
                    photos = {file: read_photo(self.folder / file)}
                picture = [ipywidgets.Image(value=_crop(photos[file], quads, of_row), format="png")]
            words = ipywidgets.HTML(f"<b>{html.escape(where)}</b>: {html.escape(doubt['note'])}")
            shown.append(ipywidgets.VBox([words, *picture, ipywidgets.HBox([text, choice])]))
        button = ipywidgets.Button(description=f"Write {CORRECTIONS}")
        self.said = ipywidgets.HTML("" if self.lines else "Nothing is in doubt.")
        button.on_click(lambda _: self.write())
        self.widget = ipywidgets.VBox([*shown, button, self.said])

    def write(self) -> Path:
        """Write what was decided, and what was written by hand before, beside the photographs."""
        rows = [[line[field] for field in FIELDS] for line in self.known]
        for doubt, choice, text in self.lines:
            word = {ACCEPT: text.value.strip(), SKIP: SKIP}.get(choice.value, "")
            rows += [[doubt["sheet"], doubt["row"], doubt["col"], word]] * bool(word)
        path = self.folder / CORRECTIONS
        with atomic_write(path) as temporary:
            with open(temporary, "w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows([FIELDS, *rows])
            try:
                read_corrections(temporary)  # refused before it takes the place of an earlier file
            except SheetError as error:
                self.said.value = html.escape(str(error))
                raise
        self.said.value = html.escape(f"{len(rows)} lines -> {display(path)}; run the extraction again")
        return path

    def _ipython_display_(self) -> None:
        from IPython.display import display as show  # present wherever ipywidgets is

        show(self.widget)


def _rows(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
