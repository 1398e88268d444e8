"""Sheets of every kind, drawn by code: any columns, lines, paper, headers, photographed askew. With the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
NAMES = "Anna Berg,Omar Aziz,Li Wei,Jo King,Eva Holm,Raj Patel,Mia Roth,Ali Khan,Tom Hardy,Zoe Lang,Ben Katz,Ida Moss"
WIDTHS = {"id": 62, "name": 120, "-": 110, "roll": 130}
PEN, PRINT = (25, 25, 105), (25, 25, 25)


@dataclass
class Form:
    """What to draw; the fields with defaults make a plain sheet of four signatures for each of eight people."""

    columns: str = "id sig sig sig sig"
    rows: int = 8
    ids: tuple[str, ...] = ()  # printed; counted from `first` if empty
    first: int = 1
    widths: dict = field(default_factory=dict)  # by kind of column
    height: int = 70
    tall: dict = field(default_factory=dict)  # row -> factor
    header: int = 0  # header rows; two have merged cells
    footer: bool = False
    merged: tuple[int, ...] = ()  # rows that say ABSENT in one merged cell
    absent: tuple[int, ...] = ()  # rows that say ABSENT in every cell
    blank: tuple[int, ...] = ()  # rows without an ID or signature
    unsigned: tuple[int, ...] = ()  # rows with an ID only
    remarks: dict = field(default_factory=dict)  # row -> printed word in the "-" column
    line: str = "solid"  # solid, dotted, dashed, hair, grey, level, open
    thick: int = 2
    paper: str = "plain"  # plain, squared, lined
    title: bool = False
    stamp: bool = False
    holes: bool = False
    coffee: bool = False
    desk: int = 0  # px of dark desk around the page
    blocks: int = 1  # tables side by side with IDs of their own
    joined: bool = False  # they share a line
    slips: int = 1  # pages one above the other, each turned by itself
    signature: object = None  # (person, repetition, width, height) -> uint8 ink, 255 where the pen was; None: squiggle


def squiggle(person: str, repetition: int, width: int, height: int) -> np.ndarray:
    """A person's stroke, the same but for a tremble; uint8 ``[height, width]``, 255 where the pen was."""
    own = np.random.default_rng([*person.encode(), 7])
    rng = np.random.default_rng([*person.encode(), repetition])
    t = np.linspace(0, 1, 120)
    wide, high = own.uniform(0.45, 0.8), own.uniform(0.25, 0.62)
    terms = own.uniform(1.5, 6, 3)
    phases = own.uniform(0, 6, 3)
    y = sum(np.sin(2 * np.pi * k * t + p + rng.normal(0, 0.12)) for k, p in zip(terms, phases, strict=True))
    x = t + 0.05 * np.sin(2 * np.pi * terms[0] * t * 1.7)
    y = (y - y.min()) / np.ptp(y) - 0.5
    x = (x - x.min()) / np.ptp(x) - 0.5
    slope = own.uniform(-0.25, 0.1)
    ink = np.zeros((height, width), np.uint8)
    wide = min(wide * width, 2.2 * height)
    points = np.stack([width / 2 + wide * x, height / 2 + high * height * (y + slope * x)], axis=1)
    cv2.polylines(ink, [np.rint(points * 8).astype(np.int32)], False, 255, 2, cv2.LINE_AA, shift=3)
    return ink


@dataclass
class Photo:
    """A photograph, and where each signature lies in it: person -> centres ``[n, 2]``, in pixels."""

    image: np.ndarray
    truth: dict[str, np.ndarray]

    def save(self, path: Path, quality: int = 92) -> Path:
        """Write it, as its suffix says."""
        Image.fromarray(self.image).save(path, quality=quality)
        return path


def draw(form: Form) -> Photo:
    """The page or slips, flat."""
    first, parts = form.first, []
    for k in range(form.slips):
        part, first = _page(form, first)
        if form.slips > 1:
            part = warp(part, degrees=2.5 * (-1) ** k, pad=30)
        parts.append(part)
    width = max(part.image.shape[1] for part in parts)
    images, truth, top = [], {}, 0
    for part in parts:
        image = np.full((part.image.shape[0], width, 3), DESK, np.uint8)
        image[:, : part.image.shape[1]] = part.image
        images.append(image)
        truth |= {person: points + (0, top) for person, points in part.truth.items()}
        top += len(image)
    return Photo(np.concatenate(images), truth)


DESK = (96, 82, 66)


