"""Commands: scores, and what they are good for.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def _runs_of(folders: list[str], data, device) -> dict:
    """Runs by the names of their folders; each has to have been trained on `data`, in this split."""
    from ..training.checkpoint import CARD, load_run

    found: dict = {}
    for folder in map(Path, folders):
        run = load_run(folder, device)
        about, thumbnails = run.config["data"], run.thumbnails()
        # Other versions of libraries round a picture otherwise, so a published run may know another fingerprint
        alike = about["n_train"] == len(data.train) and thumbnails is not None and (folder / CARD).exists()
        if about["fingerprint"] != data.fingerprint() and not (alike and data.matches(run.people, thumbnails)):
            raise ValueError(f"{folder} was trained on other signatures, or another split of them (--train-per-person)")
        if folder.name in found:
            raise ValueError(f"two runs are called {folder.name}; rename the folder of one")
        found[folder.name] = run
    return found


def usefulness(args: argparse.Namespace) -> int:
    from .. import metrics, paths
    from ..data import load_signatures
    from ..device import pick_device
    from ..training.checkpoint import load_pretrained

    device = pick_device()
    data = load_signatures(args.data, device, train_per_person=args.train_per_person)
    runs = _runs_of(args.runs, data, device)
    start = load_pretrained()
    makers = {"moved copies of the one": metrics.moved_copies}
    makers |= {"pretrained VAE, from the one": start.duplicate} if start else {}
    extractor = (
        metrics.SignatureExtractor(device=device) if args.extractor == "signature" else metrics.FeatureExtractor(device)
    )
    result = metrics.measure_usefulness(data, runs, makers, extractor, ks=args.duplicates, seed=args.seed)
    with paths.atomic_write(args.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    study = result["duplicates"]
    print(f"{result['people']} people, {result['train_per_person']} signatures each to train on, {result['extractor']}")
    rate = "EER {eer:.2%} [{eer_low:.2%}, {eer_high:.2%}]"
    print("one genuine reference: " + rate.format_map(study["one"]))
    for n, one in study["genuine"].items():
        print(f"{n} genuine references: " + rate.format_map(one))
    for name, by_number in study["models"].items():
        for k, one in by_number.items():
            saved = "{cut:.0%} [{cut_low:.0%}, {cut_high:.0%}] saved".format_map(one)
            print(f"one and {k} by {name}: {rate.format_map(one)}, {saved}")
    for name, share in result["accepted"].items():
        print(f"accepted at the equal error rate, {name}: {share:.1%}")
    for name, one in result["classification"].items():
        ways = " / ".join("-" if one[k] is None else f"{one[k]:.1%}" for k in ("train_on_these", "test_on_these"))
        print(f"classifier trained / tested on {name}: {ways}, score {one['score']:.1f}")
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
    with paths.atomic_write(out / "realism.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1))
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

    data = load_signatures(args.data, train_per_person=args.train_per_person)
    (run,) = _runs_of([args.run], data, "cpu").values()
    fake, _ = run.sample(args.n, seed=args.seed)
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
