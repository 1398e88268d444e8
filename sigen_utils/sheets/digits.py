"""Printed numbers, read by nearest neighbour among digits rendered from fonts that come with Python packages."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..images.parts import parts_of

LETTERS = "ABCDEFGHKLMNPQRTUVWXYabdeghkmnpquwxy/#&"  # signs that no digit looks like
LETTER = 10  # what they all count as
MOST_DIGITS = 14
PATCH = (16, 24)  # px, width and height of a normalised digit
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif.ttf",
    "STIXGeneralBol.ttf",
)


@dataclass(frozen=True)
class Reading:
    """What a number may be.

    Attributes
    ----------
    text
        The digits read; empty if there are none.
    distances
        float ``[digits, 10]``, how far each printed digit is from each known one (0 same .. about 2).
    left
        Where the first digit begins, px of the picture it was read in.
    at_edge
        Whether the photograph ends so close before the first digit that another one may be missing.
    foreign
        Whether the cell holds letters, dashes or more than one line: no number, and `text` is empty.
    fit
        Mean distance of the signs to the nearest known digit or letter; infinite where there are none.
    """

    text: str
    distances: np.ndarray
    left: float = 0.0
    at_edge: bool = False
    foreign: bool = False
    fit: float = float("inf")

    @property
    def worst(self) -> float:
        """Distance of the least certain digit; infinite if nothing was read."""
        return float(self.distances.min(axis=1).max()) if self.text else float("inf")

    def cost_of(self, text: str) -> float:
        """By how much the worst digit of `text` is further away than what was read; infinite for another length."""
        if len(text) != len(self.text) or not text:
            return float("inf")
        chosen = self.distances[np.arange(len(text)), [int(d) for d in text]]
        return float((chosen - self.distances.min(axis=1)).max())


@functools.lru_cache(maxsize=1)
def templates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known signs: unit vectors float32 ``[n, 384]``, log aspect ratios ``[n]``, digits or `LETTER` ``[n]``."""
    vectors, aspects, digits = [], [], []
    for sign in "0123456789" + LETTERS:
        digit = int(sign) if sign.isdigit() else LETTER
        drawings = list(_drawings(sign))
        for drawing in drawings if digit < LETTER else drawings[::3]:  # of letters it is enough to know that they are
            for shape in _variants(drawing, upright=digit == LETTER):
                box = _tight(shape > 0.5)
                if box is None:
                    continue
                vectors.append(_patch(shape, box))
                aspects.append(np.log((box[2] - box[0]) / (box[3] - box[1])))
                digits.append(digit)
    return np.array(vectors, np.float32), np.array(aspects), np.array(digits)


def _font_folder() -> Path:
    """Where matplotlib keeps its fonts; only the files are wanted, and importing it takes longer than a sheet."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else Path()
    if found and folder.is_dir():
        return folder
    import matplotlib  # some distributions keep its data elsewhere, and it knows where

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _drawings(sign: str):
    """One sign in every font at hand, float32 with ink = 1, drawn large."""
    folder = _font_folder()
    fonts = [ImageFont.truetype(str(folder / name), 72) for name in FONTS if (folder / name).exists()]
    default = ImageFont.load_default(size=72)
    for font in [*fonts, default]:
        image = Image.new("L", (120, 120), 0)
        ImageDraw.Draw(image).text((36, 16), sign, fill=255, font=font)
        yield np.asarray(image, np.float32) / 255
    for font, thick in ((cv2.FONT_HERSHEY_SIMPLEX, 5), (cv2.FONT_HERSHEY_SIMPLEX, 9), (cv2.FONT_HERSHEY_DUPLEX, 6)):
        canvas = np.zeros((120, 120), np.uint8)
        cv2.putText(canvas, sign, (36, 88), font, 2.4, 255, thick, cv2.LINE_AA)
        yield canvas.astype(np.float32) / 255


def _variants(image: np.ndarray, upright: bool):
    """The drawing, bolder, and leaning a little to either side unless it is to stay `upright`."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for shape in (image, cv2.dilate(image, kernel)):
        for lean in (0.0,) if upright else (-0.07, 0.0, 0.07):
            shear = np.float32([[1, lean, -lean * 60], [0, 1, 0]])
            yield cv2.warpAffine(shape, shear, (120, 120), flags=cv2.INTER_LINEAR)


