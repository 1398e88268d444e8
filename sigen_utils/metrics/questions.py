"""The protocol: three questions, a table each, and what a likelihood is worth.

A. Can it sign as people who do not exist?    `new_people`, against people no model has seen
B. Can it sign as a known person?             `known_people`, against held-out signatures, and the copy test
C. Can it sign as a stranger, given one?      `few_shot`, by what a verifier gains

All pictures pass `render`; all rows have the same n; every interval is over people, and over seeds where a model was
trained several times. ``docs/protocol.md`` says what each score means and what a trivial cheat gets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..sampling import Unrendered, offers
from . import few_shot, known_people, likelihood, new_people
from .copy_test import copy_test_of_redrawn
from .scores import Goal, Score, draws_of_people, in_words, mean_over_people, over_seeds, rankings
from .seen import USED_IN_TRAINING, VERIFIER, Eye, Seen

if TYPE_CHECKING:
    from ..data import SignatureSet

PER_PERSON = 4  # signatures of an unseen or invented person in table A
PEOPLE = 184  # at most, in table A
STRANGERS = 64  # at most, in table C by default: with 16 duplicates of each
COHORT = 400  # synthetic writers that verifiers of table C know

Samplers = Mapping[str, Sequence[Any]]
"""Name of a row to the samplers of its trainings: one, or one a seed."""


def evaluate(
    data: SignatureSet,
    samplers: Samplers,
    eye: Eye,
    unseen: SignatureSet | None = None,
    cohort: torch.Tensor | None = None,
    corpus: torch.Tensor | None = None,
    labels: Mapping[str, str] | None = None,
    seed: int = 0,
    n_strangers: int = STRANGERS,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Judge samplers by all three questions.

    Parameters
    ----------
    data
        What the samplers were trained on, and the held-out signatures of the same people.
    samplers
        Rows. A row fills the tables whose method all its samplers have.
    eye
        Renders and measures.
    unseen
        Signatures of people that no model has seen; without them there are no tables A and C.
    cohort
        Ink ``[W, c, 1, 128, 128]`` of synthetic writers that the verifiers of table C know.
    corpus
        Further signatures that models were trained on, ink ``[N, 1, 128, 128]`` of any type: known in table A.
    labels
        Names for readers, by row.
    seed
        Of the samples and of everything that is resampled.
    n_strangers
        At most so many people in table C.
    progress
        Called with a line after each part.

    Returns
    -------
    dict
        ``extractors, n, new, known, like, likelihood, seconds, cpu_seconds``. A table is None or ``{"goals", "genuine",
        "rows", "rank"}``: the genuine signatures' own scores, every row's ``{"label", "scores"}`` and by score the
        pairs of rows that may be ranked. JSON-serialisable.

    Raises
    ------
    ValueError
        If an unseen person's signature is in the training set.
    """
    clock = _Clock(progress, eye.save)
    with clock("genuine"):
        train, held_out = eye(data.train.x), eye(data.test.x)
        known = {name: train.features[name] for name in eye.names}
        if corpus is not None:
            parts = [eye(part.float(), strokes=False).features for part in corpus.split(4096)]
            known = {name: np.concatenate([known[name], *(part[name] for part in parts)]) for name in eye.names}
    out: dict[str, Any] = dict(
        extractors={name: dict(used_in_training=USED_IN_TRAINING.get(name, "unknown")) for name in eye.names},
        n=dict(people=data.n_people, training=len(train), held_out=len(held_out), known=len(known[VERIFIER])),
        new=None, known=None, like=None, seconds=clock.seconds, cpu_seconds=clock.cpu,
    )  # fmt: skip
    names = dict(labels or {})
    for row, several in samplers.items():
        names.setdefault(row, getattr(several[0], "label", row))
    strangers = None if unseen is None else _by_person(unseen, data)
    if strangers is not None:
        with clock("new"):
            some = strangers[:PEOPLE, :PER_PERSON]
            out["new"] = _new(samplers, names, eye, some, known, seed, clock)
            out["n"]["unseen"] = list(some.shape[:2])
    with clock("known"):
        out["known"] = _known(samplers, names, eye, data, train, held_out, seed, clock)
        out["n"]["samples_of_a_person"] = _draws(data)
    if strangers is not None and cohort is not None:
        with clock("like"):
            some = strangers[:n_strangers]
            out["like"] = _like(samplers, names, eye, some, cohort, seed, clock)
            out["n"]["strangers"] = list(some.shape[:2])
    with clock("likelihood"):
        coders = likelihood.context_coders(data.train.x, data.test.x)
        for row, several in samplers.items():
            nats = likelihood.importance_weighted(several[0], data.test.x.cpu(), data.test.labels.cpu(), seed)
            coders |= {} if nats is None else {row: nats}
        out["likelihood"] = {name: _nats(nats, data.test.labels.cpu().numpy()) for name, nats in coders.items()}
    return out


