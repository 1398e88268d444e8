"""What people put down as a signature: names, hasty waves, initials, scribbles, other scripts, flourishes.

All in x-heights, x to the right, y up, baseline at 0. Every function draws from the person's own random stream
and gives pen-down strokes in writing order.
"""

from __future__ import annotations

import numpy as np

from . import letters
from .hand import Hand, Mark

NAMES = (
    "Adeel Afreen Ahmed Aisha Akira Alice Alina Amir Amna Anders Anika Anton Arjun Asad Astrid Ayesha Azhar "
    "Bilal Bianca Bruno Carla Chen Clara Daniel Danish David Dilara Dmitri Elena Elif Emil Emma Enzo Erik "
    "Esra Fahad Faisal Farah Fatima Felix Fiza Fumiko Gabriel Gauri Georg Giulia Goran Hafsa Hamid Hamza "
    "Hannah Haris Hasan Hiba Hiro Hugo Ibrahim Ida Ilse Imran Ines Iqra Irfan Isaac Ivan Jamal Jana Javed "
    "Joana Jonas Jorge Julia Junaid Kamran Karim Kashif Katya Kenji Khalid Kiran Lars Laura Leila Leon Lina "
    "Lucas Luis Mahnoor Malik Marco Maria Marta Maryam Mehmet Mei Mikael Milan Mina Mohsin Mona Nadia Naveed "
    "Nida Niklas Nimra Noah Noor Nora Olga Omar Oscar Pablo Paula Pavel Petra Pooja Priya Qasim Rabia Rafael "
    "Rahul Raza Rehan Rida Rosa Ruben Saad Sadia Saira Salman Sami Sana Sara Selim Shahid Simon Sofia Sohail "
    "Stefan Sunil Taha Tariq Tayyab Thomas Timo Tobias Umar Urooj Usman Valeria Vera Viktor Wajid Waqas Wei "
    "Yara Yasir Yuki Yusuf Zain Zara Zeeshan Zoya Zubair "
).split()
TALL, DEEP = "bdfhklt", "fgjpqy"


# ---- building blocks ----------------------------------------


def _mark(points, corners=None, kind: str = "body") -> Mark:
    points = np.asarray(points, float)
    corners = np.zeros(len(points), bool) if corners is None else np.asarray(corners, bool)
    return Mark(points, corners, kind)


def _shift(mark: Mark, dx: float, dy: float = 0.0) -> Mark:
    return Mark(mark.points + [dx, dy], mark.corners, mark.kind)


def _extent(marks) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([m.points for m in marks])
    return points.min(0), points.max(0)


def _last_body(marks: list[Mark]) -> int:
    return max(i for i, m in enumerate(marks) if m.kind == "body")


def _extend(marks: list[Mark], points, corners=None) -> None:
    """Let the last body stroke go on through further via-points."""
    last = _last_body(marks)
    extra = _mark(points, corners)
    old = marks[last]
    marks[last] = Mark(np.vstack([old.points, extra.points]), np.concatenate([old.corners, extra.corners]), old.kind)


def _letter(letter: str, hand: Hand, rng, source: str, form: int) -> list[Mark]:
    """One letter in a person's own shape, from `source` 'print' or 'script'."""
    shape = letters.script_letter(letter) if source == "script" else letters.print_letter(letter, form)
    capital = hand.capital if letter.isupper() else 1.0
    marks = []
    for points, corners in shape:
        points = points.copy()
        high, low = points[:, 1] > 1.0, points[:, 1] < 0.0
        points[high, 1] = 1.0 + (points[high, 1] - 1.0) * hand.extender
        points[low, 1] *= hand.extender
        if len(points) > 2:
            points += rng.normal(0, hand.habit, points.shape)
        corners = corners | (rng.random(len(corners)) < hand.angular)
        marks.append(_mark(points * [hand.aspect * capital, capital], corners, "dot" if len(points) == 1 else "body"))
    return marks


def _write(word: str, hand: Hand, rng, source: str, joined: float) -> list[Mark]:
    """A word letter by letter, neighbours joined with probability `joined`; bars and dots come after a joined run."""
    marks: list[Mark] = []
    late: list[Mark] = []
    form = {c: int(rng.integers(0, 2)) for c in word}
    x, run = 0.0, False
    for letter in word:
        shape = _letter(letter, hand, rng, source, form[letter])
        left, right = _extent(shape)
        dy = rng.normal(0, 0.04)
        shape = [_shift(m, x - left[0], dy) for m in shape]
        if run and marks:
            first, rest = shape[0], shape[1:]
            last = marks[-1]
            marks[-1] = Mark(np.vstack([last.points, first.points]), np.concatenate([last.corners, first.corners]))
        else:
            marks += late + shape[:1]
            late, rest = [], shape[1:]
        run = rng.random() < joined and not (letter.isupper() and source == "print" and rng.random() < 0.6)
        if run:
            late += rest
        else:
            marks += rest
        x += right[0] - left[0] + (0.02 if run else hand.spacing)
    return marks + late