def _page(form: Form, first: int) -> tuple[Photo, int]:
    kinds = form.columns.split()
    widths = [form.widths.get(kind, WIDTHS.get(kind, 150)) for kind in kinds]
    heights = [36] * form.header + [form.height * form.tall.get(r, 1) for r in range(form.rows)]
    heights += [form.height] * form.footer
    margin, gap = 50, 0 if form.joined else 40
    top = margin + 110 * form.title
    ys = np.cumsum([top, *heights]).astype(int)
    block = sum(widths)
    size = (2 * margin + form.blocks * block + (form.blocks - 1) * gap, int(ys[-1]) + margin)
    page = np.full((size[1], size[0], 3), 226, np.uint8)
    _rule_paper(page, form)
    truth: dict[str, list] = {}
    for b in range(form.blocks):
        xs = np.cumsum([margin + b * (block + gap), *widths]).astype(int)
        first = _fill(page, form, kinds, xs, ys, first, truth)
        _rule(page, form, xs, ys)
    if form.title:
        _text(page, "Department of Things", (margin + 40, margin - 6), 26)
        cv2.line(page, (margin, top - 34), (size[0] - margin, top - 34), PRINT, 2)
    _spoil(page, form, ys)
    if form.desk:
        page = cv2.copyMakeBorder(page, *[form.desk] * 4, cv2.BORDER_CONSTANT, value=DESK)
    shift = np.array([form.desk, form.desk])
    return Photo(page, {person: np.array(points, float) + shift for person, points in truth.items()}), first


