"""Letter shapes as via-points of the pen.

Two sources. Hand-drawn block letters and small letters as people print them (`PRINT`), written down here as the
few points where a pen changes its mind; and the single-stroke script of A. V. Hershey (1967), from the package
Hershey-Fonts, whose fine polylines are thinned to the same kind of via-points.

Units: the height of a small x is 1; x to the right, y up, baseline at 0, capitals and ascenders end at 2,
descenders at -1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Strokes parted by ";", points by blanks; "!" marks a point where the pen stops and turns instead of rounding.
# Where a letter has several common forms they are parted by "|".
PRINT = {
    "a": ".72,.85 .4,1 .08,.6 .15,.1 .45,.05 .72,.5 .75,.9! .74,.3 .98,.05 | "
    ".75,.95 .3,1 .06,.45 .3,0 .7,.4 .78,1! .8,.0",
    "b": ".1,2 .1,.05! .15,.6 .45,.9 .75,.5 .45,0 .1,.15 | .3,1 .5,1.7 .3,2 .14,1.4 .12,.3 .4,0 .7,.45 .5,.85 .3,.6",
    "c": ".7,.8 .4,1 .05,.5 .35,0 .8,.2",
    "d": ".7,.8 .4,.95 .05,.5 .35,0 .7,.45 .75,2! .75,.2 .98,0 | .65,.85 .3,.9 .05,.4 .35,0 .7,.5 .95,1.9",
    "e": ".08,.5 .65,.55 .55,.95 .3,.98 .05,.5 .35,0 .85,.2 | .6,.9 .3,1 .15,.75 .4,.55! .08,.3 .3,0 .75,.15",
    "f": ".75,1.8 .5,2 .3,1.6 .3,-.1; .0,1 .65,1.02 | .1,.5 .6,1.6 .45,2 .3,1.5 .25,-.6 .1,-.95 .1,-.5 .3,.05 .75,.3",
    "g": ".7,.85 .4,1 .08,.6 .2,.12 .5,.12 .72,.6 .74,.95! .72,-.4 .4,-.95 .05,-.65",
    "h": ".1,2 .1,0! .15,.6 .45,.95 .7,.7 .7,.1 .9,0 | .05,.8 .45,1.7 .3,2 .15,1.5 .1,0! .2,.7 .5,.9 .65,.4 .85,.05",
    "i": ".15,1 .15,.15 .38,0; .17,1.5 | .0,.5 .2,1! .2,.2 .45,.1; .3,1.6",
    "j": ".3,1 .3,-.5 .1,-.9 -.2,-.7; .32,1.5",
    "k": ".1,2 .1,0; .65,.95 .12,.45! .75,0 | .1,2 .1,0! .2,.7 .6,.9 .5,.5 .2,.45! .8,0",
    "l": ".15,2 .12,.3 .35,0 | .05,.6 .45,1.7 .28,2 .15,1.4 .18,.2 .5,.1",
    "m": ".08,1 .08,0! .12,.6 .32,.95 .48,.7 .48,0! .52,.6 .75,.95 .9,.7 .9,.1 1.1,0 | "
    "0,.1 .15,.95! .35,.1! .6,.95! .8,.1! 1,.9 1.15,.1",
    "n": ".08,1 .08,0! .13,.6 .4,.97 .65,.7 .65,.1 .88,0 | .05,.8 .15,0! .3,.9 .55,.85 .6,.1 .85,.1",
    "o": ".4,1 .06,.55 .35,0 .75,.45 .42,1 .6,.98 | .5,.95 .1,.7 .2,.05 .7,.2 .65,.85 .4,1",
    "p": ".1,1 .08,-.9! .1,.5 .4,1 .72,.55 .4,.05 .1,.2",
    "q": ".7,.85 .4,1 .06,.5 .35,.05 .7,.6 .74,.95! .72,-.9 .95,-.6",
    "r": ".1,1 .1,0! .14,.6 .35,.93 .6,.9 | 0,.2 .2,1.05! .4,.85 .4,.2 .65,.05",
    "s": ".6,.85 .35,1 .12,.78 .35,.52 .6,.25 .35,0 .05,.15 | 0,.1 .35,1.05! .55,.4 .4,0 .05,.1",
    "t": ".3,1.6 .28,.3 .5,0 .68,.12; .02,1.02 .6,1.05 | .3,1.8 .28,.1! -.05,.75 .75,1",
    "u": ".08,1 .1,.25 .35,0 .65,.4 .68,1! .68,.2 .9,0 | .05,.8 .12,.1 .4,.1 .55,.85! .6,.1 .85,.15",
    "v": ".05,1 .35,0! .68,1 | .05,.9 .25,.05 .55,.4 .6,1",
    "w": ".05,1 .28,0! .5,.8! .75,0! 1.0,1 | .05,.9 .15,.1 .45,.2 .5,.7! .6,.1 .9,.2 .95,.95",
    "x": ".05,1 .7,0; .68,1 .02,0",
    "y": ".08,1 .12,.45 .35,.2 .62,.5 .68,1! .6,-.5 .35,-.95 .02,-.7 | .05,1 .4,.25; .75,1.05 .1,-.85",
    "z": ".05,.95 .65,.97! .05,.03! .75,.05 | .05,.9 .6,.95! .15,.4! .6,.1 .4,-.7 .1,-.6",
    "A": "0,0 .55,2! 1,0; .15,.75 .9,.8 | 0,0 .5,2! .95,0! .1,.7 1.15,.8 | .1,.1 .35,1.2 .9,2! .95,.05; .3,.8 1.15,.85",
    "B": ".1,2 .1,0; .1,1.95 .6,1.9 .7,1.45 .2,1.1! .8,.8 .7,.1 .05,0 | "
    ".1,0 .15,1.9! .6,2 .7,1.4 .2,1.05! .85,.7 .6,0 -.1,.1",
    "C": ".95,1.7 .6,2 .1,1.2 .2,.2 .6,0 1.05,.35",
    "D": ".15,2 .12,0; .0,1.95 .6,1.9 1.05,1.1 .7,.1 0,0 | .2,1.9 .15,.05! .5,-.05 1.1,.8 .7,1.9 -.1,1.7",
    "E": ".9,1.9 .15,1.95! .12,.02! .95,.05; .15,1 .75,1.05 | .9,1.8 .45,2 .2,1.5 .55,1.1! .1,.6 .35,0 1,.3",
    "F": ".15,2 .12,0; .05,1.95 1,2; .12,1.05 .75,1.1",
    "G": ".95,1.7 .6,2 .08,1.1 .4,0 .9,.3 .95,.9! .55,.9 | "
    ".8,1.8 .3,1.9 .05,.9 .45,.2 .9,1! .8,-.6 .3,-.7 .5,-.1 1.2,.3",
    "H": ".1,2 .1,0; .9,2 .9,0; .1,1 .9,1.08 | .15,2 .05,0; .95,2! .8,0! .05,.9 1.2,1.2",
    "I": ".3,2 .3,0 | 0,1.95 .8,2; .42,1.97 .38,0; 0,.02 .8,.05",
    "J": ".7,2 .7,.4 .4,0 .05,.35; .3,2 1.1,2 | .2,1.7 .8,2! .65,-.3 .3,-.8 .1,-.4 1,.4",
    "K": ".1,2 .1,0; .9,2 .12,.95! .95,0 | .1,2 .1,0; .95,2 .3,1.1 .2,.9! .6,.5 1.2,-.1",
    "L": ".15,2 .12,.05! .9,.05 | .1,1.2 .6,1.8 .4,2 .25,1.3 .3,.3 .05,.0 .2,.2 .95,.0",
    "M": ".05,0 .15,2! .6,.6! 1.05,2! 1.2,0 | 0,0 .25,1.9! .55,.3! 1,1.9 1.15,1.2 1.1,.2 1.4,.05",
    "N": ".08,0 .1,2! .9,.05! .95,2 | 0,.1 .25,2! .75,0! 1.1,2.1",
    "O": ".55,2 .08,1.1 .45,0 1,.9 .6,2 .3,1.85",
    "P": ".15,2 .1,0; 0,1.8 .6,2 .95,1.5 .5,1 .12,.95 | .1,-.2 .3,1.9! .75,2 .95,1.5 .5,1 .1,1.1",
    "Q": ".55,2 .08,1.1 .45,0 1,.9 .6,2 .3,1.85; .55,.5 1.2,-.2 | .6,1.9 .1,1.3 .3,.1 1,.6 .7,2 .2,1.6 .3,0 1.3,-.1",
    "R": ".15,2 .1,0; 0,1.8 .6,2 .9,1.5 .5,1.05 .15,1! 1,0 | .1,0 .3,1.9! .8,1.95 .8,1.3 .25,1.05! .55,.5 1.2,.05",
    "S": ".85,1.7 .5,2 .15,1.55 .5,1.05 .85,.5 .5,0 .05,.3 | .8,1.5 .55,2 .25,1.6 .6,.9 .5,.1 -.1,.1 .2,.5 1.1,.6",
    "T": "0,1.95 1.1,2; .55,1.97 .5,0 | -.1,1.6 .2,2 1.2,1.9; .6,1.9 .45,.2 .1,.1",
    "U": ".1,2 .12,.5 .5,0 .9,.5 .95,2! .95,.2 1.15,0 | .1,2 .15,.4 .5,0 .9,.5 1,2",
    "V": ".05,2 .5,0! 1,2",
    "W": "0,2 .35,0! .65,1.5! 1,0! 1.4,2",
    "X": ".05,2 1,0; .95,2 0,0",
    "Y": "0,2 .45,1; .9,2 .3,-.1 | .05,1.9 .15,1.2 .5,1 .9,1.9! .8,-.3 .4,-.8 .1,-.4 1,.3",
    "Z": ".05,1.9 .95,1.95! .05,.05! 1.1,.05 | .0,1.7 .8,2! .1,.0! .5,.2 1.2,-.1; .2,1 .85,1.05",
    "5": ".8,1.9 .2,1.9! .15,1.1 .6,1.2 .7,.5 .3,0 0,.3",
    "&": ".8,.1 .2,1.5 .4,1.9 .6,1.5 .1,.4 .4,0 .9,.7",
}


def parse(strokes: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Via-points of a shape written in the notation of `PRINT`.

    Returns
    -------
    list of (points, corners)
        One pair a stroke: float [n, 2] and bool [n], True where the pen stops and turns.
    """
    parsed = []
    for stroke in strokes.split(";"):
        words = stroke.split()
        points = np.array([[float(v) for v in word.rstrip("!").split(",")] for word in words])
        parsed.append((points, np.array([word.endswith("!") for word in words])))
    return parsed