def _wave(word: str, hand: Hand, rng) -> tuple[np.ndarray, np.ndarray]:
    """What haste leaves of the letters of a word: humps, with a spike or loop for each tall and deep letter."""
    points, corners, x = [], [], 0.0
    width, height = rng.uniform(0.35, 0.7) * hand.aspect, rng.uniform(0.45, 0.85)
    spiky = rng.random() < 0.45 + hand.angular
    for i, letter in enumerate(word):
        fade = max(0.35, 1.0 - 0.1 * i)
        if letter in TALL:
            top = rng.uniform(1.4, 2.1) * hand.extender
            lean = 0.15 if rng.random() < 0.6 else -0.02  # loop or plain spike
            points += [(x + width * 0.6 + lean, top), (x + width * 0.55, 0.05)]
            corners += [rng.random() < 0.3, spiky]
        elif letter in DEEP:
            points += [(x + width * 0.4, height * fade), (x + width * 0.35, -hand.extender), (x + width * 0.9, 0.15)]
            corners += [spiky, rng.random() < 0.3, False]
        else:
            for _ in range(2 if letter in "mwuna" and rng.random() < 0.5 else 1):
                points += [(x + width * 0.5, height * fade * rng.uniform(0.8, 1.15))]
                points += [(x + width * 0.8, rng.normal(0.05, 0.06))]
                corners += [spiky, spiky and rng.random() < 0.5]
                x += width * 0.6
        x += width * rng.uniform(0.55, 0.8)
    return np.array(points), np.array(corners)


def _spikes(at: np.ndarray, hand: Hand, rng) -> tuple[np.ndarray, np.ndarray]:
    """Tall narrow strokes up and down from `at`, close together or over each other, as in hasty double letters."""
    n, step, top, foot = int(rng.integers(2, 5)), rng.uniform(0.15, 0.7), rng.uniform(1.3, 2.6), rng.uniform(-0.9, 0.1)
    lean = rng.uniform(0.0, 0.35)
    points = []
    for i in range(n):
        x = at[0] + step * (i + 0.4)
        points += [(x + lean, at[1] + top * rng.uniform(0.75, 1.1))]
        points += [(x + step * 0.3, at[1] + foot * rng.uniform(0.3, 1.2))]
    sharp = rng.random() < 0.7
    return np.array(points), rng.random(len(points)) < (0.85 if sharp else 0.1)


def _tail(marks: list[Mark], hand: Hand, rng) -> None:
    """Let the last stroke run out: to the right, up, or back below the name."""
    low, high = _extent(marks)
    end, width = marks[_last_body(marks)].points[-1], high[0] - low[0]
    choice = rng.random()
    if choice < 0.5:
        length = rng.uniform(0.25, 0.8) * width + 0.4
        _extend(marks, [end + [length, length * rng.normal(0.06, 0.12)]], [False])
    elif choice < 0.8:  # back below, and out to the right
        y = min(low[1], 0.0) - rng.uniform(0.1, 0.5)
        back = [[low[0] + rng.uniform(-0.1, 0.4) * width, y]]
        back += [[high[0] + rng.uniform(0.0, 0.3) * width, y + rng.uniform(0.1, 0.8)]]
        _extend(marks, [end + [0.5, -0.3], *back], [False, rng.random() < 0.65, False])
    else:
        up = [end + [rng.uniform(0.2, 0.6), -0.25], end + [rng.uniform(0.6, 1.6), rng.uniform(0.8, 2.2)]]
        _extend(marks, up, [False, False])


# ---- forms ----------------------------------------


def _printed(name: str, hand: Hand, rng) -> list[Mark]:
    word = name.upper() if rng.random() < 0.08 else name if rng.random() < 0.8 else name.lower()
    marks = _write(word, hand, rng, "print", joined=float(rng.choice([0.0, 0.25, 0.6])))
    if rng.random() < 0.2:  # an initial and a stop before
        initial = _write(str(rng.choice(list("MSAHRK"))), hand, rng, "print", 0.0)
        right = _extent(initial)[1][0]
        marks = [*initial, _mark([[right + 0.25, 0.05]], kind="dot"), *[_shift(m, right + 0.55) for m in marks]]
    return marks