class _Clock:
    """Adds up seconds by part; after each outermost part says so and lets the caches be written."""

    def __init__(self, progress: Callable[[str], None], done: Callable[[], None]):
        self.progress, self.done = progress, done
        self.seconds: dict[str, float] = {}  # of the clock ...
        self.cpu: dict[str, float] = {}  # ... and of all cores together
        self.stack: list[tuple[str, float, float]] = []

    def __call__(self, part: str) -> _Clock:
        self.stack.append((part, time.monotonic(), time.process_time()))
        return self

    def __enter__(self) -> _Clock:
        return self

    def __exit__(self, *_: object) -> None:
        part, began, worked = self.stack.pop()
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began
        self.cpu[part] = self.cpu.get(part, 0.0) + time.process_time() - worked
        if not self.stack:
            self.done()
            self.progress(f"{part}: {self.seconds[part]:.0f} s")


def _by_person(unseen: SignatureSet, data: SignatureSet | None = None) -> torch.Tensor:
    """Ink ``[P, n, 1, 128, 128]``, n the least that an unseen person has."""
    known = {picture.numpy().tobytes() for picture in data.images.cpu()} if data else set()
    twice = [k for k, picture in enumerate(unseen.images.cpu()) if picture.numpy().tobytes() in known]
    if twice:
        raise ValueError(f"{unseen.files[twice[0]]} of the unseen people is also in the training data; name others")
    n = int(unseen.labels.bincount(minlength=unseen.n_people).min())
    rows = [torch.nonzero(unseen.labels == person)[:n, 0] for person in range(unseen.n_people)]
    return unseen.x.cpu()[torch.stack(rows)]


