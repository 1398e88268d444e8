"""Commands of the VAE with a learned prior: training its two parts, and drawing from it."""

from __future__ import annotations

import argparse
from pathlib import Path

DRAW = "new people (--new), a known one (--person) or strangers by their signatures (--like)"


def train(args: argparse.Namespace) -> int:
    from .. import paths, recipes
    from ..data import ensure_signatures, load_signatures
    from ..models.autoencoder import AutoencoderConfig
    from ..overrides import parse_overrides
    from ..profiles import get_profile
    from ..synthesis import Corpus
    from ..training.checkpoint import RunError, load_run

    if args.steps is None and args.minutes is None:
        raise ValueError(f"train {args.model} needs --steps or --minutes")
    if args.data and Path(args.data).suffix == ".npz":
        data = Corpus.load(args.data)
    else:
        data = load_signatures(args.data or ensure_signatures(get_profile()), train_per_person=args.train_per_person)
    start = None
    if args.model == "autoencoder":
        config, train_config = AutoencoderConfig(), recipes.AUTOENCODER
        fit = recipes.fit_autoencoder
    else:
        start = load_run(args.start or paths.weights_dir() / "prior")
        if start.kind not in ("autoencoder", "prior"):
            raise RunError(
                f"{args.start}: holds a {start.kind}; --start needs a run of `train autoencoder` or `train prior`"
            )
        config, train_config = recipes.prior_from(start, data)
        fit = recipes.fit_prior
    mine = [pair for pair in args.set if pair.split("=")[0] in config.__dataclass_fields__]
    config = parse_overrides(config, mine)
    train_config = parse_overrides(train_config, [pair for pair in args.set if pair not in mine])
    folder = Path(args.run or paths.runs_dir() / args.model)
    run = fit(
        data, config, folder, start=start, steps=args.steps, minutes=args.minutes, train=train_config,
        resume=args.resume,
    )  # fmt: skip
    print(f"{folder}: {run.history[-1]['step']} steps, loss {run.history[-1]['loss']:.3f}")
    return 0


def draw(run, args: argparse.Namespace):
    """Raw ink ``[n, 1, 128, 128]`` and the name of the writer of each, as `args` of `sample` ask for."""
    import torch

    from ..data import read_signature

    model, generator = run.model, torch.Generator().manual_seed(args.seed)
    if args.n < 1 or args.per_person < 1:
        raise ValueError(f"--n {args.n} --per-person {args.per_person}: ask for at least one signature")
    if args.like:
        references = torch.stack([read_signature(path) for path in args.like])[None]  # [1, k, 1, 128, 128]
        return model.like(references.expand(args.n, -1, -1, -1, -1), generator), ["like"] * args.n
    if args.person is not None:
        y = torch.full((args.n,), run.person_index(args.person))
        return model.known(y, generator), [args.person] * args.n
    if not args.new:
        raise ValueError(f"{args.run}: say who is to sign: {DRAW}")
    people = -(-args.n // args.per_person)
    names = [f"new-{k // args.per_person + 1}" for k in range(args.n)]
    return model.new(people, args.per_person, generator)[: args.n], names
