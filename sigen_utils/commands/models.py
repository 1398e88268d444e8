"""Commands: training, sampling, studies, and publishing weights and a page.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

DRAW = "new people (--new), a known one (--person) or strangers by their signatures (--like)"
OF_A_CORPUS = dict(vae="corpus_vae", prior="corpus_prior", gan_alone="corpus_gan_alone")  # the recipes for a corpus
RECIPES_OF_ARCHIVES = ("extractor",)  # they read a `crowd`, a set of signatures in one file


def train(args: argparse.Namespace) -> int:
    from .. import paths
    from ..data import ensure_signatures, load_signatures
    from ..overrides import parse_overrides
    from ..profiles import get_profile
    from ..recipes import RECIPES
    from ..synthesis import Corpus

    on_corpus = Path(args.data or "").suffix == ".npz" and args.recipe not in RECIPES_OF_ARCHIVES
    name = OF_A_CORPUS.get(args.recipe, args.recipe) if on_corpus else args.recipe
    name = "vae" if name == "prior" else name  # the training of the prior is what meets a class
    if name not in RECIPES:
        raise ValueError(f"no recipe {args.recipe!r}; choose of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if recipe.start is None and args.start:
        raise ValueError(f"--start: the recipe {name} begins at random and goes on from nothing")
    if on_corpus:
        data = Corpus.load(args.data)
    else:
        data = load_signatures(args.data or ensure_signatures(get_profile()), train_per_person=args.train_per_person)
    start = _start(args, recipe, data)
    recipe = recipe.for_class(data, start)
    of_model = [pair for pair in args.set if pair.split("=")[0] in recipe.model.__dataclass_fields__]
    of_training = [pair for pair in args.set if pair not in of_model]
    model, settings = parse_overrides(recipe.model, of_model), parse_overrides(recipe.train, of_training)
    recipe = replace(recipe, model=model, train=settings)
    images = args.images or recipe.images[get_profile().name]
    if args.steps:
        images = args.steps * settings.batch_size * recipe.trainer.signatures
    folder = Path(args.run or paths.runs_dir() / recipe.name)
    run = recipe.fit(data, folder, images, start=start, minutes=args.minutes, resume=args.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        cut = "" if run.config["finished"] else f", {run.config['share']:.0%} of its images: the minutes were up"
        print(f"{folder}: {run.history[-1]['step']} steps, loss {run.history[-1]['loss']:.3f}{cut}")
    return 0


def _start(args: argparse.Namespace, recipe, data):
    """The run that `train` goes on from: the one named, else the recipe's own; None for random weights."""
    from .. import paths
    from ..experiments.comparison import finished
    from ..training.checkpoint import RunError, load_run

    if recipe.start is None:
        return None
    if args.start:
        start = load_run(args.start)
    elif recipe.start.startswith("weights/"):
        start = load_run(paths.weights_dir() / Path(recipe.start).name)
    else:
        start = finished(recipe.start, data)
        if start is None and recipe.name == "gan":
            start = load_run(paths.weights_dir() / "prior")
        if start is None:
            raise ValueError(f"train {recipe.name} goes on from a run of `train {recipe.start}`: name it with --start")
    if start.kind not in ("vae", "prior", "prior_gan") or (recipe.name == "gan" and start.kind == "vae"):
        raise RunError(f"{start.run_dir}: holds a {start.kind}; {recipe.name} goes on from a run of `train vae`")
    return start


def seeds(args: argparse.Namespace) -> int:
    """The models of the comparison again with further seeds; finished trainings are only loaded."""
    from ..data import ensure_signatures, load_signatures
    from ..device import pick_device
    from ..experiments import comparison
    from ..profiles import get_profile

    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds}: ask for one or more")
    profile, device = get_profile(), pick_device()
    data = load_signatures(ensure_signatures(profile), device)
    names = args.models or [name for name in comparison.NAMES if name not in comparison.COMMITTED]
    for seed in range(args.seeds):
        comparison.obtain(data, profile, names, seed, device)
    print(f"{len(names)} models, {args.seeds} seeds each; notebook 04 and `all --first 4` score them together")
    return 0