def _joined(name: str, hand: Hand, rng) -> list[Mark]:
    marks = _write(name, hand, rng, "script" if rng.random() < 0.55 else "print", joined=0.97)
    if rng.random() < 0.45:
        _tail(marks, hand, rng)
    return marks


def _hasty(name: str, hand: Hand, rng) -> list[Mark]:
    legible = int(rng.integers(1, 4))
    marks = _write(name[:legible], hand, rng, "script" if rng.random() < 0.3 else "print", joined=0.9)
    rest = name[legible:] + ("" if rng.random() < 0.6 else str(rng.choice(["h", "l", "f", "ul", "nt"])))
    rest = rest or name[-1]  # a name of three letters may be used up
    low, high = _extent(marks)
    points, corners = _wave(rest, hand, rng)
    points = points + [high[0] - 0.1, 0.0]
    if rng.random() < 0.22:
        more = _spikes(points[-1] * [1, 0], hand, rng)
        points, corners = np.vstack([points, more[0]]), np.concatenate([corners, more[1]])
    if rng.random() < 0.6:
        _extend(marks, points, corners)
    else:
        marks.append(_mark(points, corners))
    if rng.random() < 0.75:
        _tail(marks, hand, rng)
    return marks


def _initials(name: str, hand: Hand, rng) -> list[Mark]:
    count = int(rng.choice([1, 2, 2, 2, 3, 3]))
    capitals = [name[0]] + [str(c) for c in rng.choice(list("ABDFHJKMNRSTWZ"), count - 1)]
    marks: list[Mark] = []
    x, apart = 0.0, rng.uniform(0.35, 1.05)
    for capital in capitals:
        shape = _letter(capital, hand, rng, "script" if rng.random() < 0.35 else "print", int(rng.integers(0, 2)))
        size = rng.uniform(0.75, 1.25)
        shape = [Mark(m.points * size, m.corners, m.kind) for m in shape]
        left, right = _extent(shape)
        marks += [_shift(m, x - left[0], rng.normal(0, 0.15)) for m in shape]
        x += (right[0] - left[0]) * apart
    end = marks[_last_body(marks)].points[-1]
    alone = count == 1
    if rng.random() < (0.7 if alone else 0.2):
        _extend(marks, *(_spikes(end, hand, rng) if rng.random() < 0.5 else _loops(rng, hand, end + [0.2, 0.1])))
    if rng.random() < (0.8 if alone else 0.5):
        _tail(marks, hand, rng)
    return marks


