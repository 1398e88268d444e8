"""The command line: ``python -m sigen_utils <command>``, the notebooks' functions for scripts and torchrun."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

NOTEBOOKS = ("01_data_extraction", "02_vae", "03_gan", "04_comparison", "05_usefulness")


def synthesize(args: argparse.Namespace) -> int:
    from .synthesis import SynthesisConfig, synthesize

    config = SynthesisConfig(people=args.people, per_person=args.per_person, seed=args.seed)
    synthesize(args.out, config, workers=args.workers)
    return 0


def crowd(args: argparse.Namespace) -> int:
    from .runs import parse_overrides
    from .synthesis import CrowdConfig, write_crowd

    config = CrowdConfig(writers=args.writers, per_writer=args.per_writer, seed=args.seed)
    write_crowd(args.out, parse_overrides(config, args.set), workers=args.workers)
    return 0


def extract(args: argparse.Namespace) -> int:
    from .extraction import ExtractionConfig, extract

    result = extract(args.sheets, args.out, ExtractionConfig(), workers=args.workers)
    print(f"{result.n_sheets} sheets, {result.n_people} people, {result.n_signatures} signatures")
    for line in result.errors:
        print(f"error: {line}", file=sys.stderr)
    return 1 if result.errors else 0


def stress(args: argparse.Namespace) -> int:
    from . import stress
    from .paths import display

    results = stress.stress(args.out, seeds=args.seeds, workers=args.workers)
    faults = [fault for result in results for fault in result.faults]
    print(f"{sum(r.found for r in results)} of {sum(r.cells for r in results)} cells found -> {display(args.out)}")
    for fault in faults:
        print(f"fails: {fault}", file=sys.stderr)
    return 1 if faults else 0


def train(args: argparse.Namespace) -> int:
    from . import embedding, gan, paths, runs, training, vae
    from .data import ensure_signatures, load_signatures
    from .profiles import get_profile

    start = _start(args)
    data = load_signatures(args.data or ensure_signatures(get_profile()), train_per_person=args.train_per_person)
    folder = Path(args.run or paths.runs_dir() / args.model)
    if args.model == "ruler":
        config, train_config = embedding.EmbeddingConfig(), training.RULER
    elif args.recipe == "report":
        config = vae.REPORT_VAE if args.model == "vae" else gan.REPORT_GAN
        train_config = training.VAE_REPORT if args.model == "vae" else training.GAN_REPORT
    else:
        make = training.vae_from if args.model == "vae" else training.gan_from
        config, train_config = make(start, data)
    fit = dict(vae=training.fit_vae, gan=training.fit_gan, ruler=training.fit_ruler)[args.model]
    mine = [pair for pair in args.set if pair.split("=")[0] in config.__dataclass_fields__]
    config = runs.parse_overrides(config, mine)
    train_config = runs.parse_overrides(train_config, [pair for pair in args.set if pair not in mine])
    steps, minutes = args.steps, args.minutes
    if steps is None and minutes is None:
        if args.model == "ruler":
            raise ValueError("train ruler needs --steps or --minutes: it is made once, on a crowd, not in a profile")
        profile = get_profile()
        steps, minutes = (getattr(profile, f"{args.model}_{unit}") for unit in ("steps", "minutes"))
    run = fit(data, config, folder, start=start, steps=steps, minutes=minutes, train=train_config, resume=args.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        print(f"{folder}: {run.history[-1]['step']} steps, loss {run.history[-1]['loss']:.3f}")
    return 0


def _start(args: argparse.Namespace):
    """What `train` goes on from: the run or the pretrained networks named, else the committed ones, else nothing."""
    from . import runs

    if args.model == "ruler" or args.recipe == "report" or args.scratch:
        if args.start or (args.model == "ruler" and args.recipe == "report"):
            raise ValueError("--start begins our VAE and GAN with trained networks, not a ruler or another recipe")
        return None
    if not args.start:
        return runs.load_pretrained()
    if (Path(args.start) / "vae.safetensors").exists():
        return runs.load_pretrained(args.start)
    run = runs.load_run(args.start)
    if run.kind != "vae":
        raise ValueError("--start needs a run of `train vae`, or pretrained networks")
    return run


def sample(args: argparse.Namespace) -> int:
    import numpy as np

    from . import paths
    from .data import render
    from .runs import load_run

    run = load_run(args.run)
    x, y = run.sample(args.n, person=args.person, seed=args.seed)
    ids = np.array([""] * args.n if y is None else [run.people[k] for k in y.tolist()])
    x = (render(x)[:, 0] * 255).round().numpy().astype(np.uint8)
    with paths.atomic_write(Path(args.out).with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, x=x, y=ids)
    print(f"{args.n} signatures -> {args.out}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    import json

    from . import metrics, paths
    from .data import load_signatures
    from .runs import load_run

    data = load_signatures(args.data, train_per_person=args.train_per_person)
    runs = {Path(folder).name: load_run(folder) for folder in args.runs}
    ruler = metrics.SignatureRuler() if args.ruler == "signature" else metrics.Ruler()
    result = metrics.evaluate_runs(data, runs, ruler, seed=args.seed)
    with paths.atomic_write(args.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    columns = ("frechet_floors", "recall", "coverage", "top1", "nearest_train", "within_ruler", "within_pixels")
    heads = ("floors", "recall", "cover", "top-1", "nearest", "within", "pixels", "% blank", "F1")
    print(f"{result['ruler'] + ', n = ' + str(result['n']):24}" + "".join(f"{head:>8}" for head in heads))
    for name, scores in {"genuine": result["floor"] | dict(frechet_floors=1.0), **result["models"]}.items():
        again = scores.get("reconstruction") or {}
        cells = [*(scores[column] for column in columns), again.get("percent_of_blank"), again.get("f1")]
        print(f"{name:24}" + "".join("       -" if cell is None else f"{cell:8.2f}" for cell in cells))
    return 0


def usefulness(args: argparse.Namespace) -> int:
    import json

    from . import metrics, paths
    from .data import load_signatures
    from .runs import load_pretrained, load_run

    data = load_signatures(args.data, train_per_person=args.train_per_person)
    runs = {Path(folder).name: load_run(folder) for folder in args.runs}
    for name, run in runs.items():
        if run.config["data"]["fingerprint"] != data.fingerprint():
            raise ValueError(f"{name} was trained on other signatures, or another split of them, than {args.data}")
    start = load_pretrained()
    makers = {"moved copies of the one": metrics.moved_copies}
    makers |= {"pretrained VAE, from the one": start.duplicate} if start else {}
    ruler = metrics.SignatureRuler() if args.ruler == "signature" else metrics.Ruler()
    result = metrics.measure_usefulness(data, runs, makers, ruler, ks=args.duplicates, seed=args.seed)
    with paths.atomic_write(args.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    study = result["duplicates"]
    print(f"{result['people']} people, {result['train_per_person']} signatures each to train on, {result['ruler']}")
    rate = "EER {eer:.2%} [{eer_low:.2%}, {eer_high:.2%}]"
    print("one genuine reference: " + rate.format_map(study["one"]))
    for n, one in study["genuine"].items():
        print(f"{n} genuine references: " + rate.format_map(one))
    for name, by_number in study["models"].items():
        for k, one in by_number.items():
            print(f"one and {k} by {name}: {rate.format_map(one)}, {one['cut']:.0%} saved")
    for name, share in result["accepted"].items():
        print(f"accepted at the equal error rate, {name}: {share:.1%}")
    for name, one in result["classification"].items():
        ways = " / ".join("-" if one[k] is None else f"{one[k]:.1%}" for k in ("train_on_these", "test_on_these"))
        print(f"classifier trained / tested on {name}: {ways}, score {one['score']:.1f}")
    return 0


def study(args: argparse.Namespace) -> int:
    from . import plotting
    from .data import ensure_signatures, load_signatures
    from .profiles import get_profile
    from .study import GOALS, importance, run_study, study_figure

    data = load_signatures(args.data or ensure_signatures(get_profile()))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    found = run_study(args.model, data, args.storage or f"sqlite:///{out / 'study.db'}", args.trials)
    states = [trial.state.name.lower() for trial in found.trials]
    print(", ".join(f"{states.count(state)} trials {state}" for state in sorted(set(states))))
    print(f"best, {GOALS[args.model]}: {found.best_value:.3f} with {found.best_params}")
    if states.count("complete") > 3:
        print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in importance(found).items()))
        print(plotting.save_figure(study_figure(found, args.model), f"study_{args.model}", folder=out))
    return 0


def converge(args: argparse.Namespace) -> int:
    import json

    from . import paths, plotting
    from .convergence import convergence_figure, repeat_training
    from .data import load_signatures
    from .runs import load_pretrained, load_run

    data, out = load_signatures(args.data), Path(args.out)
    start = None if args.scratch else load_run(args.start) if args.start else load_pretrained()
    found = repeat_training(data, out / "runs", range(args.seeds), args.minutes, args.steps, start)
    with paths.atomic_write(out / "convergence.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    plotting.save_figure(convergence_figure(found), "convergence", folder=out)
    for recipe, entries in found["arms"].items():
        good = sum(entry["converged"] for entry in entries)
        worst = max(entry["frechet_floors"] for entry in entries)
        print(f"{recipe}: {good} of {len(entries)} seeds converge; {worst:.1f} floors at worst")
    return 0


def ablate(args: argparse.Namespace) -> int:
    import json

    from . import paths
    from .ablation import gan_arms, in_lines, train_arms, vae_arms
    from .data import load_signatures
    from .runs import load_pretrained, load_run

    data, out = load_signatures(args.data), Path(args.out)
    start = None if args.scratch else load_run(args.start) if args.start else load_pretrained()
    arms = (vae_arms if args.model == "vae" else gan_arms)(data, start)
    if unknown := set(args.arms or ()) - set(arms):
        raise ValueError(f"no arm {sorted(unknown)[0]!r}; choose of {', '.join(arms)}")
    arms = {name: arm for name, arm in arms.items() if not args.arms or name in args.arms}
    found = train_arms(data, arms, out / "runs", range(args.seeds), args.minutes, args.steps)
    with paths.atomic_write(out / f"ablation_{args.model}.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    print("\n".join(in_lines(found)))
    return 0


def blind_test(args: argparse.Namespace) -> int:
    from .blind_test import make_items, write_page
    from .data import load_signatures, render
    from .runs import load_run

    data, run = load_signatures(args.data).test, load_run(args.run)
    fake, _ = run.sample(args.n, seed=args.seed)
    items = make_items(render(data.x), render(fake), args.n, args.seed)
    print(f"{args.n} signatures -> {write_page(items, args.out, model=Path(args.run).name)}; open it in a browser")
    return 0


def blind_score(args: argparse.Namespace) -> int:
    import json

    from .blind_test import in_words, score_answers

    sheets = []
    for path in map(Path, args.answers):
        try:
            sheets.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error}); name files that the page has saved") from error
    score = score_answers(sheets)
    print(f"{score['people']} people: {in_words(score)}")
    return 0


def realism(args: argparse.Namespace) -> int:
    import json

    import torch

    from . import metrics, paths, plotting
    from .data import load_signatures, render

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
    fig = plotting.image_grid(torch.cat(sides, dim=1).flatten(0, 1), 10, divider=5)
    plotting.save_figure(fig, "realism", folder=out)
    print(f"{result['frechet_floors']:.2f} floors at n = {result['n']} ({result['ruler']})")
    for name in ("within", "between", "top1"):
        print(f"{name:8} real {result['real'][name]:7.3f}   compared {result['other'][name]:7.3f}")
    for name, stroke in result["stroke"].items():
        print(f"{name:11} {stroke['w1_sd']:.2f} sd")
    return 0


def verify(args: argparse.Namespace) -> int:
    from . import metrics, paths
    from .data import load_signatures, render

    data = load_signatures(args.data)
    rulers = [metrics.Ruler()]
    if args.ruler or (paths.weights_dir() / "ruler" / "config.json").exists():
        rulers.append(metrics.SignatureRuler(args.ruler))
    x, labels = render(data.x), data.labels.numpy()
    for ruler in rulers:
        score = metrics.verification(ruler.features(x), labels, args.seed)
        rates = "EER {eer:.2%} [{eer_low:.2%}, {eer_high:.2%}], top-1 {top1:.2%}".format_map(score)
        print(f"{ruler.name}: {rates}, {score['n']} signatures of {score['people']} people")
    return 0


def publish_ruler(args: argparse.Namespace) -> int:
    import torch

    from .runs import load_run, publish_ruler

    run = load_run(args.run)
    if run.kind != "ruler":
        raise ValueError(f"{args.run}: holds a {run.kind}; name a run of `train ruler`")
    last = run.history[-1]
    card = dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60, crowd=args.crowd)
    publish_ruler(run, args.out, card | dict(device=args.device, torch=torch.__version__))
    print(f"{args.run} -> {args.out}")
    return 0


def publish(args: argparse.Namespace) -> int:
    import platform

    import torch

    from . import metrics
    from .data import load_signatures
    from .runs import load_run, publish

    run, data = load_run(args.run), load_signatures(args.data)
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

    from .runs import load_run, publish_pretrained

    trained = {kind: load_run(folder) for kind, folder in (("vae", args.vae), ("gan", args.gan)) if folder}
    card: dict = dict(crowd=args.crowd, device=args.device, torch=torch.__version__)
    for kind, run in trained.items():
        if run.kind != kind:
            raise ValueError(f"--{kind} {run.run_dir}: holds a {run.kind}")
        folders = [run.run_dir] if kind == "gan" or not args.before else [args.before, run.run_dir]
        phases = [_phase(folder) for folder in folders]
        sums = {name: sum(phase[name] for phase in phases) for name in ("steps", "images", "minutes")}
        card[kind] = sums | (dict(phases=phases) if len(phases) > 1 else dict(data=phases[0]["data"]))
    if "gan" in trained and trained["gan"].config["start"] != trained["vae"].fingerprint():
        raise ValueError(f"{args.gan} did not start from {args.vae}: its generator would not understand the codes")
    publish_pretrained(trained["vae"], trained.get("gan"), args.out, card)
    print(f"{', '.join(trained)} -> {args.out}")
    return 0


def _phase(folder: str | Path) -> dict:
    """What a training took, from its own records."""
    import json

    from .runs import CONFIG, read_history

    last, config = read_history(folder)[-1], json.loads((Path(folder) / CONFIG).read_text())
    data = config["data"]["fingerprint"]
    return dict(steps=last["step"], images=last["images"], minutes=last["seconds"] / 60, data=data)


def report(args: argparse.Namespace) -> int:
    from . import paths, report

    report.write_numbers()
    report.write_tables()
    if paths.home() == paths.REPO:
        report.update_readme(paths.REPO / "README.md")
    report.build_pdf()
    return 0


def run_all(args: argparse.Namespace) -> int:
    """Notebooks 01 to 05 by papermill, each kept as executed, then the report."""
    from . import paths
    from .profiles import get_profile

    profile = get_profile(args.profile)
    environment = dict(os.environ, SIGEN_PROFILE=profile.name, PYTHONUNBUFFERED="1")
    started = time.monotonic()
    for number, name in enumerate(NOTEBOOKS, 1):
        print(f"[{number}/{len(NOTEBOOKS)}] {name} (profile {profile.name})", flush=True)
        out = paths.runs_dir() / "notebooks" / f"{name}.ipynb"
        out.parent.mkdir(parents=True, exist_ok=True)
        source = paths.REPO / "notebooks" / f"{name}.ipynb"
        command = [sys.executable, "-m", "papermill", str(source), str(out), "--cwd", str(source.parent)]
        command += ["--log-output", "--no-progress-bar", "--kernel", "python3"]
        command += ["--start-timeout", "300"]  # a busy machine can need minutes to start a kernel
        code = subprocess.run(command, env=environment, check=False).returncode
        if code:
            print(f"{name} stopped; the part that ran is kept in {out}", file=sys.stderr)
            return code
        print(f"[{number}/{len(NOTEBOOKS)}] done after {(time.monotonic() - started) / 60:.1f} min", flush=True)
    return report(args)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m sigen_utils", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    sub = command("synthesize", synthesize, "draw a class of people and photograph their sheets")
    sub.add_argument("--out", required=True, help="folder for sheet_*.jpg and truth.json")
    sub.add_argument("--people", type=int, default=184)
    sub.add_argument("--per-person", type=int, default=4)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("crowd", crowd, "draw any number of synthetic writers as ink, to pretrain on; none is in a class")
    sub.add_argument("--out", required=True, help="file .npz: x uint8 [N,128,128] ink = 255, y writers")
    sub.add_argument("--writers", type=int, default=12_000)
    sub.add_argument("--per-writer", type=int, default=6)
    sub.add_argument("--seed", type=int, default=1_000_003)
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change settings of CrowdConfig")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("extract", extract, "photographed sheets to one folder of signatures a person")
    sub.add_argument("--sheets", required=True, help="folder of photographs")
    sub.add_argument("--out", required=True, help="folder for <person>/*.png, manifest.csv and the audit")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("stress", stress, "try the extraction on harder and harder synthetic sheets; status 1 below the bar")
    sub.add_argument("--out", required=True, help="folder for stress.json, the heat map and the sheets that failed")
    sub.add_argument("--seeds", type=int, default=3, help="sheets a grade (default: 3)")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("train", train, "train a model; see the project's page on profiles for the default budget")
    sub.add_argument("model", choices=("vae", "gan", "ruler"))
    sub.add_argument("--data", help="folder of signatures (default: the extracted ones, made if they are missing)")
    sub.add_argument(
        "--train-per-person", type=int, help="train on the first ones of each person (default: three parts)"
    )
    # torchrun takes every --run for an abbreviation of its own --run-path, hence the second name
    sub.add_argument("--run", "--folder", dest="run", help="folder of the run (default: runs/vae or runs/gan)")
    budget = sub.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int)
    budget.add_argument("--minutes", type=float)
    sub.add_argument(
        "--recipe", choices=("ours", "report"), default="ours", help="ours, or the student reports' as written"
    )
    sub.add_argument("--start", help="a VAE's run, or pretrained networks, to go on from (default: weights/pretrained)")
    sub.add_argument("--scratch", action="store_true", help="start from random weights")
    sub.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    sub.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change a model or training setting")

    sub = command("sample", sample, "new signatures from a run")
    sub.add_argument("--run", required=True)
    sub.add_argument("--n", type=int, required=True)
    sub.add_argument("--person", help="whose; default: people drawn evenly")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="file .npz: x uint8 [N,128,128] ink = 255, y person ids")

    def scored(sub: argparse.ArgumentParser, ruler: str) -> None:
        sub.add_argument("--data", required=True, help="folder of signatures that the runs were trained on")
        sub.add_argument("--train-per-person", type=int, help="as in the training")
        sub.add_argument("--runs", nargs="+", required=True)
        words = "features to measure in: the project's own, or a network trained on photographs (default: %(default)s)"
        sub.add_argument("--ruler", choices=("imagenet", "signature"), default=ruler, help=words)
        sub.add_argument("--seed", type=int, default=0)
        sub.add_argument("--out", required=True, help="file .json")

    scored(command("evaluate", evaluate, "score runs by the protocol of notebook 04"), "imagenet")
    sub = command("usefulness", usefulness, "what generated signatures are good for: a verifier, a classifier")
    sub.add_argument("--duplicates", type=int, nargs="+", default=[1, 4, 16], help="numbers of duplicates a person")
    scored(sub, "signature")

    sub = command(
        "study", study, "search rates, latent size, length, beta and batch with Optuna; goes on where it stopped"
    )
    sub.add_argument("model", choices=("vae", "gan"))
    sub.add_argument("--trials", type=int, required=True, help="how many more")
    sub.add_argument("--data", help="folder of signatures (default: the extracted ones, made if they are missing)")
    sub.add_argument("--storage", help="of Optuna, shared by all workers (default: study.db in the folder)")
    sub.add_argument("--out", required=True, help="folder for the trials and the figure")

    def repeated(sub: argparse.ArgumentParser, seeds: int, results: str) -> None:
        sub.add_argument("--data", required=True)
        sub.add_argument("--seeds", type=int, default=seeds, help="0 to this, exclusive (default: %(default)s)")
        budget = sub.add_mutually_exclusive_group(required=True)
        budget.add_argument("--steps", type=int, help="of one training")
        budget.add_argument("--minutes", type=float, help="of one training")
        sub.add_argument("--start", help="a VAE's run that ours goes on from (default: weights/pretrained)")
        sub.add_argument("--scratch", action="store_true", help="ours from random weights")
        sub.add_argument("--out", required=True, help=f"folder for the runs and {results}; finished runs are loaded")

    text = "the same short GAN training with several seeds, ours and the reports' recipe"
    repeated(command("converge", converge, text), 10, "convergence.json with its curves")
    sub = command("ablate", ablate, "the same training with one ingredient changed at a time, scored alike")
    sub.add_argument("model", choices=("vae", "gan"))
    sub.add_argument("--arms", nargs="+", help="only these (default: all)")
    repeated(sub, 1, "a table as JSON")

    sub = command("blind-test", blind_test, "a page that asks people which signatures are genuine")
    sub.add_argument("--data", required=True, help="folder of signatures; the held-out ones are shown")
    sub.add_argument("--run", required=True)
    sub.add_argument("--n", type=int, default=40, help="signatures, half of them genuine (default: 40)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="file .html, complete in itself")

    sub = command("blind-score", blind_score, "answers that the page has saved, of any number of people, added up")
    sub.add_argument("answers", nargs="+")

    sub = command("realism", realism, "how near one set of signatures lies to another")
    sub.add_argument("--real", required=True, help="folder of signatures that give the floor")
    sub.add_argument("--data", required=True, help="folder of signatures that are compared with them")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="folder for realism.json and a picture side by side")

    sub = command("verify", verify, "equal error rate of each ruler on a set of genuine signatures")
    sub.add_argument("--data", required=True, help="folder of signatures")
    sub.add_argument("--ruler", help="run of `train ruler` (default: weights/ruler)")
    sub.add_argument("--seed", type=int, default=0)

    sub = command(
        "publish-ruler", publish_ruler, "a ruler for everybody: weights in half precision, without its writers"
    )
    sub.add_argument("--run", required=True)
    sub.add_argument("--crowd", required=True, help="what it was trained on, in words")
    sub.add_argument("--device", required=True, help="where, in words")
    sub.add_argument("--out", required=True, help="folder, for instance weights/ruler")

    sub = command("publish", publish, "a run as a reference model: weights in half precision, history, scores")
    sub.add_argument("--run", required=True)
    sub.add_argument("--data", required=True, help="the signatures it was trained on")
    sub.add_argument("--device", required=True, help="what it was trained on, in words")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="folder, for instance weights/gan")

    sub = command("publish-pretrained", publish_pretrained, "networks trained on a crowd, to go on from on any class")
    sub.add_argument("--vae", required=True, help="run of `train vae` on the crowd")
    sub.add_argument("--before", help="run of `train vae` that this one went on from; its minutes count")
    sub.add_argument("--gan", help="run of `train gan --start <that run>` on the crowd")
    sub.add_argument("--crowd", required=True, help="the command that drew the crowd, in words")
    sub.add_argument("--device", required=True, help="what they were trained on, in words")
    sub.add_argument("--out", required=True, help="folder, for instance weights/pretrained")

    command("report", report, "numbers, tables and, where there is TeX, the PDF")

    sub = command("all", run_all, "notebooks 01 to 05, then the report")
    sub.add_argument("--profile", default="", choices=("", "smoke", "cpu", "gpu"))
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors a user can mend are one line, not a traceback."""
    args = parser().parse_args(argv)
    for name in ("SIGEN_HOME", "SIGEN_SHEETS"):  # the notebooks run in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    try:
        return args.function(args)
    except (ValueError, ImportError, FileNotFoundError) as error:  # DataError, SheetError, RunError are ValueErrors
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