def _draws(data: SignatureSet) -> int:
    """Samples of each known person: four, or more where there are few people."""
    return int(np.clip(400 // data.n_people, 4, 8))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _new(samplers, names, eye: Eye, unseen: torch.Tensor, known, seed: int, clock: _Clock) -> dict[str, Any]:
    people, each = unseen.shape[:2]
    reference = new_people.strangers(eye(unseen.flatten(0, 1)), people, known, seed)
    rows = {}
    for row, several in samplers.items():
        if all(offers(one, "new") for one in several):
            drawn = [_draw(clock, lambda one=one: one.new(people, each, _generator(seed))) for one in several]
            seen = [_measure(clock, eye, x, rendered=not isinstance(several[0], Unrendered)) for x in drawn]
            rows[row] = _over_seeds([new_people.score_new(reference, one, seed) for one in seen])
    floors = {name: dict(mean=float(values.mean()), low=float(values.min()), high=float(values.max()))
              for name, values in reference.floor.items()}  # fmt: skip
    table = _table(rows, names, new_people.goals(reference), new_people.score_strangers(reference))
    return table | dict(floor=floors, n_a_side=people // 2 * each)


def _known(
    samplers, names, eye: Eye, data: SignatureSet, train: Seen, held_out: Seen, seed: int, clock: _Clock
) -> dict[str, Any]:
    sides = (data.train.labels.cpu().numpy(), data.test.labels.cpu().numpy())
    with clock("registration"):
        reference = known_people.known_people(train, sides[0], held_out, sides[1], eye.misfits)
    y = torch.arange(data.n_people).repeat_interleave(_draws(data))
    rows = {}
    for row, several in samplers.items():
        if not all(offers(one, "known") for one in several):
            continue
        scores = []
        for one in several:
            ask = getattr(one, "known_from", lambda y, generator, one=one: (one.known(y, generator), None))
            x, sources = _draw(clock, lambda ask=ask: ask(y, _generator(seed)))
            made = _measure(clock, eye, x)
            with clock("registration"):
                eye.misfits(reference.copies.references[y], made.x)
            sources = None if sources is None else sources.numpy()
            found = known_people.score_known(reference, made, y.numpy(), eye.misfits, seed, sources)
            if callable(getattr(one, "reconstruct", None)):
                with clock("registration"):
                    found["copy_auc_redrawn"] = _redrawn(one, eye, reference, seed)
            scores.append(found)
        rows[row] = _over_seeds(scores)
    goals = known_people.goals(eye.names)
    table = _table(rows, names, goals, known_people.score_genuine(reference, seed))
    return table | dict(references=reference.copies.references.shape[1])


def _redrawn(model, eye: Eye, reference: known_people.Known, seed: int) -> Score:
    """`copy_test_of_redrawn` with the reconstructions of a model."""

    def redraw(x: torch.Tensor) -> torch.Tensor:
        parts = [model.reconstruct((part > 0.5).float().to(eye.device)).cpu() for part in x.split(64)]
        return eye(torch.cat(parts), strokes=False).x

    held_out = [reference.held_out.x[rows] for rows in reference.held_out_rows]
    times = draws_of_people(len(held_out), seed)
    return copy_test_of_redrawn(reference.copies, held_out, redraw, eye.misfits, times)


def _like(samplers, names, eye: Eye, unseen: torch.Tensor, cohort, seed: int, clock: _Clock) -> dict[str, Any]:
    people, each = unseen.shape[:2]
    features = eye(unseen.flatten(0, 1), strokes=False).features[VERIFIER].reshape(people, each, -1)
    known = cohort[:COHORT]
    writers = eye(known.flatten(0, 1), strokes=False).features[VERIFIER].reshape(*known.shape[:2], -1)
    tried = few_shot.trial(features, writers, seed)
    most, one = max(few_shot.DUPLICATES), unseen[:, :1]
    enrolled = {row: [values] for row, values in few_shot.rows_without_a_model(tried, seed=seed).items()}
    for row, several in samplers.items():
        if not all(offers(sampler, "like") for sampler in several):
            continue
        for sampler in several:
            asked = one.repeat_interleave(most, 0)
            x = _draw(clock, lambda s=sampler, asked=asked: s.like(asked, _generator(seed)))
            made = _measure(clock, eye, x, False).features[VERIFIER].reshape(people, most, -1)
            for key, values in few_shot.with_duplicates(tried, names[row], made).items():
                enrolled.setdefault(key, []).append(values)
    rows = {}
    with clock("verifiers"):
        for row, several in enrolled.items():
            rows[row] = _over_seeds([few_shot.score_enrolled(tried, values, seed) for values in several])
    table = _table(rows, {}, few_shot.goals(), {})
    for row, scores in rows.items():
        saved = {name: few_shot.saved(rows[few_shot.NONE][name], score) for name, score in scores.items()}
        table["rows"][row]["saved"] = {name: score.as_dict() for name, score in saved.items()}
    return table | dict(references=tried.references.shape[1], thresholds=few_shot.THRESHOLDS)


def strangers_only(
    samplers: Samplers,
    eye: Eye,
    unseen: SignatureSet,
    cohort: torch.Tensor,
    seed: int = 0,
    most: int = STRANGERS,
) -> dict[str, Any]:
    """Table C of `evaluate` alone, with the same parameters."""
    names = {row: getattr(several[0], "label", row) for row, several in samplers.items()}
    people = _by_person(unseen)[:most]
    return _like(samplers, names, eye, people, cohort, seed, _Clock(lambda _: None, eye.save))


def _draw(clock: _Clock, make: Callable[[], Any]) -> Any:
    with clock("sampling"):
        return make()


def _measure(clock: _Clock, eye: Eye, x: torch.Tensor, strokes: bool = True, rendered: bool = True) -> Seen:
    with clock("rendering and features"):
        return eye(x, strokes, rendered)


def _over_seeds(several: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    return {name: over_seeds([scores[name] for scores in several]) for name in several[0]}


def _table(
    rows: Mapping[str, Mapping[str, Score]],
    names: Mapping[str, str],
    goals: Mapping[str, Goal],
    genuine: Mapping[str, Score],
) -> dict[str, Any]:
    shown = {
        row: dict(label=names.get(row, row), scores={name: score.as_dict() for name, score in scores.items()})
        for row, scores in rows.items()
    }
    return dict(
        goals={name: goal.words for name, goal in goals.items()},
        genuine={name: score.as_dict() for name, score in genuine.items()},
        rows=shown,
        rank=rankings(rows, goals),
    )


def sentences(table: Mapping[str, Any], scores: Sequence[str] | None = None) -> list[str]:
    """What a table of `evaluate` says about each score, in words that rank no two rows whose intervals overlap."""
    rows, out = table["rows"], []
    labels = {row: about["label"] for row, about in rows.items()}
    for name in scores or table["goals"]:
        values = {row: about["scores"][name]["value"] for row, about in rows.items() if name in about["scores"]}
        if values:
            out.append(in_words(name, values, table["rank"][name], labels, table["goals"][name]))
    return out


def _nats(nats: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Mean over the signatures, with an interval over people."""
    people = np.unique(y)
    own = np.array([nats[y == person].mean() for person in people])
    return mean_over_people(own, draws_of_people(len(people)), (0, np.inf)).as_dict()