def _fill(page, form, kinds, xs, ys, first, truth) -> int:
    people = iter(form.ids or [str(first + k) for k in range(form.rows)])
    draw_one = form.signature or squiggle
    for r in range(form.header):
        words = {"id": "No", "name": "Name", "-": "Remarks", "roll": "Roll No"}
        for c, kind in enumerate(kinds):
            if not (form.header == 2 and r == 0 and c % 2 == 0 and c > 0):
                _text(page, words.get(kind, f"Session {c}"), (xs[c] + 6, ys[r] + 10), 14)
    for r in range(form.rows):
        y0, y1 = ys[form.header + r], ys[form.header + r + 1]
        if r in form.blank:
            continue
        person, count = next(people), 0
        for c, kind in enumerate(kinds):
            x0, x1 = xs[c], xs[c + 1]
            if kind == "id":
                _text(page, person, (x0 + 8, (y0 + y1) // 2 - 9), 17)
            elif kind in ("name", "roll"):
                word = NAMES.split(",")[r % 12] if kind == "name" else f"2021{(r * 7919) % 9000 + 1000}"
                _text(page, word, (x0 + 8, (y0 + y1) // 2 - 8), 15)
            elif kind == "-":
                _text(page, form.remarks.get(r, ""), (x0 + 12, (y0 + y1) // 2 - 8), 16)
            elif r in form.absent:
                _text(page, "ABSENT", (x0 + 20, (y0 + y1) // 2 - 9), 17)
            elif r not in (*form.merged, *form.unsigned):
                ink = draw_one(person, count, x1 - x0 - 6, min(y1 - y0, int(1.3 * form.height)) - 4)
                count += 1
                part = page[y0 + 2 : y0 + 2 + ink.shape[0], x0 + 3 : x0 + 3 + ink.shape[1]]
                share = ink[..., None].astype(float) / 255 * 0.92
                part[...] = np.minimum(part, part * (1 - share) + np.array(PEN) * share).astype(np.uint8)
                truth.setdefault(person, []).append(((x0 + x1) / 2, y0 + 2 + ink.shape[0] / 2))
        if r in form.merged:
            _text(page, "ABSENT", ((xs[1] + xs[-1]) // 2 - 40, (y0 + y1) // 2 - 11), 22)
    if form.footer:
        _text(page, "Total present: 8", (xs[1] + 10, ys[-2] + 20), 17)
    return first + form.rows


def _rule(page, form: Form, xs, ys) -> None:
    level = [(y, xs[0], xs[-1]) for y in ys]
    upright = []
    for c, x in enumerate(xs):
        inner = 0 < c < len(xs) - 1
        for r in range(len(ys) - 1):
            row = r - form.header
            merged = inner and c > 1 and (row in form.merged or (row == form.rows and form.footer))
            merged |= inner and form.header == 2 and r == 0 and c % 2 == 0
            if not merged:
                upright.append((x, ys[r], ys[r + 1]))
    colour = {"grey": (150, 150, 150), "hair": (196, 196, 196)}.get(form.line, PRINT)
    for y, a, b in level:
        outer = y in (ys[0], ys[-1])
        _stroke(page, (a, y), (b, y), PRINT if form.line == "hair" and outer else colour, form)
    for x, a, b in upright:
        outer = x in (xs[0], xs[-1])
        if form.line == "level" or (form.line == "open" and outer):
            continue
        _stroke(page, (x, a), (x, b), PRINT if form.line == "hair" and outer else colour, form)


def _stroke(page, start, end, colour, form: Form) -> None:
    start, end = np.array(start, float), np.array(end, float)
    length = np.linalg.norm(end - start)
    on, off = {"dotted": (2, 3), "dashed": (9, 6)}.get(form.line, (length, 1))
    thick = 1 if form.line == "hair" else form.thick
    along = 0.0
    while along < length:
        a, b = (start + (end - start) * min(v, length) / length for v in (along, along + on))
        cv2.line(page, tuple(int(v) for v in np.rint(a)), tuple(int(v) for v in np.rint(b)), colour, thick)
        along += on + off


def _rule_paper(page, form: Form) -> None:
    h, w = page.shape[:2]
    if form.paper in ("squared", "lined"):
        for y in range(17, h, 19 if form.paper == "squared" else 31):
            cv2.line(page, (0, y), (w, y), (160, 180, 215), 1)
    if form.paper == "squared":
        for x in range(11, w, 19):
            cv2.line(page, (x, 0), (x, h), (160, 180, 215), 1)
    if form.paper == "lined":
        cv2.line(page, (90, 0), (90, h), (225, 140, 140), 1)


def _spoil(page, form: Form, ys) -> None:
    h, w = page.shape[:2]
    if form.stamp:
        centre = (int(0.55 * w), int(ys[len(ys) // 2]))
        cv2.circle(page, centre, 60, (120, 105, 205), 3, cv2.LINE_AA)
        cv2.circle(page, centre, 44, (120, 105, 205), 2, cv2.LINE_AA)
    if form.coffee:
        ring = np.zeros((h, w), np.float32)
        cv2.circle(ring, (int(0.6 * w), int(0.6 * h)), 90, 1.0, 7, cv2.LINE_AA)
        stain = 1 - cv2.GaussianBlur(ring, (0, 0), 2)[..., None] * np.array([0.12, 0.22, 0.34])
        page[...] = (page * stain).astype(np.uint8)
    if form.holes:
        for y in (h // 4, 3 * h // 4):
            cv2.circle(page, (20, y), 11, (30, 25, 25), -1)


def _text(page, text: str, corner, size: int) -> None:
    if text:
        image = Image.fromarray(page)
        font = ImageFont.truetype(str(FONT), size)
        ImageDraw.Draw(image).text((int(corner[0]), int(corner[1])), text, fill=PRINT, font=font)
        page[...] = np.asarray(image)


def warp(photo: Photo, degrees: float = 0.0, corner: float = 0.0, pad: int = 0, seed: int = 1) -> Photo:
    """Photograph it: turned, corners moved by a share of the width, light falling off, noise."""
    rng = np.random.default_rng(seed)
    h, w = photo.image.shape[:2]
    pad = pad + int(h * abs(np.sin(np.deg2rad(degrees))) * 0.55 + corner * w)
    turn = np.vstack([cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0), (0, 0, 1)])
    turn[:2, 2] += pad
    box = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    moved = (box + rng.uniform(-corner, corner, (4, 2)) * w).astype(np.float32)
    matrix = turn @ cv2.getPerspectiveTransform(box, moved)
    size = (w + 2 * pad, h + 2 * pad)
    image = cv2.warpPerspective(photo.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=DESK).astype(float)
    image *= np.linspace(1.0, 0.78, size[0])[None, :, None]
    image += rng.normal(0, 2, image.shape[:2])[..., None]
    truth = {p: cv2.perspectiveTransform(c.reshape(-1, 1, 2), matrix).reshape(-1, 2) for p, c in photo.truth.items()}
    return Photo(np.clip(image, 0, 255).astype(np.uint8), truth)


def quarter(photo: Photo, times: int) -> Photo:
    """The photograph after counter-clockwise quarter turns."""
    image, truth = photo.image, dict(photo.truth)
    for _ in range(times):
        w = image.shape[1]
        truth = {p: np.stack([c[:, 1], w - 1 - c[:, 0]], axis=-1) for p, c in truth.items()}
        image = np.ascontiguousarray(np.rot90(image))
    return Photo(image, truth)


def scaled(photo: Photo, factor: float) -> Photo:
    """A smaller or larger photograph."""
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    image = cv2.resize(photo.image, None, fx=factor, fy=factor, interpolation=how)
    return Photo(image, {p: (c + 0.5) * factor - 0.5 for p, c in photo.truth.items()})


def compare(photo: Photo, sheets, not_filed: set[str]) -> dict:
    """What was filed against the truth.

    Returns
    -------
    dict
        ``right``; ``misfiled``: under another person, or no signature at all; ``unread``: filed under no ID, flagged;
        ``lost``: true signatures that were not filed; ``doubts``: cells with a flag that says so.
    """
    centres = [(person, k, c) for person, own in photo.truth.items() for k, c in enumerate(own)]
    places = np.array([c for *_, c in centres]).reshape(-1, 2)
    taken: dict[tuple[str, int], str] = {}
    counts = dict(right=0, misfiled=0, unread=0, lost=0, doubts=0)
    for sheet in sheets:
        for cell in sheet.cells:
            doubted = bool(set(cell.flags) & (not_filed - {"empty"})) or any(f.startswith("id_") for f in cell.flags)
            counts["doubts"] += doubted
            if set(cell.flags) & not_filed:
                continue
            quad = cell.quad.astype(np.float32)
            inside = [k for k, p in enumerate(places) if cv2.pointPolygonTest(quad, p.tolist(), False) >= 0]
            if len(inside) != 1 or centres[inside[0]][:2] in taken:
                counts["misfiled"] += 1
                continue
            person = centres[inside[0]][0]
            taken[centres[inside[0]][:2]] = person
            if "id_unread" in cell.flags:
                counts["unread"] += 1
            else:
                counts["right" if cell.person_id == person else "misfiled"] += 1
    counts["lost"] = len(centres) - len(taken)
    return counts
