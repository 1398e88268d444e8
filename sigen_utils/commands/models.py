"""Commands: training, sampling, searching, and handing on.

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
from pathlib import Path


def train(args: argparse.Namespace) -> int:
    from .. import overrides, paths, recipes
    from ..data import ensure_signatures, load_signatures
    from ..experiments import contestants
    from ..models import embedding, gan, vae
    from ..profiles import get_profile

    if args.alone and (args.model != "gan" or args.recipe == "report"):
        raise ValueError("--alone is a way to train our GAN, not another model or recipe")
    if args.alone and args.start:
        raise ValueError("--alone begins at random; nothing that --start names has part in it")
    start = None if args.alone else _start(args)
    data = load_signatures(args.data or ensure_signatures(get_profile()), train_per_person=args.train_per_person)
    name = _name(args, start)
    folder = Path(args.run or paths.runs_dir() / name)
    if args.model == "ruler":
        config, train_config = embedding.EmbeddingConfig(), recipes.RULER
    elif args.recipe == "report":
        config = vae.REPORT_VAE if args.model == "vae" else gan.REPORT_GAN
        train_config = recipes.VAE_REPORT if args.model == "vae" else recipes.GAN_REPORT
    else:
        make = dict(vae=recipes.vae_from, gan=recipes.gan_from)
        config, train_config = make[args.model](start, data)
    fit = dict(vae=recipes.fit_vae, gan=recipes.fit_gan, ruler=recipes.fit_ruler)[args.model]
    mine = [pair for pair in args.set if pair.split("=")[0] in config.__dataclass_fields__]
    config = overrides.parse_overrides(config, mine)
    train_config = overrides.parse_overrides(train_config, [pair for pair in args.set if pair not in mine])
    steps, minutes = args.steps, args.minutes
    if steps is None and minutes is None:
        if args.model == "ruler":
            raise ValueError("train ruler needs --steps or --minutes: it is made once, on a crowd, not in a profile")
        steps, minutes = contestants.budget_of(name, get_profile()).values()
    if args.model == "gan" and start is not None and start.judge is None:
        print("the discriminator begins at random: none has practised on these codes")
    run = fit(data, config, folder, start=start, steps=steps, minutes=minutes, train=train_config, resume=args.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        print(f"{folder}: {run.history[-1]['step']} steps, loss {run.history[-1]['loss']:.3f}")
    return 0


def _name(args: argparse.Namespace, start) -> str:
    """What the comparison calls such a model: the folder of its run, and whose budget it gets."""
    if args.recipe == "report":
        return f"report_{args.model}"
    if args.model == "gan":
        return "gan" if start else "gan_alone"
    return "vae_pretrained" if start and args.model == "vae" else args.model


def _start(args: argparse.Namespace):
    """What `train` goes on from: the run or the pretrained networks named, else the committed ones, else nothing."""
    if args.model == "ruler" or args.recipe == "report" or args.scratch:
        if args.start or (args.model == "ruler" and args.recipe == "report"):
            raise ValueError("--start begins our VAE and GAN with trained networks, not a ruler or another recipe")
        return None
    return _beginning(args)


def _beginning(args: argparse.Namespace):
    """The run or the pretrained networks named by ``--start``, else the committed ones; None with ``--scratch``."""
    from ..training import checkpoint

    if args.scratch:
        return None
    if not args.start:
        return checkpoint.load_pretrained()
    if _published(args.start):
        return checkpoint.load_pretrained(args.start)
    run = checkpoint.load_run(args.start)
    if run.kind != "vae":
        raise ValueError("--start needs a run of `train vae`, or pretrained networks")
    return run


def sample(args: argparse.Namespace) -> int:
    import numpy as np

    from .. import paths
    from ..render import render
    from ..training.checkpoint import load_run

    run = load_run(args.run)
    if run.kind == "ruler":
        raise ValueError(f"{args.run}: a ruler measures; name a run of `train vae` or `train gan`")
    out = Path(args.out).with_suffix(".npz")
    x, y = run.sample(args.n, person=args.person, seed=args.seed)
    ids = np.array([""] * args.n if y is None else [run.people[k] for k in y.tolist()])
    x = (render(x)[:, 0] * 255).round().numpy().astype(np.uint8)
    with paths.atomic_write(out) as temporary:
        np.savez_compressed(temporary, x=x, y=ids)
    print(f"{args.n} signatures -> {out}")
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
    start = _beginning(args)
    kind = "alone" if args.model == "gan" and start is None else args.model
    arms = arms_of(kind, data, start)
    wanted = [*(args.arms or arms), *args.repeat]
    if unknown := set(wanted) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)}")
    arms = {name: arm for name, arm in arms.items() if name in wanted}
    seeds = {name: range(args.seeds) if name in args.repeat or not args.repeat else (0,) for name in arms}
    found = summary(train_arms(data, arms, out / f"runs_{kind}", seeds, args.minutes, args.steps, workers=args.workers))
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
    start = _beginning(args)
    budget = dict(minutes=args.minutes, steps=args.steps, alone_steps=args.alone_steps, workers=args.workers)
    alone = dict(alone_seeds=range(args.alone_seeds), only=args.arms)
    found = summary(repeat_training(data, out / "runs", range(args.seeds), **budget, start=start, **alone))
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
    last = run.history[-1]
    card = dict(
        steps=last["step"], images=last["images"], minutes=last["seconds"] / 60, seed=run.config["training"]["seed"],
        device=args.device, torch=torch.__version__, platform=f"{platform.system()} {platform.machine()}",
        ruler=scores["ruler"], n=scores["n"], scores=scores["models"]["model"],
    )  # fmt: skip
    publish(run, args.out, card)
    print(f"{args.run} -> {args.out}: {card['scores']['frechet_floors']:.2f} floors")
    return 0


def publish_pretrained(args: argparse.Namespace) -> int:
    import torch

    from ..training.checkpoint import discriminator, load_pretrained, load_run, publish_pretrained

    run, judge = load_run(args.vae), None
    if run.kind != "vae":
        raise ValueError(f"--vae {args.vae}: holds a {run.kind}")
    phases = [phase for folder in (*args.before, args.vae) for phase in _phases(folder, "vae")]
    sums = {name: sum(phase[name] for phase in phases) for name in ("steps", "images", "minutes")}
    card: dict = dict(crowd=args.crowd, device=args.device, torch=torch.__version__, vae=sums | dict(phases=phases))
    if args.gan:
        if _published(args.gan):
            judge = load_pretrained(args.gan).judge
            understood = args.gan in args.before
        else:
            gan_run = load_run(args.gan)
            if gan_run.kind != "gan":
                raise ValueError(f"--gan {args.gan}: holds a {gan_run.kind}")
            judge = discriminator(gan_run)
            starts = [load_run(one).fingerprint() for one in (*args.before, args.vae) if not _published(one)]
            understood = gan_run.config["start"] in starts
        if not understood:
            raise ValueError(
                f"{args.gan} did not start from {args.vae} nor from what is --before it: it knows other codes"
            )
        (card["gan"],) = _phases(args.gan, "gan")
    publish_pretrained(run, judge, args.out, card)
    print(f"{args.vae}{f', {args.gan}' if args.gan else ''} -> {args.out}")
    return 0


def _published(folder: str | Path) -> bool:
    """Whether a folder holds published pretrained networks, no run."""
    return (Path(folder) / "vae.safetensors").exists()


def publish_ruler(args: argparse.Namespace) -> int:
    import torch

    from ..training.checkpoint import load_run, publish_ruler

    run = load_run(args.run)
    if run.kind != "ruler":
        raise ValueError(f"{args.run}: holds a {run.kind}; name a run of `train ruler`")
    last = run.history[-1]
    card = dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60, crowd=args.crowd)
    publish_ruler(run, args.out, card | dict(device=args.device, torch=torch.__version__))
    print(f"{args.run} -> {args.out}")
    return 0


def _phases(folder: str | Path, kind: str) -> list[dict]:
    """What a training took, from its own records, or what those did that published networks come from."""
    from ..training.checkpoint import CARD, CONFIG, read_history

    if _published(folder):
        known = json.loads((Path(folder) / CARD).read_text())[kind]
        return known.get("phases") or [known]
    last, config = read_history(folder)[-1], json.loads((Path(folder) / CONFIG).read_text())
    data = config["data"]["fingerprint"]
    return [dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60, data=data)]