def _loops(rng, hand: Hand, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlaid flat loops or a zigzag around `at`."""
    n, width, height = int(rng.integers(2, 5)), rng.uniform(1.0, 3.0), rng.uniform(0.3, 1.3)
    tilt, step = rng.uniform(-0.1, 0.8), rng.uniform(0.0, 0.6)
    points, zigzag = [], rng.random() < 0.4
    for i in range(n):
        size, middle = rng.uniform(0.6, 1.2), np.array([i * step, rng.normal(0, 0.12)])
        around = [(0.5, 0.35), (-0.5, -0.3)] if zigzag else [(0.1, 0.5), (-0.5, 0.0), (0.0, -0.5), (0.55, 0.1)]
        points += [middle + size * np.array([width * a, height * b]) for a, b in around]
    points = np.array(points)
    points[:, 1] += np.sin(tilt) * points[:, 0]
    corners = rng.random(len(points)) < (0.6 if zigzag else 0.12)
    return points - points[0] + at, corners


def _scribble(name: str, hand: Hand, rng) -> list[Mark]:
    """A capital, or an invented opening stroke, that runs into overlaid loops, spikes and long strokes."""
    if rng.random() < 0.75:
        marks = _letter(name[0], hand, rng, "script" if rng.random() < 0.4 else "print", 1)
    else:
        steps = rng.normal(0, 1, (int(rng.integers(4, 7)), 2)) * [0.6, 1.0] + [0.35, 0]
        steps[::2, 1] = np.abs(steps[::2, 1]) + 0.5
        steps[1::2, 1] = -np.abs(steps[1::2, 1]) - 0.4
        marks = [_mark(np.cumsum(steps, axis=0) - steps.sum(0) * [0, 0.5], rng.random(len(steps)) < 0.3)]
    for _ in range(int(rng.integers(1, 4))):
        end = marks[_last_body(marks)].points[-1]
        choice = rng.random()
        if choice < 0.45:
            points, corners = _loops(rng, hand, end + [rng.uniform(0.0, 0.6), rng.uniform(0.0, 0.8)])
        elif choice < 0.7:
            points, corners = _spikes(end * [1, 0.3], hand, rng)
        else:
            points, corners = _wave("".join(rng.choice(list("nulhtf"), int(rng.integers(2, 5)))), hand, rng)
            points = points * [1.0, rng.uniform(0.7, 1.3)] + [end[0] + 0.1, 0.0]
        if rng.random() < 0.75:
            _extend(marks, points, corners)
        else:
            marks.append(_mark(points, corners))
    if rng.random() < 0.6:
        _tail(marks, hand, rng)
    return marks


# Parts of an invented right-to-left script: strokes from x = 0 leftwards, and where the next part joins.
_TEETH = {
    "tooth": "0,0 -.12,.5! -.3,.02 -.45,0",
    "teeth": "0,0 -.1,.45! -.25,.05 -.4,.45! -.55,.05 -.7,.5! -.85,.05 -1,0",
    "hill": "0,0 -.3,.15 -.75,.05 -1.2,0",
    "eye": "0,0 -.25,.1 -.2,.6 .1,.5 .05,.1 -.4,-.02 -.6,0",
    "roof": "0,.1 .25,1.7! -.5,.7! -.3,.1 -.8,0",
    "spire": "0,0 -.15,.1 -.1,1.9! -.12,.1 -.4,0",
}
_ENDS = {
    "bowl": "0,.1 -.05,-.5 -.6,-1 -1.2,-.6 -1.25,.15",
    "sweep": "0,0 -.8,-.25 -2.2,-.2 -3.0,.35",
    "hook": "0,.1 -.2,-.6 -.7,-1 -1.0,-.95",
    "back": "0,.1 -.5,.3 -.6,-.2 -.2,-.5 .9,-.75 2.2,-.6",
    "knot": "0,.1 -.35,.55 -.65,.2 -.2,.0 -.5,-.7 -1.1,-.8",
    "stem": "0,0 -.15,.2 -.25,2.0",
}
_ALONE = {
    "stem": "0,2 -.05,1 -.1,0",
    "comma": ".1,.5 -.15,.1 -.6,-.6",
    "ring": "0,.4 -.4,.75 -.7,.3 -.3,0 .05,.3 0,.45",
}


def _right_to_left(name: str, hand: Hand, rng) -> list[Mark]:
    """Connected strokes from right to left, stepping down, with dots and sometimes a long closing stroke."""
    marks, dots = [], []
    x, y, drop = 0.0, 0.0, rng.uniform(0.0, 0.35)
    for _ in range(int(rng.integers(2, 4))):
        if marks and rng.random() < 0.3:
            part = letters.parse(_ALONE[str(rng.choice(list(_ALONE)))])[0]
            marks.append(_shift(_mark(*part), x, y))
            x -= 0.75
            continue
        points, corners, px, py = [], [], x, y
        for i in range(int(rng.integers(1, 4)) + 1):
            pool = _TEETH if i == 0 or rng.random() < 0.7 else _ENDS
            stroke, sharp = letters.parse(pool[str(rng.choice(list(pool)))])[0]
            stroke = stroke * [hand.aspect * 1.15, rng.uniform(0.85, 1.2)] + rng.normal(0, hand.habit, stroke.shape)
            points.append((stroke + [px, py])[0 if not points else 1 :])
            corners.append(sharp[0 if len(points) == 1 else 1 :])
            if rng.random() < 0.4:
                dots.append((px - 0.4, py + (1.35 if rng.random() < 0.6 else -0.65), int(rng.integers(1, 4))))
            px, py = points[-1][-1]
            if pool is _ENDS:
                break
            py -= drop * 0.4
        marks.append(_mark(np.concatenate(points), np.concatenate(corners)))
        x = _extent(marks[-1:])[0][0] + rng.uniform(-0.1, 0.7)
        y += rng.normal(0.0, 0.15) - drop
    if rng.random() < 0.3:
        end = marks[-1].points[-1]
        low, high = _extent(marks)
        closing = [end + [-0.3, -0.4], [high[0] + rng.uniform(-0.5, 0.8), low[1] - rng.uniform(0.0, 0.6)]]
        _extend(marks, closing, [rng.random() < 0.6, False])
    for dx, dy, n in dots[:3]:
        marks += [_mark([[dx + 0.3 * i, dy + 0.22 * (i % 2)]], kind="dot") for i in range(n)]
    return marks


def _second_line(marks: list[Mark], hand: Hand, rng) -> list[Mark]:
    """A second, shorter line of writing set close below the first."""
    word = str(rng.choice(NAMES))[: int(rng.integers(3, 6))]
    below = _write(word, hand, rng, "print", joined=float(rng.choice([0.2, 0.8])))
    low, high = _extent(below)
    top = _extent(marks)
    shift = [top[0][0] - low[0] + rng.uniform(0.0, 1.0), top[0][1] - high[1] + rng.uniform(-0.1, 0.5)]
    return [*marks, *[_shift(m, *shift) for m in below]]


# ---- flourishes ----------------------------------------


def decorate(marks: list[Mark], form: str, hand: Hand, rng) -> list[Mark]:
    """Underlines, a dot, ticks, a diagonal, a stroke through the name or an oval around it."""
    low, high = _extent(marks)
    width, height, middle = high[0] - low[0], high[1] - low[1], (low + high) / 2
    plain = form in ("printed", "joined", "right_to_left")
    marks = list(marks)

    def line(x0, y0, x1, y1, bow=0.0):
        mid = [(x0 + x1) / 2, (y0 + y1) / 2 + bow]
        marks.append(_mark([[x0, y0], mid, [x1, y1]], kind="line"))

    if rng.random() < (0.42 if plain else 0.22):
        x0, x1 = low[0] + width * rng.uniform(-0.15, 0.45), high[0] + width * rng.uniform(-0.25, 0.2)
        y, climb = min(low[1], 0.0) * rng.uniform(0.5, 1.0) - rng.uniform(0.15, 0.45), width * rng.uniform(-0.02, 0.16)
        line(x0, y, x1, y + climb, rng.normal(0, 0.08))
        if rng.random() < 0.35:
            line(x0 + 0.3 * (x1 - x0), y - 0.35, x0 + 0.9 * (x1 - x0), y + climb * 0.8 - 0.35, rng.normal(0, 0.05))
    elif rng.random() < 0.14:  # two small ticks
        x, y = middle[0] + width * rng.uniform(-0.1, 0.4), low[1] - 0.3
        line(x, y, x + 0.8, y + 0.2)
        line(x + 0.1, y - 0.35, x + 0.8, y - 0.2)
    if not plain and rng.random() < 0.24:  # a long diagonal through everything
        length = rng.uniform(0.5, 0.8) * max(width, 3.0)
        angle = rng.uniform(0.3, 0.75)
        d = length * np.array([np.cos(angle), np.sin(angle)])
        line(*(middle - d), *(middle + d * rng.uniform(0.8, 1.3)), rng.normal(0, 0.15))
    if rng.random() < (0.06 if plain else 0.12):  # struck through
        y = rng.uniform(0.25, 0.7)
        y0, x1, y1 = y + rng.normal(0, 0.2), high[0] + rng.uniform(0.2, 1.2), y + rng.normal(0.1, 0.25)
        line(low[0] - 0.3, y0, x1, y1, rng.normal(0, 0.1))
    if form != "right_to_left" and rng.random() < 0.035:  # an oval around
        angle = np.linspace(2.6, 2.6 - 2 * np.pi * rng.uniform(0.85, 1.1), 8)
        oval = middle + np.stack([(width * 0.6 + 0.3) * np.cos(angle), (height * 0.6 + 0.25) * np.sin(angle)], axis=1)
        marks.append(_mark(oval, kind="line"))
    if rng.random() < 0.3:
        marks.append(_mark([[high[0] + rng.uniform(0.3, 1.2), rng.uniform(-0.2, 0.6)]], kind="dot"))
    return marks


# Every form with the share of people who sign so.
FORMS = {
    "printed": (0.20, _printed),
    "joined": (0.17, _joined),
    "hasty": (0.25, _hasty),
    "initials": (0.11, _initials),
    "scribble": (0.17, _scribble),
    "right_to_left": (0.10, _right_to_left),
}


def compose(form: str, name: str, hand: Hand, rng: np.random.Generator) -> list[Mark]:
    """Pen-down strokes of a signature of the given form (a key of `FORMS`)."""
    marks = FORMS[form][1](name, hand, rng)
    if rng.random() < 0.05 and form != "right_to_left":
        marks = _second_line(marks, hand, rng)
    return decorate(marks, form, hand, rng)
