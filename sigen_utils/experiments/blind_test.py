"""A blind test for people: genuine and generated signatures one by one, and how often the eye is wrong.

The same items serve a widget in a notebook and a page that needs no Python; both give answers in one format, which
`score_answers` adds up over people.

The measure is that of HYPE (Zhou et al. 2019): how often generated pictures are taken for genuine. One half of all
answers wrong is chance; the interval is Wilson's.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from .. import paths
from ..data import to_image
from ..widgets import png

TEMPLATE = Path(__file__).with_name("blind_test.html")


@dataclass(frozen=True)
class Item:
    """One signature of the test, black on white uint8 ``[H, W]``, and whether a person wrote it."""

    picture: np.ndarray
    genuine: bool


def make_items(real: torch.Tensor, fake: torch.Tensor, n: int = 40, seed: int = 0) -> list[Item]:
    """`n` signatures in random order, half of them genuine.

    Parameters
    ----------
    real, fake
        Rendered ink ``[N, 1, H, W]``; at least ``n / 2`` of each.
    n
        Even.
    seed
        Of the choice and the order.

    Raises
    ------
    ValueError
        If there are too few of either.
    """
    half = n // 2
    if n < 2 or n % 2 or min(len(real), len(fake)) < half:
        raise ValueError(f"a blind test of {n} needs an even number and {half} signatures of each kind")
    rng = np.random.default_rng(seed)
    items = [
        Item(picture, genuine)
        for x, genuine in ((real, True), (fake, False))
        for picture in to_image(x[torch.from_numpy(rng.permutation(len(x))[:half])])
    ]
    return [items[k] for k in rng.permutation(n)]


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    return tuple(map(float, binomtest(successes, n).proportion_ci(method="wilson")))


def score_answers(sheets: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Answers of one or more people, added up.

    Parameters
    ----------
    sheets
        Each with ``answers``: a list of ``{"genuine": bool, "said_genuine": bool}``.

    Returns
    -------
    dict
        ``people``, ``n``, ``wrong`` (share of all answers) and ``taken_for_genuine`` (share of the generated), each
        with ``*_low`` and ``*_high``, and ``genuine_doubted`` (share of the genuine). Shares of nothing are None.

    Raises
    ------
    ValueError
        For a sheet that is none.
    """
    answers, people = [], 0
    for sheet in sheets:
        try:
            answers += [(bool(a["genuine"]), bool(a["said_genuine"])) for a in sheet["answers"]]
        except (KeyError, TypeError) as error:
            raise ValueError("not the answers of a blind test: expected {'answers': [{'genuine': ...}]}") from error
        people += 1
    generated = [said for genuine, said in answers if not genuine]
    doubted = [not said for genuine, said in answers if genuine]
    wrong = sum(generated) + sum(doubted)
    out: dict[str, Any] = dict(people=people, n=len(answers))
    for name, count, of in (("wrong", wrong, len(answers)), ("taken_for_genuine", sum(generated), len(generated))):
        low, high = wilson(count, of)
        out |= {name: count / of if of else None, f"{name}_low": low, f"{name}_high": high}
    return out | dict(genuine_doubted=sum(doubted) / len(doubted) if doubted else None)


class BlindTest:
    """The test in a notebook: a picture, two buttons, and the result at the end.

    Parameters
    ----------
    items
        Of `make_items`.
    model
        Stored with the answers.

    Attributes
    ----------
    answers : list of dict
        So far.
    """

    def __init__(self, items: Sequence[Item], model: str = ""):
        import ipywidgets

        self.items, self.model, self.answers = list(items), model, []
        self.picture = ipywidgets.Image(format="png")
        self.word = ipywidgets.HTML()
        self.buttons = [ipywidgets.Button(description=text) for text in ("a person wrote it", "a model drew it")]
        for button, said in zip(self.buttons, (True, False), strict=True):
            button.on_click(lambda _, said=said: self.answer(said))
        self.widget = ipywidgets.VBox([self.picture, ipywidgets.HBox(self.buttons), self.word])
        self._show()

    def answer(self, said_genuine: bool) -> None:
        """Record one answer and show the next picture; after the last one nothing is recorded."""
        if len(self.answers) == len(self.items):
            return
        item = self.items[len(self.answers)]
        seconds = round(time.monotonic() - self._since, 2)
        self.answers.append(dict(genuine=item.genuine, said_genuine=bool(said_genuine), seconds=seconds))
        self._show()

    def _show(self) -> None:
        done, n = len(self.answers), len(self.items)
        self._since = time.monotonic()
        if done < n:
            self.picture.value = png(self.items[done].picture)
            self.word.value = f"{done + 1} of {n}"
            return
        for button in self.buttons:
            button.disabled = True
        self.word.value = in_words(score_answers([self.sheet()]))

    def sheet(self) -> dict[str, Any]:
        """The answers as `score_answers` and `save` take them."""
        return dict(model=self.model, answers=self.answers)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the answers as JSON."""
        return paths.write_json(path, self.sheet())

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)


def in_words(score: Mapping[str, Any]) -> str:
    """One sentence of a score."""
    if not score["n"]:
        return "no answers"
    return (
        f"{score['wrong']:.0%} of {score['n']} answers wrong [{score['wrong_low']:.0%}, {score['wrong_high']:.0%}], "
        f"one half would be chance; {score['taken_for_genuine']:.0%} of the generated taken for genuine "
        f"[{score['taken_for_genuine_low']:.0%}, {score['taken_for_genuine_high']:.0%}]"
    )


def write_page(items: Sequence[Item], path: str | os.PathLike, model: str = "") -> Path:
    """The test as one HTML file: no server, no Python, nothing loaded from elsewhere; the answers can be saved.

    Which items are genuine is in the file, as one encoded string, so that nobody reads it by accident.
    """
    key = base64.b64encode("".join("01"[item.genuine] for item in items).encode()).decode()
    pictures = [base64.b64encode(png(item.picture)).decode() for item in items]
    filled = dict(PICTURES=json.dumps(pictures), KEY=json.dumps(key), MODEL=json.dumps(model).replace("<", "\\u003c"))
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, value in filled.items():
        page = page.replace(f"/*{name}*/", value)
    with paths.atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)
