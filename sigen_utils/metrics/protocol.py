"""One protocol for every model: the same real halves, n and rendering, and each score beside its floor.

1. The real signatures are rendered and split at random into two halves of the same people, several times.
2. The *floor* of a score is its value between the two halves.
3. A model draws as many signatures as there are real ones. In each split a random, person-balanced part of
   them, as large as a half, is scored against either half; a model's score is the mean.

So the floor and the scores have the same n, and with it the same bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..augment import PERSON_WARPS, WARP_NUMBERS, AugmentConfig, soften, warp_ink
from ..models.people import warp_strength
from ..registration import displacements_to_others, warp_towards_others
from . import distances
from .features import FeatureExtractor
from .reconstruction import reconstruction_baselines, score_reconstruction
from .strokes import compare_strokes, stroke_statistics

if TYPE_CHECKING:
    from ..data import SignatureSet

Render = Callable[[torch.Tensor], torch.Tensor]
COPIES = "augmented_copies"  # names in the results of the trap ...
FAR_COPIES = "far_copies"  # ... and of copies moved as far as a VAE moves what it encodes to sample a person


@dataclass(frozen=True)
class Reference:
    """The real side of every comparison, computed once; made by `make_reference`.

    Attributes
    ----------
    features, labels, is_test
        Feature extractor features ``[N, d]`` of the rendered real signatures, their person indices and split ``[N]``.
    within
        Mean distance of two real signatures of one person, by the feature extractor and by pixels.
    strokes
        Stroke statistics of the rendered real signatures.
    splits
        Random halves, pairs of index arrays.
    floor
        `real_floor`, its ``top1`` that of the held-out signatures against the training ones, and
        ``top1_leave_one_out``, ``nearest_train`` and ``copying_z`` (of the held-out ones: one half and 0 by
        definition), ``authenticity`` and ``stroke`` (one half against the other) besides.
    """

    features: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray
    within: dict[str, float]
    strokes: dict[str, np.ndarray]
    splits: list[tuple[np.ndarray, np.ndarray]]
    floor: dict[str, Any]


def make_reference(
    data: SignatureSet, extractor: FeatureExtractor, seed: int = 0, n_splits: int = 10, render: Render | None = None
) -> Reference:
    """Features, halves and floors of the real signatures.

    Parameters
    ----------
    data
        All signatures, both sides of the split.
    feature extractor
        Features to measure in.
    seed, n_splits
        Random halves.
    render
        Put between the signatures and the feature extractor; `render.render` by default, as for the models.
    """
    x = _renderer(render)(data.x)
    features, strokes = extractor.features(x), stroke_statistics(x)
    labels, is_test = data.labels.cpu().numpy(), data.is_test.cpu().numpy()
    splits = distances.half_splits(labels, seed, n_splits)
    floor = distances.real_floor(features, labels, seed, n_splits)
    floor["top1_leave_one_out"] = floor["top1"]
    if is_test.any() and not is_test.all():
        test, train = features[is_test], features[~is_test]
        floor["top1"] = distances.top1(test, labels[is_test], train, labels[~is_test])
        floor["nearest_train"] = distances.nearest_train(test, train, test)
        floor["authenticity"] = distances.authenticity(test, train)
        floor["copying_z"] = 0.0
    floor["within_extractor"] = floor["within_pixels"] = 1.0
    halves = [compare_strokes(_rows(strokes, a), _rows(strokes, b)) for a, b in splits]
    floor["stroke"] = _mean_strokes(halves)
    return Reference(features, labels, is_test, _within(features, x, labels), strokes, splits, floor)


def _within(features: np.ndarray, x: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    flat = x.detach().cpu().flatten(1).numpy()
    return {"extractor": distances.within_people(features, labels), "pixels": distances.within_people(flat, labels)}


def evaluate_samples(
    data: SignatureSet,
    x: torch.Tensor,
    y: torch.Tensor | None,
    extractor: FeatureExtractor,
    seed: int = 0,
    n_splits: int = 10,
    label: str = "",
    reference: Reference | None = None,
    render: Render | None = None,
) -> dict[str, Any]:
    """Score generated signatures against the real ones.

    Parameters
    ----------
    data
        The real signatures, both sides of the split.
    x
        Generated ink ``[n, 1, 128, 128]``, *already rendered*; at least as many as half of the real ones.
    y
        Person index of each ``[n]``, or None for an unconditional model.
    feature extractor
        Features to measure in.
    seed, n_splits
        Random halves.
    label
        The model's name for readers.
    reference
        `make_reference` of the same data, where several models are scored; made here if None.
    render
        How the *real* signatures are rendered if `reference` is None; `render.render` by default.

    Returns
    -------
    dict
        ``label, n, frechet, frechet_floors, kernel, kernel_floors, precision,
        recall, density, coverage, top1, nearest_train, authenticity, copying_z, within_extractor, within_pixels,
        stroke, reconstruction`` (None here), plain floats. ``within_*`` is the distance of two samples of one person
        over that of two real signatures. ``*_floors`` is the distance over its floor. Scores have 95 % intervals
        ``*_low`` and ``*_high``: distances and overlaps over the halves (`interval`), shares of samples over people
        (`share_interval`).

    Raises
    ------
    ValueError
        If there are fewer samples than in half of the real signatures, or `y` does not fit.
    """
    reference = reference or make_reference(data, extractor, seed, n_splits, render)
    n_half, floor = len(reference.splits[0][0]), reference.floor
    who = label or "a model"
    if len(x) < n_half:
        raise ValueError(f"{who}: {len(x)} samples, but half of the real signatures are {n_half}; sample more")
    if y is not None and len(y) != len(x):
        raise ValueError(f"{who}: {len(x)} samples but {len(y)} person labels")
    fake = extractor.features(x)
    people = None if y is None else torch.as_tensor(y).cpu().numpy()
    scores = score_features(reference, fake, people, seed)
    train = ~reference.is_test
    real_train, real_test = reference.features[train], reference.features[~train]
    hits = dict(top1=None, nearest_train=None, authenticity=distances.is_authentic(fake, real_train))
    if people is not None:
        hits["top1"] = distances.nearest_is_own(fake, people, real_train, reference.labels[train])
    if len(real_test):
        hits["nearest_train"] = distances.nearer_than_held_out(fake, real_train, real_test)
    mean = {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
    limits = dict(frechet=(0, np.inf), kernel=(-np.inf, np.inf), density=(0, np.inf))
    ends = {k: distances.interval([s[k] for s in scores], *limits.get(k, (0, 1))) for k in mean}
    ends |= {k: (None, None) if h is None else distances.share_interval(h, people, seed) for k, h in hits.items()}
    within = dict.fromkeys(("extractor", "pixels"))
    if people is not None and len(np.unique(people)) < len(people):
        within = {name: value / reference.within[name] for name, value in _within(fake, x, people).items()}
    return {
        "label": label,
        "n": len(x),
        "frechet": mean["frechet"],
        "frechet_floors": mean["frechet"] / max(floor["frechet"], 1e-12),
        "kernel": mean["kernel"],
        "kernel_floors": mean["kernel"] / max(floor["kernel"], 1e-12),
        **{name: mean[name] for name in ("precision", "recall", "density", "coverage")},
        **{name: None if hit is None else float(hit.mean()) for name, hit in hits.items()},
        "copying_z": distances.copying_z(fake, real_train, real_test) if len(real_test) else None,
        **{f"within_{name}": value for name, value in within.items()},
        "stroke": score_strokes(reference, stroke_statistics(x), people, seed),
        "reconstruction": None,
        **{
            f"{name}_{end}": value
            for name, pair in ends.items()
            for end, value in zip(("low", "high"), pair, strict=True)
        },
    }


def score_features(
    reference: Reference, fake: np.ndarray, people: np.ndarray | None, seed: int = 0
) -> list[dict[str, float]]:
    """Scores of generated features ``[n, d]`` against either half of every split, equal n on both sides."""
    rng, scores = np.random.default_rng(seed), []
    for k, halves in enumerate(reference.splits):
        part = fake[balanced_subset(people, len(fake), len(halves[0]), rng)]
        scores += [distances.compare(reference.features[half], part, seed + k) for half in halves]
    return scores


def score_strokes(
    reference: Reference, strokes: dict[str, np.ndarray], people: np.ndarray | None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """`compare_strokes` against either half of every split, equal n on both sides, and its mean."""
    rng, found, total = np.random.default_rng(seed), [], len(next(iter(strokes.values())))
    for halves in reference.splits:
        part = _rows(strokes, balanced_subset(people, total, len(halves[0]), rng))
        found += [compare_strokes(_rows(reference.strokes, half), part) for half in halves]
    return _mean_strokes(found)


def _mean_strokes(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: float(np.mean([one[name][key] for one in found])) for key in ("mean", "w1_sd")} for name in found[0]
    }


def balanced_subset(people: np.ndarray | None, total: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` of `total` indices at random, as evenly over the people as their labels ``[total]`` allow."""
    order = rng.permutation(total)
    if people is None:
        return order[:n]
    seen: dict[int, int] = {}
    turn = np.empty(total, int)  # the how-manieth of its person each sample is
    for place, k in enumerate(order):
        turn[place] = seen[people[k]] = seen.get(people[k], -1) + 1
    return order[np.argsort(turn, kind="stable")][:n]