def thin(points: np.ndarray, turn: float = 1.15, corner: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Via-points of a fine polyline: its ends, its corners, its inflections, and one every `turn` radians of bend.

    Parameters
    ----------
    points
        Polyline, [n, 2].
    turn, corner
        Bend in radians after which a via-point is set, and above which a single vertex counts as a corner.
    """
    if len(points) < 3:
        return points, np.zeros(len(points), bool)
    steps = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bends = np.diff(heading)  # bends[i] at vertex i + 1
    keep, sharp, total = [0], [False], 0.0
    for i, bend in enumerate(bends):
        is_corner, is_inflection = abs(bend) > corner, total * bend < 0 and abs(total) > 0.25
        if is_corner or is_inflection or abs(total + bend) > turn:
            keep.append(i + 1)
            sharp.append(is_corner)
            total = 0.0 if is_corner or is_inflection else bend / 2
        else:
            total += bend
    return points[[*keep, -1]], np.array([*sharp, False])


@lru_cache(maxsize=4)
def _hershey(font: str):
    from HersheyFonts import HersheyFonts

    fonts = HersheyFonts()
    fonts.load_default_font(font)
    return fonts


@lru_cache(maxsize=512)
def script_letter(letter: str, font: str = "scripts") -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Via-points of a letter in a Hershey script, in the units of this module; see `parse` for the form."""
    strokes = [np.array(list(s), float) for s in _hershey(font).strokes_for_text(letter)]
    shape = []
    for stroke in strokes:
        stroke = np.stack([stroke[:, 0], 9.0 - stroke[:, 1]], axis=1) / 9.0  # Hershey's baseline is y = 9, x-height 9
        shape.append(thin(stroke))
    left = min(s[:, 0].min() for s, _ in shape) if shape else 0.0
    return tuple((s - [left, 0.0], c) for s, c in shape)


def print_letter(letter: str, form: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Via-points of a printed letter; `form` picks among the letter's forms (modulo their number)."""
    forms = PRINT[letter].split("|")
    return parse(forms[form % len(forms)])
