"""The command ``evaluate``: three questions to every run, and to the rows without a model."""

from __future__ import annotations

import argparse
import json
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
        "copy_auc", "copy_z", "copy_z_in_turn", "copy_below_tenth", "copy_named",
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
    from ..metrics.no_model import draw_writers, rows_without_a_model
    from ..metrics.seen import VERIFIER, Eye
    from ..report import update_results
    from ..training.checkpoint import load_pretrained

    device = pick_device()
    data = load_signatures(args.data, "cpu", train_per_person=args.train_per_person)
    unseen = load_signatures(args.unseen) if args.unseen else None
    corpus = load_signatures(args.corpus).x if args.corpus else None
    folder = Path(args.cache or paths.home() / "build" / "cache")
    eye = Eye(folder=folder, device=device)
    cohort = questions.COHORT if unseen else 0
    writers = draw_writers(cohort + min((unseen or data).n_people, questions.PEOPLE), folder)
    samplers, labels = _samplers(args.runs, data, device)
    rows = rows_without_a_model(
        data.train, writers[cohort:], lambda x: eye(x, strokes=False).features[VERIFIER], load_pretrained()
    )
    samplers |= {name: [sampler] for name, sampler in rows.items()}
    if unseen is None:
        print("no --unseen: no table of new people (A) and none of strangers (C)")
    with torch.inference_mode():
        result = questions.evaluate(
            data, samplers, eye, unseen, writers[:cohort], corpus, labels, args.seed, args.strangers
        )
    with paths.atomic_write(args.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    if args.record:
        print(f"-> {paths.display(update_results('questions', result))}")
    show(result)
    return 0


def _samplers(named: list[str], data, device) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Samplers and labels by row, of ``DIR`` or ``NAME=DIR,DIR``; a run may fill several rows."""
    from ..sampling import adapters
    from .evidence import _runs_of

    samplers: dict[str, list[Any]] = {}
    for word in named:
        name, _, folders = word.rpartition("=")
        runs = [next(iter(_runs_of([folder], data, device).values())) for folder in folders.split(",")]
        name = name or Path(folders).name
        for run, folder in zip(runs, folders.split(","), strict=True):
            if run.people and list(run.people) != list(data.people):
                raise ValueError(f"{folder} knows other people than the data; judge it on what it was trained on")
            for ending, sampler in adapters(run).items():
                samplers.setdefault(name + ending, []).append(sampler)
        if any(len(some) != len(runs) for row, some in samplers.items() if row.startswith(name)):
            raise ValueError(f"{word}: two models of one name, or trainings of different models")
    return samplers, {row: row for row in samplers}


def show(result: Mapping[str, Any]) -> None:
    """Print the main columns of each table and what may be said about them."""
    from ..metrics.questions import sentences

    for key, columns in COLUMNS.items():
        table = result[key]
        if table is None:
            continue
        print(f"\n{TITLES[key]}")
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
    print("\nLikelihood of held-out signatures, nats an image")
    for name, cell in result["likelihood"].items():
        print(f"{name:16}{_cell(cell):>22}")
    print("seconds: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in result["seconds"].items()))


def _cell(cell: Mapping[str, float] | None) -> str:
    if cell is None:
        return "-"
    if cell["low"] == cell["high"]:
        return f"{cell['value']:.3g}"
    return f"{cell['value']:.3g} [{cell['low']:.2g}, {cell['high']:.2g}]"