def sample(args: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from .. import paths
    from ..data import read_signature
    from ..render import render
    from ..sampling import offers
    from ..training.checkpoint import load_run

    if args.n < 1 or args.per_person < 1:
        raise ValueError(f"--n {args.n} --per-person {args.per_person}: ask for at least one signature")
    run = load_run(args.run)
    if run.kind == "extractor":
        raise ValueError(f"{args.run}: a feature extractor measures; name a run of `train vae` or `train gan`")
    if args.like:
        if not offers(run.sampler, "like"):
            raise ValueError(f"{args.run}: --like needs a model with a learned prior; this is a {run.kind}")
        references = torch.stack([read_signature(path) for path in args.like])[None]  # [1, k, 1, 128, 128]
        generator = torch.Generator().manual_seed(args.seed)
        x = run.sampler.like(references.expand(args.n, -1, -1, -1, -1), generator)
        names = ["like"] * args.n
    elif args.person is not None or args.new:
        x = run.sample(args.n, args.person, args.seed, args.per_person)
        new = [f"new-{k // args.per_person + 1}" for k in range(args.n)]
        names = new if args.person is None else [args.person] * args.n
    else:
        raise ValueError(f"{args.run}: say who is to sign: {DRAW}")
    pictures = (render(x)[:, 0] * 255).round().numpy().astype(np.uint8)
    out = Path(args.out)
    if out.suffix == ".npz":
        with paths.atomic_write(out) as temporary:
            np.savez_compressed(temporary, x=pictures, y=np.array(names))
    else:
        _write_folder(out, pictures, names)
    print(f"{args.n} signatures -> {out}")
    return 0


def _write_folder(folder: Path, pictures, names: list[str]) -> None:
    """``<folder>/<person>/<number>.png``, black on white, that read as a set of signatures."""
    from ..images import save_generated

    count: dict[str, int] = {}
    for picture, name in zip(pictures, names, strict=True):
        count[name] = count.get(name, 0) + 1
        save_generated(255 - picture, folder / name / f"{count[name]}.png")


def gallery(args: argparse.Namespace) -> int:
    from .. import figures
    from ..data import load_signatures
    from ..experiments.gallery import gallery
    from ..training.checkpoint import load_run

    run, data = load_run(args.run), load_signatures(args.data)
    if run.kind not in ("prior", "prior_gan"):
        raise ValueError(f"{args.run}: holds a {run.kind}; name a run of `train vae` or `train gan`")
    out = Path(args.out)
    met = bool(run.people) and run.config["data"]["fingerprint"] == data.fingerprint()
    print(figures.save_figure(gallery(run.model, data, args.seed, met), out.stem, "png", out.parent))
    return 0


def ablate(args: argparse.Namespace) -> int:
    from ..data import load_signatures
    from ..device import pick_device
    from ..experiments import studies
    from ..synthesis import Corpus
    from ..training.checkpoint import load_run

    data, unseen = load_signatures(args.data, pick_device()), load_signatures(args.unseen)
    arms = studies.arms_of(args.study)
    if unknown := set(args.arms or arms) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)}")
    arms = {name: arm for name, arm in arms.items() if name in (args.arms or arms)}
    start = load_run(args.start) if args.start else None
    corpus = Corpus.load(args.corpus) if args.corpus else None
    found = studies.train_arms(
        studies.Judge(data, unseen), arms, Path(args.out) / "runs", args.images, range(args.seeds), start, corpus
    )
    _keep(args, args.study, found, data)
    print("\n".join(studies.in_lines(found)))
    return 0


def _keep(args: argparse.Namespace, name: str, found: dict, data) -> None:
    """Write a study as JSON to its folder and, with ``--record``, to results.json for the notebooks and the report."""
    from .. import paths
    from ..experiments import studies

    paths.write_json(Path(args.out) / f"{name}.json", found)
    if args.record:
        stored = studies.record(name, found, data, shlex.join(sys.argv[1:]))
        print(f"{name} -> {paths.display(stored)}")


def publish(args: argparse.Namespace) -> int:
    import torch

    from ..training.checkpoint import load_run, publish

    run = load_run(args.run)
    last = run.history[-1]
    cost = dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60)
    publish(run, args.out, cost | dict(crowd=args.crowd, device=args.device, torch=torch.__version__))
    print(f"{args.run} -> {args.out}")
    return 0


def page(args: argparse.Namespace) -> int:
    from .. import paths
    from ..page import write_site
    from ..training.checkpoint import load_run

    if args.people < 2:
        raise ValueError("--people: two or more, for they have to differ")
    write_site(load_run(args.run or paths.weights_dir() / "prior"), Path(args.out), args.ort, args.people)
    print(f"{args.out}: put it on any web server, or look at it: python -m http.server --directory {args.out}")
    return 0
