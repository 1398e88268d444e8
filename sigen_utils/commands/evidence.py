"""Commands: scores, and what they are good for.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def usefulness(args: argparse.Namespace) -> int:
    """Table C alone: what duplicates of one signature of a stranger save."""
    import torch

    from .. import paths
    from ..data import load_signatures
    from ..device import pick_device
    from ..metrics import questions
    from ..metrics.no_model import Copies, Warps, draw_writers
    from ..metrics.seen import Eye
    from .evaluation import TITLES, run_of, show_table

    device = pick_device()
    data, unseen = load_signatures(args.data), load_signatures(args.unseen)
    folder = Path(args.cache or paths.home() / "build" / "cache")
    runs = {Path(one).name: [run_of(one, data, device).sampler] for one in args.runs}
    rows = runs | dict(copies=[Copies(data.train)], warps=[Warps(data.train)])
    with torch.no_grad():
        table = questions.strangers_only(rows, Eye(folder=folder, device=device), unseen, draw_writers(400, folder),
                                         args.seed, args.strangers)  # fmt: skip
    paths.write_json(args.out, table)
    print(TITLES["like"])
    show_table("like", table)
    return 0


def verify(args: argparse.Namespace) -> int:
    import numpy as np
    import torch
    from scipy.spatial.distance import cdist, pdist

    from .. import metrics, paths
    from ..data import load_forgeries, load_signatures
    from ..render import render

    data = load_signatures(args.data)
    extractors = [metrics.FeatureExtractor()]
    if args.extractor or (paths.weights_dir() / "extractor" / "config.json").exists():
        extractors.append(metrics.SignatureExtractor(args.extractor))
    x, labels = render(data.x), data.labels.numpy()
    if args.forgeries:
        images, whom = load_forgeries(args.data, data.people)
        x_forged = render(torch.from_numpy(images)[:, None].float() / 255)
    for extractor in extractors:
        features = extractor.features(x)
        score = metrics.verification(features, labels, args.seed)
        rates = "EER {eer:.2%} [{eer_low:.2%}, {eer_high:.2%}], top-1 {top1:.2%}".format_map(score)
        print(f"{extractor.name}: {rates}, {score['n']} signatures of {score['people']} people")
        if args.forgeries:
            genuine = [distance for k in range(data.n_people) for distance in pdist(features[labels == k])]
            forged = [cdist(extractor.features(x_forged[whom == k]), features[labels == k]) for k in np.unique(whom)]
            rate, _ = metrics.equal_error_rate(np.array(genuine), np.concatenate([part.ravel() for part in forged]))
            print(f"{extractor.name}: EER {rate:.2%} against {len(whom)} skilled forgeries of {len(forged)} people")
    return 0


def realism(args: argparse.Namespace) -> int:
    import torch

    from .. import figures, metrics, paths
    from ..data import load_signatures
    from ..render import render

    real, other = load_signatures(args.real), load_signatures(args.data)
    if min(len(real), len(other)) < 40:
        raise ValueError("the picture shows 40 signatures a side; name larger folders")
    result = metrics.compare_collections(real, other, seed=args.seed)
    out = Path(args.out)
    paths.write_json(out / "realism.json", result)
    generator = torch.Generator().manual_seed(args.seed)
    sides = [side.x[torch.randperm(len(side), generator=generator)[:40]] for side in (real, other)]
    sides = [render(x).unflatten(0, (-1, 5))[:8] for x in sides]  # [8 rows, 5, 1, 128, 128]
    fig = figures.image_grid(torch.cat(sides, dim=1).flatten(0, 1), 10, divider=5)
    figures.save_figure(fig, "realism", folder=out)
    print(f"{result['frechet_floors']:.2f} floors at n = {result['n']} ({result['extractor']})")
    for name in ("within", "between", "top1"):
        print(f"{name:8} real {result['real'][name]:7.3f}   compared {result['other'][name]:7.3f}")
    for name, stroke in result["stroke"].items():
        print(f"{name:11} {stroke['w1_sd']:.2f} sd")
    return 0


def blind_test(args: argparse.Namespace) -> int:
    from ..data import load_signatures
    from ..experiments.blind_test import make_items, write_page
    from ..render import render
    from .evaluation import run_of

    data = load_signatures(args.data, train_per_person=args.train_per_person)
    run = run_of(args.run, data)
    fake = run.sample(args.n, seed=args.seed)
    items = make_items(render(data.test.x), render(fake), args.n, args.seed)
    print(f"{args.n} signatures -> {write_page(items, args.out, model=Path(args.run).name)}; open it in a browser")
    return 0


def blind_score(args: argparse.Namespace) -> int:
    from ..experiments.blind_test import in_words, score_answers

    sheets = []
    for path in map(Path, args.answers):
        try:
            sheets.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error}); name files that the page has saved") from error
    score = score_answers(sheets)
    print(f"{score['people']} people: {in_words(score)}")
    return 0
