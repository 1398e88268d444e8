"""The command line: ``python -m sigen_utils <command>``, the notebooks' functions for scripts and torchrun."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from .commands import doctor, evaluation, evidence, lesson, models, sheets, story

Command = Callable[..., argparse.ArgumentParser]  # (name, function, text) -> the parser of its options


def _sheet_commands(command: Command) -> None:
    """Sheets, pictures of signatures and synthetic writers."""
    sub = command("synthesize", sheets.synthesize, "draw a class of people and photograph their sheets")
    sub.add_argument("--out", required=True, help="folder for sheet_*.jpg and truth.json")
    sub.add_argument("--people", type=int, default=184)
    sub.add_argument("--per-person", type=int, default=4)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("crowd", sheets.crowd, "draw synthetic writers as ink, to pretrain on; none is in a class")
    sub.add_argument("--out", required=True, help="file .npz: x uint8 [N,128,128] ink = 255, y writers")
    sub.add_argument("--writers", type=int, default=12_000)
    sub.add_argument("--per-writer", type=int, default=6)
    sub.add_argument("--seed", type=int, default=1_000_003)
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change settings of CrowdConfig")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("corpus", sheets.corpus, "draw the pretraining corpus of the prior, one bit a pixel")
    sub.add_argument("--out", required=True, help="file .npz")
    sub.add_argument("--writers", type=int, default=24_000)
    sub.add_argument("--seed", type=int, default=5_000_003)
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change settings of CrowdConfig")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command(
        "extract",
        sheets.extract,
        "photographed sheets to one folder of signatures a person; status 0: all filed and sure, 3: something is to be "
        "checked (corrections.suggested.csv lists it), 1: something could not be read",
    )
    sub.add_argument("--sheets", required=True, help="folder of photographs")
    sub.add_argument("--out", required=True, help="folder for <person>/*.png, manifest.csv and the audit")
    sub.add_argument(
        "--columns", metavar="id,name,sig,...", help="what the ruled columns are: id, sig, name, or - for anything else"
    )
    sub.add_argument("--ids", metavar="1-12,17 | FILE", help="IDs of all rows of all sheets in turn, or a file of them")
    sub.add_argument("--corrections", metavar="FILE", help="corrections (default: corrections.csv beside the sheets)")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")

    sub = command("check", sheets.check, "what is read from each picture of a folder of signatures, and what is not")
    sub.add_argument("folder", help="<person>/<image>, any of the known layouts, or pictures of any kind")
    sub.add_argument("--out", help="file .png: each picture beside the ink that was read")

    sub = command(
        "stress", sheets.stress, "try the extraction on harder and harder synthetic sheets; status 1 below the bar"
    )
    sub.add_argument("--out", required=True, help="folder for stress.json, the heat map and the sheets that failed")
    sub.add_argument("--seeds", type=int, default=3, help="sheets a grade (default: 3)")
    sub.add_argument("--workers", type=int, help="processes (default: one a core)")


def _model_commands(command: Command) -> None:
    """Training and sampling."""
    sub = command("train", models.train, "train a model; its length is that of its recipe in the profile")
    words = "vae, gan, vae_alone, prior_alone, gan_alone, report_vae, report_gan, extractor; see sigen_utils/recipes.py"
    sub.add_argument("recipe", help=words)
    words = "folder of signatures (default: the extracted ones, made if they are missing), or a corpus.npz"
    sub.add_argument("--data", help=words)
    sub.add_argument(
        "--train-per-person", type=int, help="train on the first ones of each person (default: three parts)"
    )
    # torchrun takes every --run for an abbreviation of its own --run-path, hence the second name
    sub.add_argument("--run", "--folder", dest="run", help="folder of the run (default: below runs, by the recipe)")
    budget = sub.add_mutually_exclusive_group()
    budget.add_argument("--images", type=int, help="signatures seen (default: the recipe's, by profile)")
    budget.add_argument("--steps", type=int, help="the same in batches")
    sub.add_argument("--minutes", type=float, help="at most so long; a run that this cuts short says so in its config")
    sub.add_argument("--start", help="a run to continue from (default: the recipe's own)")
    sub.add_argument("--resume", action="store_true", help="continue the run in the folder")
    sub.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change a model or training setting")

    sub = command("sample", models.sample, "new signatures from a run")
    sub.add_argument("--run", required=True)
    sub.add_argument("--n", type=int, required=True)
    whose = sub.add_mutually_exclusive_group()
    whose.add_argument("--new", action="store_true", help="people who do not exist")
    whose.add_argument("--person", help="a person of the class that the model met")
    whose.add_argument("--like", nargs="+", metavar="IMAGE", help="the writer of these pictures, a stranger")
    sub.add_argument("--per-person", type=int, default=1, help="with --new: signatures of each (default: 1)")
    sub.add_argument("--seed", type=int, default=0)
    words = "file .npz: x uint8 [N,128,128] ink = 255, y person; or a folder for <person>/<number>.png"
    sub.add_argument("--out", required=True, help=words)

    sub = command("gallery", models.gallery, "what a learned prior draws, in one figure")
    sub.add_argument("--run", required=True, help="run of `train vae` or `train gan`")
    sub.add_argument("--data", required=True, help="folder of signatures: the class that it met, or strangers")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="file .png")


def _score_commands(command: Command) -> None:
    """Scores, and tests by eye."""

    sub = command("evaluate", evaluation.evaluate, "judge runs: new people, known people, strangers, likelihood")
    sub.add_argument("--data", required=True, help="folder of signatures that the runs were trained on")
    sub.add_argument("--train-per-person", type=int, help="as in the training")
    words = "folders of runs; NAME=DIR,DIR is one model trained with several seeds"
    sub.add_argument("--runs", nargs="+", default=[], metavar="DIR", help=words)
    words = "what another program drew, one .npz a row, judged like a run (docs/protocol.md says what is in it)"
    sub.add_argument("--drawn", nargs="+", default=[], metavar="NAME=FILE", help=words)
    words = "signatures of people that no model has seen, four or more each; without it there are no tables A and C"
    sub.add_argument("--unseen", metavar="DIR", help=words)
    words = "signatures that the models were pretrained on, for instance a crowd: they count as known"
    sub.add_argument("--corpus", metavar="DIR", help=words)
    sub.add_argument("--strangers", type=int, default=64, help="people of table C at most (default: %(default)s)")
    sub.add_argument("--cache", help="where features and registrations are kept (default: build/cache)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--record", action="store_true", help="also keep the result in report/generated/results.json")
    sub.add_argument("--out", required=True, help="file .json")
    sub = command("usefulness", evidence.usefulness, "table C alone: what duplicates of one signature save a verifier")
    sub.add_argument("--data", required=True, help="folder of signatures that the runs were trained on")
    sub.add_argument("--unseen", required=True, help="signatures of strangers, four or more each")
    sub.add_argument("--runs", nargs="+", default=[])
    sub.add_argument("--strangers", type=int, default=64, help="people at most (default: %(default)s)")
    sub.add_argument("--cache", help="where features are kept (default: build/cache)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="file .json")

    sub = command("blind-test", evidence.blind_test, "a page that asks people which signatures are genuine")
    sub.add_argument("--data", required=True, help="folder of signatures; the held-out ones are shown")
    sub.add_argument("--train-per-person", type=int, help="as in the training")
    sub.add_argument("--run", required=True)
    sub.add_argument("--n", type=int, default=40, help="signatures, half of them genuine (default: 40)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="file .html, complete in itself")

    sub = command(
        "blind-score", evidence.blind_score, "answers that the page has saved, of any number of people, added up"
    )
    sub.add_argument("answers", nargs="+")

    sub = command("realism", evidence.realism, "how near one set of signatures lies to another")
    sub.add_argument("--real", required=True, help="folder of signatures that give the floor")
    sub.add_argument("--data", required=True, help="folder of signatures that are compared with them")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="folder for realism.json and a picture side by side")

    sub = command(
        "verify", evidence.verify, "equal error rate of each feature extractor on a set of genuine signatures"
    )
    sub.add_argument("--data", required=True, help="folder of signatures")
    sub.add_argument("--forgeries", action="store_true", help="also against the forgeries in the folder")
    sub.add_argument("--extractor", help="run of `train extractor` (default: weights/extractor)")
    sub.add_argument("--seed", type=int, default=0)


def _study_commands(command: Command) -> None:
    """Many trainings: the same again with further seeds, or one thing changed at a time."""
    sub = command("seeds", models.seeds, "train the models of the comparison with several seeds, each in its folder")
    sub.add_argument("--seeds", type=int, default=3, help="0 to this, exclusive (default: %(default)s)")
    sub.add_argument("--models", nargs="+", metavar="NAME", help="only these (default: all)")

    sub = command("ablate", models.ablate, "the same training with one setting changed at a time, scored by table A")
    sub.add_argument("study", choices=("reports", "repair", "gan", "beta", "writers"))
    sub.add_argument("--data", required=True)
    sub.add_argument("--unseen", required=True, help="signatures of people that no model has seen")
    sub.add_argument("--corpus", help="corpus.npz: for the last arm of the repair, and the study writers")
    sub.add_argument("--arms", nargs="+", help="only these (default: all)")
    sub.add_argument("--seeds", type=int, default=3, help="0 to this, exclusive (default: %(default)s)")
    sub.add_argument("--images", type=int, required=True, help="signatures seen in one training")
    sub.add_argument("--start", help="of the study gan a run of `train vae`, of writers one of `train corpus_decoder`")
    sub.add_argument("--out", required=True, help="folder for the runs and a table as JSON; finished runs are loaded")
    words = "also store the result in report/generated/results.json, for the notebooks and the report"
    sub.add_argument("--record", action="store_true", help=words)


def _publish_commands(command: Command) -> None:
    """Weights, and a page, for others."""
    sub = command("publish", models.publish, "a network trained on a corpus, for everybody: smaller, and nobody's name")
    sub.add_argument("--run", required=True)
    sub.add_argument("--crowd", required=True, help="what it was trained on, in words")
    sub.add_argument("--device", required=True, help="where, in words")
    sub.add_argument("--out", required=True, help="folder, for instance weights/prior")

    sub = command("page", models.page, "a static page that signs in the browser, without Python or a server's work")
    sub.add_argument("--run", help="run of `train prior` on a corpus (default: weights/prior)")
    words = "the folder dist of the package onnxruntime-web, or a URL of it (default: taken from npm once)"
    sub.add_argument("--ort", default="", metavar="DIR|URL", help=words)
    sub.add_argument("--people", type=int, default=128, help="new people whose differences are the sliders")
    sub.add_argument("--out", required=True, help="folder for index.html and what it loads")


def _story_commands(command: Command) -> None:
    """The notebooks and the report."""
    command("report", story.report, "numbers, tables and, where there is TeX, the PDF")
    text = (
        "put the results of a whole run in the place of the committed ones: numbers, figures, notebooks, README, report"
    )
    command("regenerate", story.regenerate, text)

    text = "what this machine has of what is needed, and the command that brings what is missing; status 1 if required"
    command("doctor", doctor.doctor, text)

    sub = command("all", story.run_all, "notebooks 01 to 06, then the report")
    sub.add_argument("--profile", default="", choices=("", "smoke", "cpu", "gpu"))
    sub.add_argument("--first", type=int, default=1, choices=range(1, 7), help="go on with this notebook")

    sub = command("student", lesson.student, "the notebooks without the solutions of their exercises, for students")
    sub.add_argument("out", help="folder for them; none of them is in it yet")

    sub = command("badges", lesson.badges, "let the Colab badges and the notebooks' set-up cells name a fork")
    sub.add_argument("--repo", metavar="OWNER/NAME", help="default: the remote `origin`")
    sub.add_argument("--branch", default="main")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="python -m sigen_utils", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    for subject in (
        _sheet_commands, _model_commands, _score_commands, _study_commands, _publish_commands, _story_commands,
    ):  # fmt: skip
        subject(command)
    return top


@contextlib.contextmanager
def _plain_warnings():
    """Warnings about data as one line each on stderr; yields a list of those that something is missing."""
    from .notices import DataNotice, DataWarning

    missing = []

    def show(message, category, *where, **more):
        if not issubclass(category, DataNotice):
            return usual(message, category, *where, **more)
        if issubclass(category, DataWarning):
            missing.append(str(message))
        print(f"{'warning' if issubclass(category, DataWarning) else 'note'}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataNotice)
        usual, warnings.showwarning = warnings.showwarning, show
        yield missing


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors a user can mend are one line, not a traceback."""
    args = parser().parse_args(argv)
    for name in ("SIGEN_HOME", "SIGEN_SHEETS"):  # the notebooks run in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    try:
        with _plain_warnings() as missing:
            status = args.function(args)
        return status or int(bool(missing))
    # DataError, SheetError, RunError are ValueErrors; a training that diverges says what to do in a FloatingPointError
    except (ValueError, ImportError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"error: not enough memory ({error}); ask for less at a time, or for fewer workers", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
