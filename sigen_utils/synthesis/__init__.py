"""A synthetic class: invented people who sign sheets that a phone photographs, with the truth about every pixel.

>>> from sigen_utils.synthesis import SynthesisConfig, synthesize
>>> synthesize("data/sheets", SynthesisConfig(people=24))        # doctest: +SKIP

Read the modules in this order: `config`, `letters` and `writers` (who signs what), `kinematics` (how the pen moves),
`ink` (what it leaves), `sheet` (the ruled page), `photo`; `crowd` draws any number of writers without sheets.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ..paths import atomic_write, display
from ..processes import can_spawn
from . import ink
from .config import SynthesisConfig
from .corpus import Corpus
from .crowd import CrowdConfig, draw_crowd, write_crowd
from .photo import make_view, take_photo
from .sheet import draw_page, signature_strokes, stored_ink
from .writers import Writer, make_writer

_MEANING = (
    "points[r][c] = (x, y) of the crossing of row line r and column line c; quad = TL TR BR BL; "
    "mask pixels == mask_value are the cell's ink"
)

__all__ = [
    "Corpus",
    "CrowdConfig",
    "SynthesisConfig",
    "Writer",
    "clean_signatures",
    "draw_crowd",
    "make_writer",
    "render_sheet",
    "synthesize",
    "write_crowd",
]


def _encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    if not done:
        raise OSError(
            f"OpenCV could not encode a picture of {image.shape} as {suffix}; is its {suffix} support built in?"
        )
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _turned(points: np.ndarray, size: tuple[int, int], turn: int) -> np.ndarray:
    """Pixel positions after `turn` counter-clockwise quarter turns of a picture of size (width, height)."""
    width, height = size
    for _ in range(turn):
        points = np.stack([points[..., 1], width - 1 - points[..., 0]], axis=-1)
        width, height = height, width
    return points


def render_sheet(config: SynthesisConfig, sheet: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """One sheet of the class in memory.

    Returns
    -------
    photo, label, truth
        uint8 [H, W, 3] blue green red, before JPEG; uint8 or uint16 [H, W] signature labels; and the sheet's
        entry of truth.json.
    """
    rng = config.stream("sheet", sheet)
    page = draw_page(config, sheet, rng)
    view = make_view(config, page, rng)
    photo, label = take_photo(config, page, view, rng)
    grid = np.stack(np.meshgrid(page.columns, page.rows), axis=-1)
    points = view.to_photo(grid.reshape(-1, 2)).reshape(grid.shape)
    points = np.clip(points, 0, np.array(view.size) - 1.0)  # an outer line beyond the edge: the picture ends there
    points = _turned(points, view.size, config.turn).round(2)
    photo, label = (np.ascontiguousarray(np.rot90(layer, config.turn)) for layer in (photo, label))
    label = label.astype(np.uint8) if label.max() < 256 else label
    name = f"sheet_{sheet + 1:02d}"
    cells = []
    for row, person in enumerate(page.ids):
        for col in range(1, config.per_person + 1):
            quad = [points[row, col], points[row, col + 1], points[row + 1, col + 1], points[row + 1, col]]
            cell = {"row": row, "col": col, "person_id": str(person), "quad": [q.tolist() for q in quad]}
            cells.append(cell | {"mask_file": f"masks/{name}.png", "mask_value": row * config.per_person + col})
    truth = {"file": f"{name}.jpg", "size": [photo.shape[1], photo.shape[0]], "ids": [str(p) for p in page.ids]}
    return photo, label, truth | {"turn": config.turn, "points": points.tolist(), "cells": cells}


def _make_sheet(config: SynthesisConfig, out_dir: str, sheet: int) -> dict:
    cv2.setNumThreads(1)  # one process a core is faster than threads that wait for each other
    photo, label, truth = render_sheet(config, sheet)
    folder = Path(out_dir)
    _write(folder / truth["cells"][0]["mask_file"], _encode(".png", label, cv2.IMWRITE_PNG_COMPRESSION, 9))
    picture = _encode(".jpg", photo, cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality)
    _write(folder / truth["file"], picture)
    return truth | {"sha256": hashlib.sha256(picture).hexdigest()}


def _make_sheets(config: SynthesisConfig, out_dir: Path, workers: int) -> Iterator[dict]:
    """Truth of one sheet after the other, each written before it is yielded."""
    n = config.n_sheets
    jobs = ([config] * n, [str(out_dir)] * n, range(n))
    if workers > 1 and can_spawn():
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(_make_sheet, *jobs)
        return
    threads = cv2.getNumThreads()
    try:
        yield from map(_make_sheet, *jobs)
    finally:
        cv2.setNumThreads(threads)


def synthesize(
    out_dir: str | os.PathLike,
    config: SynthesisConfig | None = None,
    progress: Callable[[str], None] | None = print,
    workers: int | None = None,
) -> list[Path]:
    """Make the sheets of a synthetic class.

    Writes ``sheet_01.jpg`` ... , ``masks/sheet_01.png`` ... and, last, ``truth.json``, each by `atomic_write`.
    The same configuration gives the same files, whatever the number of workers.

    Parameters
    ----------
    out_dir
        Folder to write into; files of the same name are replaced.
    config
        The class and its camera; the default is a class of 184.
    progress
        Called with a line a sheet; None for silence.
    workers
        Processes; default one a core. In a script without ``if __name__ == "__main__":`` one, with a warning.

    Returns
    -------
    list of Path
        The photographs, in order.

    Notes
    -----
    truth.json is ``{"format", "config", "sheets": [...]}``, a sheet ``{"file", "sha256", "size": [w, h], "ids",
    "turn", "points", "cells"}``: ``points[r][c]`` is the crossing (x, y) of row line r and column line c in photo
    pixels, rows and columns as on the upright page. A cell has ``row`` (from 0), ``col`` (1 ... per_person),
    ``person_id``, ``quad`` (TL, TR, BR, BL of the upright page), ``mask_file`` and ``mask_value``: the pixels
    of the mask that have this value are this signature's ink, wherever they lie, without printed lines and
    neighbours.
    """
    config = SynthesisConfig() if config is None else config
    out_dir = Path(out_dir)
    n = config.n_sheets
    workers = min(os.cpu_count() or 1 if workers is None else max(1, workers), n)
    say = progress or (lambda line: None)
    plural = "s" if workers > 1 else ""
    say(f"synthesising {config.people} people on {n} sheets into {display(out_dir)} ({workers} worker{plural})")
    sheets = []
    for truth in _make_sheets(config, out_dir, workers):
        sheets.append(truth)
        say(f"  {truth['file']}: {len(truth['ids'])} people")
    truth = {"format": _MEANING, "config": asdict(config), "sheets": sheets}
    _write(out_dir / "truth.json", json.dumps(truth, separators=(",", ":")).encode())
    return [out_dir / s["file"] for s in sheets]


def clean_signatures(config: SynthesisConfig, persons=None) -> tuple[np.ndarray, np.ndarray]:
    """Signatures without a sheet, as a faultless extraction would deliver them: as many writers as one asks for.

    Parameters
    ----------
    config
        Gives the seed, the signatures a person, and the first ID.
    persons
        IDs; default those of the class.

    Returns
    -------
    images, labels
        uint8 [N, 128, 128], 255 = ink, 0 = paper, and int64 [N], the person IDs.
    """
    persons = range(config.first_id, config.first_id + config.people) if persons is None else persons
    images, labels = [], []
    for person in persons:
        writer = make_writer(config, person)
        for repetition in range(1, config.per_person + 1):
            coverage, _ = ink.deposit(signature_strokes(config, writer, repetition), 4.0)
            images.append(stored_ink(1.6 * coverage > 0.4, 4.0))
            labels.append(person)
    return np.array(images, np.uint8).reshape(-1, 128, 128), np.array(labels, np.int64)
