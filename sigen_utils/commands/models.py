"""Commands: training, sampling, studies, and publishing weights.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from . import prior


def train(args: argparse.Namespace) -> int:
    from .. import paths
    from ..data import ensure_signatures, load_signatures
    from ..overrides import parse_overrides
    from ..profiles import get_profile
    from ..recipes import RECIPES
    from ..synthesis import Corpus

    on_corpus = args.model in ("autoencoder", "prior") and Path(args.data or "").suffix == ".npz"
    recipe = RECIPES[_name(args, on_corpus)]
    start = _start(args, recipe)
    if on_corpus:
        data = Corpus.load(args.data)
    else:
        data = load_signatures(args.data or ensure_signatures(get_profile()), train_per_person=args.train_per_person)
    recipe = recipe.for_class(data, start)
    of_model = [pair for pair in args.set if pair.split("=")[0] in recipe.model.__dataclass_fields__]
    of_training = [pair for pair in args.set if pair not in of_model]
    model, settings = parse_overrides(recipe.model, of_model), parse_overrides(recipe.train, of_training)
    recipe = replace(recipe, model=model, train=settings)
    images = args.images or recipe.images[get_profile().name]
    if args.steps:
        images = args.steps * settings.batch_size * recipe.trainer.signatures
    if args.model == "gan" and start is not None and start.discriminator is None:
        print("the discriminator begins at random: no pretrained one knows these codes")
    folder = Path(args.run or paths.runs_dir() / recipe.name)
    run = recipe.fit(data, folder, images, start=start, minutes=args.minutes, resume=args.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        cut = "" if run.config["finished"] else f", {run.config['share']:.0%} of its images: the minutes were up"
        print(f"{folder}: {run.history[-1]['step']} steps, loss {run.history[-1]['loss']:.3f}{cut}")
    return 0


def _name(args: argparse.Namespace, on_corpus: bool) -> str:
    """The recipe that is asked for."""
    if args.model in ("extractor", "autoencoder"):
        return args.model
    if args.model == "prior":
        return "corpus_prior" if on_corpus else "prior"
    ours = dict(pretrained={"vae": "vae_pretrained", "gan": "gan"}, scratch={"vae": "vae", "gan": "gan_alone"})
    return ours[args.recipe][args.model] if args.recipe in ours else f"{args.recipe}_{args.model}"


def _start(args: argparse.Namespace, recipe):
    """What `train` goes on from: the run or the pretrained networks named, else the committed ones, else nothing."""
    if recipe.start is None:
        if args.start:
            raise ValueError(f"--start: the recipe {recipe.name} begins at random and goes on from nothing")
        return None
    if args.model == "prior":
        return _codes(args.start)
    if recipe.name == "corpus_gan" and not args.start:
        raise ValueError("train gan --recipe corpus goes on from a VAE of that corpus: name its run with --start")
    start = _beginning(args.start)
    if start is None:
        raise ValueError("no pretrained networks in weights/pretrained; train with --scratch")
    return start


def _codes(named: str | None):
    """The run `named`, else the committed one, whose codes a flow learns."""
    from .. import paths
    from ..training.checkpoint import RunError, load_run

    start = load_run(named or paths.weights_dir() / "prior")
    if start.kind not in ("autoencoder", "prior"):
        raise RunError(f"{named}: holds a {start.kind}; --start needs a run of `train autoencoder` or `train prior`")
    return start


def _beginning(named: str | None):
    """The run or the pretrained networks `named`, else the committed ones; None where there are none."""
    from ..training import checkpoint

    if not named:
        return checkpoint.load_pretrained()
    if _published(named):
        return checkpoint.load_pretrained(named)
    run = checkpoint.load_run(named)
    if run.kind != "vae":
        raise ValueError("--start needs a run of `train vae`, or pretrained networks")
    return run


def sample(args: argparse.Namespace) -> int:
    import numpy as np

    from .. import paths
    from ..render import render
    from ..training.checkpoint import load_run

    if args.n < 1:
        raise ValueError(f"--n {args.n}: ask for one signature or more")
    run = load_run(args.run)
    if run.kind == "extractor":
        raise ValueError(f"{args.run}: a feature extractor measures; name a run of `train vae` or `train gan`")
    out = Path(args.out).with_suffix(".npz")
    if run.kind == "prior":
        x, names = prior.draw(run, args)
    elif args.new or args.like:
        raise ValueError(f"{args.run}: --new and --like need a run of `train prior`; this is a {run.kind}")
    else:
        x, y = run.sample(args.n, person=args.person, seed=args.seed)
        names = [""] * args.n if y is None else [run.people[k] for k in y.tolist()]
    x = (render(x)[:, 0] * 255).round().numpy().astype(np.uint8)
    with paths.atomic_write(out) as temporary:
        np.savez_compressed(temporary, x=x, y=np.array(names))
    print(f"{args.n} signatures -> {out}")
    return 0


def gallery(args: argparse.Namespace) -> int:
    from .. import figures
    from ..data import load_signatures
    from ..experiments.gallery import gallery
    from ..training.checkpoint import load_run

    run, data = load_run(args.run), load_signatures(args.data)
    if run.kind != "prior":
        raise ValueError(f"{args.run}: holds a {run.kind}; name a run of `train prior`")
    out = Path(args.out)
    met = bool(run.people) and run.config["data"]["fingerprint"] == data.fingerprint()
    print(figures.save_figure(gallery(run.model, data, args.seed, met), out.stem, "png", out.parent))
    return 0


def study(args: argparse.Namespace) -> int:
    from .. import figures
    from ..data import ensure_signatures, load_signatures
    from ..device import pick_device
    from ..experiments.search import GOALS, run_study, study_figure, summary
    from ..profiles import get_profile

    data = load_signatures(args.data or ensure_signatures(get_profile()), pick_device())
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    trials = run_study(args.model, data, args.storage or f"sqlite:///{out / 'study.db'}", args.trials)
    found = summary(trials, args.model)
    args.trials = len(found["trials"])  # a search that went on is repeated by one of all its trials
    _keep(args, f"search_{args.model}", found, data, out)
    states = [trial["state"] for trial in found["trials"]]
    print(", ".join(f"{states.count(state)} trials {state}" for state in sorted(set(states))))
    if found["best"]:
        print(f"best, {GOALS[args.model]}: {found['best']['value']:.3f} with {found['best']['params']}")
    if found["importance"]:
        print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in found["importance"].items()))
        print(figures.save_figure(study_figure(found), f"search_{args.model}", folder=out))
    return 0


def _keep(args: argparse.Namespace, name: str, found: dict, data, out: Path, part: bool = False) -> None:
    """Write a study as JSON to its folder and, with ``--record``, to results.json for notebook 06 and the report."""
    from .. import paths
    from ..experiments import studies

    with paths.atomic_write(out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    if args.record:
        print(f"{name} -> {paths.display(studies.record(name, found, data, _command(args), part))}")


def _command(args: argparse.Namespace) -> str:
    """What repeats this study, as a shell reads it: the words given, `trials` being all that the study has."""
    words = sys.argv[1:]
    if "--trials" in words:
        words[words.index("--trials") + 1] = str(args.trials)
    return shlex.join(words)


def ablate(args: argparse.Namespace) -> int:
    from ..data import load_signatures
    from ..device import pick_device
    from ..experiments.ablation import arms_of, in_lines, summary, train_arms

    data, out = load_signatures(args.data, pick_device()), Path(args.out)
    start = None if args.scratch else _beginning(args.start)
    kind = "alone" if args.model == "gan" and start is None else args.model
    arms = arms_of(kind, scratch=start is None)
    wanted = [*(args.arms or arms), *args.repeat]
    if unknown := set(wanted) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)}")
    arms = {name: arm for name, arm in arms.items() if name in wanted}
    seeds = {name: range(args.seeds) if name in args.repeat or not args.repeat else (0,) for name in arms}
    found = train_arms(data, arms, out / f"runs_{kind}", args.images, seeds, start, workers=args.workers)
    found = summary(found)
    _keep(args, f"ablation_{kind}", found, data, out, part=bool(args.arms))
    print("\n".join(in_lines(found)))
    return 0


def converge(args: argparse.Namespace) -> int:
    from .. import figures
    from ..data import load_signatures
    from ..device import pick_device
    from ..experiments.ablation import summary
    from ..experiments.seeds import collapsed, convergence_figure, repeat_training

    data, out = load_signatures(args.data, pick_device()), Path(args.out)
    start = None if args.scratch else _beginning(args.start)
    alone = dict(alone_images=args.alone_images, alone_seeds=range(args.alone_seeds), only=args.arms)
    found = repeat_training(data, out / "runs", args.images, range(args.seeds), start, workers=args.workers, **alone)
    found = summary(found)
    _keep(args, "convergence", found, data, out, part=bool(args.arms))
    figures.save_figure(convergence_figure(found), "convergence", folder=out)
    for recipe, entries in found["arms"].items():
        good, dead = sum(entry["converged"] for entry in entries), collapsed(entries)
        worst = max(entry.get("frechet_floors", math.inf) for entry in entries)
        print(f"{recipe}: {good} of {len(entries)} seeds converge, {dead} collapse; {worst:.1f} floors at worst")
    return 0


def publish(args: argparse.Namespace) -> int:
    import torch

    from .. import metrics
    from ..data import load_signatures
    from ..device import pick_device
    from ..training.checkpoint import load_run, publish, reconfigured

    device = pick_device()
    run, data = reconfigured(load_run(args.run, device), args.set), load_signatures(args.data, device)
    if run.config["data"]["fingerprint"] != data.fingerprint():
        raise ValueError(f"{args.run} was not trained on {args.data}; name the signatures that it was trained on")
    scores = metrics.evaluate_runs(data, {"model": run}, seed=args.seed, trap=False)
    card = _cost(run) | dict(
        seed=run.config["training"]["seed"], device=args.device, torch=torch.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        extractor=scores["extractor"], n=scores["n"], scores=scores["models"]["model"],
    )  # fmt: skip
    publish(run, args.out, card)
    print(f"{args.run} -> {args.out}: {card['scores']['frechet_floors']:.2f} floors")
    return 0


def publish_pretrained(args: argparse.Namespace) -> int:
    import torch

    from ..training.checkpoint import discriminator_of, load_run, publish_pretrained

    run, networks_d = load_run(args.vae), None
    if run.kind != "vae":
        raise ValueError(f"--vae {args.vae}: holds a {run.kind}")
    card: dict = dict(crowd=args.crowd, device=args.device, torch=torch.__version__, vae=_cost(run))
    if args.gan:
        gan_run = load_run(args.gan)
        if gan_run.kind != "gan":
            raise ValueError(f"--gan {args.gan}: holds a {gan_run.kind}")
        if gan_run.config["start"] != run.fingerprint():
            raise ValueError(f"{args.gan} did not start from {args.vae}: it knows other codes")
        networks_d, card["gan"] = discriminator_of(gan_run), _cost(gan_run)
    publish_pretrained(run, networks_d, args.out, card)
    print(f"{args.vae}{f', {args.gan}' if args.gan else ''} -> {args.out}")
    return 0


def _published(folder: str | Path) -> bool:
    """Whether a folder holds published pretrained networks, no run."""
    return (Path(folder) / "vae.safetensors").exists()


def publish_of_corpus(args: argparse.Namespace) -> int:
    import torch

    from ..training.checkpoint import load_run, publish_of_corpus

    run = load_run(args.run)
    if run.kind != args.kind:
        raise ValueError(f"{args.run}: holds a {run.kind}; name a run of `train {args.kind}`")
    publish_of_corpus(run, args.out, _cost(run) | dict(crowd=args.crowd, device=args.device, torch=torch.__version__))
    print(f"{args.run} -> {args.out}")
    return 0


def _cost(run) -> dict:
    """What a training took, from its own records."""
    last = run.history[-1]
    return dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60)