class AugmentedCopies:
    """The trap: training images, slightly moved and bent, offered as if they were generated.

    A score that praises them rewards copying. Has the interface of a run, so that it is scored like one.

    Parameters
    ----------
    data
        The signature set; its training side is copied.
    config
        How far the copies are changed; about a third of the training's augmentation by default, so that they
        stay copies to the eye.
    label
        Name for readers.
    ways
        `registration.displacements_to_others` of the training side: these are followed as well, and `config` is needed.
    """

    conditional = True

    def __init__(
        self,
        data: SignatureSet,
        config: AugmentConfig | None = None,
        label: str = "training images, slightly moved",
        ways: torch.Tensor | None = None,
    ):
        self.train, self.config, self.people, self.label = data.train, config, data.people, label
        self.ways = ways

    def sample(self, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """`n` changed copies ``[n, 1, 128, 128]`` and whose ``[n]``: of people, and of their signatures, in turn."""
        rng = np.random.default_rng(seed)
        labels = self.train.labels.cpu().numpy()
        own = [np.flatnonzero(labels == person) for person in np.unique(labels)]

        def in_turn(places: np.ndarray) -> Iterator[int]:
            while True:
                yield from rng.permutation(places)

        turns = [in_turn(places) for places in own]  # as models draw them
        index = torch.from_numpy(np.array([next(turns[k]) for k in np.resize(rng.permutation(len(own)), n)]))
        picked = self.train.subset(index)
        if self.ways is None:
            return moved_copies(picked.x, seed, self.config), picked.labels
        numbers, device = WARP_NUMBERS + self.ways.shape[1], picked.x.device
        noise = torch.randn(n, numbers, device=device, generator=torch.Generator(device).manual_seed(seed))
        parts = zip(*(values.split(64) for values in (picked.x, self.ways[index.to(device)], noise)), strict=True)
        moved = [warp_towards_others(x, ways, self.config, how, soften(x)) for x, ways, how in parts]
        return torch.cat(moved), picked.labels


def copies(data: SignatureSet) -> dict[str, AugmentedCopies]:
    """Baselines that generate nothing, by name: the trap, and what moves alone make of a person's samples."""
    train = data.train
    ways = displacements_to_others(train.x, train.labels)
    moves = PERSON_WARPS.times(warp_strength(train.images, train.labels, ways))
    far = AugmentedCopies(data, moves, "training images, moved like samples", ways)
    return {COPIES: AugmentedCopies(data), FAR_COPIES: far}


def moved_copies(x: torch.Tensor, seed: int = 0, config: AugmentConfig | None = None) -> torch.Tensor:
    """Signatures ``[n, 1, H, W]`` turned and bent by `config`; without it as little as in `AugmentedCopies`."""
    slight = AugmentConfig(rotation=2.0, scale=0.03, shear=0.03, elastic=0.7, probability=1.0)
    generator = torch.Generator(x.device).manual_seed(seed)
    return torch.cat([warp_ink(part, config or slight, generator) for part in x.split(64)])


def evaluate_runs(
    data: SignatureSet,
    runs: Mapping[str, Any],
    extractor: FeatureExtractor | None = None,
    seed: int = 0,
    n: int | None = None,
    n_splits: int = 10,
    labels: Mapping[str, str] | None = None,
    trap: bool = True,
    render: Render | None = None,
) -> dict[str, Any]:
    """Score several models by one protocol.

    Parameters
    ----------
    data
        The real signatures, both sides of the split.
    runs
        Name to run. A run has ``sample(n, seed=)`` to ``(x raw [n, 1, 128, 128], y [n])``; optionally
        ``conditional`` (False: `y` means nothing), ``people`` (IDs in the order of its `y`), ``label`` and
        ``reconstruct(x)`` (if it has a ``kind``: ``reconstruct(x, people)``), unless ``reconstructs`` is False.
    feature extractor
        Features to measure in; a CPU `FeatureExtractor` by default.
    seed
        Of the samples and the splits.
    n
        Samples a model; as many as real signatures by default, and never fewer.
    n_splits
        Random halves.
    labels
        Names for readers, by run name.
    trap
        Score `copy_test` as further models.
    render
        What every picture passes before it is scored; `render.render` by default. Reconstructions are scored
        unrendered, because a squared error should judge the model's own guess.

    Returns
    -------
    dict
        ``extractor, n`` (signatures a side in a comparison), ``floor, baselines, models``; JSON-serialisable.
    """
    extractor, render = extractor or FeatureExtractor(), _renderer(render)
    reference = make_reference(data, extractor, seed, n_splits, render)
    entries = {**runs, **(copies(data) if trap else {})}
    models = {}
    for name, run in entries.items():
        x, y = run.sample(max(n or 0, len(data)), seed=seed)
        known = y is not None and getattr(run, "conditional", True)
        y = _match_people(name, run, y, data) if known else None
        label = (labels or {}).get(name) or getattr(run, "label", None) or name
        models[name] = evaluate_samples(data, render(x), y, extractor, seed, label=label, reference=reference)
        if getattr(run, "reconstructs", hasattr(run, "reconstruct")) and len(data.test):
            held_out = data.test.x
            whose = [data.test.names] if hasattr(run, "kind") else []
            models[name]["reconstruction"] = score_reconstruction(held_out, run.reconstruct(held_out, *whose))
    floor = dict(reference.floor)
    n_half = floor.pop("n")
    baselines = reconstruction_baselines(data)
    return {"extractor": extractor.name, "n": n_half, "floor": floor, "baselines": baselines, "models": models}


def rendered(data: SignatureSet, render: Render | None = None) -> SignatureSet:
    """The signature set as the feature extractor sees it: every picture rendered, stored as uint8 again."""
    x = _renderer(render)(data.x)
    return replace(data, images=(x[:, 0] * 255).round().to(torch.uint8).to(data.device))


def _renderer(render: Render | None) -> Render:
    if render is None:
        from ..render import render  # scores do not need the data module otherwise
    return render


def _match_people(name: str, run: Any, y: torch.Tensor, data: SignatureSet) -> torch.Tensor:
    """A run's person indices as indices into ``data.people``."""
    people = list(getattr(run, "people", None) or data.people)
    if people == list(data.people):
        return y
    place = {person: k for k, person in enumerate(data.people)}
    if unknown := [person for person in people if person not in place]:
        raise ValueError(f"{name} knows people that the data lack ({unknown[0]} ...); score it on its own data")
    return torch.tensor([place[people[k]] for k in y.tolist()])


def _rows(strokes: dict[str, np.ndarray], index: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[index] for name, values in strokes.items()}
