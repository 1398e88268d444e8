"""The command ``evaluate``: three questions to every run, and to the rows without a model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLUMNS = {  # of what is printed; the file holds all scores
    "new": (
        "efflite0_block10/frechet", "signature_crowd/frechet", "efflite0_block10/coverage",
        "signature_crowd/novelty_auc", "signature_crowd/top1", "signature_crowd/within", "collisions",
    ),
    "known": (
        "efflite0_block10/energy", "signature_crowd/energy", "signature_crowd/top1", "signature_crowd/within",
        "copy_auc", "copy_z", "copy_z_leave_one_out", "copy_below_tenth", "copy_named",
    ),
    "like": ("euclidean/global", "s_norm/global", "svm_rbf/global", "svm_rbf/person"),
}  # fmt: skip
TITLES = dict(new="A. New people", known="B. Known people", like="C. Strangers, from one signature")


def evaluate(args: argparse.Namespace) -> int:
    import torch

    from .. import paths
    from ..data import load_signatures
    from ..device import pick_device
    from ..metrics import questions
    from ..metrics.drawn import Drawn
    from ..metrics.no_model import draw_writers, rows_without_a_model
    from ..metrics.seen import VERIFIER, Eye
    from ..report import update_results
    from ..training.checkpoint import load_run

    device = pick_device()
    data = load_signatures(args.data, "cpu", train_per_person=args.train_per_person)
    unseen = load_signatures(args.unseen) if args.unseen else None
    corpus = _corpus(args.corpus) if args.corpus else None
    folder = Path(args.cache or paths.home() / "build" / "cache")
    eye = Eye(folder=folder, device=device)
    cohort = questions.COHORT if unseen else 0
    writers = draw_writers(cohort + min((unseen or data).n_people, questions.PEOPLE), folder)
    samplers, labels = _samplers(args.runs, data, device)
    for word in args.drawn:
        name, _, file = word.rpartition("=")
        sampler = Drawn(file)
        name = name or sampler.label
        if name in samplers:
            raise ValueError(f"{word}: two rows of one name")
        samplers[name], labels[name] = [sampler], name
    rows = rows_without_a_model(
        data.train, writers[cohort:], lambda x: eye(x, strokes=False).features[VERIFIER],
        load_run(paths.weights_dir() / "prior").model.vae,
    )  # fmt: skip
    samplers |= {name: [sampler] for name, sampler in rows.items()}
    if unseen is None:
        print("no --unseen: no table of new people (A) and none of strangers (C)")
    with torch.no_grad():
        result = questions.evaluate(
            data, samplers, eye, unseen, writers[:cohort], corpus, labels, args.seed, args.strangers
        )
    paths.write_json(args.out, result)
    if args.record:
        print(f"-> {paths.display(update_results('questions', result))}")
    show(result)
    return 0


def _corpus(path: str):
    """Ink ``[N, 1, 128, 128]`` of a `corpus`, as bool, or of any other set of signatures."""
    import numpy as np
    import torch

    from ..data import load_signatures
    from ..synthesis import Corpus

    if Path(path).suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            packed = "bits" in archive
        if packed:
            rows = Corpus.load(path, 0).bits.reshape(-1, 128, 16)
            return torch.from_numpy(np.unpackbits(rows, axis=-1)).bool()[:, None]
    return load_signatures(path).x


def _samplers(named: list[str], data, device) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Samplers and labels by row, of ``DIR`` or ``NAME=DIR,DIR``; a VAE of the class fills a second row: Gaussians."""
    from ..experiments.comparison import LABELS
    from ..sampling import gaussians_of

    samplers: dict[str, list[Any]] = {}
    for word in named:
        name, _, folders = word.rpartition("=")
        runs = [run_of(folder, data, device) for folder in folders.split(",")]
        name = name or Path(folders).name
        if name in samplers or len({run.kind for run in runs}) > 1:
            raise ValueError(f"{word}: two models of one name, or trainings of different models")
        samplers[name] = [run.sampler for run in runs]
        if runs[0].kind == "vae":
            samplers[f"{name} Gaussians"] = [gaussians_of(run.model, data.train.x) for run in runs]
    return samplers, {row: LABELS.get(row, row) for row in samplers}


def run_of(folder: str | Path, data, device="cpu"):
    """A run that was trained on `data`, in this split, or on a corpus of synthetic writers.

    Raises
    ------
    ValueError
        If it was trained on other signatures.
    """
    from ..training.checkpoint import load_run

    run = load_run(folder, device)
    about = run.config["data"]
    if about["people"] and about["fingerprint"] != data.fingerprint():
        raise ValueError(f"{folder} was trained on other signatures, or another split of them (--train-per-person)")
    return run


def show(result: Mapping[str, Any]) -> None:
    """Print the main columns of each table and what may be said about them."""
    for key in COLUMNS:
        if result[key] is not None:
            print(f"\n{TITLES[key]}")
            show_table(key, result[key])
    print("\nLikelihood of held-out signatures, nats an image")
    for name, cell in result["likelihood"].items():
        print(f"{name:16}{_cell(cell):>22}")
    print("seconds: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in result["seconds"].items()))


def show_table(key: str, table: Mapping[str, Any]) -> None:
    """Print the main columns of one table, and what may be said about them."""
    from ..metrics.questions import sentences

    columns = COLUMNS[key]
    rows = {"genuine": dict(label="genuine", scores=table["genuine"])} if table["genuine"] else {}
    rows |= table["rows"]
    width = max(len(about["label"]) for about in rows.values())
    for column in columns:
        print(f"  {column}: {table['goals'].get(column, '')}")
    for about in rows.values():
        cells = [about["scores"].get(column) for column in columns]
        print(f"{about['label']:{width}}" + "".join(f"{_cell(cell):>22}" for cell in cells))
    ranked = [column for column in columns if column in table["rank"]]
    print("\n".join(f"  {sentence}" for sentence in sentences(table, ranked)))


def _cell(cell: Mapping[str, float] | None) -> str:
    if cell is None:
        return "-"
    if cell["low"] == cell["high"]:
        return f"{cell['value']:.3g}"
    return f"{cell['value']:.3g} [{cell['low']:.2g}, {cell['high']:.2g}]"