def _tight(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """Bounding box (x0, y0, x1, y1) of True pixels."""
    ys, xs = np.nonzero(ink.any(axis=1))[0], np.nonzero(ink.any(axis=0))[0]
    return (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1) if len(xs) else None


def _patch(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The box as a zero-mean unit vector of a slightly blurred patch."""
    x0, y0, x1, y1 = box
    patch = cv2.resize(image[y0:y1, x0:x1], PATCH, interpolation=cv2.INTER_AREA)
    patch = cv2.GaussianBlur(patch, (0, 0), 1.0)
    patch = patch - patch.mean()
    return (patch / max(float(np.linalg.norm(patch)), 1e-6)).ravel()


def classify(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Distance of one printed sign to each of the ten digits, and to the nearest letter; float ``[11]``.

    1 - correlation with the nearest rendering, plus a share of how much wider or narrower it is.
    """
    vectors, aspects, digits = templates()
    aspect = np.log((box[2] - box[0]) / (box[3] - box[1]))
    distance = 1 - vectors @ _patch(image, box) + 0.25 * np.maximum(np.abs(aspects - aspect) - 0.12, 0)
    return np.array([distance[digits == d].min() for d in range(11)])


def read_number(dark: np.ndarray) -> Reading:
    """Read the number printed in a cell.

    Parameters
    ----------
    dark
        float32 ``[h, w]``, upright, 0 paper .. 1 ink; without the cell's printed lines, at least about 100 px high.
    """
    nothing = Reading("", np.zeros((0, 10)))
    dark = np.clip(dark, 0, 1)  # cubic enlargement rings
    level = _threshold(dark)
    if level is None:
        return nothing
    boxes, foreign = _text_line((dark > level).astype(np.uint8))
    soft = np.clip(0.5 + (dark - level) / max(level, 0.05), 0, 1).astype(np.float32)
    rows = []
    for box in boxes:
        rows += _digits_in(soft, box)
    if not rows:
        return nothing
    distances = np.array(rows)
    fit = float(distances.min(axis=1).mean())
    digits, letters = distances[:, :LETTER], distances[:, LETTER]
    if foreign or len(rows) > MOST_DIGITS or (digits.min(axis=1) - letters > 0.07).any():
        return Reading("", np.zeros((0, 10)), foreign=True, fit=fit)
    return Reading("".join(str(d) for d in digits.argmin(axis=1)), digits, float(boxes[0][0]), fit=fit)


def _threshold(dark: np.ndarray) -> float | None:
    """Otsu's threshold, or None where nothing in the cell stands out."""
    level, _ = cv2.threshold((dark * 255).astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ink = dark > level / 255
    if not 0.002 < ink.mean() < 0.5:
        return None
    # Faded print may be faint, as long as it stands well above the grain of the paper.
    rise = float(dark[ink].mean() - dark[~ink].mean())
    return level / 255 if rise > max(0.05, 3 * float(dark[~ink].std())) else None


def _text_line(ink: np.ndarray) -> tuple[list[tuple[int, int, int, int]], bool]:
    """Boxes of the components that stand on one line, left to right, and whether there is more than that line.

    There are none where the line runs out of the picture.
    """
    h, w = ink.shape
    count, _, stats = parts_of(ink)
    boxes, outside, marks = [], [], []
    for x, y, bw, bh, area in stats[1:count].tolist():
        touches = x <= 1 or y <= 1 or x + bw >= w - 1 or y + bh >= h - 1
        if touches:
            outside.append((y, y + bh))
        elif bh < 0.06 * h or area < 0.12 * bw * bh:
            marks.append((x, y, x + bw, y + bh, area))
        elif bh <= 0.6 * h and bw <= 6 * bh:
            boxes.append((x, y, x + bw, y + bh, area))
    if not boxes:
        return [], False
    anchor = max(boxes, key=lambda b: b[4])
    tall = anchor[3] - anchor[1]

    def beside(y0: int, y1: int) -> bool:
        return min(y1, anchor[3]) - max(y0, anchor[1]) > 0.6 * tall and 0.6 * tall < y1 - y0 < 1.5 * tall

    if any(beside(y0, y1) for y0, y1 in outside):
        return [], False  # a digit is cut: what is left of the number would be another person's
    line = sorted(box[:4] for box in boxes if beside(box[1], box[3]))
    # A dash is as much of an ID as its digits; so is a second line. A full stop behind a number is not.
    rest = [box for box in boxes if not beside(box[1], box[3])] + marks
    dash = any(
        x1 - x0 > max(0.2 * tall, 1.8 * (y1 - y0)) and anchor[1] + 0.2 * tall < (y0 + y1) / 2 < anchor[3] - 0.15 * tall
        for x0, y0, x1, y1, _ in rest
    )
    second = sum(y1 - y0 > 0.6 * tall and area > 0.1 * tall * tall for _, y0, _, y1, area in rest) > 1
    return line, dash or second


def _digits_in(soft: np.ndarray, box: tuple[int, int, int, int]) -> list[np.ndarray]:
    """Distances of the digits in one component: one digit, or two or three that touch."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    best = [classify(soft, box)]
    if width < 0.8 * height:
        return best
    score = best[0].min()
    for pieces in (2, 3):
        if not 0.25 * height < width / pieces < 0.95 * height:
            continue
        for shift in (0, -0.06, 0.06, -0.12, 0.12):
            cuts = [x0] + [round(x0 + width * (k / pieces + shift / pieces)) for k in range(1, pieces)] + [x1]
            parts = []
            for a, b in zip(cuts, cuts[1:], strict=False):
                tight = _tight(soft[y0:y1, a:b] > 0.5)
                if tight is None:
                    break
                parts.append(classify(soft, (a + tight[0], y0 + tight[1], a + tight[2], y0 + tight[3])))
            if len(parts) == pieces and max(p.min() for p in parts) < score:
                best, score = parts, max(p.min() for p in parts)
    return best
