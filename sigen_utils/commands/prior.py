"""What `sample` draws from a VAE with a learned prior."""

from __future__ import annotations

import argparse

DRAW = "new people (--new), a known one (--person) or strangers by their signatures (--like)"


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
